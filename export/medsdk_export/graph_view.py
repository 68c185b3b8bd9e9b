"""A graph with what its rewrites look up."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper


class GraphView:
    """A graph with what the rewrites look up."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph
        self.tensors = {item.name: item for item in graph.initializer}
        self.made_by = {name: node for node in graph.node for name in node.output}
        self.outputs = {item.name for item in graph.output}
        self.uses = Counter(name for node in graph.node for name in node.input)

    def constant(self, name: str) -> NDArray[np.generic] | None:
        """The initializer of this name; None where the tensor depends on the input."""
        tensor = self.tensors.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor)

    def only_before(self, node: onnx.NodeProto, name: str, kind: str) -> onnx.NodeProto | None:
        """The node of this kind that makes `name` for `node` alone."""
        before = self.made_by.get(name)
        alone = self.uses[name] == 1 and name not in self.outputs
        return before if before is not None and before.op_type == kind and alone else None

    def add(self, name: str, array: NDArray[np.generic]) -> str:
        """A new initializer; gives its name back."""
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


def attributes_of(node: onnx.NodeProto) -> dict[str, object]:
    """A node's attributes by name."""
    return {item.name: helper.get_attribute_value(item) for item in node.attribute}


def set_attribute(node: onnx.NodeProto, name: str, value: object) -> None:
    """Give a node an attribute, in place of one of the same name."""
    for item in [item for item in node.attribute if item.name == name]:
        node.attribute.remove(item)
    node.attribute.append(helper.make_attribute(name, value))


def with_constant(
    view: GraphView, node: onnx.NodeProto, kinds: tuple[str, ...]
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


def bias_of(
    view: GraphView, node: onnx.NodeProto, index: int, size: int
) -> NDArray[np.float64] | None:
    """A layer's bias as float64, zeros where it has none; None where it is no constant."""
    if len(node.input) <= index or not node.input[index]:
        return np.zeros(size)
    found = view.constant(node.input[index])
    return None if found is None or found.shape != (size,) else found.astype(np.float64)
