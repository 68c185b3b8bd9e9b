"""Digests that tell a graph's weights from its topology, read from its bytes.

Two files of one network may differ in their weights, in their operators, or in nothing that is
computed (names of nodes, notes, who wrote them). Like `graph`, this needs no onnx package.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from medsdk_runtimes._onnx_tensors import FIXED_DATA, RAW_DATA, STRING_DATA, TYPES, VARINT_DATA
from medsdk_runtimes._onnx_wire import WireReader, malformed, signed
from medsdk_runtimes.graph import GraphLimits, scan

_SAYS_NOTHING: Final[Mapping[str, frozenset[int]]] = {
    # IR version, who wrote it, its version, domain and notes; metadata.
    "ModelProto": frozenset({1, 2, 3, 4, 5, 6, 14}),
    # Its name and notes, types of intermediate values, quantization annotations, metadata.
    "GraphProto": frozenset({2, 10, 13, 14, 16}),
    "NodeProto": frozenset({3, 6, 9}),
    "AttributeProto": frozenset({13}),
    "ValueInfoProto": frozenset({3, 4}),
    "TypeProto": frozenset({6}),
    "TensorShapeProto.Dimension": frozenset({3}),
}
"""Fields by which nothing is computed."""

_UNORDERED: Final[Mapping[str, frozenset[int]]] = {
    "ModelProto": frozenset({8}),
    "GraphProto": frozenset({5}),
    "NodeProto": frozenset({5}),
}
"""Operator sets, initializers and attributes mean the same in any order."""


@dataclass(frozen=True)
class GraphDigests:
    """What a graph computes, in two parts.

    Attributes:
        topology: sha256 of operators, attributes, names of values, inputs, outputs, and the
            shapes and types of the weights.
        weights: sha256 of the values of every tensor in the graph, scales and zero points of a
            quantized one too.
        tensors: sha256 of the values by initializer, of the main graph.
    """

    topology: str
    weights: str
    tensors: Mapping[str, str]


def graph_digests(data: bytes) -> GraphDigests:
    """Digests of an ONNX model; equal weights may be stored in either of ONNX's two forms.

    Args:
        data: The serialised ModelProto, all of it.

    Returns:
        The digests, hexadecimal.

    Raises:
        GraphRefusedError: What `graph.scan` refuses.
    """
    scan(data)
    walk = _Walk(data, GraphLimits())
    topology = walk.message("ModelProto", 0, len(data), 0)
    weights = hashlib.sha256()
    for name, digest in sorted(walk.named.items()):
        weights.update(hashlib.sha256(name.encode()).digest() + digest)
    for digest in walk.nameless:
        weights.update(digest)
    return GraphDigests(
        topology=topology.hex(),
        weights=weights.hexdigest(),
        tensors={name: digest.hex() for name, digest in walk.named.items()},
    )


class _Walk:
    """One pass over a model that `scan` let through."""

    def __init__(self, data: bytes, limits: GraphLimits) -> None:
        self.reader = WireReader(data, limits.fields, limits.depth)
        self.named: dict[str, bytes] = {}
        self.nameless: list[bytes] = []

    def message(self, kind: str, start: int, end: int, depth: int) -> bytes:
        """Digest of a message without its tensors' values, which go to the weights."""
        ignored = _SAYS_NOTHING.get(kind, frozenset())
        parts: dict[int, list[bytes]] = {}
        for number, a, b in self.reader.fields(kind, start, end, depth):
            if number not in ignored:
                parts.setdefault(number, []).append(self.value(kind, number, a, b, depth))
        for number in _UNORDERED.get(kind, frozenset()) & parts.keys():
            parts[number].sort()
        digest = hashlib.sha256(kind.encode())
        for number, values in sorted(parts.items()):
            digest.update(struct.pack("<IQ", number, len(values)))
            for value in values:
                digest.update(struct.pack("<Q", len(value)) + value)
        return digest.digest()

    def value(self, kind: str, number: int, a: int, b: int, depth: int) -> bytes:
        inner = self.reader.message_in(kind, number)
        if b < 0:
            return struct.pack("<Q", a)
        if inner is None:
            return self.reader.data[a:b]
        if inner == "TensorProto":
            return self.tensor(a, b, depth + 1, in_graph=kind == "GraphProto" and depth == 1)
        return self.message(inner, a, b, depth + 1)

    def tensor(self, start: int, end: int, depth: int, *, in_graph: bool) -> bytes:
        """Name, type and shape of a tensor; its values go to the weights."""
        reader = self.reader
        name, data_type = "", 0
        dims: list[int] = []
        values = hashlib.sha256()
        varints: list[int] = []
        for number, a, b in reader.fields("TensorProto", start, end, depth):
            if number == 1:
                dims.extend([signed(a)] if b < 0 else reader.numbers("TensorProto", a, b))
            elif number == 2:
                data_type = signed(a)
            elif number == 8:
                name = reader.text("TensorProto", a, b)
            elif number == STRING_DATA:
                values.update(struct.pack("<Q", b - a) + reader.data[a:b])
            elif number == RAW_DATA or number in FIXED_DATA:
                values.update(memoryview(reader.data)[a:b])
            elif number in VARINT_DATA:
                varints.extend([signed(a)] if b < 0 else reader.numbers("TensorProto", a, b))
        type_name, bits = TYPES.get(data_type, ("", 0))
        if not type_name:
            raise malformed("TensorProto", f"the element type {data_type}")
        values.update(_as_raw(varints, bits))
        if in_graph:
            self.named[name] = values.digest()
        else:
            self.nameless.append(values.digest())
        return f"{name if in_graph else ''} {type_name} {dims}".encode()


def _as_raw(numbers: list[int], bits: int) -> bytes:
    """Numbers of a varint field as `raw_data` holds them: little endian, low bits kept."""
    size = max(1, bits // 8)
    mask = (1 << 8 * size) - 1
    return b"".join((number & mask).to_bytes(size, "little") for number in numbers)
