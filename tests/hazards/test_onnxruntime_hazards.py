"""ONNX Runtime by itself: what it does where nobody stops it."""

from __future__ import annotations

import json
import shutil
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from medsdk_conformance import CASES
from medsdk_conformance.graphs import affine, product
from tests.hazards.processes import SATURATION, run_module, run_python
from tests.hazards.saturation import share_in_onnxruntime

CPU = ["CPUExecutionProvider"]
ROUNDS = 5


@pytest.mark.hazard("onnxruntime-int8-avx2")
def test_8_bit_weights_saturate_without_vnni(reproduces):
    share = share_in_onnxruntime(127)
    reproduces(share < 0.9, f"8-bit weights give {share:.3f} of the exact sum")
    assert share_in_onnxruntime(64) == pytest.approx(1, abs=0.01)


@pytest.mark.slow
@pytest.mark.hazard("onnxruntime-int8-qemu")
def test_the_same_file_gives_other_values_on_a_haswell(reproduces):
    qemu = shutil.which("qemu-x86_64")
    if qemu is None:
        pytest.skip("it takes qemu-user")
    haswell = [qemu, "-cpu", "Haswell", sys.executable]
    done = run_module(SATURATION, "onnxruntime", interpreter=haswell)
    if done.returncode != 0:
        pytest.skip(f"qemu ends with {done.returncode}")
    eight, seven = json.loads(done.stdout)
    native = share_in_onnxruntime(127)
    evidence = f"{native:.3f} of the exact sum here, {eight:.3f} on a Haswell"
    reproduces(abs(native - eight) > 0.1, evidence)
    assert seven == pytest.approx(1, abs=0.01)


@pytest.mark.hazard("onnxruntime-ignores-onednn-limit")
def test_the_variable_of_onednn_does_not_hold_it_back(reproduces):
    done = run_module(SATURATION, "onnxruntime", environment={"ONEDNN_MAX_CPU_ISA": "AVX2"})
    assert done.returncode == 0, done.stderr
    eight, _ = json.loads(done.stdout)
    reproduces(eight > 0.9, f"{eight:.3f} of the exact sum, with the limit set to AVX2")


def _cores_used(spinning: str) -> float:
    """CPU time over wall time of three sessions in series with pauses between."""
    onnx = product(np.random.default_rng(3).normal(size=(256, 256)).astype(np.float32))
    inputs = {"x": np.ones((64, 256), np.float32)}
    sessions = []
    for _ in range(3):
        options = ort.SessionOptions()
        options.intra_op_num_threads = 2
        options.add_session_config_entry("session.intra_op.allow_spinning", spinning)
        sessions.append(ort.InferenceSession(onnx, options, providers=CPU))
    cpu_ns, wall_ns = time.process_time_ns(), time.perf_counter_ns()
    while time.perf_counter_ns() - wall_ns < 400_000_000:
        for session in sessions:
            session.run(None, inputs)
        time.sleep(0.001)
    return (time.process_time_ns() - cpu_ns) / (time.perf_counter_ns() - wall_ns)


@pytest.mark.hazard("onnxruntime-spinning")
def test_threads_spin_between_calls(reproduces):
    spinning = quiet = 0.0
    for _ in range(ROUNDS):  # another process may have the cores
        spinning, quiet = _cores_used("1"), _cores_used("0")
        if spinning > 1.5 * quiet:
            break
    evidence = f"{spinning:.2f} cores used with spinning, {quiet:.2f} without"
    reproduces(spinning > 1.5 * quiet, evidence)


@pytest.mark.hazard("onnxruntime-quiet-cpu")
def test_the_cpu_stands_in_for_a_device_that_is_not_there(reproduces):
    asked = "CUDAExecutionProvider"
    if asked in ort.get_available_providers():
        pytest.skip("this build has CUDA")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a Python warning is all that there is
        try:
            session = ort.InferenceSession(affine(), providers=[asked])
        except Exception as error:  # noqa: BLE001 - the library raises many types of its own
            reproduces(False, f"raises {type(error).__name__}")
            return
    reproduces(session.get_providers() == CPU, f"asked for {asked}, got {session.get_providers()}")


def _integer_layers(onnx_bytes: bytes, folder: Path) -> int:
    """Convolutions that ONNX Runtime executes in 8 bits."""
    options = ort.SessionOptions()
    options.log_severity_level = 4  # it warns of every graph that it writes
    options.optimized_model_filepath = str(folder / "executed.onnx")
    ort.InferenceSession(onnx_bytes, options, providers=CPU)
    executed = onnx.load(options.optimized_model_filepath)
    return sum(node.op_type == "QLinearConv" for node in executed.graph.node)


@pytest.mark.hazard("onnxruntime-shared-dequantize")
def test_a_shared_input_keeps_a_form_b_layer_in_float(reproduces, tmp_path):
    (case,) = (case for case in CASES if case.id == "quantized-residual-symmetric")
    model = onnx.load_from_string(case.build().onnx)
    assert _integer_layers(model.SerializeToString(), tmp_path) == 1  # adds a tensor of its own
    (addition,) = (node for node in model.graph.node if node.op_type == "Add")
    addition.input[0] = "x_d"  # the convolution's input
    layers = _integer_layers(model.SerializeToString(), tmp_path)
    reproduces(layers == 0, f"{layers} of 1 convolutions in 8 bits where the input is shared")


_TELEMETRY = """
import os
for name in os.environ.keys() - {"HOME", "XDG_CACHE_HOME", "TMPDIR"}:
    del os.environ[name]  # any of several variables of a build machine keeps it quiet
import onnxruntime
"""


@pytest.mark.hazard("onnxruntime-telemetry")
def test_importing_it_writes_a_device_id(reproduces, tmp_path):
    homes: dict[str, str] = {}
    for name in ("HOME", "XDG_CACHE_HOME", "TMPDIR"):
        (tmp_path / name).mkdir()
        homes[name] = str(tmp_path / name)
    assert run_python(_TELEMETRY, environment=homes).returncode == 0
    written = sorted(path.name for path in tmp_path.rglob("*") if path.is_file())
    reproduces(bool(written), f"{len(written)} files below the user's cache")
