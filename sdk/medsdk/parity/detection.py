"""Parity of a detector's boxes: against the truth, and against the reference's own boxes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from medsdk.parity.average_precision import (
    COCO_OVERLAPS,
    Picture,
    mean_average_precision,
    resampled_precisions,
)
from medsdk.parity.bootstrap import patient_codes
from medsdk.parity.boxes import LabelledBox, ScoredBox, same_boxes, true_boxes
from medsdk.parity.evidence import Claim, Evidence, Measure, Scope, WorstCase
from medsdk.parity.judging import (
    SHOWN_WORST,
    Limit,
    Subject,
    change_of_share,
    counted,
    fewest_for_loss,
    interval,
    share,
)
from medsdk.tasks.gates import DetectionGate

TRUTH_IOU = 0.5
"""Overlap from which on a box is taken for a true one, unless the caller says otherwise."""


@dataclass(frozen=True)
class DetectionCase:
    """One picture, or one frame of a clip.

    Attributes:
        subject: Whose.
        truth: What is there; empty where nothing is.
        reference: The reference's boxes, all that it gave, whatever their score.
        variant: The variant's.
    """

    subject: Subject
    truth: tuple[LabelledBox, ...]
    reference: tuple[ScoredBox, ...]
    variant: tuple[ScoredBox, ...]


def change_evidence(
    gate: DetectionGate,
    threshold: float,
    labels: Sequence[str],
    cases: Sequence[DetectionCase],
    scope: Scope,
    truth_iou: float = TRUTH_IOU,
) -> Evidence:
    """Hold a variant's boxes against the reference's, by the task's gate.

    Judged: what recall and precision at the threshold lose, of all labels and of each where
    there are several, so that a frequent label does not hide a rare one. Reported: boxes
    matched, lost and extra, and average precision.

    Args:
        gate: The task's gate.
        threshold: Score from which on a box counts, the task's.
        labels: All that the task has; one without a true box leaves its gate open.
        cases: Any number; every box of every case is counted.
        scope: Whose evidence.
        truth_iou: Overlap with a true box from which on a box is true.

    Returns:
        Claims by box, and the cases with most lost and extra boxes.

    Raises:
        ValueError: A box has none of the labels.
    """
    _check_labels(labels, cases)
    by_box = scope.model_copy(update={"level": "box"})
    above = [_above(case, threshold) for case in cases]
    claims = _losses(gate, above, by_box, truth_iou)
    for label in labels if len(labels) > 1 else ():
        part = [_of_label(case, label) for case in above]
        claims += _losses(gate, part, by_box.model_copy(update={"label": label}), truth_iou)
    moved, cases_off = _moved_boxes(gate, above, by_box)
    claims += moved
    claims += _average_precisions(cases, by_box, changes=True)
    return Evidence(claims=tuple(claims), worst=tuple(cases_off))


def metric_evidence(
    threshold: float,
    cases: Sequence[DetectionCase],
    scope: Scope,
    truth_iou: float = TRUTH_IOU,
) -> Evidence:
    """A variant's boxes against the truth: recall, precision, average precision; no gate.

    Args:
        threshold: Score from which on a box counts.
        cases: Any number; `reference` is not looked at.
        scope: Whose evidence.
        truth_iou: Overlap with a true box from which on a box is true.

    Returns:
        `advisory` claims with intervals, of all labels and of each where there are several.
    """
    by_box = scope.model_copy(update={"level": "box"})
    above = [_above(case, threshold) for case in cases]
    labels = sorted({box.label for case in cases for box in case.truth})
    parts = [(by_box, above)]
    for label in labels if len(labels) > 1 else ():
        part = [_of_label(case, label) for case in above]
        parts.append((by_box.model_copy(update={"label": label}), part))
    claims = []
    for where, part in parts:
        claims.append(share("recall", where, *_recall(part, _variant, truth_iou)))
        claims.append(share("precision", where, *_precision(part, _variant, truth_iou)))
    claims += _average_precisions(cases, by_box, changes=False)
    return Evidence(claims=tuple(claims))


def _check_labels(labels: Sequence[str], cases: Sequence[DetectionCase]) -> None:
    found = {box.label for case in cases for box in case.truth}
    found |= {box.label for case in cases for box in (*case.reference, *case.variant)}
    for label in sorted(found - set(labels)):
        raise ValueError(f"{label!r} is none of the labels {', '.join(map(repr, labels))}")


Side = Callable[[DetectionCase], tuple[ScoredBox, ...]]
Units = tuple[list[bool], list[str]]


def _reference(case: DetectionCase) -> tuple[ScoredBox, ...]:
    return case.reference


def _variant(case: DetectionCase) -> tuple[ScoredBox, ...]:
    return case.variant


def _above(case: DetectionCase, threshold: float) -> DetectionCase:
    return replace(
        case,
        reference=tuple(box for box in case.reference if box.score >= threshold),
        variant=tuple(box for box in case.variant if box.score >= threshold),
    )


def _of_label(case: DetectionCase, label: str) -> DetectionCase:
    return DetectionCase(
        case.subject,
        tuple(box for box in case.truth if box.label == label),
        tuple(box for box in case.reference if box.label == label),
        tuple(box for box in case.variant if box.label == label),
    )


def _recall(cases: Sequence[DetectionCase], side: Side, truth_iou: float) -> Units:
    """Of each true box whether it was found, and its patient."""
    found, patients = [], []
    for case in cases:
        hit = {row for row, _ in true_boxes(case.truth, side(case), truth_iou)}
        found += [row in hit for row in range(len(case.truth))]
        patients += [case.subject.patient] * len(case.truth)
    return found, patients


def _precision(cases: Sequence[DetectionCase], side: Side, truth_iou: float) -> Units:
    """Of each box that was given whether it is true, and its patient."""
    right, patients = [], []
    for case in cases:
        hit = {column for _, column in true_boxes(case.truth, side(case), truth_iou)}
        right += [column in hit for column in range(len(side(case)))]
        patients += [case.subject.patient] * len(side(case))
    return right, patients


def _losses(
    gate: DetectionGate, cases: Sequence[DetectionCase], scope: Scope, truth_iou: float
) -> list[Claim]:
    recall, precision = gate.max_recall_loss, gate.max_precision_loss
    return [
        change_of_share(
            "recall-change",
            scope,
            _recall(cases, _reference, truth_iou),
            _recall(cases, _variant, truth_iou),
            Limit(-recall, least=True, needed=fewest_for_loss(recall)),
        ),
        change_of_share(
            "precision-change",
            scope,
            _precision(cases, _reference, truth_iou),
            _precision(cases, _variant, truth_iou),
            Limit(-precision, least=True, needed=fewest_for_loss(precision)),
        ),
    ]


def _moved_boxes(
    gate: DetectionGate, cases: Sequence[DetectionCase], scope: Scope
) -> tuple[list[Claim], list[WorstCase]]:
    """Boxes that the variant gives too, those it does not, and those it alone gives."""
    lost, extra, worst = [], [], []
    owners: tuple[list[str], list[str]] = ([], [])
    for case in cases:
        pairs = same_boxes(
            case.reference, case.variant, gate.match_iou, gate.match_score_difference
        )
        rows, columns = {row for row, _ in pairs}, {column for _, column in pairs}
        lost += [row not in rows for row in range(len(case.reference))]
        extra += [column not in columns for column in range(len(case.variant))]
        owners[0].extend([case.subject.patient] * len(case.reference))
        owners[1].extend([case.subject.patient] * len(case.variant))
        worst += _named(case, len(pairs), scope)
    claims = [
        share("boxes-matched", scope, [not each for each in lost], owners[0]),
        counted("boxes-lost", scope, lost, owners[0]),
        counted("boxes-extra", scope, extra, owners[1]),
    ]
    return claims, _largest(worst, "boxes-lost") + _largest(worst, "boxes-extra")


def _named(case: DetectionCase, matched: int, scope: Scope) -> list[WorstCase]:
    off: tuple[tuple[Measure, int], ...] = (
        ("boxes-lost", len(case.reference) - matched),
        ("boxes-extra", len(case.variant) - matched),
    )
    return [
        WorstCase(
            scope=scope,
            case=case.subject.case,
            number=case.subject.number,
            measure=measure,
            size=number,
            unit="count",
            truth=f"{len(case.truth)} boxes",
            reference=f"{len(case.reference)} boxes",
            variant=f"{len(case.variant)} boxes, {matched} the same",
        )
        for measure, number in off
        if number
    ]


def _largest(found: Sequence[WorstCase], measure: Measure) -> list[WorstCase]:
    ordered = sorted(
        (item for item in found if item.measure == measure),
        key=lambda item: (-item.size, item.case),
    )
    return ordered[:SHOWN_WORST]


_PRECISIONS: tuple[tuple[Measure, Measure, tuple[float, ...]], ...] = (
    ("mean-average-precision", "mean-average-precision-change", COCO_OVERLAPS),
    ("mean-average-precision-50", "mean-average-precision-50-change", COCO_OVERLAPS[:1]),
)


def _average_precisions(
    cases: Sequence[DetectionCase], scope: Scope, *, changes: bool
) -> list[Claim]:
    """Reported and never judged: of all scores, also those below the threshold."""
    return [
        _average_precision(cases, scope, change if changes else measure, overlap, changes)
        for measure, change, overlap in _PRECISIONS
    ]


def _average_precision(
    cases: Sequence[DetectionCase],
    scope: Scope,
    measure: Measure,
    overlap: Sequence[float],
    changes: bool,
) -> Claim:
    patients = [case.subject.patient for case in cases]
    after = _pictures(cases, _variant)
    before = _pictures(cases, _reference) if changes else None
    value, bound, reason = mean_average_precision(after, overlap), None, ""
    if value is not None:
        codes = patient_codes(patients)
        drawn = resampled_precisions(after, codes, overlap)
        if before is not None:
            value -= mean_average_precision(before, overlap) or 0.0
            drawn -= resampled_precisions(before, codes, overlap)
        units = [case.subject.patient for case in cases for _ in case.truth]
        bound, reason = interval(drawn, value, patients, units)
        if bound is not None and not changes:
            low, high = max(bound.low or 0.0, 0.0), min(bound.high or 0.0, 1.0)
            bound = bound.model_copy(update={"low": low, "high": high})
    return Claim(
        measure=measure,
        scope=scope,
        n=sum(len(case.truth) for case in cases),
        patients=len(set(patients)),
        value=value,
        bound=bound,
        verdict="advisory",
        reason=reason,
    )


def _pictures(cases: Sequence[DetectionCase], side: Side) -> list[Picture]:
    return [(case.truth, side(case)) for case in cases]
