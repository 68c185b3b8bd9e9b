"""Connected components of a mask, in numpy."""

from __future__ import annotations

from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Connectivity = Literal[4, 8, 6, 18, 26]
"""Neighbours of a pixel (4, 8) or of a voxel (6, 18, 26)."""

_SHARED: dict[Connectivity, tuple[int, int]] = {
    4: (2, 1),
    8: (2, 2),
    6: (3, 1),
    18: (3, 2),
    26: (3, 3),
}
"""Number of axes, and along how many of them a neighbour may lie one step away."""


def label_components(
    mask: NDArray[np.bool_], connectivity: Connectivity
) -> tuple[NDArray[np.int32], int]:
    """Number the connected components.

    All pairs of neighbours are edges; every element points at the smallest one that it is known
    to be joined with, until nothing changes (Shiloach and Vishkin, J. Algorithms 3, 1982). Needs
    about 24 bytes an element of the mask that is set, and 8 for each of all.

    Args:
        mask: H x W, or slices x H x W.
        connectivity: Neighbours.

    Returns:
        Component of each element, 1.. in the order of their first elements, 0 outside the mask;
        and how many there are.

    Raises:
        ValueError: The mask has another number of axes than the connectivity.
    """
    axes, steps = _SHARED[connectivity]
    if mask.ndim != axes:
        raise ValueError(f"a mask of {mask.ndim} axes with {connectivity} neighbours of {axes}")
    labels = np.zeros(mask.shape, np.int32)
    count = int(np.count_nonzero(mask))
    if not count:
        return labels, 0
    index = np.full(mask.shape, -1, np.int32)
    index[mask] = np.arange(count, dtype=np.int32)
    edges = [_edges(index, offset) for offset in _half_of_neighbours(axes, steps)]
    first, second = np.concatenate(edges, axis=1)
    root = np.arange(count, dtype=np.int32)
    while True:
        a, b = root[first], root[second]
        open_edges = a != b
        if not open_edges.any():
            break
        first, second, a, b = (each[open_edges] for each in (first, second, a, b))
        np.minimum.at(root, np.maximum(a, b), np.minimum(a, b))
        while (jumped := root[root]).tobytes() != root.tobytes():
            root = jumped
    roots, numbers = np.unique(root, return_inverse=True)
    labels[mask] = numbers + 1
    return labels, len(roots)


def _half_of_neighbours(axes: int, steps: int) -> list[tuple[int, ...]]:
    """Each pair of opposite neighbours once."""
    zero = (0,) * axes
    return [
        offset
        for offset in product((-1, 0, 1), repeat=axes)
        if offset > zero and np.count_nonzero(offset) <= steps
    ]


def _edges(index: NDArray[np.int32], offset: tuple[int, ...]) -> NDArray[np.int32]:
    """Numbers of the elements of the mask that are neighbours by this offset, 2 x edges."""
    here = tuple(slice(max(0, -step), min(0, -step) or None) for step in offset)
    there = tuple(slice(max(0, step), min(0, step) or None) for step in offset)
    a, b = index[here], index[there]
    both = (a >= 0) & (b >= 0)
    return np.stack([a[both], b[both]])
