"""What one candidate said of every case: a header and one line a case (`answers.jsonl`).

The file is what `evaluate` resumes from, and what `diff` compares between two bundles, two
candidates or two machines. It holds no path, no pseudonym and no value of a DICOM object: a case
is the digest of its pixels, patients, studies and lesions are digests of what the table says.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from medsdk.bundle.manifest import Sha256
from medsdk.results.documents import BundleIdentity, NetworkChoice, SettingsDocument
from medsdk.tasks.gates import Gates
from medsdk.tasks.strict import FORMAT_VERSION, FormatVersion, Strict

CaseId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
"""First 16 digits of the sha256 of a case's decoded pixels and its region of interest."""


class AnswersHeader(Strict):
    """Who answered, and by what contract.

    Attributes:
        bundle: Which bundle.
        task: Its task's id and version.
        decision: The decision rule, canonical JSON of `task.decision`.
        labels: The labels that an answer may be.
        positive: The label that sensitivity speaks of.
        gates: The task's gates.
        thresholds: Name to value.
        preprocessing: For each role, the digest of its pixel contract.
        networks_sha256: For each role, the digest of the graph that ran.
        runtime: Name and version.
        device: As the runtime reports it.
        networks: For each role, variant and the precision that was read back.
        settings: Threads and the limit on the instruction set.
        machine: The machine's identity; no host or user name.
        machine_sha256: Its digest.
        cases_sha256: Of the set of cases: their ids, truths and patients, in order.
        cases: How many there are.
        medsdk: Version of the SDK.
    """

    format_version: FormatVersion = FORMAT_VERSION
    kind: Literal["medsdk-answers"] = "medsdk-answers"
    bundle: BundleIdentity
    notice: str
    task: dict[str, str]
    decision: str
    labels: tuple[str, ...]
    positive: str
    gates: Gates
    thresholds: dict[str, float]
    preprocessing: dict[str, str]
    networks_sha256: dict[str, Sha256]
    runtime: str
    runtime_version: str
    device: str
    networks: dict[str, NetworkChoice]
    settings: SettingsDocument
    machine: dict[str, str | int | float | dict[str, str]]
    machine_sha256: Sha256
    cases_sha256: Sha256
    cases: PositiveInt
    medsdk: str

    @property
    def title(self) -> str:
        """The candidate in a few words, the same in every report."""
        variants = ", ".join(sorted({choice.variant for choice in self.networks.values()}))
        isa = "" if self.settings.isa == "native" else f" {self.settings.isa}"
        return f"{self.runtime}{isa} {variants}"


class Answer(Strict):
    """What was said of one case.

    Attributes:
        case: Its id.
        number: Its row in the table of cases, 1-based.
        truth: Its label; None where the table has none.
        patient: Digest of the table's pseudonym.
        study: Digest of the table's study; None where the table has no such column.
        lesion: Digest of the table's lesion; None where the table has no such column.
        strata: Column to value, the columns that divide the cases.
        status: Whether there is an answer; `error` where the runtime failed.
        label: The answer; None unless `status` is `ok`.
        probabilities: Label to probability; empty where there are none.
        reason: Why there is no answer; empty where there is.
        outputs: `role.output` to its values, flat, where they are few (`KEPT_VALUES`).
    """

    case: CaseId
    number: PositiveInt
    truth: str | None
    patient: CaseId
    study: CaseId | None = None
    lesion: CaseId | None = None
    strata: dict[str, str] = {}
    status: Literal["ok", "indeterminate", "no-result", "error"]
    label: str | None
    probabilities: dict[str, float]
    reason: str = ""
    outputs: dict[str, tuple[float, ...]] = {}


KEPT_VALUES: NonNegativeInt = 64
"""An output of at most so many values is kept with its answer."""
