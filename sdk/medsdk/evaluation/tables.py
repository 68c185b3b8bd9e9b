"""Tables that a user brings: CSV files in UTF-8 with a header, read without repeating a value."""

from __future__ import annotations

import codecs
import csv
import io
import re
from pathlib import Path

from medsdk.evaluation.errors import CasesRefusedError
from medsdk.pixels import Box
from medsdk.tasks.pixel_contract import RegionOfInterest
from medsdk.tasks.schema import Task
from medsdk_runtimes.errors import MedsdkError

TABLE_BYTES = 64 * 1024**2
"""The largest table that is read."""

ROI_COLUMN = "roi"
"""A further column of the cases where the task's crop takes a region of interest:
`x0,y0,x1,y1` in pixels of the stored frame, outer corners; empty for none."""

_JAPANESE = re.compile("[\\u3040-\\u30ff\\u4e00-\\u9fff]{2}")
"""Kana and kanji of full width, two in a row: a single one, or half-width kana, is what letters
with accents in other encodings look like."""


def read_table(
    table: Path,
    what: str,
    row_name: str,
    columns: tuple[str, ...],
    optional: tuple[str, ...] = (),
    refused: type[MedsdkError] = CasesRefusedError,
) -> list[dict[str, str]]:
    """Read a CSV file whose columns are known, in any order.

    Args:
        table: The file, UTF-8 with or without a byte-order mark.
        what: What it is called in messages.
        row_name: What a row is called in messages; its number follows, counted from 1.
        columns: Columns that it must have.
        optional: Columns that it may have beside them, and no others.
        refused: The class of error to raise.

    Returns:
        At least one row, column to text.

    Raises:
        MedsdkError: Of the class `refused`: no file, no CSV, another header, or a row of another
            length. No value of the table stands in it.
    """
    text = _text(_bytes(table, what, refused), what, refused)
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        rows, header = list(reader), tuple(reader.fieldnames or ())
    except csv.Error as error:
        raise refused(
            f"{what} is no CSV",
            got=str(error),
            expected="a CSV file in UTF-8",
            remedy="save the table as CSV, separated by commas",
        ) from error
    known = {*columns, *optional}
    if not rows or len(set(header)) != len(header) or not set(columns) <= set(header) <= known:
        raise _other_header(what, columns, optional, header, len(rows), refused)
    for number, row in enumerate(rows, 1):
        if None in row or None in row.values():
            raise refused(
                f"the row of {row_name} {number} has another number of fields than the header",
                got="more fields" if None in row else "fewer fields",
                expected=f"{len(header)} fields",
                remedy="put a text that holds a comma between quotation marks",
            )
    return rows


def roi_rule(task: Task) -> RegionOfInterest | None:
    """The crop of the task's first network where it takes a region of interest, else None."""
    crop = next(iter(task.networks.values())).pixels.crop
    return crop if isinstance(crop, RegionOfInterest) else None


def parse_roi(
    text: str,
    rule: RegionOfInterest | None,
    name: str,
    refused: type[MedsdkError] = CasesRefusedError,
    remedy: str = f"fill the column {ROI_COLUMN}",
) -> Box | None:
    """The region of interest of a table's row.

    Args:
        text: `x0,y0,x1,y1`, or empty.
        rule: The task's crop.
        name: What the row is called in messages.
        refused: The class of error to raise.
        remedy: What to do where it is missing.

    Returns:
        The box, None where the text is empty.

    Raises:
        MedsdkError: Of the class `refused`: it is no box, or empty where the task needs one.
    """
    if not text.strip():
        if rule is not None and rule.required:
            raise refused(
                f"{name} has no region of interest",
                got="an empty or missing roi",
                expected="x0,y0,x1,y1 in pixels of the stored frame, which the task needs",
                remedy=remedy,
            )
        return None
    try:
        return Box.parse(text)
    except MedsdkError as error:
        raise roi_refused(name, error, refused, error.remedy) from error


def roi_refused(
    name: str, error: MedsdkError, refused: type[MedsdkError], remedy: str
) -> MedsdkError:
    """The error of a table's row for one of its region of interest."""
    return refused(
        f"{name} has a region of interest that is refused",
        got=error.got,
        expected=error.expected,
        remedy=remedy,
    )


def resolved(path: Path) -> Path | None:
    """A file's resolved path; None where there is none, or the name can be none."""
    try:
        return path.resolve() if path.is_file() else None
    except (OSError, ValueError, RuntimeError):  # too long; a NUL inside; a circle of links
        return None


def _bytes(table: Path, what: str, refused: type[MedsdkError]) -> bytes:
    try:
        with table.open("rb") as file:
            data = file.read(TABLE_BYTES + 1)
    except (OSError, ValueError) as error:
        raise refused(
            f"{what} cannot be read",
            got=getattr(error, "strerror", None) or "a path that cannot be",
            expected="a CSV file in UTF-8",
            remedy="check the path",
        ) from error
    if len(data) > TABLE_BYTES:
        raise refused(
            f"{what} is too large",
            got=f"more than {TABLE_BYTES} bytes",
            expected="a CSV file with one line a case",
            remedy="check the path",
        )
    return data


def _text(data: bytes, what: str, refused: type[MedsdkError]) -> str:
    """UTF-8 alone: any other encoding is named, since guessing one may turn a name into another."""
    if data[128:132] == b"DICM" and b"\0" in data:  # a path in a table may hold these letters
        raise refused(
            f"{what} cannot be read",
            got="a DICOM file",
            expected="a CSV file in UTF-8",
            remedy="give the table that names the images",
        )
    utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in data[:4]
    if not utf16:
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError:
            pass
    raise refused(
        f"{what} cannot be read",
        got="not UTF-8"
        + ("; it looks like UTF-16" if utf16 else ", but looks like Shift-JIS" * _shift_jis(data)),
        expected="a CSV file in UTF-8",
        remedy="save it as UTF-8: in Excel, 'CSV UTF-8 (comma delimited)'",
    )


def _shift_jis(data: bytes) -> bool:
    try:
        return bool(_JAPANESE.search(data.decode("cp932")))
    except UnicodeDecodeError:
        return False


def _other_header(
    what: str,
    columns: tuple[str, ...],
    optional: tuple[str, ...],
    header: tuple[str, ...],
    rows: int,
    refused: type[MedsdkError],
) -> MedsdkError:
    allowed = (*columns, *optional)
    found = [name for name in allowed if name in header]
    # Without a header row the first case would stand here, so only known names are shown.
    got = f"{rows} rows, {len(header)} columns, of them {', '.join(found) or 'none'} as expected"
    unknown = [str(at) for at, name in enumerate(header, 1) if name not in allowed]
    remedy = f"make {', '.join(columns)} the first line"
    for mark, name in ((";", "semicolons"), ("\t", "tabs")):
        if len(header) == 1 and mark in header[0]:
            got += f"; it looks separated by {name}"
            remedy = "save the table separated by commas"
            break
    else:
        if found and unknown:
            got += f"; column {', '.join(unknown)} has another name"
            remedy = "rename or remove what is not listed"
        elif len(found) < len(header):
            got += "; a column stands twice" if found else ""
        elif set(columns) <= set(header):
            remedy = "add a row for each case"
    return refused(
        f"{what} has no cases or another header",
        got=got,
        expected=f"columns {', '.join(columns)} and at least one row"
        + (f"; it may also have {', '.join(optional)}" if optional else ""),
        remedy=remedy,
    )
