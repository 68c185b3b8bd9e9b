"""Who was compared, what changed, how it was computed, and by which versions."""

from __future__ import annotations

from medsdk.parity.evidence import Measure, Method
from medsdk.reports.claims import notes_of
from medsdk.reports.markup import Markup, foreign, joined, tag
from medsdk.reports.report import Change, Report, ReportCandidate
from medsdk.reports.tables import badge, icon, table
from medsdk.reports.wording import Wording


def compared_section(words: Wording, report: Report) -> Markup:
    """The candidates and the set of cases."""
    names = ["candidate", "verdict", "bundle", "runtime", "networks", "settings", "machine"]
    header = [words.text("columns", name) for name in names]
    rows = [_candidate(words, item) for item in report.candidates]
    parts = []
    if rows:
        title = words.text("headings", "compared")
        parts.append(table(title, header, rows, class_="candidates"))
    parts += [_reasons(words, item) for item in report.candidates if item.reasons]
    if report.cases_sha256:
        name = words.text("notes", "cases-digest")
        digest = tag("code", report.cases_sha256, class_="digest")
        parts.append(tag("dl", tag("dt", name), tag("dd", digest)))
    return joined(*parts)


def _candidate(words: Wording, item: ReportCandidate) -> tuple[Markup | None, ...]:
    side = words.text("parts", "reference" if item.reference else "compared")
    threads = item.settings.threads
    settings = [
        words.text("parts", "threads-one" if threads == 1 else "threads", count=str(threads))
    ]
    if item.settings.isa != "native":
        settings.append(words.text("parts", "isa", isa=item.settings.isa))
    return (
        joined(foreign(item.title), tag("small", side)),
        badge(words, item.verdict),
        joined(
            foreign(f"{item.bundle.name} {item.bundle.version}"),
            tag("code", item.bundle.sha256[:12], class_="digest short"),
        ),
        joined(
            foreign(f"{item.runtime} {item.runtime_version}"), tag("small", foreign(item.device))
        ),
        joined(
            *(
                tag(
                    "span",
                    words.text(
                        "parts",
                        "network",
                        role=role,
                        variant=choice.variant,
                        precision=choice.precision,
                    ),
                    class_="part",
                )
                for role, choice in item.networks.items()
            )
        ),
        joined(*(tag("span", text, class_="part") for text in settings)),
        tag("code", item.machine_sha256[:12], class_="digest short")
        if item.machine_sha256
        else None,
    )


def _reasons(words: Wording, item: ReportCandidate) -> Markup:
    count = tag("small", words.reasons(len(item.reasons)))
    shown = (tag("li", foreign(reason, "en")) for reason in item.reasons)
    return tag(
        "details", tag("summary", foreign(item.title), count), tag("ul", *shown), class_="reasons"
    )


def changes_section(words: Wording, report: Report) -> Markup | None:
    """What differs between the two sides of a `diff`."""
    if not report.changes:
        return None
    names = ["subject", "place", "before", "after", "allowed"]
    header = [words.text("columns", name) for name in names]
    rows = [
        (
            words.text("changes", change.what),
            foreign(change.where) if change.where else None,
            tag("code", change.before, class_="text") if change.before else None,
            tag("code", change.after, class_="text") if change.after else None,
            _allowed(words, change),
        )
        for change in report.changes
    ]
    return table(words.text("headings", "changes"), header, rows, class_="changes")


def _allowed(words: Wording, change: Change) -> Markup:
    if change.allowed is None:
        return tag("span", words.text("allowed", "open"), class_="badge advisory")
    key, verdict = ("yes", "pass") if change.allowed else ("no", "fail")
    return tag("span", icon(verdict), words.text("allowed", key), class_=f"badge {verdict}")


def method_section(words: Wording, report: Report) -> Markup:
    """How bounds were found, and what each measure means."""
    evidence = report.evidence
    methods: dict[Method, None] = {}
    measures: dict[Measure, None] = {}
    for claim in evidence.claims:
        measures[claim.measure] = None
        if claim.bound is not None:
            methods[claim.bound.method] = None
    for chart in evidence.charts:
        if chart.kind != "agreement":
            measures[chart.measure] = None
    for case in evidence.worst:
        measures[case.measure] = None
    notes = [words.text("notes", key) for key in ("rounding", "points", "confidence")]
    header = [words.text("columns", name) for name in ("term", "meaning")]
    parts = [tag("p", *notes_of(notes), class_="note")]
    if methods:
        rows = [(words.method(item), words.text("method-meanings", item)) for item in methods]
        parts.append(table(words.text("columns", "bound"), header, rows, class_="plain"))
    terms = [(words.measure(item), words.text("measure-meanings", item)) for item in measures]
    if terms:
        title = words.text("headings", "terms")
        made = table(title, header, terms, class_="plain")
        parts.append(tag("details", tag("summary", title, tag("small", str(len(terms)))), made))
    return joined(*parts)


def versions_section(words: Wording, report: Report) -> Markup:
    """Versions, and digests in full."""
    facts = {
        "medsdk": tag("code", report.medsdk),
        words.text("notes", "format"): tag("code", report.format_version),
    }
    facts |= {item.runtime: tag("code", item.runtime_version) for item in report.candidates}
    bundles = {item.bundle.sha256: item.bundle for item in report.candidates}
    for digest, bundle in bundles.items():
        name = f"{words.text('columns', 'bundle')} {bundle.name} {bundle.version}"
        facts[name] = tag("code", digest, class_="digest")
    for digest in dict.fromkeys(item.machine_sha256 for item in report.candidates):
        name = words.text("columns", "machine")
        facts[f"{name} {digest[:6]}"] = tag("code", digest, class_="digest")
    if report.cases_sha256:
        digest = tag("code", report.cases_sha256, class_="digest")
        facts[words.text("notes", "cases-digest")] = digest
    pairs = (part for name, value in facts.items() for part in (tag("dt", name), tag("dd", value)))
    return tag("dl", *pairs)
