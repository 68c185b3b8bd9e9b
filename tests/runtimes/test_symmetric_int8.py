"""Rules of form B on graphs made by hand with onnx: a good one, and one with each fault planted.

What TensorRT's own parser says of each of them stands in docs/quantization.md.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from medsdk_runtimes.errors import GraphRefusedError, QuantizationRefusedError
from medsdk_runtimes.symmetric_int8 import faults_of, require_symmetric_int8

Array = NDArray[np.generic]


def good() -> onnx.ModelProto:
    """Conv, Relu, Conv, pool, Gemm; every layer in 8 bits, every bias in float."""
    rng = np.random.default_rng(3)
    constants: dict[str, Array] = {"b1": np.zeros(4, np.float32), "b3": np.zeros(2, np.float32)}
    for name, shape, channels in (
        ("w1", (4, 3, 3, 3), 4),
        ("w2", (4, 4, 3, 3), 4),
        ("w3", (4, 2), 2),
    ):
        constants[name] = rng.integers(-127, 128, shape).astype(np.int8)
        constants[f"{name}_s"] = rng.uniform(0.01, 0.02, channels).astype(np.float32)
        constants[f"{name}_z"] = np.zeros(channels, np.int8)
    for name in ("image", "x2", "x3"):
        constants[f"{name}_s"] = np.array(0.02, np.float32)
        constants[f"{name}_z"] = np.array(0, np.int8)

    def quantize(name: str) -> list[onnx.NodeProto]:
        parameters = [f"{name}_s", f"{name}_z"]
        return [
            helper.make_node("QuantizeLinear", [name, *parameters], [f"{name}_q"], f"q-{name}"),
            helper.make_node(
                "DequantizeLinear", [f"{name}_q", *parameters], [f"{name}_d"], f"dq-{name}"
            ),
        ]

    def weights(name: str, axis: int) -> onnx.NodeProto:
        inputs = [name, f"{name}_s", f"{name}_z"]
        return helper.make_node("DequantizeLinear", inputs, [f"{name}_d"], f"dq-{name}", axis=axis)

    nodes = [
        *quantize("image"),
        weights("w1", 0),
        helper.make_node("Conv", ["image_d", "w1_d", "b1"], ["c1"], "conv1"),
        helper.make_node("Relu", ["c1"], ["x2"], "relu"),
        *quantize("x2"),
        weights("w2", 0),
        helper.make_node("Conv", ["x2_d", "w2_d"], ["c2"], "conv2"),
        helper.make_node("GlobalAveragePool", ["c2"], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["x3"], "flatten"),
        *quantize("x3"),
        weights("w3", 1),
        helper.make_node("Gemm", ["x3_d", "w3_d", "b3"], ["logits"], "dense"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def _node(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    found: onnx.NodeProto = next(node for node in model.graph.node if node.name == name)
    return found


def _set(model: onnx.ModelProto, name: str, array: Array) -> None:
    old = next(item for item in model.graph.initializer if item.name == name)
    old.CopyFrom(numpy_helper.from_array(array, name))


def _value(model: onnx.ModelProto, name: str) -> Array:
    return numpy_helper.to_array(next(i for i in model.graph.initializer if i.name == name)).copy()


def _insert(model: onnx.ModelProto, *nodes: onnx.NodeProto) -> None:
    later = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *later])


def _constant(name: str, array: Array) -> Callable[[onnx.ModelProto], None]:
    return lambda model: _set(model, name, array)


def _one_channel(model: onnx.ModelProto) -> None:
    _set(model, "w1_z", np.array([0, 0, 3, 0], np.int8))


def _no_zero_point(model: onnx.ModelProto) -> None:
    for name in ("q-image", "dq-image"):
        del _node(model, name).input[2]


def _from_outside(name: str, kind: int) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        old = next(item for item in model.graph.initializer if item.name == name)
        model.graph.initializer.remove(old)
        model.graph.input.append(helper.make_tensor_value_info(name, kind, ()))

    return change


def _computed_scale(model: onnx.ModelProto) -> None:
    _insert(model, helper.make_node("Identity", ["image_s"], ["image_s2"], "identity"))
    for name in ("q-image", "dq-image"):
        _node(model, name).input[1] = "image_s2"


def _bias(dtype: type[np.int32] | type[np.int8]) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        for name, array in {
            "b1_q": np.ones(4, dtype),
            "b1_s": np.ones(4, np.float32),
            "b1_z": np.zeros(4, dtype),
        }.items():
            model.graph.initializer.append(numpy_helper.from_array(array, name))
        inputs = ["b1_q", "b1_s", "b1_z"]
        _insert(model, helper.make_node("DequantizeLinear", inputs, ["b1_d"], "dq-b1", axis=0))
        _node(model, "conv1").input[2] = "b1_d"

    return change


def _attribute(node: str, name: str, value: int) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        found = _node(model, node)
        for item in [item for item in found.attribute if item.name == name]:
            found.attribute.remove(item)
        found.attribute.append(helper.make_attribute(name, value))

    return change


def _scales_of_an_activation(model: onnx.ModelProto) -> None:
    _set(model, "x2_s", np.full(4, 0.02, np.float32))
    _set(model, "x2_z", np.zeros(4, np.int8))


def _without_dequantize(model: onnx.ModelProto) -> None:
    """The integers go through a Cast instead."""
    dequantize = _node(model, "dq-x2")
    dequantize.op_type = "Cast"
    del dequantize.input[1:]
    dequantize.attribute.append(helper.make_attribute("to", TensorProto.FLOAT))


def _integers_as_output(model: onnx.ModelProto) -> None:
    shape: list[str | int | None] = ["n", 4, 6, 6]
    model.graph.output.append(helper.make_tensor_value_info("x2_q", TensorProto.INT8, shape))


def _integers_as_input(model: onnx.ModelProto) -> None:
    model.graph.node.remove(_node(model, "q-image"))
    model.graph.input[0].CopyFrom(
        helper.make_tensor_value_info("image_q", TensorProto.INT8, ["n", 3, 8, 8])
    )


def _other_scale(model: onnx.ModelProto) -> None:
    other = numpy_helper.from_array(np.array(0.04, np.float32), "other")
    model.graph.initializer.append(other)
    _node(model, "dq-x2").input[1] = "other"


def _float_weights(model: onnx.ModelProto) -> None:
    _set(model, "w2", _value(model, "w2").astype(np.float32))
    _node(model, "conv2").input[1] = "w2"
    model.graph.node.remove(_node(model, "dq-w2"))


def _float_activations(model: onnx.ModelProto) -> None:
    _node(model, "conv2").input[0] = "x2"
    for name in ("q-x2", "dq-x2"):
        model.graph.node.remove(_node(model, name))


def _integer_operator(model: onnx.ModelProto) -> None:
    conv = _node(model, "conv2")
    conv.op_type = "ConvInteger"
    conv.input[0], conv.input[1] = "x2_q", "w2"
    conv.output[0] = "c2_i"
    for name in ("dq-x2", "dq-w2"):
        model.graph.node.remove(_node(model, name))
    index = list(model.graph.node).index(conv)
    cast = helper.make_node("Cast", ["c2_i"], ["c2"], "cast", to=TensorProto.FLOAT)
    model.graph.node.insert(index + 1, cast)


def _dynamic(model: onnx.ModelProto) -> None:
    node = helper.make_node("DynamicQuantizeLinear", ["image"], ["a", "b", "c"], "dynamic")
    _insert(model, node)


def _in_a_branch(model: onnx.ModelProto) -> None:
    """The last pair moves into both branches of an If, which may see what is around them."""
    pair = [_node(model, "q-x3"), _node(model, "dq-x3")]
    branch = helper.make_graph(
        pair, "branch", [], [helper.make_tensor_value_info("x3_d", TensorProto.FLOAT, ["n", 4])]
    )
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    node = helper.make_node("If", ["yes"], ["x3_f"], "if", then_branch=branch, else_branch=branch)
    index = list(model.graph.node).index(pair[0])
    model.graph.node.insert(index, node)
    for item in pair:
        model.graph.node.remove(item)
    _node(model, "dense").input[0] = "x3_f"


def _float_only(model: onnx.ModelProto) -> None:
    for name in ("w1", "w2", "w3"):
        _set(model, name, _value(model, name).astype(np.float32))
    for node in [
        node
        for node in model.graph.node
        if "Quantize" in node.op_type or "Dequantize" in node.op_type
    ]:
        model.graph.node.remove(node)
    for layer, operands in {
        "conv1": ("image", "w1"),
        "conv2": ("x2", "w2"),
        "dense": ("x3", "w3"),
    }.items():
        _node(model, layer).input[0], _node(model, layer).input[1] = operands


def _before_the_tail(*nodes: onnx.NodeProto) -> Callable[[onnx.ModelProto], None]:
    """Nodes from `p`, the pooled values, to `p_2`, which the tail reads in its place."""

    def change(model: onnx.ModelProto) -> None:
        place = list(model.graph.node).index(_node(model, "flatten"))
        for offset, node in enumerate(nodes):
            model.graph.node.insert(place + offset, node)
        _node(model, "flatten").input[0] = "p_2"

    return change


_TO_BYTES = (
    helper.make_node("Cast", ["p"], ["p_1"], "to-bytes", to=TensorProto.UINT8),
    helper.make_node("Cast", ["p_1"], ["p_2"], "to-float", to=TensorProto.FLOAT),
)


def _bytes_in_the_trunk(model: onnx.ModelProto) -> None:
    table = np.zeros((1, 4, 1, 1), np.uint8)
    model.graph.initializer.append(numpy_helper.from_array(table, "table"))
    _before_the_tail(
        helper.make_node("Cast", ["table"], ["p_1"], "table-to-float", to=TensorProto.FLOAT),
        helper.make_node("Add", ["p", "p_1"], ["p_2"], "add-table"),
    )(model)


def _bytes_come_in(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    _insert(model, helper.make_node("Cast", ["image"], ["pixels"], "cast", to=TensorProto.FLOAT))
    _node(model, "q-image").input[0] = "pixels"


def _old_opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 12


def _read_in_a_branch(model: onnx.ModelProto) -> None:
    """Both branches of an If take the integers of a Q and the float of a weight's DQ."""
    shown = helper.make_tensor_value_info("seen", TensorProto.FLOAT, None)
    nodes = [
        helper.make_node("Cast", ["x2_q"], ["seen_q"], to=TensorProto.FLOAT),
        helper.make_node("Conv", ["seen_q", "w2_d"], ["seen"]),
    ]
    branch = helper.make_graph(nodes, "branch", [], [shown])
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    model.graph.node.append(
        helper.make_node("If", ["yes"], ["seen_2"], "if", then_branch=branch, else_branch=branch)
    )


FAULTS: dict[str, tuple[Callable[[onnx.ModelProto], None], set[tuple[str, str]]]] = {
    "unsigned": (
        _constant("image_z", np.array(0, np.uint8)),
        {("int8", "q-image"), ("int8", "dq-image")},
    ),
    "unsigned, asymmetric": (
        _constant("image_z", np.array(128, np.uint8)),
        {(rule, node) for rule in ("int8", "zero-point") for node in ("q-image", "dq-image")},
    ),
    "asymmetric": (
        _constant("image_z", np.array(1, np.int8)),
        {("zero-point", "q-image"), ("zero-point", "dq-image")},
    ),
    "one channel asymmetric": (_one_channel, {("zero-point", "dq-w1")}),
    "no zero point": (_no_zero_point, {("int8", "q-image")}),
    "output_dtype UINT8": (_attribute("q-image", "output_dtype", 2), {("int8", "q-image")}),
    "unsigned weights": (
        _constant("w1", np.ones((4, 3, 3, 3), np.uint8)),
        {("int8", "dq-w1")},
    ),
    "zero point from outside": (
        _from_outside("image_z", TensorProto.INT8),
        {("constant", "q-image"), ("constant", "dq-image")},
    ),
    "scale from outside": (
        _from_outside("image_s", TensorProto.FLOAT),
        {("constant", "q-image"), ("constant", "dq-image")},
    ),
    "computed scale": (_computed_scale, {("constant", "q-image"), ("constant", "dq-image")}),
    **{
        f"scale {value}": (
            _constant("w1_s", np.array([0.1, value, 0.1, 0.1], np.float32)),
            {("scale", "dq-w1")},
        )
        for value in (0.0, -0.1, np.nan, np.inf)
    },
    "scale in float64": (_constant("w1_s", np.full(4, 0.1)), {("scale", "dq-w1")}),
    "INT32 bias": (_bias(np.int32), {("bias", "dq-b1"), ("bias", "conv1")}),
    "INT8 bias": (_bias(np.int8), {("bias", "conv1"), ("axis", "dq-b1")}),
    "too many scales": (_attribute("dq-w1", "axis", 1), {("axis", "dq-w1")}),
    "input channels": (_attribute("dq-w2", "axis", 1), {("axis", "dq-w2")}),
    "axis from the back": (_attribute("dq-w1", "axis", -4), set()),  # a good one
    "no such axis": (_attribute("dq-w1", "axis", 4), {("axis", "dq-w1")}),
    "rows of a dense layer": (_attribute("dense", "transB", 1), {("axis", "dq-w3")}),
    "activation per channel": (
        _scales_of_an_activation,
        {("axis", "q-x2"), ("axis", "dq-x2")},
    ),
    "zero points of another shape": (
        _constant("w1_z", np.array(0, np.int8)),
        {("axis", "dq-w1")},
    ),
    "blocks": (_attribute("dq-w1", "block_size", 2), {("axis", "dq-w1")}),
    "Q without DQ": (_without_dequantize, {("pair", "q-x2"), ("operands", "conv2")}),
    "integers leave": (_integers_as_output, {("pair", "q-x2")}),
    "integers come in": (_integers_as_input, {("pair", "dq-image")}),
    "another scale": (_other_scale, {("pair", "dq-x2")}),
    "weights in float": (_float_weights, {("operands", "conv2")}),
    "activations in float": (_float_activations, {("operands", "conv2")}),
    "integer operator": (_integer_operator, {("operator", "conv2"), ("pair", "q-x2")}),
    "dynamic": (_dynamic, {("operator", "dynamic")}),
    "in a branch": (_in_a_branch, {("operands", "dense"), ("subgraph", "")}),
    "a Cast to bytes": (_before_the_tail(*_TO_BYTES), {("int8", "to-bytes")}),
    "bytes in the trunk": (_bytes_in_the_trunk, {("int8", "table-to-float")}),
    "bytes come in": (_bytes_come_in, {("int8", "")}),
    "old opset": (_old_opset, {("operator", "")}),
    "read in a branch": (_read_in_a_branch, {("subgraph", "q-x2"), ("subgraph", "dq-w2")}),
    "nothing quantized": (_float_only, {("layers", "")}),
}


def faulty(name: str) -> onnx.ModelProto:
    """The good graph with one fault."""
    model = good()
    FAULTS[name][0](model)
    return model


def test_a_good_graph_has_no_fault_and_is_one() -> None:
    import onnxruntime

    model = good()
    onnx.checker.check_model(model, full_check=True)
    data = model.SerializeToString()
    assert faults_of(data) == ()
    require_symmetric_int8(data, "the graph")
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    assert session.run(None, {"image": np.ones((2, 3, 8, 8), np.float32)})[0].shape == (2, 2)


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_found_where_it_is_and_no_other(name: str) -> None:
    found = faults_of(faulty(name).SerializeToString())
    assert {(fault.rule, fault.node) for fault in found} == FAULTS[name][1]
    assert len(set(found)) == len(found)
    assert all(fault.got and fault.expected for fault in found)


def test_every_rule_has_a_fault() -> None:
    from typing import get_args

    from medsdk_runtimes.symmetric_int8 import Rule

    planted = {rule for _, faults in FAULTS.values() for rule, _ in faults}
    assert planted == set(get_args(Rule))


def test_a_refusal_names_the_node_and_counts_the_rest() -> None:
    data = faulty("unsigned, asymmetric").SerializeToString()
    with pytest.raises(QuantizationRefusedError) as caught:
        require_symmetric_int8(data, "int8-gpu of 'filter'")
    error = caught.value
    assert isinstance(error, GraphRefusedError)
    assert (error.code, error.exit_status) == ("quantization-refused", 4)
    assert error.what.startswith("int8-gpu of 'filter' is not quantized as TensorRT takes it")
    assert "'q-image'" in error.got
    assert "uint8" in error.got
    assert error.got.endswith("and 3 more")
    assert error.remedy


@pytest.mark.parametrize("stored", ["raw", "typed", "node"])
def test_constants_are_read_however_they_are_stored(stored: str) -> None:
    """In raw bytes, in typed fields, as Constant nodes; and a fault there is seen as well."""

    def store(model: onnx.ModelProto) -> onnx.ModelProto:
        graph = model.graph
        if stored == "raw":
            return model
        for item in [item for item in graph.initializer if item.name.endswith(("_s", "_z"))]:
            array = numpy_helper.to_array(item)
            values = array.reshape(-1).tolist()
            typed = helper.make_tensor(item.name, item.data_type, array.shape, values)
            assert not typed.raw_data
            if stored == "node":
                graph.initializer.remove(item)
                _insert(model, helper.make_node("Constant", [], [item.name], value=typed))
            else:
                item.CopyFrom(typed)
        return model

    assert faults_of(store(good()).SerializeToString()) == ()
    for name in ("one channel asymmetric", "scale -0.1", "asymmetric"):
        found = faults_of(store(faulty(name)).SerializeToString())
        assert {(fault.rule, fault.node) for fault in found} == FAULTS[name][1]


def test_one_scale_may_be_written_with_an_axis_and_without() -> None:
    model = good()
    scale, zero = (_value(model, f"image_{kind}").reshape(1) for kind in "sz")
    model.graph.initializer.append(numpy_helper.from_array(scale, "image_s1"))
    model.graph.initializer.append(numpy_helper.from_array(zero, "image_z1"))
    _node(model, "dq-image").input[1:] = ["image_s1", "image_z1"]
    assert faults_of(model.SerializeToString()) == ()


def test_negative_zero_points_in_typed_fields_are_read_as_signed() -> None:
    model = good()
    for item in model.graph.initializer:
        if item.name == "image_z":
            item.CopyFrom(helper.make_tensor("image_z", TensorProto.INT8, [], [-128]))
    assert {fault.rule for fault in faults_of(model.SerializeToString())} == {"zero-point"}


def test_a_node_without_a_name_is_named_by_its_output_and_made_printable() -> None:
    model = faulty("INT32 bias")
    node = _node(model, "dq-b1")
    node.name = ""
    found = [fault.node for fault in faults_of(model.SerializeToString()) if fault.rule == "bias"]
    assert "b1_d" in found
    node.name = "a\n\x1b[31m" + "x" * 500
    text = str(faults_of(model.SerializeToString())[0])
    assert text.isprintable()
    assert len(text) < 300


def test_what_is_no_graph_is_refused_as_by_the_scan() -> None:
    data = good().SerializeToString()
    for bad in (b"", b"\x00" * 10, data[: len(data) // 2]):
        with pytest.raises(GraphRefusedError):
            faults_of(bad)
