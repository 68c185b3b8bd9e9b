"""TensorFlow's bilinear resize: `tf.bilinear`.

It is `tf.image.resize(image, size, method="bilinear", antialias=False)` on a CPU: centres of
pixels at one half, coordinates, weights and sums in float32, nothing fused, and a difference
times a share added to the first value (`tensorflow/core/kernels/image/resize_bilinear_op.cc`).
The result is float32 and not rounded; an 8-bit or 16-bit image becomes float32 first, which gives
what TensorFlow gives for it. The reference equals TensorFlow's x86 build to the bit.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medsdk.pixels.kernels._corners import Corners, Pairs, corners_of, interpolated


def bilinear(array: NDArray[Any], height: int, width: int) -> NDArray[np.float32]:
    """`tf.bilinear` in numpy."""
    if array.shape[:2] == (height, width):
        return np.array(array, np.float32, order="C")
    parts = _corners(array.shape, height, width)
    return interpolated(array, height, width, parts, _two_differences, np.float32)


def _two_differences(image: NDArray[Any], corners: Corners) -> NDArray[np.float32]:
    left, right = corners.sides(image, np.float32)
    right -= left
    right *= corners.across
    left += right
    top, bottom = corners.ends(left)
    bottom -= top
    bottom *= corners.down
    top += bottom
    return top


@lru_cache(maxsize=32)
def _corners(shape: tuple[int, ...], height: int, width: int) -> tuple[Corners, ...]:
    rows, columns = _pairs(shape[0], height), _pairs(shape[1], width)
    return corners_of(rows, columns, math.prod(shape[2:]))


def _pairs(before: int, after: int) -> Pairs:
    ratio = np.float32(before) / np.float32(after)
    at = (np.arange(after, dtype=np.float32) + np.float32(0.5)) * ratio - np.float32(0.5)
    floor = np.floor(at)
    low = np.maximum(floor, 0).astype(np.intp)
    return Pairs(low, np.minimum(np.ceil(at).astype(np.intp), before - 1), at - floor)
