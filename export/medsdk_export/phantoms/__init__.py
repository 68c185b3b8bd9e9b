"""Seeded synthetic images that stand in for patients, one module for each task.

``python -m medsdk_export.phantoms TASK --out DIR --count N --seed S`` writes DICOM files.
"""

from __future__ import annotations

from pathlib import Path

from medsdk_export.phantoms._mr_dicom import Syntax, to_dicom
from medsdk_export.phantoms._writing import write_cases
from medsdk_export.phantoms.uterus_mr import Phantom, slices

__all__ = ["TASKS", "Phantom", "Syntax", "slices", "to_dicom", "write"]

TASKS: tuple[str, ...] = ("uterus-mr/tumor-filter",)
"""Every task that :func:`write` has phantoms for."""


def write(
    task_id: str,
    directory: Path,
    count: int,
    seed: int,
    cases_csv: Path | None = None,
    *,
    report: bool = True,
) -> tuple[Path, ...]:
    """Write phantoms as DICOM files ``0000.dcm``, ``0001.dcm`` and so on.

    Existing files of those names are replaced; others are left alone.

    Args:
        task_id: One of :data:`TASKS`.
        directory: Made where it is missing.
        count: How many, >= 1.
        seed: >= 0; see :func:`medsdk_export.phantoms.uterus_mr.slices`.
        cases_csv: Where to write the truth: UTF-8, header ``path,truth,patient,stratum``,
            one row a file, ``path`` relative to the CSV's folder with forward slashes,
            ``truth`` the label string.
        report: Whether long runs report on stderr.

    Returns:
        The files, in order.

    Raises:
        ValueError: Unknown task, or count or seed out of range.
        ImportError: pydicom is not installed.
    """
    if task_id not in TASKS:
        raise ValueError(f"no phantoms for task {task_id!r}; allowed: {', '.join(TASKS)}")
    if count < 1 or seed < 0:
        raise ValueError(f"count must be 1 or more and seed 0 or more; got {count}, {seed}")
    return write_cases(slices(count, seed), count, directory, cases_csv, report=report)
