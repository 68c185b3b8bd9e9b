"""Pillow's resizes of 8-bit images: `pil.bilinear.*`, `pil.bicubic.*` and `pil.nearest`.

`pil.bilinear.*` and `pil.bicubic.*` are `Image.resize(size, BILINEAR)` and `(size, BICUBIC)`: a
triangle, or the cubic with a = -0.5, widened by the shrinking ratio (so shrinking is
antialiased). Weights are computed in float64, divided by their sum, and become fixed point with
22 bits (`32 - 8 - 2`), rounded half away from zero. Each of the two passes sums in whole numbers,
adds a half, shifts and cuts to 0..255; a pass that would not change the size is left out. Since a
pass rounds to 8 bits, their order shows:

- `hv`: horizontal first, always. Pillow up to 12.1. Pillow 12.2 and 12.3 do the same but for
  images more than 100 times as high as wide whose height shrinks (12.3.0, `src/PIL/Image.py`,
  `Image.resize`), which no scanner makes.
- `auto13`: Pillow 13 runs the vertical pass first where the height loses more than twice as
  many pixels as the width, and loses any: `H - h > 0 and H - h > 2 (W - w)`, in pixels, not in
  ratios (Pillow 13.0.0, `src/libImaging/Resample.c`, `ImagingResampleInner`).

`pil.nearest` is `Image.resize(size, NEAREST)`: output i takes input `int(x)`, where x starts at
half the ratio and the ratio is added once a pixel, in float64 with its rounding errors
(`src/libImaging/Geometry.c`, `ImagingScaleAffine`).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medsdk.pixels.kernels._proved import PROVED
from medsdk.pixels.kernels._taps import Band, Taps, bands_of, rounded_columns, rounded_rows

Filter = Literal["bilinear", "bicubic"]
Rule = Literal["hv", "auto13"]
Pass = Literal["horizontal", "vertical"]

_PRECISION_BITS = 32 - 8 - 2
_SUPPORT = {"bilinear": 1.0, "bicubic": 2.0}
_CUBIC = -0.5


def proved_version() -> str | None:
    """The installed Pillow's version where it was proved, else None."""
    try:
        from PIL import __version__
    except ImportError:
        return None
    return __version__ if PROVED["pillow"].covers(__version__) else None


def reference(
    filter_: Filter, rule: Rule, array: NDArray[np.uint8], height: int, width: int
) -> NDArray[np.uint8]:
    """Both passes in numpy."""
    result = array
    for axis in _order(rule, array.shape[:2], (height, width)):
        if axis == "vertical" and result.shape[0] != height:
            result = rounded_rows(result, _bands(filter_, result.shape[0], height))
        elif axis == "horizontal" and result.shape[1] != width:
            result = rounded_columns(result, _bands(filter_, result.shape[1], width))
    return np.array(array, order="C") if result is array else result


def by_library(
    filter_: Filter, rule: Rule, array: NDArray[np.uint8], height: int, width: int
) -> NDArray[np.uint8]:
    """One axis at a time, so that the order is ours whatever the version would choose."""
    from PIL import Image

    image = Image.fromarray(array)
    resampling = Image.Resampling[filter_.upper()]
    for axis in _order(rule, array.shape[:2], (height, width)):
        size = (width, image.height) if axis == "horizontal" else (image.width, height)
        if size != image.size:
            image = image.resize(size, resampling)
    return np.array(image)


def nearest(array: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Nearest neighbours in numpy."""
    rows = array.take(_nearest(array.shape[0], height), axis=0)
    return np.asarray(rows.take(_nearest(array.shape[1], width), axis=1), order="C")


def nearest_by_library(array: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Nearest neighbours by Pillow."""
    from PIL import Image

    return np.array(Image.fromarray(array).resize((width, height), Image.Resampling.NEAREST))


@lru_cache(maxsize=64)
def _nearest(before: int, after: int) -> NDArray[np.intp]:
    if before == after:
        at = np.arange(after)
    else:
        ratio = before / after
        at = np.add.accumulate(np.concatenate([[ratio * 0.5], np.full(after - 1, ratio)]))
    at = at.astype(np.intp)
    at.flags.writeable = False
    return at


def _order(rule: Rule, before: tuple[int, ...], after: tuple[int, int]) -> tuple[Pass, Pass]:
    rows_lost, columns_lost = before[0] - after[0], before[1] - after[1]
    if rule == "auto13" and rows_lost > 0 and rows_lost > 2 * columns_lost:
        return "vertical", "horizontal"
    return "horizontal", "vertical"


@lru_cache(maxsize=16)
def _bands(filter_: Filter, before: int, after: int) -> tuple[Band, ...]:
    taps = _taps(filter_, before, after)
    return bands_of(Taps(taps.first, taps.weights / (1 << _PRECISION_BITS), before))


def _taps(filter_: Filter, before: int, after: int) -> Taps:
    """First input and fixed-point weights, whole numbers in float64, of every output."""
    scale = before / after
    widened = max(scale, 1.0)
    support = _SUPPORT[filter_] * widened
    center = (np.arange(after, dtype=np.float64) + 0.5) * scale
    first = np.maximum(np.trunc(center - support + 0.5), 0).astype(np.intp)
    last = np.minimum(np.trunc(center + support + 0.5), before).astype(np.intp)
    pixel = first[:, np.newaxis] + np.arange(int((last - first).max()))
    distance = np.abs((pixel - center[:, np.newaxis] + 0.5) * (1.0 / widened))
    weight = _triangle(distance) if filter_ == "bilinear" else _cubic(distance)
    weight[pixel >= last[:, np.newaxis]] = 0.0
    # Summed one after the other, as the C loop does: numpy's sum() goes pairwise.
    total = np.add.accumulate(weight, axis=1)[:, -1:]
    weight /= np.where(total == 0.0, 1.0, total)
    weight *= 1 << _PRECISION_BITS
    return Taps(first, np.trunc(weight + np.where(weight < 0, -0.5, 0.5)), before)


def _triangle(x: NDArray[Any]) -> NDArray[Any]:
    return np.where(x < 1.0, 1.0 - x, 0.0)


def _cubic(x: NDArray[Any]) -> NDArray[Any]:
    """Keys' kernel in the order of operations of `bicubic_filter`."""
    near = ((_CUBIC + 2.0) * x - (_CUBIC + 3.0)) * x * x + 1.0
    far = (((x - 5.0) * x + 8.0) * x - 4.0) * _CUBIC
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))
