"""Weights, topology and what computes nothing are told apart."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from medsdk_conformance import CASES
from medsdk_runtimes.errors import GraphRefusedError
from medsdk_runtimes.graph_digests import graph_digests

WEIGHT = np.arange(-6, 6, dtype=np.float32).reshape(3, 4)
QUANTIZED = next(case for case in CASES if case.id == "quantized-conv").build().onnx

Edit = Callable[[onnx.ModelProto], object]


def _model() -> onnx.ModelProto:
    constant = helper.make_node(
        "Constant", [], ["k"], value=numpy_helper.from_array(np.array([2.0], np.float32))
    )
    gemm = helper.make_node("Gemm", ["x", "w", "b"], ["y"], alpha=1.0, transB=0)
    scale = helper.make_node("Mul", ["y", "k"], ["z"], name="scale")
    graph = helper.make_graph(
        [constant, gemm, scale],
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 4])],
        [
            numpy_helper.from_array(WEIGHT, "w"),
            numpy_helper.from_array(np.zeros(4, np.float32), "b"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def _edited(edit: Edit) -> bytes:
    model = _model()
    edit(model)
    data: bytes = model.SerializeToString()
    return data


def _one_weight(model: onnx.ModelProto) -> None:
    changed = WEIGHT.copy()
    changed[0, 0] += 1e-6
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(changed, "w"))


def _swapped(model: onnx.ModelProto) -> None:
    """The same numbers under each other's names."""
    for item, name in zip(model.graph.initializer, ("b", "w"), strict=True):
        item.name = name
    model.graph.node[1].input[1:] = ["b", "w"]


def _constant(model: onnx.ModelProto) -> None:
    node = model.graph.node[0]
    node.attribute[0].t.CopyFrom(numpy_helper.from_array(np.array([3.0], np.float32)))


def _renamed_output(model: onnx.ModelProto) -> None:
    model.graph.node[2].output[0] = model.graph.output[0].name = "scores"


WEIGHTS: dict[str, Edit] = {"one": _one_weight, "a constant": _constant}
TOPOLOGY: dict[str, Edit] = {
    "operator": lambda model: setattr(model.graph.node[2], "op_type", "Add"),
    "attribute": lambda model: setattr(model.graph.node[1].attribute[0], "f", 0.5),
    "operands": lambda model: model.graph.node[2].input.reverse(),
    "opset": lambda model: setattr(model.opset_import[0], "version", 18),
    "output": _renamed_output,
}
NOTHING: dict[str, Edit] = {
    "node name": lambda model: setattr(model.graph.node[2], "name", "other"),
    "note": lambda model: setattr(model.graph, "doc_string", "made on a Monday"),
    "producer": lambda model: setattr(model, "producer_name", "somebody"),
    "metadata": lambda model: helper.set_model_props(model, {"author": "somebody"}),
    "order": lambda model: model.graph.initializer.reverse(),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_a_changed_weight_leaves_the_topology(name):
    before, after = graph_digests(_edited(lambda _: None)), graph_digests(_edited(WEIGHTS[name]))
    assert before.topology == after.topology
    assert before.weights != after.weights


def test_the_changed_initializer_is_named():
    before, after = graph_digests(_edited(lambda _: None)), graph_digests(_edited(_one_weight))
    assert before.tensors.keys() == {"w", "b"}
    assert [n for n in before.tensors if before.tensors[n] != after.tensors[n]] == ["w"]


@pytest.mark.parametrize("name", TOPOLOGY)
def test_a_changed_topology_leaves_the_weights(name):
    before, after = graph_digests(_edited(lambda _: None)), graph_digests(_edited(TOPOLOGY[name]))
    assert before.topology != after.topology
    assert before.weights == after.weights


@pytest.mark.parametrize("name", NOTHING)
def test_what_computes_nothing_changes_nothing(name):
    data = _edited(NOTHING[name])
    assert data != _edited(lambda _: None)
    assert graph_digests(data) == graph_digests(_edited(lambda _: None))


def test_values_under_other_names_are_other_weights():
    assert (
        graph_digests(_edited(_swapped)).weights != graph_digests(_edited(lambda _: None)).weights
    )


@pytest.mark.parametrize(
    ("kind", "array"),
    [
        (TensorProto.FLOAT, WEIGHT),
        (TensorProto.INT8, np.arange(-6, 6, dtype=np.int8).reshape(3, 4)),
        (TensorProto.INT32, np.arange(-6, 6, dtype=np.int32).reshape(3, 4)),
        (TensorProto.INT64, np.arange(-6, 6).reshape(3, 4)),
        (TensorProto.UINT8, np.arange(244, 256, dtype=np.uint8).reshape(3, 4)),
        (TensorProto.DOUBLE, WEIGHT.astype(np.float64)),
    ],
)
def test_either_form_of_storing_a_tensor_has_one_digest(kind, array):
    def store(*, raw: bool) -> bytes:
        values = array.tobytes() if raw else array.ravel().tolist()
        tensor = helper.make_tensor("extra", kind, array.shape, values, raw=raw)
        return _edited(lambda model: model.graph.initializer.append(tensor))

    assert store(raw=True) != store(raw=False)
    assert graph_digests(store(raw=True)) == graph_digests(store(raw=False))


def test_scales_of_a_quantized_graph_are_weights():
    model = onnx.load_model_from_string(QUANTIZED)
    scale = next(item for item in model.graph.initializer if item.data_type == TensorProto.FLOAT)
    scale.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(scale) / 2, scale.name))
    before, after = graph_digests(QUANTIZED), graph_digests(model.SerializeToString())
    assert before.topology == after.topology
    assert before.weights != after.weights


def test_what_is_no_graph_is_refused():
    with pytest.raises(GraphRefusedError):
        graph_digests(b"no graph")
