"""Inside, outside by each limit and each forbidden change, undecidable; and each boundary."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from pydantic import ValidationError

from medsdk.bundle.change_envelope import ChangedThing, ChangeEnvelope
from medsdk.changes.envelope import judge_by_envelope, judge_by_gates
from medsdk.parity.evidence import Claim, Evidence
from medsdk.reports.report import Change

CASES = "c" * 64
THINGS: tuple[ChangedThing, ...] = get_args(ChangedThing)
GOOD = Evidence(claims=(Claim(measure="flips", n=300, verdict="pass"),))
BAD = Evidence(
    claims=(
        Claim(measure="sensitivity-change", n=300, verdict="fail", reason="it lost 3 points"),
        Claim(measure="flips", n=300, verdict="not-conclusive", reason="more cases are needed"),
    )
)
OPEN = Evidence(claims=(Claim(measure="flips", n=9, verdict="not-conclusive", reason="too few"),))


def _document(**update: Any) -> dict[str, Any]:
    limits = {"max_flip_rate": 0.05, "max_sensitivity_loss": 0.01, "max_specificity_loss": 0.02}
    return {
        "may_change": ("weights", "version"),
        "limits": limits,
        "cases_sha256": CASES,
        "min_cases": 300,
    } | update


ENVELOPE = ChangeEnvelope.model_validate(_document())


def _change(what: ChangedThing) -> Change:
    return Change(what=what, where="there", before="old", after="new")


def test_an_allowed_change_within_the_limits_is_inside():
    found = judge_by_envelope(ENVELOPE, [_change("weights")], GOOD, CASES, 300)
    assert (found.envelope, found.verdict, found.reasons) == ("inside", "pass", ())
    assert [item.allowed for item in found.changes] == [True]


@pytest.mark.parametrize("what", [item for item in THINGS if item not in ENVELOPE.may_change])
def test_a_forbidden_change_is_outside_whatever_was_measured(what):
    changes = [_change("weights"), _change(what), _change("version")]
    for evidence, cases in ((GOOD, CASES), (OPEN, "d" * 64), (Evidence(), "")):
        found = judge_by_envelope(ENVELOPE, changes, evidence, cases, 300)
        assert (found.envelope, found.verdict) == ("outside", "fail")
        assert f"no change of {what};" in found.reasons[0]
        assert [item.allowed for item in found.changes] == [True, False, True]


@pytest.mark.parametrize("what", THINGS)
def test_every_thing_can_be_allowed(what):
    envelope = ChangeEnvelope.model_validate(_document(may_change=(what, *{"version"} - {what})))
    changes = [_change(what), _change("version")]
    assert judge_by_envelope(envelope, changes, GOOD, CASES, 300).envelope == "inside"


def test_an_exceeded_limit_is_outside_and_says_which():
    found = judge_by_envelope(ENVELOPE, [_change("weights")], BAD, CASES, 300)
    assert (found.envelope, found.verdict) == ("outside", "fail")
    assert found.reasons == ("a limit of the envelope is exceeded: it lost 3 points",)


def test_other_cases_decide_nothing_even_where_they_fail():
    for cases in ("d" * 64, ""):
        for evidence in (GOOD, BAD):
            found = judge_by_envelope(ENVELOPE, [_change("weights")], evidence, cases, 300)
            assert (found.envelope, found.verdict) == ("undecidable", "not-conclusive")
            assert "other cases than the envelope names" in found.reasons[0]


@pytest.mark.parametrize(("cases", "place"), [(299, "undecidable"), (300, "inside")])
def test_the_number_of_cases_at_its_boundary(cases, place):
    found = judge_by_envelope(ENVELOPE, [_change("weights")], GOOD, CASES, cases)
    assert found.envelope == place
    assert ("299 cases are too few: the envelope asks for 300" in found.reasons) == (cases < 300)


@pytest.mark.parametrize("evidence", [OPEN, Evidence()])
def test_evidence_that_is_not_conclusive_is_undecidable(evidence):
    found = judge_by_envelope(ENVELOPE, [_change("weights")], evidence, CASES, 300)
    assert (found.envelope, found.verdict) == ("undecidable", "not-conclusive")
    assert found.reasons


def test_without_a_change_it_is_inside_whatever_the_cases_unless_the_evidence_fails():
    for evidence in (Evidence(), OPEN, GOOD):
        found = judge_by_envelope(ENVELOPE, [], evidence, "", 0)
        assert (found.envelope, found.verdict, found.reasons) == ("inside", "pass", ())
    assert judge_by_envelope(ENVELOPE, [], BAD, "", 0).envelope == "outside"


def test_a_side_that_was_not_asked_is_not_the_same_though_nothing_is_known_to_differ():
    unasked = Claim(measure="known-answers", n=0, verdict="not-conclusive", reason="not opened")
    evidence = GOOD + Evidence(claims=(unasked,))
    for cases, count in ((CASES, 300), ("", 0)):
        found = judge_by_envelope(ENVELOPE, [], evidence, cases, count)
        assert (found.envelope, found.verdict) == ("undecidable", "not-conclusive")
        assert "not opened" in found.reasons
    found = judge_by_gates([], evidence)
    assert (found.verdict, found.reasons) == ("not-conclusive", ("not opened",))


def test_a_successor_without_the_envelope_is_outside_and_says_the_remedy():
    lost = Change(what="gates", where="change_envelope", before="declared", after="absent")
    remedy = "export B with the same --envelope"
    for changes in ([lost], [lost, _change("version")]):
        found = judge_by_envelope(ENVELOPE, changes, GOOD, CASES, 300)
        assert found.envelope == "outside"
        assert found.reasons[-1].endswith(remedy)
    allowed = ChangeEnvelope.model_validate(_document(may_change=("gates", "version")))
    assert judge_by_envelope(allowed, changes, GOOD, CASES, 300).reasons == ()
    other = judge_by_envelope(ENVELOPE, [_change("gates")], GOOD, CASES, 300)
    assert remedy not in " ".join(other.reasons)


def test_gates_that_change_need_another_version_with_an_envelope_and_without():
    envelope = ChangeEnvelope.model_validate(_document(may_change=("gates", "version")))
    silent, told = [_change("gates")], [_change("gates"), _change("version")]
    assert judge_by_envelope(envelope, silent, GOOD, CASES, 300).envelope == "outside"
    assert judge_by_envelope(envelope, told, GOOD, CASES, 300).envelope == "inside"
    assert judge_by_gates(silent, GOOD).verdict == "fail"
    assert "under an equal version (there)" in judge_by_gates(silent, GOOD).reasons[0]
    assert judge_by_gates(told, GOOD).verdict == "pass"


@pytest.mark.parametrize(
    ("changes", "evidence", "verdict"),
    [
        ([_change("weights")], GOOD, "pass"),
        ([_change("weights")], BAD, "fail"),
        ([_change("weights")], OPEN, "not-conclusive"),
        ([_change("weights")], Evidence(), "not-run"),
        ([], Evidence(), "pass"),
        ([], OPEN, "pass"),
        ([], BAD, "fail"),
    ],
)
def test_without_an_envelope_the_gates_judge(changes, evidence, verdict):
    found = judge_by_gates(changes, evidence)
    assert (found.verdict, found.envelope) == (verdict, None)
    assert bool(found.reasons) == (verdict in ("fail", "not-conclusive"))
    assert all(item.allowed is None for item in found.changes)


@pytest.mark.parametrize(
    "update",
    [
        {"may_change": ()},
        {"may_change": ("weights", "weights")},
        {"may_change": ("everything",)},
        {"cases_sha256": "c" * 63},
        {"min_cases": 0},
        {"limits": {"max_flip_rate": 0.05}},
        {"limits": _document()["limits"] | {"max_flip_rate": 0.0}},
        {"limits": _document()["limits"] | {"max_sensitivity_loss": 1.1}},
        {"limits": _document()["limits"] | {"confidence": 0.5}},
        {"limits": _document()["limits"] | {"max_latency_ms": 1.0}},
        {"judge": "os.system"},
    ],
)
def test_an_envelope_that_says_something_else_is_refused(update):
    with pytest.raises(ValidationError):
        ChangeEnvelope.model_validate(_document(**update))
