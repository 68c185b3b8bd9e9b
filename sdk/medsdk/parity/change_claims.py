"""Claims about a change of a classifier: those that a gate decides, and those beside them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import get_args

import numpy as np

from medsdk.bundle.manifest import Verdict
from medsdk.parity import rates
from medsdk.parity._decidable import ROUNDING, cases_that_prove
from medsdk.parity.bootstrap import (
    fewer,
    patient_codes,
    quantile_cases_needed,
    quantile_upper_bound,
)
from medsdk.parity.change_charts import probability_change
from medsdk.parity.decisions import Flags, Pairs, Rate, called_other
from medsdk.parity.evidence import Bound, Claim, Measure, Scope
from medsdk.parity.metrics import judged_labels
from medsdk.parity.pairing import PairedCase
from medsdk.parity.statistics import cases_needed, mcnemar_p, rate_exceeds
from medsdk.tasks.gates import ClassificationGate

ALARM_P = 0.05
"""Below it the split of the flips is called one-sided."""


def gated(gate: ClassificationGate, positive: int, pairs: Pairs, scope: Scope) -> Iterator[Claim]:
    """The claims that decide, and the same of what the gate does not name."""
    yield _flips(gate, pairs, scope)
    yield _ratio(gate, positive, pairs, scope)
    labels = pairs.reference.labels
    for index in judged_labels(labels, positive):
        changed = rates.changes(pairs, index, scope, gate.confidence)
        if index == positive:
            yield changed["accuracy-change"]
            yield changed["mean-of-sensitivity-and-specificity-change"]
        for name in get_args(Rate):
            yield from _loss(gate, name, index, pairs, changed)


def _flips(gate: ClassificationGate, pairs: Pairs, scope: Scope) -> Claim:
    claim = rates.upper("flips", scope, pairs.flipped, pairs.patients, gate.confidence)
    needed = cases_that_prove(gate.max_flip_rate, gate.confidence)
    high, worth = _high(claim), rates.worth(pairs.patients)
    verdict: Verdict = "pass"
    reason = ""
    if high > gate.max_flip_rate:
        enough = needed is not None and worth >= needed
        refuted = rate_exceeds(
            claim.events or 0, claim.n, worth, gate.max_flip_rate, gate.confidence
        )
        verdict = "fail" if enough or refuted else "not-conclusive"
        alike = "" if _alone(claim) else f", worth {math.floor(worth)} independent ones"
        reason = (
            f"{claim.events} of {claim.n} decisions flipped{alike}: the rate is under "
            f"{_up(high)} at {_confidence(gate)} confidence, the gate is {gate.max_flip_rate:.2%}"
        )
        reason += _more(claim, gate.max_flip_rate, gate.confidence, needed, verdict, "a flip")
    elif not (pairs.reference.answers >= 0).any():
        verdict = "not-conclusive"
        reason = f"the reference decided none of the {claim.n} cases, so that none can flip"
    return _judged(claim, gate.max_flip_rate, needed, verdict, reason)


def _alone(claim: Claim) -> bool:
    """Whether each case is of its own patient."""
    return claim.patients == claim.n


def _more(
    claim: Claim,
    limit: float,
    confidence: float,
    needed: int | None,
    verdict: Verdict,
    event: str,
) -> str:
    """What more cases would decide, or prove of a rate that is within its limit already."""
    people = "" if _alone(claim) else " of as many patients"
    if verdict != "fail":
        return f"; {needed or 'no number of'} cases{people} without {event} would decide it"
    events = claim.events or 0
    if events > limit * claim.n:
        return ""
    return (
        f"; {events} of {claim.n} is within the limit and not proved: "
        f"{cases_needed(limit, confidence, events)} cases{people} with no more would prove it"
    )


def _ratio(gate: ClassificationGate, positive: int, pairs: Pairs, scope: Scope) -> Claim:
    claim, old, new = rates.ratio(gate.metric, pairs, positive, scope, gate.confidence)
    verdict: Verdict = "pass"
    reason = claim.reason
    if old is None or new is None:
        verdict, reason = "not-conclusive", f"{gate.metric} needs {_NEEDED[gate.metric]}"
    elif old == 0.0:
        verdict = "not-conclusive"
        reason = f"{gate.metric}: the reference has none right, so that none can be lost"
    elif new < gate.min_metric_ratio * old - ROUNDING:
        verdict = "fail"
        reason = (
            f"{gate.metric} {new:.4f} is below {gate.min_metric_ratio:.2%} of the reference's "
            f"{old:.4f}"
        )
    return _judged(claim, gate.min_metric_ratio, 1, verdict, reason)


_NEEDED = {
    "accuracy": "cases with a truth",
    "mean-of-sensitivity-and-specificity": "positive and negative cases",
    "sensitivity": "a case of it: sensitivity and specificity need positive and negative cases",
    "specificity": "a case of another label: sensitivity and specificity need positive and "
    "negative cases",
}

_SEEN: dict[Rate, Measure] = {
    "sensitivity": "sensitivity-change",
    "specificity": "specificity-change",
}
_PROVED: dict[Rate, Measure] = {
    "sensitivity": "sensitivity-non-inferiority",
    "specificity": "specificity-non-inferiority",
}


def _loss(
    gate: ClassificationGate,
    name: Rate,
    label: int,
    pairs: Pairs,
    changed: Mapping[Measure, Claim],
) -> Iterator[Claim]:
    """What a rate loses as seen, and what the cases prove of it; the gate says which decides."""
    limit = {
        "sensitivity": gate.max_sensitivity_loss,
        "specificity": gate.max_specificity_loss,
    }[name]
    proved = gate.losses == "proved"
    among, before = pairs.reference.rated(name, label)
    _, after = pairs.variant.rated(name, label)
    text = f"{name} for {pairs.reference.labels[label]!r}"

    open_ = ""
    if not among.any():
        open_ = f"{text} needs {_NEEDED[name]}"
    elif not before.any():
        open_ = f"{text}: the reference has none of the {among.sum()} cases right, so that none "
        open_ += "can be lost"

    seen = changed[_SEEN[name]]
    verdict: Verdict = "advisory" if proved else "pass"
    reason = seen.reason
    if not proved and open_:
        verdict, reason = "not-conclusive", open_
    elif not proved and seen.value is not None and -seen.value > limit + ROUNDING:
        verdict = "fail"
        was, now = before.sum() / among.sum(), after.sum() / among.sum()
        reason = f"{text} falls from {was:.4f} to {now:.4f}, by more than {limit:.2%}"
    yield _judged(seen, -limit, 1, verdict, reason)

    lost = rates.loss(
        _PROVED[name], seen.scope, among, before, after, pairs.patients, gate.confidence
    )
    needed = cases_that_prove(limit, gate.confidence)
    high = _high(lost)
    verdict, reason = ("pass" if proved else "advisory"), ""
    if proved and open_:
        verdict, reason = "not-conclusive", open_
    elif high > limit:
        worth = rates.worth_at_the_least(pairs.patients[among])
        short: Verdict = "fail" if needed is not None and worth >= needed else "not-conclusive"
        if proved:
            verdict = short
        reason = (
            f"{text}: {lost.events} of {lost.n} cases newly lost, which proves a loss under "
            f"{_up(high)} at {_confidence(gate)} confidence, the limit is {limit:.2%}"
        )
        reason += _more(lost, limit, gate.confidence, needed, short, "a loss")
    yield _judged(lost, limit, needed, verdict, reason)


def directions(
    gate: ClassificationGate, positive: str, pairs: Pairs, scope: Scope
) -> Iterator[Claim]:
    """Where the flips go, and whether they go one way."""
    labels = pairs.reference.labels
    index = labels.index(positive)
    named = scope.model_copy(update={"label": positive})
    before, after = pairs.reference.answers == index, pairs.variant.answers == index
    up, down = after & ~before, before & ~after
    gained, lost = int(up.sum()), int(down.sum())
    yield rates.upper("flips-to-positive", named, up, pairs.patients, gate.confidence)
    yield rates.upper("flips-to-negative", named, down, pairs.patients, gate.confidence)
    p = mcnemar_p(gained, lost)
    way = "to" if gained > lost else "away from"
    yield Claim(
        measure="asymmetry",
        scope=named,
        n=len(before),
        patients=rates.people(pairs.patients),
        value=p,
        bound=Bound(confidence=1 - ALARM_P, method="mcnemar-exact"),
        verdict="advisory",
        reason=f"flips go one way, {way} {positive!r}: {gained} to it and {lost} away from it"
        if p < ALARM_P
        else "",
    )


def agreements(
    gate: ClassificationGate, positive: int, pairs: Pairs, scope: Scope
) -> Iterator[Claim]:
    """Positive and negative agreement, never in one number."""
    named = scope.model_copy(update={"label": pairs.reference.labels[positive]})
    before, after = pairs.reference.answers, pairs.variant.answers
    both: tuple[tuple[Measure, Flags, Flags], ...] = (
        ("positive-agreement", before == positive, after == positive),
        ("negative-agreement", called_other(before, positive), called_other(after, positive)),
    )
    for measure, among, kept in both:
        yield rates.agreement(measure, named, among, kept, pairs.patients, gate.confidence)


def probability_changes(
    gate: ClassificationGate, cases: Sequence[PairedCase], scope: Scope
) -> Iterator[Claim]:
    """Mean and 95th percentile of the largest absolute change of a label's probability."""
    found = [(case.patient, probability_change(case)) for case in cases]
    sizes = np.array([size for _, size in found if size is not None], np.float64)
    patients = patient_codes([patient for patient, size in found if size is not None])
    yield rates.mean_change("probability-change-mean", scope, sizes, patients, gate.confidence)
    bound, needed = None, quantile_cases_needed(0.95, gate.confidence)
    if sizes.size:
        independent = rates.worth(patients)
        high = quantile_upper_bound(sizes, 0.95, gate.confidence, independent)
        if high is not None:
            bound = Bound(
                high=high,
                confidence=gate.confidence,
                method="order-statistic",
                effective_n=fewer(independent, len(sizes)),
            )
    yield Claim(
        measure="probability-change-95th-percentile",
        scope=scope,
        n=len(sizes),
        patients=rates.people(patients),
        value=float(np.quantile(sizes, 0.95)) if sizes.size else None,
        bound=bound,
        verdict="advisory",
        reason="" if bound else f"{needed} cases of as many patients would bound it",
    )


def flips_by_patient(gate: ClassificationGate, pairs: Pairs, scope: Scope) -> Iterator[Claim]:
    """Patients with a flip, where cases share a patient: these are independent of each other."""
    everybody = np.unique(pairs.patients)
    if len(everybody) == len(pairs.patients):
        return
    named = scope.model_copy(update={"level": "patient"})
    touched = np.isin(everybody, pairs.patients[pairs.flipped])
    yield rates.upper("patients-with-flips", named, touched, everybody, gate.confidence)


def _judged(claim: Claim, limit: float, needed: int | None, verdict: Verdict, reason: str) -> Claim:
    return Claim.model_validate(
        {**dict(claim), "limit": limit, "needed": needed, "verdict": verdict, "reason": reason}
    )


def _high(claim: Claim) -> float:
    assert claim.bound is not None
    assert claim.bound.high is not None
    return claim.bound.high


def _up(rate: float) -> str:
    """In percent, never less than it is."""
    return f"{math.ceil(rate * 1e4 - 1e-9) / 1e4:.2%}"


def _confidence(gate: ClassificationGate) -> str:
    return f"{100 * gate.confidence:g}%"
