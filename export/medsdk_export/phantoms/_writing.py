"""Phantoms on disk: DICOM files and the table of their truth."""

from __future__ import annotations

import csv
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from medsdk_export.phantoms._mr_dicom import to_dicom
from medsdk_export.phantoms.uterus_mr import Phantom

__all__ = ["write_cases"]

_REPORT_EVERY_S = 2.0


def write_cases(
    phantoms: Iterable[Phantom],
    count: int,
    directory: Path,
    cases_csv: Path | None,
    *,
    report: bool,
) -> tuple[Path, ...]:
    """Write each phantom as one file, then the table.

    Args:
        phantoms: In order of their index.
        count: How many there are, for the number of digits and the progress report.
        directory: Made where it is missing.
        cases_csv: Where the table goes, or None for no table.
        report: Whether to report on stderr every two seconds.

    Returns:
        The files, in order.
    """
    directory.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    rows: list[tuple[str, str, str, str]] = []
    reported = time.monotonic()
    for phantom in phantoms:
        path = directory / f"{phantom.index:04d}.dcm"
        to_dicom(phantom).save_as(path, enforce_file_format=True)
        files.append(path)
        if cases_csv is not None:
            # os.path, because Path.relative_to cannot climb out of a folder before 3.12.
            relative = Path(os.path.relpath(path, cases_csv.parent)).as_posix()
            rows.append((relative, phantom.label, phantom.patient, phantom.stratum))
        if report and time.monotonic() - reported >= _REPORT_EVERY_S:
            reported = time.monotonic()
            sys.stderr.write(f"{len(files)}/{count} phantoms\n")
    if cases_csv is not None:
        cases_csv.parent.mkdir(parents=True, exist_ok=True)
        with cases_csv.open("w", encoding="utf-8", newline="") as stream:
            table = csv.writer(stream, lineterminator="\n")
            table.writerow(("path", "truth", "patient", "stratum"))
            table.writerows(rows)
    return tuple(files)
