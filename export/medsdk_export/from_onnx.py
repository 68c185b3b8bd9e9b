"""ONNX files as sources: the reference is the graph itself in ONNX Runtime, unoptimised."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

import medsdk_runtimes
from medsdk.canonical import sha256_of
from medsdk.tasks import Network
from medsdk_export.errors import GraphMismatchError, SourceUnreadableError
from medsdk_export.graphs import READ_OPSETS, default_opset, prepare
from medsdk_export.sources import Reference, SourceNetwork, filling
from medsdk_runtimes.contract import Session, Settings, TensorSpec
from medsdk_runtimes.errors import MedsdkError
from medsdk_runtimes.graph import INTEGER_LAYERS, scan

_QUANTIZED = INTEGER_LAYERS | {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"}


def read_onnx(path: Path, network: Network) -> SourceNetwork:
    """Read an ONNX file as the network that a task describes.

    Args:
        path: One file without external data.
        network: The task's description.

    Returns:
        The network. `reference` is the original file in ONNX Runtime with every optimisation
        off, on one thread.

    Raises:
        SourceUnreadableError: Damaged, external data, a custom domain.
        GraphMismatchError: Another opset, input, output or batch than the task says, or
            quantized already.
    """
    data = path.read_bytes()
    try:
        facts = scan(data)
        model = onnx.load_model_from_string(data)
        onnx.checker.check_model(model)
    except MedsdkError as error:
        raise SourceUnreadableError(
            f"the ONNX file is refused: {error.what}",
            got=error.got,
            expected=error.expected,
            remedy=error.remedy,
        ) from error
    except (onnx.checker.ValidationError, ValueError) as error:
        raise SourceUnreadableError(
            "the ONNX file is not valid",
            got=(str(error).splitlines() or [""])[0][:200],
            expected="a graph that passes onnx.checker",
        ) from error
    opset = default_opset(model)
    if opset not in READ_OPSETS:
        raise GraphMismatchError(
            "the graph's opset is not one that is read",
            got=str(opset),
            expected=f"{READ_OPSETS.start} to {READ_OPSETS.stop - 1}",
            remedy="export it again with that opset, or use onnx.version_converter",
        )
    quantized = sorted({operator for _, operator in facts.operators} & _QUANTIZED)
    if quantized:
        raise GraphMismatchError(
            "the graph is quantized already",
            got=", ".join(quantized),
            expected="a float32 graph; export quantizes it",
        )
    settings = Settings(threads=1, optimise=False)
    session = medsdk_runtimes.runtime("onnxruntime").open(data, settings)
    fixed = _check_tensors(session, network)
    prepare(model)
    return SourceNetwork(
        model=model,
        reference=filling(_reference(session, network.input.name), fixed),
        parameters=dict(network.architecture.parameters),
        facts={
            "framework": "onnx",
            "framework_version": session.effective.version,
            "format": "onnx",
            "sha256": sha256_of(data),
        },
        fixed_batch=fixed,
    )


def _reference(session: Session, input_name: str) -> Reference:
    def run(tensor: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        outputs = session.run({input_name: np.ascontiguousarray(tensor)})
        return {name: np.asarray(value, np.float32) for name, value in outputs.items()}

    return run


def _check_tensors(session: Session, network: Network) -> int | None:
    """Hold the graph's input and outputs to the task; the fixed batch size, or None."""
    resize, layout = network.pixels.resize, network.input.layout
    count = network.pixels.channels.count
    wanted = (count, resize.height, resize.width)
    if layout == "nhwc":
        wanted = (resize.height, resize.width, count)
    if len(session.inputs) != 1 or session.inputs[0].name != network.input.name:
        raise GraphMismatchError(
            "the graph's inputs are not those of the task",
            got=_describe(session.inputs),
            expected=f"one input {network.input.name!r}",
            remedy="name the input in the task file as the graph does",
        )
    spec = session.inputs[0]
    free = tuple(
        want if have is None else have for have, want in zip(spec.shape[1:], wanted, strict=False)
    )
    if len(spec.shape) != 4 or spec.dtype != "float32" or free != wanted:
        raise GraphMismatchError(
            "the graph's input has another shape or dtype than the task says",
            got=_describe(session.inputs),
            expected=f"float32 N x {' x '.join(map(str, wanted))}, layout {layout!r}",
            remedy=_layout_remedy(spec, network),
        )
    names = {output.name for output in network.outputs}
    if {output.name for output in session.outputs} != names:
        raise GraphMismatchError(
            "the graph's outputs are not those of the task",
            got=_describe(session.outputs),
            expected=", ".join(sorted(names)),
            remedy="name the outputs in the task file as the graph does",
        )
    for output in network.outputs:
        made = next(item for item in session.outputs if item.name == output.name)
        if (
            made.dtype != "float32"
            or len(made.shape) != 1 + len(output.axes)
            or any(
                isinstance(want, int) and have not in (None, want)
                for have, want in zip(made.shape[1:], output.axes, strict=True)
            )
        ):
            raise GraphMismatchError(
                f"the graph's output {output.name!r} has another shape or dtype than the task says",
                got=_describe((made,)),
                expected=f"float32 N x {' x '.join(map(str, output.axes))}",
                remedy="correct outputs.axes in the task file, or export the graph again",
            )
    declared = network.input.batch
    batch = spec.shape[0]
    if (batch is None) != (declared == "dynamic") or (batch is not None and batch != declared):
        raise GraphMismatchError(
            "the graph's batch is not what the task says",
            got="dynamic" if batch is None else str(batch),
            expected=f"networks.*.input.batch = {declared!r}",
            remedy="set batch in the task file, or export the graph with a dynamic batch axis",
        )
    for made in session.outputs:
        if made.shape[0] not in (None, batch):
            raise GraphMismatchError(
                f"the graph's output {made.name!r} has not one row for each image",
                got=_describe((made,)),
                expected=f"{'N' if batch is None else batch} rows, as the input has",
                remedy="export the graph with the batch as the first axis of every output",
            )
    return batch


def _layout_remedy(spec: TensorSpec, network: Network) -> str:
    """What to change where channels are last and the task says first, or the reverse."""
    other = "nhwc" if network.input.layout == "nchw" else "nchw"
    at = -1 if other == "nhwc" else 1
    if len(spec.shape) == 4 and spec.shape[at] == network.pixels.channels.count:
        return f"set layout = {other!r} for the input in the task file"
    return "correct pixels.resize, pixels.channels or input.layout in the task file"


def _describe(specs: tuple[TensorSpec, ...]) -> str:
    return ", ".join(f"{spec.name!r} {spec.dtype}{list(spec.shape)}" for spec in specs)
