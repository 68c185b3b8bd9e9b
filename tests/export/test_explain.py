"""`medsdk export --explain`: what is said of a file, held against how the file was made."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import onnx
import pytest
import safetensors.torch
import torch
from onnx import TensorProto, helper, numpy_helper

from medsdk.cli.main import run
from medsdk.results.schemas import DOCUMENTS
from medsdk_export.architectures import build
from medsdk_export.architectures.twins import save_keras_weights, to_keras
from medsdk_export.explaining import explain

ROOT = Path(__file__).parents[2]
VGG = {"width": 0.1, "classes": 4}


@pytest.fixture(scope="module")
def module() -> torch.nn.Module:
    torch.manual_seed(5)
    return build("vgg10", VGG).eval()


def snippet(document: Any) -> dict[str, Any]:
    """The snippet as TOML reads it."""
    found: dict[str, Any] = tomllib.loads(document.task_snippet)["networks"]["ROLE"]
    return found


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors"])
def test_a_state_dictionary(suffix, module, tmp_path):
    path = tmp_path / f"weights{suffix}"
    state = module.state_dict()
    safetensors.torch.save_file(state, path) if suffix == ".safetensors" else torch.save(
        state, path
    )
    document = explain(path)
    assert (document.format, document.framework) == (suffix[1:], "torch")
    (fit,) = document.architectures
    assert (fit.name, fit.parameters) == ("vgg10", VGG)
    count = sum(v.numel() for k, v in state.items() if "num_batches" not in k)
    assert (document.weights, document.weight_bytes) == (count, 4 * count)
    assert document.size_bytes == path.stat().st_size
    assert document.obstacles == ()
    assert document.inputs == document.outputs == ()
    assert snippet(document)["architecture"] == {"name": "vgg10", "parameters": VGG}
    assert snippet(document)["outputs"] == [{"name": "logits", "axes": [4]}]


def test_weights_of_no_architecture(tmp_path):
    torch.save({"a.weight": torch.zeros(3, 4)}, tmp_path / "weights.pt")
    document = explain(tmp_path / "weights.pt")
    (obstacle,) = document.obstacles
    assert obstacle.code == "graph-mismatch"
    assert "torch.export.save" in obstacle.remedy


def test_weights_for_keras(module, tmp_path):
    state = {key: value.numpy() for key, value in module.state_dict().items()}
    save_keras_weights(tmp_path / "weights.h5", to_keras("vgg10", VGG, state))
    document = explain(tmp_path / "weights.h5")
    assert (document.format, document.framework) == ("hdf5-weights", "keras")
    assert document.layers == {"layers with weights": 18}
    (fit,) = document.architectures
    assert (fit.name, fit.parameters) == ("vgg10", VGG)


@pytest.mark.parametrize("name", ["whole.keras", "whole.h5"])
def test_a_whole_keras_model(name):
    document = explain(ROOT / "tests/export/keras_sources/keras2" / name)
    assert (document.framework, document.written_by) == ("keras", "2.21.0")
    assert document.format == ("keras" if name.endswith(".keras") else "hdf5-model")
    assert document.layers["DepthwiseConv2D"] == 1
    assert document.inputs[0].shape == (None, 32, 32, 3)
    assert document.outputs[0].shape == (None, 2)
    assert (document.layout, document.batch, document.activation) == ("nhwc", "dynamic", "softmax")
    assert snippet(document) == {
        "architecture": {"name": "keras"},
        "input": {"name": "image", "layout": "nchw", "batch": "dynamic"},
        "outputs": [{"name": "logits", "axes": [2]}],
        "pixels": {"resize": {"height": 32, "width": 32}},
        "decode": {"activation": "softmax"},
    }


def test_what_a_task_does_not_take_is_said(module, make_task, tmp_path):
    task = make_task(
        ('name = "onnx"', 'name = "mobilenet-v2"'),
        ("parameters = {}", "parameters = { classes = 2, width = 0.35 }"),
    )
    torch.save(module.state_dict(), tmp_path / "weights.pt")
    document = explain(tmp_path / "weights.pt", task.networks["filter"])
    assert [item.code for item in document.obstacles] == ["weights-mismatch"]
    assert [item.name for item in document.architectures] == ["vgg10"]


def foreign(batch: int | str, *, opset: int = 17, end: str = "Softmax") -> onnx.ModelProto:
    """Channels last, an activation inside."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("MatMul", ["mean", "w"], ["scores"]),
        helper.make_node(end, ["scores"], ["p"]),
        helper.make_node("Identity", ["p"], ["StatefulPartitionedCall:0"]),
    ]
    weight = numpy_helper.from_array(np.ones((3, 4), np.float32), "w")
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "g",
        [value("serving:0", TensorProto.FLOAT, [batch, 48, 64, 3])],
        [value("StatefulPartitionedCall:0", TensorProto.FLOAT, [batch, 4])],
        [weight],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], producer_name="tool"
    )


def test_a_foreign_graph(tmp_path):
    onnx.save(foreign(1), tmp_path / "m.onnx")
    document = explain(tmp_path / "m.onnx")
    assert (document.framework, document.written_by, document.opset) == ("onnx", "tool", 17)
    assert (document.layout, document.batch, document.activation) == ("nhwc", "1", "softmax")
    assert document.weights == 12
    assert document.obstacles == ()
    assert snippet(document) == {
        "architecture": {"name": "onnx"},
        "input": {"name": "serving:0", "layout": "nhwc", "batch": 1},
        "outputs": [{"name": "StatefulPartitionedCall:0", "axes": [4]}],
        "pixels": {"resize": {"height": 48, "width": 64}},
        "decode": {"activation": "none"},
    }


@pytest.mark.parametrize(
    ("model", "message"),
    [(foreign("n", opset=11), "opset"), (foreign(1, opset=22), "opset")],
)
def test_what_stands_in_the_way_of_a_graph(model, message, tmp_path):
    onnx.save(model, tmp_path / "m.onnx")
    assert any(message in item.what for item in explain(tmp_path / "m.onnx").obstacles)


def test_a_fixed_batch_of_several_stands_in_no_way(tmp_path):
    onnx.save(foreign(7), tmp_path / "m.onnx")
    document = explain(tmp_path / "m.onnx")
    assert (document.batch, document.obstacles) == ("7", ())
    assert snippet(document)["input"]["batch"] == 7


def test_a_graph_that_ends_in_logits(tmp_path):
    onnx.save(foreign("n", end="Relu"), tmp_path / "m.onnx")
    document = explain(tmp_path / "m.onnx")
    assert (document.activation, document.batch) == ("none", "dynamic")
    assert snippet(document)["decode"] == {"activation": "softmax"}


def test_the_document_and_the_text(tmp_path, capfd):
    onnx.save(foreign(1), tmp_path / "m.onnx")
    words = ["export", "--explain", "--model", str(tmp_path / "m.onnx")]
    assert run([*words, "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    schema = json.loads((ROOT / "docs/schemas/explain.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(document)
    DOCUMENTS["explain"].model_validate_json(json.dumps(document))
    assert str(tmp_path) not in json.dumps(document)
    assert run(words) == 0
    text = capfd.readouterr().out
    for word in ("nhwc", "softmax", "nothing stands in the way", "[networks.ROLE]"):
        assert word in text


def test_wrong_use(tmp_path, capfd):
    onnx.save(foreign(1), tmp_path / "m.onnx")
    model = ["--model", str(tmp_path / "m.onnx")]
    assert run(["export", *model, "--task", "uterus-mr/tumor-filter"]) == 2
    assert "no --calibration" in capfd.readouterr().err
    assert run(["export", *model, "--calibration", "x", "--task", "uterus-mr/tumor-filter"]) == 2
    assert "no --out" in capfd.readouterr().err
    assert run(["export", "--explain", *model, *model]) == 2
    assert "takes one model" in capfd.readouterr().err
    (tmp_path / "m.onnx").write_bytes(b"no graph")
    assert run(["export", "--explain", *model]) == 4
