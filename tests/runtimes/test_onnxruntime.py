"""ONNX Runtime: no quiet fallback, and a precision that was read, not believed."""

from __future__ import annotations

import tempfile

import numpy as np
import onnx
import pytest
from onnx import helper

from medsdk_conformance import CASES
from medsdk_conformance.graphs import affine, node, product, serialized
from medsdk_runtimes import Settings, onnxruntime_rt, runtime
from medsdk_runtimes.errors import (
    DeviceUnavailableError,
    GraphRefusedError,
    InferenceFailedError,
    PrecisionMismatchError,
    SettingRefusedError,
)

ort = pytest.importorskip("onnxruntime")

RUNTIME = runtime("onnxruntime")
QUANTIZED = next(case for case in CASES if case.id == "quantized-conv").build().onnx


def test_a_provider_that_falls_back_raises(monkeypatch):
    """CUDA is in the build, but its libraries do not load: ORT would take the CPU."""
    monkeypatch.setattr(
        ort, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    assert [device.name for device in RUNTIME.devices()] == ["CPU", "CUDA:0"]
    asked = []
    real = ort.InferenceSession

    def fall_back(graph, options, providers, **rest):
        asked.append(providers)
        return real(graph, options, providers=["CPUExecutionProvider"], **rest)

    monkeypatch.setattr(ort, "InferenceSession", fall_back)
    with pytest.raises(DeviceUnavailableError, match="CUDA:0"):
        RUNTIME.open(affine(), Settings(device="CUDA:0"))
    assert asked == [[("CUDAExecutionProvider", {"device_id": "0", "use_tf32": "0"})]]


def test_an_absent_provider_is_no_device():
    if "CUDAExecutionProvider" in ort.get_available_providers():
        pytest.skip("this build has CUDA")
    with pytest.raises(DeviceUnavailableError, match="CPU"):
        RUNTIME.open(affine(), Settings(device="CUDA:0"))


def test_the_options_of_a_session(monkeypatch):
    seen = []
    real = ort.InferenceSession

    def watch(graph, options, **rest):
        session = real(graph, options, **rest)
        seen.append((options, rest))
        return session

    monkeypatch.setattr(ort, "InferenceSession", watch)
    RUNTIME.open(affine(), Settings(threads=2)).close()
    (options, rest), *_ = seen
    assert options.intra_op_num_threads == 2
    assert options.inter_op_num_threads == 1
    assert options.execution_mode == ort.ExecutionMode.ORT_SEQUENTIAL
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert options.optimized_model_filepath == ""
    assert rest["enable_fallback"] == 0
    RUNTIME.open(affine(), Settings(optimise=False)).close()
    assert seen[1][0].graph_optimization_level == ort.GraphOptimizationLevel.ORT_DISABLE_ALL


def test_options_inside_a_model_are_not_obeyed():
    proto = onnx.load_model_from_string(affine())
    config = '{"session_options": {"intra_op_num_threads": 3}}'
    helper.set_model_props(proto, {"ort_config": config})
    session = RUNTIME.open(proto.SerializeToString(), Settings(threads=1))
    assert session.effective.threads == 1


def test_a_quantized_graph_is_read_from_what_is_executed():
    effective = RUNTIME.open(QUANTIZED, Settings(precision="int8")).effective
    assert effective.precision == "int8"
    assert effective.operators == {"int8": 1}
    assert "read from the executed graph" in effective.evidence
    assert "quantizes 1" in effective.evidence


def _never_fused() -> bytes:
    """Quantize and dequantize around a product, but with no quantized result to fuse into."""
    return serialized(
        [
            node("QuantizeLinear", ["x", "s", "z"], "xq"),
            node("DequantizeLinear", ["xq", "s", "z"], "xd"),
            node("Softmax", ["xd"], "p"),
            node("MatMul", ["p", "w"], "y"),
        ],
        [("x", "float32", ("n", 4))],
        [("y", "float32", ("n", 4))],
        s=np.array(0.1, np.float32),
        z=np.array(128, np.uint8),
        w=np.eye(4, dtype=np.float32),
    )


def test_a_quantized_graph_that_is_not_fused_is_no_int8():
    with pytest.raises(PrecisionMismatchError, match="0 integer and 1 float layers"):
        RUNTIME.open(_never_fused(), Settings(precision="int8"))
    effective = RUNTIME.open(_never_fused(), Settings(precision="fp32")).effective
    assert effective.operators == {"f32": 1}


def test_without_a_place_to_write_the_graph_is_believed_and_says_so(monkeypatch):
    def refuse(**_):
        raise PermissionError("read-only")

    monkeypatch.setattr(tempfile, "TemporaryDirectory", refuse)
    effective = RUNTIME.open(QUANTIZED, Settings(precision="int8")).effective
    assert effective.precision == "int8"
    assert effective.operators == {}
    assert "declared by the graph" in effective.evidence
    assert "could not be written and read back" in effective.evidence


def test_an_executed_graph_that_cannot_be_read_is_said_to_be_so(monkeypatch):
    def refuse(*_):
        raise GraphRefusedError("an operator domain of a later version")

    monkeypatch.setattr(onnxruntime_rt, "scan", refuse)
    effective = RUNTIME.open(QUANTIZED, Settings(precision="int8")).effective
    assert effective.operators == {}
    assert "could not be written and read back" in effective.evidence


def test_optimisation_off_is_declared_by_the_graph():
    effective = RUNTIME.open(QUANTIZED, Settings(precision="int8", optimise=False)).effective
    assert effective.precision == "int8"
    assert "optimisation is off" in effective.evidence


def test_sixteen_bits_are_refused_on_the_cpu():
    with pytest.raises(SettingRefusedError):
        RUNTIME.open(affine(), Settings(precision="fp16"))


def test_a_half_precision_graph_is_no_float32():
    graph = serialized(
        [node("Mul", ["x", "w"], "y")],
        [("x", "float16", ("n", 4))],
        [("y", "float16", ("n", 4))],
        w=np.ones(4, np.float16),
    )
    with pytest.raises(PrecisionMismatchError):
        RUNTIME.open(graph, Settings(precision="fp32"))


def test_a_failure_is_quiet_on_standard_error(capfd):
    graph = serialized(
        [node("MatMul", ["a", "b"], "y")],
        [("a", "float32", ("m", "k")), ("b", "float32", ("k2", "n"))],
        [("y", "float32", ("m", "n"))],
    )
    session = RUNTIME.open(graph, Settings())
    with pytest.raises(InferenceFailedError):
        session.run({"a": np.ones((2, 3), np.float32), "b": np.ones((5, 2), np.float32)})
    assert capfd.readouterr() == ("", "")


def test_nothing_stays_in_the_temporary_directory(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    RUNTIME.open(QUANTIZED, Settings(precision="int8")).close()
    RUNTIME.open(product(np.eye(3, dtype=np.float32)), Settings()).close()
    assert list(tmp_path.iterdir()) == []
