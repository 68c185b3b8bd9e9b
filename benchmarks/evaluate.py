"""`medsdk evaluate` over many cases: time, peak memory, and an evaluation that is killed.

    python benchmarks/evaluate.py [--cases N] [--phantoms P] [--folder DIR]
    python benchmarks/evaluate.py --bundle BUNDLE --table CASES.csv

The bundle is the liver reference network that lies in the wheel, on every candidate of this
machine (six, where OpenVINO can be limited to AVX2). Cases are P phantoms, each with fresh
speckle N / P times, so that every case has pixels of its own. Each evaluation runs in a process of
its own, of which the system tells time and peak memory. Prints a Markdown table. Another bundle and
its cases may be given.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

TASK = "liver-us/malignancy"
REFERENCE = "liver-us-malignancy.medsdk"
"""The reference bundle in the wheel, of that task."""

FEW = 100
"""Cases of the small evaluation, with which the peak memory of the large one is compared."""

KILLED_AT = 0.4
"""Of all answers, after how many the process is killed."""


@dataclass(frozen=True)
class Run:
    """What one evaluation took.

    Attributes:
        seconds: Wall time.
        peak_bytes: Resident memory of its largest process.
        report: Its document.
    """

    seconds: float
    peak_bytes: int
    report: dict[str, Any]


def main() -> None:
    """Make the cases, evaluate, kill, go on, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--phantoms", type=int, default=50)
    parser.add_argument("--folder", type=Path, help="keep the cases here, or take those that are")
    parser.add_argument("--bundle", type=Path, help="another bundle, with --table")
    parser.add_argument("--table", type=Path, help="its cases")
    arguments = parser.parse_args()
    bundle = arguments.bundle or Path(str(files("medsdk.demonstration") / "data" / REFERENCE))
    with tempfile.TemporaryDirectory(prefix="medsdk-evaluate-") as name:
        place = Path(name)
        folder: Path = arguments.folder or place / "cases"
        table = arguments.table or make_cases(folder, arguments.cases, arguments.phantoms)
        few = first_rows(table, place / "few.csv", FEW)
        small = evaluate(bundle, few, place / "small")
        whole = evaluate(bundle, table, place / "whole")
        second = evaluate(bundle, table, place / "whole")
        cases = int(whole.report["cases"])
        candidates = len(list((place / "whole/answers").iterdir()))
        kill(bundle, table, place / "killed", round(KILLED_AT * candidates * cases))
        resumed = evaluate(bundle, table, place / "killed")
        same = all(
            path.read_bytes() == (place / "killed/answers" / path.name).read_bytes()
            for path in (place / "whole/answers").iterdir()
        )
    print(f"| evaluation of {candidates} candidates | s | answers/s | peak resident MB |")
    print("|---|---|---|---|")
    for title, run, answers in (
        (f"{FEW} cases", small, candidates * FEW),
        (f"{cases} cases", whole, candidates * cases),
        ("again: nothing is left to ask", second, 0),
        (f"killed at {KILLED_AT:.0%} of the answers, and gone on with", resumed, 0),
    ):
        rate = f"{answers / run.seconds:.0f}" if answers else "-"
        print(f"| {title} | {run.seconds:.1f} | {rate} | {run.peak_bytes / 1e6:.0f} |")
    more = (whole.peak_bytes - small.peak_bytes) / 1e6
    print(f"\npeak memory: {more:.0f} MB more than with {FEW} cases; resampling takes up to 25")
    print(f"answers after the kill are the same bytes: {same}")
    print(f"reports are the same but for their time: {alike(whole, resumed)}")
    if not same or not alike(whole, resumed):
        sys.exit(1)


def make_cases(folder: Path, count: int, phantoms: int) -> Path:
    """Phantoms with fresh speckle; a patient's images are those of one phantom.

    Args:
        folder: Where; what is there already is taken as it is.
        count: How many images.
        phantoms: How many phantoms.

    Returns:
        The table of cases.
    """
    import pydicom

    from medsdk_export.phantoms import write

    table = folder / f"cases-{count}.csv"
    if table.exists():
        return table
    write(TASK, folder / "phantoms", phantoms, 5, folder / "phantoms/cases.csv", report=False)
    with (folder / "phantoms/cases.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    rng = np.random.default_rng(5)
    lines = []
    for number in range(count):
        row = rows[number % len(rows)]
        dataset = pydicom.dcmread(folder / "phantoms" / row["path"])
        pixels = dataset.pixel_array.astype(np.float64)
        speckle = rng.gamma(25.0, 1 / 25.0, pixels.shape[:2])
        moved = pixels * (speckle[..., None] if pixels.ndim == 3 else speckle)
        dataset.PixelData = moved.clip(0, 255).astype(np.uint8).tobytes()
        name = f"{number:05}.dcm"
        dataset.save_as(folder / name, enforce_file_format=True)
        site = "a" if int(row["patient"].split("-")[-1]) % 2 else "b"
        lines.append({**row, "path": name, "site": site})
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    return table


def first_rows(table: Path, path: Path, count: int) -> Path:
    """The first rows of a table alone, for any folder."""
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))[:count]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, "path": str(table.parent / row["path"])} for row in rows)
    return path


def command(bundle: Path, table: Path, out: Path) -> list[str]:
    """The evaluation, as a user types it."""
    words = ["evaluate", str(bundle), "--cases", str(table), "--out", str(out), "--json"]
    words += ["--within-patient", "stratum"]
    return [sys.executable, "-c", "from medsdk.cli import main; main()", *words]


def evaluate(bundle: Path, table: Path, out: Path) -> Run:
    """Evaluate in a process of its own."""
    start = time.perf_counter()
    with subprocess.Popen(command(bundle, table, out), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        text = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - start
    report = json.loads(text)
    if "error" in report:
        sys.exit(f"{report['error']['what']}: {report['error']['got']}")
    return Run(seconds, usage.ru_maxrss * 1024, report)


def kill(bundle: Path, table: Path, out: Path, after: int) -> None:
    """Evaluate, and kill the process once there are so many answers."""
    with subprocess.Popen(command(bundle, table, out), stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            written = (out / "answers").glob("*.jsonl")
            if sum(path.read_bytes().count(b"\n") - 1 for path in written) >= after:
                os.kill(process.pid, signal.SIGKILL)
                break
            time.sleep(0.05)
        if process.wait() != -signal.SIGKILL:
            sys.exit("the evaluation ended before it was killed")


def alike(one: Run, two: Run) -> bool:
    """Whether two reports are the same but for when they were made."""
    return {**one.report, "created": ""} == {**two.report, "created": ""}


if __name__ == "__main__":
    main()
