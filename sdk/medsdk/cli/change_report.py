"""What `diff` and `accept` print and write of their report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from medsdk.cli.evaluate import EXIT_OF, case_pictures
from medsdk.cli.output import print_document, print_note, print_text, table

if TYPE_CHECKING:
    from medsdk.evaluation.cases import CaseSet
    from medsdk.reports import Report
    from medsdk.tasks import Task

_SHOWN = 30
_TEXT = 60


def write_pages(
    document: Report,
    folder: Path | None,
    language: Literal["en", "ja"],
    pictured: tuple[CaseSet, Task] | None,
) -> None:
    """Write the report's files while the cases are still there.

    Args:
        document: What was found.
        folder: Where; None writes nothing.
        language: Of the page.
        pictured: The cases to draw the worst of, and their task; None draws none.

    Raises:
        MedsdkError: As `write_report`.
    """
    from medsdk.reports import write_report

    if folder is not None:
        picture = None if pictured is None else case_pictures(*pictured)
        write_report(document, folder, language=language, picture=picture, replace=True)
        if pictured is not None:
            print_note("the report's pictures may show who a patient is: keep it as you keep them")


def print_report(
    document: Report, *, as_json: bool, folder: Path | None, compared: bool = True
) -> None:
    """Print a report and exit with the status of its verdict.

    Args:
        document: What was found.
        as_json: Whether to print the document itself.
        folder: Where its pages were written, or None.
        compared: Whether two sides were compared, so that it says what changed.

    Raises:
        Exit: Always.
    """
    from medsdk.cli.report_text import report_text

    if as_json:
        print_document(document)
    else:
        if compared:
            print_text(_changes_text(document))
        print_text(report_text(document))
        if folder is not None:
            print_text(f"written: {folder / 'report.html'}")
    raise typer.Exit(EXIT_OF[document.verdict])


def _changes_text(document: Report) -> str:
    """The changes as a table, and where they lie, seen from the envelope."""
    changes = document.changes
    if not changes:
        text = "nothing changed"
    else:
        allowed = {True: "yes", False: "NO", None: "-"}
        rows = (
            (item.what, item.where or "-", _cut(item.before), _cut(item.after))
            + ((allowed[item.allowed],) if document.envelope else ())
            for item in changes[:_SHOWN]
        )
        header = ("changed", "where", "before", "after")
        text = table((*header, "allowed") if document.envelope else header, rows)
        if len(changes) > _SHOWN:
            text += f"\nand {len(changes) - _SHOWN} more; --json has all of them"
    if document.envelope is not None:
        text += f"\nthe change envelope says: {document.envelope}"
    return text + "\n"


def _cut(text: str) -> str:
    return text if len(text) <= _TEXT else f"{text[: _TEXT - 3]}..."
