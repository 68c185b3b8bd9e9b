"""PyTorch programs (`.pt2`): any topology, as torch.export saved it."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import torch

from medsdk.tasks import Network
from medsdk_export._pt2_archive import ArchiveFacts, damaged, judge_archive
from medsdk_export.architectures import NAMES
from medsdk_export.digests import sha256_of_file
from medsdk_export.errors import GraphMismatchError
from medsdk_export.from_torch import fit_parameters, to_onnx, torch_reference
from medsdk_export.keras_source.obstacles import refuse_size
from medsdk_export.sources import SourceNetwork, filling

_TAILS = (
    *("view", "reshape", "flatten", "squeeze", "unsqueeze", "clone", "contiguous", "permute"),
    *("transpose", "alias", "detach", "dropout", "cat", "to", "_to_copy"),
)
"""Operators that change no value, behind which the last one that does is looked for."""

_ENDS = {"softmax": "softmax", "_softmax": "softmax", "sigmoid": "sigmoid"}


def read_torch_program(path: Path, network: Network) -> SourceNetwork:
    """Read a `.pt2` archive as the network that a task describes.

    Args:
        path: What `torch.export.save` wrote, of a module in evaluation mode.
        network: The task's description; its architecture may be one of the catalogue, whose
            weights the program then must have, or any other name.

    Returns:
        The network. A program keeps its batch: dynamic, or the fixed one it was exported with.
        `reference` is the program itself in torch.

    Raises:
        SourceUnreadableError: Damaged, or not what torch.export.save writes.
        PickleRefusedError: It wants to run code.
        WeightsMismatchError: A program of another architecture.
        GraphMismatchError: The program is not what the task says.
    """
    facts = judge_archive(path)
    if facts.training:
        raise GraphMismatchError(
            "the program was exported in training mode",
            got=", ".join(sorted(set(facts.training))[:3]),
            expected="a module in evaluation mode",
            remedy="call model.eval() before torch.export.export()",
        )
    program = load_program(path)
    state = {**program.state_dict, **program.constants}
    refuse_size(sum(4 * value.numel() for value in state.values() if hasattr(value, "numel")))
    parameters = dict(network.architecture.parameters)
    if network.architecture.name in NAMES:
        parameters = fit_parameters(network.architecture.name, parameters, program.state_dict)
    fixed = _check(program, facts, network)
    return SourceNetwork(
        model=to_onnx(program, None, network, None),
        reference=filling(torch_reference(program.module(check_guards=False), network), fixed),
        parameters=parameters,
        facts={
            "framework": "torch",
            "framework_version": torch.__version__,
            "format": "pt2",
            "written_by": facts.version or "not stated",
            "sha256": sha256_of_file(path),
        },
        fixed_batch=fixed,
    )


def load_program(path: Path) -> torch.export.ExportedProgram:
    """Load an archive that `judge_archive` has passed.

    Raises:
        SourceUnreadableError: torch cannot read it.
    """
    # The exporter and the loader speak of their own internals on every call.
    for name in ("torch.export", "torch._export"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.load(path)
    # A damaged archive can make the loader fail in any way; none of them runs code.
    except Exception as error:
        raise damaged(error) from error
    # Comparisons of sizes, as Python text; the task's pixel contract fixes the sizes.
    program._guards_code = []
    return program


def program_inputs(program: torch.export.ExportedProgram) -> list[tuple[str, list[int | None]]]:
    """Name and shape of every input; None for a free axis."""
    wanted = set(program.graph_signature.user_inputs)
    return [
        (node.name, [axis if isinstance(axis, int) else None for axis in node.meta["val"].shape])
        for node in program.graph.nodes
        if node.op == "placeholder" and node.name in wanted and "val" in node.meta
    ]


def program_outputs(program: torch.export.ExportedProgram) -> list[list[int | None]]:
    """Shape of every output; None for a free axis."""
    made = {node.name: node for node in program.graph.nodes}
    found = [made[name] for name in program.graph_signature.user_outputs if name in made]
    return [
        [axis if isinstance(axis, int) else None for axis in node.meta["val"].shape]
        for node in found
    ]


def ends_in(operators: tuple[str, ...]) -> str:
    """`softmax` or `sigmoid` where the last operator that changes values is one, else `linear`."""
    names = [operator.split(".")[3] for operator in operators if operator.count(".") > 2]
    last = next((name for name in reversed(names) if name not in _TAILS), "")
    return _ENDS.get(last, "linear")


def _check(
    program: torch.export.ExportedProgram, facts: ArchiveFacts, network: Network
) -> int | None:
    """Hold the program to the task; the fixed batch, or None."""
    resize = network.pixels.resize
    wanted = [network.pixels.channels.count, resize.height, resize.width]
    inputs = program_inputs(program)
    shape = inputs[0][1] if inputs else []
    if (
        len(inputs) != 1
        or len(shape) != 4
        or any(have not in (None, want) for have, want in zip(shape[1:], wanted, strict=True))
    ):
        raise GraphMismatchError(
            "the program's input is not that of the task",
            got="; ".join(f"{name} {_text(item)}" for name, item in inputs) or "none",
            expected=f"one of {_text([None, *wanted])}",
            remedy="correct pixels.resize and pixels.channels in the task file",
        )
    outputs = program_outputs(program)
    if len(outputs) != len(network.outputs):
        raise GraphMismatchError(
            "the program has another number of outputs than the task says",
            got="; ".join(_text(item) for item in outputs),
            expected=", ".join(output.name for output in network.outputs),
        )
    for found, output in zip(outputs, network.outputs, strict=True):
        if len(found) != 1 + len(output.axes) or any(
            isinstance(want, int) and have not in (None, want)
            for have, want in zip(found[1:], output.axes, strict=True)
        ):
            raise GraphMismatchError(
                f"the program's output {output.name!r} has another shape than the task says",
                got=_text(found),
                expected=f"N x {' x '.join(map(str, output.axes))}",
                remedy="check the number of classes, and outputs.axes in the task file",
            )
    batch, declared = shape[0], network.input.batch
    if (batch is None) != (declared == "dynamic") or (batch is not None and batch != declared):
        raise GraphMismatchError(
            "the program's batch is not what the task says",
            got="dynamic" if batch is None else str(batch),
            expected=f"networks.*.input.batch = {declared!r}",
            remedy="set batch in the task file, or export with dynamic_shapes for axis 0",
        )
    return batch


def _text(shape: list[int | None]) -> str:
    return " x ".join("N" if axis is None else str(axis) for axis in shape)
