"""The suite is worth something only if it finds every planted fault, and every item can fail."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from medsdk_conformance import CASES, CHECKS, ITEMS, examine
from medsdk_conformance.checks import leaks, threads
from medsdk_conformance.suite import ENDS, judge_item
from medsdk_runtimes import CAPABILITIES, Availability, Device, Runtime, available
from tests.conformance import planted, planted_behaviour, planted_outputs
from tests.conformance.planted import Declares, Fault, Here, Lists, claiming

pytestmark = pytest.mark.skipif(not available(), reason="no runtime to plant a fault in")

CPU, GPU = Device("CPU", "a processor"), Device("GPU:0", "a card that is not here")
INPUTS = {item.id for item in CHECKS if item.id.startswith("input-")}
REFUSALS = {
    *("external-data", "custom-domain", "unknown-operator", "bfloat16-edges", "truncated"),
    *("trailing-bytes", "garbage", "empty", "path"),
}
WEIGHTS = {"weights-in-turn", "weights-at-once", "weights-one-value"}

SESSIONS: dict[str, tuple[Callable[..., Any], set[str]]] = {
    "another-dtype": (planted_outputs.Wide, {"conv", "gemm", "several-inputs-and-outputs"}),
    "swapped-outputs": (
        planted_outputs.Swapped,
        {"several-inputs-and-outputs", "outputs-no-inputs"},
    ),
    "reordered-outputs": (
        planted_outputs.Reordered,
        {"several-inputs-and-outputs", "tensor-specs"},
    ),
    "specs-flattened": (planted_outputs.Flattened, {"tensor-specs", "tensor-specs-integers"}),
    "hidden-nan": (planted_outputs.Hiding, {"not-a-number", "not-a-number-layers"}),
    "hidden-infinity": (planted_outputs.Saturating, {"not-a-number", "not-a-number-layers"}),
    "silent-bfloat16": (
        planted_outputs.Bfloat16,
        {"float32-to-the-last-bit", "float32-to-the-last-bit-conv", "conv", "gemm", "softmax"},
    ),
    "32-bit-integers": (planted_outputs.Narrow, {"wide-integers"}),
    "batch-of-one": (planted_outputs.FixedBatch, {"conv", "conv-large-batch", "threads-batches"}),
    "takes-anything": (planted.Obliging, {*INPUTS, "base-class"}),
    "hides-failures": (planted.Numb, {"fails-while-it-runs", "fails-by-its-values"}),
    "returns-a-list": (planted.AsList, {"conv", "threads", "outputs-fresh", "close"}),
    "returns-nothing": (planted.Nothing, {"conv", "threads", "outputs-fresh", "close"}),
    "returns-lists-inside": (planted.ListsInside, {"conv", "outputs-fresh"}),
    "extra-output": (planted.Extra, {"conv", "outputs-fresh"}),
    "wrong-names": (planted.Renaming, {"conv", "outputs-fresh", "several-inputs-and-outputs"}),
    "prints": (planted.Printing, {"standard-output"}),
    "reused-buffers": (planted.Reusing, {"outputs-fresh"}),
    "views-of-inputs": (planted.Viewing, {"outputs-no-inputs"}),
    "shared-outputs": (planted.Sharing, {"outputs-apart"}),
    "writes-to-inputs": (planted.Scribbling, {"inputs-left-alone"}),
    "wipes-outputs": (planted.Wiping, {"outputs-outlive-session"}),
    "racing-threads": (planted.Racing, {"threads", "threads-batches"}),
    "never-closes": (planted.Undying, {"close", "close-while-running", "fork", "base-class"}),
    "slow-close": (planted.SlowToClose, {"close-is-quick", "close-is-quick-while-running"}),
    "forgetting-breaks": (planted.OnceClosed, {"close-unused"}),
    "keeps-sessions": (planted.KeepsSessions, {"leak-of-sessions"}),
    "keeps-outputs": (planted.KeepsOutputs, {"leak-of-calls"}),
    "keeps-files": (planted.KeepsFiles, {"leak-of-files"}),
    "keeps-threads": (planted.KeepsThreads, {"leak-of-threads"}),
    "one-thread": (claiming(threads=1), {"effective-threads"}),
    "another-device": (claiming(device="GPU:0"), {"effective", "device-used"}),
    "another-precision": (claiming(precision="bf16"), {"effective"}),
    "another-version": (claiming(version="0"), {"effective"}),
    "no-evidence": (claiming(evidence=""), {"effective"}),
    "quantized-as-float": (
        planted.quantized_as_float,
        {"int8-is-int8", "int8-asymmetric-is-int8"},
    ),
    "no-operators": (claiming(operators={}), {"int8-is-int8", "int8-asymmetric-is-int8"}),
}
"""Sessions with a fault, and the items that find it."""

RUNTIMES: dict[str, tuple[Callable[[Runtime], Runtime], set[str]]] = {
    "capabilities-a-list": (lambda it: Declares(it, declared=["fp32"]), {"declarations"}),
    "capabilities-text": (lambda it: Declares(it, declared="fp32"), {"declarations"}),
    "capability-unknown": (
        lambda it: Declares(it, declared={"fp32", "telepathy"}),
        {"declarations"},
    ),
    "capabilities-none": (lambda it: Declares(it, declared=frozenset()), {"declarations"}),
    "capabilities-raise": (lambda it: Declares(it, declared=OSError("x")), {"declarations"}),
    "exception-of-nothing": (
        lambda it: Declares(it, exceptions={"nothing": "because"}),
        {"declarations"},
    ),
    "exception-without-reason": (
        lambda it: Declares(it, exceptions={"conv": " "}),
        {"declarations"},
    ),
    "exceptions-a-list": (lambda it: Declares(it, exceptions=["conv"]), {"declarations"}),
    "exception-not-needed": (lambda it: Declares(it, exceptions={"conv": "slow"}), {"conv"}),
    "availability-changes": (Here, {"describes-itself"}),
    "not-available": (
        lambda it: Here(it, said=Availability(False, "", "no licence", "x")),
        {"describes-itself"},
    ),
    "no-device": (lambda it: Lists(it, listed=()), {"devices", "conv", "effective"}),
    "devices-a-list": (lambda it: Lists(it, listed=[CPU]), {"devices"}),
    "device-twice": (lambda it: Lists(it, listed=(CPU, CPU)), {"devices"}),
    "cpu-for-another-device": (lambda it: Lists(it, listed=(CPU, GPU)), {"device-used"}),
    "accommodating": (
        planted.Accommodating,
        {"device-absent", "settings-refused", "precision-kept"},
    ),
    "opens-anything": (planted.Unrefusing, REFUSALS),
    "tells-paths": (planted.Telling, REFUSALS),
    "optimises-always": (planted.Unoptimised, {"optimise-off"}),
    "stale-weights": (planted.CachesBySize, WEIGHTS),
    "shared-sessions": (planted.SharesSessions, {"sessions-independent", "close-unused"}),
    "raises": (planted.Raising, {"conv", "close", "effective", "garbage", "int8-is-int8"}),
    "raises-without-text": (
        lambda it: planted.Raising(it, raised=planted.Unprintable()),
        {"conv", "close", "garbage"},
    ),
    "opens-nothing": (planted.Returning, {"conv", "close", "effective"}),
    "opens-a-number": (lambda it: planted.Returning(it, returned=7), {"conv", "close"}),
}
"""Runtimes with a fault, and the items that find it."""

FAULTS: dict[str, tuple[Callable[[Runtime], Runtime], set[str]]] = {
    **{
        name: (partial(Fault, wrap=wrap), found)
        for name, (wrap, found) in {**SESSIONS, **planted_behaviour.SESSIONS}.items()
    },
    **RUNTIMES,
    **planted_behaviour.RUNTIMES,
}


@pytest.fixture(autouse=True)
def _let_go() -> Iterator[None]:
    planted.OnceClosed.broken = False
    planted.LET_GO.clear()
    yield
    for kept in planted.KEPT:
        getattr(kept, "close", lambda: None)()
    planted.KEPT.clear()
    planted.LET_GO.set()


def _failed(runtime: Runtime, ids: set[str]) -> set[str]:
    return {item.id for item in examine(runtime, ids) if item.verdict == "fail"}


@pytest.fixture
def _less_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a slow close, and what never ends, may be quick tests."""
    monkeypatch.setattr(leaks, "ENDING_SECONDS", 0.05)
    assert planted.SLOW_SECONDS < threads.CLOSE_SECONDS
    monkeypatch.setattr(threads, "CLOSE_SECONDS", planted.SLOW_SECONDS - 0.05)


@pytest.mark.usefixtures("_less_patience")
@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(fault: str) -> None:
    plant, expected = FAULTS[fault]
    assert _failed(plant(available()[0]), expected) == expected


def test_the_wrapper_alone_is_sound() -> None:
    """Else the faults above could be found for the wrapper's sake."""
    ids = {identifier for _, expected in FAULTS.values() for identifier in expected}
    threads_before = threading.active_count()
    assert _failed(Fault(available()[0]), ids) == set()
    assert threading.active_count() == threads_before


def test_every_check_is_failed_by_a_planted_fault() -> None:
    found = {identifier for _, expected in FAULTS.values() for identifier in expected}
    # The last one takes a process: test_kit.py plants its faults.
    assert {item.id for item in ITEMS if item not in CASES} - found == {ENDS}


def test_every_case_is_failed_by_values_that_are_a_little_wrong() -> None:
    # Declared, also what the sound runtime lacks on this processor.
    nudged = Declares(available()[0], planted_outputs.Nudged, declared=frozenset(CAPABILITIES))
    ids = {case.id for case in CASES}
    assert _failed(nudged, ids) == ids


def test_a_declared_exception_decides_nothing_but_is_told() -> None:
    faulty = Declares(
        available()[0], planted_outputs.Hiding, exceptions={"not-a-number": "the chip has no NaN"}
    )
    (result,) = examine(faulty, {"not-a-number"})
    assert result.verdict == "advisory"
    assert "the chip has no NaN" in result.detail
    (item,) = [item for item in ITEMS if item.id == "not-a-number"]
    assert judge_item(faulty, item).verdict == "fail"


def test_what_is_not_declared_is_not_run() -> None:
    """Refused or right, it decides nothing; `test_values_can_fail.py` has what is wrong."""
    runtime = Declares(available()[0], declared=planted.CAPABILITY_SUBSET)
    results = {result.id: result.verdict for result in examine(runtime)}
    for item in ITEMS:
        if item.capability is not None and item.capability not in planted.CAPABILITY_SUBSET:
            assert results[item.id] == "not-run"
    assert results["conv"] == "pass"


def test_undeclared_capabilities_must_be_refused() -> None:
    """The sound runtime takes int8 and optimise=False, which this one says that it cannot."""
    runtime = Declares(available()[0], declared=planted.CAPABILITY_SUBSET)
    ids = {"precision-kept", "settings-refused"}
    assert _failed(runtime, ids) == ids


def test_another_error_than_expected_is_named_with_what_was_expected() -> None:
    (result,) = examine(planted_behaviour.RaisesItsOwn(available()[0]), {"garbage"})
    assert result.detail == "expected GraphRefusedError, and it raised ValueError: cannot parse"


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        ("expected a FLOAT/INT8 graph, see https://onnx.ai/onnx/Conv.html", "pass"),
        ("1/2 of it, or N/A (in/out)", "pass"),
        ("cannot open /home/me/model.onnx", "fail"),
        ("cannot open '/model.onnx'", "fail"),
        ("cannot open ./weights.bin", "fail"),
        ("cannot open secret/weights.bin", "fail"),
        (r"cannot open C:\models\x", "fail"),
        (r"cannot open \\server\x", "fail"),
    ],
)
def test_a_path_is_told_from_a_slash(said: str, verdict: str) -> None:
    (result,) = examine(planted_behaviour.SaysOfGraphs(available()[0], said=said), {"garbage"})
    assert result.verdict == verdict
