"""Which images calibration has seen: a case among them measures nothing.

`evidence/calibration.json` lists the digest of every image's pixels: hashes alone, so that no
image leaves the export side. A bundle of an earlier release has no list.
"""

from __future__ import annotations

import re

from medsdk._refusals import BundleUnreadableError
from medsdk.bundle.reading import Bundle
from medsdk.canonical import parse_json

CALIBRATION_FILE = "evidence/calibration.json"

_DIGEST = re.compile(r"[0-9a-f]{64}")


def calibration_images(bundle: Bundle) -> frozenset[str]:
    """Digests of the images that the bundle's INT8 networks were calibrated with.

    Args:
        bundle: An opened bundle.

    Returns:
        The sha256 of each image's pixels in hexadecimal, as `pixels_digest` makes it of a decoded
        frame; empty where the bundle is of a release that kept none.

    Raises:
        BundleUnreadableError: The file is no such list.
        BundleTamperedError: The file is not what the manifest says.
    """
    if CALIBRATION_FILE not in bundle.manifest.files:
        return frozenset()
    try:
        document = parse_json(bundle.read(CALIBRATION_FILE))
    except ValueError:
        raise _unreadable("no JSON document") from None
    images = document.get("images", []) if isinstance(document, dict) else None
    if not isinstance(images, list):
        raise _unreadable("no list of images")
    if not all(isinstance(item, str) and _DIGEST.fullmatch(item) for item in images):
        raise _unreadable("an image that is no sha256")
    return frozenset(images)


def _unreadable(got: str) -> BundleUnreadableError:
    return BundleUnreadableError(
        f"{CALIBRATION_FILE} does not say which images calibration saw",
        got=got,
        expected="`images`, a list of sha256 in hexadecimal digits",
        remedy="take the bundle from its source again",
    )
