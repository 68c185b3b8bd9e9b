"""Form A: unsigned 8-bit asymmetric activations, signed 8-bit per-channel weights.

What ONNX Runtime and OpenVINO execute as integers on a CPU. Convolutions and dense layers are
quantized, with the activations and residual sums that runtimes fuse into them; elementwise tails
stay float, because quantizing a head's Mul and Add alone flips decisions.
"""

from __future__ import annotations

import copy

import onnx
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from medsdk_export.graphs import constant_names, drop_unused_domains
from medsdk_export.quantize.calibration import CalibrationRecord
from medsdk_export.quantize.choice import (
    LAYERS,
    before_layers,
    is_sum_of_activations,
    layers_of,
)

FUSED = ("Clip", "Relu", "Add", "GlobalAveragePool", "MaxPool")
"""What runtimes fuse into those layers or pass through without leaving integers."""


def quantize_form_a(
    model: onnx.ModelProto, record: CalibrationRecord, *, seven_bit_weights: bool = False
) -> onnx.ModelProto:
    """Insert QuantizeLinear and DequantizeLinear in form A.

    Args:
        model: A float32 graph, BatchNorm folded.
        record: The graph's calibration record.
        seven_bit_weights: Keep weights within -64..64, so that AVX2's 16-bit sums of products
            cannot saturate.

    Returns:
        A new graph with float32 inputs and outputs.
    """
    nodes = nodes_to_quantize(model)
    quantizer = QDQQuantizer(
        copy.deepcopy(model),
        per_channel=True,
        reduce_range=seven_bit_weights,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=record.tensors_data(),
        nodes_to_quantize=nodes,
        nodes_to_exclude=[],
        op_types_to_quantize=[*LAYERS, *FUSED],
        extra_options={"ActivationSymmetric": False, "WeightSymmetric": True},
    )
    quantizer.quantize_model()
    # The quantizer appends what it inserts; ONNX wants every node behind those it reads.
    quantizer.model.topological_sort()
    result: onnx.ModelProto = quantizer.model.model
    drop_unused_domains(result)
    return result


def nodes_to_quantize(model: onnx.ModelProto) -> list[str]:
    """Names of the nodes that form A quantizes.

    A layer with constant weights always; a fused operator only where it stands before a
    later layer, so that nothing of the tail behind the last layer is quantized; an Add only
    where both sides are activations.

    Args:
        model: A graph whose nodes all have names.

    Returns:
        Node names, in the graph's order.
    """
    graph = model.graph
    constants = constant_names(graph)
    upstream = before_layers(graph)
    chosen = {node.name for node in layers_of(graph)}
    chosen |= {
        node.name
        for node in graph.node
        if node.op_type in FUSED
        and node.name in upstream
        and (node.op_type != "Add" or is_sum_of_activations(node, constants))
    }
    return [node.name for node in graph.node if node.name in chosen]
