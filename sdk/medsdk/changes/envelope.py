"""One verdict on a change: by the gates of the approved side, or by its change envelope."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from medsdk.bundle.change_envelope import ChangeEnvelope
from medsdk.bundle.manifest import Verdict
from medsdk.changes.comparing import ABSENT, ENVELOPE
from medsdk.parity.evidence import Evidence
from medsdk.reports.report import VERDICT_OF_ENVELOPE, Change, EnvelopeAnswer


@dataclass(frozen=True)
class Judgement:
    """The verdict on a change.

    Attributes:
        verdict: Of the whole.
        reasons: Why not `pass`, failures first; empty where it is.
        changes: As they were given; with `allowed`, where there is an envelope.
        envelope: Where the change lies; None where there is no envelope.
    """

    verdict: Verdict
    reasons: tuple[str, ...]
    changes: tuple[Change, ...]
    envelope: EnvelopeAnswer | None = None


def judge_by_gates(changes: Sequence[Change], evidence: Evidence) -> Judgement:
    """The verdict where nobody declared an envelope.

    Args:
        changes: What differs.
        evidence: What that did to decisions, judged by the gates of the approved side; empty
            where nothing was run.

    Returns:
        `fail` for gates that changed under an equal version; `pass` where nothing differs, both
        sides were asked and nothing speaks against it; else the verdict of the evidence.
    """
    silent = silent_gates(changes)
    verdict, reasons = evidence.verdict, evidence.reasons
    if not changes and not _unasked(evidence) and verdict != "fail":
        verdict, reasons = "pass", ()
    if silent:
        verdict = "fail"
    return Judgement(verdict, (*silent, *reasons), tuple(changes))


def judge_by_envelope(
    envelope: ChangeEnvelope,
    changes: Sequence[Change],
    evidence: Evidence,
    cases_sha256: str,
    cases: int,
) -> Judgement:
    """Where a change lies, seen from the envelope of the approved side.

    Args:
        envelope: Of the approved side, declared before the change.
        changes: What differs.
        evidence: What that did to decisions, judged by the envelope's limits.
        cases_sha256: Of the set of cases that it was seen on; empty where there was none.
        cases: How many there are.

    Returns:
        `outside` for a forbidden change, gates that changed under an equal version, or a limit
        that is exceeded on the declared cases; `undecidable` on other cases, on too few, or
        where the evidence is not conclusive; else `inside`. Without any change it is inside
        unless the evidence fails or a side could not be asked.
    """
    marked = tuple(
        change.model_copy(update={"allowed": change.what in envelope.may_change})
        for change in changes
    )
    forbidden = sorted({change.what for change in marked if not change.allowed})
    against = list(silent_gates(changes))
    if forbidden:
        against.insert(
            0,
            f"the envelope allows no change of {', '.join(forbidden)}; it allows "
            f"{', '.join(envelope.may_change)}",
        )
    if against and any(
        (change.what, change.where) == ENVELOPE and change.after == ABSENT for change in changes
    ):
        against.append(
            "B has no change envelope, and that is a change of gates: "
            "export B with the same --envelope"
        )
    open_questions: list[str] = []
    to_show = bool(changes) or _unasked(evidence)
    if to_show and cases_sha256 != envelope.cases_sha256:
        open_questions.append(
            "the change was judged on other cases than the envelope names: "
            f"{cases_sha256[:16] or 'none'}, not {envelope.cases_sha256[:16]}"
        )
    if to_show and cases < envelope.min_cases:
        open_questions.append(
            f"{cases} cases are too few: the envelope asks for {envelope.min_cases}"
        )
    if evidence.verdict == "fail" and not open_questions:
        failed = tuple(claim for claim in evidence.claims if claim.verdict == "fail")
        against += [
            f"a limit of the envelope is exceeded: {reason}"
            for reason in Evidence(claims=failed).reasons
        ]
    elif to_show and evidence.verdict != "pass":
        open_questions += evidence.reasons or ("nothing was measured",)
    place: EnvelopeAnswer = "outside" if against else "undecidable" if open_questions else "inside"
    return Judgement(VERDICT_OF_ENVELOPE[place], (*against, *open_questions), marked, place)


def _unasked(evidence: Evidence) -> bool:
    """Whether a side did not answer: that it is like the other was then not seen."""
    return any(
        claim.measure == "known-answers" and claim.verdict == "not-conclusive"
        for claim in evidence.claims
    )


def silent_gates(changes: Sequence[Change]) -> tuple[str, ...]:
    """What is to be said where gates changed and the version did not; empty where all is well."""
    gates = sorted(change.where for change in changes if change.what == "gates")
    if not gates or any(change.what == "version" for change in changes):
        return ()
    return (
        f"gates changed under an equal version ({', '.join(gates)}): whoever holds the two "
        "bundles cannot tell them apart; give the second another version",
    )
