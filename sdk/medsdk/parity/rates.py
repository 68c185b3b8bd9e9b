"""Claims of rates of a classifier and of their changes, before any gate is held against them.

A single rate has the interval of Clopper and Pearson, a change and a mean of rates that of the
bootstrap over patients, from `FEWEST_PATIENTS` on. The first is exact where each case is of its
own patient; where cases share one, it takes them for `effective_cases` and is approximate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import numpy as np

from medsdk.bundle.manifest import Verdict
from medsdk.parity.bootstrap import (
    FEWEST_PATIENTS,
    Floats,
    cases_of_the_largest,
    effective_cases,
    fewer,
    per_patient,
    percentile_interval,
    resampled_sums,
    widened,
)
from medsdk.parity.decisions import Codes, Flags, Pairs, Rate, Said
from medsdk.parity.evidence import Bound, Claim, Measure, Method, Scope
from medsdk.parity.statistics import (
    binomial_interval,
    binomial_lower_bound,
    binomial_upper_bound,
)

ADVISORY: Verdict = "advisory"


def worth(patients: Codes) -> float:
    """How many independent cases the cases of these patients are worth."""
    return effective_cases(np.bincount(patients))


def worth_at_the_least(patients: Codes) -> float:
    """The same where those with many cases may be the ones that go wrong."""
    return cases_of_the_largest(np.bincount(patients))


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
        bound = Bound(
            low=low,
            high=high,
            confidence=confidence,
            method="clopper-pearson",
            effective_n=fewer(independent, n),
        )
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
        bound = Bound(
            low=low,
            confidence=confidence,
            method="clopper-pearson",
            effective_n=fewer(independent, n),
        )
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
    bound = Bound(
        high=high,
        confidence=confidence,
        method="clopper-pearson",
        effective_n=fewer(independent, n),
    )
    return _claim(measure, scope, n, patients, events / n if n else None, bound, events)


def mean_of_both(side: Said, label: int, scope: Scope, confidence: float) -> Claim:
    """Mean of sensitivity and specificity of a label against the rest, with its interval."""
    sides = [side.rated(name, label) for name in get_args(Rate)]
    among = np.logical_or.reduce([of for of, _ in sides])
    value, bound, reason = None, None, ""
    if all(of.any() for of, _ in sides):
        value = sum(float(right.sum() / of.sum()) for of, right in sides) / len(sides)
        drawn = resampled_sums(
            per_patient(side.patients, [part for pair in sides for part in pair])
        )
        means = (_over(drawn[:, 1], drawn[:, 0]) + _over(drawn[:, 3], drawn[:, 2])) / 2
        patients = [side.patients[of] for of, _ in sides]
        bound, reason = _interval(means, value, patients, confidence, (0.0, 1.0))
    measure: Measure = "mean-of-sensitivity-and-specificity"
    return _claim(
        measure, scope, int(among.sum()), side.patients[among], value, bound, reason=reason
    )


_PARTS: Mapping[str, tuple[int, ...]] = {
    "accuracy": (0,),
    "sensitivity": (1,),
    "specificity": (2,),
    "mean-of-sensitivity-and-specificity": (1, 2),
}
"""Of which rates each metric of a gate is the mean, by their place in `_Both`."""


class _Both:
    """Accuracy, sensitivity and specificity of two sides, seen and in resamples of patients.

    Attributes:
        among: For each rate, which cases are its denominator.
        label: The label that it is of.
    """

    def __init__(self, pairs: Pairs, label: int) -> None:
        one, two = pairs.reference, pairs.variant
        columns = [(one.known, one.right, two.right)]
        for name in get_args(Rate):
            among, before = one.rated(name, label)
            columns.append((among, before, two.rated(name, label)[1]))
        self.label = one.labels[label]
        self.among = [triple[0] for triple in columns]
        self._patients = pairs.patients
        self._seen = np.array([[column.sum() for triple in columns for column in triple]], float)
        self._drawn = resampled_sums(
            per_patient(pairs.patients, [column for triple in columns for column in triple])
        )

    def seen(self, metric: str, side: Literal[1, 2]) -> float | None:
        """A metric of the reference (1) or the variant (2); None without a denominator."""
        value = float(self._mean(self._seen, metric, side)[0])
        return None if math.isnan(value) else value

    def drawn(self, metric: str, side: Literal[1, 2]) -> Floats:
        """The same in each resample."""
        return self._mean(self._drawn, metric, side)

    def patients(self, metric: str) -> list[Codes]:
        """Of the cases of each denominator."""
        return [self._patients[self.among[part]] for part in _PARTS[metric]]

    def counted(self, metric: str) -> Flags:
        """Which cases are in a denominator."""
        return np.asarray(np.any([self.among[part] for part in _PARTS[metric]], axis=0), np.bool_)

    @staticmethod
    def _mean(sums: Floats, metric: str, side: Literal[1, 2]) -> Floats:
        parts = [_over(sums[:, 3 * at + side], sums[:, 3 * at]) for at in _PARTS[metric]]
        return np.asarray(sum(parts) / len(parts), np.float64)


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
    both = _Both(pairs, label)
    named = scope.model_copy(update={"label": both.label})

    def change(measure: Measure, metric: str, where: Scope) -> Claim:
        among = both.counted(metric)
        bound, reason = None, ""
        before, after = both.seen(metric, 1), both.seen(metric, 2)
        value = None if before is None or after is None else after - before
        if value is not None:
            steps = both.drawn(metric, 2) - both.drawn(metric, 1)
            patients = both.patients(metric)
            bound, reason = _interval(
                steps, value, patients, confidence, (-1.0, 1.0), "paired-bootstrap"
            )
        n, of = int(among.sum()), pairs.patients[among]
        return _claim(measure, where, n, of, value, bound, reason=reason)

    return {
        "accuracy-change": change("accuracy-change", "accuracy", scope),
        "sensitivity-change": change("sensitivity-change", "sensitivity", named),
        "specificity-change": change("specificity-change", "specificity", named),
        "mean-of-sensitivity-and-specificity-change": change(
            "mean-of-sensitivity-and-specificity-change",
            "mean-of-sensitivity-and-specificity",
            named,
        ),
    }


def ratio(
    metric: str, pairs: Pairs, label: int, scope: Scope, confidence: float
) -> tuple[Claim, float | None, float | None]:
    """A metric of the variant over that of the reference, with its interval.

    Args:
        metric: As a gate names it.
        pairs: Two sides.
        label: The label that sensitivity speaks of.
        scope: Of which part.
        confidence: Of the two-sided interval: paired bootstrap over patients, at least as wide as
            no change in so many cases leaves open.

    Returns:
        The claim, `advisory`, without a value where the reference has none or 0; the metric of
        the reference and of the variant.
    """
    both, known = _Both(pairs, label), pairs.reference.known
    old, new = both.seen(metric, 1), both.seen(metric, 2)
    value, bound, reason = None, None, ""
    if old and new is not None:
        value = new / old
        quotients = _over(both.drawn(metric, 2), both.drawn(metric, 1))
        bound, reason = _interval(
            quotients,
            value,
            both.patients(metric),
            confidence,
            (0.0, math.inf),
            "paired-bootstrap",
            unit=1 / old,
        )
    claim = _claim(
        "metric-ratio",
        scope,
        int(known.sum()),
        pairs.patients[known],
        value,
        bound,
        reason=reason,
    )
    return claim, old, new


def loss(
    measure: Measure,
    scope: Scope,
    among: Flags,
    before: Flags,
    after: Flags,
    patients: Codes,
    confidence: float,
) -> Claim:
    """What a rate loses, with the one-sided upper bound of the cases newly lost.

    The loss is the rate of cases newly lost minus that of cases newly gained, so the first alone
    bounds it from above, whatever the second. Where each case is of its own patient the bound is
    exact. Where cases share one, it is the larger of two: of the cases, each patient weighing as
    much as the largest, and of the patients with any newly lost.

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
    independent = worth_at_the_least(patients[among])
    events = lost * independent / n if n else 0.0
    touched = people(patients[among & before & ~after])
    behind = people(patients[among])
    high, of = max(
        (binomial_upper_bound(events, independent, confidence), independent),
        (binomial_upper_bound(touched, behind, confidence), float(behind)),
    )
    bound = Bound(
        high=high, confidence=confidence, method="clopper-pearson", effective_n=fewer(of, n)
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
    value, bound, reason = None, None, ""
    if sizes.size:
        value = float(sizes.mean())
        drawn = resampled_sums(per_patient(patients, [sizes, np.ones_like(sizes)]))
        bound, reason = _interval(
            _over(drawn[:, 0], drawn[:, 1]),
            value,
            [patients],
            confidence,
            (0.0, 1.0),
            "paired-bootstrap",
            # Where nothing moved at all, a change of up to 1 in cases that are rare enough is open.
            unit=0.0 if sizes.any() else 1.0,
        )
    return _claim(measure, scope, len(sizes), patients, value, bound, reason=reason)


def _interval(
    drawn: Floats,
    estimate: float,
    patients: Sequence[Codes],
    confidence: float,
    ends: tuple[float, float],
    method: Literal["bootstrap", "paired-bootstrap"] = "bootstrap",
    unit: float = 1.0,
) -> tuple[Bound | None, str]:
    """The interval of a mean of rates, or why there is none.

    Args:
        drawn: The statistic of each resample.
        estimate: As seen.
        patients: Of the cases of each rate.
        confidence: Of the two-sided interval.
        ends: What it cannot leave.
        method: Its name; `-widened` where no event in so many cases leaves more open.
        unit: What one rate moves the statistic by, times the number of rates.
    """
    fewest = min(people(codes) for codes in patients)
    if fewest < FEWEST_PATIENTS:
        return None, f"no interval: {fewest} patients, it takes {FEWEST_PATIENTS}"
    room = unit * sum(_room(codes, confidence) for codes in patients) / len(patients)
    resampled = percentile_interval(drawn, confidence)
    low, high = widened(resampled, estimate, room)
    found: Method = method
    effective = None
    if (low, high) != resampled:
        found = "bootstrap-widened" if method == "bootstrap" else "paired-bootstrap-widened"
        if len(patients) == 1:  # of a mean of rates each has its own
            effective = fewer(worth(patients[0]), len(patients[0]))
    low, high = max(ends[0], low), min(ends[1], high)
    return Bound(low=low, high=high, confidence=confidence, method=found, effective_n=effective), ""


def _room(patients: Codes, confidence: float) -> float:
    """What no event in these cases leaves open, on each side of a two-sided interval."""
    return binomial_upper_bound(0, worth(patients), (1 + confidence) / 2)


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
    reason: str = "",
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
        reason=reason,
    )
