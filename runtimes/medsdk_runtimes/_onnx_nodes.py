"""The nodes and constants of a graph's main part, for checks of how they are joined.

`graph.scan` comes first: it refuses what is malformed, so that this reader can be short.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from medsdk_runtimes._onnx_tensors import RAW_DATA, TYPES
from medsdk_runtimes._onnx_wire import WireReader, signed
from medsdk_runtimes.graph import GraphLimits

_FLOATS: Final = 4
_INTEGERS: Final = 5
_READ: Final = frozenset({"float32", "int8", "uint8", "int32"})


@dataclass(frozen=True)
class Constant:
    """An initializer, or the tensor of a Constant node.

    Attributes:
        dtype: numpy's name of its element type, or ONNX's where numpy has none.
        shape: Its axes.
    """

    dtype: str
    shape: tuple[int, ...]
    _data: memoryview
    _entries: tuple[tuple[int, int, int], ...]

    def values(self) -> NDArray[np.generic]:
        """The elements, flat.

        Raises:
            ValueError: Of another type than float32, int8, uint8 and int32.
        """
        if self.dtype not in _READ:
            raise ValueError(self.dtype)
        raw = np.dtype(self.dtype).newbyteorder("<")
        floats = np.dtype("<f4")
        parts: list[NDArray[np.generic]] = [np.empty(0, raw)]
        for number, a, b in self._entries:
            if number == _INTEGERS:
                text = bytes(self._data[a:b]) if b >= 0 else b""
                reader = WireReader(text, len(text) + 1, 1)
                numbers = reader.numbers("TensorProto", 0, len(text)) if b >= 0 else [signed(a)]
                parts.append(np.array(numbers, np.int64).astype(raw))
            else:
                parts.append(np.frombuffer(self._data[a:b], raw if number == RAW_DATA else floats))
        return np.concatenate(parts)


@dataclass(frozen=True)
class Node:
    """One node.

    Attributes:
        name: Its name; empty where it has none.
        operator: What it does.
        inputs: Names of tensors; an empty one is an input that is left out.
        outputs: Names of tensors.
        integers: Its attributes that are one integer.
    """

    name: str
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    integers: Mapping[str, int]


@dataclass
class Topology:
    """The main graph.

    Attributes:
        nodes: In the graph's order.
        constants: By tensor name.
        outputs: Names of the graph's outputs.
        captured: Names that nodes of subgraphs read, be they the main graph's or their own.
    """

    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, Constant] = field(default_factory=dict)
    outputs: set[str] = field(default_factory=set)
    captured: set[str] = field(default_factory=set)


def read_topology(data: bytes, limits: GraphLimits) -> Topology:
    """Read the nodes and constants of a graph that `graph.scan` has let through.

    Args:
        data: The serialised ModelProto.
        limits: Those of the scan.

    Returns:
        The main graph; of subgraphs only the names that they read.
    """
    reader = WireReader(data, limits.fields, limits.depth)
    found = Topology()
    for number, a, b in reader.fields("ModelProto", 0, len(data), 0):
        if number == 7:
            _graph(reader, a, b, found)
    return found


def _graph(reader: WireReader, start: int, end: int, found: Topology) -> None:
    for number, a, b in reader.fields("GraphProto", start, end, 1):
        if number == 1:
            node, constant = _node(reader, a, b, found)
            found.nodes.append(node)
            if constant is not None and node.operator == "Constant" and node.outputs:
                found.constants[node.outputs[0]] = constant
        elif number == 5:
            name, constant = _tensor(reader, a, b)
            found.constants[name] = constant
        elif number == 12:
            for inner, c, d in reader.fields("ValueInfoProto", a, b, 2):
                if inner == 1:
                    found.outputs.add(reader.text("ValueInfoProto", c, d))


def _node(
    reader: WireReader, start: int, end: int, found: Topology
) -> tuple[Node, Constant | None]:
    names: dict[int, list[str]] = {1: [], 2: [], 3: [""], 4: [""]}
    integers: dict[str, int] = {}
    constant = None
    for number, a, b in reader.fields("NodeProto", start, end, 2):
        if number in names:
            names[number].append(reader.text("NodeProto", a, b))
        elif number == 5:
            name, value, tensor = _attribute(reader, a, b, found)
            if value is not None:
                integers[name] = value
            if name == "value":
                constant = tensor
    node = Node(names[3][-1], names[4][-1], tuple(names[1]), tuple(names[2]), integers)
    return node, constant


def _attribute(
    reader: WireReader, start: int, end: int, found: Topology
) -> tuple[str, int | None, Constant | None]:
    name, value, tensor = "", None, None
    for number, a, b in reader.fields("AttributeProto", start, end, 3):
        if number == 1:
            name = reader.text("AttributeProto", a, b)
        elif number == 3:
            value = signed(a)
        elif number == 5:
            _, tensor = _tensor(reader, a, b)
        elif number in (6, 11):
            inner = Topology(captured=found.captured)
            _graph(reader, a, b, inner)
            found.captured.update(inner.outputs)
            found.captured.update(name for node in inner.nodes for name in node.inputs)
    return name, value, tensor


def _tensor(reader: WireReader, start: int, end: int) -> tuple[str, Constant]:
    name, data_type = "", 0
    shape: list[int] = []
    entries = []
    for number, a, b in reader.fields("TensorProto", start, end, 4):
        if number == 1:
            shape += [signed(a)] if b < 0 else reader.numbers("TensorProto", a, b)
        elif number == 2:
            data_type = signed(a)
        elif number == 8:
            name = reader.text("TensorProto", a, b)
        elif number in (RAW_DATA, _FLOATS, _INTEGERS):
            entries.append((number, a, b))
    view = memoryview(reader.data)
    return name, Constant(TYPES[data_type][0], tuple(shape), view, tuple(entries))
