"""The verdict's statistics against scipy, and its metrics counted by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binom

from medsdk.parity.classification import change_evidence
from medsdk.parity.evidence import Evidence, Scope
from medsdk.parity.metrics import binary_metrics
from medsdk.parity.statistics import (
    binomial_upper_bound,
    cases_needed,
    overruns_allowed,
    runs_needed,
)
from medsdk.tasks.gates import ClassificationGate
from tests.sdk.parity.made_answers import bound_of, only, pairs_of

GATE = ClassificationGate(metric="mean-of-sensitivity-and-specificity")
ACCURACY = ClassificationGate(metric="accuracy")


@given(
    trials=st.one_of(st.integers(1, 400), st.integers(400, 5_000)),
    share=st.floats(0, 1),
    confidence=st.sampled_from((0.5, 0.8, 0.9, 0.95, 0.99, 0.999)),
)
@example(trials=1, share=0.0, confidence=0.95)
@example(trials=20_000, share=0.5, confidence=0.95)
@settings(max_examples=150, deadline=None)
def test_upper_bound_is_clopper_and_pearsons(trials: int, share: float, confidence: float) -> None:
    events = min(int(share**3 * (trials + 1)), trials)
    want = 1.0 if events == trials else beta.ppf(confidence, events + 1, trials - events)
    assert binomial_upper_bound(events, trials, confidence) == pytest.approx(want, abs=1e-9)


@pytest.mark.parametrize(
    ("events", "trials", "confidence"),
    [(-1, 10, 0.95), (11, 10, 0.95), (1, 10, 0.0), (1, 10, 1.0)],
)
def test_counts_without_a_bound_are_refused(events: int, trials: int, confidence: float) -> None:
    with pytest.raises(ValueError, match="events"):
        binomial_upper_bound(events, trials, confidence)


def test_cases_and_runs_that_are_published() -> None:
    assert [cases_needed(rate, 0.95) for rate in (0.01, 0.005, 0.001)] == [299, 598, 2995]
    assert [runs_needed(share) for share in (0.9, 0.99, 0.999)] == [64, 662, 6636]


@given(rate=st.floats(0.001, 1.0), confidence=st.sampled_from((0.8, 0.9, 0.95, 0.99)))
@example(rate=1.0, confidence=0.95)
@settings(max_examples=100, deadline=None)
def test_cases_needed_is_the_smallest_number(rate: float, confidence: float) -> None:
    count = cases_needed(rate, confidence)
    assert count >= 1
    # scipy's bound for no event: beta.ppf(confidence, 1, n).
    assert beta.ppf(confidence, 1, count) <= rate + 1e-9
    assert count == 1 or beta.ppf(confidence, 1, count - 1) > rate - 1e-9


@given(percentile=st.floats(0.5, 0.995), confidence=st.sampled_from((0.9, 0.95, 0.99)))
@settings(max_examples=50, deadline=None)
def test_runs_needed_is_the_smallest_number(percentile: float, confidence: float) -> None:
    runs = runs_needed(percentile, confidence)
    assert binom.cdf(1, runs, 1 - percentile) <= 1 - confidence + 1e-9
    assert binom.cdf(1, runs - 1, 1 - percentile) > 1 - confidence - 1e-9
    assert overruns_allowed(runs, percentile, confidence) >= 1
    assert overruns_allowed(runs - 2, percentile, confidence) <= 1


def _evidence(
    gate: ClassificationGate,
    positive: str,
    truths: Sequence[str],
    reference: Sequence[str | None],
    variant: Sequence[str | None],
) -> Evidence:
    labels = sorted({positive, *truths})
    cases = pairs_of(zip(truths, reference, variant, strict=True))
    return change_evidence(gate, labels, positive, cases, Scope())


def _judge(
    flips: int, cases: int, gate: ClassificationGate = GATE
) -> tuple[str, tuple[str, ...], float]:
    """`flips` of the negative cases turn positive; half of the cases are positive."""
    truths = ["tumour" if number % 2 else "none" for number in range(cases)]
    variant = ["tumour" if number < 2 * flips else truth for number, truth in enumerate(truths)]
    result = _evidence(gate, "tumour", truths, truths, variant)
    assert only(result, "flips").events == flips == only(result, "flips-to-positive").events
    return result.verdict, result.reasons, bound_of(only(result, "flips"))[1]


def test_verdict_at_the_edge_of_the_gate() -> None:
    # One-sided 95 %: 0 of 149 and 1 of 236 are the smallest that stay under 2 % (scipy).
    assert beta.ppf(0.95, 1, 149) < 0.02 < beta.ppf(0.95, 1, 148)
    assert beta.ppf(0.95, 2, 235) < 0.02 < beta.ppf(0.95, 2, 234)
    assert _judge(0, 149)[0] == "pass"
    assert _judge(0, 148)[0] == "not-conclusive"
    assert _judge(1, 236)[0] == "pass"
    assert _judge(1, 235)[0] == "fail"
    verdict, reasons, bound = _judge(0, 50)
    assert bound == pytest.approx(1 - 0.05 ** (1 / 50), abs=1e-9)
    assert verdict == "not-conclusive"
    assert "149 cases" in reasons[0]


def test_a_gate_that_allows_any_flip_is_no_error() -> None:
    gate = ClassificationGate(
        metric="accuracy",
        max_flip_rate=1.0,
        min_metric_ratio=0.0,
        max_sensitivity_loss=1.0,
        max_specificity_loss=1.0,
    )
    assert _judge(20, 40, gate)[0] == "pass"


def test_metrics_counted_by_hand() -> None:
    truths = ["tumour"] * 4 + ["none"] * 6
    decided = ["tumour", "tumour", "none", None, "none", "none", "none", "none", "tumour", None]
    metrics = binary_metrics(truths, decided, "tumour")
    assert metrics.accuracy == 6 / 10
    assert metrics.sensitivity == 2 / 4
    assert metrics.specificity == 4 / 6  # an indeterminate answer is no right one
    assert metrics.mean_of_sensitivity_and_specificity == pytest.approx((2 / 4 + 4 / 6) / 2)
    empty = binary_metrics([], [], "tumour")
    assert set(empty.as_dict().values()) == {None}


def test_losses_at_the_threshold_fail_even_where_the_metric_holds() -> None:
    gate = ClassificationGate(metric="accuracy", max_flip_rate=0.5, min_metric_ratio=0.5)
    truths = ["tumour"] * 100 + ["none"] * 100
    reference: list[str | None] = [*truths]
    one = ["none", *truths[1:]]
    two = ["none", "none", *truths[2:]]
    assert _evidence(gate, "tumour", truths, reference, one).verdict == "pass"
    result = _evidence(gate, "tumour", truths, reference, two)
    assert result.verdict == "fail"
    assert only(result, "flips-to-negative").events == 2
    assert "sensitivity for 'tumour' falls from 1.0000 to 0.9800" in result.reasons[0]


@pytest.mark.parametrize("gate", [GATE, ACCURACY], ids=["mean", "accuracy"])
@pytest.mark.parametrize("only", ["tumour", "none"])
def test_cases_of_one_label_cannot_pass(gate: ClassificationGate, only: str) -> None:
    """Without the other label nobody knows what becomes of specificity or sensitivity."""
    truths = [only] * 400
    result = _evidence(gate, "tumour", truths, truths, truths)
    assert result.verdict == "not-conclusive"
    assert "positive and negative cases" in result.reasons[0]


def test_more_than_two_labels_are_each_held_against_the_rest() -> None:
    gate = ClassificationGate(metric="accuracy", max_flip_rate=0.2)
    truths = ["none"] * 200 + ["myoma"] * 100 + ["sarcoma"] * 100
    # Two myomas are called sarcoma: of the positive label's own rates only specificity
    # moves, by 2 of 300 and within the gate; the myoma's sensitivity falls by two points.
    variant = truths.copy()
    variant[200] = variant[201] = "sarcoma"
    result = _evidence(gate, "sarcoma", truths, truths, variant)
    assert result.verdict == "fail"
    (reason,) = result.reasons
    assert "sensitivity for 'myoma' falls from 1.0000 to 0.9800" in reason
    # A myoma taken for nothing is no false alarm for sarcoma.
    variant = truths.copy()
    variant[200] = "none"
    metrics = binary_metrics(truths, variant, "sarcoma")
    assert metrics.specificity == 1.0
    assert metrics.accuracy == 399 / 400
    assert _evidence(gate, "sarcoma", truths, truths, variant).verdict == "pass"


def test_lengths_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="1 truths for 2"):
        binary_metrics(["none"], ["none", "none"], "tumour")


def test_bound_is_finite_for_many_cases() -> None:
    bound = binomial_upper_bound(3, 1_000_000, 0.95)
    assert bound == pytest.approx(beta.ppf(0.95, 4, 999_997), abs=1e-9)
    assert math.isfinite(bound)
