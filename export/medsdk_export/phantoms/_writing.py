"""Phantoms on disk: DICOM files, the table of their truth and that of their regions."""

from __future__ import annotations

import csv
import os
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from medsdk_export.phantoms._cases import PhantomCase

__all__ = ["ROIS", "write_cases"]

ROIS = "rois.csv"
"""The table of regions of interest beside the files."""

_REPORT_EVERY_S = 2.0


def write_cases(
    cases: Iterable[PhantomCase],
    count: int,
    directory: Path,
    cases_csv: Path | None,
    *,
    report: bool,
) -> tuple[Path, ...]:
    """Write each phantom as one file, then the tables.

    Args:
        cases: In order of their index; either all or none have a region of interest.
        count: How many there are, for the progress report.
        directory: Made where it is missing.
        cases_csv: Where the table of truth goes, or None for no table.
        report: Whether to report on stderr every two seconds.

    Returns:
        The files, in order.
    """
    directory.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    truths: list[tuple[str, ...]] = []
    rois: list[tuple[str, ...]] = []
    reported = time.monotonic()
    for case in cases:
        path = directory / f"{case.index:04d}.dcm"
        path.write_bytes(case.to_bytes())
        files.append(path)
        truth: tuple[str, ...] = (case.label, case.patient, case.stratum)
        if case.roi is not None:
            roi = ",".join(map(str, case.roi))
            rois.append((path.name, roi))
            truth = (*truth, roi)
        if cases_csv is not None:
            # os.path, because Path.relative_to cannot climb out of a folder before 3.12.
            relative = Path(os.path.relpath(path, cases_csv.parent)).as_posix()
            truths.append((relative, *truth))
        if report and time.monotonic() - reported >= _REPORT_EVERY_S:
            reported = time.monotonic()
            sys.stderr.write(f"{len(files)}/{count} phantoms\n")
    if rois:
        _write_table(directory / ROIS, ("path", "roi"), rois)
    if cases_csv is not None:
        header = ("path", "truth", "patient", "stratum", *(("roi",) if rois else ()))
        _write_table(cases_csv, header, truths)
    return tuple(files)


def _write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(header)
        table.writerows(rows)
