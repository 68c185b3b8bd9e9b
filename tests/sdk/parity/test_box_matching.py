"""Boxes: overlap by counting pixels, matching against scipy and every order."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from medsdk.parity.boxes import LabelledBox, ScoredBox, matching, overlaps, same_boxes, true_boxes
from medsdk.pixels import Box

corners = st.tuples(*[st.integers(0, 9)] * 2, *[st.integers(1, 6)] * 2)
scored = st.builds(
    lambda at, label, score: ScoredBox(
        Box(at[0], at[1], at[0] + at[2], at[1] + at[3]), label, score
    ),
    corners,
    st.sampled_from(["cyst", "other"]),
    st.sampled_from([0.5, 0.52, 0.55, 0.6]),
)
several = st.lists(scored, max_size=6)


def _pixels(box: Box) -> set[tuple[int, int]]:
    """Pixels whose centre is in the box."""
    return {
        (x, y)
        for x in range(16)
        for y in range(16)
        if box.x0 < x + 0.5 < box.x1 and box.y0 < y + 0.5 < box.y1
    }


@given(several, several)
@settings(max_examples=40, deadline=None)
def test_an_overlap_is_that_of_the_pixels(first, second):
    got = overlaps([a.box for a in first], [b.box for b in second])
    assert got.shape == (len(first), len(second))
    for i, a in enumerate(first):
        for j, b in enumerate(second):
            one, two = _pixels(a.box), _pixels(b.box)
            assert got[i, j] == pytest.approx(len(one & two) / len(one | two), abs=1e-12)


def test_boxes_that_touch_do_not_overlap():
    """Half-open: with a width of x1 - x0 + 1 the two would share a column."""
    assert overlaps([Box(0, 0, 10, 10)], [Box(10, 0, 20, 10)]).tolist() == [[0.0]]
    assert overlaps([Box(0, 0, 10, 10)], [Box(0, 0, 10, 9)]).tolist() == [[0.9]]


def test_no_boxes_have_no_overlaps():
    assert overlaps([], [Box(0, 0, 1, 1)]).shape == (0, 1)
    assert overlaps([Box(0, 0, 1, 1)], []).shape == (1, 0)
    assert matching(np.zeros((0, 3), bool)) == ()


@given(st.integers(0, 8), st.integers(0, 8), st.integers(0, 2**32 - 1), st.floats(0.05, 0.9))
@settings(max_examples=100, deadline=None)
def test_as_many_are_paired_as_can_be(rows, columns, seed, density):
    allowed = np.random.default_rng(seed).random((rows, columns)) < density
    pairs = matching(allowed)
    assert all(allowed[pair] for pair in pairs)
    assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == len(pairs)
    best = allowed[linear_sum_assignment(allowed, maximize=True)].sum()
    assert len(pairs) == best


def test_a_long_chain_of_pairs_is_no_recursion():
    """Each row may take its own column or the next one: the last row moves all of them."""
    size = 1500
    allowed = np.eye(size, dtype=bool) | np.eye(size, k=-1, dtype=bool)
    allowed[0, :] = False
    allowed[0, 0] = True
    assert len(matching(allowed[::-1])) == size


@given(several, several, st.randoms())
@settings(max_examples=40, deadline=None)
def test_how_many_match_depends_on_no_order(first, second, random):
    def count(reference: list[ScoredBox], variant: list[ScoredBox]) -> int:
        return len(same_boxes(reference, variant, 0.4, 0.05))

    expected = count(first, second)
    assert count(second, first) == expected
    random.shuffle(first)
    random.shuffle(second)
    assert count(first, second) == expected


@given(several)
@settings(max_examples=50, deadline=None)
def test_every_box_matches_itself(boxes):
    assert len(same_boxes(boxes, boxes, 0.9, 0.05)) == len(boxes)


def test_a_greedy_choice_would_leave_one_alone():
    """The middle variant box overlaps both reference boxes, the upper one most."""
    reference = [
        ScoredBox(Box(0, 0, 10, 10), "cyst", 0.9),
        ScoredBox(Box(0, 2, 10, 12), "cyst", 0.9),
    ]
    variant = [
        ScoredBox(Box(0, 0.5, 10, 10.5), "cyst", 0.9),
        ScoredBox(Box(0, -3, 10, 7), "cyst", 0.9),
    ]
    table = overlaps([box.box for box in reference], [box.box for box in variant])
    assert table[0, 0] == table.max()
    assert table[1, 0] > 0.5 > table[1, 1]
    for one in permutations(reference):
        for other in permutations(variant):
            assert len(same_boxes(one, other, 0.5, 0.05)) == 2


@pytest.mark.parametrize(
    ("moved", "same"),
    [
        (ScoredBox(Box(0, 0, 10, 10), "cyst", 0.55), True),
        (ScoredBox(Box(0, 0, 10, 10), "cyst", 0.551), False),
        (ScoredBox(Box(0, 0, 10, 10), "cyst", 0.45), True),
        (ScoredBox(Box(0, 0, 10, 10), "other", 0.5), False),
        (ScoredBox(Box(0, 0, 10, 9), "cyst", 0.5), True),
        (ScoredBox(Box(0, 0, 10, 8.9), "cyst", 0.5), False),
    ],
)
def test_the_same_box_has_label_place_and_score(moved, same):
    box = ScoredBox(Box(0, 0, 10, 10), "cyst", 0.5)
    assert bool(same_boxes([box], [moved], 0.9, 0.05)) is same


def test_a_true_box_is_found_once():
    truth = [LabelledBox(Box(0, 0, 10, 10), "cyst")]
    twice = [ScoredBox(Box(0, 0, 10, 10), "cyst", 0.9), ScoredBox(Box(0, 0, 10, 9), "cyst", 0.8)]
    assert len(true_boxes(truth, twice, 0.5)) == 1
    assert true_boxes(truth, [ScoredBox(Box(0, 0, 10, 10), "other", 0.9)], 0.5) == ()


def test_a_score_is_a_fraction():
    with pytest.raises(ValueError, match=r"score of 1\.1"):
        ScoredBox(Box(0, 0, 1, 1), "cyst", 1.1)
    with pytest.raises(ValueError, match="score of nan"):
        ScoredBox(Box(0, 0, 1, 1), "cyst", float("nan"))
