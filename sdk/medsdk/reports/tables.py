"""Tables of a page: one that narrow screens show as cards, and the claims as one of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from medsdk.bundle.manifest import Verdict
from medsdk.parity.evidence import Claim, Measure, Scope
from medsdk.reports.drawing import row_axis, row_drawing, row_scale
from medsdk.reports.markup import Markup, foreign, joined, tag
from medsdk.reports.wording import Wording

Row = Sequence[str | None]


def table(
    caption: str,
    header: Sequence[str],
    rows: Iterable[Row],
    *,
    class_: str = "",
    head_column: bool = True,
) -> Markup:
    """A table whose rows become cards on a narrow screen.

    Args:
        caption: What it shows.
        header: Names of the columns.
        rows: Cells; None is an empty one.
        class_: For the style.
        head_column: Whether the first cell of a row names it.
    """
    body = tag("tbody", *(_row(header, row, head_column) for row in rows), role="rowgroup")
    return framed(caption, header, body, class_=class_)


def framed(caption: str, header: Sequence[str], *bodies: Markup, class_: str = "") -> Markup:
    """A table of bodies that are made already, in a box that scrolls by itself.

    Args:
        caption: What it shows.
        header: Names of the columns.
        bodies: `tbody` elements.
        class_: For the style.
    """
    # The roles stay when a narrow screen lays rows out as blocks, which takes them from the tags.
    head = tag(
        "thead",
        tag("tr", *(tag("th", name, scope="col", role="columnheader") for name in header),
            role="row"),
        role="rowgroup",
    )  # fmt: skip
    made = tag("table", tag("caption", caption), head, *bodies, class_=class_ or None, role="table")
    return tag("div", made, class_="scroll", tabindex=0, role="region", aria_label=caption)


def _row(
    header: Sequence[str], cells: Row, head_column: bool = True, **attributes: str | None
) -> Markup:
    made = []
    for number, (name, cell) in enumerate(zip(header, cells, strict=True)):
        if number == 0 and head_column:
            made.append(tag("th", cell, scope="row", role="rowheader"))
        else:
            kind = "empty" if not cell else "plot" if '<svg class="row"' in cell else None
            made.append(tag("td", cell, data_label=name or None, role="cell", class_=kind))
    return tag("tr", *made, role="row", **attributes)


def badge(words: Wording, verdict: Verdict) -> Markup:
    """A verdict by symbol, word and colour."""
    return tag("span", icon(verdict), words.text("verdicts", verdict), class_=f"badge {verdict}")


def icon(name: str) -> Markup:
    """A symbol of the page's own set (`symbols.svg`)."""
    use = tag("use", href=f"#icon-{name}")
    return tag("svg", use, class_="icon", viewBox="0 0 16 16", aria_hidden="true")


@dataclass(frozen=True)
class Numbered:
    """A claim with its place in the report, from 1, which is also its anchor."""

    number: int
    claim: Claim

    @property
    def anchor(self) -> str:
        """The id of its row."""
        return f"claim-{self.number}"


def scope_text(words: Wording, scope: Scope) -> Markup:
    """Of what part of the evidence something speaks."""
    parts: list[Markup] = []
    if scope.candidate:
        parts.append(foreign(scope.candidate))
    if scope.value or scope.stratum:
        said = words.text("parts", "stratum", stratum=scope.stratum, value=scope.value)
        parts.append(foreign(said))
    for key in ("label", "role", "output"):
        value = getattr(scope, key)
        if value:
            parts.append(foreign(words.text("parts", key, **{key: value})))
    if not parts:
        return tag("span", words.text("parts", "all"))
    return joined(*(tag("span", part, class_="part") for part in parts))


def claims_table(words: Wording, caption: str, claims: Sequence[Numbered]) -> Markup:
    """Claims grouped by measure, each group with one axis.

    Args:
        words: Of the page's language.
        caption: What they are about.
        claims: In the report's order.
    """
    judged = any(item.claim.verdict != "advisory" for item in claims)
    limited = any(item.claim.limit is not None for item in claims)
    names = ["part", *(["verdict"] if judged else []), "found", "bound", "plot"]
    if limited:
        names.append("limit")
    header = [words.text("columns", name) for name in names]
    groups: dict[tuple[Measure, str], list[Numbered]] = {}
    for item in claims:
        groups.setdefault((item.claim.measure, item.claim.unit), []).append(item)
    bodies = [
        _group(words, names, dict(zip(names, header, strict=True)), group)
        for group in groups.values()
    ]
    return framed(
        caption, header, *bodies, class_=f"claims{' judged' * judged}{' limited' * limited}"
    )


def _group(
    words: Wording, names: Sequence[str], header: Mapping[str, str], claims: Sequence[Numbered]
) -> Markup:
    first = claims[0].claim
    scale = row_scale([item.claim for item in claims])
    plot = names.index("plot")
    name = tag(
        "th",
        words.measure(first.measure),
        scope="rowgroup",
        colspan=plot,
        role="rowheader",
    )
    axis = tag("td", None if scale is None else row_axis(scale, first), class_="plot", role="cell")
    rest = [tag("td", role="cell", class_="empty") for _ in names[plot + 1 :]]
    rows = [tag("tr", name, axis, *rest, class_="group", role="row")]
    for item in claims:
        claim = item.claim
        cells = {
            "part": _part(words, claim),
            "verdict": badge(words, claim.verdict),
            "found": _found(words, claim),
            "bound": _bound(words, claim),
            "plot": None if scale is None else row_drawing(scale, claim),
            "limit": _limit(words, claim),
        }
        labels = [header[name] for name in names]
        row = [cells[name] for name in names]
        rows.append(_row(labels, row, id=item.anchor, class_=f"is-{claim.verdict}"))
    return tag("tbody", *rows, role="rowgroup")


def _part(words: Wording, claim: Claim) -> Markup:
    reason = None
    if claim.reason:
        reason = tag("span", foreign(claim.reason, "en"), class_="reason")
    return joined(scope_text(words, claim.scope), *([reason] if reason else []))


def _found(words: Wording, claim: Claim) -> Markup:
    patients = None
    if claim.patients is not None:
        said = words.text("sentences", "patients", patients=words.patients(claim.patients))
        patients = tag("small", said)
    return joined(tag("span", words.finding(claim)), *([patients] if patients else []))


def _bound(words: Wording, claim: Claim) -> Markup | None:
    if claim.bound is None:
        return None
    said = words.bound(claim.bound, claim.unit, claim.measure)
    if not said:
        return None
    certainty = words.certainty(claim.bound)
    return joined(tag("span", said), *([tag("small", certainty)] if certainty else []))


def _limit(words: Wording, claim: Claim) -> Markup | None:
    if claim.limit is None:
        return None
    needed = None
    if claim.needed is not None:
        units = words.counted(claim.needed, claim.scope.level)
        needed = tag("small", words.text("sentences", "needed", units=units))
    limit = words.quantity(claim.limit, claim.unit, claim.measure)
    return joined(tag("span", limit), *([needed] if needed else []))
