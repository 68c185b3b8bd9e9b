"""Foreign .onnx files: what is refused and why, and what preparing a graph may change."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from medsdk.tasks import Task
from medsdk_export.errors import GraphMismatchError, SourceUnreadableError
from medsdk_export.graphs import fold_batch_norms, prepare
from medsdk_export.sources import read_source

SIDE = 32
Floats = NDArray[np.float32]
Dims = Sequence[str | int | None]


def _floats(*shape: int, seed: int = 0) -> Floats:
    return np.random.default_rng((seed, *shape)).normal(0, 0.5, shape).astype(np.float32)


WEIGHTS = {"w": _floats(4, 3, 3, 3), "hw": _floats(2, 4), "hb": _floats(2)}
NODES = (
    helper.make_node("Conv", ["image", "w"], ["conv"]),
    helper.make_node("GlobalAveragePool", ["conv"], ["pool"]),
    helper.make_node("Flatten", ["pool"], ["features"]),
    helper.make_node("Gemm", ["features", "hw", "hb"], ["logits"], transB=1),
)


def _model(
    nodes: Sequence[onnx.NodeProto] = NODES,
    constants: Mapping[str, Floats] = WEIGHTS,
    *,
    inputs: Sequence[tuple[str, Dims]] = (("image", ("n", 3, SIDE, SIDE)),),
    outputs: Sequence[tuple[str, Dims]] = (("logits", ("n", 2)),),
    output_type: int = TensorProto.FLOAT,
    opset: int = 17,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in inputs],
        [helper.make_tensor_value_info(n, output_type, shape) for n, shape in outputs],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def _run(model: onnx.ModelProto, image: Floats) -> Floats:
    """The graph as it is, by ONNX Runtime alone, with nothing folded there."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    result: Floats = session.run(None, {"image": image})[0]
    return result


def _types(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


@pytest.fixture
def read(make_task: Callable[..., Task], tmp_path: Path) -> Callable[..., Any]:
    def read(data: bytes | onnx.ModelProto, *replacements: tuple[str, str]) -> Any:
        path = tmp_path / "model.onnx"
        path.write_bytes(data if isinstance(data, bytes) else data.SerializeToString())
        return read_source(path, make_task(*replacements).networks["filter"])

    return read


# What is refused


def test_a_good_graph_is_read_and_computes_what_the_file_does(read: Callable[..., Any]) -> None:
    model = _model()
    source = read(model)
    image = _floats(3, 3, SIDE, SIDE, seed=1)
    np.testing.assert_array_equal(source.reference(image)["logits"], _run(model, image))
    np.testing.assert_allclose(_run(source.model, image), _run(model, image), atol=1e-5)
    assert source.fixed_batch is None


def test_external_data_is_refused(read: Callable[..., Any], tmp_path: Path) -> None:
    onnx.save(
        _model(),
        tmp_path / "outside.onnx",
        save_as_external_data=True,
        location="weights.data",
        size_threshold=0,
    )
    assert (tmp_path / "weights.data").stat().st_size > 0
    with pytest.raises(SourceUnreadableError, match="another file") as caught:
        read((tmp_path / "outside.onnx").read_bytes())
    assert "external_data=False" in caught.value.remedy


@pytest.mark.parametrize("where", ["node", "import", "function"])
def test_custom_domains_are_refused(where: str, read: Callable[..., Any]) -> None:
    model = _model()
    if where == "node":
        model.graph.node[0].domain = "com.vendor"
        model.opset_import.append(helper.make_opsetid("com.vendor", 1))
    elif where == "import":
        model.opset_import.append(helper.make_opsetid("ai.onnx.contrib", 1))
    else:
        model.functions.append(
            helper.make_function(
                "com.vendor",
                "Magic",
                ["x"],
                ["y"],
                [helper.make_node("Identity", ["x"], ["y"])],
                [helper.make_opsetid("", 17)],
            )
        )
    with pytest.raises(SourceUnreadableError, match=r"com\.vendor|ai\.onnx\.contrib"):
        read(model)


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (_model(inputs=(("x", ("n", 3, SIDE, SIDE)),), nodes=[
            helper.make_node("Conv", ["x", "w"], ["conv"]), *NODES[1:]]), "'x' float32"),
        (_model(outputs=(("conv", ("n", 4, 30, 30)),)), "'conv' float32"),
        (_model(outputs=(("logits", ("n", 2)), ("conv", ("n", 4, 30, 30)))), "'conv' float32"),
        (_model(inputs=(("image", ("n", 3, SIDE, SIDE)), ("more", (1,)))), "'more' float32"),
        (_model(inputs=(("image", ("n", 3, SIDE, 48)),)), "another shape or dtype"),
        (_model(inputs=(("image", ("n", SIDE, SIDE, 3)),), nodes=[
            helper.make_node("Transpose", ["image"], ["t"], perm=[0, 3, 1, 2]),
            helper.make_node("Conv", ["t", "w"], ["conv"]), *NODES[1:]]),
         "another shape or dtype"),
        (_model(inputs=(("image", (1, 3, SIDE, SIDE)),), outputs=(("logits", (1, 2)),)), "got: 1;"),
        (_model(inputs=(("image", (4, 3, SIDE, SIDE)),), outputs=(("logits", (4, 2)),)), "got: 4;"),
        (_model(constants=WEIGHTS | {"hw": _floats(3, 4), "hb": _floats(3)},
                outputs=(("logits", ("n", 3)),)), "output 'logits' has another shape"),
        (_model(outputs=(("logits", ("n", 2, 1)),), nodes=[
            *NODES[:3], helper.make_node("Gemm", ["features", "hw", "hb"], ["g"], transB=1),
            helper.make_node("Unsqueeze", ["g", "axes"], ["logits"])],
            constants=WEIGHTS | {"axes": np.array([2], np.int64)}),
         "output 'logits' has another shape"),
        (_model(output_type=TensorProto.DOUBLE, nodes=[
            *NODES[:3], helper.make_node("Gemm", ["features", "hw", "hb"], ["g"], transB=1),
            helper.make_node("Cast", ["g"], ["logits"], to=TensorProto.DOUBLE)]), "float64"),
        (_model(opset=11), "got: 11;"),
        (_model(opset=22), "got: 22;"),
    ],
    ids=["input-name", "output-name", "extra-output", "extra-input", "size", "nhwc", "batch-1",
         "batch-4", "classes", "rank", "double", "opset-11", "opset-22"],
)  # fmt: skip
def test_another_graph_than_the_task_describes_is_refused(
    model: onnx.ModelProto, says: str, read: Callable[..., Any]
) -> None:
    with pytest.raises(GraphMismatchError) as caught:
        read(model)
    assert says in str(caught.value)
    assert caught.value.exit_status == 2


def test_a_fixed_batch_is_taken_where_the_task_declares_it(read: Callable[..., Any]) -> None:
    one = _model(inputs=(("image", (1, 3, SIDE, SIDE)),), outputs=(("logits", (1, 2)),))
    assert read(one, ('batch = "dynamic"', "batch = 1")).fixed_batch == 1
    with pytest.raises(GraphMismatchError, match="got: dynamic"):
        read(_model(), ('batch = "dynamic"', "batch = 1"))
    four = _model(inputs=(("image", (4, 3, SIDE, SIDE)),), outputs=(("logits", (4, 2)),))
    source = read(four, ('batch = "dynamic"', "batch = 4"))
    assert source.fixed_batch == 4
    images = _floats(4, 3, SIDE, SIDE, seed=2)
    every = source.reference(images)["logits"]
    np.testing.assert_allclose(every, _run(_model(), images), atol=1e-6)
    # One image fills the batch and comes back as one row.
    np.testing.assert_allclose(source.reference(images[2:3])["logits"], every[2:3], atol=1e-6)
    with pytest.raises(GraphMismatchError, match="not one row for each image"):
        read(
            _model(
                [
                    *NODES[:3],
                    helper.make_node("Gemm", ["features", "hw", "hb"], ["all"], transB=1),
                    helper.make_node("Slice", ["all", "from", "to"], ["logits"]),
                ],
                WEIGHTS | {"from": np.array([0], np.int64), "to": np.array([2], np.int64)},
                inputs=(("image", (4, 3, SIDE, SIDE)),),
                outputs=(("logits", (2, 2)),),
            ),
            ('batch = "dynamic"', "batch = 4"),
        )


def test_channels_last_is_taken_where_the_task_declares_it(read: Callable[..., Any]) -> None:
    last = _model(
        [
            helper.make_node("Transpose", ["image"], ["first"], perm=[0, 3, 1, 2]),
            helper.make_node("Conv", ["first", "w"], ["conv"]),
            *NODES[1:],
        ],
        inputs=(("image", ("n", SIDE, SIDE, 3)),),
    )
    image = _floats(2, SIDE, SIDE, 3, seed=3)
    got = read(last, ('layout = "nchw"', 'layout = "nhwc"')).reference(image)["logits"]
    np.testing.assert_allclose(got, _run(_model(), image.transpose(0, 3, 1, 2)), atol=1e-6)
    with pytest.raises(GraphMismatchError) as caught:
        read(last)
    assert "layout = 'nhwc'" in caught.value.remedy
    with pytest.raises(GraphMismatchError) as caught:
        read(_model(), ('layout = "nchw"', 'layout = "nhwc"'))
    assert "layout = 'nchw'" in caught.value.remedy


@pytest.mark.parametrize("operator", ["QuantizeLinear", "DynamicQuantizeLinear", "ConvInteger"])
def test_quantized_graphs_are_refused(operator: str, read: Callable[..., Any]) -> None:
    constants: dict[str, Any] = dict(WEIGHTS)
    head = NODES[1:]
    if operator == "QuantizeLinear":
        constants |= {"scale": np.array(0.1, np.float32), "zero": np.array(7, np.uint8)}
        nodes = [
            helper.make_node("QuantizeLinear", ["image", "scale", "zero"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
            helper.make_node("Conv", ["d", "w"], ["conv"]),
        ]
    elif operator == "DynamicQuantizeLinear":
        nodes = [
            helper.make_node("DynamicQuantizeLinear", ["image"], ["q", "s", "z"]),
            helper.make_node("Cast", ["q"], ["f"], to=TensorProto.FLOAT),
            helper.make_node("Conv", ["f", "w"], ["conv"]),
        ]
    else:
        constants["wi"] = np.ones((4, 3, 3, 3), np.uint8)
        nodes = [
            helper.make_node("Cast", ["image"], ["q"], to=TensorProto.UINT8),
            helper.make_node("ConvInteger", ["q", "wi"], ["i"]),
            helper.make_node("Cast", ["i"], ["conv"], to=TensorProto.FLOAT),
        ]
    with pytest.raises(GraphMismatchError, match=f"quantized already.*{operator}"):
        read(_model([*nodes, *head], constants))


def test_truncated_files_are_refused_at_every_length(read: Callable[..., Any]) -> None:
    data = _model().SerializeToString()
    for length in [*range(0, 60, 3), *range(60, len(data), 97), len(data) - 1]:
        with pytest.raises(SourceUnreadableError):
            read(data[:length])


@pytest.mark.parametrize("dims", [[100_000, 25_000], [2**40], [-1, 4], [2**31, 2**31, 2**31, 4]])
def test_sizes_that_a_header_claims_are_refused_before_anything_is_allocated(
    dims: list[int], read: Callable[..., Any]
) -> None:
    model = _model()
    del model.graph.initializer[0].dims[:]
    model.graph.initializer[0].dims.extend(dims)
    with pytest.raises(SourceUnreadableError) as caught:
        read(model)
    assert "MemoryError" not in str(caught.value)


def test_a_graph_that_onnx_calls_invalid_is_refused(read: Callable[..., Any]) -> None:
    with pytest.raises(SourceUnreadableError, match="not valid"):
        read(_model([NODES[1], NODES[0], *NODES[2:]]))


# What preparing may change


def _norm(prefix: str, channels: int) -> dict[str, Floats]:
    rng = np.random.default_rng(len(prefix) + channels)
    return {
        f"{prefix}scale": rng.normal(1, 0.4, channels).astype(np.float32),
        f"{prefix}shift": rng.normal(0, 0.4, channels).astype(np.float32),
        f"{prefix}mean": rng.normal(0, 0.4, channels).astype(np.float32),
        f"{prefix}var": rng.uniform(0.05, 2, channels).astype(np.float32),
    }


def _norm_node(prefix: str, source: str, target: str, **attributes: Any) -> onnx.NodeProto:
    names = [f"{prefix}{name}" for name in ("scale", "shift", "mean", "var")]
    return helper.make_node("BatchNormalization", [source, *names], [target], **attributes)


def _with_norm(
    conv: Sequence[str] = ("image", "w"),
    *,
    conv_attributes: Mapping[str, Any] | None = None,
    norm_attributes: Mapping[str, Any] | None = None,
    after: Sequence[onnx.NodeProto] = (),
    pooled: str = "bn",
    extra: Mapping[str, Floats] | None = None,
    channels: int = 4,
) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Conv", list(conv), ["c"], **(conv_attributes or {})),
        _norm_node("n.", "c", "bn", **(norm_attributes or {})),
        *after,
        helper.make_node("GlobalAveragePool", [pooled], ["pool"]),
        *NODES[2:],
    ]
    return _model(nodes, {**WEIGHTS, **_norm("n.", channels), **(extra or {})})


def _assert_folded(model: onnx.ModelProto, *, left: int, tolerance: float = 1e-5) -> None:
    image = _floats(2, 3, SIDE, SIDE, seed=3)
    want = _run(model, image)
    folded = onnx.ModelProto()
    folded.CopyFrom(model)
    count = fold_batch_norms(folded)
    onnx.checker.check_model(folded, full_check=True)
    assert _types(folded).count("BatchNormalization") == left
    assert _types(model).count("BatchNormalization") - count == left
    np.testing.assert_allclose(_run(folded, image), want, rtol=0, atol=tolerance)
    used = {name for node in folded.graph.node for name in node.input}
    assert {tensor.name for tensor in folded.graph.initializer} <= used


def test_folding_agrees_with_the_graph_that_was_not_folded() -> None:
    _assert_folded(_with_norm(), left=0)
    _assert_folded(_with_norm(("image", "w", "b"), extra={"b": _floats(4, seed=9)}), left=0)


def test_folding_takes_epsilon_groups_and_strides_into_account() -> None:
    _assert_folded(_with_norm(norm_attributes={"epsilon": 0.3}), left=0)
    grouped = {"w": _floats(6, 1, 3, 3), "hw": _floats(2, 6)}
    _assert_folded(
        _with_norm(
            conv_attributes={"group": 3, "strides": [2, 2], "pads": [1, 1, 1, 1]},
            extra=grouped,
            channels=6,
        ),
        left=0,
    )


def test_a_convolution_with_another_reader_is_not_folded() -> None:
    branch = helper.make_node("Add", ["bn", "c"], ["sum"])
    _assert_folded(_with_norm(after=[branch], pooled="sum"), left=1)
    # Two BatchNorms on one convolution: neither may be folded.
    two = [_norm_node("m.", "c", "bn2"), helper.make_node("Mul", ["bn", "bn2"], ["product"])]
    _assert_folded(_with_norm(after=two, pooled="product", extra=_norm("m.", 4)), left=2)


def test_a_convolution_that_is_an_output_or_feeds_a_subgraph_is_not_folded() -> None:
    output = _with_norm()
    output.graph.output.append(helper.make_tensor_value_info("c", TensorProto.FLOAT, None))
    assert fold_batch_norms(output) == 0

    def branch(name: str, operator: str) -> onnx.GraphProto:
        return helper.make_graph(
            [helper.make_node(operator, ["c", "k"], [name])],
            name,
            [],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)],
        )

    chooser = helper.make_node(
        "If", ["yes"], ["chosen"], then_branch=branch("t", "Add"), else_branch=branch("e", "Sub")
    )
    model = _with_norm(
        after=[chooser, helper.make_node("Add", ["bn", "chosen"], ["sum"])],
        pooled="sum",
        extra={"k": _floats(1, 4, 1, 1), "yes": np.array(True)},
    )
    want = _run(model, _floats(1, 3, SIDE, SIDE))
    assert fold_batch_norms(model) == 0
    # "k" is read inside the branches alone and must stay.
    np.testing.assert_array_equal(_run(model, _floats(1, 3, SIDE, SIDE)), want)


def test_weights_shared_by_two_convolutions_are_folded_apart() -> None:
    second = [
        helper.make_node("Conv", ["image", "w"], ["c2"]),
        _norm_node("m.", "c2", "bn2"),
        helper.make_node("Mul", ["bn", "bn2"], ["product"]),
    ]
    model = _with_norm(after=second, pooled="product", extra=_norm("m.", 4))
    _assert_folded(model, left=0)


def test_a_batch_norm_in_training_mode_is_not_folded() -> None:
    model = _with_norm(norm_attributes={"training_mode": 1})
    norm = next(node for node in model.graph.node if node.op_type == "BatchNormalization")
    norm.output.extend(["running_mean", "running_var"])
    assert fold_batch_norms(model) == 0


def test_a_batch_norm_behind_relu_or_with_computed_weights_is_not_folded() -> None:
    behind = _with_norm()
    behind.graph.node.insert(1, helper.make_node("Relu", ["c"], ["r"]))
    behind.graph.node[2].input[0] = "r"
    _assert_folded(behind, left=1)
    computed = _with_norm(("image", "w2"))
    computed.graph.node.insert(0, helper.make_node("Neg", ["w"], ["w2"]))
    _assert_folded(computed, left=1)


def test_constant_nodes_become_initializers_and_fold() -> None:
    model = _with_norm()
    weight = next(t for t in model.graph.initializer if t.name == "w")
    node = helper.make_node("Constant", [], ["w"], value=weight)
    model.graph.initializer.remove(weight)
    model.graph.node.insert(0, node)
    want = _run(model, _floats(2, 3, SIDE, SIDE))
    prepare(model)
    assert not {"Constant", "BatchNormalization"} & set(_types(model))
    onnx.checker.check_model(model, full_check=True)
    np.testing.assert_allclose(_run(model, _floats(2, 3, SIDE, SIDE)), want, atol=1e-5)


def test_initializers_that_old_exporters_list_as_inputs_do_not_become_inputs(
    read: Callable[..., Any],
) -> None:
    model = _with_norm()
    for tensor in model.graph.initializer:
        model.graph.input.append(
            helper.make_tensor_value_info(tensor.name, TensorProto.FLOAT, tensor.dims)
        )
    source = read(model)
    assert [item.name for item in source.model.graph.input] == ["image"]
    image = _floats(2, 3, SIDE, SIDE)
    np.testing.assert_allclose(_run(source.model, image), _run(model, image), atol=1e-5)


def test_annotations_are_removed_and_every_node_can_be_named() -> None:
    model = _model()
    model.doc_string = model.graph.doc_string = "made by Dr. Secret"
    model.metadata_props.add(key="author", value="Dr. Secret")
    model.graph.name = "/home/secret/train.py"
    for node in model.graph.node:
        node.name = "same"
        node.doc_string = 'File "/home/secret/net.py", line 3'
        node.metadata_props.add(key="stack_trace", value="/home/secret/net.py")
    model.graph.node[1].name = ""
    for item in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        item.doc_string = "secret"
    prepare(model)
    assert b"ecret" not in model.SerializeToString()
    names = [node.name for node in model.graph.node]
    assert all(names)
    assert len(set(names)) == len(names)
