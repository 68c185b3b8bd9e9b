"""What a change of a classifier is said to do, against tables that are counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta, bootstrap, mannwhitneyu
from statsmodels.stats.contingency_tables import mcnemar

from medsdk.parity import rates
from medsdk.parity.classification import change_evidence
from medsdk.parity.decisions import Codes, Flags
from medsdk.parity.evidence import (
    AgreementTable,
    BlandAltman,
    Claim,
    Evidence,
    Histogram,
    Measure,
    Scope,
)
from medsdk.parity.pairing import paired
from medsdk.tasks.gates import ClassificationGate
from tests.sdk.parity.made_answers import LABELS, SCOPE, answer, bound_of, only, pairs_of

GATE = ClassificationGate(metric="accuracy", max_flip_rate=0.2)
Row = tuple[str | None, str | None, str | None]

T, N = "tumour", "none"


def rows_of(count: int, row: Row) -> list[Row]:
    """Several cases of a truth, what the reference said and what the variant said."""
    return [row] * count


TABLE = (
    rows_of(40, (T, T, T))
    + rows_of(2, (T, T, N))  # newly lost
    + rows_of(1, (T, N, T))  # newly gained
    + rows_of(7, (T, N, N))
    + rows_of(60, (N, N, N))
    + rows_of(3, (N, N, T))
    + rows_of(4, (N, T, T))
    + rows_of(1, (N, T, None))  # an answer that becomes indeterminate
    + rows_of(2, (None, N, T))  # nobody knows the truth
    + rows_of(30, (None, N, N))
)
"""150 cases: 50 tumours, 68 without, 32 without a truth; 9 flips."""


def change(rows: list[Row], gate: ClassificationGate = GATE, **options: list[int]) -> Evidence:
    return change_evidence(gate, LABELS, T, pairs_of(rows, **options), SCOPE)


def test_flips_are_counted_with_their_bound() -> None:
    claim = only(change(TABLE), "flips")
    assert (claim.n, claim.events, claim.patients, claim.limit) == (150, 9, 150, 0.2)
    assert claim.verdict == "pass"
    low, high = bound_of(claim)
    assert low is None
    assert high == pytest.approx(beta.ppf(0.95, 10, 141), abs=1e-9)


def test_directions_are_apart_and_a_lost_answer_is_a_flip() -> None:
    evidence = change(TABLE)
    up, down = only(evidence, "flips-to-positive"), only(evidence, "flips-to-negative")
    assert (up.events, up.n) == (1 + 3 + 2, 150)
    assert (down.events, down.n) == (2 + 1, 150)
    assert only(evidence, "cases").reason == "1 indeterminate of the variant"


def test_positive_and_negative_agreement_are_of_the_references_calls() -> None:
    evidence = change(TABLE)
    positive, negative = (
        only(evidence, "positive-agreement"),
        only(evidence, "negative-agreement"),
    )
    # The reference calls 40 + 2 + 4 + 1 tumour and 1 + 7 + 60 + 3 + 2 + 30 none.
    assert (positive.events, positive.n) == (44, 47)
    assert (negative.events, negative.n) == (97, 103)
    assert bound_of(positive) == (pytest.approx(beta.ppf(0.05, 44, 4), abs=1e-9), None)
    assert bound_of(negative) == (pytest.approx(beta.ppf(0.05, 97, 7), abs=1e-9), None)


def test_swapped_agreement_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: of what the variant calls tumour (50) in place of what the reference does (47)."""
    right = rates.agreement

    def swapped(
        measure: Measure, scope: Scope, among: Flags, kept: Flags, patients: Codes, sure: float
    ) -> Claim:
        return right(measure, scope, kept, among, patients, sure)

    monkeypatch.setattr(rates, "agreement", swapped)
    with pytest.raises(AssertionError):
        test_positive_and_negative_agreement_are_of_the_references_calls()


def test_losses_are_of_cases_with_a_truth() -> None:
    evidence = change(TABLE)
    assert only(evidence, "sensitivity-change").n == 50
    assert only(evidence, "sensitivity-change").value == pytest.approx((41 - 42) / 50)
    # The indeterminate answer to a case that the reference had wrong is wrong too.
    assert only(evidence, "specificity-change").n == 68
    assert only(evidence, "specificity-change").value == pytest.approx((60 - 63) / 68)
    assert only(evidence, "accuracy-change").value == pytest.approx((101 - 105) / 118)
    mean = only(evidence, "mean-of-sensitivity-and-specificity-change")
    assert mean.value == pytest.approx((-1 / 50 - 3 / 68) / 2)
    ratio = only(evidence, "metric-ratio")
    assert ratio.n == 118
    assert ratio.value == pytest.approx(101 / 105)
    assert ratio.verdict == "fail"
    assert "accuracy 0.8559 is below 99.00%" in ratio.reason


def test_accuracy_is_not_the_mean_of_sensitivity_and_specificity() -> None:
    rows = rows_of(5, (T, T, T)) + rows_of(5, (T, T, N)) + rows_of(990, (N, N, N))
    evidence = change(rows)
    assert only(evidence, "accuracy-change").value == pytest.approx(-0.005)
    mean = only(evidence, "mean-of-sensitivity-and-specificity-change")
    assert mean.value == pytest.approx(-0.25)


def test_non_inferiority_is_bounded_by_the_cases_newly_lost() -> None:
    evidence = change(TABLE)
    claim = only(evidence, "sensitivity-non-inferiority")
    assert (claim.n, claim.events) == (50, 2)
    assert claim.value == pytest.approx(0.02)
    assert bound_of(claim) == (None, pytest.approx(beta.ppf(0.95, 3, 48), abs=1e-9))
    assert (claim.verdict, claim.limit, claim.needed) == ("advisory", 0.01, 299)
    assert "299 cases" in claim.reason


@pytest.mark.parametrize(
    ("lost", "cases", "verdict"),
    [
        (0, 298, "not-conclusive"),
        (0, 299, "pass"),
        (1, 299, "fail"),
        (1, 473, "pass"),
        (1, 472, "fail"),
    ],
)
def test_a_loss_is_proved_by_no_less_than_the_cases_it_takes(
    lost: int, cases: int, verdict: str
) -> None:
    gate = ClassificationGate(
        metric="accuracy", min_metric_ratio=0.0, max_flip_rate=0.5, losses="proved"
    )
    assert beta.ppf(0.95, 2, 472) <= 0.01 < beta.ppf(0.95, 2, 471)
    rows = rows_of(lost, (T, T, N)) + rows_of(cases - lost, (T, T, T)) + rows_of(600, (N, N, N))
    evidence = change(rows, gate)
    assert only(evidence, "sensitivity-non-inferiority").verdict == verdict
    assert only(evidence, "sensitivity-change").verdict == "advisory"
    assert evidence.verdict == verdict


def test_nothing_lost_never_proves_more_than_the_patients_allow() -> None:
    """600 tumours of 20 patients, nothing lost: 20 patients prove 14 %, not 0.5 %."""
    rows = rows_of(600, (T, T, T)) + rows_of(600, (N, N, N))
    patients = [at // 30 for at in range(1200)]
    evidence = change(rows, patients=patients)
    claim = only(evidence, "sensitivity-non-inferiority")
    assert (claim.n, claim.patients) == (600, 20)
    assert bound_of(claim)[1] == pytest.approx(1 - 0.05 ** (1 / 20))
    assert bound_of(only(evidence, "sensitivity-change")) == pytest.approx(
        (-(1 - 0.025 ** (1 / 20)), 1 - 0.025 ** (1 / 20))
    )
    assert only(evidence, "patients-with-flips").n == 40
    assert bound_of(only(evidence, "patients-with-flips"))[1] == pytest.approx(1 - 0.05 ** (1 / 40))
    gate = ClassificationGate(metric="accuracy", losses="proved")
    assert only(change(rows, gate, patients=patients), claim.measure).verdict == "not-conclusive"


def test_change_of_sensitivity_has_the_interval_of_the_paired_bootstrap() -> None:
    """Each patient with all cases, as scipy resamples them; here every end is beyond the room."""
    generator = np.random.default_rng(3)
    rows: list[Row] = []
    patients = []
    for patient in range(60):
        hit, missed = generator.random(2) * 0.5
        for _ in range(int(generator.integers(1, 6))):
            before = T if generator.random() > hit else N
            after = T if generator.random() > missed else N
            rows.append((T, before, after))
            patients.append(patient)
    evidence = change(rows, patients=patients)
    sums = np.zeros((60, 3))
    for patient, (_, one, two) in zip(patients, rows, strict=True):
        sums[patient] += (1, one == T, two == T)
    theirs = bootstrap(
        tuple(sums.T),
        lambda n, one, two, axis=-1: (two.sum(axis) - one.sum(axis)) / n.sum(axis),
        paired=True,
        vectorized=True,
        n_resamples=2000,
        method="percentile",
        rng=np.random.default_rng(20),
    ).confidence_interval
    found = bound_of(only(evidence, "sensitivity-change"))
    assert found == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_mcnemar_is_an_alarm_and_decides_nothing() -> None:
    rows = (
        rows_of(8, (T, N, T))
        + rows_of(1, (N, T, N))
        + rows_of(391, (N, N, N))
        + rows_of(300, (T, T, T))
    )
    evidence = change(rows)
    claim = only(evidence, "asymmetry")
    p = mcnemar([[0, 8], [1, 0]], exact=True).pvalue
    assert claim.value == pytest.approx(p, abs=1e-9)
    assert p < 0.05
    assert claim.verdict == "advisory"
    assert claim.reason == "flips go one way, to 'tumour': 8 to it and 1 away from it"
    assert evidence.verdict == "pass"
    even = rows_of(60, (None, N, T)) + rows_of(60, (None, T, N)) + rows_of(200, (None, N, N))
    assert only(change(even), "asymmetry").value == 1.0
    assert only(change(even), "asymmetry").reason == ""
    assert only(change(even), "flips").verdict == "fail"


def test_answers_that_are_lost_are_never_dropped() -> None:
    """Two of 300 lost one way or another on one side are flips; on both sides no evidence."""
    rows = rows_of(150, (N, N, N)) + rows_of(150, (T, T, T))
    rows += rows_of(3, (N, "error", "error")) + rows_of(2, (T, "no-result", "no-result"))
    rows += rows_of(4, (N, None, None))
    rows += [(T, T, "error"), (N, "no-result", N), (N, None, "error")]
    evidence = change(rows)
    flips = only(evidence, "flips")
    assert (flips.n, flips.events) == (307, 3)
    said = only(evidence, "cases")
    assert (said.n, said.events) == (312, 307)
    assert said.reason == (
        "5 of 312 cases have no answer on either side; 5 indeterminate of the reference; "
        "3 without result of the reference; 3 errors of the reference; "
        "4 indeterminate of the variant; 2 without result of the variant; 5 errors of the variant"
    )
    (table,) = (chart for chart in evidence.charts if isinstance(chart, AgreementTable))
    assert table.labels == ("none", "tumour", "indeterminate", "no-result", "error")
    assert sum(map(sum, table.counts)) == 312
    assert table.counts[1][4] == 1  # tumour, then an error
    assert table.counts[2] == (0, 0, 4, 0, 1)


def test_all_errors_prove_nothing() -> None:
    evidence = change(rows_of(400, (T, "error", "error")))
    flips = only(evidence, "flips")
    assert (flips.n, flips.value, bound_of(flips)) == (0, None, (None, 1.0))
    assert evidence.verdict == "not-conclusive"
    assert change([]).verdict == "not-conclusive"


@pytest.mark.parametrize(
    ("flips", "cases", "verdict"),
    [(0, 148, "not-conclusive"), (0, 149, "pass"), (1, 235, "fail"), (1, 236, "pass")],
)
def test_the_gate_of_flips_at_its_edge(flips: int, cases: int, verdict: str) -> None:
    gate = ClassificationGate(metric="accuracy")
    rows = rows_of(flips, (None, N, T)) + rows_of(cases - flips, (None, N, N))
    claim = only(change(rows, gate), "flips")
    assert (claim.verdict, claim.needed) == (verdict, 149)
    assert ("149 cases without a flip would decide it" in claim.reason) == (
        verdict == "not-conclusive"
    )


def test_a_reason_never_understates_the_bound() -> None:
    gate = ClassificationGate(metric="accuracy", max_flip_rate=0.0201)
    rows = rows_of(1, (None, N, T)) + rows_of(233, (None, N, N))
    (reason,) = [text for text in change(rows, gate).reasons if "flipped" in text]
    assert beta.ppf(0.95, 2, 233) == pytest.approx(0.020111, abs=1e-6)
    assert "under 2.02% at 95% confidence, the gate is 2.01%" in reason


def test_of_three_labels_each_is_held_against_the_rest() -> None:
    labels = ("none", "myoma", "sarcoma")
    rows = rows_of(200, ("none", "none", "none")) + rows_of(98, ("myoma", "myoma", "myoma"))
    rows += rows_of(2, ("myoma", "myoma", "sarcoma"))
    evidence = change_evidence(GATE, labels, "sarcoma", pairs_of(rows), SCOPE)
    assert only(evidence, "sensitivity-change", label="myoma").verdict == "fail"
    assert only(evidence, "specificity-change", label="sarcoma").value == pytest.approx(-2 / 300)
    # Nobody has shown a sarcoma: its sensitivity is open, and nothing passes for it.
    assert only(evidence, "sensitivity-change", label="sarcoma").verdict == "not-conclusive"
    assert evidence.verdict == "fail"


def test_probabilities_and_worst_cases() -> None:
    """Flips come first, then the largest change of a probability; charts are of the tumour's."""
    before = [0.1, 0.2, 0.8, 0.9, 0.52, 0.3]
    after = [0.1, 0.35, 0.8, 0.85, 0.49, 0.3]
    sides = [
        [
            answer(number, T if value >= 0.5 else N, N, tumour=value)
            for number, value in enumerate(values, 1)
        ]
        for values in (before, after)
    ]
    evidence = change_evidence(GATE, LABELS, T, paired(*sides), SCOPE)
    assert [(item.number, item.measure) for item in evidence.worst] == [
        (5, "flips"),
        (2, "probability-change-mean"),
        (4, "probability-change-mean"),
    ]
    assert evidence.worst[0].size == pytest.approx(0.03)
    assert (evidence.worst[0].reference, evidence.worst[0].variant) == (T, N)
    differences = np.subtract(after, before)
    mean = only(evidence, "probability-change-mean")
    assert mean.value == pytest.approx(np.abs(differences).mean())
    high = only(evidence, "probability-change-95th-percentile")
    assert high.value == pytest.approx(np.percentile(np.abs(differences), 95))
    assert high.bound is None
    assert "59 cases" in high.reason
    histogram = next(chart for chart in evidence.charts if isinstance(chart, Histogram))
    assert sum(histogram.counts) == 6
    assert histogram.counts[10] == 3  # no change: the middle bin
    assert histogram.edges[0] == pytest.approx(-histogram.edges[-1])
    plot = next(chart for chart in evidence.charts if isinstance(chart, BlandAltman))
    assert plot.n == 6
    assert plot.bias == pytest.approx(differences.mean())
    assert plot.high - plot.low == pytest.approx(2 * 1.96 * differences.std(ddof=1))
    assert plot.scope.label == T


def test_a_percentile_of_a_few_patients_has_no_bound() -> None:
    """120 slices: of 120 patients they bound a 95th percentile, of 12 they do not."""
    bounds = []
    for slices in (1, 10):
        sides = [
            [
                answer(number, N, tumour=value, patient=(number - 1) // slices)
                for number in range(1, 121)
            ]
            for value in (0.1, 0.2)
        ]
        evidence = change_evidence(GATE, LABELS, T, paired(*sides), SCOPE)
        bounds.append(only(evidence, "probability-change-95th-percentile").bound)
    assert bounds[0] is not None
    assert bounds[0].high == pytest.approx(0.1)
    assert bounds[1] is None


def test_a_large_plot_keeps_its_extremes() -> None:
    generator = np.random.default_rng(0)
    before = generator.random(3000)
    after = np.clip(before + generator.normal(0, 0.01, 3000), 0, 1)
    sides = [
        [answer(number, N, tumour=float(value)) for number, value in enumerate(values, 1)]
        for values in (before, after)
    ]
    evidence = change_evidence(GATE, LABELS, T, paired(*sides), SCOPE)
    plot = next(chart for chart in evidence.charts if isinstance(chart, BlandAltman))
    shown = [difference for _, difference in plot.points]
    assert len(shown) == 1000
    differences = after - before
    assert [shown[0], shown[-1]] == pytest.approx([differences.min(), differences.max()])
    # The ones shown are spread like all of them.
    assert mannwhitneyu(shown, differences).pvalue > 0.5
    assert len(evidence.worst) == 20


def test_without_probabilities_there_is_a_claim_without_a_value() -> None:
    evidence = change(TABLE)
    mean = only(evidence, "probability-change-mean")
    assert (mean.n, mean.value, mean.bound) == (0, None, None)
    assert [chart.kind for chart in evidence.charts] == ["agreement"]
    assert [item.size for item in evidence.worst] == [1.0] * 9


def test_every_claim_carries_the_scope() -> None:
    scope = Scope(candidate="onnxruntime int8-cpu", level="study", stratum="site", value="a")
    evidence = change_evidence(
        GATE, LABELS, T, pairs_of(TABLE, patients=[at // 2 for at in range(150)]), scope
    )
    claims = [claim for claim in evidence.claims if claim.measure != "patients-with-flips"]
    assert {(claim.scope.candidate, claim.scope.level, claim.scope.value) for claim in claims} == {
        ("onnxruntime int8-cpu", "study", "a")
    }
    assert only(evidence, "patients-with-flips").scope.level == "patient"


def test_a_label_that_is_none_of_the_tasks_is_refused() -> None:
    with pytest.raises(ValueError, match="'cyst' is none of the labels 'none', 'tumour'"):
        change([(T, "cyst", N)])
