"""Train the reference network of ``uterus-mr/tumor-filter`` on seeded phantoms.

The weights exercise the pipeline; they have seen no patient and are not for clinical use.

    python export/training/uterus_mr_tumor_filter.py --out DIR   train, then evaluate
    python export/training/uterus_mr_tumor_filter.py --check     evaluate the committed weights

Both end in the figures of ``tumor-filter.json``. Training repeats its figures on one machine
with the same versions; elsewhere rounding leads to slightly different weights. ``--check``
allows for one slice in a thousand whose probability sits at the threshold.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import PIL
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from medsdk_export.architectures import build
from medsdk_export.phantoms.uterus_mr import LABELS, Phantom, slices

ARCHITECTURE = "mobilenet-v2"
ARCHITECTURE_PARAMETERS = {"width": 0.5, "classes": 2}
SIZE = 224
# The channel statistics that torchvision's classifiers use.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
REFERENCE = (
    Path(__file__).resolve().parents[1]
    / "medsdk_export/reference_weights/uterus-mr/tumor-filter.safetensors"
)
_CHECK_TOLERANCE = 0.001


@dataclass(frozen=True)
class Split:
    """A seed's first slices. Different seeds share no patient."""

    seed: int
    count: int


@dataclass(frozen=True)
class Stage:
    """Epochs at one input size; the last stage trains at the size that is deployed."""

    size: int
    epochs: int
    peak_learning_rate: float


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights, apart from the library versions."""

    train: Split = Split(seed=1001, count=8000)
    validation: Split = Split(seed=2002, count=600)
    held_out: Split = Split(seed=3003, count=1600)
    stages: tuple[Stage, ...] = (Stage(128, 8, 4e-3), Stage(SIZE, 5, 1.5e-3))
    batch: int = 48
    weight_decay: float = 0.02
    label_smoothing: float = 0.05
    torch_seed: int = 7
    threads: int = 2


@dataclass(frozen=True)
class Examples:
    """Preprocessed slices, kept as 8 bits so that a training set fits in memory.

    Attributes:
        images: N x 224 x 224 uint8.
        targets: N int64, index into ``LABELS``.
        strata: N names.
    """

    images: Tensor
    targets: Tensor
    strata: tuple[str, ...]


def to_bytes(stored: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Clip, scale and resize one slice.

    Args:
        stored: rows x columns uint16 stored values.

    Returns:
        224 x 224 uint8; all zeros where the 1st and the 99th percentile coincide.
    """
    values = stored.astype(np.float64)
    low, high = np.percentile(values, (1.0, 99.0))
    if high <= low:
        return np.zeros((SIZE, SIZE), dtype=np.uint8)
    scaled = np.rint((np.clip(values, low, high) - low) / (high - low) * 255.0).astype(np.uint8)
    # One axis at a time, width first: the order Pillow itself uses is then not an assumption.
    wide = Image.fromarray(scaled).resize((SIZE, scaled.shape[0]), Image.Resampling.BILINEAR)
    return np.asarray(wide.resize((SIZE, SIZE), Image.Resampling.BILINEAR))


def normalise(images: Tensor) -> Tensor:
    """Replicate to three channels and normalise.

    Args:
        images: N x H x W uint8 or float32 in 0..255.

    Returns:
        N x 3 x H x W float32, channels-last in memory.
    """
    mean = torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1)
    std = torch.tensor(IMAGENET_STD).view(1, 3, 1, 1)
    unit = images.to(torch.float32).div(255.0).unsqueeze(1)
    return ((unit - mean) / std).contiguous(memory_format=torch.channels_last)


def generate(split: Split, name: str) -> Examples:
    """Generate and preprocess a split, reporting progress on stderr."""
    images = np.empty((split.count, SIZE, SIZE), dtype=np.uint8)
    phantoms: list[Phantom] = []
    start = time.monotonic()
    for index, phantom in enumerate(slices(split.count, split.seed)):
        images[index] = to_bytes(phantom.pixels)
        phantoms.append(phantom)
        if (index + 1) % 1000 == 0:
            _log(f"{name}: {index + 1}/{split.count} slices, {time.monotonic() - start:.0f} s")
    return Examples(
        images=torch.from_numpy(images),
        targets=torch.tensor([int(phantom.tumour) for phantom in phantoms]),
        strata=tuple(phantom.stratum for phantom in phantoms),
    )


def augment(images: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Flip left to right, shift, turn, zoom and change gain and gamma, then resize.

    Args:
        images: N x 224 x 224 uint8.
        size: Side of the result in pixels.
        generator: Source of randomness.

    Returns:
        N x size x size float32 in 0..255.
    """
    n = images.shape[0]

    def between(low: float, high: float) -> Tensor:
        return torch.rand(n, generator=generator) * (high - low) + low

    flip = (torch.rand(n, generator=generator) < 0.5).float() * 2.0 - 1.0
    angle, zoom = between(-0.17, 0.17), between(0.9, 1.12)
    cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    theta = torch.stack(
        [
            torch.stack([cos * flip, -sin, between(-0.1, 0.1)], dim=1),
            torch.stack([sin * flip, cos, between(-0.1, 0.1)], dim=1),
        ],
        dim=1,
    )
    unit = images.to(torch.float32).div(255.0).unsqueeze(1)
    if size != images.shape[-1]:
        unit = nn.functional.interpolate(
            unit, (size, size), mode="bilinear", align_corners=False, antialias=True
        )
    grid = nn.functional.affine_grid(theta, [n, 1, size, size], align_corners=False)
    moved = nn.functional.grid_sample(unit, grid, padding_mode="border", align_corners=False)
    exponent = between(0.85, 1.18).view(n, 1, 1, 1)
    gain = between(0.92, 1.08).view(n, 1, 1, 1)
    return (moved.clamp(min=0.0).pow(exponent) * gain).clamp(0.0, 1.0).squeeze(1).mul(255.0)


def train(recipe: Recipe, examples: Examples, validation: Examples) -> nn.Module:
    """Train from scratch: AdamW, one cosine per stage, normal batch normalisation."""
    torch.manual_seed(recipe.torch_seed)
    generator = torch.Generator().manual_seed(recipe.torch_seed)
    network = _new_network()
    loss_function = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
    start = time.monotonic()
    for stage in recipe.stages:
        steps = stage.epochs * (len(examples.targets) // recipe.batch)
        optimiser = torch.optim.AdamW(
            _parameter_groups(network, recipe.weight_decay), lr=stage.peak_learning_rate
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, partial(_warm_cosine, total=steps))
        for epoch in range(stage.epochs):
            network.train()
            losses = []
            for rows in _batches(len(examples.targets), recipe.batch, generator):
                images = augment(examples.images[rows], stage.size, generator)
                loss = loss_function(network(normalise(images)), examples.targets[rows])
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                schedule.step()
                losses.append(loss.item())
            size = stage.size
            accuracy = _accuracy(probabilities(network, validation, size), validation)
            _log(
                f"{size} px epoch {epoch + 1}/{stage.epochs}: loss {np.mean(losses):.4f}, "
                f"validation accuracy {accuracy:.4f}, {time.monotonic() - start:.0f} s"
            )
    network.eval()
    return network


def probabilities(network: nn.Module, examples: Examples, size: int = SIZE) -> NDArray[np.float64]:
    """Return each slice's tumour probability: N float64 in 0..1."""
    network.eval()
    parts = []
    with torch.inference_mode():
        for start in range(0, len(examples.targets), 64):
            images = examples.images[start : start + 64]
            if size != SIZE:
                images = nn.functional.interpolate(
                    images.to(torch.float32).unsqueeze(1),
                    (size, size),
                    mode="bilinear",
                    align_corners=False,
                    antialias=True,
                ).squeeze(1)
            parts.append(torch.softmax(network(normalise(images)).double(), dim=1)[:, 1])
    return torch.cat(parts).numpy()


def metrics(probability: NDArray[np.float64], examples: Examples) -> dict[str, object]:
    """Name every figure; a slice counts as tumour from p >= 0.5."""
    truth = examples.targets.numpy().astype(bool)
    called = probability >= 0.5
    correct = called == truth
    sensitivity = float(called[truth].mean())
    specificity = float((~called[~truth]).mean())
    strata = np.array(examples.strata)
    return {
        "slices": len(truth),
        "slices_with_tumour": int(truth.sum()),
        "threshold": 0.5,
        "accuracy": float(correct.mean()),
        "sensitivity": sensitivity,
        "specificity": specificity,
        "mean_of_sensitivity_and_specificity": (sensitivity + specificity) / 2.0,
        "brier_score": float(np.mean((probability - truth) ** 2)),
        "expected_calibration_error_10_bins": _calibration_error(probability, truth),
        "share_with_probability_between_0.05_and_0.95": float(
            np.mean((probability > 0.05) & (probability < 0.95))
        ),
        "share_with_probability_between_0.3_and_0.7": float(
            np.mean((probability > 0.3) & (probability < 0.7))
        ),
        "correct_by_stratum": {
            str(name): {
                "slices": int((strata == name).sum()),
                "correct_share": float(correct[strata == name].mean()),
            }
            for name in sorted(set(examples.strata))
        },
    }


def check(recipe: Recipe, weights: Path) -> int:
    """Evaluate saved weights on the held-out seed and compare with the file beside them.

    Returns:
        The exit status: 0 where every figure agrees.
    """
    recorded = json.loads(weights.with_suffix(".json").read_text(encoding="utf-8"))["held_out"]
    network = _new_network()
    network.load_state_dict(load_file(weights))
    held_out = generate(recipe.held_out, "held-out")
    again = metrics(probabilities(network, held_out), held_out)
    failed = 0
    names = ("slices", "accuracy", "sensitivity", "specificity")
    for name in (*names, "mean_of_sensitivity_and_specificity", "brier_score"):
        got, expected = again[name], recorded[name]
        assert isinstance(got, int | float)
        agrees = abs(got - expected) <= (0 if name == "slices" else _CHECK_TOLERANCE)
        failed += not agrees
        print(f"{name}: {got:.6g}, recorded {expected:.6g}: {'ok' if agrees else 'DIFFERS'}")
    return 1 if failed else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; see the module docstring."""
    parser = argparse.ArgumentParser(description="Reference network of uterus-mr/tumor-filter.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--out", type=Path, help="folder for tumor-filter.safetensors and .json")
    what.add_argument("--check", action="store_true", help="evaluate saved weights")
    parser.add_argument("--weights", type=Path, default=REFERENCE, help="what --check evaluates")
    options = parser.parse_args(arguments)

    recipe = Recipe()
    torch.set_num_threads(recipe.threads)
    if options.check:
        return check(recipe, options.weights)

    examples = generate(recipe.train, "train")
    validation = generate(recipe.validation, "validation")
    start = time.monotonic()
    network = train(recipe, examples, validation)
    training_s = time.monotonic() - start
    held_out = generate(recipe.held_out, "held-out")
    options.out.mkdir(parents=True, exist_ok=True)
    weights = options.out / "tumor-filter.safetensors"
    save_file(_float32_state(network), weights)
    record = {
        "task": "uterus-mr/tumor-filter",
        "notice": "Trained on synthetic phantoms only; not for clinical use.",
        "architecture": {"name": ARCHITECTURE, **ARCHITECTURE_PARAMETERS},
        "labels": list(LABELS),
        "held_out": {
            "seed": recipe.held_out.seed,
            **metrics(probabilities(network, held_out), held_out),
        },
        "validation": {
            "seed": recipe.validation.seed,
            **metrics(probabilities(network, validation), validation),
        },
        "training": {**asdict(recipe), "wall_time_s": round(training_s)},
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "pillow": PIL.__version__,
        },
    }
    text = json.dumps(record, indent=2) + "\n"
    weights.with_suffix(".json").write_text(text, encoding="utf-8")
    print(text, end="")
    return 0


def _new_network() -> nn.Module:
    network = build(ARCHITECTURE, ARCHITECTURE_PARAMETERS)
    for parameter in network.parameters():
        if parameter.ndim == 4:
            # About half as fast again on a CPU as the default layout.
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network


def _parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    # Decay on normalisation scales and biases would fight batch normalisation.
    decayed = [p for p in network.parameters() if p.ndim > 1]
    free = [p for p in network.parameters() if p.ndim <= 1]
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]


def _warm_cosine(step: int, total: int) -> float:
    warm = max(1, total // 12)
    if step < warm:
        return (step + 1) / warm
    return 0.005 + 0.995 * 0.5 * (1.0 + math.cos(math.pi * (step - warm) / max(1, total - warm)))


def _batches(count: int, batch: int, generator: torch.Generator) -> Iterator[Tensor]:
    order = torch.randperm(count, generator=generator)
    for start in range(0, count - batch + 1, batch):
        yield order[start : start + batch]


def _accuracy(probability: NDArray[np.float64], examples: Examples) -> float:
    return float(np.mean((probability >= 0.5) == examples.targets.numpy().astype(bool)))


def _calibration_error(probability: NDArray[np.float64], truth: NDArray[np.bool_]) -> float:
    bins = np.minimum((probability * 10).astype(int), 9)
    gaps = [
        (bins == index).mean()
        * abs(probability[bins == index].mean() - truth[bins == index].mean())
        for index in np.unique(bins)
    ]
    return float(np.sum(gaps))


def _float32_state(network: nn.Module) -> dict[str, Tensor]:
    # num_batches_tracked is an int64 counter that inference never reads; torch fills it in
    # again when a plain dictionary without it is loaded.
    return {
        name: value.detach().contiguous()
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }


def _log(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
