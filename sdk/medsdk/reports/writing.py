"""A report as three files in a folder that appears whole: for programs, people and CI."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from medsdk._refusals import ReportFolderError
from medsdk.atomic import new_directory, reported
from medsdk.reports.junit import junit_xml
from medsdk.reports.page import page_html
from medsdk.reports.report import Report
from medsdk.reports.wording import Language

DOCUMENT = "report.json"
PAGE = "report.html"
JUNIT = "report.xml"

_WHAT = "the report"


def write_report(
    report: Report,
    folder: Path,
    *,
    language: Language = "en",
    picture: Callable[[str], bytes | None] | None = None,
    replace: bool = False,
) -> tuple[Path, ...]:
    """Write a report: `report.json`, `report.html` (offline, one file), `report.xml` (JUnit).

    Args:
        report: What was found.
        folder: Where; it is made whole, or not at all.
        language: Of the page. JSON and XML are English.
        picture: Gives a PNG for the id of a worst case, or None where it has none. Pictures may
            show who the patient is, so without one the page has none.
        replace: Whether an earlier report there may be replaced.

    Returns:
        The files, JSON first.

    Raises:
        ReportFolderError: The folder holds something else, or an earlier report and not
            `replace`.
        OutputNotWritableError: It cannot be written.
    """
    check_report_folder(folder, replace=replace)
    contents = {
        DOCUMENT: report.model_dump_json(indent=2) + "\n",
        PAGE: page_html(report, language, picture),
        JUNIT: junit_xml(report),
    }
    there = folder.is_dir()  # an empty folder too is taken over
    with new_directory(folder, _WHAT, replace=replace or there) as made, reported(_WHAT):
        for name, text in contents.items():
            (made / name).write_bytes(text.encode())
    return tuple(folder / name for name in contents)


def check_report_folder(folder: Path, *, replace: bool = False) -> None:
    """Say beforehand whether `write_report` will take a folder, before hours are spent.

    Args:
        folder: Where the report shall be.
        replace: Whether an earlier report there may be replaced.

    Raises:
        ReportFolderError: The folder holds something else, or an earlier report and not
            `replace`.
        OutputNotWritableError: It cannot be read.
    """
    with reported(_WHAT):
        if not folder.exists() and not folder.is_symlink():
            return
        names = {path.name for path in folder.iterdir()} if folder.is_dir() else {""}
    if not names <= {DOCUMENT, PAGE, JUNIT} or folder.is_symlink():
        raise ReportFolderError.foreign()
    if names and not replace:
        raise ReportFolderError.earlier()
