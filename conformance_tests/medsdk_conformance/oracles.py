"""What ONNX's larger operators compute, written with numpy from their definitions.

In float64, or in int64 for quantized graphs; no runtime takes part. A test compares all cases
with onnx's reference evaluator.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Values = NDArray[Any]
Coordinates = Literal["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"]


def convolve(
    images: Values,
    weights: Values,
    *,
    strides: Sequence[int] = (),
    pads: Sequence[int] = (),
    dilations: Sequence[int] = (),
    groups: int = 1,
) -> Values:
    """Cross-correlation over any number of axes.

    Args:
        images: N x C x axes.
        weights: outputs x C / groups x kernel.
        strides: 1 by default.
        pads: Begin of every axis, then end of every axis; by default what keeps the size.
        dilations: 1 by default.
        groups: Of channels.
    """
    axes = weights.ndim - 2
    dilations = dilations or (1,) * axes
    reach = [d * (k - 1) + 1 for d, k in zip(dilations, weights.shape[2:], strict=True)]
    windows = _windows(images, reach, strides, pads or [r // 2 for r in reach] * 2, dilations, 0)
    over = ([1, *range(2 + axes, 2 + 2 * axes)], [1, *range(2, 2 + axes)])
    parts = [
        np.moveaxis(np.tensordot(part, kernel, over), -1, 1)
        for part, kernel in zip(
            np.split(windows, groups, axis=1), np.split(weights, groups, axis=0), strict=True
        )
    ]
    return np.concatenate(parts, axis=1)


def transposed_convolution(images: Values, weights: Values, stride: int) -> Values:
    """Each value paints its kernel, N x C x H x W; weights C x outputs x kernel, no padding."""
    kernel = weights.shape[2]
    batch, _, height, width = images.shape
    size = ((height - 1) * stride + kernel, (width - 1) * stride + kernel)
    painted = np.zeros((batch, weights.shape[1], *size))
    for row in range(kernel):
        for column in range(kernel):
            rows = slice(row, row + (height - 1) * stride + 1, stride)
            columns = slice(column, column + (width - 1) * stride + 1, stride)
            painted[:, :, rows, columns] += np.einsum(
                "nchw,co->nohw", images, weights[:, :, row, column]
            )
    return painted


def pool(
    images: Values,
    kernel: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[int],
    how: Literal["max", "mean", "mean-with-padding"],
) -> Values:
    """Pooling over any number of axes; `pads` as in `convolve`."""
    axes = tuple(range(-len(kernel), 0))
    ones = (1,) * len(kernel)
    if how == "max":
        return np.asarray(_windows(images, kernel, strides, pads, ones, -np.inf).max(axis=axes))
    sums = _windows(images, kernel, strides, pads, ones, 0).sum(axis=axes)
    if how == "mean-with-padding":
        return np.asarray(sums / np.prod(kernel))
    counts = _windows(np.ones_like(images), kernel, strides, pads, ones, 0).sum(axis=axes)
    return np.asarray(sums / counts)


def resize_linear(images: Values, sizes: Sequence[int], coordinates: Coordinates) -> Values:
    """Linear interpolation of the last axes to `sizes`; beyond the edge lies the edge."""
    result = images
    for axis, size in zip(range(-len(sizes), 0), sizes, strict=True):
        length = images.shape[axis]
        where = np.clip(_source(size, length, coordinates), 0, length - 1)
        low = np.floor(where).astype(np.int64)
        high = np.minimum(low + 1, length - 1)
        share = (where - low).reshape((-1,) + (1,) * (-axis - 1))
        result = result.take(low, axis) * (1 - share) + result.take(high, axis) * share
    return result


def softmax(values: Values, axis: int = -1) -> Values:
    """Shares that sum to one along an axis."""
    powers = np.exp(values - values.max(axis=axis, keepdims=True))
    return np.asarray(powers / powers.sum(axis=axis, keepdims=True))


def sigmoid(values: Values) -> Values:
    """`1 / (1 + exp(-values))`."""
    return np.asarray(1 / (1 + np.exp(-values)))


def per_channel(values: Values, axes: int = 2) -> Values:
    """`values`, one a channel, with as many axes after them as an image has."""
    return values.reshape((-1,) + (1,) * axes)


def _source(size: int, length: int, coordinates: Coordinates) -> Values:
    """Where the new points lie in the old axis."""
    new = np.arange(size, dtype=np.float64)
    match coordinates:
        case "half_pixel":
            return (new + 0.5) * length / size - 0.5
        case "pytorch_half_pixel":
            return (new + 0.5) * length / size - 0.5 if size > 1 else np.zeros(1)
        case "align_corners":
            return new * (length - 1) / max(size - 1, 1)
        case "asymmetric":
            return new * length / size


def _windows(
    images: Values,
    reach: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[int],
    dilations: Sequence[int],
    fill: float,
) -> Values:
    """N x C x places x kernel."""
    axes = len(reach)
    around = ((0, 0), (0, 0), *zip(pads[:axes], pads[axes:], strict=True))
    padded = np.pad(images, around, constant_values=fill)
    views = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=tuple(range(2, 2 + axes)))
    whole = (slice(None), slice(None))
    steps = tuple(slice(None, None, step) for step in (*(strides or (1,) * axes), *dilations))
    return views[whole + steps]
