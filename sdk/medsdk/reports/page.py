"""One offline page of a report."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

from medsdk.printable import printable
from medsdk.reports.report import Report
from medsdk.reports.wording import Language, Wording


def page_html(
    report: Report, language: Language, picture: Callable[[str], bytes | None] | None = None
) -> str:
    """The page."""
    words = Wording.of(language)
    rows = "".join(
        f"<li>{words.text('verdicts', claim.verdict)}: {_text(words.statement(claim))}</li>"
        for claim in report.evidence.claims
    )
    return (
        f'<!doctype html><html lang="{language}"><meta charset="utf-8">'
        f"<title>{_text(report.title)}</title><h1>{_text(report.title)}</h1>"
        f"<p>{_text(report.notice)}</p><ul>{rows}</ul></html>\n"
    )


def _text(text: str) -> str:
    return escape(printable(text))
