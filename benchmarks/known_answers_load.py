"""What known answers add to a load: opening a bundle and its network, alone and with 16 of them.

    python benchmarks/known_answers_load.py [--turns 20] [--full-width]

Of the reference tumour filter (MobileNetV2) at its committed width, or of the full width with
random weights, which cost the same time. By turns, candidate by candidate; exported first.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from full_size import benchmark_task, random_weights
from interleaved import by_turns

import medsdk_runtimes
from medsdk.bundle import Bundle
from medsdk.parity.known_answers import LOAD_CASES, check_on_load
from medsdk.pipeline import Pipeline
from medsdk.plan.candidate import Candidate, candidates_of
from medsdk.tasks import catalogue_task
from medsdk_export import phantoms
from medsdk_export.build import ExportRequest, export_bundle
from medsdk_export.reference_weights import reference_weights

TASK = "uterus-mr/tumor-filter"
LIMIT_S = 0.5


def exported(folder: Path, *, full_width: bool) -> Path:
    """The bundle, with as many known answers as a load runs at most."""
    phantoms.write(TASK, folder / "calibration", 8, 31, report=False)
    task, weights = catalogue_task(TASK), reference_weights(TASK)
    if full_width:
        import torch

        task, weights = benchmark_task(TASK), folder / "weights.pt"
        torch.save(random_weights(task, task.roles[0]), weights)
    request = ExportRequest(
        task=task,
        models={task.roles[0]: weights},
        calibration=folder / "calibration",
        out=folder / "bundle",
        known_answers=LOAD_CASES,
    )
    export_bundle(request)
    return request.out


def opening(path: Path, candidate: Candidate) -> None:
    """Digests, manifest, session."""
    Pipeline.open(Bundle.open(path), candidate).close()


def loading(path: Path, candidate: Candidate) -> int:
    """The same, and the known answers; how many were run."""
    bundle = Bundle.open(path)
    with Pipeline.open(bundle, candidate) as pipeline:
        return check_on_load(bundle, candidate, pipeline)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a row a candidate; exit 1 where known answers add more than the limit."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--full-width", action="store_true")
    options = parser.parse_args(arguments)
    slow = False
    with TemporaryDirectory(ignore_cleanup_errors=True) as place:
        path = exported(Path(place), full_width=options.full_width)
        manifest = Bundle.open(path).manifest
        (network,) = manifest.networks.values()
        runtimes = tuple(runtime.name for runtime in medsdk_runtimes.available())
        print(f"{TASK}, {network.architecture} {network.parameters}, {options.turns} turns, n\n")
        print("| candidate | known answers run | opening, ms | with them, ms | added, ms (worst) |")
        print("|---|---|---|---|---|")
        for candidate in candidates_of(manifest, runtimes):
            ran = loading(path, candidate)
            timings = by_turns(
                {
                    "opening": partial(opening, path, candidate),
                    "loading": partial(loading, path, candidate),
                },
                options.turns,
                warm_up=2,
            )
            added = [
                whole - part
                for whole, part in zip(
                    timings.seconds["loading"], timings.seconds["opening"], strict=True
                )
            ]
            slow = slow or statistics.median(added) >= LIMIT_S or ran < LOAD_CASES
            print(
                f"| {candidate} | {ran} | {timings.median_ms('opening'):.0f} | "
                f"{timings.median_ms('loading'):.0f} | {statistics.median(added) * 1e3:.0f} "
                f"({max(added) * 1e3:.0f}) |",
                flush=True,
            )
    return 1 if slow else 0


if __name__ == "__main__":
    raise SystemExit(main())
