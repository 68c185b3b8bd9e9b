"""Agreement tables, histograms of differences and Bland-Altman plots of a page."""

from __future__ import annotations

from medsdk.parity.evidence import AgreementTable, BlandAltman, Histogram
from medsdk.reports.drawing import bland_altman, histogram, summary
from medsdk.reports.markup import Markup, foreign, joined, tag
from medsdk.reports.report import Report
from medsdk.reports.tables import framed, scope_text, table
from medsdk.reports.wording import Wording

_SHORT = 64
"""A histogram of at most so many bins has its numbers as a table too."""

_OPEN = 6
"""So many figures of a kind stand open; the rest is folded."""


def agreement_section(words: Wording, report: Report) -> Markup | None:
    """How often each side said what."""
    charts = [chart for chart in report.evidence.charts if isinstance(chart, AgreementTable)]
    return _grid(words, [_agreement(words, chart) for chart in charts], "tables")


def differences_section(words: Wording, report: Report) -> Markup | None:
    """How differences are spread."""
    charts = [chart for chart in report.evidence.charts if isinstance(chart, Histogram)]
    return _grid(words, [_figure(words, chart) for chart in charts])


def bland_altman_section(words: Wording, report: Report) -> Markup | None:
    """Whether differences depend on the size of what is measured."""
    charts = [chart for chart in report.evidence.charts if isinstance(chart, BlandAltman)]
    return _grid(words, [_figure(words, chart) for chart in charts])


def _grid(words: Wording, figures: list[Markup], kind: str = "figures") -> Markup | None:
    if not figures:
        return None
    shown = tag("div", *figures[:_OPEN], class_=kind)
    if len(figures) <= _OPEN:
        return shown
    more = words.text("sentences", "more", count=str(len(figures) - _OPEN))
    rest = tag("div", *figures[_OPEN:], class_=kind)
    return joined(shown, tag("details", tag("summary", more), rest))


def _figure(words: Wording, chart: Histogram | BlandAltman) -> Markup:
    drawn = histogram(words, chart) if isinstance(chart, Histogram) else bland_altman(words, chart)
    numbers = None
    if isinstance(chart, Histogram) and len(chart.counts) <= _SHORT:
        numbers = _bins(words, chart)
    caption = tag(
        "figcaption",
        tag("strong", words.measure(chart.measure)),
        tag("span", scope_text(words, chart.scope), class_="scope"),
        tag("span", summary(words, chart)),
    )
    return tag("figure", caption, drawn, numbers)


def _bins(words: Wording, chart: Histogram) -> Markup:
    def shown(value: float) -> str:
        return words.quantity(value, chart.unit, chart.measure)

    title = words.text("notes", "table")
    rows = [
        (shown(low), shown(high), str(count))
        for low, high, count in zip(chart.edges[:-1], chart.edges[1:], chart.counts, strict=True)
    ]
    header = [words.text("columns", name) for name in ("from", "to", "count")]
    made = table(title, header, rows, class_="bins")
    return tag("details", tag("summary", title), made)


def _agreement(words: Wording, chart: AgreementTable) -> Markup:
    total = sum(map(sum, chart.counts))
    names = [_label(words, label) for label in chart.labels]
    all_of = words.text("columns", "total")
    rows = []
    for number, (name, counts) in enumerate(zip(names, chart.counts, strict=True)):
        largest = max(sum(counts), 1)
        cells = [
            tag(
                "td",
                str(count),
                class_="same" if column == number else "other" if count else "zero",
                # How dark a cell is; its number says the same.
                style=f"--share:{100 * count / largest:.0f}%",
                role="cell",
            )
            for column, count in enumerate(counts)
        ]
        head = tag("th", name, scope="row", role="rowheader")
        last = tag("td", str(sum(counts)), class_="total", role="cell")
        rows.append(tag("tr", head, *cells, last, role="row"))
    sums = [sum(column) for column in zip(*chart.counts, strict=True)]
    foot = [tag("td", str(value), class_="total", role="cell") for value in (*sums, total)]
    rows.append(tag("tr", tag("th", all_of, scope="row", role="rowheader"), *foot, role="row"))
    sides = words.text("parts", f"against-{chart.rows}")
    made = framed(
        sides, ["", *names, all_of], tag("tbody", *rows, role="rowgroup"), class_="agreement"
    )
    caption = tag(
        "figcaption",
        tag("strong", words.counted(total, chart.scope.level)),
        tag("span", scope_text(words, chart.scope), class_="scope"),
    )
    return tag("figure", caption, made)


def _label(words: Wording, label: str) -> Markup:
    if label == "indeterminate":
        return tag("span", words.text("parts", "indeterminate"))
    return foreign(label)
