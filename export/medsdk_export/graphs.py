"""Reading and preparing ONNX graphs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

OPSET = 20
"""Opset of the graphs that we make."""

READ_OPSETS = range(13, 22)
"""Opsets of foreign graphs that are taken: per-channel quantization starts at 13."""


def constant_names(graph: onnx.GraphProto) -> set[str]:
    """Names of the tensors that do not depend on the input: initializers and Constant nodes."""
    names = {tensor.name for tensor in graph.initializer}
    return names | {
        name for node in graph.node if node.op_type == "Constant" for name in node.output
    }


def producers(graph: onnx.GraphProto) -> Mapping[str, onnx.NodeProto]:
    """Tensor name to the node that makes it."""
    return {name: node for node in graph.node for name in node.output}


def default_opset(model: onnx.ModelProto) -> int:
    """Version of the default operator set; 0 where the graph imports none."""
    return next((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), 0)


def prepare(model: onnx.ModelProto) -> None:
    """Make a graph ready to be quantized: annotations off, constants hoisted, BatchNorm folded.

    Args:
        model: Changed in place.
    """
    strip_annotations(model)
    hoist_constants(model)
    fold_batch_norms(model)


def hoist_constants(model: onnx.ModelProto) -> None:
    """Make every constant an initializer that nobody can override.

    ONNX Runtime's quantizer takes the output of a Constant node for an activation, and gives
    a weight that comes from one a single range of eight unsigned bits.

    Args:
        model: Changed in place: `Constant` nodes become initializers, and initializers are no
            longer listed as inputs, as old exporters list them.
    """
    graph = model.graph
    outputs = {item.name for item in graph.output}
    for node in [node for node in graph.node if node.op_type == "Constant"]:
        value = next((item.t for item in node.attribute if item.name == "value"), None)
        if value is None or node.output[0] in outputs:
            continue
        tensor = graph.initializer.add()
        tensor.CopyFrom(value)
        tensor.name = node.output[0]
        graph.node.remove(node)
    constants = {tensor.name for tensor in graph.initializer}
    for item in [item for item in graph.input if item.name in constants]:
        graph.input.remove(item)
    # Before version 4 every initializer had to be an input.
    model.ir_version = max(model.ir_version, 4)


def fold_batch_norms(model: onnx.ModelProto) -> int:
    """Fold every BatchNormalization that alone follows a Conv with constant weights into it.

    `w' = w g / sqrt(v + e)`, `b' = (b - m) g / sqrt(v + e) + beta`, computed in float64.

    Args:
        model: Changed in place.

    Returns:
        How many were folded.
    """
    graph = model.graph
    values = {tensor.name: tensor for tensor in graph.initializer}
    made_by = producers(graph)
    users = Counter(uses_of(graph))
    folded = []
    for norm in graph.node:
        if norm.op_type != "BatchNormalization":
            continue
        conv = made_by.get(norm.input[0])
        if (
            conv is None
            or conv.op_type != "Conv"
            or users[conv.output[0]] != 1
            or any(
                name not in values or values[name].data_type != TensorProto.FLOAT
                for name in (*conv.input[1:], *norm.input[1:5])
            )
            or any(item.name == "training_mode" and item.i for item in norm.attribute)
        ):
            continue
        scale, shift, mean, variance = (
            numpy_helper.to_array(values[name]).astype(np.float64) for name in norm.input[1:5]
        )
        epsilon = next((item.f for item in norm.attribute if item.name == "epsilon"), 1e-5)
        weight = numpy_helper.to_array(values[conv.input[1]]).astype(np.float64)
        bias = (
            numpy_helper.to_array(values[conv.input[2]]).astype(np.float64)
            if len(conv.input) > 2
            else np.zeros(len(weight))
        )
        factor = scale / np.sqrt(variance + epsilon)
        names = (f"{norm.output[0]}.folded_weight", f"{norm.output[0]}.folded_bias")
        new = (
            weight * factor.reshape(-1, *[1] * (weight.ndim - 1)),
            (bias - mean) * factor + shift,
        )
        for name, array in zip(names, new, strict=True):
            graph.initializer.append(numpy_helper.from_array(array.astype(np.float32), name))
        first = conv.input[0]
        del conv.input[:]
        conv.input.extend([first, *names])
        conv.output[0] = norm.output[0]
        folded.append(norm)
    for norm in folded:
        graph.node.remove(norm)
    drop_unused_initializers(graph)
    return len(folded)


def strip_annotations(model: onnx.ModelProto) -> None:
    """Remove what tools leave behind: stack traces with paths, doc strings, producer notes.

    Names every node that has no name or another's, so that a node can be spoken of.

    Args:
        model: Changed in place.
    """
    graph = model.graph
    model.ClearField("metadata_props")
    model.doc_string = ""
    graph.doc_string = ""
    graph.ClearField("metadata_props")
    graph.ClearField("value_info")
    graph.name = "network"
    taken: set[str] = set()
    for number, node in enumerate(graph.node):
        node.doc_string = ""
        node.ClearField("metadata_props")
        name = node.name or f"{node.op_type}_{number}"
        node.name = name if name not in taken else f"{name}_of_{node.output[0]}"
        taken.add(node.name)
    for item in (*graph.input, *graph.output, *graph.initializer):
        item.doc_string = ""
        item.ClearField("metadata_props")


def drop_unused_domains(model: onnx.ModelProto) -> None:
    """Take out the opset imports that no node uses; quantizers leave a handful behind.

    Args:
        model: Changed in place.
    """
    used = {node.domain for node in model.graph.node} | {"", "ai.onnx"}
    kept = [item for item in model.opset_import if item.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)


def uses_of(graph: onnx.GraphProto) -> Iterator[str]:
    """Every use of a tensor, once each: by nodes, by subgraphs' nodes, as an output."""
    for node in graph.node:
        yield from node.input
        for attribute in node.attribute:
            for subgraph in (attribute.g, *attribute.graphs):
                yield from uses_of(subgraph)
    yield from (output.name for output in graph.output)


def drop_unused_initializers(graph: onnx.GraphProto) -> None:
    """Take out the initializers that nothing reads.

    Args:
        graph: Changed in place.
    """
    used = set(uses_of(graph))
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
