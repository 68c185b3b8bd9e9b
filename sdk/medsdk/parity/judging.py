"""Claims of counts, means, percentiles and rates, each with its bound, held against a gate.

The patient is the unit of every interval: units of one patient (boxes, masks, values) resemble each
other. Counts take them for as many independent ones as they are worth (`effective_cases`), and
`flips` says beside it how many patients have any.
A gate is held against the bound (`counted`) or against the estimate (all others);
`docs/parity-images.md` says which. With fewer units than the gate needs, a claim that is within
its limit is `not-conclusive`: a pass takes at least `needed`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medsdk.bundle.manifest import Verdict
from medsdk.parity._decidable import ROUNDING, cases_that_prove, cases_that_tolerate_one
from medsdk.parity.bootstrap import (
    FEWEST_PATIENTS,
    effective_cases,
    fewer,
    patient_codes,
    per_patient,
    percentile_interval,
    quantile_cases_needed,
    quantile_upper_bound,
    resampled_sums,
    widened,
)
from medsdk.parity.evidence import Bound, Claim, Measure, Scope
from medsdk.parity.statistics import (
    binomial_interval,
    binomial_upper_bound,
    cases_needed,
    rate_exceeds,
)

CONFIDENCE = 0.95
"""Of an interval that no gate speaks of."""

SHOWN_WORST = 20
"""Most cases that are named for one measure."""

_NAMED = 5
"""So many faults are told in a reason; the others are counted."""


@dataclass(frozen=True)
class Subject:
    """Whose picture, clip or series it is.

    Attributes:
        case: The case's id.
        number: Its row in the table of cases, 1-based; None where there is none.
        patient: Digest of the pseudonym.
    """

    case: str
    number: int | None
    patient: str


@dataclass(frozen=True)
class Limit:
    """A number of a gate.

    Attributes:
        value: In the unit of the claim.
        least: Whether the claim must be at least it, otherwise at most.
        needed: Fewest units with which the gate can be passed.
    """

    value: float
    least: bool
    needed: int

    def allows(self, value: float) -> bool:
        """Whether a number is within it."""
        beyond = self.value - value if self.least else value - self.value
        return beyond <= ROUNDING


def counted(
    measure: Measure,
    scope: Scope,
    happened: Sequence[bool],
    patients: Sequence[str],
    max_rate: float | None = None,
    confidence: float = CONFIDENCE,
) -> Claim:
    """How often something happened that should not, with the upper bound of the units' rate.

    Args:
        measure: What is counted.
        scope: Of which part.
        happened: Of each unit.
        patients: Of each unit.
        max_rate: The gate; the bound must be within it. None: `advisory`.
        confidence: Of the one-sided Clopper-Pearson bound.

    Returns:
        The claim; where units share a patient the bound is of as many independent ones as they
        are worth, and so is what `needed` counts.
    """
    n, events = len(happened), sum(happened)
    worth = _worth(patients)
    high = binomial_upper_bound(events * worth / n if n else 0, worth, confidence)
    needed: int | None = None
    verdict: Verdict = "advisory"
    reason = ""
    if max_rate is not None:
        needed = cases_that_prove(max_rate, confidence)
        if high > max_rate:
            enough = needed is not None and worth >= needed
            refuted = rate_exceeds(events, n, worth, max_rate, confidence)
            verdict = "fail" if enough or refuted else "not-conclusive"
            alike = f", worth {worth:.4g} independent ones" if worth < n else ""
            reason = (
                f"{_words(measure)}: {events} of {n}{alike}, under {_up(high)} at "
                f"{confidence:.0%} confidence, the gate is {max_rate:.2%}"
            )
            if verdict != "fail":
                reason += f"; {needed or 'no number'} without one would decide it"
            elif events / n < max_rate and worth == n:
                more = cases_needed(max_rate, confidence, events)
                reason += f"; {more} with as many events would prove it"
        else:
            verdict = "pass"
    return Claim(
        measure=measure,
        scope=scope,
        n=n,
        patients=len(set(patients)),
        events=events,
        value=events / n if n else None,
        bound=Bound(
            high=high,
            confidence=confidence,
            method="clopper-pearson",
            effective_n=fewer(worth, n),
        ),
        limit=max_rate,
        needed=needed,
        verdict=verdict,
        reason=reason,
    )


def flips(
    scope: Scope,
    flipped: Sequence[bool],
    patients: Sequence[str],
    max_rate: float | None,
    confidence: float,
) -> list[Claim]:
    """Changed decisions, held against the gate; and the patients that have any, if they share.

    Args:
        scope: Of which part.
        flipped: Of each case.
        patients: Of each case.
        max_rate: The gate; None: `advisory`.
        confidence: Of both one-sided bounds.

    Returns:
        `flips`, and `patients-with-flips` where a patient has several cases.
    """
    claims = [counted("flips", scope, flipped, patients, max_rate, confidence)]
    everybody = sorted(set(patients))
    if len(everybody) < len(patients):
        touched = {who for who, flip in zip(patients, flipped, strict=True) if flip}
        by_patient = scope.model_copy(update={"level": "patient"})
        hit = [who in touched for who in everybody]
        claims.append(counted("patients-with-flips", by_patient, hit, everybody, None, confidence))
    return claims


def share(measure: Measure, scope: Scope, right: Sequence[bool], patients: Sequence[str]) -> Claim:
    """A rate of one side alone, with its two-sided interval; `advisory`.

    Args:
        measure: For instance `recall`.
        scope: Of which part.
        right: Of each unit.
        patients: Of each unit.

    Returns:
        The claim; without a value where there are no units.
    """
    n, events = len(right), sum(right)
    worth = _worth(patients)
    bound = None
    if n:
        low, high = binomial_interval(events * worth / n, worth, CONFIDENCE)
        bound = Bound(
            low=low,
            high=high,
            confidence=CONFIDENCE,
            method="clopper-pearson",
            effective_n=fewer(worth, n),
        )
    return Claim(
        measure=measure,
        scope=scope,
        n=n,
        patients=len(set(patients)),
        events=events,
        value=events / n if n else None,
        bound=bound,
        verdict="advisory",
    )


def mean(
    measure: Measure,
    scope: Scope,
    values: Sequence[float],
    patients: Sequence[str],
    unit: str = "fraction",
    limit: Limit | None = None,
) -> Claim:
    """A mean, with its interval by the bootstrap over patients; the gate is held against it.

    Args:
        measure: For instance `dice-change-mean`.
        scope: Of which part.
        values: One a unit, finite; paired differences where it is a change.
        patients: Of each unit.
        unit: Of the values.
        limit: The gate; None: `advisory`.

    Returns:
        The claim.
    """
    bound, unbounded = None, ""
    value = float(np.mean(values)) if values else None
    if value is not None:
        column = np.asarray(values, np.float64)
        sums = per_patient(patient_codes(patients), [column, np.ones_like(column)])
        # Fractions that all move alike leave open that one moves by 1, in cases rare enough.
        alike = float(np.ptp(column)) <= ROUNDING
        open_to = patients if unit == "fraction" and alike else None
        bound, unbounded = interval(_ratio(resampled_sums(sums)), value, patients, open_to)
    return _against(measure, scope, len(values), patients, value, unit, bound, limit, unbounded)


def percentile(
    measure: Measure,
    scope: Scope,
    values: Sequence[float],
    patients: Sequence[str],
    percent: int,
    unit: str = "fraction",
    limit: Limit | None = None,
) -> Claim:
    """A percentile, with a bound on its bad side; the gate is held against the percentile.

    Args:
        measure: For instance `dice-change-5th-percentile`.
        scope: Of which part.
        values: One a unit, finite.
        patients: Of each unit.
        percent: Above 50 where large values are bad, else small ones are.
        unit: Of the values.
        limit: The gate; None: `advisory`.

    Returns:
        The claim; numpy's linear percentile, bounded whatever the distribution.
    """
    column = np.asarray(values, np.float64)
    portion, worth = percent / 100, _worth(patients)
    if percent > 50:
        high, low = quantile_upper_bound(column, portion, CONFIDENCE, worth), None
    else:
        mirrored = quantile_upper_bound(-column, 1 - portion, CONFIDENCE, worth)
        high, low = None, None if mirrored is None else -mirrored
    bound = None
    if low is not None or high is not None:
        bound = Bound(
            low=low,
            high=high,
            confidence=CONFIDENCE,
            method="order-statistic",
            effective_n=fewer(worth, len(values)),
        )
    value = float(np.quantile(column, portion)) if len(values) else None
    return _against(measure, scope, len(values), patients, value, unit, bound, limit)


def worst(
    measure: Measure,
    scope: Scope,
    values: Sequence[float],
    patients: Sequence[str],
    limit: Limit,
    unit: str = "fraction",
) -> Claim:
    """The worst of all values, each of which must be within the gate.

    Args:
        measure: For instance `heat-map-correlation`.
        scope: Of which part.
        values: One a unit, finite.
        patients: Of each unit.
        limit: The gate.
        unit: Of the values.

    Returns:
        The claim; `events` counts the values beyond the limit, the bound is the range seen.
    """
    value, bound = None, None
    if values:
        value = min(values) if limit.least else max(values)
        bound = Bound(low=min(values), high=max(values), method="extremes")
    claim = _against(measure, scope, len(values), patients, value, unit, bound, limit)
    return claim.model_copy(update={"events": sum(not limit.allows(each) for each in values)})


def change_of_share(
    measure: Measure,
    scope: Scope,
    reference: tuple[Sequence[bool], Sequence[str]],
    variant: tuple[Sequence[bool], Sequence[str]],
    limit: Limit,
) -> Claim:
    """How a rate differs between two sides that do not count the same units.

    Args:
        measure: For instance `precision-change`.
        scope: Of which part.
        reference: Of each unit whether it is right, and its patient.
        variant: The same of the variant.
        limit: The gate on variant minus reference.

    Returns:
        The claim; n is the smaller number of units, the interval is by the bootstrap over
        patients and at least as wide as no event in so many leaves open.
    """
    sides = (reference, variant)
    n = min(len(right) for right, _ in sides)
    people = [*reference[1], *variant[1]]
    if not n:
        lost, gained = bool(reference[0]), bool(variant[0])
        why = f"the {'variant' if lost else 'reference'} gives nothing that could be right"
        if not lost and not gained:
            why = "there is nothing that could be right on either side"
        return Claim(
            measure=measure,
            scope=scope,
            n=0,
            patients=len(set(people)),
            limit=limit.value,
            needed=limit.needed,
            verdict="fail" if lost else "not-conclusive",
            reason=f"{_words(measure)}: {why}",
        )
    codes = patient_codes(people)
    before = np.arange(len(people)) < len(reference[0])
    right = np.array([*reference[0], *variant[0]], np.float64)
    sums = per_patient(codes, [right * before, before, right * ~before, ~before])
    drawn = resampled_sums(sums)
    values = [float(np.mean(right)) for right, _ in sides]
    value = values[1] - values[0]
    steps = _ratio(drawn[:, 2:]) - _ratio(drawn[:, :2])
    least = min((owners for _, owners in sides), key=_worth)
    bound, unbounded = interval(steps, value, people, least)
    return _against(measure, scope, n, people, value, "fraction", bound, limit, unbounded)


def listed(
    measure: Measure,
    scope: Scope,
    n: int,
    faults: Sequence[str],
    patients: int | None = None,
) -> Claim:
    """Things each of which must be right, and what is wrong with those that are not.

    Args:
        measure: For instance `outputs`.
        scope: Of which part.
        n: How many were looked at.
        faults: One sentence for each that is not right.
        patients: How many patients.

    Returns:
        `events` are right; `fail` where one is not, `not-run` where there was nothing to look at.
    """
    verdict: Verdict = "fail" if faults else "pass" if n else "not-run"
    shown = "; ".join(faults[:_NAMED])
    more = f"; and {len(faults) - _NAMED} more" if len(faults) > _NAMED else ""
    return Claim(
        measure=measure,
        scope=scope,
        n=n,
        patients=patients,
        events=n - len(faults),
        value=(n - len(faults)) / n if n else None,
        limit=1.0,
        verdict=verdict,
        reason=shown + more,
    )


def interval(
    values: NDArray[np.float64],
    estimate: float,
    patients: Sequence[str],
    units: Sequence[str] | None,
) -> tuple[Bound | None, str]:
    """The two-sided interval of what was taken of resampled patients.

    Args:
        values: Of each resample; NaN where it has none.
        estimate: Of the patients themselves.
        patients: Of each case.
        units: Patient of each unit of a rate: the interval is at least as wide, on each side, as
            no event in so many leaves open. None: nothing is added to the resamples.

    Returns:
        The bound, or None and why there is none: fewer than `FEWEST_PATIENTS`, or no width.
    """
    people = len(set(patients))
    if people < FEWEST_PATIENTS:
        return None, f"no interval of {people} patients: it takes at least {FEWEST_PATIENTS}"
    room, worth = 0.0, 0.0
    if units is not None:
        worth = _worth(units)
        room = binomial_upper_bound(0, worth, (1 + CONFIDENCE) / 2)
    resampled = percentile_interval(values, CONFIDENCE)
    low, high = widened(resampled, estimate, room)
    if high - low <= ROUNDING * max(1.0, abs(estimate)):
        return None, "no interval: all patients have the same mean"
    if units is None or (low, high) == resampled:
        return Bound(low=low, high=high, confidence=CONFIDENCE, method="paired-bootstrap"), ""
    return Bound(
        low=low,
        high=high,
        confidence=CONFIDENCE,
        method="paired-bootstrap-widened",
        effective_n=fewer(worth, len(units)),
    ), ""


def fewest_for_percentile(percent: int) -> int:
    """How many units bound a percentile at all: 59 the 5th and the 95th.

    Args:
        percent: Above 50 its upper bound, else its lower one.
    """
    return quantile_cases_needed(max(percent, 100 - percent) / 100, CONFIDENCE)


def fewest_for_loss(max_loss: float) -> int:
    """How many units there must be before one alone is not more than the loss that is allowed.

    Args:
        max_loss: The limit, 0..1.

    Returns:
        100 for a loss of at most one point; 1 where no number of units allows for one.
    """
    return cases_that_tolerate_one(max_loss) or 1


def _against(
    measure: Measure,
    scope: Scope,
    n: int,
    patients: Sequence[str],
    value: float | None,
    unit: str,
    bound: Bound | None,
    limit: Limit | None,
    unbounded: str = "",
) -> Claim:
    """A claim whose gate is held against the estimate; `unbounded` says why it has no bound."""
    verdict: Verdict = "advisory"
    reason = ""
    if limit is not None:
        side = "at least" if limit.least else "at most"
        gate = f"the gate is {side} {limit.value:g} {unit}"
        if value is not None and not limit.allows(value):
            verdict = "fail"
            reason = f"{_words(measure)}: {value:.6g} {unit} of {n}, {gate}"
        elif n < limit.needed:
            verdict = "not-conclusive"
            reason = f"{_words(measure)}: {n} of the {limit.needed} that are needed; {gate}"
        else:
            verdict = "pass"
    return Claim(
        measure=measure,
        scope=scope,
        n=n,
        patients=len(set(patients)),
        value=value,
        unit=unit,
        bound=bound,
        limit=None if limit is None else limit.value,
        needed=None if limit is None else limit.needed,
        verdict=verdict,
        reason="; ".join(filter(None, (reason, unbounded))),
    )


def _worth(patients: Sequence[str]) -> float:
    return effective_cases(np.bincount(patient_codes(patients)))


def _ratio(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """First column over second; NaN where a resample has none."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(sums[:, 0] / sums[:, 1], np.float64)


def _up(rate: float) -> str:
    """In percent, never less than it is."""
    return f"{math.ceil(rate * 1e4 - 1e-9) / 1e4:.2%}"


def _words(measure: Measure) -> str:
    return measure.replace("-", " ")
