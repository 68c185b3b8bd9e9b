"""Form B on a machine without its device: what decides, what is only advice."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from medsdk.tasks import Task
from medsdk_export.advising import advise
from medsdk_export.attempts import Attempt, Executor, Observation
from medsdk_export.errors import InputsRefusedError
from medsdk_export.judging import Judgement, Observed
from medsdk_export.known_answers import choose_for

from .test_judging import AVX2, NEEDED, ORT, Give, _flip, _logits, _off, _same, facts

Floats = NDArray[np.float32]
OPENVINO = Executor("openvino", "2.0", "native")
FORM_B = Attempt("int8-gpu", "int8-gpu", b"g", "gpu", 8, "int8", {})


def _advise(
    task: Task,
    count: int = 300,
    own: Give = _same,
    give: Mapping[Executor, Give] | None = None,
    *,
    labelled: bool = True,
    refused: Sequence[tuple[Executor, str]] = (),
    attempt: Attempt = FORM_B,
) -> Judgement:
    """On `count` images, half of them positive; `own` is the graph's own arithmetic."""
    cpus = {OPENVINO: _same} if give is None else give
    observed = []
    for number in range(count):
        reference = _logits(4.0 if number % 2 == 0 else -4.0)
        outputs = {executor: function(number, reference) for executor, function in cpus.items()}
        observed.append(
            Observed(
                Observation(
                    reference={"logits": reference},
                    expected={attempt.title: own(number, reference)},
                    outputs={attempt.title: outputs},
                ),
                ("none", "tumour")[number % 2 == 0] if labelled else None,
                facts(number),
            )
        )
    return advise(task, attempt, observed, refused)


@pytest.fixture(scope="module")
def task(make_task: Callable[..., Task]) -> Task:
    return make_task()


def test_a_graph_whose_own_arithmetic_passes_ships_for_tensorrt_alone(task: Task) -> None:
    found = _advise(task)
    assert (found.status, found.targets) == ("shipped", ("tensorrt",))
    assert "300 cases" in found.reason
    assert "nothing ran on a GPU" in found.reason
    own, openvino = found.parity
    assert own.runtime.endswith(" unoptimised")
    assert openvino.runtime == "openvino 2.0"
    for record in found.parity:
        assert record.verdict == "advisory"
        assert record.reasons[0].endswith("the gate reads pass")
        assert (record.cases, record.flips) == (300, 0)


def test_its_own_arithmetic_rejects_it_whatever_a_cpu_gives(task: Task) -> None:
    found = _advise(task, own=_flip(*range(10)), give={OPENVINO: _same})
    assert (found.status, found.targets) == ("rejected", ())
    assert found.reason.startswith("its own arithmetic fails the gate: 10 of 300 decisions")
    assert [record.flips for record in found.parity] == [10, 0]
    assert {record.verdict for record in found.parity} == {"advisory"}
    assert found.parity[0].reasons[0] == "by its own arithmetic the gate reads fail"


@pytest.mark.parametrize(
    "give",
    [
        {OPENVINO: _flip(*range(100))},
        {OPENVINO: _off(50.0)},
        {OPENVINO: _off(math.nan)},
        {OPENVINO: lambda number, reference: {}},
        {ORT: _flip(1), OPENVINO: _same, AVX2: _flip(*range(50))},
        {},
    ],
    ids=["flips", "far", "nan", "nothing", "tiers", "none"],
)
def test_no_cpu_rejects_it(give: Mapping[Executor, Give], task: Task) -> None:
    found = _advise(task, give=give)
    assert (found.status, found.targets) == ("shipped", ("tensorrt",))
    assert {record.verdict for record in found.parity} == {"advisory"}
    assert found.tolerance["logits"] <= 1.0


def test_what_a_cpu_would_fail_by_stands_in_its_record(task: Task) -> None:
    found = _advise(task, give={OPENVINO: _flip(*range(30))})
    text = "; ".join(found.parity[1].reasons)
    assert "the gate reads fail" in text
    assert "30 of 300 decisions flipped" in text
    assert "differs by 4, the task allows 1" in text
    refused = _advise(task, give={}, refused=[(ORT, "no layer in integers")])
    assert "not read on onnxruntime: no layer in integers" in refused.parity[0].reasons


def test_without_cases_or_with_too_few_it_is_unjudged(task: Task) -> None:
    found = _advise(task, labelled=False)
    assert (found.status, found.targets, found.parity) == ("unjudged", (), ())
    assert "--cases" in found.reason
    few = _advise(task, NEEDED - 1)
    assert few.status == "unjudged"
    assert str(NEEDED) in few.reason
    assert _advise(task, NEEDED).status == "shipped"


def test_a_benchmark_ships_without_a_gate_but_not_against_one(task: Task) -> None:
    benchmark = task.model_copy(update={"purpose": "benchmark"})
    found = _advise(benchmark, 5, labelled=False)
    assert (found.status, found.targets) == ("shipped", ("tensorrt",))
    assert "no clinical gate" in found.reason
    assert "nothing ran on a GPU" in found.reason
    assert _advise(benchmark, 5).status == "shipped"
    assert _advise(benchmark, own=_flip(*range(30))).status == "rejected"


@pytest.mark.parametrize("own", [_off(math.nan), lambda number, reference: {}], ids=["nan", "none"])
def test_outputs_that_no_gate_can_be_read_on_reject_it(own: Give, task: Task) -> None:
    found = _advise(task, own=own)
    assert (found.status, found.targets) == ("rejected", ())
    assert "logits" in found.reason


def test_a_graph_with_faults_is_rejected_by_their_words(task: Task) -> None:
    attempt = dataclasses.replace(FORM_B, faults=("'q': a zero point in uint8",))
    found = advise(task, attempt, [], [])
    assert (found.status, found.targets, found.parity) == ("rejected", (), ())
    assert "a zero point in uint8" in found.reason


def test_a_task_without_a_cap_for_the_form_rejects_it(make_task: Callable[..., Task]) -> None:
    found = _advise(make_task(('gpu = { "filter.logits" = 1.0 }\n', "")))
    assert found.status == "rejected"
    assert "max_output_difference.gpu for 'logits'" in found.reason


@pytest.mark.parametrize(
    ("give", "worst"),
    [
        ({OPENVINO: _off(0.2), ORT: _off(0.4)}, {"logits": 0.4}),
        ({OPENVINO: _off(5.0)}, {"logits": 5.0}),
        ({OPENVINO: _same}, {"logits": 0.0}),
        ({}, {}),
        ({OPENVINO: _off(math.nan)}, {}),
    ],
)
def test_the_device_is_held_to_the_cap_whatever_a_cpu_gives(
    give: Mapping[Executor, Give], worst: Mapping[str, float], task: Task
) -> None:
    found = _advise(task, give=give)
    assert found.tolerance == {"logits": 1.0}
    assert found.worst_difference == pytest.approx(worst, rel=1e-3)


def test_it_goes_where_its_tolerance_leaves_no_known_answer(task: Task) -> None:
    """Decisions 0.6 from the threshold: clear in FP32, not within a cap of 1."""
    fp32 = Attempt("fp32", "fp32", b"f", "float", 32, "fp32", {})
    logits = [_logits(1.2 if number % 2 == 0 else -1.2) for number in range(300)]
    observed = [
        Observed(
            Observation(
                reference={"logits": one},
                expected={"int8-gpu": {"logits": one}},
                outputs={"int8-gpu": {}},
            ),
            ("none", "tumour")[number % 2 == 0],
            facts(number),
        )
        for number, one in enumerate(logits)
    ]
    found = advise(task, FORM_B, observed, [])
    assert found.status == "shipped"
    float32 = dataclasses.replace(
        found, attempt=fp32, targets=("onnxruntime",), tolerance={"logits": 1e-4}
    )
    kept = {"fp32": float32, "int8-gpu": found}
    chosen, judged = choose_for(task, observed, kept, 4, lambda done: None)
    assert len(chosen) == 4
    assert judged["fp32"] is float32
    assert (judged["int8-gpu"].status, judged["int8-gpu"].targets) == ("unjudged", ())
    assert "could not prove it on a device" in judged["int8-gpu"].reason
    with pytest.raises(InputsRefusedError):
        choose_for(task, observed[:1], kept, 4, lambda done: None)


def test_differences_are_from_its_own_arithmetic_not_from_fp32(task: Task) -> None:
    found = _advise(task, own=_off(0.5), give={OPENVINO: _off(0.7)})
    assert found.worst_difference == {"logits": pytest.approx(0.2, abs=1e-5)}


def test_a_long_reason_fits_into_a_manifest(task: Task) -> None:
    refused = [(Executor(f"runtime-{n}", "1", "native"), "x" * 5000) for n in range(3)]
    found = _advise(task, refused=refused)
    assert all(len(reason) <= 2000 for record in found.parity for reason in record.reasons)
    faults = dataclasses.replace(FORM_B, faults=("x" * 5000,))
    assert len(advise(task, faults, [], []).reason) <= 2000
