"""The claims of a page: what did not pass, what gates judged, and figures without a gate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from medsdk.bundle.manifest import Verdict
from medsdk.reports.markup import Markup, foreign, joined, tag
from medsdk.reports.report import Report
from medsdk.reports.tables import Numbered, badge, claims_table, icon, scope_text, table
from medsdk.reports.wording import Wording

_SHOWN = 8
"""So many of what did not pass stand open at the top; the rest is folded."""

_ORDER: tuple[Verdict, ...] = ("fail", "not-conclusive", "not-run", "pass", "advisory")


def numbered(report: Report) -> tuple[Numbered, ...]:
    """The claims with their numbers."""
    return tuple(Numbered(i, claim) for i, claim in enumerate(report.evidence.claims, 1))


def counts(words: Wording, report: Report) -> Markup:
    """How many cases, patients and claims there are, and how many of each verdict."""
    claims = len(report.evidence.claims)
    said = words.text("sentences", "claims-one" if claims == 1 else "claims", count=str(claims))
    one = "cases-one" if report.cases == 1 else "cases"
    cases = words.text("notes", one, n=str(report.cases))
    if report.patients is None:
        summary = words.text("notes", "summary-cases", cases=cases, claims=said)
    else:
        patients = words.patients(report.patients)
        summary = words.text("notes", "summary", cases=cases, patients=patients, claims=said)
    found = Counter(claim.verdict for claim in report.evidence.claims)
    chips = (
        tag("li", badge(words, verdict), tag("b", str(found[verdict])))
        for verdict in _ORDER
        if found[verdict]
    )
    said_apart = (tag("p", foreign(said, "en"), class_="summary") for said in remarks(report))
    return joined(
        tag("p", summary, class_="summary"), *said_apart, tag("ul", *chips, class_="chips")
    )


def remarks(report: Report) -> tuple[str, ...]:
    """What is to be known of the cases as a whole and decides nothing: `1 of 160 has no truth`."""
    return tuple(
        claim.reason
        for claim in report.evidence.claims
        if not claim.scope.candidate and claim.verdict == "advisory" and claim.reason
    )


def attention(words: Wording, report: Report) -> Markup | None:
    """What did not pass, each with a link to its row, failures first."""
    claims = [item for item in numbered(report) if item.claim.verdict in _ORDER[:3]]
    claims.sort(key=lambda item: _ORDER.index(item.claim.verdict))
    told = {item.claim.reason for item in claims}.union(report.evidence.reasons)
    of_candidates = [reason for item in report.candidates for reason in item.reasons]
    others = [
        tag("li", icon(report.verdict), tag("p", foreign(reason, "en")))
        for reason in dict.fromkeys(report.reasons)
        if reason not in told and reason not in of_candidates
    ]
    items = [*others, *(_item(words, item) for item in claims)]
    if not items:
        return None
    rest = None
    if len(items) > _SHOWN:
        more = words.text("sentences", "more", count=str(len(items) - _SHOWN))
        rest = tag("details", tag("summary", more), tag("ul", *items[_SHOWN:]))
    return tag(
        "section",
        tag("h2", words.text("headings", "attention")),
        tag("ul", *items[:_SHOWN]),
        rest,
        id="attention",
        class_="attention",
    )


def _item(words: Wording, item: Numbered) -> Markup:
    claim = item.claim
    name = tag("a", words.measure(claim.measure), href=f"#{item.anchor}")
    facts = [words.finding(claim)]
    if claim.bound is not None:
        facts.append(words.bound(claim.bound, claim.unit, claim.measure))
    if claim.limit is not None:
        limit = words.quantity(claim.limit, claim.unit, claim.measure)
        facts.append(words.text("sentences", "limit", limit=limit))
    said = words.text("sentences", "join").join(filter(None, facts))
    return tag(
        "li",
        icon(claim.verdict),
        tag(
            "p",
            tag("strong", words.text("verdicts", claim.verdict), class_=f"word {claim.verdict}"),
            name,
            tag("span", scope_text(words, claim.scope), class_="scope"),
            tag("span", said, class_="facts"),
            tag("span", foreign(claim.reason, "en"), class_="reason") if claim.reason else None,
        ),
    )


def claims_section(words: Wording, report: Report) -> Markup:
    """The gates in force and every claim that one of them judged."""
    judged = [item for item in numbered(report) if item.claim.verdict != "advisory"]
    notes = [words.text("notes", "legend"), words.text("notes", "confidence")]
    if words.language != "en":
        notes.append(words.text("notes", "reasons"))
    parts: list[Markup] = []
    if judged:
        parts += [tag("p", *notes_of(notes), class_="note"), *_by_level(words, judged)]
    else:
        parts.append(tag("p", words.text("notes", "no-claims"), class_="note"))
    if report.gates:
        parts.append(_gates(words, report))
    return joined(*parts)


def metrics_section(words: Wording, report: Report) -> Markup | None:
    """Figures without a gate."""
    free = [item for item in numbered(report) if item.claim.verdict == "advisory"]
    if not free:
        return None
    note = tag("p", words.text("notes", "advisory"), class_="note")
    return joined(note, *_by_level(words, free))


def notes_of(texts: Sequence[str]) -> list[Markup]:
    """Sentences, one after the other."""
    return [tag("span", text) for text in texts]


def _gates(words: Wording, report: Report) -> Markup:
    header = [words.text("columns", name) for name in ("gate", "value")]
    rows = [
        (tag("code", name), tag("code", _gate_value(value))) for name, value in report.gates.items()
    ]
    title = words.text("headings", "gates-in-force")
    made = table(title, header, rows, class_="plain")
    return tag("details", tag("summary", title, tag("small", str(len(rows)))), made)


def _gate_value(value: float | str | bool) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else f"{value:g}"


def _by_level(words: Wording, claims: Sequence[Numbered]) -> list[Markup]:
    """Claims by what is counted: of all cases open, by stratum folded."""
    parts: list[Markup] = []
    for level in dict.fromkeys(item.claim.scope.level for item in claims):
        here = [item for item in claims if item.claim.scope.level == level]
        name = words.text("level-names", level)
        heading = words.text("headings", "by-level", level=name)
        parts.append(tag("h3", heading))
        whole = [item for item in here if not item.claim.scope.stratum]
        if whole:
            parts.append(claims_table(words, heading, whole))
        for stratum in dict.fromkeys(item.claim.scope.stratum for item in here):
            if stratum:
                inside = [item for item in here if item.claim.scope.stratum == stratum]
                parts.append(_stratum(words, stratum, inside))
    return parts


def _stratum(words: Wording, stratum: str, claims: Sequence[Numbered]) -> Markup:
    title = words.text("headings", "by-stratum", stratum=stratum)
    found = Counter(item.claim.verdict for item in claims)
    chips = [
        tag("span", badge(words, verdict), tag("b", str(found[verdict])), class_="chip")
        for verdict in _ORDER
        if found[verdict]
    ]
    if set(found) == {"advisory"}:
        chips = [tag("small", str(len(claims)))]
    return tag(
        "details", tag("summary", foreign(title), *chips), claims_table(words, title, claims)
    )
