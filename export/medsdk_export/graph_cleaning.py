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
    steps: tuple[Callable[[_Graph], bool], ...] = (
        _drop_identity,
        _flatten,
        _flatten_by_shape,
        _pad_into_conv,
        _dense,
        _scale_into_layer,
        _scale_into_next,
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


def _scale_into_layer(view: _Graph) -> bool:
    """`w' = w s`, `b' = b s` for a factor, `b' = b + t` for a shift behind a Conv or Gemm."""
    for node in view.graph.node:
        found = _with_constant(view, node, ("Mul", "Add", "Sub"))
        if found is None:
            continue
        name, values = found
        conv = view.only_before(node, name, "Conv")
        layer = conv or view.only_before(node, name, "Gemm")
        weight = view.constant(layer.input[1]) if layer is not None else None
        if layer is None or weight is None or weight.dtype != np.float32:
            continue
        if weight.ndim != 4 if conv is not None else not _plain_gemm(layer):
            continue
        channels = weight.shape[0 if conv is not None else 1]
        vector = _each_channel(values, channels, maps=conv is not None)
        bias = _bias(view, layer, 2, channels)
        if vector is None or bias is None:
            continue
        _put(view, layer, node, weight, bias, vector, channels_first=conv is not None)
        return True
    return False


def _scale_into_next(view: _Graph) -> bool:
    """`(x s + t) W + b = x (s W) + (t W + b)`: a Conv without padding, or a Gemm, in front."""
    for layer in view.graph.node:
        maps = layer.op_type == "Conv"
        if not (maps and _unpadded(layer)) and not (layer.op_type == "Gemm" and _plain_gemm(layer)):
            continue
        weight = view.constant(layer.input[1])
        bias = None if weight is None else _bias(view, layer, 2, weight.shape[0 if maps else 1])
        if weight is None or bias is None or weight.dtype != np.float32:
            continue
        if weight.ndim != (4 if maps else 2):
            continue
        user, pooled = layer, False
        # The mean of scaled and shifted values is the scaled and shifted mean.
        for kind in () if maps else ("Flatten", "GlobalAveragePool"):
            before = view.only_before(user, user.input[0], kind)
            if before is None:
                break
            user, pooled = before, kind == "GlobalAveragePool"
        if user is not layer and not pooled:
            continue
        groups = _attributes(layer).get("group", 1) if maps else 1
        assert isinstance(groups, int)
        channels = weight.shape[1] * groups if maps else len(weight)
        found = _affine(view, user, channels, maps=maps or pooled)
        if found is None:
            continue
        node, name, factor, shift = found
        wide = weight.astype(np.float64)
        if maps:
            # Input channels of each output channel: those of its group.
            rows = np.arange(len(wide)) // (len(wide) // groups)
            mine = rows[:, None] * weight.shape[1] + np.arange(weight.shape[1])
            bias = bias + np.einsum("oihw,oi->o", wide, shift[mine])
            wide = wide * factor[mine][:, :, None, None]
        else:
            bias = bias + shift @ wide
            wide = wide * factor[:, None]
        label = f"{layer.output[0]}.{node.output[0]}"
        weight_name = view.add(f"{label}.weight", wide.astype(np.float32))
        bias_name = view.add(f"{label}.bias", bias.astype(np.float32))
        user.input[0] = name
        first = layer.input[0]
        del layer.input[:]
        layer.input.extend([first, weight_name, bias_name])
        view.graph.node.remove(node)
        return True
    return False


def _affine(
    view: _Graph, user: onnx.NodeProto, channels: int, *, maps: bool
) -> tuple[onnx.NodeProto, str, NDArray[np.float64], NDArray[np.float64]] | None:
    """The node that scales or shifts what `user` alone is fed: what of, factors, and shifts."""
    for kind in ("Mul", "Div", "Add", "Sub"):
        node = view.only_before(user, user.input[0], kind)
        found = None if node is None else _with_constant(view, node, (kind,))
        vector = None if found is None else _each_channel(found[1], channels, maps=maps)
        if node is None or found is None or vector is None:
            continue
        zeros, ones = np.zeros(channels), np.ones(channels)
        match kind:
            case "Mul":
                return node, found[0], vector, zeros
            case "Div":
                return (node, found[0], 1 / vector, zeros) if np.all(vector) else None
            case "Add":
                return node, found[0], ones, vector
            case _:
                return node, found[0], ones, -vector
    norm = view.only_before(user, user.input[0], "BatchNormalization")
    if norm is None or _attributes(norm).get("training_mode", 0):
        return None
    arrays = [view.constant(name) for name in norm.input[1:5]]
    if any(array is None or array.shape != (channels,) for array in arrays):
        return None
    scale, shift, mean, variance = (np.asarray(array, np.float64) for array in arrays)
    epsilon = _attributes(norm).get("epsilon", 1e-5)
    assert isinstance(epsilon, float)
    factor = scale / np.sqrt(variance + epsilon)
    return norm, norm.input[0], factor, shift - mean * factor


def _each_channel(
    values: NDArray[np.generic], channels: int, *, maps: bool
) -> NDArray[np.float64] | None:
    """A constant as one number a channel; None where it is something else.

    Args:
        values: The constant.
        channels: How many there are.
        maps: Whether it is combined with N x C x H x W; else with N x C.
    """
    if values.ndim > (4 if maps else 2):
        return None
    axis = -3 if maps else -1
    if values.size != 1 and (
        values.size != channels or values.ndim < -axis or values.shape[axis] != channels
    ):
        return None
    return np.broadcast_to(np.asarray(values, np.float64).reshape(-1), (channels,))


def _unpadded(conv: onnx.NodeProto) -> bool:
    """Whether every value that a convolution sees comes from its input."""
    attributes = _attributes(conv)
    pads = attributes.get("pads", [0])
    assert isinstance(pads, list)
    return attributes.get("auto_pad", b"NOTSET") in (b"NOTSET", b"VALID") and not any(pads)


def _plain_gemm(gemm: onnx.NodeProto) -> bool:
    usual = {"alpha": 1.0, "beta": 1.0}
    return all(value == usual.get(key, 0) for key, value in _attributes(gemm).items())


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
        if node.op_type not in _ELEMENTWISE:
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
    ordered = node.op_type in ("Sub", "Div")
    return None if first is None or ordered else (node.input[1], first)


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
