"""The worst cases of a page, by name; their pictures only where somebody asked for them."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence

from medsdk.parity.evidence import WorstCase
from medsdk.reports.markup import Markup, foreign, joined, tag
from medsdk.reports.report import Report
from medsdk.reports.tables import icon, scope_text, table
from medsdk.reports.wording import Wording

_PNG = b"\x89PNG\r\n\x1a\n"

_OPEN = 4
"""So many tables stand open; the rest is folded."""


def worst_section(
    words: Wording, report: Report, picture: Callable[[str], bytes | None] | None
) -> Markup | None:
    """The worst cases, a table for each candidate, level and measure.

    Args:
        words: Of the page's language.
        report: What was found.
        picture: Gives a PNG for a case's id, or None where it has none.
    """
    cases = report.evidence.worst
    if not cases:
        return None
    pictures = {} if picture is None else _pictures(cases, picture)
    groups: dict[tuple[str, str], list[WorstCase]] = {}
    for case in cases:
        key = (case.measure, case.scope.model_dump_json())
        groups.setdefault(key, []).append(case)
    tables = [_table(words, group, pictures) for group in groups.values()]
    parts = [tag("p", words.text("notes", "no-cases"), class_="note"), *tables[:_OPEN]]
    if len(tables) > _OPEN:
        more = words.text("sentences", "more", count=str(len(tables) - _OPEN))
        parts.append(tag("details", tag("summary", more), *tables[_OPEN:]))
    if pictures:
        parts.append(_gallery(words, pictures))
    return joined(*parts)


def _pictures(
    cases: Sequence[WorstCase], picture: Callable[[str], bytes | None]
) -> dict[str, bytes]:
    found = {}
    for name in dict.fromkeys(case.case for case in cases):
        png = picture(name)
        if png is None:
            continue
        if not png.startswith(_PNG):
            raise ValueError("a picture for a report is no PNG")
        found[name] = png
    return found


def _table(words: Wording, cases: Sequence[WorstCase], pictures: dict[str, bytes]) -> Markup:
    first = cases[0]
    names = ["rank", "case", "size", "truth", "reference", "variant"]
    rows = [
        (
            str(rank),
            _case(words, case, pictures),
            words.quantity(case.size, case.unit, case.measure),
            words.text("parts", "unknown") if case.truth is None else foreign(case.truth),
            foreign(case.reference) if case.reference else None,
            foreign(case.variant) if case.variant else None,
        )
        for rank, case in enumerate(cases, 1)
    ]
    measure = words.measure(first.measure)
    heading = tag("h3", measure, tag("span", scope_text(words, first.scope), class_="scope"))
    header = [words.text("columns", name) for name in names]
    return joined(heading, table(measure, header, rows, class_="worst"))


def _case(words: Wording, case: WorstCase, pictures: dict[str, bytes]) -> Markup:
    name = tag("code", case.case)
    if case.case in pictures:
        name = tag("a", name, href=f"#{_anchor(case.case, pictures)}")
    if case.number is None:
        return name
    return joined(name, tag("small", words.text("parts", "row", number=str(case.number))))


def _gallery(words: Wording, pictures: dict[str, bytes]) -> Markup:
    figures = [
        tag(
            "figure",
            tag("figcaption", tag("code", name)),
            tag(
                "img",
                src=f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}",
                alt=name,
            ),
            id=_anchor(name, pictures),
        )
        for name, png in pictures.items()
    ]
    return joined(
        tag("h3", words.text("headings", "pictures")),
        tag(
            "p",
            icon("notice"),
            tag("span", words.text("notes", "pictures")),
            class_="notice",
            role="note",
        ),
        tag("div", *figures, class_="figures pictures"),
    )


def _anchor(name: str, pictures: dict[str, bytes]) -> str:
    return f"picture-{list(pictures).index(name) + 1}"
