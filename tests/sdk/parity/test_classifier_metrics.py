"""One candidate against the truth."""

from __future__ import annotations

import pytest
from statsmodels.stats.proportion import proportion_confint

from medsdk.parity.classification import metric_evidence
from medsdk.parity.decisions import INDETERMINATE, UNKNOWN, said, said_labels
from medsdk.parity.evidence import AgreementTable
from medsdk.parity.metrics import binary_metrics, metrics_of
from tests.sdk.parity.made_answers import LABELS, SCOPE, answer, bound_of, only

T, N = "tumour", "none"
ANSWERS = (
    [answer(number, T, T, tumour=0.9) for number in range(1, 41)]
    + [answer(number, N, T, tumour=0.1 + number / 1000) for number in range(41, 46)]
    + [answer(number, None, T, tumour=0.5) for number in range(46, 51)]
    + [answer(number, N, N, tumour=0.2) for number in range(51, 141)]
    + [answer(number, T, N, tumour=0.7) for number in range(141, 149)]
    + [answer(149, None, N, status="error"), answer(150, None, N, status="no-result")]
    + [answer(151, T, None, tumour=0.99)]
)
"""50 tumours, 100 without, one of which nobody knows."""


def test_each_metric_by_its_name_with_its_interval() -> None:
    evidence = metric_evidence(LABELS, T, ANSWERS, SCOPE)
    for measure, events, n in (
        ("sensitivity", 40, 50),
        ("specificity", 90, 100),
        ("accuracy", 130, 150),
    ):
        claim = only(evidence, measure)
        assert (claim.events, claim.n, claim.verdict) == (events, n, "advisory")
        want = proportion_confint(events, n, method="beta")
        assert bound_of(claim) == pytest.approx(want, abs=1e-9)
    mean = only(evidence, "mean-of-sensitivity-and-specificity")
    assert mean.value == pytest.approx((40 / 50 + 90 / 100) / 2)
    low, high = bound_of(mean)
    assert low is not None
    assert high is not None
    assert 0.75 < low < 0.85 < high < 0.92
    assert evidence.verdict == "advisory"


def test_answers_that_are_none_are_counted() -> None:
    evidence = metric_evidence(LABELS, T, ANSWERS, SCOPE)
    claim = only(evidence, "cases")
    assert (claim.n, claim.events) == (151, 150)
    assert claim.reason == (
        "1 of 151 cases have no truth; 5 indeterminate; 1 without result; 1 errors"
    )
    (table,) = evidence.charts
    assert isinstance(table, AgreementTable)
    assert table.rows == "truth"
    assert table.labels == ("none", "tumour", "indeterminate", "no-result", "error")
    assert table.counts[:2] == ((90, 8, 0, 1, 1), (5, 40, 5, 0, 0))
    assert table.counts[2:] == ((0,) * 5,) * 3


def test_dropped_answers_would_be_seen() -> None:
    """Planted: without the indeterminate ones the sensitivity is 40 of 45."""
    answered = [item for item in ANSWERS if item.status == "ok"]
    assert only(metric_evidence(LABELS, T, answered, SCOPE), "sensitivity").n == 45
    assert only(metric_evidence(LABELS, T, ANSWERS, SCOPE), "sensitivity").n == 50


def test_the_worst_answers_give_the_truth_the_least() -> None:
    worst = metric_evidence(LABELS, T, ANSWERS, SCOPE).worst
    assert [item.number for item in worst[:4]] == [149, 150, 41, 42]
    assert worst[2].size == pytest.approx(1 - 0.141)
    assert (worst[2].truth, worst[2].variant) == (T, N)
    assert len(worst) == 20


def test_cases_that_share_a_patient_are_worth_their_patients() -> None:
    answers = [answer(number, T, T, patient=number // 10) for number in range(100, 400)]
    claim = only(metric_evidence(LABELS, T, answers, SCOPE), "sensitivity")
    assert (claim.n, claim.patients) == (300, 30)
    assert bound_of(claim) == pytest.approx((0.025 ** (1 / 30), 1.0))


def test_nothing_known_is_no_value() -> None:
    evidence = metric_evidence(LABELS, T, [answer(1, T)], SCOPE)
    for measure in ("sensitivity", "specificity", "accuracy"):
        claim = only(evidence, measure)
        assert (claim.n, claim.value, claim.bound) == (0, None, None)
    assert only(evidence, "mean-of-sensitivity-and-specificity").value is None


def test_all_right_is_an_interval_and_no_point() -> None:
    answers = [answer(n, T if n % 2 else N, T if n % 2 else N) for n in range(1, 201)]
    low, high = bound_of(
        only(metric_evidence(LABELS, T, answers, SCOPE), "mean-of-sensitivity-and-specificity")
    )
    assert high == 1.0
    assert low == pytest.approx(0.025 ** (1 / 100))


def test_of_three_labels_each_has_its_rates() -> None:
    labels = ("none", "myoma", "sarcoma")
    answers = [answer(n, "myoma", "myoma") for n in range(1, 9)]
    answers += [answer(9, "sarcoma", "myoma"), answer(10, "none", "sarcoma")]
    evidence = metric_evidence(labels, "sarcoma", answers, SCOPE)
    counts = {
        label: [
            (only(evidence, measure, label=label).events, only(evidence, measure, label=label).n)
            for measure in ("sensitivity", "specificity")
        ]
        for label in labels
    }
    assert counts == {
        "none": [(0, 0), (9, 10)],
        "myoma": [(8, 9), (1, 1)],
        "sarcoma": [(0, 1), (8, 9)],
    }


def test_codes_keep_apart_what_is_not_known_and_what_is_not_decided() -> None:
    """Both are below 0: an indeterminate answer to a case without a truth is not right."""
    assert UNKNOWN == INDETERMINATE
    side = said(LABELS, [answer(1, None, None), answer(2, None, T), answer(3, T, None)])
    assert not side.right.any()
    assert side.known.tolist() == [False, True, False]
    pairs = said_labels(LABELS, [T, N], [T, None])
    assert metrics_of(pairs, 1) == binary_metrics([T, N], [T, None], T)
