"""What an ONNX graph holds, read from its bytes before any library sees them.

`scan` needs neither the onnx package nor protobuf, so it runs on a device. It is strict: what it
does not know it refuses, so that the libraries behind it read the same graph as it did. It is
bounded: it copies no weights, and no number in a header makes it allocate or loop.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from medsdk_runtimes._onnx_tensors import (
    FIXED_DATA,
    RAW_DATA,
    STRING_DATA,
    TYPES,
    VARINT_DATA,
    holds,
)
from medsdk_runtimes._onnx_wire import WireReader, malformed, signed
from medsdk_runtimes.contract import TensorSpec
from medsdk_runtimes.errors import GraphRefusedError

STANDARD_DOMAINS: Final = frozenset({"", "ai.onnx"})
"""The two names of ONNX's own operators."""


@dataclass(frozen=True)
class GraphLimits:
    """What a graph may be at most.

    Attributes:
        bytes: Size of the file, and of each tensor it declares. Protobuf itself ends at 2 GiB.
        nodes: Nodes, those of subgraphs included.
        depth: Messages inside each other; a subgraph takes three.
        fields: Protobuf fields in all, which bounds the time a scan takes.
        domains: Operator domains that are let through.
    """

    bytes: int = 2**31 - 1
    nodes: int = 100_000
    depth: int = 32
    fields: int = 2_000_000
    domains: frozenset[str] = STANDARD_DOMAINS


@dataclass(frozen=True)
class GraphFacts:
    """What `scan` found.

    Attributes:
        ir_version: ONNX IR version.
        opsets: Version by operator domain; `""` is ONNX's own.
        operators: Number of nodes by (domain, operator), those of subgraphs included.
        inputs: What a caller has to give, in the graph's order (initializers left out).
        outputs: In the graph's order.
        initializers: Size in bytes by name, of the main graph.
        tensor_bytes: Size of all tensors, those in attributes and subgraphs included.
        tensor_types: Element types of all tensors with at least one axis, or of the inputs
            where there is none; numpy's names, or ONNX's for types that numpy lacks.
        subgraphs: Graphs inside attributes.
        quantized_layers: Convolutions and matrix products that the graph does in 8 bits: both
            operands come from DequantizeLinear, or the operator is an integer one.
        metadata: The model's metadata, as text.
    """

    ir_version: int
    opsets: Mapping[str, int]
    operators: Mapping[tuple[str, str], int]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    initializers: Mapping[str, int]
    tensor_bytes: int
    tensor_types: frozenset[str]
    subgraphs: int
    quantized_layers: int
    metadata: Mapping[str, str]

    @property
    def nodes(self) -> int:
        """Number of nodes, those of subgraphs included."""
        return sum(self.operators.values())

    @property
    def has_quantization(self) -> bool:
        """Whether the graph quantizes or dequantizes anything, weights included."""
        return bool(self.quantized_layers) or any(
            operator in {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"}
            for _, operator in self.operators
        )


LAYERS: Final = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Operators that carry the arithmetic of a network."""

INTEGER_LAYERS: Final = frozenset(
    {
        *("QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger"),  # ONNX's own
        *("QGemm", "QLinearConvTranspose", "MatMulIntegerToFloat", "DynamicQuantizeMatMul"),
    }
)
"""The same in 8-bit integers; the second line is what ONNX Runtime makes of QDQ graphs."""

_SHOWN: Final = 80


def scan(data: bytes, limits: GraphLimits = GraphLimits()) -> GraphFacts:
    """Read an ONNX model.

    Args:
        data: The serialised ModelProto, all of it.
        limits: What is refused for its size or its domain.

    Returns:
        What the graph holds.

    Raises:
        GraphRefusedError: Not well-formed, over a limit, external data, a custom operator
            domain, a local function, training information, an input or output that is no
            tensor with a known number of axes, or a tensor whose size is not that of its data.
    """
    if len(data) > limits.bytes:
        raise GraphRefusedError(
            "the graph is too large",
            got=f"{len(data)} bytes",
            expected=f"at most {limits.bytes}",
        )
    return _Scan(data, limits).model()


class _Scan:
    """One pass over one model."""

    def __init__(self, data: bytes, limits: GraphLimits) -> None:
        self.limits = limits
        self.reader = WireReader(data, limits.fields, limits.depth)
        self.operators: dict[tuple[str, str], int] = {}
        self.nodes = 0
        self.subgraphs = 0
        self.quantized_layers = 0
        self.tensor_bytes = 0
        self.tensor_types: set[str] = set()

    def model(self) -> GraphFacts:
        reader = self.reader
        ir_version = 0
        opsets: dict[str, int] = {}
        metadata: dict[str, str] = {}
        graph: _Graph | None = None
        for number, a, b in reader.fields("ModelProto", 0, len(reader.data), 0):
            match number:
                case 1:
                    ir_version = signed(a)
                case 7:
                    graph = self.graph(a, b, 1)
                case 8:
                    domain, version = self.opset(a, b)
                    if domain in opsets:
                        raise malformed("ModelProto", f"two versions of the domain {domain!r}")
                    opsets[domain] = version
                case 14:
                    key, value = self.entry(a, b)
                    metadata[key] = value
                case 20:
                    raise _unwanted("training information", "an inference graph")
                case 25:
                    raise self.function(a, b)
                case 26:
                    raise _unwanted("a configuration of several devices", "one device")
                case 2 | 3 | 4 | 6:
                    reader.text("ModelProto", a, b)
                case _:
                    continue
        if graph is None or not graph.outputs:
            raise malformed("ModelProto", "no graph, or a graph without outputs")
        if ir_version < 1 or not opsets:
            raise malformed("ModelProto", "no IR version or no operator set")
        inputs = tuple(spec for spec in graph.inputs if spec.name not in graph.initializers)
        if not self.tensor_types:
            self.tensor_types.update(spec.dtype for spec in inputs)
        return GraphFacts(
            ir_version=ir_version,
            opsets=opsets,
            operators=self.operators,
            inputs=inputs,
            outputs=tuple(graph.outputs),
            initializers=graph.initializers,
            tensor_bytes=self.tensor_bytes,
            tensor_types=frozenset(self.tensor_types),
            subgraphs=self.subgraphs,
            quantized_layers=self.quantized_layers,
            metadata=metadata,
        )

    def opset(self, start: int, end: int) -> tuple[str, int]:
        domain, version = "", 0
        for number, a, b in self.reader.fields("OperatorSetIdProto", start, end, 1):
            if number == 1:
                domain = self.reader.text("OperatorSetIdProto", a, b)
            else:
                version = signed(a)
        return self.allowed(domain, "an operator set"), version

    def function(self, start: int, end: int) -> GraphRefusedError:
        name = domain = ""
        for number, a, b in self.reader.fields("FunctionProto", start, end, 1):
            if number == 1:
                name = self.reader.text("FunctionProto", a, b)
            elif number == 10:
                domain = self.reader.text("FunctionProto", a, b)
        # In a standard domain it would replace an operator that everybody believes to know.
        return _unwanted(
            f"the local function {_shown(name)} in the domain {_shown(domain)}",
            "standard operators only",
            "inline functions when exporting (onnx.inliner)",
        )

    def graph(self, start: int, end: int, depth: int) -> _Graph:
        reader = self.reader
        found = _Graph()
        dequantized: set[str] = set()
        layers: list[list[str]] = []
        for number, a, b in reader.fields("GraphProto", start, end, depth):
            match number:
                case 1:
                    self.node(a, b, depth + 1, dequantized, layers)
                case 5:
                    name, size = self.tensor(a, b, depth + 1)
                    if name in found.initializers:
                        raise malformed("GraphProto", f"two initializers {_shown(name)}")
                    found.initializers[name] = size
                case 15:
                    self.sparse_tensor(a, b, depth + 1)
                # The types inside a subgraph may be left open; the main graph's may not.
                case 11 if depth == 1:
                    found.inputs.append(self.spec(a, b, "input"))
                case 12 if depth == 1:
                    found.outputs.append(self.spec(a, b, "output"))
                case 11 | 12 | 13:
                    reader.check("ValueInfoProto", a, b, depth + 1)
                case 14:
                    reader.check("TensorAnnotation", a, b, depth + 1)
                case 16:
                    self.entry(a, b)
                case _:
                    reader.text("GraphProto", a, b)
        for specs in (found.inputs, found.outputs):
            if len({spec.name for spec in specs}) != len(specs):
                raise malformed("GraphProto", "two inputs or two outputs of one name")
        self.quantized_layers += sum(
            len(operands) > 1 and dequantized.issuperset(operands[:2]) for operands in layers
        )
        return found

    def node(
        self, start: int, end: int, depth: int, dequantized: set[str], layers: list[list[str]]
    ) -> None:
        self.nodes += 1
        if self.nodes > self.limits.nodes:
            raise GraphRefusedError(
                "the graph has too many nodes",
                got=f"more than {self.limits.nodes}",
                expected=f"at most {self.limits.nodes}",
            )
        reader = self.reader
        operands: list[str] = []
        results: list[str] = []
        operator = domain = ""
        for number, a, b in reader.fields("NodeProto", start, end, depth):
            if number == 1:
                operands.append(reader.text("NodeProto", a, b))
            elif number == 2:
                results.append(reader.text("NodeProto", a, b))
            elif number == 5:
                self.attribute(a, b, depth + 1)
            elif number == 4:
                operator = reader.text("NodeProto", a, b)
            elif number == 7:
                domain = reader.text("NodeProto", a, b)
            elif number == 9:
                self.entry(a, b)
            elif number == 10:
                raise _unwanted("a node for several devices", "one device")
            else:
                reader.text("NodeProto", a, b)
        if not operator:
            raise malformed("NodeProto", "no operator")
        key = (self.allowed(domain, f"the operator {_shown(operator)}"), operator)
        self.operators[key] = self.operators.get(key, 0) + 1
        if operator == "DequantizeLinear":
            dequantized.update(results)
        elif operator in LAYERS:
            layers.append(operands)
        elif operator in INTEGER_LAYERS:
            self.quantized_layers += 1

    def attribute(self, start: int, end: int, depth: int) -> None:
        reader = self.reader
        for number, a, b in reader.fields("AttributeProto", start, end, depth):
            match number:
                case 1 | 13 | 21:
                    reader.text("AttributeProto", a, b)
                case 5 | 10:
                    self.tensor(a, b, depth + 1)
                case 6 | 11:
                    self.subgraphs += 1
                    self.graph(a, b, depth + 1)
                case 22 | 23:
                    self.sparse_tensor(a, b, depth + 1)
                case 14 | 15:
                    reader.check("TypeProto", a, b, depth + 1)
                case 7 if (b - a) % 4 and b >= 0:
                    raise malformed("AttributeProto", "a number that is cut short")
                case 8 if b >= 0:
                    reader.count("AttributeProto", a, b)
                case _:
                    continue

    def tensor(self, start: int, end: int, depth: int) -> tuple[str, int]:
        """Name and size in bytes."""
        reader = self.reader
        name = ""
        data_type = 0
        dims: list[int] = []
        entries: dict[int, int] = {}  # by field; for raw_data bytes
        for number, a, b in reader.fields("TensorProto", start, end, depth):
            if number == 1:
                dims.extend([signed(a)] if b < 0 else reader.numbers("TensorProto", a, b))
            elif number == 2:
                data_type = signed(a)
            elif number == RAW_DATA:
                entries[number] = b - a
            elif number == STRING_DATA:
                entries[number] = entries.get(number, 0) + 1
            elif number in FIXED_DATA:
                if (b - a) % FIXED_DATA[number]:
                    raise malformed("TensorProto", "a number that is cut short")
                entries[number] = entries.get(number, 0) + (b - a) // FIXED_DATA[number]
            elif number in VARINT_DATA:
                count = 1 if b < 0 else reader.count("TensorProto", a, b)
                entries[number] = entries.get(number, 0) + count
            elif number == 13 or (number == 14 and a != 0):
                raise _unwanted(
                    "a tensor whose data lies in another file",
                    "all data inside the graph",
                    "export with external_data=False",
                )
            elif number == 3:
                raise _unwanted("a segment of a tensor", "whole tensors")
            elif number == 16:
                self.entry(a, b)
            elif number in {8, 12}:
                text = reader.text("TensorProto", a, b)
                name = text if number == 8 else name
        if data_type not in TYPES:
            raise malformed("TensorProto", f"the element type {data_type}")
        type_name, bits = TYPES[data_type]
        elements = self.elements(dims, bits)
        held = {number: count for number, count in entries.items() if count}
        if len(held) > 1 or not holds(held, data_type, elements, bits):
            raise malformed(
                "TensorProto", f"the shape {dims} of {type_name} and other data than that needs"
            )
        size = -(-elements * bits // 8)
        self.tensor_bytes += size
        if dims:
            self.tensor_types.add(type_name)
        return name, size

    def elements(self, dims: list[int], bits: int) -> int:
        # The zeros are left out, so that (0, 2**60) is refused as well.
        size = math.prod(axis for axis in dims if axis) if len(dims) <= 64 else -1
        too_large = size * max(bits, 8) > 8 * self.limits.bytes
        if too_large or size < 0 or any(axis < 0 for axis in dims):
            raise GraphRefusedError(
                "the graph declares a tensor that is too large or has an impossible shape",
                got=_shown(str(dims)),
                expected=f"at most {self.limits.bytes} bytes and 64 axes",
            )
        return 0 if 0 in dims else size

    def sparse_tensor(self, start: int, end: int, depth: int) -> None:
        dims: list[int] = []
        for number, a, b in self.reader.fields("SparseTensorProto", start, end, depth):
            if number in {1, 2}:
                self.tensor(a, b, depth + 1)
            else:
                dims.extend(
                    [signed(a)] if b < 0 else self.reader.numbers("SparseTensorProto", a, b)
                )
        self.elements(dims, 64)

    def spec(self, start: int, end: int, kind: str) -> TensorSpec:
        """An input or an output of the main graph: a tensor with a known number of axes."""
        reader = self.reader
        name, dtype = "", ""
        shape: tuple[int | None, ...] | None = None
        for number, a, b in reader.fields("ValueInfoProto", start, end, 2):
            if number == 1:
                name = reader.text("ValueInfoProto", a, b)
            elif number == 2:
                for type_number, c, d in reader.fields("TypeProto", a, b, 3):
                    if type_number == 1:
                        dtype, shape = self.tensor_type(c, d)
                    elif type_number == 6:
                        reader.text("TypeProto", c, d)
                    else:
                        raise _unwanted(
                            f"the {kind} {_shown(name)}, which is no tensor", "tensors only"
                        )
            elif number == 3:
                reader.text("ValueInfoProto", a, b)
            else:
                self.entry(a, b)
        if not name or not dtype or shape is None:
            raise _unwanted(
                f"the {kind} {_shown(name)} without a name, a type or a number of axes",
                f"name, type and shape of every {kind}",
                "run ONNX shape inference when exporting",
            )
        return TensorSpec(name, dtype, shape)

    def tensor_type(self, start: int, end: int) -> tuple[str, tuple[int | None, ...] | None]:
        reader = self.reader
        dtype = ""
        shape: list[int | None] | None = None
        for number, a, b in reader.fields("TypeProto.Tensor", start, end, 4):
            if number == 1:
                dtype, _ = TYPES.get(signed(a), ("", 0))
                continue
            shape = []
            for _, c, d in reader.fields("TensorShapeProto", a, b, 5):
                size: int | None = None
                for dim_number, e, f in reader.fields("TensorShapeProto.Dimension", c, d, 6):
                    if dim_number == 1:
                        size = signed(e)
                        if not 0 <= size <= self.limits.bytes:
                            raise malformed("TensorShapeProto", f"an axis of {size}")
                    else:
                        reader.text("TensorShapeProto", e, f)
                shape.append(size)
        return dtype, None if shape is None else tuple(shape)

    def entry(self, start: int, end: int) -> tuple[str, str]:
        key = value = ""
        for number, a, b in self.reader.fields("StringStringEntryProto", start, end, 1):
            text = self.reader.text("StringStringEntryProto", a, b)
            key, value = (text, value) if number == 1 else (key, text)
        return key, value

    def allowed(self, domain: str, what: str) -> str:
        """`domain` with its standard name, if it is let through."""
        if domain not in self.limits.domains:
            raise _unwanted(
                f"{what} of the domain {_shown(domain)}",
                "the standard operators of ONNX (and no import of other domains)",
                "replace custom operators when exporting, and drop unused opset imports",
            )
        return "" if domain == "ai.onnx" else domain


class _Graph:
    """What is read of one GraphProto."""

    def __init__(self) -> None:
        self.inputs: list[TensorSpec] = []
        self.outputs: list[TensorSpec] = []
        self.initializers: dict[str, int] = {}


def _unwanted(got: str, expected: str, remedy: str = "") -> GraphRefusedError:
    return GraphRefusedError(
        "medsdk does not open this graph", got=got, expected=expected, remedy=remedy
    )


def _shown(text: str) -> str:
    """Foreign text for an error message: quoted, without control characters, not too long."""
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")
