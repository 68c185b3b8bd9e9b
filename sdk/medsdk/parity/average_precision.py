"""Average precision of a detector, as COCO defines it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medsdk.parity.bootstrap import Floats, times_drawn
from medsdk.parity.boxes import LabelledBox, ScoredBox, overlaps
from medsdk.pixels import Box

COCO_OVERLAPS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
"""0.50, 0.55 .. 0.95."""

_RECALLS = np.linspace(0.0, 1.0, 101)

_WEIGHTS_AT_ONCE = 1 << 20

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
    once = np.ones((1, len(pictures)), np.intp)
    values = [_averages(each, once) for each in _ranked(pictures, overlap)]
    return float(np.mean(values)) if values else None


def resampled_precisions(
    pictures: Sequence[Picture],
    patients: NDArray[np.intp],
    overlap: Sequence[float] = COCO_OVERLAPS,
) -> Floats:
    """The same of patients that are drawn with replacement, each with all its pictures.

    Two sides of the same pictures are drawn alike, so that their difference is paired.

    Args:
        pictures: At least one.
        patients: Number of each picture's patient, from 0, shape (pictures,).
        overlap: As above.

    Returns:
        Shape (`bootstrap.RESAMPLES`,); NaN where a resample has no true box.
    """
    found = _ranked(pictures, overlap)
    drawn = []
    boxes = sum(len(box) for _, box in pictures)
    for times in _blocks(times_drawn(int(patients.max()) + 1), boxes):
        totals, counts = np.zeros(len(times)), np.zeros(len(times))
        for each in found:
            values = _averages(each, times[:, patients])
            there = ~np.isnan(values)
            totals[there] += values[there]
            counts += there
        with np.errstate(invalid="ignore"):
            drawn.append(totals / counts)
    return np.concatenate(drawn)


def _blocks(drawn: Iterable[NDArray[np.intp]], boxes: int) -> Iterator[NDArray[np.intp]]:
    """Few enough resamples at a time that a number for each box of each takes some megabytes."""
    rows = max(1, _WEIGHTS_AT_ONCE // max(boxes, 1))
    for times in drawn:
        for start in range(0, len(times), rows):
            yield times[start : start + rows]


@dataclass(frozen=True)
class _Ranked:
    """Boxes of one label at one overlap, the highest score first.

    Attributes:
        right: Of each box whether it is a true one.
        picture: Of each box its picture.
        last: The last box of each score.
        truths: True boxes of each picture.
    """

    right: NDArray[np.bool_]
    picture: NDArray[np.intp]
    last: NDArray[np.intp]
    truths: NDArray[np.intp]


def _ranked(pictures: Sequence[Picture], overlap: Sequence[float]) -> list[_Ranked]:
    """Each label that has a true box, at each overlap."""
    found = []
    for label in sorted({box.label for truth, _ in pictures for box in truth}):
        scored = [_of_label(picture, label) for picture in pictures]
        scores = np.array([score for each in scored for score in each.scores], np.float64)
        order = np.argsort(-scores, kind="stable")
        owners = np.repeat(np.arange(len(scored)), [len(each.scores) for each in scored])[order]
        last = np.flatnonzero(np.diff(scores[order], append=-1.0))
        truths = np.array([each.truths for each in scored], np.intp)
        for minimum in overlap:
            hits = [hit for each in scored for hit in _hits(each, minimum)]
            found.append(_Ranked(np.array(hits, np.bool_)[order], owners, last, truths))
    return found


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


def _averages(found: _Ranked, times: NDArray[np.intp]) -> Floats:
    """Average precision where each picture occurs so many times.

    Args:
        found: One label at one overlap.
        times: Shape (resamples, pictures).

    Returns:
        Shape (resamples,); NaN where no true box occurs.
    """
    totals = times @ found.truths
    weight = times[:, found.picture]
    hits = np.cumsum(weight * found.right, axis=1)[:, found.last]
    given = np.cumsum(weight, axis=1)[:, found.last]
    precision = hits / np.maximum(given, 1)
    # The best precision at this recall or a higher one; beyond the last recall it is 0.
    envelope = np.zeros((len(times), len(found.last) + 1))
    envelope[:, :-1] = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    # Each row is searched in hits, which are whole numbers, shifted past those of the row before.
    need = {total: _hits_needed(total) for total in np.unique(totals).tolist()}
    shift = np.arange(len(times))[:, None] * (int(totals.max(initial=0)) + 2)
    wanted = np.array([need[total] for total in totals.tolist()]) + shift
    places = np.searchsorted((hits + shift).ravel(), wanted.ravel()).reshape(wanted.shape)
    places -= np.arange(len(times))[:, None] * len(found.last)
    means = np.take_along_axis(envelope, places, axis=1).mean(axis=1)
    return np.where(totals > 0, means, np.nan)


def _hits_needed(total: int) -> NDArray[np.intp]:
    """How many of so many true boxes each of the 101 recalls takes."""
    return np.searchsorted(np.arange(total + 1) / max(total, 1), _RECALLS)


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
