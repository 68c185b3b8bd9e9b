"""The picture for a person: the frame, the region, and the whole notice, whatever the size."""

from __future__ import annotations

import dataclasses
import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

import medsdk
from medsdk.pixels import Affine
from medsdk.results.finding import Finding, Provenance
from medsdk.results.picture import NOTICE_COLOR, finding_picture

NOTICE = "Reference network trained on synthetic phantoms: not for clinical use."
RGB = tuple(int(NOTICE_COLOR[i : i + 2], 16) for i in (1, 3, 5))
PROVENANCE = Provenance(
    bundle={"name": "b", "version": "1.0.0", "sha256": "0123456789abcdef" * 4},
    task={"id": "a/b", "version": "1.0.0"},
    notice=NOTICE,
    networks={"filter": {"runtime": "onnxruntime", "variant": "fp32"}},
    thresholds={"limit": 0.5},
    medsdk="0.1.0",
)


def _finding(height: int, width: int, **changes: Any) -> Finding:
    finding = Finding(
        "classification",
        "ok",
        "tumour",
        {"none": 0.1, "tumour": 0.9},
        "",
        "array",
        1,
        Affine(),
        medsdk.Box(0, 0, width, height),
        None,
        PROVENANCE,
    )
    return dataclasses.replace(finding, **changes)


def _drawn(array: NDArray[Any], title: str = "", **changes: Any) -> Image.Image:
    frame = medsdk.Frame(array, color=changes.pop("color", "MONOCHROME2"))
    data = finding_picture(frame, _finding(*array.shape[:2], **changes), title)
    picture = Image.open(io.BytesIO(data))
    picture.load()
    assert (picture.format, picture.mode) == ("PNG", "RGB")
    return picture


def _notice_columns(picture: Image.Image) -> NDArray[np.intp]:
    """Columns with a pixel of the notice's own colour."""
    found: NDArray[np.intp] = np.flatnonzero((np.asarray(picture) == RGB).all(-1).any(0))
    return found


def _ramp(height: int, width: int) -> NDArray[np.uint16]:
    return np.arange(height * width, dtype=np.uint32).reshape(height, width).astype(np.uint16)


@pytest.mark.parametrize(
    "shape",
    [(48, 64), (256, 256), (430, 430), (512, 512), (600, 500), (1024, 900), (900, 20), (1, 1)],
)
def test_the_whole_notice_is_in_the_picture(shape):
    picture = _drawn(_ramp(*shape))
    whole = Image.new("RGB", (4000, 60))
    face = ImageFont.load_default(size=14)
    ImageDraw.Draw(whole).text((0, 0), NOTICE, fill=RGB, font=face)
    expected = _notice_columns(whole)
    found = _notice_columns(picture)
    # Every column of the notice on one line, so that nothing of it is cut off.
    np.testing.assert_array_equal(found - found[0], expected - expected[0])
    assert found[-1] < picture.width - 1


def test_a_long_notice_is_wrapped_not_cut():
    long = " ".join(["not for clinical use"] * 40)
    short = _drawn(_ramp(64, 64))
    picture = _drawn(
        _ramp(64, 64), provenance=dataclasses.replace(PROVENANCE, notice=long + " W" * 300)
    )
    assert picture.width == short.width
    assert picture.height > short.height + 5 * 20
    assert _notice_columns(picture)[-1] < picture.width - 1
    endless = _drawn(_ramp(64, 64), title="W" * 500)
    assert endless.width == short.width
    assert endless.height > short.height + 5 * 20


def test_a_thin_frame_does_not_make_a_huge_picture():
    for shape in ((20_000, 1), (1, 20_000)):
        picture = _drawn(_ramp(*shape))
        assert picture.width * picture.height < 20e6


@pytest.mark.parametrize("status", ["ok", "indeterminate", "no-result"])
def test_every_status_is_drawn_in_its_own_colour(status):
    label = "tumour" if status == "ok" else None
    pictures = [
        _drawn(_ramp(64, 64), status=status, label=label, reason="why").tobytes(),
        _drawn(_ramp(64, 64), status="ok", label="none").tobytes(),
    ]
    assert pictures[0] != pictures[1]


def test_grey_values_are_those_of_the_frame():
    array = np.zeros((64, 64), np.uint16)
    array[:, 32:] = 1000
    shown = np.asarray(_drawn(array))
    inverted = np.asarray(_drawn(array, color="MONOCHROME1"))
    middle = shown[300, 100].tolist(), shown[300, 500].tolist()
    assert middle == ([0, 0, 0], [255, 255, 255])
    assert inverted[300, 100].tolist() == [255, 255, 255]
    constant = np.asarray(_drawn(np.full((64, 64), 7)))
    assert constant[300, 300].tolist() in ([0, 0, 0], [255, 255, 255])


def test_the_region_is_drawn_where_it_is():
    picture = np.asarray(_drawn(np.zeros((64, 64)), region=medsdk.Box(8, 16, 40, 48)))
    colored = (picture[:640, :640] != picture[0, 0]).any(-1)
    rows, columns = np.flatnonzero(colored.any(1)), np.flatnonzero(colored.any(0))
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (160, 479, 80, 399)
