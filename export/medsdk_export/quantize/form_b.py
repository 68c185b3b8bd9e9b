"""Form B: signed 8-bit symmetric activations and weights, float bias, no zero points.

What TensorRT 10 and 11 take: explicit QuantizeLinear and DequantizeLinear (Q and DQ) on edges that
its fusions allow. Its guide, "Explicit Quantization" (Q/DQ layer-placement recommendations;
https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/quantized-types-explicit-quantization.html),
gives the reasons of every choice here:

- Every input of a weighted operator is quantized, activations per tensor and weights per output
  channel; its bias never is, since it is added to the 32-bit sum.
- Its output is not. So nothing stands between a Conv and its Relu or Clip, which fuse, and the Q
  of the next layer is what the fused operator writes.
- A MaxPool, Concat, Reshape or nearest Resize before a layer gets no pair of its own: it commutes
  with Q, and TensorRT moves the next layer's Q back through it, with one scale for all branches.
- Of a residual sum only the skipping side is quantized: the sum fuses into the convolution of the
  other side, and writes integers where the side that it adds is integer. A pair between the two
  would keep them apart. A sum of which no side is a lone layer's output has both sides quantized.
- Operators that do not commute, as GlobalAveragePool, stay float: one with integer inputs needs
  integer outputs too. So does the tail behind the last layer.

ONNX Runtime's quantizer makes form A. It quantizes tensors, not edges: a sum's both sides and its
result, and every reader of a tensor; so form B is written here.
"""

from __future__ import annotations

import copy
from collections import Counter

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from medsdk_export.graph_view import attributes_of, set_attribute
from medsdk_export.graphs import (
    constant_names,
    drop_unused_initializers,
    producers,
    uses_of,
)
from medsdk_export.quantize.calibration import CalibrationRecord
from medsdk_export.quantize.choice import (
    LAYERS,
    before_layers,
    is_sum_of_activations,
    layers_of,
)

LARGEST = 127
"""Symmetric: -127 to 127, for weights and activations."""


def quantize_form_b(model: onnx.ModelProto, record: CalibrationRecord) -> onnx.ModelProto:
    """Insert QuantizeLinear and DequantizeLinear in form B.

    A range of a tensor becomes the scale `max(|low|, |high|) / 127`.

    Args:
        model: A float32 graph, BatchNorm folded, whose nodes all have names.
        record: The graph's calibration record.

    Returns:
        A new graph with float32 inputs and outputs.
    """
    return _Writer(copy.deepcopy(model), record).write()


class _Writer:
    """One pass over a graph that puts the pairs before the nodes that read them."""

    def __init__(self, model: onnx.ModelProto, record: CalibrationRecord) -> None:
        self.model = model
        self.graph = model.graph
        self.record = record
        self.weights = {
            item.name: numpy_helper.to_array(item)
            for item in self.graph.initializer
            if item.data_type == onnx.TensorProto.FLOAT
        }
        self.taken = {name for node in self.graph.node for name in (*node.input, *node.output)}
        self.taken |= {item.name for item in (*self.graph.initializer, *self.graph.input)}
        self.taken |= {node.name for node in self.graph.node}
        self.nodes: list[onnx.NodeProto] = []
        self.pairs: dict[tuple[str, int | None], str] = {}

    def write(self) -> onnx.ModelProto:
        layers = {
            node.name
            for node in layers_of(self.graph)
            if node.input[0] in self.record.ranges and node.input[1] in self.weights
        }
        sides = self.residual_sides()
        for node in self.graph.node:
            if node.name in layers:
                node.input[0] = self.activation(node.input[0])
                node.input[1] = self.weight(node)
            for index in sides.get(node.name, ()):
                node.input[index] = self.activation(node.input[index])
            self.nodes.append(node)
        del self.graph.node[:]
        self.graph.node.extend(self.nodes)
        drop_unused_initializers(self.graph)
        return self.model

    def residual_sides(self) -> dict[str, list[int]]:
        """For each residual sum before a layer, which of its inputs are quantized."""
        constants, made_by = constant_names(self.graph), producers(self.graph)
        upstream, uses = before_layers(self.graph), Counter(uses_of(self.graph))

        def fuses(name: str) -> bool:
            before = made_by.get(name)
            return before is not None and before.op_type in LAYERS and uses[name] == 1

        found = {}
        for node in self.graph.node:
            if node.name in upstream and is_sum_of_activations(node, constants):
                kept = next((i for i, name in enumerate(node.input) if fuses(name)), None)
                found[node.name] = [
                    i
                    for i, name in enumerate(node.input)
                    if i != kept and name in self.record.ranges
                ]
        return found

    def activation(self, name: str) -> str:
        """The tensor behind a pair, per tensor; one pair serves all its readers."""
        if (name, None) not in self.pairs:
            low, high = self.record.ranges[name]
            scale = _scale(np.array(max(abs(low), abs(high))))
            quantized = self.fresh(f"{name}_quantized")
            constants = self.parameters(name, scale)
            self.nodes.append(
                helper.make_node(
                    "QuantizeLinear",
                    [name, *constants],
                    [quantized],
                    self.fresh(f"{name}_QuantizeLinear"),
                )
            )
            self.pairs[name, None] = self.dequantize(name, quantized, constants, None)
        return self.pairs[name, None]

    def weight(self, layer: onnx.NodeProto) -> str:
        """A layer's weights in 8 bits behind DequantizeLinear, one scale an output channel."""
        name = layer.input[1]
        array = self.weights[name]
        axis = _channels(layer, array.ndim)
        if (name, axis) not in self.pairs:
            others = tuple(i for i in range(array.ndim) if i != axis)
            scale = _scale(np.abs(array).max(others if axis is not None else None))
            steps = array / (scale if axis is None else np.expand_dims(scale, others))
            integers = np.clip(np.rint(steps), -LARGEST, LARGEST).astype(np.int8)
            quantized = self.constant(f"{name}_quantized", integers)
            constants = self.parameters(name, scale)
            self.pairs[name, axis] = self.dequantize(name, quantized, constants, axis)
        return self.pairs[name, axis]

    def dequantize(self, name: str, quantized: str, constants: list[str], axis: int | None) -> str:
        result = self.fresh(f"{name}_dequantized")
        node = helper.make_node(
            "DequantizeLinear",
            [quantized, *constants],
            [result],
            self.fresh(f"{name}_DequantizeLinear"),
        )
        if axis is not None:
            set_attribute(node, "axis", axis)
        self.nodes.append(node)
        return result

    def parameters(self, name: str, scale: NDArray[np.float32]) -> list[str]:
        """Scale and zero points; ONNX takes a missing zero point for an unsigned one."""
        return [
            self.constant(f"{name}_scale", scale),
            self.constant(f"{name}_zero_point", np.zeros(scale.shape, np.int8)),
        ]

    def constant(self, name: str, array: NDArray[np.generic]) -> str:
        fresh = self.fresh(name)
        self.graph.initializer.append(numpy_helper.from_array(array, fresh))
        return fresh

    def fresh(self, name: str) -> str:
        """The name, or one that is like it and free."""
        number, fresh = 1, name
        while fresh in self.taken:
            number, fresh = number + 1, f"{name}_{number + 1}"
        self.taken.add(fresh)
        return fresh


def _scale(largest: NDArray[np.generic]) -> NDArray[np.float32]:
    """Scales for the largest magnitudes; 1 where there is nothing but zeros."""
    scale = (largest.astype(np.float64) / LARGEST).astype(np.float32)
    return np.where(scale < np.finfo(np.float32).tiny, np.float32(1), scale).astype(np.float32)


def _channels(layer: onnx.NodeProto, rank: int) -> int | None:
    """The axis of a layer's weights that its output channels lie along; None without one."""
    if layer.op_type == "Conv":
        return 0
    if layer.op_type == "Gemm":
        return 0 if attributes_of(layer).get("transB") else 1
    return 1 if rank == 2 else None  # MatMul by a vector or by a stack of matrices
