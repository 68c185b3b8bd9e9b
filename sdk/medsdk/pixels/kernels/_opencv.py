"""OpenCV's resizes: `opencv.linear.u8`, `opencv.area` and `opencv.nearest`.

All are `cv2.resize(image, (width, height), interpolation=...)` (`modules/imgproc/src/resize.cpp`).
The ratio is `1 / (after / before)` in float64, with both roundings. An image of the right size is
copied.

`opencv.linear.u8` is INTER_LINEAR of an 8-bit image. Coordinates are rounded to float32; shares
become fixed point with 11 bits, rounded half to even. The horizontal sums lose 4 bits, each
vertical product 16, and the sum of the two is rounded half up over the last 2, which is what the
vector code does. Columns outside repeat the edge with the share 0, rows outside repeat it with
their share. Where both sides shrink to exactly a half, it is `opencv.area`.

`opencv.area` is INTER_AREA of 8-bit, 16-bit or float32 images:

- both ratios whole: the mean of a block. Exact sums for 8 bits; for 16 bits and float32 four
  pixels at a time are added to a float32 sum; then times the float32 reciprocal of their number,
  rounded half to even. Two by two rounds half up, and a grey float32 image adds the two
  rows' sums in its whole groups of four columns.
- both sides shrink or stay: shares of the covered pixels, first along the row, then down, summed
  in float32, rounded half to even. A share below 1e-3 of a pixel is left out.
- a side grows: two by two pixels with the area rule's coordinates; 8 bits in the fixed point of
  `opencv.linear.u8`, the others in float32.

`opencv.nearest` is INTER_NEAREST: output i takes input `floor(i * ratio)`, so the picture is not
centred.

The library is never asked while IPP may be inexact (`cv2.ipp.setUseIPP_NotExact(True)` changes
3 to 19 % of the values), nor where its code was built for processors with fused operations.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medsdk.pixels.kernels._corners import (
    Corners,
    Pairs,
    corners_of,
    interpolated,
    weighed_sum,
)
from medsdk.pixels.kernels._proved import PROVED
from medsdk.pixels.kernels._taps import Taps, float_columns, float_rows

Image = NDArray[Any]

_COEFFICIENT = np.float32(1 << 11)
_SMALLEST_SHARE = 1e-3


def proved_version() -> str | None:
    """The installed OpenCV's version where it was proved and may be used now, else None."""
    try:
        import cv2
    except ImportError:
        return None
    if cv2.ipp.useIPP_NotExact() or not _built_without_fusing():
        return None
    version = str(cv2.__version__)
    return version if PROVED["opencv"].covers(version) else None


@lru_cache(maxsize=1)
def _built_without_fusing() -> bool:
    """Whether the code common to all processors has no FMA, as in the wheels of PyPI."""
    import cv2

    lines = [line.split() for line in cv2.getBuildInformation().splitlines()]
    baseline = [words for words in lines if words[:1] == ["Baseline:"]]
    return bool(baseline) and "FMA3" not in baseline[0]


def by_library(flag: str, array: Image, height: int, width: int) -> Image:
    """Any of them by OpenCV.

    Args:
        flag: Name of the interpolation.
        array: The image.
        height: Rows of the result.
        width: Columns of the result.
    """
    import cv2

    image = np.ascontiguousarray(array)
    result: Image = cv2.resize(image, (width, height), interpolation=getattr(cv2, flag))
    return result


def nearest(array: Image, height: int, width: int) -> Image:
    """`opencv.nearest` in numpy."""
    rows = array.take(_nearest(array.shape[0], height), axis=0)
    return np.asarray(rows.take(_nearest(array.shape[1], width), axis=1), order="C")


def linear(array: Image, height: int, width: int) -> Image:
    """`opencv.linear.u8` in numpy."""
    rows, columns = array.shape[:2]
    if (rows, columns) == (height, width):
        return np.array(array, order="C")
    if _whole_ratio(rows, height) == _whole_ratio(columns, width) == 2:
        return _blocks(array, 2, 2)
    parts = _linear_corners(array.shape, height, width)
    return interpolated(array, height, width, parts, _fixed_point, np.uint8)


def area(array: Image, height: int, width: int) -> Image:
    """`opencv.area` in numpy."""
    rows, columns = array.shape[:2]
    if (rows, columns) == (height, width):
        return np.array(array, order="C")
    if _ratio(rows, height) < 1 or _ratio(columns, width) < 1:
        parts = _area_corners(array.shape, height, width)
        arithmetic = _fixed_point if array.dtype == np.uint8 else _mixed
        return interpolated(array, height, width, parts, arithmetic, array.dtype)
    down, across = _whole_ratio(rows, height), _whole_ratio(columns, width)
    if down is not None and across is not None:
        return _blocks(array, down, across)
    sums = float_columns(array, _area_taps(columns, width))
    return _saturated(float_rows(sums, _area_taps(rows, height)), array.dtype)


def _ratio(before: int, after: int) -> float:
    return 1.0 / (after / before)


def _whole_ratio(before: int, after: int) -> int | None:
    ratio = _ratio(before, after)
    return round(ratio) if abs(ratio - round(ratio)) < np.finfo(np.float64).eps else None


@lru_cache(maxsize=64)
def _nearest(before: int, after: int) -> NDArray[np.intp]:
    at: NDArray[np.intp] = np.floor(np.arange(after) * _ratio(before, after)).astype(np.intp)
    np.minimum(at, before - 1, out=at)
    at.flags.writeable = False
    return at


@lru_cache(maxsize=32)
def _linear_corners(shape: tuple[int, ...], height: int, width: int) -> tuple[Corners, ...]:
    def pairs(before: int, after: int, *, edge_is_whole: bool) -> Pairs:
        at = ((np.arange(after) + 0.5) * _ratio(before, after) - 0.5).astype(np.float32)
        low = np.floor(at)
        return _within(low.astype(np.intp), at - low, before, edge_is_whole=edge_is_whole)

    return corners_of(
        pairs(shape[0], height, edge_is_whole=False),
        pairs(shape[1], width, edge_is_whole=True),
        math.prod(shape[2:]),
    )


@lru_cache(maxsize=32)
def _area_corners(shape: tuple[int, ...], height: int, width: int) -> tuple[Corners, ...]:
    def pairs(before: int, after: int, *, edge_is_whole: bool) -> Pairs:
        out = np.arange(after)
        low = np.floor(out * _ratio(before, after))
        share = ((out + 1) - (low + 1) * (after / before)).astype(np.float32)
        share = np.where(share <= 0, np.float32(0), share - np.floor(share))
        return _within(low.astype(np.intp), share, before, edge_is_whole=edge_is_whole)

    return corners_of(
        pairs(shape[0], height, edge_is_whole=False),
        pairs(shape[1], width, edge_is_whole=True),
        math.prod(shape[2:]),
    )


def _within(
    low: NDArray[np.intp], share: NDArray[np.float32], before: int, *, edge_is_whole: bool
) -> Pairs:
    """Move what lies outside to the edge; along a row it is the edge alone that counts there."""
    if edge_is_whole:
        share = np.where((low < 0) | (low >= before - 1), np.float32(0), share)
        low = np.clip(low, 0, before - 1)
    return Pairs(np.clip(low, 0, before - 1), np.clip(low + 1, 0, before - 1), share)


def _fixed_point(array: Image, corners: Corners) -> Image:
    left, right = corners.sides(array, np.int32)
    left *= _fixed(1 - corners.across)
    right *= _fixed(corners.across)
    left += right
    left >>= 4
    top, bottom = corners.ends(left)
    top *= _fixed(1 - corners.down)
    top >>= 16
    bottom *= _fixed(corners.down)
    bottom >>= 16
    top += bottom
    top += 2
    top >>= 2
    return top


def _fixed(share: NDArray[np.float32]) -> NDArray[np.int32]:
    fixed: NDArray[np.int32] = np.rint(share * _COEFFICIENT).astype(np.int32)
    return fixed


def _mixed(array: Image, corners: Corners) -> Image:
    return _saturated(weighed_sum(array, corners), array.dtype)


def _saturated(values: NDArray[np.float32], dtype: np.dtype[Any]) -> Image:
    """What OpenCV's `saturate_cast` gives: rounded half to even and cut for integers."""
    if dtype == np.float32:
        return values
    np.rint(values, out=values)
    return np.clip(values, 0, np.iinfo(dtype).max, out=values).astype(dtype)


def _blocks(array: Image, down: int, across: int) -> Image:
    """Means of blocks of `down` x `across` pixels."""
    height, width = array.shape[0] // down, array.shape[1] // across
    parts = [array[row::down, column::across] for row in range(down) for column in range(across)]
    if array.dtype != np.float32 and down == across == 2:
        wide = np.uint16 if array.dtype == np.uint8 else np.uint32
        total = np.full((height, width, *array.shape[2:]), 2, wide)
        for part in parts:
            total += part
        total >>= 2
        return total.astype(array.dtype)
    mean = _sum_by_fours(parts, array.dtype)
    mean *= np.float32(1) / np.float32(len(parts))
    if down == across == 2 and array.ndim == 2:
        whole = slice(0, width // 4 * 4)
        first, second, third, fourth = (part[:, whole] for part in parts)
        mean[:, whole] = ((first + second) + (third + fourth)) * np.float32(0.25)
    return _saturated(mean, array.dtype)


def _sum_by_fours(parts: list[Image], dtype: np.dtype[Any]) -> NDArray[np.float32]:
    """A float32 sum; integers are exact among four, those of 8 bits all the way."""
    exact = {"uint8": np.int32, "uint16": np.int32, "float32": np.float32}[dtype.name]
    kept = np.int32 if dtype == np.uint8 else np.float32
    total = np.zeros(parts[0].shape, kept)
    whole = len(parts) // 4 * 4
    for start in range(0, whole, 4):
        four = parts[start].astype(exact)
        for part in parts[start + 1 : start + 4]:
            four += part
        total += four.astype(kept)
    for part in parts[whole:]:
        total += part.astype(kept)
    return total.astype(np.float32)


@lru_cache(maxsize=32)
def _area_taps(before: int, after: int) -> Taps:
    """Shares of the pixels that an output covers (`computeResizeAreaTab`)."""
    ratio = _ratio(before, after)
    start = np.arange(after) * ratio
    end = start + ratio
    cell = np.minimum(ratio, before - start)
    last = np.minimum(np.floor(end), before - 1).astype(np.intp)
    first = np.minimum(np.ceil(start).astype(np.intp), last)
    has_begin = first - start > _SMALLEST_SHARE
    has_end = end - last > _SMALLEST_SHARE
    begin = first - has_begin
    pixel = begin[:, np.newaxis] + np.arange(int((last - begin).max()) + 1)
    share = np.where(pixel < last[:, np.newaxis], (1.0 / cell)[:, np.newaxis], 0.0)
    share[has_begin, 0] = ((first - start) / cell)[has_begin]
    at = np.nonzero(has_end)[0]
    rest = np.minimum(np.minimum(end - last, 1.0), cell) / cell
    share[at, (last - begin)[at]] = rest[at]
    return Taps(begin, share.astype(np.float32), before)
