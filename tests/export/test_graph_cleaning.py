"""Rewrites of converted graphs: exact by ONNX Runtime, and only where they are exact."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from medsdk_export.graph_cleaning import clean, rename, transposes_between_layers

RNG = np.random.default_rng(4)
X = RNG.normal(0, 1, (2, 3, 9, 9)).astype(np.float32)


def floats(*shape: int) -> Any:
    return RNG.normal(0, 1, shape).astype(np.float32)


def graph(layers: list[Any], constants: dict[str, Any], shape: list[Any] | None = None) -> Any:
    """A model from x (N x 3 x 9 x 9, or `shape`) to y."""
    value = helper.make_tensor_value_info
    nodes = []
    for number, (kind, inputs, outputs, attributes) in enumerate(layers):
        nodes.append(helper.make_node(kind, inputs, outputs, f"n{number}", **attributes))
    made = helper.make_graph(
        nodes,
        "g",
        [value("x", TensorProto.FLOAT, shape or ["n", 3, 9, 9])],
        [value("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(item), name) for name, item in constants.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return onnx.shape_inference.infer_shapes(model)


def run(model: Any, feed: Any) -> Any:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return session.run(None, {session.get_inputs()[0].name: feed})[0]


def cleaned(model: Any, feed: Any = X) -> Any:
    """The cleaned graph, which gives what the other gave."""
    before = run(model, feed)
    made = copy.deepcopy(model)
    clean(made)
    onnx.checker.check_model(made, full_check=True)
    np.testing.assert_allclose(run(made, feed), before, rtol=1e-4, atol=1e-5)
    return made


def kinds(model: Any) -> list[str]:
    return [node.op_type for node in model.graph.node]


CONV: Any = ("Conv", ["x", "w"], ["c"], {})


@pytest.mark.parametrize("second", ["Mul", "Add", "Sub"])
@pytest.mark.parametrize("shape", [(4, 1, 1), (1, 4, 1, 1), (1,), ()])
def test_a_constant_for_each_channel_goes_into_the_convolution(second, shape):
    model = graph(
        [CONV, (second, ["c", "s"], ["y"], {})], {"w": floats(4, 3, 3, 3), "s": floats(*shape)}
    )
    assert kinds(cleaned(model)) == ["Conv"]


@pytest.mark.parametrize("shape", [(7,), (7, 7), (1, 4, 7, 7)])
def test_another_constant_stays(shape):
    model = graph(
        [CONV, ("Mul", ["c", "s"], ["y"], {})], {"w": floats(4, 3, 3, 3), "s": floats(*shape)}
    )
    assert kinds(cleaned(model)) == ["Conv", "Mul"]


def test_channels_that_equal_the_width_are_not_mixed_up():
    """A vector of as many values as channels, broadcast over the width."""
    model = graph([CONV, ("Mul", ["c", "s"], ["y"], {})], {"w": floats(7, 3, 3, 3), "s": floats(7)})
    assert kinds(cleaned(model)) == ["Conv", "Mul"]


def test_a_convolution_with_another_user_stays():
    nodes: list[Any] = [CONV, ("Mul", ["c", "s"], ["m"], {}), ("Add", ["m", "c"], ["y"], {})]
    model = graph(nodes, {"w": floats(4, 3, 3, 3), "s": floats(4, 1, 1)})
    assert kinds(cleaned(model)) == ["Conv", "Mul", "Add"]


def test_a_batch_norm_in_pieces_behind_a_depthwise_convolution():
    nodes: list[Any] = [
        ("Conv", ["x", "w"], ["c"], {"group": 3}),
        ("Mul", ["c", "s"], ["m"], {}),
        ("Add", ["t", "m"], ["a"], {}),
        ("Relu", ["a"], ["y"], {}),
    ]
    constants = {"w": floats(3, 1, 3, 3), "s": floats(1, 3, 1, 1), "t": floats(1, 3, 1, 1)}
    assert kinds(cleaned(graph(nodes, constants))) == ["Conv", "Relu"]


def pads(*values: int) -> Any:
    return np.array(values, np.int64)


def test_a_pad_goes_into_the_convolution():
    nodes: list[Any] = [
        ("Pad", ["x", "p"], ["q"], {}),
        ("Conv", ["q", "w"], ["y"], {"strides": [2, 2], "pads": [1, 0, 0, 1]}),
    ]
    model = cleaned(graph(nodes, {"p": pads(0, 0, 0, 1, 0, 0, 2, 3), "w": floats(4, 3, 3, 3)}))
    assert kinds(model) == ["Conv"]
    (found,) = [list(a.ints) for a in model.graph.node[0].attribute if a.name == "pads"]
    assert found == [1, 1, 2, 4]


@pytest.mark.parametrize(
    ("padding", "value", "mode"),
    [
        ((0, 1, 0, 0, 0, 0, 0, 0), 0.0, "constant"),
        ((0, 0, 1, 1, 0, 0, 1, 1), 1.0, "constant"),
        ((0, 0, 1, 1, 0, 0, 1, 1), 0.0, "reflect"),
        ((0, 0, -1, 0, 0, 0, 0, 0), 0.0, "constant"),
    ],
)
def test_another_pad_stays(padding, value, mode):
    nodes: list[Any] = [
        ("Pad", ["x", "p", "v"], ["q"], {"mode": mode}),
        ("Conv", ["q", "w"], ["y"], {}),
    ]
    channels = 4 if padding[1] else 3
    constants = {"p": pads(*padding), "v": np.float32(value), "w": floats(4, channels, 3, 3)}
    assert kinds(cleaned(graph(nodes, constants))) == ["Pad", "Conv"]


def test_a_dense_layer_becomes_one_node():
    nodes: list[Any] = [
        ("GlobalAveragePool", ["x"], ["g"], {}),
        ("Squeeze", ["g", "axes"], ["f"], {}),
        ("MatMul", ["f", "w"], ["m"], {}),
        ("Add", ["m", "b"], ["a"], {}),
        ("Relu", ["a"], ["r"], {}),
        ("Mul", ["r", "s"], ["k"], {}),
        ("Add", ["k", "t"], ["l"], {}),
        ("MatMul", ["l", "v"], ["o"], {}),
        ("Add", ["o", "d"], ["y"], {}),
    ]
    constants = {
        "axes": pads(2, 3),
        "w": floats(3, 8),
        "b": floats(8),
        "s": floats(8),
        "t": floats(8),
        "v": floats(8, 2),
        "d": floats(2),
    }
    model = cleaned(graph(nodes, constants))
    assert kinds(model) == ["GlobalAveragePool", "Flatten", "Gemm", "Relu", "Gemm"]


@pytest.mark.parametrize(("axis", "want"), [(0, "Flatten"), (1, "Reshape")])
def test_a_reshape_by_a_computed_batch(axis, want):
    """As Keras 3 flattens: the batch is taken from the shape of the tensor before it was turned."""
    nodes: list[Any] = [
        ("Transpose", ["x"], ["t"], {"perm": [0, 2, 3, 1]}),
        ("Shape", ["x"], ["s"], {}),
        ("Gather", ["s", "order"], ["o"], {}),
        ("Cast", ["o"], ["k"], {"to": TensorProto.INT32}),
        ("Slice", ["k", "from", "to"], ["n"], {}),
        ("Concat", ["n", "rest"], ["r"], {"axis": 0}),
        ("Cast", ["r"], ["l"], {"to": TensorProto.INT64}),
        ("Reshape", ["t", "l"], ["f"], {}),
        ("MatMul", ["f", "w"], ["y"], {}),
    ]
    constants = {
        "order": pads(0, 2, 3, 1),
        "from": pads(axis),
        "to": pads(axis + 1),
        "rest": np.array([-1], np.int32),
        "w": floats(243 if axis == 0 else 54, 4),
    }
    made = kinds(cleaned(graph(nodes, constants)))
    assert want in made
    assert ("Gemm" in made, "Shape" in made) == (axis == 0, axis == 1)


def test_a_product_of_more_axes_stays():
    nodes: list[Any] = [("MatMul", ["x", "w"], ["y"], {})]
    assert kinds(cleaned(graph(nodes, {"w": floats(9, 5)}))) == ["MatMul"]


def test_identities_and_what_nobody_uses_go():
    nodes: list[Any] = [
        ("Identity", ["x"], ["i"], {}),
        ("Relu", ["i"], ["r"], {}),
        ("Neg", ["x"], ["unused"], {}),
        ("Identity", ["r"], ["y"], {}),
    ]
    model = cleaned(graph(nodes, {"left": floats(2)}))
    assert kinds(model) == ["Relu"]
    assert not model.graph.initializer


def test_an_identity_from_input_to_output_stays():
    assert kinds(cleaned(graph([("Identity", ["x"], ["y"], {})], {}))) == ["Identity"]


def test_names_change_places_without_meeting():
    model = graph([("Relu", ["x"], ["logits"], {}), ("Neg", ["logits"], ["y"], {})], {})
    before = run(model, X)
    rename(model, {"x": "image", "y": "logits"})
    onnx.checker.check_model(model)
    assert [item.name for item in (*model.graph.input, *model.graph.output)] == ["image", "logits"]
    np.testing.assert_array_equal(run(model, X), before)


def test_transposes_between_convolutions_are_found():
    there: Any = ("Transpose", ["c"], ["t"], {"perm": [0, 2, 3, 1]})
    back: Any = ("Transpose", ["t"], ["u"], {"perm": [0, 3, 1, 2]})
    second: Any = ("Conv", ["u", "v"], ["y"], {})
    constants = {"w": floats(4, 3, 3, 3), "v": floats(2, 4, 1, 1)}
    assert transposes_between_layers(graph([CONV, there, back, second], constants)) == ["n1", "n2"]
    ends: list[Any] = [
        ("Transpose", ["x"], ["t"], {"perm": [0, 3, 1, 2]}),
        ("Conv", ["t", "w"], ["y"], {}),
    ]
    assert transposes_between_layers(graph(ends, constants)) == []
    assert Counter(kinds(graph([CONV, there, back, second], constants)))["Transpose"] == 2
