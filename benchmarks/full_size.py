"""Benchmark bundles of the catalogue's networks at their full size.

    python benchmarks/full_size.py DIR [--task ID]...     # `make full-size`

The weights are random (speed does not depend on them) with BatchNorm statistics of real inputs, so
that activations have sensible ranges. `purpose = "benchmark"`: known answers run, no clinical
gate is claimed, and the bundles load under `explore` alone. They are not committed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch

from medsdk.bundle import Bundle
from medsdk.cli.output import Progress as Reporter
from medsdk.pipeline import preprocessor_of, supported_role
from medsdk.pixels import Box, open_dicom
from medsdk.tasks import Task, catalogue_task
from medsdk_export import phantoms
from medsdk_export.architectures import build
from medsdk_export.build import ExportRequest, Progress, export_bundle

FULL_WIDTH = 1.0
CALIBRATION = (32, 77)
"""Phantoms and their seed."""

LOGIT_OF_THE_DECISION = 20.0
NO_CAP = 100.0
CAP_ON_A_GPU = LOGIT_OF_THE_DECISION / 4
"""No target of int8-gpu runs at export, so its cap is its tolerance and must leave a margin."""


def benchmark_task(task_id: str) -> Task:
    """The catalogue's task with `purpose = "benchmark"` and no cap on INT8's differences.

    Random weights have no decision margin to speak of, so a cap in logits means nothing here.
    """
    document = catalogue_task(task_id).model_dump(mode="json", exclude_none=True)
    document["purpose"] = "benchmark"
    document["notice"] = "Benchmark of random weights: not for clinical use."
    for form, caps in document["gates"]["max_output_difference"].items():
        if form != "float":
            caps.update(dict.fromkeys(caps, CAP_ON_A_GPU if form == "gpu" else NO_CAP))
    for network in document["networks"].values():
        network["architecture"]["parameters"]["width"] = FULL_WIDTH
    return Task.model_validate_json(json.dumps(document))


def full_size_bundle(folder: Path, task_id: str, progress: Progress | None = None) -> Path:
    """Export the bundle of one task.

    Args:
        folder: Where weights, calibration phantoms and the bundle go; made where it is missing.
        task_id: A task of the catalogue that has phantoms.
        progress: Told what is being done.

    Returns:
        The bundle's directory.
    """
    task = benchmark_task(task_id)
    role, _ = supported_role(task)
    folder.mkdir(parents=True, exist_ok=True)
    calibration = folder / "calibration"
    phantoms.write(task_id, calibration, *CALIBRATION, report=False)
    weights = folder / "weights.pt"
    torch.save(random_weights(task, role), weights)
    request = ExportRequest(
        task=task,
        models={role: weights},
        calibration=calibration,
        out=folder / "bundle",
        known_answers=4,
        replace=True,
    )
    export_bundle(request, progress)
    return request.out


def random_weights(task: Task, role: str) -> dict[str, torch.Tensor]:
    """A state dictionary that gives every image the same clear decision.

    Known answers need a margin, and what the network decides does not matter here.
    """
    network = task.networks[role]
    torch.manual_seed(0)
    module = build(network.architecture.name, network.architecture.parameters)
    preprocessor = preprocessor_of(task, network)
    tensors = []
    for case in phantoms.cases(task.id, *CALIBRATION):
        frame = open_dicom(case.to_bytes()).frame(1)
        roi = None if case.roi is None else Box(*case.roi)
        tensors.append(torch.from_numpy(preprocessor.prepare(frame, roi).tensor))
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = None  # the plain average over all batches
    module.train()
    with torch.no_grad():
        for start in range(0, len(tensors), 8):
            module(torch.cat(tensors[start : start + 8]))
        module.eval()
        head = [part for part in module.modules() if isinstance(part, torch.nn.Linear)][-1]
        logits = torch.cat([module(tensor) for tensor in tensors])
        head.weight.div_(logits.std(0).max())
        wanted = torch.full((head.out_features,), -LOGIT_OF_THE_DECISION)
        wanted[0] = LOGIT_OF_THE_DECISION
        logits = torch.cat([module(tensor) for tensor in tensors])
        head.bias.sub_(logits.mean(0) - wanted)
    return module.state_dict()


def _reporting(folder: Path, task_id: str) -> Path:
    with Reporter(quiet=False) as progress:
        return full_size_bundle(
            folder,
            task_id,
            lambda phase, done, total: progress(f"{task_id}: {phase}", done, total),
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Build the bundles and say what they hold."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, metavar="DIR", help="Where the bundles go.")
    parser.add_argument(
        "--task",
        action="append",
        choices=phantoms.TASKS,
        help="Only this task; may be given again. Default: every task that has phantoms.",
    )
    options = parser.parse_args(arguments)
    print("| bundle | network | variant | MB | status |\n|---|---|---|---|---|")
    for task_id in options.task or phantoms.TASKS:
        path = _reporting(options.out / task_id, task_id)
        for network in Bundle.open(path).manifest.networks.values():
            for name, variant in network.variants.items():
                print(
                    f"| {path.relative_to(options.out)} | {network.architecture} "
                    f"{network.parameters} | {name} | {variant.size_bytes / 1e6:.2f} | "
                    f"{variant.status}: {variant.reason} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
