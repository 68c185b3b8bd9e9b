"""PyTorch state dictionaries of catalogue architectures."""

from __future__ import annotations

import io
import logging
import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from medsdk.tasks import Network
from medsdk_export.architectures import NAMES, Parameter, build, parameter_grid
from medsdk_export.digests import sha256_of_file
from medsdk_export.errors import (
    GraphMismatchError,
    PickleRefusedError,
    SourceUnreadableError,
    WeightsMismatchError,
)
from medsdk_export.graphs import OPSET, default_opset, prepare
from medsdk_export.keras_source.obstacles import refuse_size
from medsdk_export.sources import Reference, SourceNetwork

_WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Keys under which training scripts commonly keep the state dictionary."""

_OPTIONAL = "num_batches_tracked"
"""A BatchNorm counter that inference does not use."""

_PICKLE = b"\x80"
"""How pickles of protocol 2 and later start."""

_LEGACY = pickle.dumps(torch.serialization.MAGIC_NUMBER, protocol=2)
"""How torch.save's format before the zip archive starts: a pickle as well."""


def read_torch(path: Path, network: Network) -> SourceNetwork:
    """Read a state dictionary and export the architecture that it fills.

    Args:
        path: `.pt`, `.pth` or `.safetensors`.
        network: The task's description; its architecture is one of the catalogue's.

    Returns:
        The network: BatchNorm folded, dynamic batch, one file, opset `graphs.OPSET`.

    Raises:
        SourceUnreadableError: Damaged, or no state dictionary.
        PickleRefusedError: It wants to run code.
        WeightsMismatchError: Weights of another architecture.
        GraphMismatchError: The task describes what PyTorch sources do not give.
    """
    name = network.architecture.name
    if name not in NAMES:
        raise GraphMismatchError(
            "the task's architecture is none that a state dictionary can fill",
            got=f"architecture {name!r}",
            expected=f"one of {', '.join(NAMES)}",
            remedy="give the network as .onnx",
        )
    if len(network.outputs) != 1:
        raise GraphMismatchError(
            f"{name} has one output",
            got=f"{len(network.outputs)} outputs in the task",
            expected="one",
        )
    state = load_state(path, path.suffix.lower())
    refuse_size(sum(4 * value.numel() for value in state.values()))
    parameters = fit_parameters(name, network.architecture.parameters, state)
    module = _filled(name, parameters, state)
    del state
    module.eval()
    return SourceNetwork(
        model=export_module(module, network),
        reference=torch_reference(module, network),
        parameters=parameters,
        facts={
            "framework": "torch",
            "framework_version": torch.__version__,
            "format": path.suffix.lower().removeprefix("."),
            "sha256": sha256_of_file(path),
        },
    )


def _filled(
    name: str, parameters: Mapping[str, Parameter], state: Mapping[str, torch.Tensor]
) -> torch.nn.Module:
    """The architecture around the file's own tensors, which stay mapped: nothing is copied."""
    with torch.device("meta"):
        module = build(name, parameters)
    counters = {
        key: torch.zeros((), dtype=torch.long)
        for key in module.state_dict()
        if key.endswith(_OPTIONAL)
    }
    floats = {key: value.float() for key, value in state.items() if key not in counters}
    module.load_state_dict({**counters, **floats}, assign=True)
    return module


def load_state(source: Path | bytes, suffix: str) -> dict[str, torch.Tensor]:
    """Tensors by name; nothing else is ever unpickled.

    Args:
        source: The file, whose tensors are mapped instead of read where it can be; or all of
            its bytes.
        suffix: `.pt`, `.pth` or `.safetensors`.

    Returns:
        The state dictionary, a `module.` prefix of data-parallel training taken off.

    Raises:
        SourceUnreadableError: Damaged, or no state dictionary.
        PickleRefusedError: It wants to run code.
    """
    content: object
    if suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load, load_file

        try:
            content = load(source) if isinstance(source, bytes) else load_file(source)
        except (SafetensorError, ValueError, KeyError) as error:
            raise SourceUnreadableError(
                "the file is no safetensors file",
                got=_first_line(error),
                expected="safetensors",
                remedy="save it again with safetensors.torch.save_file(model.state_dict(), path)",
            ) from error
    else:
        content = _load_pickle(source)
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    if not isinstance(content, Mapping) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in content.items()
    ):
        raise SourceUnreadableError(
            "the checkpoint holds no state dictionary",
            got=type(content).__name__,
            expected="tensors by name, bare or under "
            + ", ".join(repr(wrapper) for wrapper in _WRAPPERS),
            remedy="torch.save(model.state_dict(), 'weights.pt')",
        )
    state: dict[str, torch.Tensor] = dict(content)
    if state and all(key.startswith("module.") for key in state):
        state = {key.removeprefix("module."): value for key, value in state.items()}
    return state


def fit_parameters(
    name: str, given: Mapping[str, int | float | str | bool], state: Mapping[str, torch.Tensor]
) -> dict[str, int | float | str | bool]:
    """The architecture's parameters: those the task gives, the others read from the weights.

    Args:
        name: Architecture.
        given: Parameters that the task fixes.
        state: The weights.

    Returns:
        Complete parameters, for which every tensor fits.

    Raises:
        WeightsMismatchError: None fits; the differences from the closest are named.
        GraphMismatchError: The task gives parameters that the architecture has not.
    """
    have = {key: tuple(value.shape) for key, value in state.items() if not key.endswith(_OPTIONAL)}
    best: tuple[int, str, dict[str, tuple[int, ...]]] | None = None
    for parameters in parameter_grid(name, given):
        try:
            with torch.device("meta"):
                module = build(name, parameters)
        except ValueError as error:
            raise GraphMismatchError(
                "the task's architecture cannot be built", got=str(error)
            ) from error
        want = {
            key: tuple(value.shape)
            for key, value in module.state_dict().items()
            if not key.endswith(_OPTIONAL)
        }
        if want == have:
            return dict(parameters)
        wrong = sum(have.get(key) != shape for key, shape in want.items())
        wrong += len(have.keys() - want.keys())
        if best is None or wrong < best[0]:
            described = ", ".join(f"{key} {value}" for key, value in parameters.items())
            best = (wrong, f"{name} ({described})", want)
    if best is None:
        raise WeightsMismatchError(f"no parameters of {name} agree with the task")
    _, title, want = best
    raise WeightsMismatchError.between(
        title,
        [f"{key} {want[key]}" for key in want if key not in have],
        [f"{key} {have[key]}" for key in have if key not in want],
        [
            f"{key}: {have[key]} in the file, {want[key]} in the architecture"
            for key in want
            if key in have and have[key] != want[key]
        ],
    )


def export_module(module: torch.nn.Module, network: Network) -> onnx.ModelProto:
    """Export a module in evaluation mode.

    Args:
        module: The network.
        network: The task's description: names of input and outputs, height and width.

    Returns:
        A graph of `graphs.OPSET`, dynamic batch, BatchNorm folded, no annotations.

    Raises:
        GraphMismatchError: The exporter gave another opset than was asked for.
    """
    example = torch.zeros(2, *_input_shape(network))
    return to_onnx(module, (example,), network, ({0: torch.export.Dim("batch")},))


def to_onnx(
    exportable: torch.nn.Module | torch.export.ExportedProgram,
    examples: tuple[torch.Tensor, ...] | None,
    network: Network,
    dynamic_shapes: tuple[dict[int, torch.export.Dim], ...] | None,
) -> onnx.ModelProto:
    """Make a graph of a module or a program.

    Args:
        exportable: A module in evaluation mode, or a program.
        examples: Inputs of a module; None for a program, which has its own.
        network: The task's description: names of input and outputs.
        dynamic_shapes: Axes of a module's inputs that are free; None for a program.

    Returns:
        A graph of `graphs.OPSET`, BatchNorm folded, no annotations, no external data.

    Raises:
        GraphMismatchError: An operator that is not known, or another opset than was asked for.
    """
    # The exporter speaks of torchvision and of its own internals on every call.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                exportable,
                examples or (),
                dynamo=True,
                input_names=[network.input.name],
                output_names=[output.name for output in network.outputs],
                dynamic_shapes=dynamic_shapes,
                opset_version=OPSET,
                external_data=False,
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        raise GraphMismatchError(
            "the network cannot be turned into ONNX",
            got=type(error).__name__,
            expected="operators that torch.onnx knows",
            remedy="export the model to ONNX yourself and give the .onnx",
        ) from error
    if program is None:
        raise GraphMismatchError("torch.onnx.export gave no program")
    model: onnx.ModelProto = program.model_proto
    if default_opset(model) != OPSET:
        raise GraphMismatchError(
            "the exporter gave another opset than was asked for",
            got=str(default_opset(model)),
            expected=str(OPSET),
        )
    prepare(model)
    return model


def torch_reference(
    module: Callable[[torch.Tensor], torch.Tensor | Sequence[torch.Tensor]], network: Network
) -> Reference:
    """What a module gives, by the names of the task's outputs."""
    names = [output.name for output in network.outputs]

    def run(tensor: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        with torch.inference_mode():
            result = module(torch.from_numpy(np.array(tensor)))
        results = result if isinstance(result, tuple | list) else (result,)
        return {name: item.numpy() for name, item in zip(names, results, strict=True)}

    return run


def _input_shape(network: Network) -> tuple[int, int, int]:
    resize = network.pixels.resize
    return (network.pixels.channels.count, resize.height, resize.width)


def _load_pickle(source: Path | bytes) -> object:
    if _is_torchscript(source):
        raise PickleRefusedError.wants("a TorchScript archive, which carries code")
    mapped = isinstance(source, Path) and zipfile.is_zipfile(source)
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)
    # A damaged pickle can make the loader fail in any way; none of them runs code.
    except Exception as error:
        text, start = str(error), _start(source)
        wanted = re.search(r"GLOBAL ([\w.]+)|Unsupported class ([\w.]+)", text)
        if "Weights only load failed" in text and wanted is not None:
            raise PickleRefusedError.wants(f"it asks for {wanted[1] or wanted[2]}") from error
        if start.startswith(_PICKLE) and not start.startswith(_LEGACY):
            raise PickleRefusedError.wants("a plain pickle, not what torch.save writes") from error
        raise _damaged(error) from error


def _start(source: Path | bytes) -> bytes:
    if isinstance(source, bytes):
        return source[:64]
    with source.open("rb") as file:
        return file.read(64)


def _is_torchscript(source: Path | bytes) -> bool:
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        if not zipfile.is_zipfile(file):
            return False
        with zipfile.ZipFile(file) as archive:
            return any(name.endswith("constants.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, ValueError, struct.error) as error:
        raise _damaged(error) from error


def _damaged(error: Exception) -> SourceUnreadableError:
    # Not torch's own text: it advises to load the file without weights_only.
    return SourceUnreadableError(
        "the checkpoint cannot be read",
        got=f"a damaged file, or no checkpoint ({type(error).__name__})",
        expected="a file that torch.save() wrote",
        remedy="save it again with torch.save(model.state_dict(), path), or copy it again",
    )


def _first_line(error: BaseException) -> str:
    # Only the first line, and never a path: the rest is a library's advice to its own user.
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return re.sub(r"(/|[A-Za-z]:\\)\S+", "(path)", line)[:200]
