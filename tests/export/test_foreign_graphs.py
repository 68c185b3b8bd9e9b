"""Foreign graphs keep their form through export, proof and answer: channels last, softmax
inside, a fixed batch."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pydicom
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from PIL import Image

import medsdk
from medsdk.tasks import read_task
from medsdk_export.build import ExportRequest, export_bundle
from medsdk_export.errors import ReferenceMismatchError

SIDE = 32


def foreign(
    data: bytes, *, channels_last: bool, softmax: bool, batch: int | str
) -> onnx.ModelProto:
    """The vendor's graph (N x 3 x H x W, logits) in another form that computes the same."""
    model = onnx.load_model_from_string(data)
    graph = model.graph
    shape: list[int | str] = [batch, 3, SIDE, SIDE]
    if channels_last:
        shape = [batch, SIDE, SIDE, 3]
        graph.node[0].input[0] = "channels-first"
        turn = helper.make_node("Transpose", ["image"], ["channels-first"], perm=[0, 3, 1, 2])
        graph.node.insert(0, turn)
    output = "logits"
    if softmax:
        output = "probabilities"
        graph.node.append(helper.make_node("Softmax", ["logits"], [output], axis=-1))
    del graph.input[:], graph.output[:]
    graph.input.append(helper.make_tensor_value_info("image", TensorProto.FLOAT, shape))
    graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, [batch, 2]))
    onnx.checker.check_model(model)
    return model


def task_text(text: str, *, channels_last: bool, softmax: bool, batch: int | str) -> str:
    changes = []
    if channels_last:
        changes.append(('layout = "nchw"', 'layout = "nhwc"'))
    if isinstance(batch, int):
        changes.append(('batch = "dynamic"', f"batch = {batch}"))
    if softmax:
        changes += [
            ('name = "logits"', 'name = "probabilities"'),
            ('output = "logits"', 'output = "probabilities"'),
            ('activation = "softmax"', 'activation = "none"'),
            ('{ "filter.logits" = 1e-3 }', '{ "filter.probabilities" = 1e-3 }'),
            ('cpu = { "filter.logits" = 1.0 }', 'cpu = { "filter.probabilities" = 0.5 }'),
            ('gpu = { "filter.logits" = 1.0 }', 'gpu = { "filter.probabilities" = 0.5 }'),
        ]
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def plainly(data: bytes, pixels: NDArray[Any]) -> float:
    """The tumour's probability by Pillow, numpy and ONNX Runtime alone, from the plain graph."""
    low, high = np.percentile(pixels, [1, 99])
    shown = np.rint((np.clip(pixels, low, high) - low) / (high - low) * 255).astype(np.uint8)
    # Two passes, horizontal first: the order that the task names, whatever Pillow is here.
    bilinear = Image.Resampling.BILINEAR
    small = Image.fromarray(shown).resize((SIDE, shown.shape[0]), bilinear)
    values = np.asarray(small.resize((SIDE, SIDE), bilinear), np.float32) / np.float32(255)
    mean = np.array([0.485, 0.456, 0.406], np.float32)
    std = np.array([0.229, 0.224, 0.225], np.float32)
    tensor = ((values[..., None] - mean) / std).transpose(2, 0, 1)[np.newaxis]
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    logits = session.run(None, {"image": np.ascontiguousarray(tensor)})[0][0].astype(np.float64)
    powers = np.exp(logits - logits.max())
    return float(powers[1] / powers.sum())


@pytest.mark.parametrize(
    ("channels_last", "softmax", "batch"),
    [(True, False, "n"), (False, True, 1), (True, True, 4)],
    ids=["nhwc", "softmax-batch-1", "nhwc-softmax-batch-4"],
)
def test_a_foreign_graph_answers_as_the_plain_one_does(
    channels_last: bool, softmax: bool, batch: int | str, few: Any, vendor: Any, tmp_path: Path
) -> None:
    data = few.model.read_bytes()
    form: dict[str, Any] = {"channels_last": channels_last, "softmax": softmax, "batch": batch}
    model, task_file = tmp_path / "foreign.onnx", tmp_path / "foreign.toml"
    model.write_bytes(foreign(data, **form).SerializeToString())
    task_file.write_text(task_text(vendor.task_file.read_text("utf-8"), **form), "utf-8")
    out = tmp_path / "bundle"
    result = export_bundle(few.request(out, task=read_task(task_file), models={"filter": model}))
    assert result.verification.verdict == "pass"
    assert {"onnxruntime", "openvino"} <= {
        item.candidate.runtime for item in result.verification.candidates
    }
    record = result.manifest.known_answers[0]
    tensor = np.load(io.BytesIO((out / record.tensors["filter"]).read_bytes()))
    assert tensor.shape == ((1, SIDE, SIDE, 3) if channels_last else (1, 3, SIDE, SIDE))
    for runtime in ("onnxruntime", "openvino"):
        with medsdk.load(out, runtime=runtime) as engine:
            for path in sorted(few.calibration.iterdir()):
                finding = engine.predict(path)
                wanted = plainly(data, pydicom.dcmread(path).pixel_array)
                assert finding.probabilities["tumour"] == pytest.approx(wanted, abs=1e-4)


def test_a_graph_whose_rows_depend_on_each_other_is_refused(
    few: Any, vendor: Any, tmp_path: Path
) -> None:
    model = foreign(few.model.read_bytes(), channels_last=False, softmax=False, batch=4)
    graph = model.graph
    # As a BatchNorm that was left in training mode does: the batch's mean is taken away.
    graph.node[0].input[0] = "centred"
    for node in (
        helper.make_node("Sub", ["image", "mean"], ["centred"]),
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[0], keepdims=1),
    ):
        graph.node.insert(0, node)
    path = tmp_path / "mixing.onnx"
    path.write_bytes(model.SerializeToString())
    text = task_text(
        vendor.task_file.read_text("utf-8"), channels_last=False, softmax=False, batch=4
    )
    (tmp_path / "task.toml").write_text(text, "utf-8")
    request: ExportRequest = few.request(
        tmp_path / "out", task=read_task(tmp_path / "task.toml"), models={"filter": path}
    )
    with pytest.raises(ReferenceMismatchError, match="depends on the other images"):
        export_bundle(request)
