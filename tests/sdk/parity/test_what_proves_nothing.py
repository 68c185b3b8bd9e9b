"""What once passed although the cases showed nothing: each of these must not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from scipy.stats import beta, bootstrap

from medsdk.parity import rates
from medsdk.parity.classification import change_evidence, metric_evidence
from medsdk.parity.evidence import Claim, Evidence, Measure, Scope
from medsdk.parity.pairing import paired
from medsdk.tasks.gates import ClassificationGate
from tests.sdk.parity.made_answers import LABELS, SCOPE, answer, bound_of, only, pairs_of

Row = tuple[str | None, str | None, str | None]
T, N = "tumour", "none"
GATE = ClassificationGate(metric="accuracy")
GOOD = [(T, T, T)] * 200 + [(N, N, N)] * 200


def change(
    rows: Sequence[Row], gate: ClassificationGate = GATE, patients: Sequence[int] = ()
) -> Evidence:
    return change_evidence(gate, LABELS, T, pairs_of(rows, patients), SCOPE)


# A claim without a value, and a reference that says nothing


@pytest.mark.parametrize("losses", ["observed", "proved"])
def test_indeterminate_on_both_sides_proves_nothing(losses: str) -> None:
    gate = ClassificationGate.model_validate({"metric": "accuracy", "losses": losses})
    rows = [(T, None, None)] * 300 + [(N, None, None)] * 300
    evidence = change(rows, gate)
    assert evidence.verdict == "not-conclusive"
    deciding = [claim for claim in evidence.claims if claim.verdict != "advisory"]
    assert {claim.verdict for claim in deciding} == {"not-conclusive"}
    assert "the reference decided none of the 600 cases" in only(evidence, "flips").reason


def test_a_reference_that_is_always_wrong_has_nothing_to_lose() -> None:
    evidence = change([(T, N, N)] * 200 + [(N, T, T)] * 200)
    assert only(evidence, "flips").verdict == "pass"
    assert only(evidence, "metric-ratio").verdict == "not-conclusive"
    assert only(evidence, "metric-ratio").value is None
    assert "the reference has none right" in only(evidence, "metric-ratio").reason
    assert evidence.verdict == "not-conclusive"


def test_a_reference_without_a_right_positive_cannot_lose_one() -> None:
    evidence = change([(T, N, N)] * 150 + [(N, N, N)] * 150)
    loss = only(evidence, "sensitivity-change")
    assert (loss.value, loss.verdict) == (0.0, "not-conclusive")
    assert "none of the 150 cases right" in loss.reason
    assert only(evidence, "specificity-change").verdict == "pass"
    one_right = change([(T, T, T)] + [(T, N, N)] * 149 + [(N, N, N)] * 150)
    assert only(one_right, "sensitivity-change").verdict == "pass"


def test_a_deciding_claim_that_passes_has_a_value_and_a_bound() -> None:
    for losses in ("observed", "proved"):
        gate = ClassificationGate.model_validate({"metric": "accuracy", "losses": losses})
        rows = [(T, T, T)] * 300 + [(N, N, N)] * 300
        evidence = change(rows, gate)
        assert evidence.verdict == "pass"
        for claim in evidence.claims:
            if claim.verdict == "pass":
                assert (claim.value, claim.bound) != (None, None), claim.measure
                assert claim.bound is not None, claim.measure


# The bound of a ratio


def test_the_ratio_has_the_interval_of_the_paired_bootstrap() -> None:
    generator = np.random.default_rng(8)
    right = generator.random((2, 400)) > 0.4
    rows = [(T, T if one else N, T if two else N) for one, two in right.T]
    theirs = bootstrap(
        tuple(right.astype(float)),
        lambda one, two, axis=-1: two.sum(axis) / one.sum(axis),
        paired=True,
        vectorized=True,
        n_resamples=2000,
        method="percentile",
        rng=np.random.default_rng(20),
    ).confidence_interval
    claim = only(change(rows), "metric-ratio")
    assert bound_of(claim) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_a_ratio_that_did_not_move_is_no_point() -> None:
    """Half of the reference's answers right: no event of 400 moves the ratio by twice as much."""
    rows = [(T, T, T)] * 200 + [(T, N, N)] * 200
    room = 2 * (1 - 0.025 ** (1 / 400))
    low, high = bound_of(only(change(rows), "metric-ratio"))
    assert (low, high) == (pytest.approx(1 - room), pytest.approx(1 + room))


# Patients


def test_one_patient_proves_nothing_whatever_the_slices() -> None:
    evidence = change(GOOD, patients=[1] * 400)
    claim = only(evidence, "flips")
    assert (claim.n, claim.patients, claim.needed) == (400, 1, 149)
    assert bound_of(claim) == (None, pytest.approx(0.95))
    assert claim.verdict == "not-conclusive"
    assert "worth 1 independent" in claim.reason
    assert "149 cases of as many patients" in claim.reason


@pytest.mark.parametrize(
    ("patients", "flipped", "verdict"),
    [(148, 0, "not-conclusive"), (149, 0, "pass"), (149, 4, "fail"), (236, 3, "pass")],
)
def test_flips_are_proved_by_independent_cases(patients: int, flipped: int, verdict: str) -> None:
    """Three slices each: one flipped slice is a third of an event."""
    rows = [(N, N, T)] * flipped + [(N, N, N)] * (3 * patients - flipped)
    owners = [at % patients for at in range(3 * patients)]
    assert beta.ppf(0.95, 1 + 4 / 3, 149 - 4 / 3) > 0.02 >= beta.ppf(0.95, 2, 235)
    claim = only(change(rows, patients=owners), "flips")
    assert (claim.n, claim.events, claim.verdict) == (3 * patients, flipped, verdict)


def test_a_loss_weighs_what_the_largest_patient_weighs() -> None:
    """100 patients with one positive case and one with 50, nothing lost: worth 150/50 cases."""
    rows = [(T, T, T)] * 150 + [(N, N, N)] * 400
    owners = [*range(100), *[100] * 50, *range(200, 600)]
    claim = only(change(rows, patients=owners), "sensitivity-non-inferiority")
    assert bound_of(claim)[1] == pytest.approx(1 - 0.05 ** (1 / 3))
    # Lost in 12 of 30 patients with ten cases each, one of them: more by patient than by case.
    lost = np.arange(300) % 25 == 0
    patients = np.arange(300) // 10
    every = np.ones(300, np.bool_)
    claim = rates.loss("sensitivity-non-inferiority", SCOPE, every, every, ~lost, patients, 0.95)
    assert bound_of(claim)[1] == pytest.approx(beta.ppf(0.95, 13, 18), abs=1e-9)


@pytest.mark.parametrize(("people", "bounded"), [(9, False), (10, True)])
def test_a_few_patients_have_no_interval(people: int, bounded: bool) -> None:
    sides = [
        [
            answer(n, T if n % 2 else N, T if n % 2 else N, tumour=value, patient=n // 2 % people)
            for n in range(1, 201)
        ]
        for value in (0.5, 0.501)
    ]
    evidence = change_evidence(GATE, LABELS, T, paired(*sides), SCOPE)
    evidence += metric_evidence(LABELS, T, sides[0], SCOPE)
    for measure in (
        "probability-change-mean",
        "metric-ratio",
        "accuracy-change",
        "sensitivity-change",
        "mean-of-sensitivity-and-specificity-change",
        "mean-of-sensitivity-and-specificity",
    ):
        claim = only(evidence, measure)
        assert claim.value is not None
        assert (claim.bound is not None) == bounded, measure
        assert ("no interval: 9 patients, it takes 10" in claim.reason) == (not bounded), measure


# A failure that more cases may turn


def test_a_rate_within_the_limit_that_is_not_proved_says_what_would_prove_it() -> None:
    rows = [(N, N, T)] + [(N, N, N)] * 148
    claim = only(change(rows), "flips")
    assert claim.verdict == "fail"
    assert "1 of 149 is within the limit and not proved" in claim.reason
    assert "236 cases with no more would prove it" in claim.reason
    beyond = only(change([(N, N, T)] * 10 + [(N, N, N)] * 190), "flips")
    assert beyond.verdict == "fail"
    assert "would prove" not in beyond.reason


def test_a_loss_within_the_limit_says_what_would_prove_it() -> None:
    gate = ClassificationGate(metric="accuracy", losses="proved")
    rows = [(T, T, N)] + [(T, T, T)] * 298 + [(N, N, N)] * 300
    claim = only(change(rows, gate), "sensitivity-non-inferiority")
    assert claim.verdict == "fail"
    assert "473 cases with no more would prove it" in claim.reason


def test_a_reason_is_told_once_and_names_the_candidates_that_share_it() -> None:
    def claim(measure: Measure, candidate: str, reason: str) -> Claim:
        scope = Scope(candidate=candidate)
        return Claim(measure=measure, scope=scope, n=0, verdict="fail", reason=reason)

    none = "no case has a truth"
    alone = Evidence(claims=(claim("accuracy", "one", none), claim("sensitivity", "one", none)))
    assert alone.reasons == (none,)
    two = Evidence(claims=(claim("flips", "one", "2 flips"), claim("flips", "two", "2 flips")))
    assert (alone + two).reasons == (none, "one, two: 2 flips")


def test_a_bound_says_what_it_takes_to_find_it_again() -> None:
    rows = [(T, T, T)] * 93 + [(T, N, N)] * 7 + [(N, N, N)] * 100
    shared = [number // 4 if number < 100 else number for number in range(200)]
    counts = np.bincount(shared)
    worth = counts.sum() ** 2 / (counts**2).sum()
    pairs = pairs_of(rows, shared)
    found = metric_evidence(LABELS, T, [pair.variant for pair in pairs], SCOPE)
    accuracy = only(found, "accuracy").bound
    assert accuracy is not None
    assert (accuracy.method, accuracy.effective_n) == ("clopper-pearson", worth)
    events = 193 * worth / 200
    assert accuracy.low == pytest.approx(beta.ppf(0.025, events, worth - events + 1))
    assert accuracy.high == pytest.approx(beta.ppf(0.975, events + 1, worth - events))

    step = only(change(rows, patients=shared), "accuracy-change").bound
    assert step is not None
    assert (step.method, step.effective_n) == ("paired-bootstrap-widened", worth)
    room = 1 - 0.025 ** (1 / worth)
    assert (step.low, step.high) == pytest.approx((-room, room))

    alone = change(rows)
    assert {claim.bound.effective_n for claim in alone.claims if claim.bound} == {None}
    moved = [(T, T, N)] * 30 + [(N, T, N)] * 30 + GOOD
    wide = only(change(moved), "accuracy-change").bound
    assert wide is not None
    assert wide.method == "paired-bootstrap"
