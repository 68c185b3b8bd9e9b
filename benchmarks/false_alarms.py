"""False alarms: sound bundles of many seeds, exported, verified and loaded; none may complain.

    python -m benchmarks.false_alarms [--seeds 20] [--reference 20] [--compared 20]

From the root. Every seed has its own images and its own weights (the reference network: its own
phantoms). An alarm is an export that refuses its own bundle, a candidate that does not pass, a load
that is refused, or a verdict that differs between two runs of `verify`. Bundles of the small
network are also compared with themselves on their 160 cases, as `medsdk diff` does: ONNX Runtime
against itself, and against every other runtime.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import medsdk
import medsdk_runtimes
from medsdk.bundle import Bundle
from medsdk.changes.diffing import DiffRequest, diff
from medsdk.changes.running import Pins
from medsdk.errors import MedsdkError
from medsdk.parity.verification import Verification, verify
from medsdk.plan.candidate import candidates_of
from medsdk.tasks import catalogue_task
from medsdk_export import phantoms
from medsdk_export.build import ExportRequest, export_bundle
from medsdk_export.reference_weights import reference_weights
from tests.planted_faults.workshop import COLOUR, Workshop

REFERENCE = "liver-us/malignancy"
CASES = COLOUR.cases


@dataclass
class Count:
    """What was done for one kind of network, and what complained.

    Attributes:
        seeds: Bundles that were exported.
        candidates: Candidates that were verified, every runtime, variant and instruction set.
        checks: Known answers run on them, each stage alone and chained.
        probes: Decision probes of the bundles.
        loads: Engines that were loaded.
        compared: Cases that were compared with themselves.
        alarms: What complained.
    """

    seeds: int = 0
    candidates: int = 0
    checks: int = 0
    probes: int = 0
    loads: int = 0
    compared: int = 0
    alarms: list[str] = field(default_factory=list)


def check(bundle: Path, count: Count, where: str) -> None:
    """Verify a bundle twice, and load it on every native candidate."""
    opened = Bundle.open(bundle)
    first, second = verify(opened), verify(opened)
    count.seeds += 1
    count.probes += len(opened.manifest.decision_probes)
    for run in (first, second):
        count.candidates += len(run.candidates)
        count.checks += sum(item.cases for item in run.candidates)
        count.alarms += [f"{where}: {text}" for text in complaints(run)]
    if complaints(first) != complaints(second):
        count.alarms.append(f"{where}: two runs differ")
    runtimes = tuple(runtime.name for runtime in medsdk_runtimes.available())
    for candidate in candidates_of(opened.manifest, runtimes):
        (choice,) = candidate.networks.values()
        try:
            medsdk.load(bundle, runtime=candidate.runtime, variant=choice.variant).close()
        except MedsdkError as error:
            count.alarms.append(f"{where}: load on {candidate}: {error}")
        count.loads += 1


def compare_with_itself(bundle: Path, count: Count, where: str) -> None:
    """The bundle against itself on its cases, FP32 on ONNX Runtime against every runtime."""
    opened = Bundle.open(bundle)
    table = bundle.with_name("cases") / "cases.csv"
    for other in medsdk_runtimes.available():
        with TemporaryDirectory(ignore_cleanup_errors=True) as place:
            (Path(place) / "known").mkdir()
            request = DiffRequest(
                first=opened,
                second=opened,
                pins=Pins("onnxruntime", "fp32", threads=1),
                pins_b=Pins(other.name, "fp32", threads=1),
                table=table,
                out=Path(place),
                scratch=Path(place) / "known",
            )
            report = diff(request, lambda phase, done, total: None).report
        count.compared += CASES
        if report.verdict != "pass":
            count.alarms.append(f"{where}: against itself on {other.name}: {report.verdict}")


def complaints(run: Verification) -> list[str]:
    """What a verification says against a bundle."""
    found = list(run.reasons)
    for item in run.candidates:
        if item.verdict == "fail":
            found += [f"{item.candidate}: {reason}" for reason in item.reasons] or ["no reason"]
    if run.verdict != "pass" and not found:
        found.append(f"the verdict is {run.verdict}")
    return found


def small(folder: Path, seed: int) -> Path:
    """A vendor's small network, with weights and images of this seed."""
    return Workshop(folder, seed).colour


def reference(folder: Path, seed: int) -> Path:
    """The reference network, from phantoms of this seed."""
    task = catalogue_task(REFERENCE)
    phantoms.write(REFERENCE, folder / "calibration", 8, 2 * seed + 1000, report=False)
    table = folder / "cases/cases.csv"
    phantoms.write(REFERENCE, folder / "cases", 24, 2 * seed + 1001, table, report=False)
    request = ExportRequest(
        task=task,
        models={task.roles[0]: reference_weights(REFERENCE)},
        calibration=folder / "calibration",
        out=folder / "bundle",
        cases=table,
        known_answers=8,
    )
    export_bundle(request)
    return request.out


def run(title: str, make: Callable[[Path, int], Path], seeds: int, compared: int = 0) -> Count:
    """Export and check one bundle a seed, and compare the first ones with themselves."""
    count = Count()
    for seed in range(seeds):
        where, start = f"{title}, seed {seed}", time.monotonic()
        with TemporaryDirectory(ignore_cleanup_errors=True) as place:
            try:
                bundle = make(Path(place), seed)
                check(bundle, count, where)
                if seed < compared:
                    compare_with_itself(bundle, count, where)
            except MedsdkError as error:
                count.alarms.append(f"{where}: {error}")
        print(
            f"{where}: {len(count.alarms)} alarms so far, {time.monotonic() - start:.1f} s",
            file=sys.stderr,
            flush=True,
        )
    return count


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all seeds and print the counts; exit 1 where there was an alarm."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=20, help="Of the small network.")
    parser.add_argument("--reference", type=int, default=20, help=f"Of {REFERENCE}.")
    parser.add_argument("--compared", type=int, default=20, help="Small ones, with themselves.")
    options = parser.parse_args(arguments)
    counts = {
        "small network": run("small network", small, options.seeds, options.compared),
        REFERENCE: run(REFERENCE, reference, options.reference),
    }
    runtimes = ", ".join(
        f"{runtime.name} {runtime.availability().version}"
        for runtime in medsdk_runtimes.available()
    )
    print(f"medsdk {medsdk.__version__}, {runtimes}, {platform.machine()}\n")
    titles = ("network", "exports", "candidates", "known answers run", "probes", "loads")
    print(f"| {' | '.join((*titles, 'cases compared', 'alarms'))} |")
    print("|---" * (len(titles) + 2) + "|")
    for title, count in counts.items():
        print(
            f"| {title} | {count.seeds} | {count.candidates} | {count.checks} | {count.probes} | "
            f"{count.loads} | {count.compared} | {len(count.alarms)} |"
        )
    alarms = [alarm for count in counts.values() for alarm in count.alarms]
    for alarm in alarms:
        print(f"\n{alarm}")
    return 1 if alarms else 0


if __name__ == "__main__":
    sys.exit(main())
