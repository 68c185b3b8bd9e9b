"""Torch's bilinear resizes: `torch.bilinear` and `torch.bilinear.antialias`.

They are `torch.nn.functional.interpolate(x, size=..., mode="bilinear", align_corners=False)` of a
float32 image on a CPU, without and with `antialias=True`. An 8-bit or 16-bit image becomes
float32 first; torch's own path for uint8 rounds to 8 bits, and is not meant. The result is
float32 and not rounded.

Coordinates and weights are torch's own float32 ones. `torch.bilinear` fuses the multiplication
and the subtraction of `ratio * (i + 0.5) - 0.5`, as torch does on every x86 processor with AVX2;
with the capability DEFAULT it does not, and moves values by up to 2.8e-5 of the range, which is
not what the name means. Sums are plain float32, one operation after the other: torch fuses some
of them where the processor can, which was worth 3e-7 of the range and no more; without, the
antialiased resize is equal to the bit (`aten/src/ATen/native/cpu/UpSampleKernel.cpp`).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medsdk.pixels.errors import PixelInputRefusedError
from medsdk.pixels.kernels._corners import (
    Corners,
    Pairs,
    corners_of,
    interpolated,
    weighed_sum,
)
from medsdk.pixels.kernels._taps import Taps, float_columns, float_rows


def bilinear(array: NDArray[Any], height: int, width: int) -> NDArray[np.float32]:
    """`torch.bilinear` in numpy."""
    parts = _corners(array.shape, height, width)
    return interpolated(array, height, width, parts, weighed_sum, np.float32)


def antialias(array: NDArray[Any], height: int, width: int) -> NDArray[np.float32]:
    """`torch.bilinear.antialias` in numpy: the horizontal pass first, as torch has it.

    Raises:
        PixelInputRefusedError: To one column and another height. Torch repeats the first row
            there (2.13.0), so there is nothing right to reproduce.
    """
    if width == 1 and array.shape[0] != height:
        raise PixelInputRefusedError.frame(
            f"{array.shape[0]} rows to {height} in a single column",
            "at least two columns: torch itself repeats the first row there",
        )
    result = array
    if array.shape[1] != width:
        result = float_columns(result, _taps(array.shape[1], width))
    if array.shape[0] != height:
        result = float_rows(result, _taps(array.shape[0], height))
    return np.array(result, np.float32, order="C") if result is array else result


@lru_cache(maxsize=32)
def _corners(shape: tuple[int, ...], height: int, width: int) -> tuple[Corners, ...]:
    rows, columns = _pairs(shape[0], height), _pairs(shape[1], width)
    return corners_of(rows, columns, math.prod(shape[2:]))


def _pairs(before: int, after: int) -> Pairs:
    if before == after:
        same = np.arange(after)
        return Pairs(same, same, np.zeros(after, np.float32))
    ratio = np.float32(before) / np.float32(after)
    # A product of two float32 is exact in float64, so this rounds once, as a fused operation.
    at = ((np.arange(after) + 0.5) * np.float64(ratio) - 0.5).astype(np.float32)
    at = np.maximum(at, np.float32(0))
    low = np.minimum(at.astype(np.intp), before - 1)
    share = np.clip(at - low.astype(np.float32), np.float32(0), np.float32(1))
    return Pairs(low, np.minimum(low + 1, before - 1), share)


@lru_cache(maxsize=32)
def _taps(before: int, after: int) -> Taps:
    """A triangle widened by the shrinking ratio, in float32 but where torch widens to float64."""
    ratio = np.float32(before) / np.float32(after)
    support = np.maximum(ratio, np.float32(1))
    inverse = (1.0 / np.float64(support)).astype(np.float32)
    center = (np.float64(ratio) * (np.arange(after) + 0.5)).astype(np.float32)
    first = np.maximum(np.trunc((center - support).astype(np.float64) + 0.5), 0).astype(np.intp)
    last = np.minimum(np.trunc((center + support).astype(np.float64) + 0.5), before)
    most = 2 * int(np.ceil(support)) + 1
    count = np.clip(last.astype(np.intp) - first, 0, most)
    pixel = first[:, np.newaxis] + np.arange(int(count.max()))
    distance = (pixel.astype(np.float32) - center[:, np.newaxis]).astype(np.float64) + 0.5
    x = np.abs((distance * np.float64(inverse)).astype(np.float32))
    weight = np.where(x < 1, np.float32(1) - x, np.float32(0))
    weight[np.arange(weight.shape[1]) >= count[:, np.newaxis]] = 0
    total = np.add.accumulate(weight, axis=1)[:, -1:]
    return Taps(first, weight / np.where(total == 0, np.float32(1), total), before)
