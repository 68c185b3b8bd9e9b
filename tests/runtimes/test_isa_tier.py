"""A session on a lower instruction set: equal values, errors as in this process, no child left."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from medsdk_conformance import CASES
from medsdk_conformance.graphs import affine, node, serialized
from medsdk_runtimes import Session, Settings, isa_tier, runtime
from medsdk_runtimes.errors import (
    DeviceUnavailableError,
    GraphRefusedError,
    InferenceFailedError,
    MedsdkError,
    SessionClosedError,
    SettingRefusedError,
    TensorMismatchError,
)
from medsdk_runtimes.isa_tier import TierSession, lower_tiers, open_at_tier
from medsdk_runtimes.operating_system import cpu_flags

pytest.importorskip("openvino")
if "avx2" not in cpu_flags():
    pytest.skip("this processor has no AVX2 to be limited to", allow_module_level=True)

NATIVE = runtime("openvino")
PROBLEMS = {case.id: case.build() for case in CASES if case.id in {"conv", "quantized-conv"}}
INTEGERS = serialized(
    [node("Add", ["x", "x"], "y")], [("x", "int64", ("n",))], [("y", "int64", ("n",))]
)
"""OpenVINO computes it in 32 bits, so the session refuses larger values call by call."""


def _open(onnx: bytes, **settings: Any) -> TierSession:
    session = open_at_tier("openvino", onnx, Settings(**settings), "avx2")
    assert isinstance(session, TierSession)
    return session


def _random(session: Session, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        spec.name: rng.normal(size=[axis or 2 for axis in spec.shape]).astype(spec.dtype)
        for spec in session.inputs
    }


def test_float32_is_that_of_the_native_session():
    onnx = PROBLEMS["conv"].onnx
    native, limited = NATIVE.open(onnx, Settings()), _open(onnx)
    assert limited.inputs == native.inputs
    assert limited.outputs == native.outputs
    for seed in range(4):
        given = _random(native, seed)
        expected, found = native.run(given), limited.run(given)
        assert list(found) == list(expected)
        for name, array in expected.items():
            assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
            assert np.allclose(found[name], array, rtol=1e-5, atol=1e-5)
            assert found[name].flags.owndata or found[name].base is not None
            found[name][...] = 0  # freshly owned, so it can be written
    limited.close()
    native.close()


@pytest.mark.parametrize(("case", "precision"), [("conv", "fp32"), ("quantized-conv", "int8")])
def test_what_is_effective_shows_no_avx512(case, precision):
    onnx = PROBLEMS[case].onnx
    limited = _open(onnx, precision=precision)
    effective = limited.effective
    assert (effective.runtime, effective.precision) == ("openvino", precision)
    assert "avx2" in effective.isa
    assert "avx512" not in effective.isa
    assert "amx" not in effective.isa
    assert "ONEDNN_MAX_CPU_ISA=AVX2" in effective.evidence
    native = NATIVE.open(onnx, Settings(precision=precision)).effective
    if "avx512f" in cpu_flags():
        assert "avx512" in native.isa
        assert "ONEDNN" not in native.evidence
    assert isa_tier.TIER_VARIABLE not in os.environ
    limited.close()


def test_tiers_are_offered_where_the_processor_has_them(monkeypatch):
    for flags, tiers in (({"avx2", "avx512f"}, ("avx2",)), ({"avx2"}, ("avx2",)), ({"avx"}, ())):
        monkeypatch.setattr(isa_tier, "cpu_flags", lambda flags=flags: frozenset(flags))
        assert lower_tiers("openvino") == tiers
        assert lower_tiers("onnxruntime") == ()


@pytest.mark.parametrize("name", ["onnxruntime", "nobody"])
def test_a_runtime_without_tiers_is_refused(name):
    with pytest.raises(SettingRefusedError, match="openvino"):
        open_at_tier(name, affine(), Settings(), "avx2")


@pytest.mark.parametrize(
    ("onnx", "settings", "kind"),
    [
        (b"no graph", Settings(), GraphRefusedError),
        (b"", Settings(), GraphRefusedError),
        (affine(), Settings(device="NPU"), DeviceUnavailableError),
        (affine(), Settings(optimise=False), SettingRefusedError),
    ],
)
def test_an_error_of_opening_is_that_of_this_process(onnx, settings, kind):
    raised: list[MedsdkError] = []
    with pytest.raises(kind) as caught:
        NATIVE.open(onnx, settings)
    raised.append(caught.value)
    with pytest.raises(kind) as caught:
        open_at_tier("openvino", onnx, settings, "avx2")
    raised.append(caught.value)
    here, there = raised
    assert type(there) is type(here)
    assert str(there) == str(here)
    assert (there.got, there.expected, there.remedy) == (here.got, here.expected, here.remedy)


def test_an_error_of_a_call_leaves_the_session_usable():
    native, limited = NATIVE.open(INTEGERS, Settings()), _open(INTEGERS)
    for _ in range(2):
        with pytest.raises(InferenceFailedError) as here:
            native.run({"x": np.array([2**40])})
        with pytest.raises(InferenceFailedError) as there:
            limited.run({"x": np.array([2**40])})
        assert "32 bits" in str(here.value)
        assert str(there.value) == str(here.value)
        assert limited.run({"x": np.array([1, -7])})["y"].tolist() == [2, -14]
    with pytest.raises(TensorMismatchError):
        limited.run({})
    limited.close()


def test_tensors_larger_than_any_pipe():
    onnx = serialized(
        [node("Add", ["x", "x"], "y")],
        [("x", "float32", ("n", "m"))],
        [("y", "float32", ("n", "m"))],
    )
    session = _open(onnx)
    for shape in ((2048, 4096), (1, 1), (3, 700_001)):  # 32 MiB, 4 bytes, an odd size
        given = np.arange(shape[0] * shape[1], dtype=np.float32).reshape(shape)
        np.testing.assert_array_equal(session.run({"x": given})["y"], given + given)
    session.close()


def test_threads_get_their_own_answers():
    with ThreadPoolExecutor(8) as pool:
        session = _open(affine())
        given = [np.full((1, 4), number, np.float32) for number in range(64)]
        found = list(pool.map(lambda array: session.run({"x": array})["y"], given))
    for array, result in zip(given, found, strict=True):
        assert np.allclose(result, 2 * array + 1, rtol=1e-6)
    session.close()


def test_closing_ends_the_child():
    session = _open(affine())
    child = session._child
    assert child.poll() is None
    session.close()
    assert child.returncode == 0  # it saw the pipe close and left by itself; reaped, no zombie
    if sys.platform == "linux":
        with pytest.raises(ProcessLookupError):
            os.kill(child.pid, 0)
    session.close()
    with pytest.raises(SessionClosedError):
        session.run({"x": np.ones((1, 4), np.float32)})


def test_a_failed_opening_leaves_no_child(monkeypatch):
    started: list[subprocess.Popen[bytes]] = []
    real = subprocess.Popen

    def popen(*arguments: Any, **options: Any) -> Any:
        started.append(real(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", popen)
    with pytest.raises(GraphRefusedError):
        _open(b"no graph")
    (child,) = started
    assert child.returncode is not None


def test_a_child_that_died_before_the_call():
    session = _open(affine())
    session._child.kill()
    session._child.wait()
    for _ in range(2):
        with pytest.raises(InferenceFailedError, match="ended"):
            session.run({"x": np.ones((1, 4), np.float32)})
    session.close()


def test_a_child_that_dies_during_the_call():
    if not hasattr(signal, "SIGSTOP"):
        pytest.skip("this system cannot stop a process")
    session = _open(affine())
    session._child.send_signal(signal.SIGSTOP)
    raised: list[BaseException] = []

    def call() -> None:
        try:
            session.run({"x": np.ones((1, 4), np.float32)})
        except BaseException as error:  # noqa: BLE001 - looked at below
            raised.append(error)

    caller = threading.Thread(target=call)
    caller.start()
    session._child.kill()
    caller.join(300)
    assert not caller.is_alive()
    assert [type(error) for error in raised] == [InferenceFailedError]
    session.close()
    assert session._child.returncode is not None


@pytest.mark.parametrize("python", ["no-such-program", "", shutil.which("false")])
def test_a_child_that_does_not_start(monkeypatch, python):
    if python is None:
        pytest.skip("there is no program that ends at once")
    monkeypatch.setattr(sys, "executable", python)
    with pytest.raises(InferenceFailedError, match="lower instruction-set tier"):
        _open(affine())


def test_a_call_that_was_interrupted_does_not_answer_the_next_one(monkeypatch):
    session = _open(affine())
    real = isa_tier._receive

    def interrupted(stream: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(isa_tier, "_receive", interrupted)
    with pytest.raises(KeyboardInterrupt):
        session.run({"x": np.full((1, 4), 1, np.float32)})
    monkeypatch.setattr(isa_tier, "_receive", real)
    with pytest.raises(InferenceFailedError):
        session.run({"x": np.full((1, 4), 2, np.float32)})
    session.close()


def test_the_child_says_nothing_on_our_streams(capfd):
    session = _open(affine())
    session.run({"x": np.ones((1, 4), np.float32)})
    session.close()
    with pytest.raises(GraphRefusedError):
        _open(b"no graph")
    assert capfd.readouterr() == ("", "")
