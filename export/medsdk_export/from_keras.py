"""Keras models and weights: loaded by Keras in a process of its own, exported through tf2onnx."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from medsdk.tasks import Network
from medsdk_export.digests import sha256_of_file
from medsdk_export.errors import GraphMismatchError
from medsdk_export.graph_cleaning import clean, rename, transposes_between_layers
from medsdk_export.graphs import default_opset, drop_unused_domains, prepare
from medsdk_export.keras_source.process import LEAN_BYTES, KerasProcess
from medsdk_export.sources import Reference, SourceNetwork

SUFFIXES = (".keras", ".h5", ".hdf5")


def read_keras(path: Path, network: Network, process: KerasProcess | None = None) -> SourceNetwork:
    """Read a Keras file as the network that a task describes.

    Args:
        path: A whole model (`.keras`, `.h5`, `.hdf5`), or the weights of a catalogue architecture
            (`.weights.h5`, `.h5`, `.hdf5`).
        network: The task's description.
        process: A process that is there already; else one is started, which ends with the
            network.

    Returns:
        The network: channels first, BatchNorm folded, dynamic batch, logits where the task decodes
        logits. `reference` is Keras itself on the TensorFlow backend, in FP32, in that process.

    Raises:
        SourceUnreadableError: Damaged, hostile, or not what Keras writes.
        LayerRefusedError: A Lambda layer, or a class that is not Keras's own.
        WeightsMismatchError: Weights of another architecture.
        GraphMismatchError: The model is not what the task says.
        ExportUnavailableError: TensorFlow or Keras is not installed.
    """
    digest = sha256_of_file(path)
    process = process or KerasProcess(lean=path.stat().st_size > LEAN_BYTES)
    header, data = process.open(path, network)
    model = onnx.ModelProto()
    model.ParseFromString(memoryview(data))
    del data
    _finish(model, network)
    document = header["document"]
    return SourceNetwork(
        model=model,
        reference=_reference(process, header["model"], network),
        parameters=dict(header["parameters"]),
        facts={
            "framework": "keras",
            "framework_version": header["versions"]["keras"],
            "backend": f"tensorflow {header['versions']['tensorflow']}",
            "converter": f"tf2onnx {header['versions']['tf2onnx']}",
            "format": document["format"],
            "written_by": document["version"] or "not stated",
            "activation_removed": header["cut"] or "none",
            "sha256": digest,
        },
    )


def _finish(model: onnx.ModelProto, network: Network) -> None:
    """Clean the converter's graph, name its ends, and hold it to the conventions."""
    prepare(model)
    clean(model)
    drop_unused_domains(model)
    if len(model.graph.input) != 1:
        raise GraphMismatchError(
            "the converted graph has other inputs than the image",
            got=f"{len(model.graph.input)} inputs",
            expected="one input, and everything else a constant",
            remedy="export the model to ONNX yourself and give the .onnx",
        )
    # tf2onnx sorts outputs by their names, output_0, output_1, ...
    order = sorted(model.graph.output, key=lambda item: int(item.name.split("_")[1].split(":")[0]))
    names = {item.name: output.name for item, output in zip(order, network.outputs, strict=True)}
    rename(model, {model.graph.input[0].name: network.input.name, **names})
    prepare(model)
    left = transposes_between_layers(model)
    norms = [node.name for node in model.graph.node if node.op_type == "BatchNormalization"]
    batch = model.graph.input[0].type.tensor_type.shape.dim[0]
    problems = [
        *(f"a Transpose between convolutions ({name})" for name in left[:3]),
        *(f"a BatchNorm that is not folded ({name})" for name in _unfolded(model, norms)[:3]),
        *(["a fixed batch"] if batch.dim_value else []),
        *(["custom operators"] if default_opset(model) == 0 else []),
    ]
    if problems:
        raise GraphMismatchError(
            "the converted graph is not what a bundle needs",
            got="; ".join(problems),
            expected="channels first throughout, BatchNorm in the convolutions, a dynamic batch",
            remedy="export the model to ONNX yourself and give the .onnx",
        )
    batch.dim_param = "batch"
    for item in model.graph.output:
        item.type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.checker.check_model(model)


def _unfolded(model: onnx.ModelProto, norms: list[str]) -> list[str]:
    """BatchNorms right behind a convolution; one before it cannot be folded exactly."""
    made_by = {name: node.op_type for node in model.graph.node for name in node.output}
    named = set(norms)
    return [
        node.name
        for node in model.graph.node
        if node.name in named and made_by.get(node.input[0]) == "Conv"
    ]


def _reference(process: KerasProcess, number: int, network: Network) -> Reference:
    names = [output.name for output in network.outputs]

    def run(tensor: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        results = process.run(number, np.ascontiguousarray(tensor, np.float32))
        return dict(zip(names, results, strict=True))

    return run
