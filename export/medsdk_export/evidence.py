"""What an attempt showed on one executor, as claims; and the files of a bundle that hold them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from medsdk.bundle import BundleWriter
from medsdk.canonical import canonical_json, sha256_of
from medsdk.decide import decide
from medsdk.decode import class_probabilities
from medsdk.evaluation.answers import KEPT_VALUES, Answer
from medsdk.evaluation.calibration import CALIBRATION_FILE
from medsdk.parity.declaration import PARITY
from medsdk.parity.evidence import Claim, Evidence
from medsdk.parity.protocol import gates_digest
from medsdk.pipeline import supported_role
from medsdk.tasks import Task
from medsdk.tasks.strict import FORMAT_VERSION
from medsdk_runtimes.contract import Array

if TYPE_CHECKING:
    from medsdk_export.judging import Judgement
    from medsdk_export.quantize import CalibrationRecord

WORST_CASES = 20
"""Most worst cases of one executor that a bundle holds."""


@dataclass(frozen=True)
class CaseFacts:
    """Which case an image is.

    Attributes:
        case: Its id, `medsdk_export.declaring.case_id`.
        number: Its row in the table of cases, 1-based; of a phantom, its place.
        patient: `medsdk_export.declaring.patient_id`.
        stratum: As the table says.
    """

    case: str
    number: int
    patient: str
    stratum: str


@dataclass(frozen=True)
class ExecutorEvidence:
    """What one attempt showed on one executor.

    Attributes:
        runtime: What executed it, with its version.
        isa: Instruction-set tier, `native` or the limit that was set.
        advisory: Whether it decides nothing, as a CPU's reading of a graph for a GPU.
        evidence: Claims, charts, worst cases.
    """

    runtime: str
    isa: str
    advisory: bool
    evidence: Evidence

    def with_claim(self, claim: Claim) -> ExecutorEvidence:
        """The same with one claim more."""
        return replace(self, evidence=self.evidence + Evidence(claims=(claim,)))


def answer_of(
    task: Task, facts: CaseFacts, truth: str | None, outputs: Mapping[str, Array]
) -> Answer:
    """What outputs say of one case.

    Args:
        task: Its decode and rule.
        facts: Which case.
        truth: Its label; None where nobody knows.
        outputs: The network's raw outputs, first axis 1.

    Returns:
        The answer, as `medsdk evaluate` writes it.
    """
    role, decode = supported_role(task)
    probabilities = class_probabilities(decode, outputs)
    outcome = decide(task, probabilities)
    return Answer(
        case=facts.case,
        number=facts.number,
        truth=truth,
        patient=facts.patient,
        strata={"stratum": facts.stratum},
        status=outcome.status,
        label=outcome.label,
        probabilities=dict(probabilities),
        reason=outcome.reason,
        outputs={
            f"{role}.{name}": tuple(map(float, array.reshape(-1)))
            for name, array in outputs.items()
            if array.size <= KEPT_VALUES
        },
    )


def shortened(evidence: Evidence) -> Evidence:
    """The same with at most `WORST_CASES` worst cases, the first of each measure kept longest."""
    if len(evidence.worst) <= WORST_CASES:
        return evidence
    order: dict[str, int] = {}
    ranked = []
    for item in evidence.worst:
        rank = order.get(item.measure, 0)
        order[item.measure] = rank + 1
        ranked.append((rank, item))
    kept = [item for _, item in sorted(ranked, key=lambda pair: pair[0])[:WORST_CASES]]
    return evidence.model_copy(
        update={"worst": tuple(item for item in evidence.worst if item in kept)}
    )


def write_evidence(
    writer: BundleWriter,
    task: Task,
    role: str,
    protocol: bytes,
    record: CalibrationRecord,
    images: Sequence[str],
    judgements: Sequence[Judgement],
) -> None:
    """Write what was measured, after it was.

    Args:
        writer: The bundle.
        task: The task.
        role: Which network was calibrated.
        protocol: `evidence/protocol.json` as it was written before.
        record: The calibration.
        images: Digests of the pixels of what it saw, ascending.
        judgements: One an attempt.
    """
    attempts = [
        {
            "variant": item.attempt.variant,
            "attempt": item.attempt.title,
            "status": item.status,
            "reason": item.reason,
            "size_bytes": len(item.attempt.onnx),
            "worst_difference": dict(item.worst_difference),
            "parity": [entry.model_dump(mode="json") for entry in item.parity],
        }
        for item in judgements
    ]
    parity = [
        {
            "variant": item.attempt.variant,
            "attempt": item.attempt.title,
            "status": item.status,
            "reason": item.reason,
            "executors": [
                {
                    "runtime": executor.runtime,
                    "isa": executor.isa,
                    "advisory": executor.advisory,
                    "verdict": executor.evidence.verdict,
                    "evidence": shortened(executor.evidence).model_dump(mode="json"),
                }
                for executor in item.evidence
            ],
        }
        for item in judgements
    ]
    documents: dict[str, dict[str, object]] = {
        "evidence/attempts.json": {"attempts": attempts},
        CALIBRATION_FILE: {
            "images": list(images),
            "role": role,
            "samples": record.samples,
            "ranges": {name: list(pair) for name, pair in record.ranges.items()},
        },
        PARITY: {
            "kind": "medsdk-parity",
            "protocol_sha256": sha256_of(protocol),
            "gates_sha256": gates_digest(task),
            "attempts": parity,
        },
    }
    for name, document in documents.items():
        writer.add(name, canonical_json({"format_version": FORMAT_VERSION, **document}))
