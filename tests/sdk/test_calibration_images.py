"""A bundle says which images calibration has seen, so that no case may be one of them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pydicom
import pytest

from medsdk.bundle import Bundle
from medsdk.errors import BundleUnreadableError
from medsdk.evaluation.calibration import CALIBRATION_FILE, calibration_images
from tests.test_kept_bundles import FOLDER, KEPT


def test_every_calibration_image_is_listed_by_its_pixels(bundle_dir, vendor):
    wanted = set()
    for path in vendor.calibration.glob("*.dcm"):
        values = pydicom.dcmread(path).pixel_array.astype(np.int64)
        text = f"<i8{values.shape}".encode() + values.tobytes()
        wanted.add(hashlib.sha256(text).hexdigest())
    assert len(wanted) == 24
    bundle = Bundle.open(bundle_dir)
    assert calibration_images(bundle) == wanted
    assert bundle.manifest.provenance["calibration"] == {
        "images": 24,
        "sha256": hashlib.sha256("".join(sorted(wanted)).encode()).hexdigest(),
    }


@pytest.mark.parametrize("name", KEPT)
def test_an_older_bundle_lists_none(name):
    assert calibration_images(Bundle.open(FOLDER / name)) == frozenset()


@pytest.mark.parametrize(
    ("text", "got"),
    [
        (b"\xff", "no JSON document"),
        (b"[1]", "no list of images"),
        (b'{"images": "0"}', "no list of images"),
        (b'{"images": [["0"]]}', "an image that is no sha256"),
        (json.dumps({"images": ["0" * 64 + "\n"]}).encode(), "an image that is no sha256"),
    ],
)
def test_another_list_is_refused(tampered, text, got):
    def other_list(folder: Path, _: object) -> None:
        (folder / CALIBRATION_FILE).write_bytes(text)

    with pytest.raises(BundleUnreadableError, match=got):
        calibration_images(Bundle.open(tampered(other_list)))
