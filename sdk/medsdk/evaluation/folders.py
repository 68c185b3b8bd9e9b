"""Folders of images without a table of cases: their files in a stable order, and their regions."""

from __future__ import annotations

from pathlib import Path

from medsdk.evaluation.errors import CasesRefusedError
from medsdk.evaluation.tables import ROI_COLUMN, parse_roi, read_table, resolved, roi_rule
from medsdk.pixels import Box
from medsdk.tasks.schema import Task
from medsdk_runtimes.errors import MedsdkError

ROI_TABLE = "rois.csv"
"""Regions of interest of a folder: columns `path` (relative to it) and `roi`."""

_NO_IMAGES = (".csv", ".txt", ".json", ".md")


def image_files(folder: Path) -> list[Path]:
    """Files of a folder and of those inside it, sorted by their paths from there.

    Args:
        folder: The folder; hidden files and folders are passed over, and tables and notes.
    """
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.suffix.lower() not in _NO_IMAGES
    )


def read_rois(
    folder: Path,
    task: Task,
    what: str,
    refused: type[MedsdkError] = CasesRefusedError,
    *,
    gone: bool = False,
) -> dict[Path, Box]:
    """Regions of interest of a folder of images, by the files' resolved paths.

    Args:
        folder: The folder.
        task: The task; where its crop takes no region, the table is not looked at.
        what: What the folder is called in messages, for instance `the calibration folder`.
        refused: The class of error to raise.
        gone: Whether lines of files that are not there are passed over.

    Returns:
        File to region, for the files that have one.

    Raises:
        MedsdkError: Of the class `refused`: the table is no table, names a file twice or one
            that is not there, unless `gone`.
    """
    rule, table = roi_rule(task), folder / ROI_TABLE
    if rule is None or not table.exists():
        return {}
    rois: dict[Path, Box] = {}
    seen: set[Path] = set()
    columns = ("path", ROI_COLUMN)
    rows = read_table(table, f"{ROI_TABLE} of {what}", "line", columns, refused=refused)
    for number, row in enumerate(rows, 1):
        path = resolved(folder / row["path"])
        if path is None and gone:
            continue
        if path is None or path in seen:
            raise refused(
                f"line {number} of {ROI_TABLE} names a file "
                + ("that is missing" if path is None else "that another line names already"),
                expected="each file of the folder at most once, by its path from there",
                remedy="correct the table",
            )
        seen.add(path)
        roi = parse_roi(row[ROI_COLUMN], rule, f"line {number} of {ROI_TABLE}", refused)
        if roi is not None:
            rois[path] = roi
    return rois
