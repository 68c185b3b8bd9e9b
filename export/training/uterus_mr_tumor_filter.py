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
    new_network,
    save,
    shares_by_group,
    trained_with,
    unlike,
)

from medsdk_export.phantoms.uterus_mr import LABELS, Phantom, slice_at

ARCHITECTURE = "mobilenet-v2"
ARCHITECTURE_PARAMETERS = {"width": 0.5, "classes": 2}
SIZE = 224
# Side of the maps that say where the tumour is; training alone uses them.
MAP_SIZE = 56
# The layer whose features the maps supervise has one cell for 16 x 16 input pixels.
MAP_LAYERS = 14
MAP_STRIDE = 16
# The channel statistics that torchvision's classifiers use.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
TRAIN = Split(seed=1001, count=8000)
VALIDATION = Split(seed=2002, count=600)
HELD_OUT = Split(seed=3003, count=1600)
REFERENCE = REFERENCE_WEIGHTS / "uterus-mr/tumor-filter.safetensors"


@dataclass(frozen=True)
class Stage:
    """Epochs on one view of the slices; the last stage sees what is deployed.

    The uterus lies near the middle of every slice. Most epochs see a crop around it, which
    costs a fraction of the whole slice.

    Attributes:
        size: Side of the network's input in pixels.
        scale: Size of a pixel relative to the 224 x 224 slice, >= 1; the view covers
            ``size * scale`` of its 224 pixels.
        epochs: How often every slice is seen.
        learning_rate: (first, last); half a cosine leads from one to the other.
        borderline: Whether borderline tumours take part.
    """

    size: int
    scale: float
    epochs: int
    learning_rate: tuple[float, float]
    borderline: bool = True


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights, apart from the library versions."""

    train: Split = TRAIN
    validation: Split = VALIDATION
    held_out: Split = HELD_OUT
    stages: tuple[Stage, ...] = (
        Stage(96, 1.4, epochs=1, learning_rate=(3e-3, 3e-3), borderline=False),
        Stage(96, 1.4, epochs=5, learning_rate=(3e-3, 1.5e-3)),
        Stage(128, 1.0, epochs=5, learning_rate=(1.5e-3, 5e-4)),
        Stage(SIZE, 1.0, epochs=2, learning_rate=(8e-4, 1e-5)),
    )
    warm_up_steps: int = 300
    batch: int = 40
    map_loss_weight: float = 2.0
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
        maps: N x 56 x 56 uint8, 255 where the tumour is.
        strata: N names.
    """

    images: Tensor
    maps: Tensor
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
    return np.asarray(wide.resize((SIZE, SIZE), Image.Resampling.BILINEAR), dtype=np.uint8)


def tumour_map(phantom: Phantom) -> NDArray[np.uint8]:
    """Draw the tumour's disc over the slice.

    Args:
        phantom: The slice.

    Returns:
        56 x 56 uint8 over the same area as the slice: 255 inside the disc, 0 outside.
    """
    if phantom.centre_mm is None:
        return np.zeros((MAP_SIZE, MAP_SIZE), dtype=np.uint8)
    rows, columns = phantom.pixels.shape
    cells = (np.arange(MAP_SIZE) + 0.5) / MAP_SIZE
    x = phantom.origin_mm[0] + (cells * columns - 0.5) * phantom.spacing_mm[1]
    y = phantom.origin_mm[1] + (cells * rows - 0.5) * phantom.spacing_mm[0]
    distance = np.hypot(x[None, :] - phantom.centre_mm[0], y[:, None] - phantom.centre_mm[1])
    # 3 mm of transition and 1.5 mm of margin: a cell is wider than the smallest tumours.
    inside = np.clip((phantom.diameter_mm / 2.0 + 1.5 - distance) / 3.0 + 0.5, 0.0, 1.0)
    return np.asarray(np.rint(inside * 255.0), dtype=np.uint8)


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
    """Generate and preprocess a split on every core, reporting progress on stderr."""
    images = np.empty((split.count, SIZE, SIZE), dtype=np.uint8)
    maps = np.empty((split.count, MAP_SIZE, MAP_SIZE), dtype=np.uint8)
    tumours: list[int] = []
    strata: list[str] = []
    for index, (image, area, tumour, stratum) in each_example(_example, split, name):
        images[index], maps[index] = image, area
        tumours.append(int(tumour))
        strata.append(stratum)
    return Examples(
        images=torch.from_numpy(images),
        maps=torch.from_numpy(maps),
        targets=torch.tensor(tumours),
        strata=tuple(strata),
    )


def _example(index: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8], bool, str]:
    """One slice of a split: image, tumour map, whether it shows a tumour, stratum."""
    phantom = slice_at(index, seed)
    return to_bytes(phantom.pixels), tumour_map(phantom), phantom.tumour, phantom.stratum


def augment(
    images: Tensor, maps: Tensor, stage: Stage, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Flip left to right, shift, turn, zoom, crop and change gain and gamma.

    Args:
        images: N x 224 x 224 uint8.
        maps: N x 56 x 56 uint8.
        stage: The view.
        generator: Source of randomness.

    Returns:
        N x size x size float32 in 0..255, and N x 1 x cells x cells float32 in 0..1, the
        largest map value in each cell.
    """
    n, size = images.shape[0], stage.size

    def between(low: float, high: float) -> Tensor:
        return torch.rand(n, generator=generator) * (high - low) + low

    flip = (torch.rand(n, generator=generator) < 0.5).float() * 2.0 - 1.0
    angle = between(-0.17, 0.17)
    zoom = between(0.9, 1.12) * (size * stage.scale / SIZE)
    cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    theta = torch.stack(
        [
            torch.stack([cos * flip, -sin, between(-0.07, 0.07)], dim=1),
            torch.stack([sin * flip, cos, between(-0.07, 0.07)], dim=1),
        ],
        dim=1,
    )
    moved = _sample(_shrink(images, stage.scale).div(255.0), theta, size, "border")
    exponent = between(0.85, 1.18).view(n, 1, 1, 1)
    gain = between(0.92, 1.08).view(n, 1, 1, 1)
    pixels = (moved.clamp(min=0.0).pow(exponent) * gain).clamp(0.0, 1.0).squeeze(1).mul(255.0)

    cells = size // MAP_STRIDE
    located = _sample(maps.to(torch.float32).div(255.0).unsqueeze(1), theta, 4 * cells, "zeros")
    return pixels, nn.functional.adaptive_max_pool2d(located, cells)


def view(images: Tensor, stage: Stage) -> Tensor:
    """Return what a stage sees without augmentation: N x size x size float32 in 0..255."""
    shrunk = _shrink(images, stage.scale)
    margin = (shrunk.shape[-1] - stage.size) // 2
    end = margin + stage.size
    return shrunk[:, 0, margin:end, margin:end]


def train(recipe: Recipe, examples: Examples, validation: Examples) -> nn.Module:
    """Train from scratch: AdamW, normal batch normalisation.

    A slice's label alone says little about where to look. A second loss asks a 1x1
    convolution on the stride-16 features for the tumour's place; it is dropped afterwards.
    """
    torch.manual_seed(recipe.torch_seed)
    generator = torch.Generator().manual_seed(recipe.torch_seed)
    network = reference_network()
    features, classifier = network.get_submodule("features"), network.get_submodule("classifier")
    assert isinstance(features, nn.Sequential)
    lower, upper = features[:MAP_LAYERS], features[MAP_LAYERS:]
    locate = nn.Conv2d(_output_channels(lower), 1, 1)
    assert locate.bias is not None
    nn.init.constant_(locate.bias, -3.0)
    classify_loss = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
    locate_loss = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(4.0))

    def loss(stage: Stage, rows: Tensor) -> tuple[Tensor, Tensor]:
        pixels, cells = augment(examples.images[rows], examples.maps[rows], stage, generator)
        middle = lower(normalise(pixels))
        logits = classifier(upper(middle).mean(dim=(2, 3)))
        label_loss: Tensor = classify_loss(logits, examples.targets[rows])
        return label_loss + recipe.map_loss_weight * locate_loss(locate(middle), cells), label_loss

    fit(
        nn.ModuleList([network, locate]),
        recipe.stages,
        rows=lambda stage: _chosen(examples, borderline=stage.borderline),
        loss=loss,
        validate=lambda stage: _accuracy(probabilities(network, validation, stage), validation),
        batch=recipe.batch,
        weight_decay=recipe.weight_decay,
        warm_up_steps=recipe.warm_up_steps,
        generator=generator,
    )
    return network


def probabilities(
    network: nn.Module, examples: Examples, stage: Stage | None = None
) -> NDArray[np.float64]:
    """Return each slice's tumour probability: N float64 in 0..1.

    Args:
        network: Switched to evaluation mode.
        examples: The slices.
        stage: Whose view to use; None for the whole slice, as deployed.
    """
    network.eval()
    parts = []
    with torch.inference_mode():
        for start in range(0, len(examples.targets), 64):
            images = examples.images[start : start + 64]
            pixels = images if stage is None else view(images, stage)
            parts.append(torch.softmax(network(normalise(pixels)).double(), dim=1)[:, 1])
    return torch.cat(parts).numpy()


def metrics(probability: NDArray[np.float64], examples: Examples) -> dict[str, object]:
    """Name every figure; a slice counts as tumour from p >= 0.5."""
    truth = examples.targets.numpy().astype(bool)
    called = probability >= 0.5
    correct = called == truth
    sensitivity = float(called[truth].mean())
    specificity = float((~called[~truth]).mean())
    return {
        "slices": len(truth),
        "slices_with_tumour": int(truth.sum()),
        "threshold": 0.5,
        "accuracy": float(correct.mean()),
        "sensitivity": sensitivity,
        "specificity": specificity,
        "mean_of_sensitivity_and_specificity": (sensitivity + specificity) / 2.0,
        "brier_score": float(np.mean((probability - truth) ** 2)),
        "expected_calibration_error_10_bins": calibration_error(probability, truth),
        "share_with_probability_between_0.05_and_0.95": float(
            np.mean((probability > 0.05) & (probability < 0.95))
        ),
        "share_with_probability_between_0.3_and_0.7": float(
            np.mean((probability > 0.3) & (probability < 0.7))
        ),
        "correct_by_stratum": shares_by_group(correct, examples.strata, "slices"),
    }


def check(recipe: Recipe, weights: Path) -> int:
    """Evaluate saved weights on the held-out seed and compare with the file beside them.

    Returns:
        The exit status: 0 where every figure agrees.
    """
    recorded = json.loads(weights.with_suffix(".json").read_text(encoding="utf-8"))["held_out"]
    network = reference_network()
    network.load_state_dict(load_file(weights))
    held_out = generate(recipe.held_out, "held-out")
    again = metrics(probabilities(network, held_out), held_out)
    names = (
        "slices",
        "accuracy",
        "sensitivity",
        "specificity",
        "mean_of_sensitivity_and_specificity",
        "brier_score",
    )
    return 1 if unlike(again, recorded, names) else 0


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
    record = {
        "task": "uterus-mr/tumor-filter",
        "notice": NOTICE,
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
        "versions": trained_with(),
    }
    save(network, options.out / "tumor-filter.safetensors", record)
    return 0


def reference_network() -> nn.Module:
    """Build the untrained network."""
    return new_network(ARCHITECTURE, ARCHITECTURE_PARAMETERS)


def _chosen(examples: Examples, *, borderline: bool) -> Tensor:
    rows = [
        index
        for index, stratum in enumerate(examples.strata)
        if borderline or not stratum.endswith("-borderline")
    ]
    return torch.tensor(rows)


def _output_channels(layers: nn.Module) -> int:
    return [m.num_features for m in layers.modules() if isinstance(m, nn.BatchNorm2d)][-1]


def _shrink(images: Tensor, scale: float) -> Tensor:
    """N x 224 x 224 uint8 to N x 1 x S x S float32 in 0..255."""
    wide = images.to(torch.float32).unsqueeze(1)
    if scale == 1.0:
        return wide
    side = round(SIZE / scale)
    return nn.functional.interpolate(
        wide, (side, side), mode="bilinear", align_corners=False, antialias=True
    )


def _sample(images: Tensor, theta: Tensor, size: int, padding: str) -> Tensor:
    grid = nn.functional.affine_grid(theta, [len(images), 1, size, size], align_corners=False)
    return nn.functional.grid_sample(images, grid, padding_mode=padding, align_corners=False)


def _accuracy(probability: NDArray[np.float64], examples: Examples) -> float:
    return float(np.mean((probability >= 0.5) == examples.targets.numpy().astype(bool)))


if __name__ == "__main__":
    raise SystemExit(main())
