"""Routing changes of a cascade, counted by hand and against explicit loops."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from scipy import stats

from medsdk.parity.cascades import Passage, RoutedCase, change_evidence
from medsdk.parity.evidence import Claim, Evidence, Scope
from medsdk.parity.pairing import paired
from medsdk.tasks.gates import ClassificationGate
from tests.sdk.parity.made_answers import Status, answer, digest

GATE = ClassificationGate(metric="accuracy")
SCOPE = Scope(candidate="variant", level="study")
STAGES = ("filter", "sarcoma")
LABELS = ("leiomyoma", "sarcoma")
ALL = frozenset({"1", "2", "3"})
Side = tuple[Passage, str | None]
"""The way and the final answer; None for none."""


def _way(passed: str, decision: str | None, answered: Sequence[str] = ()) -> Side:
    """Three slices enter the filter; what it passes enters the next stage and leaves it."""
    items = frozenset(passed)
    passage = Passage(
        {"filter": ALL, "sarcoma": items},
        {"filter": items, "sarcoma": items},
        frozenset(answered),
    )
    return passage, decision


def _case(
    number: int,
    reference: Side,
    variant: Side,
    truth: str | None = "sarcoma",
    status: Status | None = None,
) -> RoutedCase:
    before, after = (
        answer(number + 1, said, truth, status=None if said else status)
        for _, said in (reference, variant)
    )
    (pair,) = paired([before], [after])
    return RoutedCase(pair, reference[0], variant[0])


def _claim(evidence: Evidence, measure: str, role: str = "") -> Claim:
    (found,) = [
        item for item in evidence.claims if item.measure == measure and item.scope.role == role
    ]
    return found


def _run(cases: Sequence[RoutedCase], members: Sequence[str] = ()) -> Evidence:
    return change_evidence(GATE, LABELS, "sarcoma", STAGES, members, cases, SCOPE)


def test_the_same_way_passes():
    cases = [
        _case(k, _way("12", name), _way("12", name), truth=name)
        for k, name in enumerate(["sarcoma"] * 75 + ["leiomyoma"] * 74)
    ]
    evidence = _run(cases)
    assert evidence.verdict == "pass"
    assert not evidence.worst
    assert _claim(evidence, "routing-changes", "filter").n == 447
    assert _claim(evidence, "flips").n == 149
    assert _claim(evidence, "routing-changes", "filter").scope.level == "slice"


def test_directions_are_apart():
    cases = [
        _case(0, _way("1", "sarcoma"), _way("123", "sarcoma")),
        _case(1, _way("12", "sarcoma"), _way("1", "leiomyoma")),
        _case(2, _way("12", "sarcoma"), _way("13", "sarcoma")),
    ]
    evidence = _run(cases)
    assert _claim(evidence, "routing-changes", "filter").events == 5
    assert _claim(evidence, "passed-on-by-variant-only", "filter").events == 3
    assert _claim(evidence, "passed-on-by-reference-only", "filter").events == 2
    # The next stage is asked about 3, 2 and 3 slices in all; 1, 1 and 1 by both.
    assert _claim(evidence, "routing-changes", "sarcoma").n == 3
    assert _claim(evidence, "routing-changes", "sarcoma").events == 0
    alone = _claim(evidence, "entered-on-one-side", "sarcoma")
    assert (alone.events, alone.n) == (5, 8)
    assert _claim(evidence, "entered-on-one-side", "filter").events == 0


def test_what_the_routing_decided():
    cases = [
        _case(0, _way("1", "sarcoma"), _way("", None)),
        _case(1, _way("12", "sarcoma"), _way("1", "sarcoma")),
        _case(2, _way("12", "sarcoma"), _way("12", "leiomyoma")),
        _case(3, _way("12", "sarcoma"), _way("12", "sarcoma")),
    ]
    evidence = _run(cases)
    assert (_claim(evidence, "flips").events, _claim(evidence, "flips").n) == (2, 4)
    after = _claim(evidence, "flips-after-routing")
    assert (after.events, after.n) == (1, 2)
    flips = [item for item in evidence.worst if item.measure == "flips"]
    assert [(item.case, item.variant) for item in flips] == [
        (digest(1), "indeterminate"),
        (digest(3), "leiomyoma"),
    ]


@pytest.mark.parametrize(
    ("changed", "of", "verdict"), [(0, 149, "pass"), (1, 149, "fail"), (0, 148, "not-conclusive")]
)
def test_a_routing_change_has_the_bound_of_a_flip(changed, of, verdict):
    def way(passed: bool) -> Side:
        items = frozenset({"1"}) if passed else frozenset()
        return Passage({"filter": frozenset({"1"})}, {"filter": items}, frozenset()), "sarcoma"

    cases = [_case(number, way(True), way(number >= changed)) for number in range(of)]
    claim = _claim(_run(cases), "routing-changes", "filter")
    assert claim.verdict == verdict
    assert claim.bound is not None
    expected = stats.binomtest(changed, of, alternative="less").proportion_ci(0.95).high
    assert claim.bound.high == pytest.approx(expected, abs=1e-9)


def test_counts_are_those_of_a_loop():
    generator = random.Random(4)

    def way() -> Side:
        passed = "".join(item for item in "123" if generator.random() < 0.6)
        return _way(passed, generator.choice(["sarcoma", "leiomyoma", None]))

    cases = [_case(number, way(), way()) for number in range(60)]
    evidence = _run(cases)
    onward = back = flips = 0
    for case in cases:
        for item in "123":
            was = item in case.reference.passed["filter"]
            now = item in case.variant.passed["filter"]
            onward += now and not was
            back += was and not now
        flips += case.answers.reference.label != case.answers.variant.label
    assert _claim(evidence, "passed-on-by-variant-only", "filter").events == onward
    assert _claim(evidence, "passed-on-by-reference-only", "filter").events == back
    assert _claim(evidence, "flips").events == flips


def test_members_that_answer_on_one_side():
    folds = ("fold-1", "fold-2", "fold-3")
    cases = [
        _case(0, _way("1", "sarcoma", folds), _way("1", "sarcoma", folds[:2])),
        _case(1, _way("1", "sarcoma", folds[:1]), _way("1", "sarcoma", folds[:2])),
    ]
    evidence = _run(cases, folds)
    claim = _claim(evidence, "members-on-one-side")
    assert (claim.events, claim.n) == (2, 6)
    gone = _claim(evidence, "outputs")
    assert (gone.verdict, gone.events, gone.n) == ("fail", 2, 3)
    assert gone.reason == "member 'fold-3' never answers in the variant"


def test_an_unknown_member_fails_by_name():
    cases = [_case(0, _way("1", "sarcoma", ["a"]), _way("1", "sarcoma", ["a", "b"]))]
    assert (
        _claim(_run(cases, ["a"]), "outputs").reason == "member 'b' answers and is not of the task"
    )


def test_nothing_passes_that_never_entered():
    with pytest.raises(ValueError, match="'filter' passes on what never entered"):
        Passage({"filter": frozenset({"1"})}, {"filter": frozenset({"2"})}, frozenset())


def test_lost_tumours_fail_though_few_decisions_flip():
    """Ten of 1000 studies have a sarcoma and all ten are lost: 1 % of the decisions."""
    cases = [_case(k, _way("1", "sarcoma"), _way("1", "leiomyoma")) for k in range(10)]
    cases += [
        _case(k, _way("1", "leiomyoma"), _way("1", "leiomyoma"), truth="leiomyoma")
        for k in range(10, 1000)
    ]
    evidence = _run(cases)
    assert _claim(evidence, "flips").verdict == "pass"
    assert _claim(evidence, "sensitivity-change").verdict == "fail"
    assert evidence.verdict == "fail"


@pytest.mark.parametrize(("status", "n"), [("error", 0), ("no-result", 0), ("indeterminate", 200)])
def test_no_answer_on_either_side_is_no_pass(status, n):
    cases = [_case(k, _way("1", None), _way("1", None), status=status) for k in range(200)]
    evidence = _run(cases)
    assert (_claim(evidence, "flips").n, _claim(evidence, "flips").verdict) == (n, "not-conclusive")
    assert evidence.verdict == "not-conclusive"


def test_decisions_without_a_truth_prove_no_accuracy():
    cases = [_case(k, _way("1", "sarcoma"), _way("1", "sarcoma"), truth=None) for k in range(200)]
    evidence = _run(cases)
    assert _claim(evidence, "flips").verdict == "pass"
    assert evidence.verdict == "not-conclusive"


def test_no_case_is_no_pass():
    assert _run([]).verdict == "not-conclusive"
