"""Train the reference networks of ``liver-us/classify`` and ``liver-us/malignancy``.

The weights exercise the pipeline; they have seen no patient and are not for clinical use.

    python export/training/liver_us.py --out DIR   train both, then evaluate
    python export/training/liver_us.py --check     evaluate the committed weights

Both networks see the same phantoms, the second starts from the first, and both end in the figures
of the JSON file beside the weights.
Training repeats its figures on one machine with the same versions; elsewhere rounding leads to
slightly different weights. ``--check`` allows for one frame in a thousand at a boundary.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from training._reference_network import (
    NOTICE,
    REFERENCE_WEIGHTS,
    Split,
    calibration_error,
    each_example,
    fit,
    log,
    new_network,
    save,
    shares_by_group,
    trained_with,
    unlike,
)

from medsdk_export.phantoms.liver_us import KINDS, MALIGNANT, Phantom, frame_at

ARCHITECTURE = "vgg10"
WIDTH = 0.25
SIZE = 128
TRAIN = Split(seed=1101, count=4500)
VALIDATION = Split(seed=2202, count=600)
HELD_OUT = Split(seed=3303, count=1200)
LABELS: dict[str, tuple[str, ...]] = {
    "liver-us/classify": KINDS,
    "liver-us/malignancy": ("benign", "malignant"),
}
"""Label strings by class index, for each task."""


@dataclass(frozen=True)
class Stage:
    """Epochs at one size; the last stage sees what is deployed.

    Attributes:
        size: Side of the network's input in pixels.
        epochs: How often every frame is seen.
        learning_rate: (first, last); half a cosine leads from one to the other.
    """

    size: int
    epochs: int
    learning_rate: tuple[float, float]


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights, apart from the library versions."""

    train: Split = TRAIN
    validation: Split = VALIDATION
    held_out: Split = HELD_OUT
    classify: tuple[Stage, ...] = (
        Stage(64, epochs=8, learning_rate=(2e-3, 4e-4)),
        Stage(SIZE, epochs=2, learning_rate=(8e-4, 1e-5)),
    )
    malignancy: tuple[Stage, ...] = (
        Stage(64, epochs=1, learning_rate=(5e-4, 5e-4)),
        Stage(SIZE, epochs=1, learning_rate=(5e-4, 1e-5)),
    )
    warm_up_steps: int = 100
    batch: int = 40
    weight_decay: float = 0.02
    label_smoothing: float = 0.05
    torch_seed: int = 11
    threads: int = 2


@dataclass(frozen=True)
class Examples:
    """Crops as they are before normalisation.

    Attributes:
        images: N x 3 x 128 x 128 uint8, RGB.
        kinds: N int64, index into ``KINDS``.
        strata: N names of device models.
        appearances: N names.
    """

    images: Tensor
    kinds: Tensor
    strata: tuple[str, ...]
    appearances: tuple[str, ...]

    def targets(self, task: str) -> Tensor:
        """N int64, index into the task's labels."""
        if LABELS[task] == KINDS:
            return self.kinds
        malignant = torch.tensor([int(kind in MALIGNANT) for kind in KINDS])
        return malignant[self.kinds]


def to_bytes(phantom: Phantom) -> NDArray[np.uint8]:
    """Crop the operator's square and resize it, as the tasks say.

    Returns:
        3 x 128 x 128 uint8, RGB.
    """
    crop = Image.fromarray(phantom.pixels).crop(phantom.roi)
    # One axis at a time, width first: the order Pillow itself uses is then not an assumption.
    wide = crop.resize((SIZE, crop.height), Image.Resampling.BILINEAR)
    small = wide.resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    return np.ascontiguousarray(np.asarray(small, dtype=np.uint8).transpose(2, 0, 1))


def normalise(images: Tensor) -> Tensor:
    """Map 0..255 to -1..1: N x 3 x H x W float32, channels-last in memory."""
    unit = images.to(torch.float32).div(255.0)
    return unit.sub(0.5).div(0.5).contiguous(memory_format=torch.channels_last)


def generate(split: Split, name: str) -> Examples:
    """Generate and preprocess a split on every core, reporting progress on stderr."""
    images = np.empty((split.count, 3, SIZE, SIZE), dtype=np.uint8)
    kinds: list[int] = []
    strata: list[str] = []
    appearances: list[str] = []
    for index, (image, kind, stratum, appearance) in each_example(_example, split, name):
        images[index] = image
        kinds.append(kind)
        strata.append(stratum)
        appearances.append(appearance)
    return Examples(
        torch.from_numpy(images), torch.tensor(kinds), tuple(strata), tuple(appearances)
    )


def _example(index: int, seed: int) -> tuple[NDArray[np.uint8], int, str, str]:
    phantom = frame_at(index, seed)
    return to_bytes(phantom), KINDS.index(phantom.kind), phantom.stratum, phantom.appearance


def augment(images: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Flip left to right, shift, turn, zoom, and change gain, gamma and tint.

    Depth stays downwards: enhancement and shadows lie below what causes them.

    Args:
        images: N x 3 x 128 x 128 uint8.
        size: Side of the result.
        generator: Source of randomness.

    Returns:
        N x 3 x size x size float32 in 0..255.
    """
    n = len(images)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(n, *shape, generator=generator) * (high - low) + low

    flip = (torch.rand(n, generator=generator) < 0.5).float() * 2.0 - 1.0
    angle, zoom = uniform(-0.15, 0.15), uniform(0.88, 1.08)
    cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    theta = torch.stack(
        [
            torch.stack([cos * flip, -sin, uniform(-0.1, 0.1)], dim=1),
            torch.stack([sin * flip, cos, uniform(-0.1, 0.1)], dim=1),
        ],
        dim=1,
    )
    grid = nn.functional.affine_grid(theta, [n, 3, size, size], align_corners=False)
    moved = nn.functional.grid_sample(
        view(images, size).div(255.0), grid, padding_mode="border", align_corners=False
    )
    exponent = uniform(0.8, 1.25, 1, 1, 1)
    gain = uniform(0.85, 1.15, 1, 1, 1) * uniform(0.95, 1.05, 3, 1, 1)
    return (moved.clamp(min=0.0).pow(exponent) * gain).clamp(0.0, 1.0).mul(255.0)


def view(images: Tensor, size: int) -> Tensor:
    """Return what a stage sees without augmentation: N x 3 x size x size float32 in 0..255."""
    pixels = images.to(torch.float32)
    return pixels if size == SIZE else nn.functional.avg_pool2d(pixels, SIZE // size)


def train(
    recipe: Recipe,
    task: str,
    data: Examples,
    validation: Examples,
    begin_with: nn.Module | None = None,
) -> nn.Module:
    """Train a task's network: AdamW, normal batch normalisation.

    Args:
        recipe: How.
        task: One of ``LABELS``.
        data: What it learns from.
        validation: What its progress is reported on; no choice depends on it.
        begin_with: The other task's network, whose weights all but the last layer take over;
            None to start from scratch.

    Returns:
        The network in evaluation mode.
    """
    torch.manual_seed(recipe.torch_seed)
    generator = torch.Generator().manual_seed(recipe.torch_seed)
    network = reference_network(task)
    if begin_with is not None:
        own = network.state_dict()
        known = {k: v for k, v in begin_with.state_dict().items() if v.shape == own[k].shape}
        network.load_state_dict(own | known)
    stages = recipe.classify if LABELS[task] == KINDS else recipe.malignancy
    targets = data.targets(task)
    loss_of = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)

    def loss(stage: Stage, rows: Tensor) -> tuple[Tensor, Tensor]:
        pixels = augment(data.images[rows], stage.size, generator)
        value: Tensor = loss_of(network(normalise(pixels)), targets[rows])
        return value, value

    def validate(stage: Stage) -> float:
        called = probabilities(network, validation, stage.size).argmax(axis=1)
        return float(np.mean(called == validation.targets(task).numpy()))

    log(f"training {task}")
    fit(
        network,
        stages,
        rows=lambda stage: torch.arange(len(targets)),
        loss=loss,
        validate=validate,
        batch=recipe.batch,
        weight_decay=recipe.weight_decay,
        warm_up_steps=recipe.warm_up_steps,
        generator=generator,
    )
    return network


def reference_network(task: str) -> nn.Module:
    """Build the untrained network of a task."""
    return new_network(ARCHITECTURE, {"width": WIDTH, "classes": len(LABELS[task])})


def probabilities(network: nn.Module, data: Examples, size: int = SIZE) -> NDArray[np.float64]:
    """Return each frame's probabilities: N x labels float64.

    Args:
        network: Switched to evaluation mode.
        data: The frames.
        size: Side of the input; 128 is what is deployed.
    """
    network.eval()
    parts = []
    with torch.inference_mode():
        for start in range(0, len(data.kinds), 64):
            pixels = view(data.images[start : start + 64], size)
            parts.append(torch.softmax(network(normalise(pixels)).double(), dim=1))
    return torch.cat(parts).numpy()


def metrics(task: str, probability: NDArray[np.float64], data: Examples) -> dict[str, object]:
    """Name every figure; the answer is the largest probability, of two the one from 0.5."""
    labels, truth = LABELS[task], data.targets(task).numpy()
    called = probability.argmax(axis=1)
    correct = called == truth
    one_hot = np.eye(len(labels))[truth]
    top = probability.max(axis=1)
    confusion = np.zeros((len(labels), len(labels)), dtype=int)
    np.add.at(confusion, (truth, called), 1)
    figures: dict[str, object] = {
        "frames": len(truth),
        "accuracy": float(correct.mean()),
        "sensitivity_by_label": {
            label: float(correct[truth == index].mean()) for index, label in enumerate(labels)
        },
        "specificity_by_label": {
            label: float((called[truth != index] != index).mean())
            for index, label in enumerate(labels)
        },
        "confusion_rows_are_truth": {
            label: dict(zip(labels, map(int, row), strict=True))
            for label, row in zip(labels, confusion, strict=True)
        },
        "brier_score": float(np.mean(np.sum((probability - one_hot) ** 2, axis=1))),
        "expected_calibration_error_10_bins": calibration_error(top, correct),
    }
    if len(labels) == 2:
        sensitivity, specificity = (float(correct[truth == index].mean()) for index in (1, 0))
        figures |= {
            "threshold": 0.5,
            "sensitivity": sensitivity,
            "specificity": specificity,
            "mean_of_sensitivity_and_specificity": (sensitivity + specificity) / 2.0,
        }
    return figures | {
        "correct_by_stratum": shares_by_group(correct, data.strata, "frames"),
        "correct_by_appearance": shares_by_group(correct, data.appearances, "frames"),
    }


def check(recipe: Recipe, folder: Path) -> int:
    """Evaluate saved weights on the held-out seed and compare with the files beside them.

    Returns:
        The exit status: 0 where every figure agrees.
    """
    held_out = generate(recipe.held_out, "held-out")
    failed = 0
    for task in LABELS:
        weights = folder / f"{task.split('/')[1]}.safetensors"
        network = reference_network(task)
        network.load_state_dict(load_file(weights))
        recorded = json.loads(weights.with_suffix(".json").read_text(encoding="utf-8"))
        again = metrics(task, probabilities(network, held_out), held_out)
        print(task)
        failed += unlike(again, recorded["held_out"], ("frames", "accuracy", "brier_score"))
    return 1 if failed else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; see the module docstring."""
    parser = argparse.ArgumentParser(description="Reference networks of the liver tasks.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--out", type=Path, help="folder for NAME.safetensors and .json")
    what.add_argument("--check", action="store_true", help="evaluate saved weights")
    parser.add_argument(
        "--weights",
        type=Path,
        default=REFERENCE_WEIGHTS / "liver-us",
        help="folder of what --check evaluates",
    )
    options = parser.parse_args(arguments)

    recipe = Recipe()
    torch.set_num_threads(recipe.threads)
    if options.check:
        return check(recipe, options.weights)

    data = generate(recipe.train, "train")
    validation = generate(recipe.validation, "validation")
    held_out = generate(recipe.held_out, "held-out")
    network = None
    for task in LABELS:
        start = time.monotonic()
        network = train(recipe, task, data, validation, network)
        training_s = time.monotonic() - start
        record = {
            "task": task,
            "notice": NOTICE,
            "architecture": {"name": ARCHITECTURE, "width": WIDTH, "classes": len(LABELS[task])},
            "labels": list(LABELS[task]),
            "held_out": {
                "seed": recipe.held_out.seed,
                **metrics(task, probabilities(network, held_out), held_out),
            },
            "validation": {
                "seed": recipe.validation.seed,
                **metrics(task, probabilities(network, validation), validation),
            },
            "training": {**asdict(recipe), "wall_time_s": round(training_s)},
            "versions": trained_with(),
        }
        save(network, options.out / f"{task.split('/')[1]}.safetensors", record)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
