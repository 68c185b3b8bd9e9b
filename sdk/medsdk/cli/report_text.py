"""A report for a terminal, in the words and with the numbers of its page."""

from __future__ import annotations

from collections.abc import Sequence

from medsdk.cli.output import table
from medsdk.parity.evidence import Claim, Measure, WorstCase
from medsdk.reports.claims import remarks
from medsdk.reports.report import Report, ReportCandidate
from medsdk.reports.wording import Wording

_REASONS = 10
_WORST = 5

_METRICS: tuple[Measure, ...] = (
    "accuracy",
    "sensitivity",
    "specificity",
    "mean-of-sensitivity-and-specificity",
)
_BY_STRATUM: tuple[Measure, ...] = ("sensitivity", "specificity", "accuracy", "flips")


def report_text(report: Report) -> str:
    """The report for a terminal: a table a candidate, then strata, reasons and worst cases.

    Args:
        report: What was found.

    Returns:
        English text of several lines. JSON and page have every claim; this has what a terminal
        has room for.
    """
    words = Wording.of("en")
    cases = words.text("notes", "cases-one" if report.cases == 1 else "cases", n=str(report.cases))
    patients = "" if report.patients is None else f" of {words.patients(report.patients)}"
    lines = [report.title, report.notice, f"{cases}{patients}"]
    lines += remarks(report)
    for candidate in report.candidates:
        lines += ["", *_candidate(words, report, candidate)]
    if report.reasons:
        lines.append("")
    lines += [f"  {reason}" for reason in report.reasons[:_REASONS]]
    if len(report.reasons) > _REASONS:
        lines.append(f"  and {len(report.reasons) - _REASONS} more; --json has all of them")
    lines += ["", report.verdict.upper()]
    return "\n".join(lines)


def _candidate(words: Wording, report: Report, candidate: ReportCandidate) -> list[str]:
    mark = "the reference" if candidate.reference else candidate.verdict
    lines = [f"{candidate.title} ({mark})"]
    own = [item for item in report.evidence.claims if item.scope.candidate == candidate.title]
    claims = [item for item in own if _shown(item)]
    whole = [item for item in claims if not item.scope.stratum]
    if whole:
        lines.append(_claims(words, whole))
    else:  # then at least why there is nothing
        lines += dict.fromkeys(item.reason for item in own if item.reason)
    divided = [item for item in claims if item.scope.stratum]
    if divided:
        lines += ["by stratum:", _claims(words, divided)]
    worst = [
        _worst(words, item)
        for item in report.evidence.worst
        if item.scope.candidate == candidate.title and item.number is not None
    ]
    if worst:
        lines.append(f"worst cases: {'; '.join(worst[:_WORST])}")
    return lines


def _shown(claim: Claim) -> bool:
    """Whether a terminal has room for it."""
    if claim.measure == "cases":  # one that counts what a gate needs, or that misses some
        return claim.needed is not None or bool(claim.reason and not claim.scope.stratum)
    if claim.scope.stratum:
        return claim.measure in _BY_STRATUM
    # The patients are claimed where they are fewer than the cases, and then they count.
    always = (*_METRICS, "patients-with-flips")
    return claim.limit is not None or claim.verdict != "advisory" or claim.measure in always


def _claims(words: Wording, claims: Sequence[Claim]) -> str:
    return table(
        ("what", "found", "bound", "limit", "verdict"),
        (
            (
                _what(item),
                words.finding(item),
                (item.bound and words.bound(item.bound, item.unit, item.measure)) or "-",
                "-" if item.limit is None else words.quantity(item.limit, item.unit, item.measure),
                item.verdict,
            )
            for item in claims
        ),
    )


def _what(claim: Claim) -> str:
    """The measure as JSON and JUnit XML name it, and of which part."""
    scope = claim.scope
    parts: list[str] = [claim.measure]
    if scope.level not in ("slice", "output"):
        parts.append(f"by {scope.level}")
    place = ".".join(filter(None, (scope.role, scope.output)))
    parts += [f"({name})" for name in (scope.label, place) if name]
    if scope.stratum:
        parts.insert(0, f"{scope.stratum} {scope.value}:")
    return " ".join(parts)


def _worst(words: Wording, item: WorstCase) -> str:
    said = f"{item.reference} -> {item.variant}" if item.reference else item.variant
    size = words.quantity(item.size, item.unit, item.measure)
    return f"case {item.number} ({said}; {item.measure} {size})"
