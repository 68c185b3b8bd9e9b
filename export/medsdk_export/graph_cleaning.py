"""Exact rewrites that leave nothing between a network's layers which its source did not ask for.

Converters leave pads before convolutions, scales and shifts behind them, and reshapes that say
nothing. ONNX Runtime would fold some of it when it loads a float graph, and none of it once
quantizers stand in between.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from medsdk_export.graph_scaling import scale_into_layer, scale_into_next
from medsdk_export.graph_view import GraphView, attributes_of, set_attribute, with_constant

_BATCH = 5
"""Of the tensor with which a computed shape is tried: no other axis of it has this size."""

_SHAPE_STEPS = ("Gather", "Cast", "Slice", "Concat", "Squeeze", "Unsqueeze")

_ELEMENTWISE = ("Relu", "Clip", "Sigmoid", "Tanh", "Elu", "LeakyRelu", "Mul", "Add")
"""What leaves the number of axes as it is, where its constants have no more."""


def clean(model: onnx.ModelProto) -> None:
    """Rewrite until nothing is left to do; what the graph computes stays the same.

    - `Identity` goes; a `Squeeze` or `Reshape` from N x C x 1 x 1 becomes `Flatten`, and so does a
      `Reshape` to N x the rest whose N is computed from the tensor's shape;
    - `Pad` with zeros over height and width goes into the `Conv` behind it;
    - `Mul` and `Add` of a constant for each channel go into the `Conv` or `MatMul` before them;
    - `MatMul` with a constant, and the bias behind it, become `Gemm`;
    - a BatchNorm that follows a ReLU, as such or as `Mul` and `Add`, goes into the next `Gemm`, or
      `Conv` without padding: left on its own, it costs INT8 its accuracy. Before a padded `Conv`
      it stays, since the padding is zero behind it, not before it.

    Args:
        model: Changed in place; constants are initializers and nodes have names.
    """
    steps: tuple[Callable[[GraphView], bool], ...] = (
        _drop_identity,
        _flatten,
        _flatten_by_shape,
        _pad_into_conv,
        _dense,
        scale_into_layer,
        scale_into_next,
    )
    while any(step(GraphView(model.graph)) for step in steps):
        continue
    _drop_dead(model.graph)


def rename(model: onnx.ModelProto, names: Mapping[str, str]) -> None:
    """Give inputs and outputs other names.

    Args:
        model: Changed in place.
        names: Old name to new one.
    """
    graph = model.graph
    new = {
        name for node in graph.node for name in (*node.input, *node.output) if name not in names
    } | {item.name for item in graph.initializer}
    # A tensor inside that happens to have the new name makes room.
    inside = {name: f"{name}.inside" for name in names.values() if name in new}
    inside.update(names)
    for node in graph.node:
        for names_of in (node.input, node.output):
            for index, name in enumerate(names_of):
                names_of[index] = inside.get(name, name)
    for item in (*graph.input, *graph.output, *graph.initializer):
        item.name = inside.get(item.name, item.name)


def transposes_between_layers(model: onnx.ModelProto) -> list[str]:
    """Names of the `Transpose` nodes that have a convolution before and behind them."""
    graph = model.graph
    made_by = {name: node for node in graph.node for name in node.output}
    after: set[str] = set()
    below: set[str] = set()
    for node in graph.node:
        if any(name in after for name in node.input) or node.op_type == "Conv":
            after.update(node.output)
    pending = [node for node in graph.node if node.op_type == "Conv"]
    while pending:
        node = pending.pop()
        for name in node.input:
            before = made_by.get(name)
            if before is not None and name not in below:
                below.add(name)
                pending.append(before)
    return [
        node.name
        for node in graph.node
        if node.op_type == "Transpose" and node.input[0] in after and node.output[0] in below
    ]


def _drop_identity(view: GraphView) -> bool:
    return any(
        view.skip(node, node.input[0]) for node in view.graph.node if node.op_type == "Identity"
    )


def _flatten(view: GraphView) -> bool:
    for node in view.graph.node:
        before = view.made_by.get(node.input[0]) if node.input else None
        if before is None or before.op_type not in ("GlobalAveragePool", "GlobalMaxPool"):
            continue
        shape = view.constant(node.input[1]) if len(node.input) > 1 else None
        squeezed = (
            node.op_type == "Squeeze"
            and shape is not None
            and sorted(shape)
            in (
                [2, 3],
                [-2, -1],
            )
        )
        # -1 x C: the batch is what is left over.
        reshaped = (
            node.op_type == "Reshape"
            and shape is not None
            and (shape.shape == (2,) and shape[0] in (-1, 0))
        )
        if squeezed or reshaped:
            node.op_type = "Flatten"
            del node.input[1:]
            del node.attribute[:]
            return True
    return False


def _flatten_by_shape(view: GraphView) -> bool:
    for node in view.graph.node:
        if node.op_type != "Reshape" or view.constant(node.input[1]) is not None:
            continue
        target = _computed_shape(view, node.input[1])
        if target is not None and len(target) == 2 and target[0] == _BATCH:
            node.op_type = "Flatten"
            del node.input[1:]
            del node.attribute[:]
            return True
    return False


def _computed_shape(view: GraphView, name: str) -> list[int] | None:
    """What a shape is that is computed from tensors of `_BATCH` x 7 x 11 x 13; None if not so."""
    wanted: list[onnx.NodeProto] = []
    pending, shapes, constants = [name], set(), set()
    while pending:
        tensor = pending.pop()
        node = view.made_by.get(tensor)
        if tensor in view.tensors:
            constants.add(tensor)
        elif node is None or (node.op_type != "Shape" and node.op_type not in _SHAPE_STEPS):
            return None
        elif node.op_type == "Shape":
            shapes.add(tensor)
        elif node not in wanted:
            wanted.append(node)
            pending += [item for item in node.input if item]
    if not shapes or len(wanted) > 20:
        return None
    ordered = [node for node in view.graph.node if node in wanted]
    info = [helper.make_tensor_value_info(item, TensorProto.INT64, [4]) for item in shapes]
    output = helper.make_tensor_value_info(name, TensorProto.INT64, None)
    part = helper.make_graph(
        ordered, "shape", info, [output], [view.tensors[item] for item in constants]
    )
    model = helper.make_model(part, opset_imports=[helper.make_opsetid("", 17)])
    example = np.array([_BATCH, 7, 11, 13], np.int64)
    try:
        (result,) = ReferenceEvaluator(model).run(None, dict.fromkeys(shapes, example))
    except (ValueError, IndexError, TypeError, RuntimeError):
        return None  # a tensor of another rank
    return [int(axis) for axis in np.ravel(result)]


def _pad_into_conv(view: GraphView) -> bool:
    for conv in view.graph.node:
        if conv.op_type != "Conv":
            continue
        pad = view.only_before(conv, conv.input[0], "Pad")
        attributes = attributes_of(conv)
        if pad is None or attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
            continue
        pads = view.constant(pad.input[1]) if len(pad.input) > 1 else None
        value = view.constant(pad.input[2]) if len(pad.input) > 2 and pad.input[2] else None
        if (
            pads is None
            or pads.shape != (8,)
            or attributes_of(pad).get("mode", b"constant") != b"constant"
            or (value is not None and np.any(value))
            or np.any(pads[[0, 1, 4, 5]])
            or np.any(np.less(pads, 0))
        ):
            continue
        there = attributes.get("pads", [0, 0, 0, 0])
        assert isinstance(there, list)
        more = [int(pads[index]) for index in (2, 3, 6, 7)]
        set_attribute(conv, "pads", [a + b for a, b in zip(there, more, strict=True)])
        set_attribute(conv, "auto_pad", "NOTSET")
        conv.input[0] = pad.input[0]
        view.graph.node.remove(pad)
        return True
    return False


def _dense(view: GraphView) -> bool:
    """`MatMul` of N x K with a constant K x M; only where N x K is known to have two axes."""
    for node in view.graph.node:
        if node.op_type != "MatMul":
            continue
        weight = view.constant(node.input[1])
        before = view.made_by.get(node.input[0])
        if weight is None or weight.ndim != 2 or before is None or not _has_two_axes(view, before):
            continue
        node.op_type = "Gemm"
        return True
    return False


def _has_two_axes(view: GraphView, node: onnx.NodeProto) -> bool:
    for _ in range(len(view.graph.node)):
        if node.op_type in ("Flatten", "Gemm"):
            return True
        if node.op_type not in _ELEMENTWISE:
            return False
        before = view.made_by.get(node.input[0])
        # A sum or product with a constant of more axes would have more.
        constant = with_constant(view, node, ("Mul", "Add"))
        if node.op_type in ("Mul", "Add") and (constant is None or constant[1].ndim > 2):
            return False
        if before is None:
            return False
        node = before
    return False


def _drop_dead(graph: onnx.GraphProto) -> None:
    """Nodes and initializers that no output depends on."""
    wanted = {item.name for item in graph.output}
    kept = []
    for node in reversed(graph.node):
        if any(name in wanted for name in node.output):
            kept.append(node.name)
            wanted.update(node.input)
            wanted.update(
                name
                for attribute in node.attribute
                for graph_of in (attribute.g, *attribute.graphs)
                for inner in graph_of.node
                for name in inner.input
            )
    names = set(kept)
    for node in [node for node in graph.node if node.name not in names]:
        graph.node.remove(node)
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in wanted]:
        graph.initializer.remove(tensor)
