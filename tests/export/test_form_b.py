"""Form B as it stands in the graph: where the pairs are, and every number in them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from medsdk_export.attempts import make_attempts
from medsdk_export.quantize import CalibrationRecord, calibrate, quantize_form_b
from medsdk_runtimes.symmetric_int8 import faults_of

from .test_form_a import CONSTANTS, _every_tensor, _residual, _samples, _session

Floats = NDArray[np.float32]


class Quantized:
    """A quantized graph and how its edges are made."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.values = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
        self.maker = {name: node for node in model.graph.node for name in node.output}

    def node(self, name: str) -> onnx.NodeProto:
        found: onnx.NodeProto = next(node for node in self.model.graph.node if node.name == name)
        return found

    def pair(self, name: str) -> tuple[onnx.NodeProto | None, onnx.NodeProto] | None:
        """Q and DQ that a tensor comes out of; no Q where integers are stored."""
        last = self.maker.get(name)
        if last is None or last.op_type != "DequantizeLinear":
            return None
        return self.maker.get(last.input[0]), last

    def edges(self) -> set[tuple[str, str]]:
        """Every (node, tensor of the float graph) that is quantized; weights left out."""
        found = set()
        for node in self.model.graph.node:
            for name in node.input:
                pair = self.pair(name)
                if pair is not None and pair[0] is not None:
                    found.add((node.name, pair[0].input[0]))
        return found


def _made(
    nodes: list[onnx.NodeProto], constants: dict[str, Floats], shape: list[int], rank: int = 4
) -> tuple[Quantized, onnx.ModelProto]:
    """Quantize a graph from `image` to `y`, calibrated on noise."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", *shape])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * rank)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    record = calibrate(model, "image", iter([_noise(1, *shape, seed=n) for n in range(3)]))
    quantized = quantize_form_b(model, record)
    onnx.checker.check_model(quantized, full_check=True)
    return Quantized(quantized), model


def _noise(*shape: int, seed: int = 0) -> Floats:
    return np.random.default_rng((seed, *shape)).normal(0, 0.5, shape).astype(np.float32)


def _conv(name: str, source: str, weights: str, result: str, pad: int = 1) -> onnx.NodeProto:
    return helper.make_node("Conv", [source, weights], [result], name, pads=[pad] * 4)


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    return _residual()


@pytest.fixture(scope="module")
def record(model: onnx.ModelProto) -> CalibrationRecord:
    return calibrate(model, "image", iter(_samples()))


@pytest.fixture(scope="module")
def quantized(model: onnx.ModelProto, record: CalibrationRecord) -> Quantized:
    return Quantized(quantize_form_b(model, record))


def test_the_graph_is_valid_onnx_float_at_its_edges_and_takes_any_batch(
    quantized: Quantized,
) -> None:
    onnx.checker.check_model(quantized.model, full_check=True)
    for item in (*quantized.model.graph.input, *quantized.model.graph.output):
        assert item.type.tensor_type.elem_type == TensorProto.FLOAT
    session = _session(quantized.model)
    batch = np.concatenate(_samples(4))
    together = session.run(None, {"image": batch})[0]
    for row, sample in zip(together, _samples(4), strict=True):
        np.testing.assert_allclose(row, session.run(None, {"image": sample})[0][0], atol=1e-5)


def test_nothing_in_it_is_what_tensorrt_refuses(quantized: Quantized) -> None:
    assert faults_of(quantized.model.SerializeToString()) == ()
    kinds = {array.dtype for name, array in quantized.values.items() if "zero_point" in name}
    assert kinds == {np.dtype(np.int8)}
    assert not any(array.dtype in (np.uint8, np.int32) for array in quantized.values.values())


def test_pairs_stand_before_layers_and_on_the_skipping_side_of_a_sum(
    quantized: Quantized,
) -> None:
    """`c2` fuses with the sum; the tail and the sum with a constant stay float (hazard 12)."""
    assert quantized.edges() == {
        ("conv1", "image"),
        ("conv2", "r1"),
        ("residual", "r1"),
        ("conv3", "shifted"),
        ("dense", "features"),
    }
    made = [node for node in quantized.model.graph.node if node.op_type == "QuantizeLinear"]
    assert len(made) == 4  # one Q serves every reader of a tensor
    assert list(quantized.node("relu").input) == ["c1"]  # between a Conv and its Relu: nothing
    assert quantized.node("residual").input[0] == "c2"
    assert list(quantized.node("pool").input) == ["c3"]
    for name, constant in (("tail_mul", "s"), ("tail_add", "t"), ("constant", "k")):
        assert constant in quantized.node(name).input


def test_an_activation_has_one_scale_for_its_largest_magnitude(
    model: onnx.ModelProto, quantized: Quantized
) -> None:
    tensors = _every_tensor(model, _samples())
    seen = 0
    for node in quantized.model.graph.node:
        if node.op_type == "QuantizeLinear":
            scale = quantized.values[node.input[1]]
            assert scale.shape == ()
            assert scale == pytest.approx(np.abs(tensors[node.input[0]]).max() / 127, rel=1e-6)
            seen += 1
    assert seen == 4


@pytest.mark.parametrize(
    ("layer", "constant", "axis"),
    [("conv1", "w1", 0), ("conv2", "w2", 0), ("conv3", "w3", 0), ("dense", "hw", 0)],
)
def test_weights_are_the_nearest_integers_with_a_scale_a_channel(
    layer: str, constant: str, axis: int, quantized: Quantized
) -> None:
    pair = quantized.pair(quantized.node(layer).input[1])
    assert pair is not None
    assert pair[0] is None  # stored as integers
    assert [item.i for item in pair[1].attribute if item.name == "axis"] == [axis]
    stored, scale, zero = (quantized.values[name] for name in pair[1].input)
    original = CONSTANTS[constant]
    assert stored.dtype == zero.dtype == np.int8
    assert not zero.any()
    rows = original.reshape(len(original), -1)
    np.testing.assert_allclose(scale, np.abs(rows).max(1) / 127, rtol=1e-6)
    error = np.abs(stored.reshape(rows.shape) * scale[:, None].astype(np.float64) - rows)
    assert (error <= 0.500001 * scale[:, None]).all()
    assert stored.min() >= -127


def test_biases_are_the_floats_they_were(quantized: Quantized) -> None:
    for layer, constant in (("conv1", "b1"), ("dense", "hb")):
        assert quantized.node(layer).input[2] == constant
        np.testing.assert_array_equal(quantized.values[constant], CONSTANTS[constant])
    assert not {"w1", "w2", "w3", "hw"} & set(quantized.values)  # no float copy stays behind


def test_it_computes_what_onnx_says_and_nearly_what_the_float_graph_does(
    model: onnx.ModelProto, quantized: Quantized
) -> None:
    """ONNX's own evaluator is the second opinion on what Q and DQ mean."""
    newer = onnx.ModelProto()
    newer.CopyFrom(quantized.model)
    newer.opset_import[0].version = 21  # the first that it evaluates; these nodes mean the same
    reference = ReferenceEvaluator(newer)
    logits = _every_tensor(model, _samples())["logits"]
    width = logits.max() - logits.min()
    for sample in _samples():
        (own,) = _session(quantized.model).run(None, {"image": sample})
        (second,) = reference.run(None, {"image": sample})
        (float_,) = _session(model).run(None, {"image": sample})
        # A sum that falls on the other side of a half is a step of the last activation.
        assert np.abs(own - second).max() < 0.02 * width
        assert np.abs(own - float_).max() < 0.05 * width


def test_pooling_and_concatenation_before_a_layer_have_no_pair_of_their_own() -> None:
    constants = {"a": _noise(4, 3, 3, 3), "b": _noise(4, 3, 3, 3, seed=1), "c": _noise(2, 8, 3, 3)}
    nodes = [
        _conv("left", "image", "a", "l"),
        helper.make_node("Relu", ["l"], ["lr"], "lrelu"),
        helper.make_node("MaxPool", ["lr"], ["lp"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["image", "b"], ["r"], "right", pads=[1] * 4, strides=[2, 2]),
        helper.make_node("Concat", ["lp", "r"], ["both"], "concat", axis=1),
        _conv("last", "both", "c", "y"),
    ]
    quantized, _ = _made(nodes, constants, [3, 8, 8])
    assert quantized.edges() == {("left", "image"), ("right", "image"), ("last", "both")}


def _sum(left: str, right: str) -> tuple[list[onnx.NodeProto], dict[str, Floats]]:
    """Two convolutions, each with its Relu, a sum of two of the four, a third convolution."""
    nodes = [
        _conv("one", "image", "a", "c1"),
        helper.make_node("Relu", ["c1"], ["r1"], "relu1"),
        _conv("two", "image", "b", "c2"),
        helper.make_node("Relu", ["c2"], ["r2"], "relu2"),
        helper.make_node("Add", [left, right], ["sum"], "add"),
        _conv("three", "sum", "c", "y"),
    ]
    kept = [
        node
        for node in nodes
        if not (node.op_type == "Relu" and node.output[0] not in (left, right))
    ]
    constants = {"a": _noise(3, 3, 3, 3), "b": _noise(3, 3, 3, 3, seed=1), "c": _noise(2, 3, 3, 3)}
    return kept, constants


@pytest.mark.parametrize(
    ("left", "right", "sides"),
    [
        ("c1", "image", {"image"}),  # the other side of a lone convolution
        ("image", "c2", {"image"}),
        ("r1", "c2", {"r1"}),
        ("c1", "c2", {"c2"}),  # a projected skip: one of the two fuses
        ("r1", "r2", {"r1", "r2"}),  # neither fuses, so the sum itself has integer sides
    ],
)
def test_of_a_residual_sum_only_what_does_not_fuse_is_quantized(
    left: str, right: str, sides: set[str]
) -> None:
    nodes, constants = _sum(left, right)
    quantized, _ = _made(nodes, constants, [3, 8, 8])
    assert {name for node, name in quantized.edges() if node == "add"} == sides
    assert ("three", "sum") in quantized.edges()
    assert faults_of(quantized.model.SerializeToString()) == ()


def test_a_sum_behind_the_last_layer_stays_float() -> None:
    nodes = [
        _conv("one", "image", "a", "c1"),
        helper.make_node("Relu", ["image"], ["r"], "relu"),
        helper.make_node("Add", ["c1", "r"], ["y"], "add"),
    ]
    quantized, _ = _made(nodes, {"a": _noise(3, 3, 3, 3)}, [3, 8, 8])
    assert quantized.edges() == {("one", "image")}


def _dense_layers() -> Iterator[tuple[str, list[onnx.NodeProto], Floats, int | None]]:
    gemm = helper.make_node("Gemm", ["image", "w"], ["y"], "dense")
    yield "Gemm", [gemm], _noise(6, 4), 1
    across = helper.make_node("Gemm", ["image", "w"], ["y"], "dense", transB=1)
    yield "Gemm transB", [across], _noise(4, 6), 0
    matmul = helper.make_node("MatMul", ["image", "w"], ["y"], "dense")
    yield "MatMul", [matmul], _noise(6, 4), 1
    yield "MatMul by a stack", [matmul], _noise(2, 6, 4), None


@pytest.mark.parametrize(("nodes", "weights", "axis"), [case[1:] for case in _dense_layers()])
def test_dense_weights_have_a_scale_a_column(
    nodes: list[onnx.NodeProto], weights: Floats, axis: int | None
) -> None:
    quantized, model = _made(nodes, {"w": weights}, [6], weights.ndim)
    pair = quantized.pair(quantized.node("dense").input[1])
    assert pair is not None
    _, scale, _ = (quantized.values[name] for name in pair[1].input)
    others = tuple(i for i in range(weights.ndim) if i != axis)
    largest = np.abs(weights).max(others if axis is not None else None)
    np.testing.assert_allclose(scale, largest / 127, rtol=1e-6)
    assert [item.i for item in pair[1].attribute] == ([] if axis is None else [axis])
    sample = _noise(1, 6)
    (want,), (got,) = (
        _session(item).run(None, {"image": sample}) for item in (model, quantized.model)
    )
    assert np.abs(want - got).max() < 0.05


def test_zeros_shared_weights_and_names_that_are_taken() -> None:
    weights = _noise(3, 3, 3, 3)
    weights[1] = 0.0  # a pruned channel
    nodes = [
        _conv("one", "image", "w", "x"),
        helper.make_node("Relu", ["x"], ["image_quantized"], "image_QuantizeLinear"),
        _conv("two", "image_quantized", "w", "y"),
    ]
    quantized, _ = _made(nodes, {"w": weights}, [3, 8, 8])
    assert faults_of(quantized.model.SerializeToString()) == ()
    names = [node.name for node in quantized.model.graph.node]
    assert len(set(names)) == len(names)
    one, two = (quantized.node(name).input[1] for name in ("one", "two"))
    assert one == two
    pair = quantized.pair(one)
    assert pair is not None
    stored, scale, _ = (quantized.values[name] for name in pair[1].input)
    assert scale[1] == 1.0
    assert not stored[1].any()


def test_a_float_reader_of_a_quantized_tensor_still_reads_the_floats() -> None:
    """Edges are quantized, not tensors: a tail that taps the trunk loses nothing."""
    nodes = [
        _conv("one", "image", "a", "c1"),
        helper.make_node("Relu", ["c1"], ["r1"], "relu"),
        _conv("two", "r1", "b", "c2"),
        helper.make_node("Mul", ["c2", "r1"], ["y"], "gate"),
    ]
    constants = {"a": _noise(3, 3, 3, 3), "b": _noise(3, 3, 3, 3, seed=1)}
    quantized, _ = _made(nodes, constants, [3, 8, 8])
    assert list(quantized.node("gate").input) == ["c2", "r1"]


def test_a_range_that_is_no_number_is_a_fault_and_no_graph_to_run(
    model: onnx.ModelProto, record: CalibrationRecord
) -> None:
    broken = CalibrationRecord({**record.ranges, "r1": (0.0, float("inf"))}, record.samples)
    attempts = {attempt.variant: attempt for attempt in make_attempts(model, record)}
    assert attempts["int8-gpu"].faults == ()
    assert attempts["int8-gpu"].form == "gpu"
    assert attempts["int8-gpu"].facts["quantize_linear_nodes"] == 4
    graph = quantize_form_b(model, broken)
    assert {fault.rule for fault in faults_of(graph.SerializeToString())} == {"scale"}


def test_form_a_breaks_the_rules_of_form_b(
    model: onnx.ModelProto, record: CalibrationRecord
) -> None:
    for attempt in make_attempts(model, record):
        rules = {fault.rule for fault in faults_of(attempt.onnx)}
        assert (
            rules
            == {
                "fp32": {"layers"},
                "int8-cpu": {"int8", "zero-point", "bias"},
                "int8-gpu": set(),
            }[attempt.variant]
        )
