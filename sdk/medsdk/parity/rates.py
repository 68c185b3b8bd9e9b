"""Claims of rates of a classifier and of their changes, before any gate is held against them.

A single rate has the exact interval of Clopper and Pearson, a change and a mean of rates that of
the bootstrap over patients. Where cases share a patient, the exact one takes them for
`effective_cases`.
"""

from __future__ import annotations

from typing import get_args

import numpy as np

from medsdk.bundle.manifest import Verdict
from medsdk.parity.bootstrap import (
    Floats,
    effective_cases,
    per_patient,
    percentile_interval,
    resampled_sums,
    widened,
)
from medsdk.parity.decisions import Codes, Flags, Pairs, Rate, Said
from medsdk.parity.evidence import Bound, Claim, Measure, Scope
from medsdk.parity.statistics import (
    binomial_interval,
    binomial_lower_bound,
    binomial_upper_bound,
)

ADVISORY: Verdict = "advisory"


def worth(patients: Codes) -> float:
    """How many independent cases the cases of these patients are worth."""
    return effective_cases(np.bincount(patients))


def people(patients: Codes) -> int:
    """How many patients there are."""
    return len(np.unique(patients))


def rate(
    measure: Measure,
    scope: Scope,
    among: Flags,
    happened: Flags,
    patients: Codes,
    confidence: float,
) -> Claim:
    """A rate with its two-sided interval.

    Args:
        measure: What it is the rate of.
        scope: Of which part.
        among: Which cases are the denominator.
        happened: Which are the numerator; the others of `among` are not.
        patients: Number of each case's patient.
        confidence: Of the interval.

    Returns:
        The claim, `advisory`; without a value and a bound where there are no cases.
    """
    n, events = int(among.sum()), int((among & happened).sum())
    bound = None
    if n:
        independent = worth(patients[among])
        low, high = binomial_interval(events * independent / n, independent, confidence)
        bound = Bound(low=low, high=high, confidence=confidence, method="clopper-pearson")
    return _claim(measure, scope, n, patients[among], events / n if n else None, bound, events)


def agreement(
    measure: Measure, scope: Scope, among: Flags, kept: Flags, patients: Codes, confidence: float
) -> Claim:
    """How much of what the reference said the variant says too, with its one-sided lower bound.

    Args:
        measure: `positive-agreement` or `negative-agreement`.
        scope: Of which part.
        among: What the reference called so.
        kept: What the variant calls so.
        patients: Number of each case's patient.
        confidence: Of the bound.

    Returns:
        The claim, `advisory`.
    """
    n, events = int(among.sum()), int((among & kept).sum())
    bound = None
    if n:
        independent = worth(patients[among])
        low = binomial_lower_bound(events * independent / n, independent, confidence)
        bound = Bound(low=low, confidence=confidence, method="clopper-pearson")
    return _claim(measure, scope, n, patients[among], events / n if n else None, bound, events)


def upper(
    measure: Measure, scope: Scope, happened: Flags, patients: Codes, confidence: float
) -> Claim:
    """A count that should be none, with the one-sided upper bound of its rate.

    Args:
        measure: What is counted.
        scope: Of which part.
        happened: In which cases, shape (cases,).
        patients: Number of each case's patient.
        confidence: Of the bound.

    Returns:
        The claim, `advisory`; the bound is 1 where there are no cases.
    """
    n, events = len(happened), int(happened.sum())
    independent = worth(patients)
    high = binomial_upper_bound(events * independent / n if n else 0, independent, confidence)
    bound = Bound(high=high, confidence=confidence, method="clopper-pearson")
    return _claim(measure, scope, n, patients, events / n if n else None, bound, events)


def mean_of_both(side: Said, label: int, scope: Scope, confidence: float) -> Claim:
    """Mean of sensitivity and specificity of a label against the rest, with its interval."""
    sides = [side.rated(name, label) for name in get_args(Rate)]
    among = np.logical_or.reduce([of for of, _ in sides])
    value, bound = None, None
    if all(of.any() for of, _ in sides):
        value = sum(float(right.sum() / of.sum()) for of, right in sides) / len(sides)
        drawn = resampled_sums(
            per_patient(side.patients, [part for pair in sides for part in pair])
        )
        means = (_over(drawn[:, 1], drawn[:, 0]) + _over(drawn[:, 3], drawn[:, 2])) / 2
        rooms = [_room(side.patients, of, confidence) for of, _ in sides]
        low, high = widened(percentile_interval(means, confidence), value, sum(rooms) / len(rooms))
        bound = Bound(
            low=max(0.0, low), high=min(1.0, high), confidence=confidence, method="bootstrap"
        )
    measure: Measure = "mean-of-sensitivity-and-specificity"
    return _claim(measure, scope, int(among.sum()), side.patients[among], value, bound)


def changes(pairs: Pairs, label: int, scope: Scope, confidence: float) -> dict[Measure, Claim]:
    """How accuracy, sensitivity, specificity and their mean change, variant minus reference.

    Args:
        pairs: Two sides.
        label: Against the rest.
        scope: Of which part; the claims about the label carry it.
        confidence: Of the two-sided intervals: paired bootstrap over patients, at least as wide
            as no change in so many cases leaves open.

    Returns:
        Claims by measure, `advisory`; without a value where there is no denominator.
    """
    one, two = pairs.reference, pairs.variant
    columns = [(one.known, one.right, two.right)]
    for name in get_args(Rate):
        among, before = one.rated(name, label)
        columns.append((among, before, two.rated(name, label)[1]))
    drawn = resampled_sums(
        per_patient(pairs.patients, [column for triple in columns for column in triple])
    )
    named = scope.model_copy(update={"label": one.labels[label]})

    def change(measure: Measure, where: Scope, parts: tuple[int, ...]) -> Claim:
        among = np.logical_or.reduce([columns[part][0] for part in parts])
        value, bound = None, None
        if all(columns[part][0].any() for part in parts):
            steps = [_paired_change(columns[part]) for part in parts]
            value = sum(steps) / len(parts)
            values = sum(
                _over(drawn[:, 3 * part + 2] - drawn[:, 3 * part + 1], drawn[:, 3 * part])
                for part in parts
            ) / len(parts)
            rooms = [_room(pairs.patients, columns[part][0], confidence) for part in parts]
            interval = percentile_interval(np.asarray(values), confidence)
            low, high = widened(interval, value, sum(rooms) / len(parts))
            bound = Bound(
                low=max(-1.0, low),
                high=min(1.0, high),
                confidence=confidence,
                method="paired-bootstrap",
            )
        return _claim(measure, where, int(among.sum()), pairs.patients[among], value, bound)

    return {
        "accuracy-change": change("accuracy-change", scope, (0,)),
        "sensitivity-change": change("sensitivity-change", named, (1,)),
        "specificity-change": change("specificity-change", named, (2,)),
        "mean-of-sensitivity-and-specificity-change": change(
            "mean-of-sensitivity-and-specificity-change", named, (1, 2)
        ),
    }


def loss(
    measure: Measure,
    scope: Scope,
    among: Flags,
    before: Flags,
    after: Flags,
    patients: Codes,
    confidence: float,
) -> Claim:
    """What a rate loses, with the exact one-sided upper bound of the cases newly lost.

    The loss is the rate of cases newly lost minus that of cases newly gained, so the first alone
    bounds it from above, whatever the second: exact, cautious, and without an event no better
    than so many patients allow, which no resampling is.

    Args:
        measure: `sensitivity-non-inferiority` or `specificity-non-inferiority`.
        scope: Of which part.
        among: Which cases are the denominator.
        before: Which of them the reference has right.
        after: Which of them the variant has right.
        patients: Number of each case's patient.
        confidence: Of the bound.

    Returns:
        The claim, `advisory`: `events` are newly lost, `value` is the loss (below 0 for a gain),
        the bound is 1 where there are no cases.
    """
    n = int(among.sum())
    lost, gained = int((before & ~after).sum()), int((after & ~before).sum())
    independent = worth(patients[among])
    events = lost * independent / n if n else 0.0
    bound = Bound(
        high=binomial_upper_bound(events, independent, confidence),
        confidence=confidence,
        method="clopper-pearson",
    )
    value = (lost - gained) / n if n else None
    return _claim(measure, scope, n, patients[among], value, bound, lost)


def mean_change(
    measure: Measure, scope: Scope, sizes: Floats, patients: Codes, confidence: float
) -> Claim:
    """Mean of absolute changes of probabilities, with its interval by the bootstrap over patients.

    Args:
        measure: What changes.
        scope: Of which part.
        sizes: One a case, 0..1.
        patients: Number of each case's patient.
        confidence: Of the two-sided interval.

    Returns:
        The claim, `advisory`.
    """
    value, bound = None, None
    if sizes.size:
        value = float(sizes.mean())
        drawn = resampled_sums(per_patient(patients, [sizes, np.ones_like(sizes)]))
        interval = percentile_interval(_over(drawn[:, 0], drawn[:, 1]), confidence)
        # Where nothing moved at all, a change of up to 1 in cases that are rare enough is open.
        room = 0.0 if sizes.any() else _room(patients, np.ones(len(sizes), np.bool_), confidence)
        low, high = widened(interval, value, room)
        bound = Bound(
            low=max(0.0, low), high=min(1.0, high), confidence=confidence, method="paired-bootstrap"
        )
    return _claim(measure, scope, len(sizes), patients, value, bound)


def _paired_change(triple: tuple[Flags, Flags, Flags]) -> float:
    """Of which cases, right before, right after: as the difference of the two rates."""
    among, before, after = triple
    return float(after.sum() / among.sum() - before.sum() / among.sum())


def _room(patients: Codes, among: Flags, confidence: float) -> float:
    """What no event in these cases leaves open, on each side of a two-sided interval."""
    return binomial_upper_bound(0, worth(patients[among]), (1 + confidence) / 2)


def _over(above: Floats, below: Floats) -> Floats:
    """A ratio of each resample; NaN where it has no denominator."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(below > 0, above / below, np.nan), np.float64)


def _claim(
    measure: Measure,
    scope: Scope,
    n: int,
    patients: Codes,
    value: float | None,
    bound: Bound | None,
    events: int | None = None,
) -> Claim:
    return Claim(
        measure=measure,
        scope=scope,
        n=n,
        patients=people(patients),
        events=events,
        value=value,
        bound=bound,
        verdict=ADVISORY,
    )
