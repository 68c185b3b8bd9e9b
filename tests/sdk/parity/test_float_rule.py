"""FP32 on another runtime: every output by the gate, flips by a margin that is the gate's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy.stats import beta

from medsdk.decide import decide
from medsdk.decode import class_probabilities
from medsdk.evaluation.answers import Answer
from medsdk.parity.evidence import Claim, Evidence, Scope
from medsdk.parity.float_rule import float_evidence, share_of_allowance
from medsdk.parity.pairing import PairedCase
from medsdk.pipeline import supported_role
from medsdk.tasks import Task, read_task
from medsdk.tasks.gates import FloatGate

SCOPE = Scope(candidate="openvino fp32")
ATOL = RTOL = 1e-4


@pytest.fixture(scope="module")
def task(vendor: Any) -> Task:
    return read_task(vendor.task_file)


def _answer(task: Task, number: int, logits: Sequence[float], keep: bool) -> Answer:
    _, decode = supported_role(task)
    given = class_probabilities(decode, {"logits": np.array([logits], np.float64)})
    outcome = decide(task, given)
    return Answer(
        case=f"{number:016x}",
        number=number,
        truth=None,
        patient=f"{number:016x}",
        status=outcome.status,
        label=outcome.label,
        probabilities=dict(given),
        outputs={"filter.logits": tuple(logits)} if keep else {},
    )


def _evidence(
    task: Task, rows: Sequence[tuple[float, float]], *, keep: bool = True, **options: Any
) -> Evidence:
    """Rows of the difference of the two logits, of the reference and of the variant."""
    pairs = [
        PairedCase(f"{number:016x}", number, None, f"{number:016x}", *sides)
        for number, row in enumerate(rows, 1)
        for sides in ([_answer(task, number, (-half / 2, half / 2), keep) for half in row],)
    ]
    return float_evidence(task, pairs, SCOPE, **options)


def _claim(evidence: Evidence, measure: str) -> Claim:
    (found,) = [
        item for item in evidence.claims if item.measure == measure and not item.scope.label
    ]
    return found


def test_a_share_is_the_distance_over_what_is_allowed() -> None:
    gate = FloatGate(atol=0.5, rtol=0.25)
    # 2 allows 1.0, so a distance of 0.4 is 40 %; 0 allows 0.5, so 0.3 is 60 %.
    assert share_of_allowance(gate, [2.4, 0.3], [2.0, 0.0]) == pytest.approx(0.6)
    assert share_of_allowance(gate, [], []) == 0
    exact = FloatGate(atol=0, rtol=0)
    assert share_of_allowance(exact, [1.0], [1.0]) == 0
    assert share_of_allowance(exact, [1.0], [2.0]) == math.inf
    assert share_of_allowance(gate, [1.0, 2.0], [1.0]) == math.inf
    assert share_of_allowance(gate, [math.nan], [1.0]) == math.inf


@pytest.mark.parametrize("keep", [True, False], ids=["scores", "probabilities"])
def test_sixteen_equal_cases_are_enough(task: Task, keep: bool) -> None:
    """More than 64 scores are not kept: their probabilities stand in."""
    found = _evidence(task, [(4.0, 4.0), (-4.0, -4.0)] * 8, keep=keep)
    assert (found.verdict, found.reasons) == ("pass", ())
    outside, difference = _claim(found, "flips-outside-margin"), _claim(found, "float-difference")
    assert (outside.n, outside.events, difference.n, difference.value) == (16, 0, 16, 0.0)
    assert outside.bound is not None
    assert outside.bound.high == pytest.approx(1 - 0.05 ** (1 / 16))


def test_a_flip_beside_the_threshold_is_published_and_decides_nothing(task: Task) -> None:
    near = 4e-6  # p = 0.500001 and 0.499999
    found = _evidence(task, [(near, -near)] * 3 + [(4.0, 4.0)] * 20)
    flips, outside = _claim(found, "flips"), _claim(found, "flips-outside-margin")
    assert (flips.n, flips.events, flips.verdict) == (23, 3, "advisory")
    assert flips.bound is not None
    assert flips.bound.high == pytest.approx(beta.ppf(0.95, 4, 20))
    assert (outside.n, outside.events, outside.verdict) == (20, 0, "pass")
    assert found.verdict == "pass"


def test_a_case_that_flips_does_not_widen_its_own_margin(task: Task) -> None:
    """The largest difference seen would excuse every flip: here 8 logits, in 5 of 100 cases."""
    found = _evidence(task, [(4.0, -4.0)] * 5 + [(4.0, 4.0)] * 95)
    outside = _claim(found, "flips-outside-margin")
    assert (outside.verdict, outside.n, outside.events) == ("fail", 100, 5)
    assert "5 of 100 decisions flip" in outside.reason
    assert "case 1, case 2" in outside.reason


def test_the_margin_is_twice_the_allowance_of_each_value(task: Task) -> None:
    # Each logit d / 2 may move by 2 * (atol + rtol * d / 2), both against each other.
    edge = 4 * ATOL / (1 - 2 * RTOL)
    rows = [(edge * 1.01, -edge), (edge * 0.99, -edge)]
    outside = _claim(_evidence(task, rows), "flips-outside-margin")
    assert (outside.n, outside.events) == (1, 1)


@pytest.mark.parametrize("keep", [True, False], ids=["scores", "probabilities"])
def test_outputs_that_leave_the_gate_fail_and_name_their_cases(task: Task, keep: bool) -> None:
    found = _evidence(task, [(1.0, 1.0)] * 9 + [(1.0, 1.01)], keep=keep)
    claim = _claim(found, "float-difference")
    assert (claim.verdict, claim.events, claim.n, claim.limit) == ("fail", 1, 10, 1.0)
    assert "case 10" in claim.reason
    if keep:  # half of 0.01 over 1e-4 + 1e-4 / 2
        assert claim.value == pytest.approx(0.005 / 1.5e-4)


def test_all_outputs_count_where_the_caller_has_them(task: Task) -> None:
    found = _evidence(task, [(1.0, 1.0)] * 2, shares=[0.5, 1.5])
    claim = _claim(found, "float-difference")
    assert (claim.verdict, claim.value, claim.events) == ("fail", 1.5, 1)


def test_an_answer_that_is_lost_is_no_rounding(task: Task) -> None:
    reference = _answer(task, 1, (-2.0, 2.0), True)
    lost = reference.model_copy(
        update={"status": "error", "label": None, "probabilities": {}, "outputs": {}}
    )
    for one, two, failing in ((reference, lost, 2), (lost, reference, 1), (lost, lost, 0)):
        pair = PairedCase(one.case, 1, None, one.patient, one, two)
        found = float_evidence(task, [pair], SCOPE)
        own = [_claim(found, name) for name in ("float-difference", "flips-outside-margin")]
        assert [item.verdict for item in own].count("fail") == failing
        assert "pass" not in [item.verdict for item in own]
