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

    Elements that follow each other along the last axis are a run. Runs that touch are joined:
    each points at the first one that it is known to be joined with, until nothing changes
    (Shiloach and Vishkin, J. Algorithms 3, 1982). Needs about 20 bytes an element.

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
    starts = mask.copy()
    starts[..., 1:] &= ~mask[..., :-1]
    runs = np.cumsum(starts, dtype=np.int32).reshape(mask.shape)
    runs[~mask] = 0
    root = np.arange(int(np.count_nonzero(starts)) + 1, dtype=np.int32)
    for offset in _other_lines(axes, steps):
        root = _joined(root, *_touching(runs, offset))
    _, numbers = np.unique(root, return_inverse=True)
    return numbers.astype(np.int32)[runs], int(numbers.max(initial=0))


def _other_lines(axes: int, steps: int) -> list[tuple[int, ...]]:
    """Neighbours in other lines, of each opposite pair one."""
    zero = (0,) * (axes - 1)
    return [
        offset
        for offset in product((-1, 0, 1), repeat=axes)
        if offset[:-1] > zero and np.count_nonzero(offset) <= steps
    ]


def _touching(
    runs: NDArray[np.int32], offset: tuple[int, ...]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Runs that are neighbours by this offset; a pair that follows itself once."""
    here = tuple(slice(max(0, -step), min(0, -step) or None) for step in offset)
    there = tuple(slice(max(0, step), min(0, step) or None) for step in offset)
    a, b = runs[here], runs[there]
    both = (a > 0) & (b > 0)
    a, b = a[both], b[both]
    new = np.ones(len(a), np.bool_)
    new[1:] = (a[1:] != a[:-1]) | (b[1:] != b[:-1])
    return a[new], b[new]


def _joined(
    root: NDArray[np.int32], first: NDArray[np.int32], second: NDArray[np.int32]
) -> NDArray[np.int32]:
    """Roots after the runs of each pair are joined."""
    while len(first):
        a, b = root[first], root[second]
        apart = a != b
        first, second, a, b = (each[apart] for each in (first, second, a, b))
        np.minimum.at(root, np.maximum(a, b), np.minimum(a, b))
        while not np.array_equal(jumped := root[root], root):
            root = jumped
    return root
