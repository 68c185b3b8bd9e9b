"""The rule at its edges, and the margin that keeps a known answer clear of them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medsdk.decide import decide, decision_margin
from medsdk.errors import TaskUnsupportedError
from medsdk.tasks import catalogue_task
from medsdk.tasks.decoding import ArgmaxRule, MaskRule, Rule, Threshold, ThresholdRule
from medsdk.tasks.schema import Task

TASK = catalogue_task("uterus-mr/tumor-filter")
STEP = 1 / 1024
"""Multiples of a power of two add and subtract without rounding."""

GRID = st.integers(0, 1024).map(lambda count: count * STEP)


def _task(rule: Rule, threshold: float = 0.5) -> Task:
    return TASK.model_copy(
        update={
            "decision": TASK.decision.model_copy(update={"rule": rule}),
            "thresholds": {"limit": Threshold(value=threshold, meaning="for a test")},
        }
    )


def _threshold(threshold: float, within: float = 0.0) -> Task:
    rule = ThresholdRule(
        kind="threshold",
        role="filter",
        label="tumour",
        otherwise="none",
        threshold="limit",
        indeterminate_within=within,
    )
    return _task(rule, threshold)


ARGMAX = _task(ArgmaxRule(kind="argmax", role="filter"))


def _of(tumour: float) -> dict[str, float]:
    return {"none": 1 - tumour, "tumour": tumour}


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 0.9, 1.0])
def test_the_threshold_itself_is_positive(threshold):
    outcome = decide(_threshold(threshold), _of(threshold))
    assert (outcome.label, outcome.status, outcome.reason) == ("tumour", "ok", "")


@settings(deadline=None)
@given(GRID, GRID)
def test_at_least_the_threshold_and_no_more(threshold, tumour):
    outcome = decide(_threshold(threshold), _of(tumour))
    assert outcome.status == "ok"
    assert outcome.label == ("tumour" if tumour >= threshold else "none")


@settings(deadline=None)
@given(GRID, GRID, st.integers(1, 511).map(lambda count: count * STEP))
def test_the_band_around_the_threshold_is_indeterminate(threshold, tumour, within):
    outcome = decide(_threshold(threshold, within), _of(tumour))
    if threshold - within <= tumour <= threshold + within:
        assert (outcome.label, outcome.status) == (None, "indeterminate")
        assert str(within) in outcome.reason
    else:
        assert (outcome.label, outcome.status) == ("tumour" if tumour > threshold else "none", "ok")


@settings(deadline=None)
@given(GRID, GRID, st.integers(0, 511).map(lambda count: count * STEP))
def test_the_margin_is_the_way_to_another_outcome(threshold, tumour, within):
    task = _threshold(threshold, within)
    margin = decision_margin(task, _of(tumour))
    here = decide(task, _of(tumour))
    if here.status == "indeterminate":
        assert margin == 0
        return
    moves = [k * STEP for k in range(int(margin / STEP) + 1)]
    inside = [sign * move for move in moves if move < margin for sign in (1, -1)]
    assert all(decide(task, _of(tumour + move)) == here for move in inside)
    beyond = margin + STEP
    assert any(decide(task, _of(tumour + sign * beyond)) != here for sign in (1, -1))


def test_argmax_takes_the_largest_and_a_tie_is_no_answer():
    assert decide(ARGMAX, {"a": 0.2, "b": 0.5, "c": 0.3}).label == "b"
    assert decide(ARGMAX, {"a": 0.5, "b": 0.2, "c": 0.3}).label == "a"
    for tied, names in (
        ({"a": 0.4, "b": 0.4, "c": 0.2}, "a, b"),
        ({"a": 0.2, "b": 0.4, "c": 0.4}, "b, c"),
        ({"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}, "a, b, c"),
    ):
        outcome = decide(ARGMAX, tied)
        assert (outcome.label, outcome.status) == (None, "indeterminate")
        assert names in outcome.reason
        assert decision_margin(ARGMAX, tied) == 0


@settings(deadline=None)
@given(st.lists(st.integers(0, 1024), min_size=2, max_size=5, unique=True))
def test_the_margin_of_argmax_holds_for_every_label_at_once(counts):
    values = {name: count * STEP for name, count in zip("abcde", counts, strict=False)}
    winner = max(values, key=lambda name: values[name])
    margin = decision_margin(ARGMAX, values)
    for move in (0, margin * 0.999):
        worst = {
            name: value + (-move if name == winner else move) for name, value in values.items()
        }
        assert decide(ARGMAX, worst).label == winner
    worst = {
        name: value + (-margin if name == winner else margin) for name, value in values.items()
    }
    assert decide(ARGMAX, worst).label != winner


def test_a_rule_of_a_later_release_is_refused():
    task = _task(MaskRule(kind="mask", role="filter"))
    for function in (decide, decision_margin):
        with pytest.raises(TaskUnsupportedError, match="mask"):
            function(task, _of(0.7))
