"""Whether a graph is quantized as TensorRT takes it: signed, symmetric, bias in float (form B).

A reader of the bytes alone, so that export, verification and an adapter on a device hold a graph
to the same rules. Some of these faults TensorRT refuses itself, with a number of a node; others
it takes with a warning, or with none, and computes something else than the graph says.

Rules follow TensorRT's operator documentation (Quantize, Dequantize), its guide "Explicit
Quantization", and ONNX's QuantizeLinear and DequantizeLinear.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from medsdk_runtimes._onnx_nodes import Constant, Node, Topology, read_topology
from medsdk_runtimes.errors import QuantizationRefusedError
from medsdk_runtimes.graph import INTEGER_LAYERS, LAYERS, GraphLimits, scan

Rule = Literal[
    "operator",
    "int8",
    "zero-point",
    "scale",
    "constant",
    "axis",
    "pair",
    "bias",
    "operands",
    "layers",
    "subgraph",
]
"""`operator`: explicit Q and DQ only. `int8`: no other integer type. `zero-point`: all zero.
`scale`: finite and above zero. `constant`: scales and zero points do not depend on the input.
`axis`: activations per tensor, weights per tensor or per output channel. `pair`: a Q with its DQ,
of the same scale. `bias`: in float. `operands`: a layer has both in 8 bits or none. `layers`: at
least one has. `subgraph`: nothing quantized is in one or read by one."""

_INT8: Final = 3  # TensorProto.INT8
_UINT8: Final = 2  # TensorProto.UINT8
_OPSET: Final = 13
"""The first with a scale a channel."""
_NAMES: Final = 80
_QUANTIZE: Final = "QuantizeLinear"
_DEQUANTIZE: Final = "DequantizeLinear"
_INTEGER_OPERATORS: Final = INTEGER_LAYERS | {"DynamicQuantizeLinear"}


@dataclass(frozen=True)
class Fault:
    """What is wrong at one node.

    Attributes:
        rule: Which rule.
        node: The node's name, or its first output's where it has none; empty for the graph.
        got: What was found.
        expected: What would have been right.
    """

    rule: Rule
    node: str
    got: str
    expected: str

    def __str__(self) -> str:
        where = f"{self.node!r}: " if self.node else ""
        return f"{where}{self.got} ({self.rule}; expected {self.expected})"


def faults_of(onnx: bytes) -> tuple[Fault, ...]:
    """Everything in a graph that keeps it from being symmetric INT8.

    Args:
        onnx: The serialised ModelProto.

    Returns:
        One fault a rule and node, in the graph's order; empty for a good graph.

    Raises:
        GraphRefusedError: As `graph.scan` says.
    """
    limits = GraphLimits()
    facts = scan(onnx, limits)
    topology = read_topology(onnx, limits)
    found = [
        Fault("int8", "", f"UINT8 at {spec.name[:_NAMES]!r}", "no UINT8 tensor at all")
        for spec in (*facts.inputs, *facts.outputs)
        if spec.dtype == "uint8"
    ]
    opset = facts.opsets.get("", 0)
    if opset < _OPSET:
        found.append(Fault("operator", "", f"opset {opset}", f"{_OPSET} or newer"))
    found += dict.fromkeys(_Lint(topology).faults())
    quantizing = _INTEGER_OPERATORS | {_QUANTIZE, _DEQUANTIZE}
    everywhere = sum(n for (_, name), n in facts.operators.items() if name in quantizing)
    here = sum(node.operator in quantizing for node in topology.nodes)
    if everywhere != here:
        found.append(
            Fault(
                "subgraph",
                "",
                f"{everywhere - here} quantizing nodes inside subgraphs",
                "a main graph that holds them all",
            )
        )
    return tuple(found)


def require_symmetric_int8(onnx: bytes, what: str) -> None:
    """Refuse a graph that is not symmetric INT8.

    Args:
        onnx: The serialised ModelProto.
        what: What the graph is called in the message.

    Raises:
        QuantizationRefusedError: It is not; the first fault and how many more there are.
        GraphRefusedError: As `graph.scan` says.
    """
    faults = faults_of(onnx)
    if faults:
        raise QuantizationRefusedError.of(what, str(faults[0]), len(faults) - 1)


class _Lint:
    """The rules over one graph."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self.constants = topology.constants
        self.made_by = {name: node for node in topology.nodes for name in node.outputs}
        self.readers: dict[str, list[tuple[Node, int]]] = defaultdict(list)
        for node in topology.nodes:
            for index, name in enumerate(node.inputs):
                self.readers[name].append((node, index))

    def faults(self) -> Iterator[Fault]:
        quantized = 0
        for node in self.topology.nodes:
            if node.operator in _INTEGER_OPERATORS:
                yield _fault("operator", node, node.operator, "QuantizeLinear, DequantizeLinear")
            elif node.operator == _QUANTIZE:
                yield from self.parameters(node)
                yield from self.quantize(node)
            elif node.operator == _DEQUANTIZE:
                source = self.constant(node, 0)
                if source is not None and source.dtype == "int32":  # never but a bias
                    yield _fault("bias", node, "INT32 through DequantizeLinear", "a float bias")
                else:
                    yield from self.parameters(node)
                    yield from self.dequantize(node, source)
            elif node.operator == "Cast" and node.integers.get("to") == _UINT8:
                yield _fault("int8", node, "a Cast to UINT8", "no UINT8 tensor at all")
            elif node.operator in LAYERS:
                operands = [self.is_dequantized(name) for name in node.inputs[:2]]
                quantized += all(operands)
                if any(operands) and not all(operands):
                    side = "weights" if operands[0] else "activations"
                    yield _fault("operands", node, f"{side} in float", "both operands in 8 bits")
                if any(self.is_dequantized(name) for name in node.inputs[2:]):
                    yield _fault("bias", node, "a quantized bias", "a bias in float")
            if node.operator not in (_QUANTIZE, _DEQUANTIZE):
                for name in node.inputs:
                    constant = self.constants.get(name)
                    if constant is not None and constant.dtype == "uint8":
                        yield _fault("int8", node, "a constant in uint8", "no UINT8 tensor at all")
            elif any(name in self.topology.captured for name in node.outputs):
                yield _fault("subgraph", node, "a subgraph that reads it", "the main graph alone")
        if not quantized:
            yield Fault("layers", "", "no layer in 8 bits", "at least one Conv, Gemm or MatMul")

    def is_dequantized(self, name: str) -> bool:
        maker = self.made_by.get(name)
        return maker is not None and maker.operator == _DEQUANTIZE

    def parameters(self, node: Node) -> Iterator[Fault]:
        """Scale and zero point of a Q or DQ, of whatever it quantizes."""
        scale, zero = self.constant(node, 1), self.constant(node, 2)
        if scale is None:
            yield _fault("constant", node, "a scale that is no constant", "a constant scale")
        elif scale.dtype != "float32":
            yield _fault("scale", node, f"a scale in {scale.dtype}", "float32")
        else:
            values = np.asarray(scale.values(), np.float64)
            if not values.size or not np.all(np.isfinite(values) & (values > 0)):
                yield _fault("scale", node, "a scale that is not above zero", "finite, above zero")
        if _given(node, 2):
            yield from self.zero_point(node, zero)
        if node.integers.get("block_size"):
            yield _fault("axis", node, "a scale for each block", "per tensor or per channel")
        elif scale is not None:
            yield from self.axis(node, scale)
            single = zero is not None and _is_per_tensor(zero) and _is_per_tensor(scale)
            if zero is not None and not single and zero.shape != scale.shape:
                got = f"zero points of shape {zero.shape}, scales of {scale.shape}"
                yield _fault("axis", node, got, "equal shapes")

    def zero_point(self, node: Node, zero: Constant | None) -> Iterator[Fault]:
        if zero is None:
            yield _fault("constant", node, "a zero point that is no constant", "a constant")
            return
        if zero.dtype != "int8":
            yield _fault("int8", node, f"a zero point in {zero.dtype}", "int8")
        if zero.dtype in ("int8", "uint8") and np.any(zero.values()):
            yield _fault("zero-point", node, "a zero point that is not zero", "zeros")

    def quantize(self, node: Node) -> Iterator[Fault]:
        declared = node.integers.get("output_dtype", 0)
        if declared not in (0, _INT8):
            yield _fault("int8", node, f"output_dtype {declared}", f"{_INT8} (INT8)")
        elif not declared and not _given(node, 2):
            # ONNX's default type is UINT8; TensorRT takes it for INT8.
            yield _fault("int8", node, "no zero point, which means UINT8", "an int8 zero point")
        for name in node.outputs[:1]:
            readers = self.readers[name]
            if not readers or name in self.topology.outputs:
                yield _fault("pair", node, "integers that leave the graph or end", "a DQ behind it")
            elif any(reader.operator != _DEQUANTIZE or index for reader, index in readers):
                yield _fault("pair", node, "integers that another node reads", "a DQ behind it")

    def dequantize(self, node: Node, constant: Constant | None) -> Iterator[Fault]:
        maker = self.made_by.get(node.inputs[0]) if node.inputs else None
        if constant is not None:
            if constant.dtype != "int8":
                yield _fault("int8", node, f"a constant in {constant.dtype}", "int8")
        elif maker is None or maker.operator != _QUANTIZE:
            yield _fault("pair", node, "integers that no Q made", "a Q before it, or a constant")
        elif not self.are_equal(maker, node):
            yield _fault("pair", node, "another scale or axis than its Q's", "the same")

    def are_equal(self, first: Node, second: Node) -> bool:
        """Whether a Q and a DQ mean the same numbers; parameters that cannot be read do not."""
        one, other = self.constant(first, 1), self.constant(second, 1)
        if one is None or other is None or one.dtype != "float32" or other.dtype != "float32":
            return True  # `parameters` has said so
        per_tensor = _is_per_tensor(one) and _is_per_tensor(other)
        alike = per_tensor or (one.shape == other.shape and _axis(first) == _axis(second))
        return alike and np.array_equal(one.values(), other.values())

    def axis(self, node: Node, scale: Constant) -> Iterator[Fault]:
        """A single scale, or for weights one an output channel of the layers that read them."""
        if _is_per_tensor(scale):
            return
        source = node.inputs[0] if node.inputs else ""
        maker = self.made_by.get(source)
        if node.operator == _DEQUANTIZE and maker is not None and maker.operator == _QUANTIZE:
            source = maker.inputs[0] if maker.inputs else ""
        weights = self.constants.get(source)
        if weights is None or len(scale.shape) != 1:
            yield _fault("axis", node, f"an activation with scales {scale.shape}", "one scale")
            return
        rank = len(weights.shape)
        axis = _axis(node) + (rank if _axis(node) < 0 else 0)
        if not 0 <= axis < rank or weights.shape[axis] != scale.shape[0]:
            got = f"{scale.shape[0]} scales along axis {axis} of weights {weights.shape}"
            yield _fault("axis", node, got, "one scale an output channel")
        elif node.operator == _DEQUANTIZE:
            for reader, index in (item for name in node.outputs for item in self.readers[name]):
                right = _channels(reader, rank) if index == 1 else None
                if right != axis:
                    got = f"scales along axis {axis} for {reader.operator}"
                    expected = "per tensor" if right is None else f"axis {right}, its channels"
                    yield _fault("axis", node, got, expected)

    def constant(self, node: Node, index: int) -> Constant | None:
        return self.constants.get(node.inputs[index]) if _given(node, index) else None


def _given(node: Node, index: int) -> bool:
    return len(node.inputs) > index and bool(node.inputs[index])


def _is_per_tensor(scale: Constant) -> bool:
    return scale.shape in ((), (1,))


def _axis(node: Node) -> int:
    return node.integers.get("axis", 1)


def _channels(layer: Node, rank: int) -> int | None:
    """The axis of a layer's weights that its output channels lie along."""
    match layer.operator:
        case "Conv":
            return 0
        case "ConvTranspose":
            return 1
        case "Gemm":
            return 0 if layer.integers.get("transB") else 1
        case "MatMul":
            return rank - 1 if rank > 1 else None
        case _:
            return None


def _fault(rule: Rule, node: Node, got: str, expected: str) -> Fault:
    name = node.name or next(iter(node.outputs), "")
    printable = "".join(char if char.isprintable() else "?" for char in name)
    short = printable if len(printable) <= _NAMES else f"{printable[:_NAMES]}..."
    return Fault(rule, short, got, expected)
