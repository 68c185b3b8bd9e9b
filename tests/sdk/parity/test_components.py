"""Connected components against scipy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from medsdk.parity.components import Connectivity, label_components

STRUCTURES: dict[Connectivity, tuple[int, int]] = {
    4: (2, 1),
    8: (2, 2),
    6: (3, 1),
    18: (3, 2),
    26: (3, 3),
}


def _by_scipy(mask: NDArray[np.bool_], connectivity: Connectivity) -> tuple[Any, int]:
    labels, count = ndimage.label(
        mask, ndimage.generate_binary_structure(*STRUCTURES[connectivity])
    )
    return labels, int(count)


@pytest.mark.parametrize("connectivity", STRUCTURES)
def test_numbers_are_those_of_scipy(connectivity):
    generator = np.random.default_rng(connectivity)
    for _ in range(60):
        shape = generator.integers(1, 12, STRUCTURES[connectivity][0])
        mask = generator.random(shape) < generator.random()
        labels, count = label_components(mask, connectivity)
        expected, number = _by_scipy(mask, connectivity)
        assert count == number
        np.testing.assert_array_equal(labels, expected)


@pytest.mark.parametrize("connectivity", [4, 8])
def test_a_spiral_is_one(connectivity):
    """The longest way through a mask: each turn joins what was two."""
    mask = np.zeros((63, 63), bool)
    row = column = 0
    steps, turn = 62, 0
    mask[0, 0] = True
    while steps > 0:
        for _ in range(2 if steps < 62 else 3):
            dr, dc = ((0, 1), (1, 0), (0, -1), (-1, 0))[turn % 4]
            for _ in range(steps):
                row, column = row + dr, column + dc
                mask[row, column] = True
            turn += 1
        steps -= 2
    labels, count = label_components(mask, connectivity)
    assert (count, labels.max()) == (_by_scipy(mask, connectivity)[1], count)


def test_diagonal_neighbours():
    plane = np.eye(3, dtype=bool)
    assert [label_components(plane, c)[1] for c in (4, 8)] == [3, 1]
    corner = np.zeros((2, 2, 2), bool)
    corner[0, 0, 0] = corner[1, 1, 1] = True
    assert [label_components(corner, c)[1] for c in (6, 18, 26)] == [2, 2, 1]
    edge = np.zeros((2, 2, 2), bool)
    edge[0, 0, 0] = edge[0, 1, 1] = True
    assert [label_components(edge, c)[1] for c in (6, 18, 26)] == [2, 1, 1]


def test_nothing_has_none():
    labels, count = label_components(np.zeros((4, 5), bool), 8)
    assert count == 0
    assert labels.shape == (4, 5)
    assert not labels.any()


def test_a_plane_has_no_26_neighbours():
    with pytest.raises(ValueError, match="2 axes with 26 neighbours of 3"):
        label_components(np.zeros((4, 5), bool), 26)
