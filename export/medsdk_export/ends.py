"""What a graph ends in, held to what the task decodes.

A softmax that is applied twice, or not at all, gives probabilities that look like probabilities.
So the end is judged in the graph, and again in the numbers that the source gives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray

from medsdk.tasks import Network
from medsdk.tasks.decoding import ClassificationDecode
from medsdk_export.errors import GraphMismatchError
from medsdk_export.graphs import producers

End = Literal["softmax", "sigmoid", "none"]

TAILS = (
    *("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Cast", "Transpose", "Dropout"),
    *("Concat", "Slice", "Gather"),
)
"""Operators that may stand behind a softmax and change none of its values."""

SUM_TOLERANCE = 1e-3
"""How far from 1 a softmax in float32 may sum up."""

_ENDS: Mapping[str, End] = {"Softmax": "softmax", "Sigmoid": "sigmoid", "HardSigmoid": "sigmoid"}


def end_of(graph: onnx.GraphProto, output: str) -> End:
    """What an output ends in, stepping back over what changes no value.

    Args:
        graph: The graph.
        output: Name of the output.

    Returns:
        `softmax` or `sigmoid` where one is behind it, else `none`.
    """
    made_by = producers(graph)
    node = made_by.get(output)
    while node is not None and node.op_type in TAILS:
        node = made_by.get(node.input[0])
    return "none" if node is None else _ENDS.get(node.op_type, "none")


def check_end(graph: onnx.GraphProto, network: Network) -> None:
    """Refuse a graph with an activation inside where the task applies one.

    Args:
        graph: The graph, its outputs named as the task names them.
        network: The task's description.

    Raises:
        GraphMismatchError: It has one.
    """
    decode = network.decode
    if not isinstance(decode, ClassificationDecode) or decode.activation == "none":
        return
    found = end_of(graph, decode.output)
    if found != "none":
        raise _twice(f"{found} inside the graph", decode.activation)


def check_scores(outputs: Sequence[Mapping[str, NDArray[np.generic]]], network: Network) -> None:
    """Refuse what the numbers show: probabilities where logits should be, or the reverse.

    Args:
        outputs: What the source gave for real images.
        network: The task's description.

    Raises:
        GraphMismatchError: `softmax` is declared and every row is one already, or `none` is
            declared and there is a score outside 0..1.
    """
    decode = network.decode
    if not isinstance(decode, ClassificationDecode):
        return
    rows = [
        row
        for item in outputs
        for row in np.asarray(item[decode.output], np.float64).reshape(len(item[decode.output]), -1)
    ]
    if decode.activation == "softmax" and all(
        len(row) > 1 and row.min() >= 0 and abs(row.sum() - 1) <= SUM_TOLERANCE for row in rows
    ):
        raise _twice("scores that are all at least 0 and sum up to 1", decode.activation)
    if decode.activation == "none":
        low = min(float(row.min()) for row in rows)
        high = max(float(row.max()) for row in rows)
        if low < -SUM_TOLERANCE or high > 1 + SUM_TOLERANCE:
            raise GraphMismatchError(
                "the graph gives no probabilities, and the task decodes none from its scores",
                got=f"scores from {low:.3g} to {high:.3g}",
                expected="0 to 1, since decode.activation is 'none'",
                remedy="set decode.activation to 'softmax' or 'sigmoid' in the task file",
            )


def _twice(found: str, activation: str) -> GraphMismatchError:
    return GraphMismatchError(
        "the graph's end is not what the task decodes",
        got=found,
        expected=f"logits, since decode.activation is {activation!r} and would be applied twice",
        remedy="set decode.activation = 'none' in the task file, or export the network's logits",
    )
