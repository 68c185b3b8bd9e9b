"""The tables of an export: labelled cases, and regions of interest of a calibration folder."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from medsdk.evaluation import tables
from medsdk.evaluation.tables import ROI_COLUMN, resolved, roi_rule
from medsdk.pixels import Box
from medsdk.tasks import Task
from medsdk_export.errors import InputsRefusedError

CASE_COLUMNS = ("path", "truth", "patient", "stratum")
"""Columns of the table of cases."""

ROI_TABLE = "rois.csv"
"""Regions of interest of a calibration folder: columns `path` (relative to it) and `roi`."""

read_table = partial(tables.read_table, refused=InputsRefusedError)
"""`medsdk.evaluation.tables.read_table` with the error of an export."""

parse_roi = partial(
    tables.parse_roi,
    refused=InputsRefusedError,
    remedy=f"fill the column {ROI_COLUMN} of the cases, or {ROI_TABLE} of the calibration folder",
)
"""`medsdk.evaluation.tables.parse_roi` with the error of an export."""


def case_columns(task: Task) -> tuple[str, ...]:
    """Columns of the table of cases of a task."""
    return CASE_COLUMNS if roi_rule(task) is None else (*CASE_COLUMNS, ROI_COLUMN)


def read_rois(folder: Path, task: Task) -> dict[Path, Box]:
    """Regions of interest of a calibration folder, by the files' resolved paths.

    Args:
        folder: The calibration folder.
        task: The task; where its crop takes no region, the table is not looked at.

    Returns:
        File to region, for the files that have one.

    Raises:
        InputsRefusedError: The table is no table, names a file twice or one that is not there.
    """
    rule, table = roi_rule(task), folder / ROI_TABLE
    if rule is None or not table.exists():
        return {}
    rois: dict[Path, Box] = {}
    seen: set[Path] = set()
    what = f"{ROI_TABLE} of the calibration folder"
    for number, row in enumerate(read_table(table, what, "line", ("path", ROI_COLUMN)), 1):
        path = resolved(folder / row["path"])
        if path is None or path in seen:
            raise InputsRefusedError(
                f"line {number} of {ROI_TABLE} names a file "
                + ("that is missing" if path is None else "that another line names already"),
                expected="each file of the folder at most once, by its path from there",
                remedy="correct the table",
            )
        seen.add(path)
        roi = parse_roi(row[ROI_COLUMN], rule, f"line {number} of {ROI_TABLE}")
        if roi is not None:
            rois[path] = roi
    return rois
