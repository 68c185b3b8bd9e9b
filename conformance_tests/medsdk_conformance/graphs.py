"""ONNX graphs for the cases and checks, built with `onnx.helper` when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

OPSET = 20
"""What graphs are made in unless a case says otherwise: what medsdk's bundles hold."""
IR_VERSIONS = {13: 7, 17: 8, OPSET: 10, 21: 10}
"""By opset, the IR version that graphs are made in."""
FOREIGN_OPSETS = tuple(opset for opset in IR_VERSIONS if opset != OPSET)
"""Opsets of graphs that somebody else exported and quantized; a few cases have them."""

Axes = Sequence[int | str]
Edge = tuple[str, str, Axes]
"""Name, numpy dtype and axes of a graph's input or output; a word is a dynamic axis."""


def node(operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> Any:  # noqa: ANN401 - NodeProto
    """A node; several outputs are parted by blanks."""
    from onnx import helper

    return helper.make_node(operator, list(inputs), output.split(" "), **attributes)


def model(
    nodes: Sequence[Any],
    inputs: Sequence[Edge],
    outputs: Sequence[Edge],
    **tensors: NDArray[Any],
) -> Any:  # noqa: ANN401 - ModelProto
    """A model; `tensors` are its initializers."""
    from onnx import helper, numpy_helper

    def edges(items: Sequence[Edge]) -> list[Any]:
        return [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), list(axes)
            )
            for name, dtype, axes in items
        ]

    graph = helper.make_graph(
        list(nodes),
        "conformance",
        edges(inputs),
        edges(outputs),
        [numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSIONS[OPSET]
    )


def serialized(
    nodes: Sequence[Any],
    inputs: Sequence[Edge],
    outputs: Sequence[Edge],
    **tensors: NDArray[Any],
) -> bytes:
    """The bytes of `model`."""
    return bytes(model(nodes, inputs, outputs, **tensors).SerializeToString())


def at_opset(made: Any, opset: int) -> bytes:  # noqa: ANN401 - ModelProto
    """The bytes of a model whose nodes are meant in another opset."""
    made.opset_import[0].version = opset
    made.ir_version = IR_VERSIONS[opset]
    return bytes(made.SerializeToString())


def affine(channels: int = 4, batch: int | str = "batch") -> bytes:
    """`y = 2 * x + 1` over (batch, channels): what the behaviour checks run."""
    return serialized(
        [node("Mul", ["x", "two"], "doubled"), node("Add", ["doubled", "one"], "y")],
        [("x", "float32", (batch, channels))],
        [("y", "float32", (batch, channels))],
        two=np.full((channels,), 2, np.float32),
        one=np.ones((channels,), np.float32),
    )


def product(weights: NDArray[np.float32]) -> bytes:
    """`y = x @ weights`: a graph with one layer that carries arithmetic."""
    rows, columns = weights.shape
    return serialized(
        [node("MatMul", ["x", "weights"], "y")],
        [("x", "float32", ("batch", rows))],
        [("y", "float32", ("batch", columns))],
        weights=weights,
    )
