"""Whether an exported graph computes what its source does, before anything is built on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

import medsdk_runtimes
from medsdk.parity.comparison import compare_outputs
from medsdk.tasks import Task
from medsdk_export.ends import check_scores
from medsdk_export.errors import ReferenceMismatchError
from medsdk_export.sources import SourceNetwork

OTHER_BATCH = 3
"""The other batch size on which a graph is compared with its source."""

SAMPLES = OTHER_BATCH + 1
"""How many different images are worth giving."""

Tensor = NDArray[np.float32]


def compare_with_source(
    task: Task,
    role: str,
    source: SourceNetwork,
    tensors: Sequence[Tensor],
    say: Callable[[int, int], None],
) -> None:
    """Compare on real inputs and on another batch size, in ONNX Runtime without optimisations.

    Args:
        task: Its float gate counts.
        role: Which network.
        source: The graph and its source.
        tensors: At least one preprocessed image, first axis 1 each.
        say: Told how many batches are done, and of how many.

    Raises:
        ReferenceMismatchError: They differ, or an image's answer depends on its batch.
        GraphMismatchError: The source gives probabilities where the task decodes logits, or the
            reverse.
    """
    name = task.networks[role].input.name
    fixed = source.fixed_batch
    if fixed is None:
        batches = [tensors[:1], _cycled(tensors[1:] or tensors, OTHER_BATCH)]
    else:
        batches = [_cycled(tensors, fixed)]
    check_scores([source.reference(tensor) for tensor in tensors], task.networks[role])
    settings = medsdk_runtimes.Settings(threads=1, optimise=False)
    session = medsdk_runtimes.runtime("onnxruntime").open(
        source.model.SerializeToString(), settings
    )
    try:
        for done, batch in enumerate(batches):
            say(done, len(batches))
            tensor = np.ascontiguousarray(np.concatenate(batch))
            want = source.reference(tensor)
            _check_equal(task, session.run({name: tensor}), want, len(tensor))
            if fixed is not None and fixed > 1:
                _check_rows_are_apart(task, source, tensors[0], want)
    finally:
        session.close()
    say(len(batches), len(batches))


def _cycled(tensors: Sequence[Tensor], count: int) -> list[Tensor]:
    return [tensors[index % len(tensors)] for index in range(count)]


def _check_equal(
    task: Task, got: Mapping[str, NDArray[np.generic]], want: Mapping[str, Tensor], batch: int
) -> None:
    gate = task.gates.fp32
    difference = compare_outputs(got, want)
    far = [
        name
        for name, array in want.items()
        if not difference.problems
        and not np.allclose(got[name], array, rtol=gate.rtol, atol=gate.atol)
    ]
    if difference.problems or far:
        largest = max(difference.max_abs.values())
        raise ReferenceMismatchError(
            "the exported graph does not compute what its source does",
            got="; ".join(difference.problems)
            or f"output {', '.join(far)} differs by {largest:.3g} at batch {batch}",
            expected=f"atol {gate.atol}, rtol {gate.rtol}",
            remedy="report it with the versions that `medsdk doctor` prints",
        )


def _check_rows_are_apart(
    task: Task, source: SourceNetwork, tensor: Tensor, mixed: Mapping[str, Tensor]
) -> None:
    """The first image of a fixed batch has the same answer whatever fills the other rows."""
    gate = task.gates.fp32
    alone = source.reference(tensor)
    if not all(
        np.allclose(alone[name][0], array[0], rtol=gate.rtol, atol=gate.atol)
        for name, array in mixed.items()
    ):
        raise ReferenceMismatchError(
            "the graph's answer to an image depends on the other images of its batch",
            got=f"another answer in a batch of {source.fixed_batch} different images",
            expected="one image in, its own answer out",
            remedy="export the graph in evaluation mode, with a batch of 1",
        )
