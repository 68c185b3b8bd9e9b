"""Which nodes of a graph are worth 8 bits, whatever the form."""

from __future__ import annotations

import onnx

from medsdk_export.graphs import constant_names, producers

LAYERS = ("Conv", "Gemm", "MatMul")
"""Operators with weights; the only ones that integers make faster."""


def layers_of(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The layers with constant weights, in the graph's order."""
    constants = constant_names(graph)
    return [
        node
        for node in graph.node
        if node.op_type in LAYERS and any(name in constants for name in node.input[1:2])
    ]


def before_layers(graph: onnx.GraphProto) -> set[str]:
    """Names of the nodes that stand before a layer with constant weights.

    What is not among them is the tail behind the last layer, which stays float: its Mul and Add
    quantized alone flip decisions.
    """
    made_by = producers(graph)
    upstream: set[str] = set()
    pending = layers_of(graph)
    while pending:
        node = pending.pop()
        for name in node.input:
            before = made_by.get(name)
            if before is not None and before.name not in upstream:
                upstream.add(before.name)
                pending.append(before)
    return upstream


def is_sum_of_activations(node: onnx.NodeProto, constants: set[str]) -> bool:
    """Whether a node adds two tensors that both depend on the input, as a residual does."""
    return node.op_type == "Add" and not any(name in constants for name in node.input)
