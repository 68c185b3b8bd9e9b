"""PyTorch state dictionaries of catalogue architectures."""

from __future__ import annotations

import logging
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from medsdk.canonical import sha256_of
from medsdk.tasks import Network
from medsdk_export.architectures import NAMES, build, parameter_grid
from medsdk_export.errors import (
    GraphMismatchError,
    PickleRefusedError,
    SourceUnreadableError,
    WeightsMismatchError,
)
from medsdk_export.graphs import OPSET, default_opset, fold_batch_norms, strip_annotations
from medsdk_export.sources import Reference, SourceNetwork

_WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Keys under which training scripts commonly keep the state dictionary."""

_OPTIONAL = "num_batches_tracked"
"""A BatchNorm counter that inference does not use."""


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
    data = path.read_bytes()
    state = load_state(path)
    parameters = fit_parameters(name, network.architecture.parameters, state)
    module = build(name, parameters)
    module.load_state_dict(state, strict=False)
    module.eval()
    return SourceNetwork(
        model=export_module(module, network),
        reference=_reference(module, network),
        parameters=parameters,
        facts={
            "framework": "torch",
            "framework_version": torch.__version__,
            "format": path.suffix.lower().removeprefix("."),
            "sha256": sha256_of(data),
        },
    )


def load_state(path: Path) -> dict[str, torch.Tensor]:
    """Tensors by name; nothing else is ever unpickled.

    Args:
        path: `.pt`, `.pth` or `.safetensors`.

    Returns:
        The state dictionary, a `module.` prefix of data-parallel training taken off.

    Raises:
        SourceUnreadableError: Damaged, or no state dictionary.
        PickleRefusedError: It wants to run code.
    """
    content: object
    if path.suffix.lower() == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load

        try:
            content = load(path.read_bytes())
        except (SafetensorError, ValueError, KeyError) as error:
            raise SourceUnreadableError(
                "the file is no safetensors file", got=_first_line(error), expected="safetensors"
            ) from error
    else:
        content = _load_pickle(path)
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
    """
    have = {key: tuple(value.shape) for key, value in state.items() if not key.endswith(_OPTIONAL)}
    best: tuple[int, str, dict[str, tuple[int, ...]]] | None = None
    for parameters in parameter_grid(name, given):
        with torch.device("meta"):
            module = build(name, parameters)
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
    # The exporter speaks of torchvision and of its own internals on every call.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            input_names=[network.input.name],
            output_names=[output.name for output in network.outputs],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            opset_version=OPSET,
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise GraphMismatchError("torch.onnx.export gave no program")
    model: onnx.ModelProto = program.model_proto
    if default_opset(model) != OPSET:
        raise GraphMismatchError(
            "the exporter gave another opset than was asked for",
            got=str(default_opset(model)),
            expected=str(OPSET),
        )
    strip_annotations(model)
    fold_batch_norms(model)
    return model


def _reference(module: torch.nn.Module, network: Network) -> Reference:
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


def _load_pickle(path: Path) -> object:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        if any(name.endswith("constants.pkl") for name in names):
            raise PickleRefusedError.wants("a TorchScript archive, which carries code")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        text = str(error)
        wanted = re.search(r"GLOBAL ([\w.]+)|Unsupported (?:class|operand|global)[^\n]*", text)
        if "Weights only load failed" in text and wanted is not None:
            raise PickleRefusedError.wants(f"it asks for {wanted[1] or wanted[0]}") from error
        raise SourceUnreadableError(
            "the checkpoint cannot be read", got=_first_line(error), expected="a torch.save() file"
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, OSError, AttributeError) as error:
        raise SourceUnreadableError(
            "the checkpoint cannot be read", got=_first_line(error), expected="a torch.save() file"
        ) from error


def _first_line(error: BaseException) -> str:
    # Only the first line, and never a path: the rest is a library's advice to its own user.
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return re.sub(r"(/|[A-Za-z]:\\)\S+", "(path)", line)[:200]
