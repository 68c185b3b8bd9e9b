"""The behaviour that the runtime contract asks for, one check a rule.

A check takes a runtime and raises `AssertionError` where the rule is broken.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from medsdk_conformance.capabilities import capabilities_of
from medsdk_conformance.cases import CASES
from medsdk_conformance.graphs import affine, model, node, product, serialized
from medsdk_runtimes import Array, Capability, Precision, Runtime, Session, Settings
from medsdk_runtimes.errors import (
    DeviceUnavailableError,
    ForkedProcessError,
    GraphRefusedError,
    InferenceFailedError,
    MedsdkError,
    PrecisionMismatchError,
    SessionClosedError,
    SettingRefusedError,
    TensorMismatchError,
)

CALLING_THREADS = 8
CALLS_A_THREAD = 150


@dataclass(frozen=True)
class Check:
    """One rule of the contract.

    Attributes:
        id: Stable name.
        capability: What a runtime needs to be asked, or None for every runtime.
        run: Raises `AssertionError` where the rule is broken.
    """

    id: str
    capability: Capability | None
    run: Callable[[Runtime], None]


def _ones(batch: int = 1, channels: int = 4) -> NDArray[np.float32]:
    return np.arange(batch * channels, dtype=np.float32).reshape(batch, channels)


def _open(runtime: Runtime, onnx: bytes | None = None, **settings: Any) -> Session:  # noqa: ANN401
    device = runtime.devices()[0].name
    return runtime.open(affine() if onnx is None else onnx, Settings(device=device, **settings))


@contextmanager
def _raises(*kinds: type[MedsdkError]) -> Iterator[list[MedsdkError]]:
    caught: list[MedsdkError] = []
    try:
        yield caught
    except kinds as error:
        caught.append(error)
    else:
        raise AssertionError(f"expected {' or '.join(kind.__name__ for kind in kinds)}, got none")


def _equal(found: Array, expected: Array) -> None:
    if not np.array_equal(found, expected):
        raise AssertionError(f"expected {expected!r}, got {found!r}")


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise AssertionError(otherwise)


# --- what a call must look like ---------------------------------------------------------------


def _refuses(inputs: Callable[[], dict[str, Any]]) -> Callable[[Runtime], None]:
    def run(runtime: Runtime) -> None:
        with closing(_open(runtime)) as session:
            with _raises(TensorMismatchError):
                session.run(cast("dict[str, Array]", inputs()))
            _equal(session.run({"x": _ones()})["y"], 2 * _ones() + 1)

    return run


def _sliced() -> dict[str, Any]:
    return {"x": np.zeros((1, 8), np.float32)[:, ::2]}


def _transposed() -> dict[str, Any]:
    return {"x": np.zeros((4, 4), np.float32).T}


# --- memory -----------------------------------------------------------------------------------


def _outputs_are_fresh(runtime: Runtime) -> None:
    with closing(_open(runtime)) as session:
        given = _ones(2)
        first = session.run({"x": given})["y"]
        kept = first.copy()
        second = session.run({"x": given + 5})["y"]
        _require(not np.shares_memory(first, second), "two calls share their output's memory")
        _equal(first, kept)
        first[:] = -1
        _equal(session.run({"x": given})["y"], kept)
        _equal(second, 2 * (given + 5) + 1)


def _outputs_are_no_inputs(runtime: Runtime) -> None:
    """An output that is an input, and one that is a constant, are copies as well."""
    constant = np.arange(4, dtype=np.float32)
    onnx = serialized(
        [node("Identity", ["x"], "y"), node("Identity", ["c"], "k")],
        [("x", "float32", (1, 4))],
        [("y", "float32", (1, 4)), ("k", "float32", (4,))],
        c=constant,
    )
    with closing(_open(runtime, onnx)) as session:
        given = _ones()
        result = session.run({"x": given})
        _require(not np.shares_memory(given, result["y"]), "an output shares an input's memory")
        result["y"][:] = 77
        result["k"][:] = 77
        _equal(given, _ones())
        _equal(session.run({"x": given})["k"], constant)


def _inputs_are_left_alone(runtime: Runtime) -> None:
    with closing(_open(runtime)) as session:
        given = _ones(2)
        given.flags.writeable = False
        result = session.run({"x": given})["y"]
        _equal(given, _ones(2))
        given = _ones(2)
        result = session.run({"x": given})["y"]
        given[:] = -1
        _equal(result, 2 * _ones(2) + 1)


def _outputs_outlive_the_session(runtime: Runtime) -> None:
    session = _open(runtime)
    result = session.run({"x": _ones(3)})["y"]
    session.close()
    del session
    _equal(result, 2 * _ones(3) + 1)
    result[:] = 5
    _equal(result, np.full((3, 4), 5, np.float32))


# --- threads and lifetime ---------------------------------------------------------------------


def _many_threads(batches: tuple[int, ...]) -> Callable[[Runtime], None]:
    def run(runtime: Runtime) -> None:
        weights = np.random.default_rng(3).integers(-8, 9, (64, 32)).astype(np.float32)
        wrong: list[str] = []

        def call(session: Session, number: int) -> None:
            rng = np.random.default_rng(number)
            try:
                for turn in range(CALLS_A_THREAD):
                    # Small integers: every sum is exact, in whatever order it is taken.
                    batch = batches[(turn + number) % len(batches)]
                    given = rng.integers(-8, 9, (batch, 64)).astype(np.float32)
                    _equal(session.run({"x": given})["y"], given @ weights)
            except (AssertionError, MedsdkError) as error:
                wrong.append(str(error)[:200])

        with closing(_open(runtime, product(weights))) as session:
            threads = [
                threading.Thread(target=call, args=(session, number))
                for number in range(CALLING_THREADS)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        _require(not wrong, f"{len(wrong)} of {CALLING_THREADS} threads: {wrong[:1]}")

    return run


def _closes(runtime: Runtime) -> None:
    session = _open(runtime)
    session.close()
    session.close()
    with _raises(SessionClosedError):
        session.run({"x": _ones()})


def _closes_while_it_runs(runtime: Runtime) -> None:
    """A call that is under way ends well or is told that the session is closed."""
    session = _open(runtime)
    started = threading.Barrier(CALLING_THREADS + 1)
    wrong: list[str] = []

    def call() -> None:
        started.wait()
        try:
            while True:
                _equal(session.run({"x": _ones()})["y"], 2 * _ones() + 1)
        except SessionClosedError:
            return
        except (AssertionError, MedsdkError) as error:
            wrong.append(str(error)[:200])

    threads = [threading.Thread(target=call) for _ in range(CALLING_THREADS)]
    for thread in threads:
        thread.start()
    started.wait()
    session.close()
    for thread in threads:
        thread.join()
    _require(not wrong, f"{len(wrong)} of {CALLING_THREADS} threads: {wrong[:1]}")


def _refuses_after_fork(runtime: Runtime) -> None:
    if not hasattr(os, "fork"):
        return
    with closing(_open(runtime)) as session:
        with warnings.catch_warnings():
            # Python 3.12 warns of a fork with threads; the child does nothing but be refused.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            status = 1
            try:
                session.run({"x": _ones()})
            except ForkedProcessError:
                status = 0
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        _require(status == 0, "a forked child could use the session")
        _equal(session.run({"x": _ones()})["y"], 2 * _ones() + 1)


# --- what was asked is what runs, or an error ---------------------------------------------------


def _says_what_it_uses(runtime: Runtime) -> None:
    here = runtime.availability()
    with closing(_open(runtime, product(np.eye(8, dtype=np.float32)))) as session:
        used = session.effective
        _require(used.runtime == runtime.name, f"another runtime: {used.runtime}")
        _require(bool(here.version) and used.version == here.version, f"version {used.version!r}")
        _require(used.device == runtime.devices()[0].name, f"another device: {used.device}")
        _require(used.precision == "fp32", f"another precision: {used.precision}")
        _require(used.threads == 1, f"{used.threads} threads where 1 was asked")
        _require(bool(used.evidence), "no evidence for the precision")


def _uses_the_threads(runtime: Runtime) -> None:
    for threads in (1, 2, 64):
        try:
            session = _open(runtime, threads=threads)
        except SettingRefusedError:
            _require(threads > 1, "one thread is refused")
        else:
            with closing(session):
                _require(
                    session.effective.threads == threads,
                    f"{session.effective.threads} threads where {threads} were asked",
                )


def _refuses_settings(runtime: Runtime) -> None:
    with _raises(SettingRefusedError):
        _open(runtime, threads=0)
    with _raises(SettingRefusedError):
        _open(runtime, precision="fp8")


def _keeps_the_precision(runtime: Runtime) -> None:
    sixteen: tuple[Precision, ...] = ("fp16", "bf16")
    for asked in sixteen:
        try:
            session = _open(runtime, product(np.eye(8, dtype=np.float32)), precision=asked)
        except (SettingRefusedError, PrecisionMismatchError):
            continue
        with closing(session):
            _require(session.effective.precision == asked, f"{asked} asked, another runs")
    with _raises(PrecisionMismatchError):
        _open(runtime, product(np.eye(8, dtype=np.float32)), precision="int8")


def _quantized_is_quantized(runtime: Runtime) -> None:
    onnx = next(case for case in CASES if case.id == "quantized-conv").build().onnx
    with closing(_open(runtime, onnx, precision="int8")) as session:
        _require(session.effective.precision == "int8", "int8 asked, another precision runs")
        _require(bool(session.effective.operators), "no count of executed operators")
    with _raises(PrecisionMismatchError):
        _open(runtime, onnx, precision="fp32")


def _absent_device(runtime: Runtime) -> None:
    names = [device.name for device in runtime.devices()]
    _require(bool(names), "no device at all")
    for absent in ("CUDA:97", "cpu ", ""):
        with _raises(DeviceUnavailableError) as caught:
            runtime.open(affine(), Settings(device=absent))
        for name in names:
            _require(name in str(caught[0]), f"the error does not name {name}")


def _optimise_off(runtime: Runtime) -> None:
    if "optimise-off" not in capabilities_of(runtime):
        with _raises(SettingRefusedError):
            _open(runtime, optimise=False)
        return
    with closing(_open(runtime, optimise=False)) as session:
        _equal(session.run({"x": _ones(2)})["y"], 2 * _ones(2) + 1)


# --- graphs that are refused ------------------------------------------------------------------


def _refused_graph(build: Callable[[], Any]) -> Callable[[Runtime], None]:
    def run(runtime: Runtime) -> None:
        onnx = build()
        with _raises(GraphRefusedError) as caught:
            _open(runtime, onnx)
        _require("/" not in str(caught[0]), f"a path in the error: {caught[0]}")

    return run


def _external_data() -> bytes:
    import onnx

    changed = model(
        [node("Add", ["x", "w"], "y")],
        [("x", "float32", (1, 4))],
        [("y", "float32", (1, 4))],
        w=np.ones(4, np.float32),
    )
    tensor = changed.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "secret/weights.bin"
    return bytes(changed.SerializeToString())


def _custom_domain() -> bytes:
    from onnx import helper

    changed = model(
        [helper.make_node("Anything", ["x"], ["y"], domain="com.example")],
        [("x", "float32", (1, 4))],
        [("y", "float32", (1, 4))],
    )
    changed.opset_import.append(helper.make_opsetid("com.example", 1))
    return bytes(changed.SerializeToString())


def _unknown_operator() -> bytes:
    return serialized(
        [node("NoSuchOperator", ["x"], "y")],
        [("x", "float32", (1, 4))],
        [("y", "float32", (1, 4))],
    )


def _bfloat16_edges() -> bytes:
    """An input that numpy has no type for."""
    from onnx import TensorProto, helper

    changed = model(
        [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)],
        [("x", "float32", (1, 4))],
        [("y", "float32", (1, 4))],
    )
    changed.graph.input[0].type.tensor_type.elem_type = TensorProto.BFLOAT16
    return bytes(changed.SerializeToString())


def _fails_while_it_runs(runtime: Runtime) -> None:
    """Shapes that the graph's inputs allow and its operators do not."""
    onnx = serialized(
        [node("MatMul", ["a", "b"], "y")],
        [("a", "float32", ("m", "k")), ("b", "float32", ("k2", "n"))],
        [("y", "float32", ("m", "n"))],
    )
    good = {"a": np.ones((2, 3), np.float32), "b": np.ones((3, 2), np.float32)}
    with closing(_open(runtime, onnx)) as session:
        with _raises(InferenceFailedError) as caught:
            session.run({"a": good["a"], "b": np.ones((5, 2), np.float32)})
        _require("/" not in str(caught[0]), f"a path in the error: {caught[0]}")
        _equal(session.run(good)["y"], np.full((2, 2), 3, np.float32))


def _wide_integers(runtime: Runtime) -> None:
    """A library may compute int64 in 32 bits, but not return another number for it."""
    given = np.array([[2**40, -(2**35), 7]], np.int64)
    onnx = serialized(
        [node("Add", ["x", "one"], "y")],
        [("x", "int64", (1, 3))],
        [("y", "int64", (1, 3))],
        one=np.ones(3, np.int64),
    )
    with closing(_open(runtime, onnx)) as session:
        try:
            result = session.run({"x": given})["y"]
        except InferenceFailedError:
            return
        _equal(result, given + 1)


def _describes_itself(runtime: Runtime) -> None:
    _require(isinstance(runtime, Runtime), "does not satisfy medsdk_runtimes.Runtime")
    _require(bool(runtime.name), "has no name")
    here = runtime.availability()
    _require(here.available and not here.reason, f"not available: {here.reason}")
    _require(replace(here) == runtime.availability(), "its availability changes")


CHECKS: tuple[Check, ...] = (
    Check("describes-itself", None, _describes_itself),
    Check("input-missing", None, _refuses(dict)),
    Check("input-unknown", None, _refuses(lambda: {"x": _ones(), "z": _ones()})),
    Check("input-misnamed", None, _refuses(lambda: {"X": _ones()})),
    Check("input-float64", None, _refuses(lambda: {"x": _ones().astype(np.float64)})),
    Check("input-uint8", None, _refuses(lambda: {"x": _ones().astype(np.uint8)})),
    Check("input-big-endian", None, _refuses(lambda: {"x": _ones().astype(">f4")})),
    Check("input-other-shape", None, _refuses(lambda: {"x": _ones(1, 5)})),
    Check("input-other-rank", None, _refuses(lambda: {"x": np.ones(4, np.float32)})),
    Check("input-list", None, _refuses(lambda: {"x": [[0.0, 1.0, 2.0, 3.0]]})),
    Check("input-sliced", None, _refuses(_sliced)),
    Check("input-transposed", None, _refuses(_transposed)),
    Check("outputs-fresh", "dynamic-batch", _outputs_are_fresh),
    Check("outputs-no-inputs", None, _outputs_are_no_inputs),
    Check("inputs-left-alone", "dynamic-batch", _inputs_are_left_alone),
    Check("outputs-outlive-session", "dynamic-batch", _outputs_outlive_the_session),
    Check("threads", None, _many_threads((1,))),
    Check("threads-batches", "dynamic-batch", _many_threads((1, 3, 2))),
    Check("close", None, _closes),
    Check("close-while-running", None, _closes_while_it_runs),
    Check("fork", None, _refuses_after_fork),
    Check("effective", "fp32", _says_what_it_uses),
    Check("effective-threads", None, _uses_the_threads),
    Check("settings-refused", None, _refuses_settings),
    Check("precision-kept", "fp32", _keeps_the_precision),
    Check("int8-is-int8", "int8", _quantized_is_quantized),
    Check("device-absent", None, _absent_device),
    Check("optimise-off", None, _optimise_off),
    Check("external-data", None, _refused_graph(_external_data)),
    Check("custom-domain", None, _refused_graph(_custom_domain)),
    Check("unknown-operator", None, _refused_graph(_unknown_operator)),
    Check("bfloat16-edges", None, _refused_graph(_bfloat16_edges)),
    Check("truncated", None, _refused_graph(lambda: affine()[:-7])),
    Check("trailing-bytes", None, _refused_graph(lambda: affine() + b"\x00\x01trailing")),
    Check("garbage", None, _refused_graph(lambda: bytes(range(256)))),
    Check("empty", None, _refused_graph(lambda: b"")),
    Check("path", None, _refused_graph(lambda: "model.onnx")),
    Check("wide-integers", None, _wide_integers),
    Check("fails-while-it-runs", "dynamic-batch", _fails_while_it_runs),
)
"""Every rule."""
