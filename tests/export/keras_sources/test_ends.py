"""Where a model's softmax is, and that decode never applies it a second time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medsdk.tasks import Network
from medsdk_export.errors import GraphMismatchError
from medsdk_export.explaining import explain
from medsdk_export.from_keras import read_keras

from .test_whole_models import CHANNELS_FIRST, NO_ACTIVATION, run_graph, softmax

CUT = [
    "reshape",
    "flatten",
    "permute",
    "dropout",
    "identity",
    "operator",
    "inner",
    "inner-tail",
    "each-step",
]


def with_two_outputs(network: Network) -> Network:
    """The task's network, whose output is the second of two."""
    (output,) = network.outputs
    first = output.model_copy(update={"name": "first"})
    return network.model_copy(update={"outputs": (first, output)})


def probabilities(folder: Path, name: str) -> Any:
    """What Keras gave for the whole model, in another process; far from even."""
    want = np.load(folder / "ends.npz")[name]
    assert np.abs(want - 0.5).max() > 0.2, "a second softmax would hardly show"
    return want


@pytest.mark.parametrize("name", CUT)
def test_a_softmax_is_found_behind_layers_that_keep_its_values(
    name, keras_files, process, make_network
):
    want = probabilities(keras_files, name)
    source = read_keras(keras_files / f"end-{name}.keras", make_network(), process)
    assert source.facts["activation_removed"] == "softmax"
    assert "Softmax" not in [node.op_type for node in source.model.graph.node]
    np.testing.assert_allclose(softmax(run_graph(source)), want, rtol=1e-4, atol=1e-5)
    reference = source.reference(CHANNELS_FIRST)["logits"]
    np.testing.assert_allclose(softmax(reference), want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [*CUT, "average"])
def test_none_keeps_it_wherever_it_is(name, keras_files, process, make_network):
    source = read_keras(keras_files / f"end-{name}.keras", make_network(NO_ACTIVATION), process)
    assert source.facts["activation_removed"] == "none"
    want = probabilities(keras_files, name)
    np.testing.assert_allclose(run_graph(source), want, rtol=1e-4, atol=1e-5)


def test_the_output_that_is_decoded_counts(keras_files, process, make_network):
    """The first ends in ReLU; the second, which is decoded, in softmax."""
    path, want = keras_files / "end-two.keras", probabilities(keras_files, "two")
    source = read_keras(path, with_two_outputs(make_network()), process)
    assert source.facts["activation_removed"] == "softmax"
    np.testing.assert_allclose(softmax(run_graph(source)), want, rtol=1e-4, atol=1e-5)
    source = read_keras(path, with_two_outputs(make_network(NO_ACTIVATION)), process)
    np.testing.assert_allclose(run_graph(source), want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("average", "ends in softmax, and arithmetic behind it"),
        ("sharpened", "ends in softmax, and arithmetic behind it"),
        ("pooled", "ends in softmax, and arithmetic behind it"),
        ("wrong-axis", "softmax over other axes"),
        ("each-pixel", "softmax over other axes"),
    ],
)
def test_a_softmax_that_cannot_be_taken_off_is_refused(
    name, message, keras_files, process, make_network
):
    with pytest.raises(GraphMismatchError, match=message) as caught:
        read_keras(keras_files / f"end-{name}.keras", make_network(), process)
    assert "'none'" in caught.value.remedy


def test_a_softmax_that_another_output_needs_stays(keras_files, process, make_network):
    with pytest.raises(GraphMismatchError, match="something else uses too"):
        read_keras(keras_files / "end-shared.keras", with_two_outputs(make_network()), process)


@pytest.mark.parametrize(
    ("name", "activation"),
    [
        *[(name, "softmax") for name in CUT],
        ("average", ""),
        ("sharpened", ""),
        ("pooled", ""),
    ],
)
def test_the_configuration_alone_says_it_too(name, activation, keras_files, process):
    facts = process.scan(keras_files / f"end-{name}.keras")["facts"]
    assert facts["activation"] == activation


@pytest.mark.parametrize("name", ["sequential.keras", "softmax-layer.keras", "small.h5"])
def test_explain_tells_the_number_of_classes_before_a_softmax(name, keras_files):
    document = explain(keras_files / name)
    assert document.activation == "softmax"
    assert [item.shape for item in document.outputs] == [(None, 2)]
    assert 'outputs = [{ name = "logits", axes = [2] }]' in document.task_snippet
