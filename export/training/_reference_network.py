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
from typing import TypeVar

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
    "batches",
    "between",
    "calibration_error",
    "each_example",
    "log",
    "new_network",
    "parameter_groups",
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


def parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Optimiser groups: weights decay, the rest does not."""
    # Decay on normalisation scales and biases would fight batch normalisation.
    decayed = [p for p in network.parameters() if p.ndim > 1]
    free = [p for p in network.parameters() if p.ndim <= 1]
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]


def between(first: float, last: float, share: float) -> float:
    """Where half a cosine from ``first`` to ``last`` is after a share of 0..1."""
    return last + (first - last) * 0.5 * (1.0 + math.cos(math.pi * share))


def batches(chosen: Tensor, batch: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Shuffle rows and yield whole batches of them."""
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
