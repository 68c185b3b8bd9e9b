"""What is drawn of a change of a classifier, and its worst cases by name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medsdk.evaluation.answers import Answer
from medsdk.parity.bootstrap import Floats
from medsdk.parity.decisions import Codes, names_of
from medsdk.parity.evidence import (
    SHOWN_POINTS,
    AgreementTable,
    BlandAltman,
    Chart,
    Histogram,
    Measure,
    Scope,
    WorstCase,
)
from medsdk.parity.pairing import PairedCase

MOST_WORST = 20
"""So many cases are named."""

_BINS = 21
"""Odd, so that no change is in the middle of a bin."""

_NARROWEST = 1e-6
"""Half of the width of a histogram of changes that are all 0."""


def probability_change(case: PairedCase) -> float | None:
    """Largest absolute change of any label's probability, 0..1; None where a side has none."""
    before, after = case.reference.probabilities, case.variant.probabilities
    if not before or before.keys() != after.keys():
        return None
    return max(abs(after[label] - before[label]) for label in before)


def probability_charts(
    positive: str, cases: Sequence[PairedCase], scope: Scope
) -> tuple[Chart, ...]:
    """Histogram and Bland-Altman plot of the positive label's probability.

    Args:
        positive: The label.
        cases: Those where both sides have a probability of it count.
        scope: Of which part; the charts carry the label.

    Returns:
        Both charts; none without such a case.
    """
    pairs = [
        (case.reference.probabilities[positive], case.variant.probabilities[positive])
        for case in cases
        if positive in case.reference.probabilities and positive in case.variant.probabilities
    ]
    if not pairs:
        return ()
    before, after = np.array(pairs, np.float64).T
    named = scope.model_copy(update={"label": positive})
    return (
        histogram("probability-change-mean", named, after - before, "fraction"),
        bland_altman("probability-change-mean", named, before, after, "fraction"),
    )


def histogram(measure: Measure, scope: Scope, differences: Floats, unit: str) -> Histogram:
    """Count differences in bins of one width, around 0.

    Args:
        measure: What differs.
        scope: Of which part.
        differences: Variant minus reference, finite, at least one.
        unit: Of the differences.
    """
    reach = max(float(np.abs(differences).max()), _NARROWEST)
    counts, edges = np.histogram(differences, bins=_BINS, range=(-reach, reach))
    return Histogram(
        measure=measure,
        scope=scope,
        unit=unit,
        edges=tuple(map(float, edges)),
        counts=tuple(map(int, counts)),
    )


def bland_altman(
    measure: Measure, scope: Scope, before: Floats, after: Floats, unit: str
) -> BlandAltman:
    """Differences over means, with the limits of agreement.

    Args:
        measure: What is compared.
        scope: Of which part.
        before: The reference's values, finite, at least one.
        after: The variant's, of the same shape.
        unit: Of the values.

    Returns:
        The plot; the standard deviation is that of a sample (n - 1), 0 of a single pair.
    """
    differences, means = after - before, (after + before) / 2
    n = len(differences)
    bias = float(differences.mean())
    spread = 1.96 * float(differences.std(ddof=1)) if n > 1 else 0.0
    ranked = np.argsort(differences, kind="stable")
    shown = ranked[np.unique(np.linspace(0, n - 1, min(n, SHOWN_POINTS)).round().astype(int))]
    return BlandAltman(
        measure=measure,
        scope=scope,
        unit=unit,
        n=n,
        bias=bias,
        low=bias - spread,
        high=bias + spread,
        points=tuple((float(means[at]), float(differences[at])) for at in shown),
    )


def agreement_table(
    scope: Scope, labels: Sequence[str], rows: Codes, columns: Codes, *, truth: bool
) -> AgreementTable:
    """How often the rows' side said one thing and the columns' side another.

    Args:
        scope: Of which part.
        labels: The labels that an answer may be.
        rows: Codes of the reference's answers, or of truths that are known.
        columns: Codes of the answers.
        truth: Whether the rows are truths.

    Returns:
        A square table: the labels, then what stands in their place where it occurs.
    """
    named = list(names_of(labels, (rows, columns)))
    counts = tuple(
        tuple(int(((rows == row) & (columns == column)).sum()) for column, _ in named)
        for row, _ in named
    )
    return AgreementTable(
        scope=scope,
        rows="truth" if truth else "reference",
        labels=tuple(name for _, name in named),
        counts=counts,
    )


def worst_changes(cases: Sequence[PairedCase], scope: Scope) -> tuple[WorstCase, ...]:
    """The cases that changed most: flips first, then the largest change of a probability.

    Args:
        cases: All of them.
        scope: Of which part.

    Returns:
        At most `MOST_WORST`; a flip without probabilities has the size 1. Cases without any
        change are none.
    """
    found = []
    for case in cases:
        change, flipped = probability_change(case), _name(case.reference) != _name(case.variant)
        size = change if change is not None else float(flipped)
        if flipped or size > 0:
            found.append((not flipped, -size, case.number or 0, case))
    found.sort(key=lambda item: item[:3])
    return tuple(
        WorstCase(
            scope=scope,
            case=case.case,
            number=case.number,
            measure="probability-change-mean" if kept else "flips",
            size=-size,
            truth=case.truth,
            reference=_name(case.reference),
            variant=_name(case.variant),
        )
        for kept, size, _, case in found[:MOST_WORST]
    )


def worst_answers(answers: Sequence[Answer], scope: Scope) -> tuple[WorstCase, ...]:
    """The answers that are furthest from the truth: the least probability of the true label.

    Args:
        answers: Of one candidate.
        scope: Of which part.

    Returns:
        At most `MOST_WORST` of those that are not the truth; one without probabilities has the
        size 1.
    """
    wrong = [
        (item.probabilities.get(item.truth, 0.0) - 1.0, item.number, item)
        for item in answers
        if item.truth is not None and item.label != item.truth
    ]
    wrong.sort(key=lambda item: item[:2])
    return tuple(
        WorstCase(
            scope=scope,
            case=item.case,
            number=item.number,
            measure="probability-off-truth",
            size=max(0.0, -size),
            truth=item.truth,
            variant=_name(item),
        )
        for size, _, item in wrong[:MOST_WORST]
    )


def _name(answer: Answer) -> str:
    return answer.label if answer.label is not None else answer.status
