"""Factors and shifts of each channel go into the layer before or behind them, exactly."""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray

from medsdk_export.graph_view import GraphView, attributes_of, bias_of, with_constant


def scale_into_layer(view: GraphView) -> bool:
    """`w' = w s`, `b' = b s` for a factor, `b' = b + t` for a shift behind a Conv or Gemm."""
    for node in view.graph.node:
        found = with_constant(view, node, ("Mul", "Add", "Sub"))
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
        bias = bias_of(view, layer, 2, channels)
        if vector is None or bias is None:
            continue
        _put(view, layer, node, weight, bias, vector, channels_first=conv is not None)
        return True
    return False


def scale_into_next(view: GraphView) -> bool:
    """`(x s + t) W + b = x (s W) + (t W + b)`: a Conv without padding, or a Gemm, in front."""
    for layer in view.graph.node:
        maps = layer.op_type == "Conv"
        if not (maps and _unpadded(layer)) and not (layer.op_type == "Gemm" and _plain_gemm(layer)):
            continue
        weight = view.constant(layer.input[1])
        bias = None if weight is None else bias_of(view, layer, 2, weight.shape[0 if maps else 1])
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
        groups = attributes_of(layer).get("group", 1) if maps else 1
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
    view: GraphView, user: onnx.NodeProto, channels: int, *, maps: bool
) -> tuple[onnx.NodeProto, str, NDArray[np.float64], NDArray[np.float64]] | None:
    """The node that scales or shifts what `user` alone is fed: what of, factors, and shifts."""
    for kind in ("Mul", "Div", "Add", "Sub"):
        node = view.only_before(user, user.input[0], kind)
        found = None if node is None else with_constant(view, node, (kind,))
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
    if norm is None or attributes_of(norm).get("training_mode", 0):
        return None
    arrays = [view.constant(name) for name in norm.input[1:5]]
    if any(array is None or array.shape != (channels,) for array in arrays):
        return None
    scale, shift, mean, variance = (np.asarray(array, np.float64) for array in arrays)
    epsilon = attributes_of(norm).get("epsilon", 1e-5)
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
    attributes = attributes_of(conv)
    pads = attributes.get("pads", [0])
    assert isinstance(pads, list)
    return attributes.get("auto_pad", b"NOTSET") in (b"NOTSET", b"VALID") and not any(pads)


def _plain_gemm(gemm: onnx.NodeProto) -> bool:
    usual = {"alpha": 1.0, "beta": 1.0}
    return all(value == usual.get(key, 0) for key, value in attributes_of(gemm).items())


def _put(
    view: GraphView,
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
