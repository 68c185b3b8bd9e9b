"""How far the surfaces of two masks are apart, in mm: exact, in numpy, memory bounded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_FAR = 1 << 20
"""More elements than an axis can have: nothing to be found along it."""

_AT_ONCE = 1 << 18
"""Distances that are worked out at a time."""


@dataclass(frozen=True)
class SurfaceDistance:
    """Distances between two surfaces, in mm.

    Attributes:
        mean: Of all elements of both surfaces, each to the nearest of the other.
        percentile_95: 95th percentile of the same distances (HD95).
    """

    mean: float
    percentile_95: float


def surface(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Elements of a mask with a face neighbour outside it; the border of the array is outside.

    Args:
        mask: Any number of axes.

    Returns:
        A mask of the same shape.
    """
    inside = np.pad(mask, 1)
    core = mask.copy()
    middle = (slice(1, -1),) * mask.ndim
    for axis in range(mask.ndim):
        for shift in (slice(None, -2), slice(2, None)):
            core &= inside[(*middle[:axis], shift, *middle[axis + 1 :])]
    return mask & ~core


def surface_distance(
    first: NDArray[np.bool_], second: NDArray[np.bool_], spacing_mm: Sequence[float]
) -> SurfaceDistance | None:
    """Mean and 95th percentile of the distances between two surfaces.

    A surface is `surface` of its mask, its elements stand for their centres, and both directions
    are pooled (average symmetric surface distance, Heimann et al., IEEE TMI 28, 2009). The
    percentile is the linear one of numpy. Surfaces are counted by elements, not by area.

    Args:
        first: H x W, or slices x H x W.
        second: The same shape.
        spacing_mm: Distance of neighbours along each axis, in the order of the axes.

    Returns:
        The distances; None where a mask is empty, since there is no distance to nothing.

    Raises:
        ValueError: The shapes or the spacing do not fit.
    """
    if first.shape != second.shape or len(spacing_mm) != first.ndim or not 2 <= first.ndim <= 3:
        raise ValueError(
            f"masks of {first.shape} and {second.shape} with a spacing of {len(spacing_mm)}"
        )
    if not all(0 < step < float("inf") for step in spacing_mm):
        raise ValueError(f"a spacing of {tuple(spacing_mm)} mm, expected positive numbers")
    if not (first.any() and second.any()):
        return None
    box = bounding_box(first | second)
    a, b = surface(first)[box], surface(second)[box]
    distances = np.concatenate(
        [nearest(np.argwhere(a), b, spacing_mm), nearest(np.argwhere(b), a, spacing_mm)]
    )
    return SurfaceDistance(float(distances.mean()), float(np.quantile(distances, 0.95)))


def nearest(
    places: NDArray[np.int64], mask: NDArray[np.bool_], spacing_mm: Sequence[float]
) -> NDArray[np.float64]:
    """Distance in mm from each place to the nearest element of a mask, exact.

    Along the last axis the nearest element of every line is found in one pass. The other lines
    are then looked at by their distance from the place, until the next line is farther away than
    the nearest element that was found. Surfaces that nearly agree need few lines each.

    Args:
        places: n x axes, indices into the mask.
        mask: Any element set; needs 4 bytes an element beside it.
        spacing_mm: Along each axis.

    Returns:
        n distances; infinity where the mask is empty.
    """
    steps = _along_last_axis(mask).reshape(-1, mask.shape[-1])
    lines = np.array(mask.shape[:-1])
    reach = [np.arange(1 - size, size) for size in lines]
    offsets = np.stack(np.meshgrid(*reach, indexing="ij"), axis=-1).reshape(-1, len(lines))
    away = ((offsets * np.asarray(spacing_mm[:-1])) ** 2).sum(axis=1)
    order = np.argsort(away, kind="stable")
    offsets, away = offsets[order], away[order]
    best = np.full(len(places), np.inf)
    active = np.arange(len(places))
    done = 0
    while done < len(offsets) and len(active):
        until = done + max(1, _AT_ONCE // len(active))
        line = places[active, None, :-1] + offsets[None, done:until]
        inside = ((line >= 0) & (line < lines)).all(axis=-1)
        row = np.ravel_multi_index(
            tuple(np.moveaxis(np.where(inside[..., None], line, 0), -1, 0)), tuple(lines)
        )
        along = steps[row, places[active, None, -1]] * float(spacing_mm[-1])
        found = np.where(inside, along**2 + away[done:until], np.inf).min(axis=1)
        best[active] = np.minimum(best[active], found)
        done = until
        if done < len(offsets):
            active = active[best[active] > away[done]]
    best[best >= (_FAR * float(spacing_mm[-1])) ** 2] = np.inf
    return np.asarray(np.sqrt(best), np.float64)


def _along_last_axis(mask: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Number of steps along the last axis to the nearest element that is set, or `_FAR`."""
    size = mask.shape[-1]
    positions = np.arange(size, dtype=np.int32)
    result = np.empty(mask.shape, np.int32)
    for index in np.ndindex(mask.shape[:-2]):
        part = mask[index]
        before = np.maximum.accumulate(np.where(part, positions, np.int32(-_FAR)), axis=-1)
        behind = np.where(part, positions, np.int32(2 * _FAR))[..., ::-1]
        behind = np.minimum.accumulate(behind, axis=-1)[..., ::-1]
        result[index] = np.minimum(np.minimum(positions - before, behind - positions), _FAR)
    return result


def bounding_box(mask: NDArray[np.bool_]) -> tuple[slice, ...]:
    """The smallest part of an array that holds all that is set.

    Args:
        mask: Any number of axes, any element set.

    Returns:
        One slice an axis.
    """
    found = []
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        used = np.flatnonzero(mask.any(axis=others))
        found.append(slice(int(used[0]), int(used[-1]) + 1))
    return tuple(found)
