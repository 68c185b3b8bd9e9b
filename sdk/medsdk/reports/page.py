"""One offline page of a report: HTML5 with its style and its drawings inside, no script."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files

from medsdk.reports.claims import attention, claims_section, counts, metrics_section
from medsdk.reports.figures import agreement_section, bland_altman_section, differences_section
from medsdk.reports.markup import Markup, foreign, tag
from medsdk.reports.provenance import (
    changes_section,
    compared_section,
    method_section,
    versions_section,
)
from medsdk.reports.report import VERDICT_OF_ENVELOPE, Report
from medsdk.reports.tables import icon
from medsdk.reports.wording import Language, Wording
from medsdk.reports.worst import worst_section
from medsdk.tasks.schema import NOTICE

_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'"
)
"""What a browser may load: nothing; even where something foreign slipped in, it stays dead."""


def page_html(
    report: Report, language: Language, picture: Callable[[str], bytes | None] | None = None
) -> str:
    """The page.

    Args:
        report: What was found.
        language: Of what this program says; reasons stay English.
        picture: Gives a PNG for the id of a worst case, or None where it has none. Without it
            the page has no pictures.

    Returns:
        HTML that needs nothing beside itself.

    Raises:
        ValueError: A picture is no PNG.
    """
    words = Wording.of(language)
    sections = {
        "compared": compared_section(words, report),
        "gates": claims_section(words, report),
        "metrics": metrics_section(words, report),
        "changes": changes_section(words, report),
        "agreement": agreement_section(words, report),
        "differences": differences_section(words, report),
        "bland-altman": bland_altman_section(words, report),
        "worst": worst_section(words, report, picture),
        "method": method_section(words, report),
        "versions": versions_section(words, report),
    }
    there = {key: made for key, made in sections.items() if made is not None}
    links = (tag("li", tag("a", words.text("headings", key), href=f"#{key}")) for key in there)
    contents = tag("nav", tag("ul", *links), aria_label=words.text("headings", "contents"))
    main = (
        tag("section", tag("h2", words.text("headings", key)), made, id=key)
        for key, made in there.items()
    )
    body = tag(
        "body",
        Markup(_packaged("symbols.svg")),
        _header(words, report),
        contents,
        tag("main", *main),
        _footer(words, report),
    )
    html = tag("html", _head(words, report), body, lang=language)
    return f"<!DOCTYPE html>\n{html}\n"


def _head(words: Wording, report: Report) -> Markup:
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("link", rel="icon", href="data:,"),
        tag("title", f"{report.title} - {words.text('verdicts', report.verdict)}"),
        tag("style", Markup(_packaged("page.css"))),
    )


def _header(words: Wording, report: Report) -> Markup:
    clinical = ""
    if words.language != "en" and NOTICE in report.notice.lower():
        clinical = words.text("notes", "not-clinical")
    verdict = tag(
        "div",
        icon(report.verdict),
        tag(
            "p",
            tag("strong", words.text("verdicts", report.verdict)),
            tag("span", words.text("verdict-meanings", report.verdict)),
        ),
        class_=f"verdict {report.verdict}",
    )
    notice = tag(
        "p",
        icon("notice"),
        tag("span", tag("strong", clinical) if clinical else None, foreign(report.notice)),
        class_="notice",
        role="note",
    )
    return tag(
        "header",
        tag(
            "p",
            f"{words.text('headings', 'report')} · {words.text('kinds', report.kind)}",
            class_="kind",
        ),
        tag("h1", foreign(report.title)),
        verdict,
        _envelope(words, report),
        notice if report.notice or clinical else None,
        counts(words, report),
        attention(words, report),
    )


def _envelope(words: Wording, report: Report) -> Markup | None:
    """Where the change lies, by symbol, word and colour."""
    if report.envelope is None:
        return None
    verdict = VERDICT_OF_ENVELOPE[report.envelope]
    said = words.text("envelope", report.envelope)
    return tag(
        "p",
        tag("strong", icon(verdict), said, class_=f"badge {verdict}"),
        tag("span", words.text("envelope-meanings", report.envelope)),
        class_="envelope",
    )


def _footer(words: Wording, report: Report) -> Markup:
    made = words.text("notes", "made", created=report.created, version=report.medsdk)
    return tag("footer", tag("p", made), tag("p", foreign(report.notice)))


def _packaged(name: str) -> str:
    return (files("medsdk.reports") / name).read_text(encoding="utf-8")
