"""A benchmark bundle of MobileNetV2 at its published width.

    python benchmarks/full_width.py DIR     # `make full-size`

The weights are random (speed does not depend on them) with BatchNorm statistics of real inputs, so
that activations have sensible ranges. `purpose = "benchmark"`: known answers run, no clinical
gate is claimed.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from medsdk.pixels import Frame
from medsdk.pixels.contract import Preprocessor
from medsdk.tasks import Task, catalogue_task
from medsdk_export.architectures import build
from medsdk_export.build import ExportRequest, Progress, export_bundle
from medsdk_export.phantoms import slices, to_dicom

TASK = "uterus-mr/tumor-filter"


def benchmark_task() -> Task:
    """The catalogue's task with `purpose = "benchmark"` and no cap on INT8's differences.

    Random weights have no decision margin to speak of, so a cap in logits means nothing here.
    """
    task = catalogue_task(TASK)
    document = task.model_dump(mode="json", exclude_none=True)
    document["purpose"] = "benchmark"
    for form in ("cpu", "gpu"):
        document["gates"]["max_output_difference"][form] = {"filter.logits": 100.0}
    document["networks"]["filter"]["architecture"]["parameters"] = {"width": 1.0, "classes": 2}
    return Task.model_validate_json(json.dumps(document))


def full_width_bundle(folder: Path, progress: Progress | None = None) -> Path:
    """Export the bundle.

    Args:
        folder: Where weights, calibration phantoms and the bundle go.
        progress: Told what is being done.

    Returns:
        The bundle's directory.
    """
    task = benchmark_task()
    torch.manual_seed(0)
    module = build("mobilenet-v2", {"width": 1.0, "classes": 2})
    preprocessor = Preprocessor(task.networks["filter"].pixels)
    phantoms = list(slices(32, 77))
    tensors = [
        torch.from_numpy(preprocessor.prepare(Frame(p.pixels, value_kind="display")).tensor)
        for p in phantoms
    ]
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = None  # the plain average over all batches
    module.train()
    with torch.no_grad():
        for start in range(0, len(tensors), 8):
            module(torch.cat(tensors[start : start + 8]))
        # Every image gets the same clear decision: known answers need a margin, and what the
        # network decides does not matter here.
        module.eval()
        logits = torch.cat([module(tensor) for tensor in tensors])
        head = module.get_submodule("classifier.1")
        assert isinstance(head, torch.nn.Linear)
        head.weight.div_(logits.std(0).max())
        logits = torch.cat([module(tensor) for tensor in tensors])
        head.bias.sub_(logits.mean(0) - torch.tensor([20.0, -20.0]))
    torch.save(module.state_dict(), folder / "weights.pt")
    calibration = folder / "calibration"
    calibration.mkdir()
    for phantom in phantoms:
        to_dicom(phantom).save_as(calibration / f"{phantom.index}.dcm", enforce_file_format=True)
    bundle = folder / "bundle"
    request = ExportRequest(
        task=task,
        models={"filter": folder / "weights.pt"},
        calibration=calibration,
        out=bundle,
        known_answers=4,
    )
    export_bundle(request, progress)
    return bundle


if __name__ == "__main__":
    place = Path(sys.argv[1])
    place.mkdir(parents=True)
    print(full_width_bundle(place))
