"""Tables that a user brings: CSV files in UTF-8 with a header, read without repeating a value."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from medsdk.errors import MedsdkError
from medsdk.pixels import Box
from medsdk.tasks import Task
from medsdk.tasks.pixel_contract import RegionOfInterest
from medsdk_export.errors import InputsRefusedError

CASE_COLUMNS = ("path", "truth", "patient", "stratum")
"""Columns of the table of cases."""

ROI_COLUMN = "roi"
"""A further column of the cases where the task's crop takes a region of interest:
`x0,y0,x1,y1` in pixels of the stored frame, outer corners; empty for none."""

ROI_TABLE = "rois.csv"
"""Regions of interest of a calibration folder: columns `path` (relative to it) and `roi`."""


def read_table(
    table: Path, what: str, row_name: str, columns: tuple[str, ...]
) -> list[dict[str, str]]:
    """Read a CSV file whose columns are known, in any order.

    Args:
        table: The file, UTF-8 with or without a byte-order mark.
        what: What it is called in messages.
        row_name: What a row is called in messages; its number follows, counted from 1.
        columns: Exactly the columns that it has.

    Returns:
        At least one row, column to text.

    Raises:
        InputsRefusedError: No file, no CSV, another header, or a row of another length.
    """
    try:
        text = table.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputsRefusedError(
            f"{what} cannot be read",
            got=(error.strerror or "") if isinstance(error, OSError) else "not UTF-8",
            expected="a CSV file in UTF-8",
            remedy="check the path, or save the table as CSV in UTF-8",
        ) from error
    try:
        reader = csv.DictReader(io.StringIO(text), strict=True)
        rows, header = list(reader), tuple(reader.fieldnames or ())
    except csv.Error as error:
        raise InputsRefusedError(
            f"{what} is no CSV",
            got=str(error),
            expected="a CSV file in UTF-8",
            remedy="save the table as CSV, separated by commas",
        ) from error
    if not rows or sorted(header) != sorted(columns):
        raise InputsRefusedError(
            f"{what} has no cases or another header",
            # Without a header row the first case would stand here, so only known names do.
            got=f"{len(rows)} rows, {len(header)} columns, of them "
            f"{', '.join(name for name in columns if name in header) or 'none'} as expected",
            expected=f"columns {', '.join(columns)} and at least one row",
            remedy=f"make {', '.join(columns)} the first line",
        )
    for number, row in enumerate(rows, 1):
        if None in row or None in row.values():
            raise InputsRefusedError(
                f"the row of {row_name} {number} has another number of fields than the header",
                expected=f"{len(columns)} fields",
                remedy="put a text that holds a comma between quotation marks",
            )
    return rows


def roi_rule(task: Task) -> RegionOfInterest | None:
    """The crop of the task's first network where it takes a region of interest, else None."""
    crop = next(iter(task.networks.values())).pixels.crop
    return crop if isinstance(crop, RegionOfInterest) else None


def case_columns(task: Task) -> tuple[str, ...]:
    """Columns of the table of cases of a task."""
    return CASE_COLUMNS if roi_rule(task) is None else (*CASE_COLUMNS, ROI_COLUMN)


def parse_roi(text: str, rule: RegionOfInterest | None, name: str) -> Box | None:
    """The region of interest of a table's row.

    Args:
        text: `x0,y0,x1,y1`, or empty.
        rule: The task's crop.
        name: What the row is called in messages.

    Returns:
        The box, None where the text is empty.

    Raises:
        InputsRefusedError: It is no box, or empty where the task needs one.
    """
    if not text.strip():
        if rule is not None and rule.required:
            raise InputsRefusedError(
                f"{name} has no region of interest",
                got="an empty or missing roi",
                expected="x0,y0,x1,y1 in pixels of the stored frame, which the task needs",
                remedy=f"fill the column {ROI_COLUMN} of the cases, or {ROI_TABLE} of the "
                "calibration folder",
            )
        return None
    try:
        return Box.parse(text)
    except MedsdkError as error:
        raise InputsRefusedError(
            f"{name} has a region of interest that is refused",
            got=error.got,
            expected=error.expected,
            remedy=error.remedy,
        ) from error


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
        path = _resolved(folder / row["path"])
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


def _resolved(path: Path) -> Path | None:
    """A file's resolved path; None where there is none, or the name can be none."""
    try:
        return path.resolve() if path.is_file() else None
    except (OSError, ValueError, RuntimeError):  # too long; a NUL inside; a circle of links
        return None
