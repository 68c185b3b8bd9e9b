"""Whole Keras models in, graphs out: held against Keras itself and ONNX Runtime alone."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from medsdk_export.errors import GraphMismatchError, WeightsMismatchError
from medsdk_export.from_keras import read_keras
from medsdk_export.sources import SourceNetwork

SIDE = 32
HERE = Path(__file__).parent
IMAGES = np.random.default_rng(1).normal(0, 1, (3, SIDE, SIDE, 3)).astype(np.float32)
CHANNELS_FIRST = np.ascontiguousarray(IMAGES.transpose(0, 3, 1, 2))
NO_ACTIVATION = ('activation = "softmax"', 'activation = "none"')


def run_graph(source: SourceNetwork, images: Any = CHANNELS_FIRST, output: str = "logits") -> Any:
    session = onnxruntime.InferenceSession(
        source.model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (got,) = session.run([output], {"image": images})
    return got


def softmax(logits: Any) -> Any:
    exponent = np.exp(logits - logits.max(1, keepdims=True))
    return exponent / exponent.sum(1, keepdims=True)


@pytest.mark.parametrize(
    "name",
    # The last two were trained with a loss and a metric of their author's, which nobody needs here.
    ["small.keras", "small.h5", "small.hdf5", "focal.keras", "focal.h5"],
)
def test_a_model_gives_what_keras_gives(name, keras_files, process, make_network):
    answers = np.load(keras_files / "answers.npz")
    source = read_keras(keras_files / name, make_network(), process)
    assert source.facts["activation_removed"] == "softmax"
    want = answers["small"]  # before the softmax, computed by Keras in another process
    assert np.abs(want).max() > 0.1  # else the comparison says nothing
    np.testing.assert_allclose(source.reference(CHANNELS_FIRST)["logits"], want, atol=1e-5)
    for batch in (1, 3):
        got = run_graph(source, CHANNELS_FIRST[:batch])
        np.testing.assert_allclose(got, want[:batch], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(softmax(want), answers["small_softmax"], atol=1e-5)


def test_the_graph_is_what_the_conventions_ask_for(keras_files, process, make_network):
    source = read_keras(keras_files / "small.keras", make_network(), process)
    model = source.model
    onnx.checker.check_model(model, full_check=True)
    # What is left of 4 BatchNorms, one of them behind a ReLU, and a padding: nothing.
    assert Counter(node.op_type for node in model.graph.node) == {
        "Conv": 3,
        "Clip": 1,
        "Relu": 2,
        "Add": 1,
        "GlobalAveragePool": 1,
        "Flatten": 1,
        "Gemm": 2,
    }
    (entry,), (end,) = model.graph.input, model.graph.output
    assert (entry.name, end.name) == ("image", "logits")
    assert [d.dim_param or d.dim_value for d in entry.type.tensor_type.shape.dim] == [
        *("batch", 3, SIDE, SIDE),
    ]
    assert [d.dim_param or d.dim_value for d in end.type.tensor_type.shape.dim] == ["batch", 2]
    assert not any(item.external_data for item in model.graph.initializer)
    (depthwise,) = [
        node
        for node in model.graph.node
        if any(item.name == "group" and item.i == 8 for item in node.attribute)
    ]
    pads = next(item.ints for item in depthwise.attribute if item.name == "pads")
    assert list(pads) == [0, 0, 1, 1]  # Keras pads below and right
    assert source.fixed_batch is None
    assert source.facts["framework"] == "keras"
    assert source.facts["format"] == "keras"
    assert len(source.facts["sha256"]) == 64


def test_a_flattened_head_leaves_dense_layers_alone(keras_files, process, make_network):
    """Its BatchNorm on its own would cost INT8 its decisions; its batch is computed at run time."""
    source = read_keras(keras_files / "flat.keras", make_network(), process)
    kinds = [node.op_type for node in source.model.graph.node]
    assert kinds == ["Conv", "Relu", "MaxPool", "Transpose", "Flatten", "Gemm", "Relu", "Gemm"]
    want = source.reference(CHANNELS_FIRST)["logits"]
    assert np.ptp(want) > 0.05
    np.testing.assert_allclose(run_graph(source), want, rtol=1e-4, atol=1e-5)


def test_a_map_comes_out_with_its_labels_first(keras_files, process, make_network):
    network = make_network()
    (output,) = network.outputs
    maps = (output.model_copy(update={"axes": (2, SIDE, SIDE)}),)
    source = read_keras(
        keras_files / "mask.keras", network.model_copy(update={"outputs": maps}), process
    )
    got = run_graph(source)
    assert got.shape == (3, 2, SIDE, SIDE)
    np.testing.assert_allclose(got, source.reference(CHANNELS_FIRST)["logits"], atol=1e-5)
    assert [node.op_type for node in source.model.graph.node] == ["Conv", "Conv"]


@pytest.mark.parametrize("name", ["logits.keras", "softmax-layer.keras"])
def test_logits_come_out_however_the_model_ends(name, keras_files, process, make_network):
    source = read_keras(keras_files / name, make_network(), process)
    want = np.load(keras_files / "answers.npz")["small"]
    np.testing.assert_allclose(run_graph(source), want, rtol=1e-4, atol=1e-5)
    cut = "none" if name == "logits.keras" else "softmax"
    assert source.facts["activation_removed"] == cut


def test_a_softmax_stays_where_the_task_wants_it(keras_files, process, make_network):
    source = read_keras(keras_files / "small.keras", make_network(NO_ACTIVATION), process)
    want = np.load(keras_files / "answers.npz")["small_softmax"]
    assert source.facts["activation_removed"] == "none"
    np.testing.assert_allclose(run_graph(source), want, rtol=1e-4, atol=1e-6)
    assert source.model.graph.node[-1].op_type == "Softmax"


def test_a_sigmoid_of_one_unit(keras_files, process, make_network):
    network = make_network(("axes = [2]", "axes = [1]"), ('"softmax"', '"sigmoid"'))
    source = read_keras(keras_files / "sigmoid.keras", network, process)
    assert source.facts["activation_removed"] == "sigmoid"
    got = run_graph(source)
    assert got.shape == (3, 1)
    np.testing.assert_allclose(got, source.reference(CHANNELS_FIRST)["logits"], atol=1e-5)
    assert source.model.graph.node[-1].op_type == "Gemm"


@pytest.mark.parametrize(
    ("name", "replacements", "message"),
    [
        ("relu.keras", [], "ends in relu; expected: softmax or logits"),
        ("logits.keras", [NO_ACTIVATION], "ends in linear; expected: softmax or sigmoid inside"),
        ("small.keras", [('"softmax"', '"sigmoid"')], "ends in softmax; expected: sigmoid"),
        ("three.keras", [], r"N x 3; expected: N x 2"),
        ("small.keras", [('layout = "nchw"', 'layout = "nhwc"')], "layout = 'nchw'"),
    ],
)
def test_what_the_task_does_not_say_is_refused(
    name, replacements, message, keras_files, process, make_network
):
    with pytest.raises(GraphMismatchError, match=message):
        read_keras(keras_files / name, make_network(*replacements), process)


def test_batch_norms_behind_relus_go_into_the_next_layer(keras_files, process, make_network):
    source = read_keras(keras_files / "normalised-late.keras", make_network(), process)
    want = np.load(keras_files / "normalised.npz")["late"]
    assert np.ptp(want) > 0.1
    np.testing.assert_allclose(run_graph(source), want, rtol=1e-4, atol=1e-5)
    kinds = [node.op_type for node in source.model.graph.node]
    assert kinds == ["Conv", "Relu", "Conv", "Relu", "GlobalAveragePool", "Flatten", "Gemm"]


@pytest.mark.parametrize("name", ["given", "learned"])
def test_statistics_inside_the_model(name, keras_files, process, make_network):
    """A Normalization layer: its numbers are constants of the graph, not inputs."""
    source = read_keras(keras_files / f"normalised-{name}.keras", make_network(), process)
    want = np.load(keras_files / "normalised.npz")[name]
    assert np.ptp(want) > 0.1
    assert [item.name for item in source.model.graph.input] == ["image"]
    np.testing.assert_allclose(source.reference(CHANNELS_FIRST)["logits"], want, atol=1e-5)
    np.testing.assert_allclose(run_graph(source), want, rtol=1e-4, atol=1e-5)


def test_another_input_size_is_named(keras_files, process, make_network):
    with pytest.raises(GraphMismatchError, match="N x 32 x 32 x 3; expected: one of N x 64 x 64"):
        read_keras(keras_files / "small.keras", make_network(side=64), process)


def test_a_backbone_inside_a_model(keras_files, process, make_network):
    """Transfer learning: nested, of other names; the width is read from the shapes."""
    network = make_network(architecture="mobilenet-v2", parameters="{ classes = 2 }")
    source = read_keras(keras_files / "nested.h5", network, process)
    assert source.parameters == {"classes": 2, "width": 0.35}
    assert source.facts["activation_removed"] == "softmax"
    want = np.load(keras_files / "answers.npz")["nested"]
    np.testing.assert_allclose(softmax(run_graph(source)), want, rtol=1e-3, atol=1e-5)


def test_a_model_that_is_not_the_architecture_is_refused(keras_files, process, make_network):
    network = make_network(architecture="mobilenet-v2", parameters="{ classes = 2 }")
    with pytest.raises(WeightsMismatchError, match="the model is not mobilenet-v2"):
        read_keras(keras_files / "small.keras", network, process)


@pytest.mark.parametrize("name", ["whole.h5", "whole.keras"])
def test_files_that_keras_2_wrote(name, process, make_network):
    """Their depthwise layers have `groups`, and their BatchNorms a list of axes."""
    source = read_keras(HERE / "keras2" / name, make_network(NO_ACTIVATION), process)
    assert source.facts["written_by"] == "2.21.0"
    want = np.load(HERE / "keras2" / "answers.npy")
    assert np.ptp(want) > 0.1
    np.testing.assert_allclose(run_graph(source), want, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(source.reference(CHANNELS_FIRST)["logits"], want, atol=1e-6)


def test_the_graph_can_be_written_and_read(keras_files, process, make_network):
    source = read_keras(keras_files / "small.keras", make_network(), process)
    data = source.model.SerializeToString()
    assert onnx.load(io.BytesIO(data)) == source.model
    for word in (b"medsdk", str(keras_files).encode()):
        assert word not in data
