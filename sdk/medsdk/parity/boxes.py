"""Boxes of one picture: how much they overlap, and which of two sets are the same."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medsdk.pixels import Box

Pair = tuple[int, int]
"""Positions in the first and the second sequence."""


@dataclass(frozen=True)
class LabelledBox:
    """A box that somebody drew: the truth.

    Attributes:
        box: Half-open, in pixels of the full stored frame.
        label: What is in it.
    """

    box: Box
    label: str


@dataclass(frozen=True)
class ScoredBox:
    """A box that a detector gave.

    Attributes:
        box: Half-open, in pixels of the full stored frame.
        label: What is in it.
        score: 0..1.
    """

    box: Box
    label: str
    score: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.score <= 1.0:
            raise ValueError(f"a score of {self.score}, expected 0..1")


def overlaps(first: Sequence[Box], second: Sequence[Box]) -> NDArray[np.float64]:
    """Intersection over union of each box with each.

    Boxes are half-open with their outer corners, so a width is `x1 - x0`, without the 1 that
    goes with corners at pixel centres.

    Args:
        first: n boxes.
        second: m boxes.

    Returns:
        n x m values, 0..1.
    """
    a = np.array([box.corners for box in first], np.float64).reshape(-1, 1, 4)
    b = np.array([box.corners for box in second], np.float64).reshape(1, -1, 4)
    sides = np.maximum(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0)
    shared = sides[..., 0] * sides[..., 1]
    return np.asarray(shared / (_areas(a) + _areas(b) - shared), np.float64)


def _areas(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    width, height = corners[..., 2] - corners[..., 0], corners[..., 3] - corners[..., 1]
    return np.asarray(width * height, np.float64)


def matching(allowed: NDArray[np.bool_]) -> tuple[Pair, ...]:
    """Pair as many as can be paired, one to one.

    A largest matching by augmenting paths (Berge, 1957). How many are paired depends on the two
    sets alone; a greedy choice would also depend on their order wherever two overlaps or scores
    are equal, and could leave a box alone that has a partner.

    Args:
        allowed: n x m, which of the first may be paired with which of the second.

    Returns:
        The pairs, in the order of the first. Their number is unique; which ones they are is fixed
        by the order of the rows and columns.
    """
    choices = [np.flatnonzero(row).tolist() for row in allowed]
    owner: dict[int, int] = {}
    for row in range(len(choices)):
        _augment(row, choices, owner)
    return tuple(sorted((row, column) for column, row in owner.items()))


def _augment(start: int, choices: Sequence[Sequence[int]], owner: dict[int, int]) -> None:
    """Pair one more row where a path of alternating pairs allows it."""
    reached: dict[int, int] = {}
    rows = deque([start])
    while rows:
        row = rows.popleft()
        for column in choices[row]:
            if column in reached:
                continue
            reached[column] = row
            if column in owner:
                rows.append(owner[column])
                continue
            _give_way(column, start, reached, owner)
            return


def _give_way(free: int, start: int, reached: Mapping[int, int], owner: dict[int, int]) -> None:
    """Along the path to a free column, each row takes the column after its own."""
    held = {row: column for column, row in owner.items()}
    while True:
        row = reached[free]
        owner[free] = row
        if row == start:
            return
        free = held[row]


def same_boxes(
    reference: Sequence[ScoredBox],
    variant: Sequence[ScoredBox],
    min_iou: float,
    max_score_difference: float,
) -> tuple[Pair, ...]:
    """Which boxes of a variant are the reference's: same label, place and score.

    Args:
        reference: The reference's boxes.
        variant: The variant's.
        min_iou: Overlap, at least.
        max_score_difference: Absolute, at most.

    Returns:
        Pairs of positions, one to one.
    """
    if not (reference and variant):
        return ()
    allowed = _same_label(reference, variant)
    allowed &= overlaps([a.box for a in reference], [b.box for b in variant]) >= min_iou
    apart = np.abs(_scores(reference).reshape(-1, 1) - _scores(variant))
    # A difference of 0.05 as written is 0.050000000000000044 as computed.
    return matching(allowed & (apart <= max_score_difference + 1e-12))


def true_boxes(
    truth: Sequence[LabelledBox], found: Sequence[ScoredBox], min_iou: float
) -> tuple[Pair, ...]:
    """Which true boxes were found, by label and place.

    Args:
        truth: What is there.
        found: What the detector gave, above its threshold.
        min_iou: Overlap, at least.

    Returns:
        Pairs of positions, one to one.
    """
    if not (truth and found):
        return ()
    allowed = _same_label(truth, found)
    return matching(allowed & (overlaps([a.box for a in truth], [b.box for b in found]) >= min_iou))


def _same_label(
    first: Sequence[LabelledBox | ScoredBox], second: Sequence[ScoredBox]
) -> NDArray[np.bool_]:
    names = np.array([item.label for item in first], object).reshape(-1, 1)
    return np.asarray(
        names == np.array([item.label for item in second], object).reshape(1, -1), np.bool_
    )


def _scores(boxes: Sequence[ScoredBox]) -> NDArray[np.float64]:
    return np.array([box.score for box in boxes], np.float64)
