"""The report: who was compared, what was claimed, and the verdict. JSON is this document."""

from __future__ import annotations

from typing import Literal, Self

from medsdk.bundle.change_envelope import ChangedThing
from medsdk.bundle.manifest import Verdict
from medsdk.evaluation.answers import AnswersHeader
from medsdk.parity.evidence import Evidence
from medsdk.results.documents import BundleIdentity, Document, NetworkChoice, SettingsDocument
from medsdk.tasks.strict import Strict

ReportKind = Literal["evaluate", "diff", "accept", "verify", "export"]

EnvelopeAnswer = Literal["inside", "outside", "undecidable"]
"""Where a change lies, seen from a change envelope."""

VERDICT_OF_ENVELOPE: dict[EnvelopeAnswer, Verdict] = {
    "inside": "pass",
    "outside": "fail",
    "undecidable": "not-conclusive",
}
"""How each answer is shown."""


class ReportCandidate(Strict):
    """One candidate that took part.

    Attributes:
        title: How claims name it (`Scope.candidate`).
        bundle: Which bundle it ran.
        runtime: Name and version.
        device: As the runtime reports it.
        networks: For each role, variant and the precision that was read back.
        settings: Threads and the limit on the instruction set.
        machine_sha256: Digest of the machine's identity.
        reference: Whether the others were compared with it.
        verdict: Of the claims about it.
        reasons: Why not `pass`.
    """

    title: str
    bundle: BundleIdentity
    runtime: str
    runtime_version: str
    device: str
    networks: dict[str, NetworkChoice]
    settings: SettingsDocument
    machine_sha256: str
    reference: bool
    verdict: Verdict
    reasons: tuple[str, ...]

    @classmethod
    def of(
        cls,
        header: AnswersHeader,
        title: str,
        *,
        reference: bool,
        verdict: Verdict,
        reasons: tuple[str, ...] = (),
    ) -> Self:
        """Whoever gave a file of answers.

        Args:
            header: Of the file.
            title: How claims name it.
            reference: Whether the others were compared with it.
            verdict: Of the claims about it.
            reasons: Why not `pass`.
        """
        return cls(
            title=title,
            bundle=header.bundle,
            runtime=header.runtime,
            runtime_version=header.runtime_version,
            device=header.device,
            networks=header.networks,
            settings=header.settings,
            machine_sha256=header.machine_sha256,
            reference=reference,
            verdict=verdict,
            reasons=reasons,
        )


class Change(Strict):
    """One thing that differs between the two sides of a `diff`.

    Attributes:
        what: A closed set of subjects, as a change envelope names them.
        where: Which one, for instance a role, a threshold or a key of the pixel contract.
        before: Of the first side, as text.
        after: Of the second side, as text.
        allowed: Whether the change envelope allows it; None where there is no envelope.
    """

    what: ChangedThing
    where: str
    before: str
    after: str
    allowed: bool | None = None


class Report(Document):
    """What `evaluate`, `diff`, `accept`, `verify` and `export` prove, in one form.

    Attributes:
        kind: Which command's.
        title: The task's title, or a sentence.
        notice: What must be shown with it.
        verdict: Of everything.
        reasons: Why not `pass`, failures first.
        created: UTC, RFC 3339.
        medsdk: Version of the SDK.
        candidates: Who took part.
        gates: The gates in force, dotted name to value, as the bundle has them.
        cases_sha256: Of the set of cases; empty where there was none.
        cases: Number of cases.
        patients: Number of patients; None where nobody said.
        changes: What differs between two sides; empty but for `diff` and `accept`.
        envelope: Where a change lies, seen from the change envelope; None without one.
        evidence: Claims, charts, worst cases.
    """

    kind: ReportKind
    title: str
    notice: str
    verdict: Verdict
    reasons: tuple[str, ...]
    created: str
    medsdk: str
    candidates: tuple[ReportCandidate, ...]
    gates: dict[str, float | str | bool]
    cases_sha256: str
    cases: int
    patients: int | None
    changes: tuple[Change, ...] = ()
    envelope: EnvelopeAnswer | None = None
    evidence: Evidence
