"""Exact rewrites that leave nothing between a network's layers which its source did not ask for.

Converters leave pads before convolutions, scales and shifts behind them, and reshapes that say
nothing. ONNX Runtime would fold some of it when it loads a float graph, and none of it once
quantizers stand in between.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

_BATCH = 5
"""Of the tensor with which a computed shape is tried: no other axis of it has this size."""

_SHAPE_STEPS = ("Gather", "Cast", "Slice", "Concat", "Squeeze", "Unsqueeze")

_ELEMENTWISE = ("Relu", "Clip", "Sigmoid", "Tanh", "Elu", "LeakyRelu", "Mul", "Add")


def clean(model: onnx.ModelProto) -> None:
    """Rewrite until nothing is left to do; what the graph computes stays the same.

    - `Identity` goes; a `Squeeze` or `Reshape` from N x C x 1 x 1 becomes `Flatten`, and so does a
      `Reshape` to N x the rest whose N is computed from the tensor's shape;
    - `Pad` with zeros over height and width goes into the `Conv` behind it;
    - `Mul` and `Add` of a constant for each channel go into the `Conv` or `MatMul` before them;
    - `MatMul` with a constant, and the bias behind it, become `Gemm`;
    - `Mul` and `Add` before a `Gemm`, a BatchNorm that follows a ReLU, go into that: left on
      their own, they cost INT8 its accuracy.

    Args:
        model: Changed in place; constants are initializers and nodes have names.
    """
    steps: tuple[Callable[[_Graph], bool], ...] = (
        _drop_identity,
        _flatten,
        _flatten_by_shape,
        _pad_into_conv,
        _scale_into_conv,
        _dense,
        _scale_into_gemm,
        _scale_into_next_gemm,
    )
    while any(step(_Graph(model.graph)) for step in steps):
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


class _Graph:
    """A graph with what the rewrites look up."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph
        self.tensors = {item.name: item for item in graph.initializer}
        self.made_by = {name: node for node in graph.node for name in node.output}
        self.outputs = {item.name for item in graph.output}
        self.uses = Counter(name for node in graph.node for name in node.input)

    def constant(self, name: str) -> NDArray[np.generic] | None:
        tensor = self.tensors.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor)

    def only_before(self, node: onnx.NodeProto, name: str, kind: str) -> onnx.NodeProto | None:
        """The node of this kind that makes `name` for `node` alone."""
        before = self.made_by.get(name)
        alone = self.uses[name] == 1 and name not in self.outputs
        return before if before is not None and before.op_type == kind and alone else None

    def add(self, name: str, array: NDArray[np.generic]) -> str:
        self.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def skip(self, node: onnx.NodeProto, name: str) -> bool:
        """Take a node out whose output is the tensor `name`; False where it must stay."""
        output = node.output[0]
        if output in self.outputs:
            before = self.made_by.get(name)
            if before is None or self.uses[name] != 1 or name in self.outputs:
                return False
            for index, made in enumerate(before.output):
                if made == name:
                    before.output[index] = output
        else:
            for user in self.graph.node:
                for index, used in enumerate(user.input):
                    if used == output:
                        user.input[index] = name
        self.graph.node.remove(node)
        return True


def _attributes(node: onnx.NodeProto) -> dict[str, object]:
    return {item.name: helper.get_attribute_value(item) for item in node.attribute}


def _set(node: onnx.NodeProto, name: str, value: object) -> None:
    for item in [item for item in node.attribute if item.name == name]:
        node.attribute.remove(item)
    node.attribute.append(helper.make_attribute(name, value))


def _drop_identity(view: _Graph) -> bool:
    return any(
        view.skip(node, node.input[0]) for node in view.graph.node if node.op_type == "Identity"
    )


def _flatten(view: _Graph) -> bool:
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


def _flatten_by_shape(view: _Graph) -> bool:
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


def _computed_shape(view: _Graph, name: str) -> list[int] | None:
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


def _pad_into_conv(view: _Graph) -> bool:
    for conv in view.graph.node:
        if conv.op_type != "Conv":
            continue
        pad = view.only_before(conv, conv.input[0], "Pad")
        attributes = _attributes(conv)
        if pad is None or attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
            continue
        pads = view.constant(pad.input[1]) if len(pad.input) > 1 else None
        value = view.constant(pad.input[2]) if len(pad.input) > 2 and pad.input[2] else None
        if (
            pads is None
            or pads.shape != (8,)
            or _attributes(pad).get("mode", b"constant") != b"constant"
            or (value is not None and np.any(value))
            or np.any(pads[[0, 1, 4, 5]])
            or np.any(np.less(pads, 0))
        ):
            continue
        there = attributes.get("pads", [0, 0, 0, 0])
        assert isinstance(there, list)
        more = [int(pads[index]) for index in (2, 3, 6, 7)]
        _set(conv, "pads", [a + b for a, b in zip(there, more, strict=True)])
        _set(conv, "auto_pad", "NOTSET")
        conv.input[0] = pad.input[0]
        view.graph.node.remove(pad)
        return True
    return False


def _scale_into_conv(view: _Graph) -> bool:
    """`w' = w s`, `b' = b s` for a factor, `b' = b + t` for a shift."""
    for node in view.graph.node:
        found = _with_constant(view, node, ("Mul", "Add", "Sub"))
        if found is None:
            continue
        name, values = found
        conv = view.only_before(node, name, "Conv")
        weight = view.constant(conv.input[1]) if conv is not None else None
        if conv is None or weight is None or weight.dtype != np.float32:
            continue
        channels = len(weight)
        if values.size not in (1, channels) or (
            values.size != 1 and (values.ndim < 3 or values.shape[-3] != channels)
        ):
            continue
        bias = _bias(view, conv, 2, channels)
        if bias is None:
            continue
        factor = np.broadcast_to(np.asarray(values, np.float64).reshape(-1), (channels,))
        _put(view, conv, node, weight, bias, factor, channels_first=True)
        return True
    return False


def _scale_into_gemm(view: _Graph) -> bool:
    for node in view.graph.node:
        found = _with_constant(view, node, ("Mul", "Add", "Sub"))
        if found is None:
            continue
        name, values = found
        gemm = view.only_before(node, name, "Gemm")
        if gemm is None or any(
            value != {"alpha": 1.0, "beta": 1.0}.get(key, 0)
            for key, value in _attributes(gemm).items()
        ):
            continue
        weight = view.constant(gemm.input[1])
        if weight is None or weight.dtype != np.float32:
            continue
        columns = weight.shape[1]
        if values.size not in (1, columns) or (values.size != 1 and values.shape[-1] != columns):
            continue
        bias = _bias(view, gemm, 2, columns)
        if bias is None:
            continue
        factor = np.broadcast_to(np.asarray(values, np.float64).reshape(-1), (columns,))
        _put(view, gemm, node, weight, bias, factor, channels_first=False)
        return True
    return False


def _scale_into_next_gemm(view: _Graph) -> bool:
    """`(x s) W = x (s W)` and `(x + t) W + b = x W + (t W + b)`."""
    for gemm in view.graph.node:
        if gemm.op_type != "Gemm" or _attributes(gemm):
            continue
        weight = view.constant(gemm.input[1])
        bias = None if weight is None else _bias(view, gemm, 2, weight.shape[1])
        for kind in ("Mul", "Add", "Sub"):
            node = view.only_before(gemm, gemm.input[0], kind)
            found = None if node is None else _with_constant(view, node, (kind,))
            if node is None or found is None or weight is None or bias is None:
                continue
            name, values = found
            rows = len(weight)
            # One for each column; one for each row of the batch is no property of the network.
            fits = values.size == 1 or (values.size == rows and values.shape[-1] == rows)
            if values.ndim > 2 or not fits:
                continue
            vector = np.broadcast_to(np.asarray(values, np.float64).reshape(-1), (rows,))
            label = f"{gemm.output[0]}.{node.output[0]}"
            weight_name = gemm.input[1]
            if kind == "Mul":
                scaled = (weight.astype(np.float64) * vector[:, None]).astype(np.float32)
                weight_name = view.add(f"{label}.weight", scaled)
            else:
                bias = bias + (vector if kind == "Add" else -vector) @ weight.astype(np.float64)
            bias_name = view.add(f"{label}.bias", bias.astype(np.float32))
            del gemm.input[:]
            gemm.input.extend([name, weight_name, bias_name])
            view.graph.node.remove(node)
            return True
    return False


def _put(
    view: _Graph,
    layer: onnx.NodeProto,
    node: onnx.NodeProto,
    weight: NDArray[np.generic],
    bias: NDArray[np.float64],
    values: NDArray[np.float64],
    *,
    channels_first: bool,
) -> None:
    output = node.output[0]
    first, weight_name = layer.input[0], layer.input[1]
    match node.op_type:
        case "Mul":
            shape = (-1, *[1] * (weight.ndim - 1)) if channels_first else (1, -1)
            scaled = (weight.astype(np.float64) * values.reshape(shape)).astype(np.float32)
            weight_name, bias = view.add(f"{output}.weight", scaled), bias * values
        case "Add":
            bias = bias + values
        case _:
            bias = bias - values
    bias_name = view.add(f"{output}.bias", bias.astype(np.float32))
    del layer.input[:]
    layer.input.extend([first, weight_name, bias_name])
    layer.output[0] = output
    view.graph.node.remove(node)


def _dense(view: _Graph) -> bool:
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


def _has_two_axes(view: _Graph, node: onnx.NodeProto) -> bool:
    for _ in range(len(view.graph.node)):
        if node.op_type in ("Flatten", "Gemm"):
            return True
        if node.op_type not in (
            "Relu",
            "Clip",
            "Sigmoid",
            "Tanh",
            "Elu",
            "LeakyRelu",
            "Mul",
            "Add",
        ):
            return False
        before = view.made_by.get(node.input[0])
        # A sum or product with a constant of more axes would have more.
        constant = _with_constant(view, node, ("Mul", "Add"))
        if node.op_type in ("Mul", "Add") and (constant is None or constant[1].ndim > 2):
            return False
        if before is None:
            return False
        node = before
    return False


def _with_constant(
    view: _Graph, node: onnx.NodeProto, kinds: tuple[str, ...]
) -> tuple[str, NDArray[np.generic]] | None:
    """The tensor and the constant that a node combines; None where it does something else."""
    if node.op_type not in kinds or len(node.input) != 2:
        return None
    second = view.constant(node.input[1])
    if second is not None:
        return node.input[0], second
    first = view.constant(node.input[0])
    return None if first is None or node.op_type == "Sub" else (node.input[1], first)


def _bias(view: _Graph, node: onnx.NodeProto, index: int, size: int) -> NDArray[np.float64] | None:
    if len(node.input) <= index or not node.input[index]:
        return np.zeros(size)
    found = view.constant(node.input[index])
    return None if found is None or found.shape != (size,) else found.astype(np.float64)


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
