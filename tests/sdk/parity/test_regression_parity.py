"""Parity of a quantity, by hand and against numpy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from medsdk.parity.evidence import BlandAltman, Claim, Evidence, Scope
from medsdk.parity.judging import Subject
from medsdk.parity.regression import ValueCase, change_evidence
from medsdk.tasks.gates import RegressionGate

GATE = RegressionGate(max_mean_change=0.5, max_95th_percentile_change=2.0)
SCOPE = Scope(candidate="variant", level="clip")


def _cases(
    reference: Sequence[float | None], variant: Sequence[float | None]
) -> tuple[ValueCase, ...]:
    return tuple(
        ValueCase(Subject(f"{number:016x}", number + 1, f"patient {number}"), None, was, now)
        for number, (was, now) in enumerate(zip(reference, variant, strict=True))
    )


def _claim(evidence: Evidence, measure: str) -> Claim:
    (found,) = [item for item in evidence.claims if item.measure == measure]
    return found


def test_changes_up_and_down_do_not_cancel():
    """The mean of the signed change is 0; that of its size is 1."""
    before = [60.0] * 200
    after = [61.0 if index % 2 else 59.0 for index in range(200)]
    evidence = change_evidence(GATE, "%", _cases([*before], [*after]), SCOPE)
    assert _claim(evidence, "value-bias").value == 0.0
    assert _claim(evidence, "value-change-mean").value == 1.0
    assert _claim(evidence, "value-change-mean").verdict == "fail"
    assert _claim(evidence, "value-change-95th-percentile").verdict == "pass"


@pytest.mark.parametrize(
    ("sizes", "verdicts"),
    [
        ([0.5] * 149, ("pass", "pass", "pass")),
        ([0.51] * 149, ("fail", "pass", "pass")),
        ([0.0] * 140 + [2.1] * 9, ("pass", "fail", "pass")),
        ([0.0] * 142 + [2.1] * 7, ("pass", "pass", "pass")),
        ([0.0] * 58, ("pass", "not-conclusive", "not-conclusive")),
    ],
)
def test_the_gate(sizes, verdicts):
    before = [55.0] * len(sizes)
    after = [55.0 + size * (-1) ** index for index, size in enumerate(sizes)]
    evidence = change_evidence(GATE, "%", _cases([*before], [*after]), SCOPE)
    names = ("value-change-mean", "value-change-95th-percentile", "flips")
    assert tuple(_claim(evidence, name).verdict for name in names) == verdicts


def test_numbers_are_those_of_numpy():
    generator = np.random.default_rng(2)
    before = generator.normal(60, 9, 300)
    after = before + generator.normal(0.1, 0.8, 300)
    evidence = change_evidence(GATE, "%", _cases(before.tolist(), after.tolist()), SCOPE)
    sizes = np.abs(after - before)
    assert _claim(evidence, "value-change-mean").value == pytest.approx(sizes.mean())
    got = _claim(evidence, "value-change-95th-percentile")
    assert got.value == pytest.approx(np.percentile(sizes, 95))
    assert got.unit == "%"
    bias = _claim(evidence, "value-bias")
    assert bias.value == pytest.approx((after - before).mean())
    assert bias.bound is not None
    assert bias.bound.low is not None
    assert bias.bound.low < (after - before).mean() < (bias.bound.high or 0)
    charts = [chart for chart in evidence.charts if isinstance(chart, BlandAltman)]
    assert charts[0].bias == pytest.approx((after - before).mean())
    assert [item.size for item in evidence.worst] == pytest.approx(np.sort(sizes)[::-1][:20])


def test_a_value_that_is_lost_or_gained_is_a_flip():
    before = (*[50.0] * 198, None, None)
    after = (*[50.0] * 197, None, None, 50.0)
    evidence = change_evidence(GATE, "%", _cases(before, after), SCOPE)
    flips = _claim(evidence, "flips")
    assert (flips.events, flips.n, flips.verdict) == (2, 199, "fail")
    assert _claim(evidence, "no-result").events == 2
    assert _claim(evidence, "value-change-mean").n == 197
    assert [(item.reference, item.variant) for item in evidence.worst] == [
        ("50 %", "no result"),
        ("no result", "50 %"),
    ]


def test_cases_without_a_value_do_not_thin_a_loss_out():
    """Two of 100 values are lost; 900 more cases never had one."""
    before = (*[50.0] * 100, *[None] * 900)
    after = (*[50.0] * 98, *[None] * 902)
    flips = _claim(change_evidence(GATE, "%", _cases(before, after), SCOPE), "flips")
    assert (flips.events, flips.n, flips.verdict) == (2, 100, "not-conclusive")


def test_no_value_at_all_is_no_pass():
    nothing = [None] * 200
    evidence = change_evidence(GATE, "%", _cases(nothing, nothing), SCOPE)
    assert evidence.verdict == "not-conclusive"
    assert (_claim(evidence, "flips").n, _claim(evidence, "flips").verdict) == (0, "not-conclusive")
    assert not evidence.charts
    assert change_evidence(GATE, "%", (), SCOPE).verdict == "not-conclusive"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_is_finite(value):
    with pytest.raises(ValueError, match="None stands for no result"):
        ValueCase(Subject("0" * 16, 1, "p"), None, 1.0, value)
