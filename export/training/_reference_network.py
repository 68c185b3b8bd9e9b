"""What the training scripts of the reference networks share."""

from __future__ import annotations

import json
import math
import multiprocessing
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import PIL
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from medsdk_export.architectures import build

__all__ = [
    "NOTICE",
    "REFERENCE_WEIGHTS",
    "Split",
    "View",
    "calibration_error",
    "each_example",
    "fit",
    "log",
    "new_network",
    "save",
    "shares_by_group",
    "trained_with",
    "unlike",
]

NOTICE = "Trained on synthetic phantoms only; not for clinical use."

REFERENCE_WEIGHTS = Path(__file__).resolve().parents[1] / "medsdk_export/reference_weights"
"""Where committed weights are, one folder a group of tasks."""

# One image in a thousand may have a probability that sits at the threshold.
_TOLERANCE = 0.001

Example = TypeVar("Example")


@dataclass(frozen=True)
class Split:
    """A seed's first images. Different seeds share no patient."""

    seed: int
    count: int


def log(message: str) -> None:
    """Tell how far it is, on stderr."""
    print(message, file=sys.stderr, flush=True)


def each_example(
    make: Callable[[int, int], Example], split: Split, name: str
) -> Iterator[tuple[int, Example]]:
    """Make a split's examples on every core, reporting progress on stderr.

    Args:
        make: Called with an index and the seed; a function of a module, since processes are
            spawned.
        split: Which images.
        name: For the report.

    Yields:
        Index and example, in order.
    """
    start = time.monotonic()
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(mp_context=spawned) as pool:
        made = pool.map(make, range(split.count), repeat(split.seed), chunksize=50)
        for index, example in enumerate(made):
            yield index, example
            if (index + 1) % 1000 == 0:
                log(f"{name}: {index + 1}/{split.count} images, {time.monotonic() - start:.0f} s")


def new_network(architecture: str, parameters: Mapping[str, object]) -> nn.Module:
    """Build an untrained network, laid out for training on a CPU."""
    network = build(architecture, parameters)
    for parameter in network.parameters():
        if parameter.ndim == 4:
            # About half as fast again on a CPU as the default layout.
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network


class View(Protocol):
    """What :func:`fit` needs to know of a stage of training."""

    @property
    def size(self) -> int:
        """Side of the network's input in pixels."""

    @property
    def epochs(self) -> int:
        """How often every image is seen."""

    @property
    def learning_rate(self) -> tuple[float, float]:
        """(first, last); half a cosine leads from one to the other."""


Stage = TypeVar("Stage", bound=View)


def fit(
    trained: nn.Module,
    stages: Sequence[Stage],
    *,
    rows: Callable[[Stage], Tensor],
    loss: Callable[[Stage, Tensor], tuple[Tensor, Tensor]],
    validate: Callable[[Stage], float],
    batch: int,
    weight_decay: float,
    warm_up_steps: int,
    generator: torch.Generator,
) -> None:
    """Train by AdamW, reporting each epoch on stderr.

    Args:
        trained: Everything that learns.
        stages: One after the other.
        rows: Rows that take part in a stage.
        loss: Of a stage and rows of a batch: what descends, and what is reported.
        validate: Accuracy in a stage's view; reported, and no choice depends on it.
        batch: Rows a step.
        weight_decay: Of weights; the rest does not decay.
        warm_up_steps: Steps over which the rate rises to the stage's.
        generator: Source of the order of rows.
    """
    optimiser = torch.optim.AdamW(_parameter_groups(trained, weight_decay))
    start, step = time.monotonic(), 0
    for stage in stages:
        chosen = rows(stage)
        steps = stage.epochs * (len(chosen) // batch)
        first_step = step
        for epoch in range(stage.epochs):
            trained.train()
            losses = []
            for part in _batches(chosen, batch, generator):
                rate = _half_cosine(*stage.learning_rate, (step - first_step) / steps)
                for group in optimiser.param_groups:
                    group["lr"] = rate * min(1.0, (step + 1) / warm_up_steps)
                descending, reported = loss(stage, part)
                optimiser.zero_grad(set_to_none=True)
                torch.autograd.backward(descending)
                optimiser.step()
                losses.append(reported.item())
                step += 1
            log(
                f"{stage.size} px epoch {epoch + 1}/{stage.epochs}: loss {np.mean(losses):.4f}, "
                f"validation accuracy {validate(stage):.4f}, {time.monotonic() - start:.0f} s"
            )
    trained.eval()


def _parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    # Decay on normalisation scales and biases would fight batch normalisation.
    decayed = [p for p in network.parameters() if p.ndim > 1]
    free = [p for p in network.parameters() if p.ndim <= 1]
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]


def _half_cosine(first: float, last: float, share: float) -> float:
    return last + (first - last) * 0.5 * (1.0 + math.cos(math.pi * share))


def _batches(chosen: Tensor, batch: int, generator: torch.Generator) -> Iterator[Tensor]:
    order = chosen[torch.randperm(len(chosen), generator=generator)]
    for start in range(0, len(order) - batch + 1, batch):
        yield order[start : start + batch]


def calibration_error(probability: NDArray[np.float64], truth: NDArray[np.bool_]) -> float:
    """Expected calibration error over ten equal bins."""
    bins = np.minimum((probability * 10).astype(int), 9)
    gaps = [
        (bins == index).mean()
        * abs(probability[bins == index].mean() - truth[bins == index].mean())
        for index in np.unique(bins)
    ]
    return float(np.sum(gaps))


def shares_by_group(
    correct: NDArray[np.bool_], groups: Sequence[str], unit: str
) -> dict[str, dict[str, float]]:
    """Count each group's images, under ``unit``, and the share that is correct."""
    names = np.array(groups)
    return {
        str(name): {
            unit: int((names == name).sum()),
            "correct_share": float(correct[names == name].mean()),
        }
        for name in sorted(set(groups))
    }


def trained_with() -> dict[str, str]:
    """Versions of what decides the weights."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "pillow": PIL.__version__,
    }


def save(network: nn.Module, weights: Path, record: Mapping[str, object]) -> None:
    """Write weights, and beside them the record, which goes to stdout too."""
    weights.parent.mkdir(parents=True, exist_ok=True)
    # num_batches_tracked is an int64 counter that inference never reads; torch fills it in
    # again when a plain dictionary without it is loaded.
    state = {
        name: value.detach().contiguous()
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    save_file(state, weights)
    # safetensors leaves it to the owner alone.
    weights.chmod(0o644)
    text = json.dumps(record, indent=2) + "\n"
    weights.with_suffix(".json").write_text(text, encoding="utf-8")
    print(text, end="")


def unlike(
    again: Mapping[str, object], recorded: Mapping[str, object], names: Sequence[str]
) -> int:
    """Compare figures with recorded ones on stdout.

    Args:
        again: Figures that were just measured.
        recorded: Figures of the file beside the weights.
        names: Which to compare. Counts must agree, and shares to one in a thousand.

    Returns:
        How many differ.
    """
    failed = 0
    for name in names:
        got, expected = again[name], recorded[name]
        assert isinstance(got, int | float)
        assert isinstance(expected, int | float)
        agrees = abs(got - expected) <= (0 if isinstance(got, int) else _TOLERANCE)
        failed += not agrees
        print(f"{name}: {got:.6g}, recorded {expected:.6g}: {'ok' if agrees else 'DIFFERS'}")
    return failed
