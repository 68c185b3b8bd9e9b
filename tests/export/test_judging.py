"""From what every runtime gave to shipped, rejected or unjudged: on numbers made by hand."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import beta

from medsdk.parity.float_rule import stable_under
from medsdk.tasks import Task
from medsdk_export.attempts import Attempt, Executor, Observation
from medsdk_export.evidence import CaseFacts
from medsdk_export.judging import Judgement, Observed, better, judge, label_of

Floats = NDArray[np.float32]
ORT = Executor("onnxruntime", "1.0", "native")
OPENVINO = Executor("openvino", "2.0", "native")
AVX2 = Executor("openvino", "2.0", "avx2")
FP32 = Attempt("fp32", "fp32", b"g", "float", 32, "fp32", {})
INT8 = Attempt("int8-cpu", "8-bit", b"g", "cpu", 8, "int8", {})

NEEDED = 149
"""ceil(ln 0.05 / ln 0.98): cases without a flip for a rate under 2 % at 95 % confidence."""


def _logits(difference: float) -> Floats:
    """Softmax gives `tumour` where the difference is at least 0."""
    return np.array([[-difference / 2, difference / 2]], np.float32)


def facts(number: int) -> CaseFacts:
    """A case of its own patient."""
    return CaseFacts(f"{number:016x}", number + 1, f"{number:016x}", "all")


Give = Callable[[int, Floats], Mapping[str, Floats]]


def _same(number: int, reference: Floats) -> Mapping[str, Floats]:
    return {"logits": reference}


def _flip(*numbers: int) -> Give:
    def give(number: int, reference: Floats) -> Mapping[str, Floats]:
        return {"logits": -reference if number in numbers else reference}

    return give


def _off(by: float) -> Give:
    return lambda number, reference: {"logits": reference + np.float32(by)}


def _judge(
    task: Task,
    attempt: Attempt,
    count: int,
    give: Mapping[Executor, Give],
    *,
    labelled: bool = True,
    own: Give = _same,
    refused: Sequence[tuple[Executor, str]] = (),
) -> Judgement:
    """Judge on `count` images, half of them positive; `own` is the graph's own, unoptimised."""
    observed = []
    for number in range(count):
        positive = number % 2 == 0
        reference = _logits(4.0 if positive else -4.0)
        observed.append(
            Observed(
                Observation(
                    reference={"logits": reference},
                    expected={attempt.title: own(number, reference)},
                    outputs={
                        attempt.title: {
                            executor: function(number, reference)
                            for executor, function in give.items()
                        }
                    },
                ),
                ("tumour" if positive else "none") if labelled else None,
                facts(number),
            )
        )
    return judge(task, attempt, observed, refused)


@pytest.fixture(scope="module")
def task(make_task: Callable[..., Task]) -> Task:
    return make_task()


def test_int8_without_labelled_cases_is_unjudged(task: Task) -> None:
    found = _judge(task, INT8, 300, {ORT: _same}, labelled=False)
    assert (found.status, found.targets, found.parity) == ("unjudged", (), ())
    assert "--cases" in found.reason


def test_int8_with_too_few_cases_is_unjudged_and_told_how_many_are_needed(task: Task) -> None:
    assert math.ceil(math.log(0.05) / math.log(0.98)) == NEEDED
    found = _judge(task, INT8, NEEDED - 1, {ORT: _same})
    assert found.status == "unjudged"
    assert str(NEEDED) in found.reason
    assert found.targets == ()
    assert _judge(task, INT8, NEEDED, {ORT: _same}).status == "shipped"


def test_int8_that_flips_decisions_is_rejected_with_the_numbers(task: Task) -> None:
    # 10 flips of 300: sensitivity and specificity fall by more than a point as well.
    wrong = _flip(*range(10))
    found = _judge(task, INT8, 300, {ORT: wrong}, own=wrong)
    assert (found.status, found.targets) == ("rejected", ())
    assert "10 of 300 decisions flipped" in found.reason
    (record,) = found.parity
    assert (record.cases, record.flips) == (300, 10)
    assert (record.flips_to_positive, record.flips_to_negative) == (5, 5)
    assert record.metrics["fp32"]["sensitivity"] == 1.0
    assert record.metrics["variant"]["sensitivity"] == pytest.approx(145 / 150)
    assert record.verdict == "fail"


def test_a_runtime_that_fails_is_no_target_of_a_variant_that_ships(task: Task) -> None:
    found = _judge(task, INT8, 300, {ORT: _same, OPENVINO: _flip(*range(20))}, own=_same)
    assert (found.status, found.targets) == ("shipped", ("onnxruntime",))
    assert "not for the others" in found.reason
    assert "openvino" in found.reason
    assert len(found.parity) == 2


def test_a_lower_instruction_set_counts(make_task: Callable[..., Task]) -> None:
    # Only the ladder's gate of one point is left to stop anything.
    task = make_task(
        ("max_flip_rate = 0.02", "max_flip_rate = 0.1"),
        ("max_sensitivity_loss = 0.01", "max_sensitivity_loss = 0.1"),
        ("max_specificity_loss = 0.01", "max_specificity_loss = 0.1"),
        ("min_metric_ratio = 0.99", "min_metric_ratio = 0.9"),
        ('cpu = { "filter.logits" = 1.0 }', 'cpu = { "filter.logits" = 99.0 }'),
    )
    three = _judge(task, INT8, 300, {ORT: _same, OPENVINO: _flip(1), AVX2: _flip(2, 3, 4, 5)})
    assert three.targets == ("onnxruntime", "openvino")  # 3 more of 300 are one point
    four = _judge(task, INT8, 300, {ORT: _same, OPENVINO: _same, AVX2: _flip(2, 3, 4, 5)})
    assert four.targets == ("onnxruntime",)
    assert "limited to avx2 int8-cpu: flips rise by 1.33%" in four.reason


def test_an_executor_that_refuses_the_graph_makes_its_runtime_no_target(task: Task) -> None:
    found = _judge(task, INT8, 300, {ORT: _same}, refused=[(OPENVINO, "no such operator")])
    assert found.targets == ("onnxruntime",)
    found = _judge(task, INT8, 300, {ORT: _same, OPENVINO: _same}, refused=[(AVX2, "it died")])
    assert found.targets == ("onnxruntime",)
    assert "it died" in found.reason
    found = _judge(task, INT8, 300, {}, refused=[(ORT, "a"), (OPENVINO, "b")])
    assert (found.status, found.targets) == ("rejected", ())


def test_int8_is_held_to_its_own_graph_within_the_cap(task: Task) -> None:
    # The task allows 1.0 from the graph's own, however far that is from FP32.
    own = _off(0.5)
    near = _judge(task, INT8, 300, {ORT: _off(1.4)}, own=own)
    assert near.status == "shipped"
    assert near.worst_difference["logits"] == pytest.approx(0.9, abs=1e-5)
    far = _judge(task, INT8, 300, {ORT: _off(1.6)}, own=own)
    assert far.status == "rejected"
    assert "differs by 1.1, the task allows 1" in far.reason


@pytest.mark.parametrize(
    ("give", "says"),
    [
        (_off(2e-3), "leave atol 0.0001, rtol 0.0001"),
        (_off(math.nan), "NaN"),
        (lambda number, reference: {}, "missing"),
        (lambda number, reference: {"logits": reference, "more": reference}, "extra"),
        (lambda number, reference: {"logits": reference[0]}, r"(2,)"),
        (lambda number, reference: {"logits": reference.astype(np.float64)}, "float64"),
    ],
    ids=["far", "nan", "missing", "extra", "shape", "dtype"],
)
def test_fp32_is_held_to_the_source_in_every_output(give: Give, says: str, task: Task) -> None:
    bad = _judge(task, FP32, 20, {ORT: give})
    assert bad.status == "rejected"
    assert says in bad.reason
    mixed = _judge(task, FP32, 20, {ORT: _same, OPENVINO: give})
    assert mixed.targets == ("onnxruntime",)


def test_fp32_ships_without_cases_on_what_reproduces_it(task: Task) -> None:
    # The logits are 2 and -2, so atol + rtol |b| is 3e-4.
    give = {ORT: _off(2.5e-4), OPENVINO: _off(3.5e-4)}
    found = _judge(task, FP32, 3, give, labelled=False)
    assert (found.status, found.targets) == ("shipped", ("onnxruntime",))


def test_flips_of_fp32_are_published_and_those_that_no_rounding_makes_decide(task: Task) -> None:
    for labelled in (True, False):
        found = _judge(task, FP32, 300, {ORT: _flip(*range(12))}, labelled=labelled)
        claims = {item.measure: item for item in found.evidence[0].evidence.claims[::-1]}
        flips, outside = claims["flips"], claims["flips-outside-margin"]
        assert (flips.n, flips.events, flips.verdict) == (300, 12, "advisory")
        assert flips.bound is not None
        assert flips.bound.high == pytest.approx(beta.ppf(0.95, 13, 288))
        assert (outside.n, outside.events, outside.verdict) == (300, 12, "fail")
        assert found.status == "rejected"
    # 100 % is an output that is off by all that atol + rtol |b| allows: 3e-4 here.
    near = _judge(task, FP32, 3, {ORT: _off(2.7e-4)}, labelled=False).evidence[0].evidence
    (share,) = [item for item in near.claims if item.measure == "float-difference"]
    assert share.value == pytest.approx(0.9, abs=1e-3)


@pytest.mark.parametrize("form", [FP32, INT8], ids=["fp32", "int8"])
def test_outputs_that_are_accounted_for_are_counted(form: Attempt, task: Task) -> None:
    def extra(number: int, reference: Floats) -> Mapping[str, Floats]:
        return {"logits": reference} | ({"more": reference} if number in (4, 7) else {})

    for give, n, wrong in ((_same, 20, 0), (extra, 22, 2)):
        shown = _judge(task, form, 20, {ORT: give}).evidence[0].evidence
        (claim,) = [item for item in shown.claims if item.measure == "outputs"]
        assert (claim.n, claim.events, claim.limit) == (n, n - wrong, 1.0)
        assert claim.verdict == ("fail" if wrong else "pass")
        assert ("case 5: output 'more' is extra" in claim.reason) == bool(wrong)


@pytest.mark.parametrize("purpose", ["benchmark", "reference"])
def test_only_a_benchmark_ships_int8_without_cases(purpose: str, task: Task) -> None:
    changed = task.model_copy(update={"purpose": purpose})
    found = _judge(changed, INT8, 5, {ORT: _same}, labelled=False)
    assert found.status == ("shipped" if purpose == "benchmark" else "unjudged")
    if purpose == "benchmark":
        assert "no clinical gate" in found.reason
        assert _judge(changed, INT8, 5, {ORT: _same}).status == "shipped"
        worse = _judge(changed, INT8, 5, {ORT: _off(5.0)}, labelled=False)
        assert worse.status != "shipped"
        flipping = _judge(changed, INT8, 300, {ORT: _flip(*range(30))}, own=_flip(*range(30)))
        assert flipping.status == "rejected"


@pytest.mark.parametrize(
    ("attempt", "worst", "tolerance"),
    [
        (INT8, 0.0, 1e-4),  # at least the float gate's atol
        (INT8, 5e-5, 1e-4),
        (INT8, 1e-3, 1.5e-3),  # 1.5 times the worst
        (INT8, 0.5, 0.75),
        (INT8, 0.9, 1.0),  # at most the task's cap
        (FP32, 0.0, 1e-4),
        (FP32, 2e-4, 3e-4),
    ],
)
def test_tolerance_is_one_and_a_half_times_the_worst_within_floor_and_cap(
    attempt: Attempt, worst: float, tolerance: float, task: Task
) -> None:
    found = _judge(task, attempt, 300, {ORT: _off(worst / 3), OPENVINO: _off(worst)})
    assert found.status == "shipped"
    assert found.tolerance["logits"] == pytest.approx(tolerance, rel=1e-2)
    assert found.worst_difference["logits"] == pytest.approx(worst, rel=1e-2)


def test_a_runtime_that_is_no_target_does_not_widen_the_tolerance(task: Task) -> None:
    found = _judge(task, INT8, 300, {ORT: _off(0.01), OPENVINO: _off(3.0)})
    assert found.targets == ("onnxruntime",)
    assert found.tolerance["logits"] == pytest.approx(0.015, rel=1e-3)


def test_a_variant_that_does_not_ship_says_how_far_it_was(task: Task) -> None:
    found = _judge(task, INT8, 20, {ORT: _off(0.3), OPENVINO: _off(math.nan)})
    assert found.status == "rejected"
    assert found.worst_difference == {"logits": pytest.approx(0.3, rel=1e-5)}
    assert _judge(task, INT8, 20, {ORT: _off(math.nan)}).worst_difference == {}


def test_a_long_reason_fits_into_a_manifest(task: Task) -> None:
    refused = [(Executor(f"runtime-{n}", "1", "native"), "x" * 900) for n in range(9)]
    assert len(_judge(task, INT8, 20, {}, refused=refused).reason) <= 2000


def test_of_two_attempts_the_one_on_more_runtimes_is_kept(task: Task) -> None:
    both = _judge(task, INT8, 300, {ORT: _same, OPENVINO: _same})
    one = _judge(task, INT8, 300, {ORT: _same, OPENVINO: _off(9)})
    none = _judge(task, INT8, 300, {ORT: _off(9), OPENVINO: _off(9)})
    assert better(one, both) is both
    assert better(both, one) is both
    assert better(none, one) is one
    twin = dataclasses.replace(both)
    assert better(both, twin) is both


# Margins


@given(
    a=st.floats(-8, 8, width=32),
    b=st.floats(-8, 8, width=32),
    tolerance=st.floats(1e-3, 3),
)
@settings(max_examples=200, deadline=None)
def test_margin_of_two_classes_is_twice_the_tolerance(
    task: Task, a: float, b: float, tolerance: float
) -> None:
    outputs = {"logits": np.array([[a, b]], np.float32)}
    difference = float(outputs["logits"][0, 1]) - float(outputs["logits"][0, 0])
    # Both logits may move against each other; a difference of 0 is a tumour (>= 0.5).
    if abs(abs(difference) - 2 * tolerance) > 1e-6:
        expected = abs(difference) > 2 * tolerance
        assert stable_under(task, outputs, {"logits": tolerance}) == expected
    if abs(difference) > 1e-12:  # below, both probabilities round to one half
        assert label_of(task, outputs) == ("tumour" if difference >= 0 else "none")


@pytest.fixture(scope="module")
def three(make_task: Callable[..., Task]) -> Task:
    """Three labels, decided by the largest."""
    return make_task(
        ("axes = [2]", "axes = [3]"),
        ('labels = ["none", "tumour"]', 'labels = ["none", "myoma", "sarcoma"]'),
        (
            'rule = { kind = "threshold", role = "filter", label = "tumour", otherwise = "none", '
            'threshold = "tumour-probability" }',
            'rule = { kind = "argmax", role = "filter" }',
        ),
    )


@given(
    scores=st.lists(st.floats(-6, 6, width=32), min_size=3, max_size=3),
    tolerance=st.floats(1e-2, 3),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=200, deadline=None)
def test_no_move_within_the_tolerance_changes_a_decision_that_is_called_stable(
    three: Task, scores: list[float], tolerance: float, seed: int
) -> None:
    outputs = {"logits": np.array([scores], np.float32)}
    ordered = sorted(map(float, outputs["logits"][0]), reverse=True)
    if abs(ordered[0] - ordered[1] - 2 * tolerance) > 1e-5:
        expected = ordered[0] - ordered[1] > 2 * tolerance
        assert stable_under(three, outputs, {"logits": tolerance}) == expected
    if stable_under(three, outputs, {"logits": tolerance}):
        rng = np.random.default_rng(seed)
        for _ in range(20):
            moved = outputs["logits"] + rng.uniform(-tolerance, tolerance, (1, 3))
            assert label_of(three, {"logits": moved}) == label_of(three, outputs)


@pytest.mark.parametrize("probability", [0.0, 0.3, 0.49, 0.5, 0.51, 0.7, 0.99999, 1.0])
def test_margin_of_a_graph_with_its_own_softmax_stays_within_probabilities(
    probability: float, make_task: Callable[..., Task]
) -> None:
    task: Any = make_task(('activation = "softmax"', 'activation = "none"'))
    outputs = {"logits": np.array([[1 - probability, probability]], np.float32)}
    assert stable_under(task, outputs, {"logits": 0.05}) == (abs(probability - 0.5) > 0.05)
