"""OpenVINO by itself: what it does where nobody stops it."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from medsdk_conformance.graphs import node, product, serialized
from medsdk_runtimes import Settings, runtime
from medsdk_runtimes.errors import InferenceFailedError
from tests.hazards.processes import SATURATION, run_module, run_python

ov = pytest.importorskip("openvino")

Tensors = NDArray[np.float32]
Run = Callable[[Tensors], NDArray[Any]]

THREADS, CALLS, ROUNDS = 8, 150, 10
F32 = {"INFERENCE_PRECISION_HINT": "f32"}
RNG_SEED = 20
MATRICES = serialized(
    [node("MatMul", ["a", "b"], "y")],
    [("a", "float32", ("m", "k")), ("b", "float32", ("k2", "n"))],
    [("y", "float32", ("m", "n"))],
)
"""Shapes that do not fit each other pass every check but the library's own."""


def _compiled(onnx: bytes, **options: Any) -> Any:
    core = ov.Core()
    return core.compile_model(core.read_model(onnx), "CPU", options)


def _convolution() -> tuple[bytes, Tensors]:
    rng = np.random.default_rng(RNG_SEED)
    weights = rng.normal(size=(64, 64, 3, 3)).astype(np.float32)
    shape = (1, 64, 32, 32)
    onnx = serialized(
        [node("Conv", ["x", "w"], "y", pads=[1, 1, 1, 1])],
        [("x", "float32", shape)],
        [("y", "float32", shape)],
        w=weights,
    )
    return onnx, rng.normal(size=(THREADS, *shape)).astype(np.float32)


@pytest.mark.hazard("openvino-bfloat16")
def test_float32_runs_in_bfloat16(reproduces):
    onnx, inputs = _convolution()
    compiled = _compiled(onnx)
    layers = [str(n.get_rt_info()["runtimePrecision"].value) for n in _ops(compiled)]
    exact = _compiled(onnx, **F32)(inputs[0])[0]
    far = float(np.abs(compiled(inputs[0])[0] - exact).max())
    reproduces("bf16" in layers, f"layers ran in {sorted(set(layers))}, {far:.2g} from float32")


def _ops(compiled: Any) -> list[Any]:
    found = compiled.get_runtime_model().get_ordered_ops()
    return [op for op in found if "runtimePrecision" in op.get_rt_info()]


@pytest.mark.hazard("openvino-hint-reads-dynamic")
def test_a_hint_that_was_obeyed_reads_back_as_dynamic(reproduces):
    compiled = _compiled(_convolution()[0], EXECUTION_MODE_HINT="ACCURACY")
    hint = str(compiled.get_property("INFERENCE_PRECISION_HINT"))
    reproduces("dynamic" in hint, f"the hint of an accurate model reads {hint}")


@pytest.mark.hazard("openvino-int8-avx2")
def test_8_bit_weights_saturate_on_avx2_and_7_bit_ones_do_not(reproduces):
    done = run_module(SATURATION, "openvino", environment={"ONEDNN_MAX_CPU_ISA": "AVX2"})
    assert done.returncode == 0, done.stderr
    eight, seven = json.loads(done.stdout)
    reproduces(eight < 0.9, f"8-bit weights give {eight:.3f} of the exact sum")
    assert seven == pytest.approx(1, abs=0.01)  # reduce_range is the way out


def _files(folder: Path) -> tuple[Path, Tensors, Tensors]:
    rng = np.random.default_rng(RNG_SEED)
    weights = rng.normal(size=(64, 64)).astype(np.float32)
    path = folder / "model.onnx"
    path.write_bytes(product(weights))
    return path, weights, rng.normal(size=(8, 64)).astype(np.float32)


def _from_file(path: Path, inputs: Tensors) -> tuple[Tensors, bool]:
    """Outputs with a cache, and whether they came from it."""
    options = F32 | {"CACHE_DIR": str(path.parent / "cache")}
    compiled = ov.Core().compile_model(str(path), "CPU", options)
    return np.array(compiled(inputs)[0]), bool(compiled.get_property("LOADED_FROM_CACHE"))


@pytest.mark.hazard("openvino-cache-by-name")
def test_a_cache_gives_the_old_model(reproduces, tmp_path):
    path, weights, inputs = _files(tmp_path)
    status = path.stat()
    first, cached = _from_file(path, inputs)
    assert not cached
    path.write_bytes(product(-weights))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_size == status.st_size
    second, cached = _from_file(path, inputs)
    old = np.allclose(second, first)
    reproduces(old, f"new weights under the same path, size and time; from the cache: {cached}")
    # medsdk hands over bytes, without a cache.
    session = runtime("openvino").open(path.read_bytes(), Settings())
    assert np.allclose(session.run({"x": inputs})["y"], -inputs @ weights, atol=1e-3)


@pytest.mark.hazard("openvino-cache-unchecked")
def test_a_damaged_cache_is_loaded(reproduces, tmp_path):
    path, _, inputs = _files(tmp_path)
    first, _ = _from_file(path, inputs)
    (blob,) = (tmp_path / "cache").glob("*.blob")
    data = bytearray(blob.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 64] = bytes(byte ^ 0x15 for byte in data[middle : middle + 64])
    blob.write_bytes(data)
    try:
        second, cached = _from_file(path, inputs)
    except RuntimeError:
        reproduces(False, "64 damaged bytes are refused")
        return
    wrong = cached and not np.allclose(second, first, atol=1e-2)
    reproduces(wrong, "64 damaged bytes came back as other answers, without an error")


def _by_threads(call: Run, inputs: Tensors, expected: list[Tensors]) -> tuple[int, int]:
    """Calls by all threads at once: how many were refused, and how many gave wrong values."""
    busy, wrong = [0] * THREADS, [0] * THREADS

    def work(number: int) -> None:
        for _ in range(CALLS):
            try:
                found = call(inputs[number])
            except RuntimeError:
                busy[number] += 1
                continue
            wrong[number] += not np.allclose(found, expected[number], atol=1e-2)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(busy), sum(wrong)


@pytest.mark.hazard("openvino-shared-model")
def test_a_compiled_model_is_not_for_several_threads(reproduces):
    onnx, inputs = _convolution()
    compiled = _compiled(onnx, **F32)
    expected = [np.array(compiled(tensor)[0]) for tensor in inputs]
    busy = wrong = 0
    for _ in range(ROUNDS):  # a race: several tries
        busy, wrong = _by_threads(lambda tensor: np.array(compiled(tensor)[0]), inputs, expected)
        if wrong:
            break
    reproduces(wrong > 0, f"of {THREADS * CALLS} calls {busy} were busy, {wrong} gave wrong values")
    session = runtime("openvino").open(onnx, Settings())
    assert _by_threads(lambda tensor: session.run({"x": tensor})["y"], inputs, expected) == (0, 0)


@pytest.mark.hazard("openvino-after-failure")
def test_requests_after_a_failed_one_give_wrong_values(reproduces):
    compiled = _compiled(MATRICES, **F32)
    rng = np.random.default_rng(RNG_SEED)

    def asked(left: Tensors, right: Tensors) -> Tensors:
        request = compiled.create_infer_request()
        request.start_async({0: left, 1: right})
        request.wait()
        return np.array(request.get_output_tensor(0).data)

    left, right = (rng.integers(-8, 8, shape).astype(np.float32) for shape in ((2, 3), (3, 2)))
    assert np.array_equal(asked(left, right), left @ right)
    with pytest.raises(RuntimeError):
        asked(left, np.ones((5, 2), np.float32))
    left, right = left + 1, right - 2
    wrong = not np.array_equal(asked(left, right), left @ right)
    reproduces(wrong, "a later request of the same model, with inputs that fit, is wrong")


@pytest.mark.hazard("openvino-swallowed-error")
def test_infer_on_one_thread_swallows_an_error(reproduces):
    request = _compiled(MATRICES, INFERENCE_NUM_THREADS=1, **F32).create_infer_request()
    left, right = np.ones((2, 3), np.float32), np.ones((3, 2), np.float32)
    request.infer({0: left, 1: right})
    before = np.array(request.get_output_tensor(0).data)
    try:
        request.infer({0: 2 * left, 1: np.ones((5, 2), np.float32)})
    except RuntimeError:
        reproduces(False, "the error is raised")
    else:
        after = np.array(request.get_output_tensor(0).data)
        same = np.array_equal(after, before)
        reproduces(same, "no error, and the output of the call before")
    session = runtime("openvino").open(MATRICES, Settings(threads=1))
    session.run({"a": left, "b": right})
    with pytest.raises(InferenceFailedError):
        session.run({"a": 2 * left, "b": np.ones((5, 2), np.float32)})


@pytest.mark.hazard("openvino-nan-in-relu")
def test_relu_makes_zero_of_nan(reproduces):
    graph = [node("Relu", ["x"], "y")], [("x", "float32", (1, 2))], [("y", "float32", (1, 2))]
    found = _compiled(serialized(*graph), **F32)(np.array([[np.nan, 1]], np.float32))[0]
    reproduces(found.tolist() == [[0, 1]], f"Relu of (nan, 1) is {found[0].tolist()}")


@pytest.mark.hazard("openvino-int64")
def test_64_bit_integers_are_computed_in_32(reproduces):
    graph = [node("Add", ["x", "x"], "y")], [("x", "int64", (1,))], [("y", "int64", (1,))]
    found = int(_compiled(serialized(*graph))(np.array([2**40 + 3]))[0][0])
    reproduces(found == 6, f"2 * (2**40 + 3) is {found}")


@pytest.mark.hazard("openvino-float64")
def test_float64_is_computed_in_float32(reproduces):
    graph = [node("Add", ["x", "x"], "y")], [("x", "float64", (1,))], [("y", "float64", (1,))]
    found = float(_compiled(serialized(*graph))(np.array([1 / 3]))[0][0])
    reproduces(found == float(np.float32(1 / 3) * 2), f"1/3 + 1/3 is {abs(found - 2 / 3):.1g} off")


_IMPORTED = """
import os, sys, time

def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "http.client.connect", "urllib.Request"):
        raise OSError("nothing is sent from here")

sys.addaudithook(refuse)
for name in ("CI", "TF_BUILD", "JENKINS_URL"):
    os.environ.pop(name, None)
import openvino
time.sleep(0.5)
"""


@pytest.mark.hazard("openvino-telemetry")
def test_importing_it_writes_a_client_id(reproduces, tmp_path):
    done = run_python(_IMPORTED, environment={"HOME": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    written = sorted(path.name for path in tmp_path.rglob("*") if path.is_file())
    reproduces(bool(written), f"below the user's home: {written}")
