"""Weights without a model: the catalogue's twins are built, and give what their owners give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from medsdk_export.architectures.keras_layers import numbered_names
from medsdk_export.architectures.keras_registry import keras_layers
from medsdk_export.architectures.twins import to_keras, to_torch
from medsdk_export.errors import GraphMismatchError, WeightsMismatchError
from medsdk_export.from_keras import read_keras
from medsdk_export.from_torch import export_module

from .conftest import SIDE, TWINS, stirred
from .test_whole_models import CHANNELS_FIRST, HERE, run_graph

MOBILENET = {"architecture": "mobilenet-v2", "parameters": "{ classes = 2 }"}
FOUR = [("axes = [2]", "axes = [4]"), ('["none", "tumour"]', '["none", "tumour", "c", "d"]')]


def test_published_weights_of_keras_applications(keras_files, process, make_network):
    """`.weights.h5` of `keras.applications.MobileNetV2`: its answers, its width found."""
    source = read_keras(keras_files / "mobilenet.weights.h5", make_network(**MOBILENET), process)
    assert source.parameters == {"classes": 2, "width": 0.35}
    want = np.load(keras_files / "mobilenet.npy")
    assert np.abs(want).max() > 0.05
    np.testing.assert_allclose(source.reference(CHANNELS_FIRST)["logits"], want, atol=1e-5)
    np.testing.assert_allclose(run_graph(source), want, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("alpha", ["1.0", "1.4"])
def test_the_twin_has_the_names_and_shapes_of_keras_applications(alpha, keras_files):
    assert (keras_files / f"names-{alpha}").read_text(encoding="utf-8") == "True"


def test_the_twin_computes_what_keras_applications_does(keras_files):
    want = np.load(keras_files / "mobilenet.npy")
    np.testing.assert_array_equal(np.load(keras_files / "mobilenet-twin.npy"), want)


def test_weights_that_keras_2_wrote(process, make_network):
    parameters = "{ classes = 4, width = 0.05 }"
    network = make_network(*FOUR, *_argmax(), architecture="vgg10", parameters=parameters)
    source = read_keras(HERE / "keras2" / "vgg10-weights.h5", network, process)
    assert source.facts["format"] == "hdf5-weights"
    want = np.load(HERE / "keras2" / "vgg10-answers.npy")
    np.testing.assert_allclose(run_graph(source), want, rtol=1e-4, atol=1e-6)


def test_layers_that_are_known_by_their_number_only():
    """Keras 3 before 3.7 wrote `conv2d_1`, never `block1_conv2`."""
    names = numbered_names(keras_layers("vgg10", {"width": 0.1, "classes": 4}, SIDE, SIDE))
    assert names["conv2d"] == "block1_conv1"
    assert names["conv2d_7"] == "block4_conv2"
    assert names["batch_normalization_1"] == "block1_conv2_bn"
    assert (names["dense"], names["dense_1"]) == ("fc1", "predictions")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            "{ classes = 2, width = 0.5 }",
            "block_1_project: 1x1x48x8 in the file, 1x1x48x16 in",
        ),
        ("{ classes = 3 }", r"mobilenet-v2 \(classes 3, width 0.35\).*1280x2 2 in the file"),
    ],
)
def test_other_weights_are_named(parameters, message, keras_files, process, make_network):
    network = make_network(architecture="mobilenet-v2", parameters=parameters)
    with pytest.raises(WeightsMismatchError, match=message):
        read_keras(keras_files / "mobilenet.weights.h5", network, process)


def test_weights_alone_need_an_architecture(keras_files, process, make_network):
    with pytest.raises(GraphMismatchError, match="catalogue architecture") as caught:
        read_keras(keras_files / "mobilenet.weights.h5", make_network(), process)
    assert "model.keras" in caught.value.remedy


@pytest.mark.parametrize("name", ["vgg10.h5", "twin.weights.h5", "twin.keras"])
def test_vgg10_twins_give_the_same_answers(
    name, keras_files, process, make_task, make_network, torch_twins
):
    """PyTorch, its ONNX, Keras (through its own files) and that ONNX."""
    network = make_network(*FOUR, *_argmax(), architecture="vgg10", parameters="{ classes = 4 }")
    source = read_keras(keras_files / name, network, process)
    assert source.parameters == {"classes": 4, "width": 0.1}
    with torch.inference_mode():
        want = torch_twins["vgg10"](torch.from_numpy(CHANNELS_FIRST)).numpy()
    assert np.abs(want).max() > 0.05
    np.testing.assert_allclose(source.reference(CHANNELS_FIRST)["logits"], want, atol=1e-5)
    np.testing.assert_allclose(run_graph(source), want, rtol=1e-4, atol=1e-5)


def _argmax() -> list[tuple[str, str]]:
    old = (
        'rule = { kind = "threshold", role = "filter", label = "tumour", otherwise = "none", '
        'threshold = "tumour-probability" }'
    )
    return [
        (old, 'rule = { kind = "argmax", role = "filter" }'),
        (
            '[thresholds.tumour-probability]\nvalue = 0.5\nmeaning = "A slice shows a tumour '
            'where the softmax probability is at least this"\n',
            "",
        ),
        ('    "thresholds.tumour-probability",\n', ""),
        ("mean-of-sensitivity-and-specificity", "accuracy"),
        ("max_sensitivity_loss = 0.01\nmax_specificity_loss = 0.01\n", ""),
    ]


@pytest.mark.slow
def test_mobilenet_twins_agree_where_the_paddings_do(
    keras_files, process, make_network, torch_twins
):
    """65 pixels: odd at every stride, where Keras pads as PyTorch does."""
    images = np.random.default_rng(2).normal(0, 1, (2, 3, 65, 65)).astype(np.float32)
    source = read_keras(
        keras_files / "odd-twin.weights.h5", make_network(**MOBILENET, side=65), process
    )
    with torch.inference_mode():
        want = torch_twins["odd"](torch.from_numpy(images)).numpy()
    assert np.abs(want).max() > 0.05
    np.testing.assert_allclose(source.reference(images)["logits"], want, atol=1e-4)
    np.testing.assert_allclose(run_graph(source, images), want, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("key", TWINS)
def test_weights_come_back_from_the_twin(key, torch_twins):
    name, parameters = TWINS[key]
    state = {word: item.numpy() for word, item in torch_twins[key].state_dict().items()}
    back = to_torch(name, parameters, to_keras(name, parameters, state))
    assert set(back) == {word for word in state if "num_batches" not in word}
    for word, array in back.items():
        np.testing.assert_allclose(array, state[word], atol=1e-6)


def test_a_twin_of_other_shapes_is_refused():
    network = stirred("vgg10", {"width": 0.1, "classes": 4})
    state = {word: item.numpy() for word, item in network.state_dict().items()}
    with pytest.raises(ValueError, match="block1_conv1"):
        to_keras("vgg10", {"width": 1.0, "classes": 4}, state)


@pytest.mark.slow
def test_the_graphs_of_both_twins_have_the_same_operators(
    keras_files, process, make_network, torch_twins
):
    network = make_network(*FOUR, *_argmax(), architecture="vgg10", parameters="{ classes = 4 }")
    keras_graph = read_keras(keras_files / "twin.keras", network, process).model
    torch_graph = export_module(torch_twins["vgg10"], network)

    def layers(model: Any) -> list[str]:
        return [n.op_type for n in model.graph.node if n.op_type in ("Conv", "Gemm", "MaxPool")]

    assert layers(keras_graph) == layers(torch_graph)
