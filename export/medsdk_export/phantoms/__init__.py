"""Seeded synthetic images that stand in for patients, one module for each kind of image.

``python -m medsdk_export.phantoms TASK --out DIR --count N --seed S`` writes DICOM files.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from medsdk_export.phantoms import _mr_dicom, _us_dicom, liver_us
from medsdk_export.phantoms._cases import SOURCES, PhantomCase
from medsdk_export.phantoms._objects import Syntax
from medsdk_export.phantoms._writing import write_cases
from medsdk_export.phantoms.uterus_mr import Phantom, slices

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

__all__ = ["TASKS", "Phantom", "PhantomCase", "Syntax", "cases", "slices", "to_dicom", "write"]

TASKS: tuple[str, ...] = tuple(SOURCES)
"""Every task that :func:`cases` and :func:`write` have phantoms for."""


def cases(task_id: str, count: int, seed: int) -> Iterator[PhantomCase]:
    """Make phantoms of a task, with their truth.

    Case ``i`` depends on the task, ``seed`` and ``i`` only, so a longer run begins with the
    shorter one.

    Args:
        task_id: One of :data:`TASKS`.
        count: How many, >= 1.
        seed: >= 0. Different seeds share no patient.

    Returns:
        The cases in order, each made when it is asked for.

    Raises:
        ValueError: Unknown task, or count or seed out of range.
    """
    if task_id not in SOURCES:
        raise ValueError(f"no phantoms for task {task_id!r}; allowed: {', '.join(TASKS)}")
    if count < 1 or seed < 0:
        raise ValueError(f"count must be 1 or more and seed 0 or more; got {count}, {seed}")
    return SOURCES[task_id](count, seed)


def to_dicom(
    phantom: Phantom | liver_us.Phantom, *, syntax: Syntax = "explicit-little"
) -> FileDataset:
    """Wrap a phantom as the DICOM object that a scanner of its kind writes.

    Args:
        phantom: A slice of :mod:`~medsdk_export.phantoms.uterus_mr`, or a frame or clip of
            :mod:`~medsdk_export.phantoms.liver_us`. Its patient name does not enter the file.
        syntax: Transfer syntax; the default is Explicit VR Little Endian.

    Returns:
        A data set with file meta information, ready for ``save_as``. The same phantom gives
        the same bytes, except that RLE leaves the encoding to pydicom's version.

    Raises:
        ValueError: The syntax is not one of :data:`Syntax`.
        ImportError: pydicom is not installed.
    """
    if isinstance(phantom, liver_us.Phantom):
        return _us_dicom.to_dicom(phantom, syntax=syntax)
    return _mr_dicom.to_dicom(phantom, syntax=syntax)


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

    Where the task's crop takes a region of interest, ``rois.csv`` beside the files holds the
    operator's: header ``path,roi``. Existing files of those names are replaced; others are left
    alone.

    Args:
        task_id: One of :data:`TASKS`.
        directory: Made where it is missing.
        count: How many, >= 1.
        seed: >= 0; see :func:`cases`.
        cases_csv: Where to write the truth: UTF-8, header ``path,truth,patient,stratum``, with
            ``roi`` last where there is one; one row a file, ``path`` relative to the CSV's
            folder with forward slashes, ``truth`` the label string, ``roi`` as ``x0,y0,x1,y1``
            in pixels of the stored frame, outer corners.
        report: Whether long runs report on stderr.

    Returns:
        The files, in order.

    Raises:
        ValueError: Unknown task, or count or seed out of range.
        ImportError: pydicom is not installed.
    """
    return write_cases(cases(task_id, count, seed), count, directory, cases_csv, report=report)
