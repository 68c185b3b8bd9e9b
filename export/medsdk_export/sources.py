"""Model sources: what a file is, and the networks that come out of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
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


def read_source(path: Path, network: Network) -> SourceNetwork:
    """Read a model file as the network that a task describes.

    Args:
        path: `.pt`, `.pth` or `.safetensors` with a state dictionary for a catalogue
            architecture, or `.onnx`.
        network: The task's description.

    Returns:
        The network.

    Raises:
        SourceUnreadableError: The file is missing, damaged, or of a kind that is not read.
        PickleRefusedError: A checkpoint that wants to run code.
        WeightsMismatchError: Weights of another architecture.
        GraphMismatchError: A graph that is not what the task says.
    """
    from medsdk_export.errors import SourceUnreadableError

    if not path.is_file():
        raise SourceUnreadableError(
            "there is no model file",
            got="a directory" if path.is_dir() else "nothing at that path",
            expected="a .pt, .pth, .safetensors or .onnx file",
            remedy="check the path behind --model",
        )
    try:
        match path.suffix.lower():
            case ".pt" | ".pth" | ".safetensors":
                from medsdk_export.from_torch import read_torch

                return read_torch(path, network)
            case ".onnx":
                from medsdk_export.from_onnx import read_onnx

                return read_onnx(path, network)
            case other:
                raise SourceUnreadableError(
                    "this kind of model file is not read",
                    got=f"a file that ends in {other!r}",
                    expected=".pt, .pth or .safetensors (a state dictionary), or .onnx",
                    remedy="export the model to ONNX, or save its state dictionary",
                )
    except OSError as error:
        raise SourceUnreadableError(
            "the model file cannot be read", got=error.strerror or type(error).__name__
        ) from error
