"""Quantizers and calibrators by themselves."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.calibrate import create_calibrator

from medsdk_conformance.graphs import model, node
from medsdk_export.quantize import calibrate, quantize_form_a
from tests.hazards.processes import CONSTRAINTS, ROOT, other_environment, run_module

Tensors = NDArray[np.float32]

SIDE, HIDDEN, IMAGES = 12, 48, 300
RNG_SEED = 5


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, tensors: Tensors) -> None:
        self._left = iter(tensors)

    def get_next(self) -> dict[str, Tensors] | None:  # None ends it
        tensor = next(self._left, None)
        return None if tensor is None else {"x": tensor[None]}


def rare_bright_inputs() -> Tensors:
    """Fifteen inputs alike, and one eight times as bright."""
    rng = np.random.default_rng(RNG_SEED)
    inputs = rng.normal(size=(16, 3, 16, 16)).astype(np.float32)
    inputs[-1] *= 8
    return inputs


def two_convolutions() -> onnx.ModelProto:
    """What the calibrators look at."""
    rng = np.random.default_rng(RNG_SEED)
    nodes = [
        node("Conv", ["x", "w1", "b1"], "c"),
        node("Relu", ["c"], "r"),
        node("Conv", ["r", "w2", "b2"], "y"),
    ]
    made: onnx.ModelProto = model(
        nodes,
        [("x", "float32", (1, 3, 16, 16))],
        [("y", "float32", (1, 4, 12, 12))],
        w1=rng.normal(0, 0.3, (8, 3, 3, 3)).astype(np.float32),
        b1=np.zeros(8, np.float32),
        w2=rng.normal(0, 0.3, (4, 8, 3, 3)).astype(np.float32),
        b2=np.zeros(4, np.float32),
    )
    return made


def _ranges(folder: Path, method: CalibrationMethod) -> dict[str, tuple[float, float]]:
    source = folder / "model.onnx"
    onnx.save(two_convolutions(), source)
    calibrator = create_calibrator(source, None, str(folder / "augmented.onnx"), method)
    calibrator.collect_data(_Reader(rare_bright_inputs()))
    data = calibrator.compute_data()
    return {
        name: (np.asarray(item.range_value[0]).item(), np.asarray(item.range_value[1]).item())
        for name, item in data.items()
    }


@pytest.mark.hazard("onnxruntime-entropy-is-minmax")
def test_entropy_finds_the_extremes(reproduces, tmp_path):
    extremes = _ranges(tmp_path, CalibrationMethod.MinMax)
    entropy = _ranges(tmp_path, CalibrationMethod.Entropy)
    reproduces(entropy == extremes, "the ranges of every tensor are equal")


@pytest.mark.hazard("onnxruntime-percentile-clips")
def test_percentile_cuts_the_bright_input(reproduces, tmp_path):
    extremes = _ranges(tmp_path, CalibrationMethod.MinMax)
    percentile = _ranges(tmp_path, CalibrationMethod.Percentile)
    cut = [name for name, found in percentile.items() if found != extremes[name]]
    reproduces(bool(cut), f"{len(cut)} of {len(percentile)} ranges are cut")
    tensors = [tensor[None] for tensor in rare_bright_inputs()]
    kept = calibrate(two_convolutions(), "x", tensors).ranges["x"]
    assert kept == (rare_bright_inputs().min(), rare_bright_inputs().max())


_NNCF = "tests.hazards.nncf_calibration"


@pytest.fixture(scope="module")
def nncf(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What NNCF makes of the same network and inputs, in an environment of its own."""
    # The newest there is, so that a hazard can be gone.
    wanted = ("-c", str(CONSTRAINTS), "nncf>=3.4.0", "onnx", "onnxruntime", "openvino")
    folder = tmp_path_factory.mktemp("nncf")
    python = other_environment(folder / "venv", *wanted)
    np.save(folder / "inputs.npy", rare_bright_inputs())
    onnx.save(two_convolutions(), folder / "model.onnx")
    done = run_module(
        _NNCF,
        *(str(folder / name) for name in ("model.onnx", "inputs.npy")),
        interpreter=python,
        environment={"PYTHONPATH": str(ROOT), "CI": "true"},  # with which it reports nothing
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.slow
@pytest.mark.hazard("nncf-mean-range")
def test_nncf_clips_the_bright_input(record, nncf, reproduces):
    bright = float(rare_bright_inputs().max())
    version, default, minmax = nncf["version"], nncf["default"][1], nncf["minmax"][1]
    evidence = f"brightest {bright:.1f}; range to {default:.1f} by default, {minmax:.1f} by MINMAX"
    reproduces(default < bright / 2 < minmax, evidence, version)


@pytest.mark.slow
@pytest.mark.hazard("nncf-bias-correction")
def test_bias_correction_changes_nothing(record, nncf, reproduces):
    evidence = "with it and without it the graphs have the same numbers"
    reproduces(nncf["bias_correction_changes"] == 0, evidence, nncf["version"])


def _pictures(count: int, seed: int) -> tuple[Tensors, NDArray[np.bool_]]:
    """Discs and bars in noise, and which is which."""
    rng = np.random.default_rng(seed)
    discs = rng.random(count) < 0.5
    pictures = rng.normal(size=(count, 3, SIDE, SIDE)).astype(np.float32)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    for picture, disc in zip(pictures, discs, strict=True):
        row, column = rng.uniform(3, 9, 2)
        inside = (rows - row) ** 2 + (columns - column) ** 2 < rng.uniform(4, 10)
        bar = np.abs(rows - row) < 1.3
        picture += rng.uniform(2, 4) * (inside if disc else bar)
    return pictures, discs


def _dense_relu_batchnorm() -> onnx.ModelProto:
    """Conv, then Dense, ReLU, BatchNorm (as Mul and Add), Dense, its statistics from pictures.

    Like a trained one it has units that hardly ever fire: their variance is nearly 0, so their
    scale is 1 / sqrt(epsilon), hundreds of times the others'.
    """
    rng = np.random.default_rng(RNG_SEED)
    tensors = {
        "w": rng.normal(0, 0.3, (8, 3, 3, 3)),
        "d1": rng.normal(0, 2, (8 * 5 * 5, HIDDEN)),
        "b1": rng.normal(0, 4, HIDDEN),
    }
    tensors["b1"][:3] -= 500
    body = [
        node("Conv", ["x", "w"], "c", strides=[2, 2]),
        node("Relu", ["c"], "r"),
        node("Flatten", ["r"], "f"),
        node("Gemm", ["f", "d1", "b1"], "g"),
        node("Relu", ["g"], "h"),
    ]
    tail = [
        node("Mul", ["h", "scale"], "m"),
        node("Add", ["m", "shift"], "z"),
        node("Gemm", ["z", "d2", "b2"], "y"),
    ]
    for item in (*body, *tail):
        item.name = item.output[0]
    edge = ("x", "float32", ("n", 3, SIDE, SIDE))
    floats = {name: array.astype(np.float32) for name, array in tensors.items()}
    hidden = model(body, [edge], [("h", "float32", ("n", HIDDEN))], **floats)
    pictures, discs = _pictures(1500, 0)
    (fired,) = _session(hidden).run(None, {"x": pictures})
    scale = 1 / np.sqrt(fired.var(0) + 1e-3)
    shift = -fired.mean(0) * scale
    design = np.column_stack([fired * scale + shift, np.ones(len(fired))])
    normal = design.T @ design + np.eye(HIDDEN + 1)
    solved = np.linalg.solve(normal, design.T @ np.where(discs, 1.0, -1.0))
    tensors |= {
        "scale": scale,
        "shift": shift,
        "d2": np.column_stack([-solved[:-1], solved[:-1]]),
        "b2": np.array([-solved[-1], solved[-1]]),
    }
    floats = {name: array.astype(np.float32) for name, array in tensors.items()}
    made: onnx.ModelProto = model([*body, *tail], [edge], [("y", "float32", ("n", 2))], **floats)
    return made


def _session(made: onnx.ModelProto | Path) -> Any:
    source = str(made) if isinstance(made, Path) else made.SerializeToString()
    return ort.InferenceSession(source, providers=["CPUExecutionProvider"])


@pytest.mark.hazard("onnxruntime-operator-list")
def test_the_operator_list_decides(reproduces, tmp_path, caplog):
    caplog.set_level(logging.ERROR)
    source, quantized = tmp_path / "model.onnx", tmp_path / "quantized.onnx"
    made = _dense_relu_batchnorm()
    onnx.save(made, source)
    pictures, discs = _pictures(IMAGES, 1)
    calibration, _ = _pictures(64, 2)

    def decisions(graph: onnx.ModelProto | Path) -> NDArray[np.int64]:
        (logits,) = _session(graph).run(None, {"x": pictures})
        found: NDArray[np.int64] = logits.argmax(1)
        return found

    def flips(operators: list[str] | None) -> int:
        quantize_static(
            source,
            quantized,
            _Reader(calibration),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=operators,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return int((decisions(quantized) != reference).sum())

    reference = decisions(made)
    assert (reference == discs).mean() > 0.7  # it has learned something
    default, tail = flips(None), flips(["Mul", "Add"])
    layers = flips(["Conv", "Gemm", "MatMul"])
    evidence = (
        f"of {IMAGES} decisions {default} flip by default, {tail} with Mul and Add alone, "
        f"{layers} with the layers alone"
    )
    reproduces(min(default, tail) > 2 * max(layers, 1), evidence)
    # Form A leaves the tail float.
    record = calibrate(made, "x", [tensor[None] for tensor in calibration])
    ours = quantize_form_a(made, record)
    assert {"Mul", "Add"} <= {item.op_type for item in ours.graph.node}
    flipped = int((decisions(ours) != reference).sum())
    assert flipped < min(default, tail) / 2
