"""Weighted sums along one axis of an image: the passes that resizes are made of.

A pass knows, for each output, its first input and the weights of that one and those behind it.
Images are rows x columns or rows x columns x 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_CACHED = 1 << 16
"""Values of a part of an image that a float32 pass works on: it stays in a core's own cache."""

_PRODUCT = 1 << 18
"""The same for products of matrices, whose calls cost more than the cache saves."""

_BLAS_WORK = 1 << 18
"""Largest product of the three sizes of a matrix product. OpenBLAS starts threads above this
(`interface/gemm.c`, SMP_THRESHOLD_MIN times GEMM_MULTITHREAD_THRESHOLD), and the process's thread
budget knows nothing of them."""

_BAND = 8
"""Outputs of one matrix product: with fewer the calls cost more, with more the zeros."""


@dataclass(frozen=True, eq=False)
class Taps:
    """Where each output begins and its weights.

    Attributes:
        first: First input of each output, never falling.
        weights: outputs x taps; zero behind the last tap of an output, where `first + tap` may
            lie outside of the image.
        before: Number of inputs.
    """

    first: NDArray[np.intp]
    weights: NDArray[Any]
    before: int

    def __post_init__(self) -> None:
        self.first.flags.writeable = False
        self.weights.flags.writeable = False

    @property
    def after(self) -> int:
        """Number of outputs."""
        return len(self.first)


@dataclass(frozen=True, eq=False)
class Band:
    """Some outputs as one matrix product: `weights @ inputs[first:last]`."""

    start: int
    stop: int
    first: int
    last: int
    weights: NDArray[np.float64]


def bands_of(taps: Taps) -> tuple[Band, ...]:
    """Cut taps into matrices, each with the inputs that its outputs see and no others."""
    count = taps.weights.shape[1]
    bands = []
    for start in range(0, taps.after, _BAND):
        stop = min(start + _BAND, taps.after)
        first = int(taps.first[start])
        last = min(int(taps.first[stop - 1]) + count, taps.before)
        dense = np.zeros((stop - start, last - first + count))
        rows = np.arange(stop - start)[:, np.newaxis]
        dense[rows, taps.first[start:stop, np.newaxis] - first + np.arange(count)] = taps.weights[
            start:stop
        ]
        weights = np.ascontiguousarray(dense[:, : last - first])
        weights.flags.writeable = False
        bands.append(Band(start, stop, first, last, weights))
    return tuple(bands)


def rounded_rows(array: NDArray[np.uint8], bands: tuple[Band, ...]) -> NDArray[np.uint8]:
    """One pass along the rows' axis: sums, plus a half, cut to 0..255, rounded down.

    The sums are exact where weights are whole numbers over a power of two and no sum has more
    than 53 bits: every order of additions, fused or not, then gives the same.
    """
    after = bands[-1].stop
    flat = array.reshape(array.shape[0], -1)
    result = np.empty((after, flat.shape[1]), np.uint8)
    work = max(band.weights.size for band in bands)
    step = max(1, min(_BLAS_WORK // work, _PRODUCT // array.shape[0], flat.shape[1]))
    # Made once: memory that is given back and taken again costs more than the arithmetic.
    whole_part, sums = np.empty((array.shape[0], step)), np.empty((after, step))
    for left in range(0, flat.shape[1], step):
        columns = min(step, flat.shape[1] - left)
        part, out = whole_part[:, :columns], sums[:, :columns]
        part[...] = flat[:, left : left + step]
        for band in bands:
            np.matmul(band.weights, part[band.first : band.last], out=out[band.start : band.stop])
        result[:, left : left + step] = _half_up(out)
    return result.reshape(after, *array.shape[1:])


def rounded_columns(array: NDArray[np.uint8], bands: tuple[Band, ...]) -> NDArray[np.uint8]:
    """The same along the columns' axis."""
    after = bands[-1].stop
    height, width = array.shape[:2]
    planes = array[np.newaxis] if array.ndim == 2 else array.transpose(2, 0, 1)
    count = planes.shape[0]
    result = np.empty((height, after, *array.shape[2:]), np.uint8)
    into = result[np.newaxis] if array.ndim == 2 else result.transpose(2, 0, 1)
    work = max(band.weights.size for band in bands)
    step = max(1, min(_BLAS_WORK // work, _PRODUCT // width, height * count) // count)
    whole_part, sums = np.empty((count * step, width)), np.empty((count * step, after))
    for top in range(0, height, step):
        rows = count * min(step, height - top)
        part, out = whole_part[:rows], sums[:rows]
        part.reshape(count, -1, width)[...] = planes[:, top : top + step]
        for band in bands:
            np.matmul(
                part[:, band.first : band.last],
                band.weights.T,
                out=out[:, band.start : band.stop],
            )
        into[:, top : top + step] = _half_up(out).reshape(count, -1, after)
    return result


def _half_up(sums: NDArray[np.float64]) -> NDArray[np.uint8]:
    """In place: `floor(sums + 0.5)`, cut to 0..255."""
    sums += 0.5
    np.clip(sums, 0.0, 255.0, out=sums)
    return sums.astype(np.uint8)


def float_rows(array: NDArray[Any], taps: Taps) -> NDArray[np.float32]:
    """One pass along the rows' axis in float32: tap after tap, nothing fused."""
    flat = array.reshape(array.shape[0], -1)
    result = np.empty((taps.after, flat.shape[1]), np.float32)
    step = min(max(64, _CACHED // max(taps.after, array.shape[0])), flat.shape[1])
    whole_part = np.empty((array.shape[0], step), np.float32)
    sums, product = (np.empty((taps.after, step), np.float32) for _ in range(2))
    for left in range(0, flat.shape[1], step):
        columns = min(step, flat.shape[1] - left)
        if columns < step:
            whole_part = np.empty((array.shape[0], columns), np.float32)
            sums, product = (np.empty((taps.after, columns), np.float32) for _ in range(2))
        whole_part[...] = flat[:, left : left + columns]
        for tap, weights in enumerate(taps.weights.T):
            into = product if tap else sums
            whole_part.take(taps.first + tap, axis=0, out=into, mode="clip")
            into *= weights[:, np.newaxis]
            if tap:
                sums += product
        result[:, left : left + columns] = sums
    return result.reshape(taps.after, *array.shape[1:])


def float_columns(array: NDArray[Any], taps: Taps) -> NDArray[np.float32]:
    """One pass along the columns' axis in float32: tap after tap, nothing fused."""
    height, width = array.shape[:2]
    count = 1 if array.ndim == 2 else array.shape[2]
    flat = array.reshape(height, -1)
    weights = np.repeat(taps.weights.T, count, axis=1)
    pixel = np.minimum(taps.first + np.arange(len(weights))[:, np.newaxis], width - 1)
    places = (pixel[:, :, np.newaxis] * count + np.arange(count)).reshape(len(weights), -1)
    result = np.empty((height, taps.after * count), np.float32)
    step = min(max(1, _CACHED // (max(taps.after, width) * count)), height)
    part = np.empty((step, width * count), np.float32)
    product = np.empty((step, taps.after * count), np.float32)
    for top in range(0, height, step):
        sums = result[top : top + step]
        rows = sums.shape[0]
        part[:rows] = flat[top : top + step]
        for tap, (at, weight) in enumerate(zip(places, weights, strict=True)):
            into = product[:rows] if tap else sums
            part[:rows].take(at, axis=1, out=into, mode="clip")
            into *= weight
            if tap:
                sums += into
    return result.reshape(height, taps.after, *array.shape[2:])
