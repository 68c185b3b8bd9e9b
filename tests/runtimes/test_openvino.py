"""OpenVINO: the precision and the instruction set are read, and its hazards are kept out."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from medsdk_conformance import CASES
from medsdk_conformance.graphs import affine, node, serialized
from medsdk_runtimes import Settings, openvino_rt, runtime
from medsdk_runtimes.errors import (
    GraphRefusedError,
    InferenceFailedError,
    PrecisionMismatchError,
    SettingRefusedError,
)
from medsdk_runtimes.graph import scan
from medsdk_runtimes.operating_system import cpu_flags, usable_cores

ov = pytest.importorskip("openvino")

RUNTIME = runtime("openvino")
PROBLEMS = {case.id: case.build() for case in CASES if case.id in {"conv", "quantized-conv"}}
FLOAT, QUANTIZED = PROBLEMS["conv"].onnx, PROBLEMS["quantized-conv"].onnx


def _bfloat16_here() -> bool:
    return "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def test_the_default_hint_is_seen_as_bfloat16():
    """What OpenVINO does when nobody sets the hint, read by the code that reads our own."""
    if not _bfloat16_here():
        pytest.skip("this processor has no bfloat16, so OpenVINO's default is float32")
    core = ov.Core()
    compiled = core.compile_model(core.read_model(FLOAT), "CPU", {})
    reading = openvino_rt._read(compiled, scan(FLOAT))
    assert reading.precision == "bf16"
    assert reading.operators["bf16"] >= 1
    assert RUNTIME.open(FLOAT, Settings()).effective.precision == "fp32"


def test_a_hint_that_is_not_obeyed_raises(monkeypatch):
    if not _bfloat16_here():
        pytest.skip("this processor has no bfloat16")
    monkeypatch.setattr(openvino_rt, "_HINTS", {"fp32": "bf16", "int8": "bf16"})
    with pytest.raises(PrecisionMismatchError, match="bf16"):
        RUNTIME.open(FLOAT, Settings(precision="fp32"))


def test_bfloat16_that_is_asked_for_is_bfloat16():
    if not _bfloat16_here():
        with pytest.raises(PrecisionMismatchError):
            RUNTIME.open(FLOAT, Settings(precision="bf16"))
        return
    assert RUNTIME.open(FLOAT, Settings(precision="bf16")).effective.precision == "bf16"


def test_a_quantized_graph_runs_in_8_bits():
    effective = RUNTIME.open(QUANTIZED, Settings(precision="int8")).effective
    assert effective.operators.keys() & {"u8", "i8"}
    assert "1 of 1 layers" in effective.evidence


_IN_A_CHILD = """
import json, sys
from medsdk_runtimes import Settings, runtime
onnx = sys.stdin.buffer.read()
effective = runtime("openvino").open(onnx, Settings(precision=sys.argv[1])).effective
print(json.dumps([effective.isa, effective.evidence]))
"""


@pytest.mark.parametrize(("onnx", "precision"), [(FLOAT, "fp32"), (QUANTIZED, "int8")])
def test_an_older_instruction_set_is_seen(onnx, precision):
    if "avx512f" not in cpu_flags():
        pytest.skip("this processor has no AVX-512 to hold back")
    answers = []
    for limit in ({}, {"ONEDNN_MAX_CPU_ISA": "AVX2"}):
        environment = {key: value for key, value in os.environ.items() if "ONEDNN" not in key}
        child = subprocess.run(
            [sys.executable, "-c", _IN_A_CHILD, precision],
            input=onnx,
            capture_output=True,
            check=True,
            env=environment | limit | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        answers.append(json.loads(child.stdout))
    (native, evidence), (limited, limited_evidence) = answers
    assert "avx512" in native or "amx" in native
    assert "ONEDNN" not in evidence
    assert "avx2" in limited
    assert "avx512" not in limited
    assert "ONEDNN_MAX_CPU_ISA=AVX2" in limited_evidence


def test_an_error_with_one_thread_does_not_return_the_call_before():
    """`infer()` of 2026.4.1 swallows it; the next request after a failure is a new one."""
    onnx = serialized(
        [node("MatMul", ["a", "b"], "y")],
        [("a", "float32", ("m", "k")), ("b", "float32", ("k2", "n"))],
        [("y", "float32", ("m", "n"))],
    )
    session = RUNTIME.open(onnx, Settings(threads=1))
    rng = np.random.default_rng(3)
    for _ in range(4):
        # Other values of the same size each time: no earlier call's output can pass, and another
        # size would heal the library.
        left = rng.integers(-8, 8, (2, 3)).astype(np.float32)
        right = rng.integers(-8, 8, (3, 2)).astype(np.float32)
        np.testing.assert_array_equal(session.run({"a": left, "b": right})["y"], left @ right)
        with pytest.raises(InferenceFailedError):
            session.run({"a": left, "b": np.ones((5, 2), np.float32)})


def _opened(onnx: bytes) -> openvino_rt._OvSession:
    session = RUNTIME.open(onnx, Settings())
    assert isinstance(session, openvino_rt._OvSession)
    return session


def test_one_form_for_batch_1_and_one_for_every_other():
    session = _opened(affine())
    assert session._single is not None
    assert session._general is None  # batch 1 needs no other form
    for batch in (1, 4, 2, 1, 7):
        given = np.random.default_rng(batch).normal(size=(batch, 4)).astype(np.float32)
        assert np.allclose(session.run({"x": given})["y"], 2 * given + 1, rtol=1e-6)
    assert session._general is not None
    assert len(session._general._idle) == len(session._single._idle) == 1


def test_a_fixed_batch_and_a_dynamic_size_have_one_form():
    fixed = _opened(affine(batch=2))
    assert fixed._single is None
    sized = serialized(
        [node("Relu", ["x"], "y")],
        [("x", "float32", ("n", "m"))],
        [("y", "float32", ("n", "m"))],
    )
    session = _opened(sized)
    assert session._single is None
    for shape in ((1, 3), (2, 5), (1, 1)):
        assert session.run({"x": np.ones(shape, np.float32)})["y"].shape == shape


def test_more_threads_than_cores_are_refused_not_cut():
    with pytest.raises(SettingRefusedError, match=f"{usable_cores() + 1} threads"):
        RUNTIME.open(affine(), Settings(threads=usable_cores() + 1))


def test_float64_is_refused():
    onnx = serialized(
        [node("Add", ["x", "x"], "y")],
        [("x", "float64", (1, 2))],
        [("y", "float64", (1, 2))],
    )
    with pytest.raises(GraphRefusedError, match="float32"):
        RUNTIME.open(onnx, Settings())


def test_weights_alone_in_8_bits_are_not_called_float32():
    """OpenVINO may quantize the activations of such a layer too, and no reading shows whether."""
    onnx = serialized(
        [
            node("DequantizeLinear", ["w", "s", "z"], "wd", axis=1),
            node("MatMul", ["x", "wd"], "y"),
        ],
        [("x", "float32", ("n", 64))],
        [("y", "float32", ("n", 32))],
        w=np.ones((64, 32), np.int8),
        s=np.full(32, 0.5, np.float32),
        z=np.zeros(32, np.int8),
    )
    with pytest.raises(PrecisionMismatchError):
        RUNTIME.open(onnx, Settings(precision="fp32"))


def test_a_request_that_failed_is_not_used_again():
    session = _opened(affine())
    session.run({"x": np.ones((1, 4), np.float32)})
    assert session._single is not None
    assert len(session._single._idle) == 1

    class Broken:
        def start_async(self, *_, **__):
            raise RuntimeError("busy: /opt/secret/place.cpp:12")

    session._single._idle[0] = Broken()
    with pytest.raises(InferenceFailedError) as caught:
        session.run({"x": np.ones((1, 4), np.float32)})
    assert "secret" not in str(caught.value)
    assert not session._single._idle


@pytest.mark.parametrize("name", ["bool", "compared", "uint8-to-float"])
def test_bytes_of_bool_are_no_quantized_layers(name):
    """OpenVINO holds bool in u8, which a count of u8 layers takes for 8-bit arithmetic."""
    (onnx,) = (case.build().onnx for case in CASES if case.id == name)
    session = RUNTIME.open(onnx, Settings(precision="fp32"))
    assert session.effective.precision == "fp32"
    assert "u8" in session.effective.operators
    with pytest.raises(PrecisionMismatchError):
        RUNTIME.open(onnx, Settings(precision="int8"))
