"""Average precision of a detector, as COCO defines it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medsdk.parity.boxes import LabelledBox, ScoredBox, overlaps
from medsdk.pixels import Box

COCO_OVERLAPS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
"""0.50, 0.55 .. 0.95."""

_RECALLS = np.linspace(0.0, 1.0, 101)

Picture = tuple[Sequence[LabelledBox], Sequence[ScoredBox]]
"""Of one picture: what is there, and what was found, all scores."""


def mean_average_precision(
    pictures: Sequence[Picture], overlap: Sequence[float] = COCO_OVERLAPS
) -> float | None:
    """Mean over labels and overlaps of the average precision.

    Lin et al., Microsoft COCO, ECCV 2014, as its evaluation code defines it: boxes take, the
    highest score first, the free true box of their label that they overlap most; precision is
    made monotone and read at 101 recalls; a label without a true box does not count. Other than
    there, boxes of one score are added together: the scores of a quantized network tie, and
    the order of the pictures must not change the result. All boxes count, not the first 100 of
    a picture: the task limits them.

    Args:
        pictures: Any number.
        overlap: Intersection over union from which on a box is a true one; their mean is taken.

    Returns:
        0..1; None where there is no true box.
    """
    labels = sorted({box.label for truth, _ in pictures for box in truth})
    values = []
    for label in labels:
        scored = [_of_label(picture, label) for picture in pictures]
        values += [_average_precision(scored, minimum) for minimum in overlap]
    return float(np.mean(values)) if values else None


@dataclass(frozen=True)
class _Scored:
    """One label in one picture: scores, the highest first, and overlaps with the true boxes."""

    truths: int
    scores: list[float]
    table: list[list[float]]


def _of_label(picture: Picture, label: str) -> _Scored:
    # By corners where nothing else orders them, so that the order they came in does not.
    truth = sorted((box.box for box in picture[0] if box.label == label), key=_corners)
    found = sorted(
        (box for box in picture[1] if box.label == label),
        key=lambda box: (-box.score, _corners(box.box)),
    )
    table = overlaps([box.box for box in found], truth).tolist() if truth and found else []
    return _Scored(len(truth), [box.score for box in found], table)


def _corners(box: Box) -> tuple[float, float, float, float]:
    return box.corners


def _average_precision(pictures: Sequence[_Scored], minimum: float) -> float:
    """Of one label, at one overlap."""
    scores = np.array([score for picture in pictures for score in picture.scores], np.float64)
    right: NDArray[np.bool_] = np.array(
        [hit for picture in pictures for hit in _hits(picture, minimum)], np.bool_
    )
    total = sum(picture.truths for picture in pictures)
    order = np.argsort(-scores, kind="stable")
    scores = scores[order]
    last_of_score = np.flatnonzero(np.diff(scores, append=-1.0))
    hits: NDArray[np.int64] = np.cumsum(right[order], dtype=np.int64)[last_of_score]
    recall = hits / total
    precision = hits / (last_of_score + 1)
    # The best precision at this recall or a higher one; beyond the last recall it is 0.
    envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    return float(envelope[np.searchsorted(recall, _RECALLS, side="left")].mean())


def _hits(picture: _Scored, minimum: float) -> list[bool]:
    """Which boxes are true: each takes the free true box that it overlaps most."""
    if not picture.table:
        return [False] * len(picture.scores)
    free = set(range(picture.truths))
    hits = []
    for row in picture.table:
        best = max(free, key=lambda place: (row[place], -place), default=None)
        hit = best is not None and row[best] >= minimum
        if best is not None and hit:
            free.remove(best)
        hits.append(hit)
    return hits
