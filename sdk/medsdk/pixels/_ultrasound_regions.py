"""SequenceOfUltrasoundRegions (PS3.3 C.8.5.5), read and checked.

Corners there are pixels that belong to the region, counted from 0; in medsdk they are half-open
boxes with outer-corner coordinates, as everywhere.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from medsdk.pixels._dicom_header import integer, items, number
from medsdk.pixels.affine import Box
from medsdk.pixels.errors import PixelInputUnreadableError
from medsdk.pixels.ultrasound_regions import RegionKind, UltrasoundRegion

if TYPE_CHECKING:
    from pydicom import Dataset

_CENTIMETRES = 3
_LARGEST_COUNT = 256
_CORNERS = (
    "RegionLocationMinX0",
    "RegionLocationMinY0",
    "RegionLocationMaxX1",
    "RegionLocationMaxY1",
)


def read_regions(dataset: Dataset, rows: int, columns: int) -> tuple[UltrasoundRegion, ...]:
    """Read the regions of an object.

    A region that makes no sense is kept with its problem: most tasks do not need it.

    Args:
        dataset: The object.
        rows: Rows of its frames.
        columns: Columns of its frames.

    Returns:
        The regions in the object's order; none where it has no sequence.

    Raises:
        PixelInputUnreadableError: The sequence is malformed, or holds absurdly many regions.
    """
    found = items(dataset, "SequenceOfUltrasoundRegions")
    if len(found) > _LARGEST_COUNT:
        raise PixelInputUnreadableError.sizes(
            f"{len(found)} ultrasound regions", f"at most {_LARGEST_COUNT}"
        )
    return tuple(_region(item, rows, columns) for item in found)


def _region(item: Dataset, rows: int, columns: int) -> UltrasoundRegion:
    kind = _kind(_code(item, "RegionSpatialFormat"), _code(item, "RegionDataType"))
    try:
        left, top, right, bottom = (integer(item, name, 0, 2**32 - 1) for name in _CORNERS)
    except PixelInputUnreadableError:
        return UltrasoundRegion(kind, None, None, "its corners are missing or malformed")
    if right < left or bottom < top:
        return UltrasoundRegion(kind, None, None, "its corners are reversed")
    box = Box(float(left), float(top), float(right) + 1.0, float(bottom) + 1.0)
    problem = None
    if right >= columns or bottom >= rows:
        problem = (
            f"its pixels {left},{top} to {right},{bottom} lie outside the frame of "
            f"{columns} x {rows}"
        )
    return UltrasoundRegion(kind, box, _spacing(item), problem)


def _kind(spatial: int | None, data: int | None) -> RegionKind:
    match spatial, data:
        case 1, 1:
            return "b-mode"
        case 1, 2:
            return "colour-flow"
        case 2, _:
            return "m-mode"
        case 3, _:
            return "spectral"
        case 4, _:
            return "waveform"
        case _:
            return "other"


def _code(item: Dataset, keyword: str) -> int | None:
    try:
        return integer(item, keyword, 0, 65535)
    except PixelInputUnreadableError:
        return None


def _spacing(item: Dataset) -> tuple[float, float] | None:
    units = {_code(item, f"PhysicalUnits{axis}Direction") for axis in "XY"}
    if units != {_CENTIMETRES}:
        return None
    try:
        # The sign says which way the axis points; the distance of two pixels has none.
        millimetres = [10.0 * abs(number(item, f"PhysicalDelta{axis}")) for axis in "YX"]
    except PixelInputUnreadableError:
        return None
    if not all(math.isfinite(value) and value > 0 for value in millimetres):
        return None
    return millimetres[0], millimetres[1]
