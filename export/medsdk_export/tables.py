"""The tables of an export: labelled cases, and regions of interest of a calibration folder."""

from __future__ import annotations

from functools import partial

from medsdk.evaluation import folders, tables
from medsdk.evaluation.folders import ROI_TABLE
from medsdk.evaluation.tables import ROI_COLUMN, roi_rule
from medsdk.tasks import Task
from medsdk_export.errors import InputsRefusedError

CASE_COLUMNS = ("path", "truth", "patient", "stratum")
"""Columns of the table of cases."""

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


read_rois = partial(folders.read_rois, what="the calibration folder", refused=InputsRefusedError)
"""`medsdk.evaluation.folders.read_rois` of a calibration folder."""
