"""Model sources: what a file is, and the networks that come out of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from medsdk.tasks import Network

Reference = Callable[[NDArray[np.float32]], dict[str, NDArray[np.float32]]]
"""The source framework's own answer: N x C x H x W in, outputs by name out, FP32."""


@dataclass(frozen=True)
class SourceNetwork:
    """A network as it came from its framework.

    Attributes:
        model: The float32 graph that was made of it, prepared for quantization.
        reference: Runs the source itself.
        parameters: The architecture's parameters, as found in the weights.
        facts: For the record: framework, version, format, sha256 of the file.
        fixed_batch: The graph's batch size where it is fixed, else None.
    """

    model: onnx.ModelProto
    reference: Reference
    parameters: Mapping[str, int | float | str | bool]
    facts: Mapping[str, str]
    fixed_batch: int | None = None


def filling(reference: Reference, fixed_batch: int | None) -> Reference:
    """Let a source of a fixed batch answer for one image: it fills every row, one row counts.

    Args:
        reference: Takes exactly `fixed_batch` images, or any number where that is None.
        fixed_batch: The graph's batch size where it is fixed.

    Returns:
        The same for one image as well.
    """
    if fixed_batch in (None, 1):
        return reference
    count = fixed_batch or 1

    def run(tensor: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        if len(tensor) != 1:
            return reference(tensor)
        outputs = reference(np.repeat(tensor, count, axis=0))
        return {name: array[:1] for name, array in outputs.items()}

    return run


SUFFIXES = (".pt", ".pth", ".safetensors", ".pt2", ".keras", ".h5", ".hdf5", ".onnx")
"""Files that are read."""


def need(package: str, what: str, extra: str) -> None:
    """Refuse to go on without a package that only some sources need.

    Args:
        package: Name of the package.
        what: What is read with it.
        extra: The extra of medsdk that installs it.

    Raises:
        ExportUnavailableError: It is not installed.
    """
    if find_spec(package) is None:
        from medsdk_export.errors import ExportUnavailableError

        raise ExportUnavailableError.missing(what, [package], extra)


def check_file(path: Path) -> None:
    """Refuse a file that is not there, or of a kind that is not read.

    Raises:
        SourceUnreadableError: It is neither.
    """
    from medsdk_export.errors import SourceUnreadableError

    if not path.is_file():
        raise SourceUnreadableError(
            "there is no model file",
            got="a directory" if path.is_dir() else "nothing at that path",
            expected=f"a file that ends in {', '.join(SUFFIXES)}",
            remedy="check the path behind --model",
        )
    if path.suffix.lower() not in SUFFIXES:
        raise SourceUnreadableError(
            "this kind of model file is not read",
            got=f"a file that ends in {path.suffix.lower()!r}",
            expected=", ".join(SUFFIXES),
            remedy="export the model to ONNX, or save its state dictionary",
        )


def _check_form(suffix: str, network: Network) -> None:
    """Hold a task to the form of the graphs that export makes; an `.onnx` keeps its own."""
    from medsdk_export.errors import GraphMismatchError

    problems = []
    if suffix != ".onnx" and network.input.layout != "nchw":
        problems.append(f"layout = {network.input.layout!r}")
    if suffix not in (".onnx", ".pt2") and network.input.batch not in ("dynamic", 1):
        problems.append(f"batch = {network.input.batch!r}")
    if problems:
        raise GraphMismatchError(
            "the task declares another form of input than the exported graph has",
            got=", ".join(problems),
            expected="layout = 'nchw' and batch = 'dynamic': export puts the channels first",
            remedy="correct the network's input in the task file; only an .onnx keeps its form",
        )


def read_source(path: Path, network: Network) -> SourceNetwork:
    """Read a model file as the network that a task describes.

    Args:
        path: `.pt`, `.pth` or `.safetensors` with a state dictionary for a catalogue
            architecture; `.pt2`; `.keras`, `.h5` or `.hdf5`, a whole model or the weights of a
            catalogue architecture; or `.onnx`.
        network: The task's description.

    Returns:
        The network.

    Raises:
        SourceUnreadableError: The file is missing, damaged, or of a kind that is not read.
        PickleRefusedError: A checkpoint that wants to run code.
        LayerRefusedError: A Keras model that holds code, or classes of its author's.
        WeightsMismatchError: Weights of another architecture.
        GraphMismatchError: A graph that is not what the task says.
        ExportUnavailableError: The source's framework is not installed.
    """
    from medsdk_export.ends import check_end
    from medsdk_export.errors import SourceUnreadableError

    check_file(path)
    suffix = path.suffix.lower()
    _check_form(suffix, network)
    try:
        source = _read(path, suffix, network)
    except OSError as error:
        raise SourceUnreadableError(
            "the model file cannot be read", got=error.strerror or type(error).__name__
        ) from error
    check_end(source.model.graph, network)
    return source


def _read(path: Path, suffix: str, network: Network) -> SourceNetwork:
    match suffix:
        case ".pt" | ".pth" | ".safetensors":
            need("torch", "PyTorch weights", "torch")
            from medsdk_export.from_torch import read_torch

            return read_torch(path, network)
        case ".pt2":
            need("torch", "PyTorch programs", "torch")
            from medsdk_export.from_torch_program import read_torch_program

            return read_torch_program(path, network)
        case ".keras" | ".h5" | ".hdf5":
            from medsdk_export.from_keras import read_keras

            return read_keras(path, network)
        case ".onnx":
            from medsdk_export.from_onnx import read_onnx

            return read_onnx(path, network)
        case other:
            raise AssertionError(other)
