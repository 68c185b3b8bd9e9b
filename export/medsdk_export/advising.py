"""Form B where its device is not: judged by its own arithmetic, with a CPU's readings beside it.

See docs/decisions/0020-int8-gpu-on-a-cpu.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import medsdk_runtimes
from medsdk.bundle.manifest import ParityRecord, Status
from medsdk.parity.comparison import compare_outputs
from medsdk.pipeline import supported_role
from medsdk.tasks import Task
from medsdk_export.attempts import REFERENCE_RUNTIME, Attempt, Executor
from medsdk_export.evidence import ExecutorEvidence
from medsdk_export.judging import (
    REASON_CHARACTERS,
    Judgement,
    Observed,
    change_on,
    differences,
    evidence_on,
    parity_record,
    record_on,
)

TARGETS = ("tensorrt",)
"""Runtimes that form B is meant for."""

ON_THE_DEVICE = "nothing ran on a GPU: on the device its known answers decide"


def advise(
    task: Task,
    attempt: Attempt,
    observed: Sequence[Observed],
    refused: Sequence[tuple[Executor, str]],
) -> Judgement:
    """Judge form B on a machine without its device.

    It ships where the rules of `medsdk_runtimes.symmetric_int8` hold and where the gate passes on
    its own arithmetic: the graph in ONNX Runtime with every optimisation off, which computes
    what QuantizeLinear and DequantizeLinear say. No device rescues a graph that fails there.
    What this machine's CPU runtimes make of it is recorded, advisory, and decides nothing.

    Args:
        task: Its gates were written before anything was measured.
        attempt: Which one.
        observed: Every image with its observation; labelled ones are the parity cases.
        refused: Executors that would not run the graph; none of them is its target.

    Returns:
        The judgement.
    """
    if attempt.faults:
        faults = "; ".join(attempt.faults[:3])
        return _judgement(
            task, attempt, "rejected", f"TensorRT would not take it: {faults}", {}, [], []
        )
    problems = _problems(task, attempt, observed)
    own, evidence = None, []
    if not problems:
        version = medsdk_runtimes.runtime(REFERENCE_RUNTIME).availability().version
        outputs = [item.observation.expected[attempt.title] for item in observed]
        unoptimised = f"{REFERENCE_RUNTIME} {version} unoptimised"
        shown = change_on(task, observed, outputs, f"{unoptimised} {attempt.variant}")
        own = parity_record(task, observed, outputs, unoptimised, "native", shown)
        evidence.append(ExecutorEvidence(unoptimised, "native", advisory=False, evidence=shown))
    status, reason = _status(task, own, problems)
    missing = [f"not read on {executor}: {why}" for executor, why in refused]
    records = [] if own is None else [_advisory(own, missing, "by its own arithmetic")]
    worst: dict[str, float] = {}
    for executor in observed[-1].observation.outputs[attempt.title] if observed else ():
        seen = differences(task, attempt, observed, executor)
        reading = evidence_on(task, attempt, observed, executor, seen, advisory=True)
        evidence.append(reading)
        if not seen.finite:
            continue  # no decision can be made of such outputs
        worst = {name: max(value, worst.get(name, 0.0)) for name, value in seen.worst.items()}
        record = record_on(task, attempt, observed, executor, reading.evidence)
        if record is not None:
            records.append(
                _advisory(record, seen.problems, "on this CPU, which is not its device,")
            )
    return _judgement(task, attempt, status, reason, worst, records, evidence)


def _problems(task: Task, attempt: Attempt, observed: Sequence[Observed]) -> list[str]:
    """What of the graph's own outputs no gate can be read on."""
    role, _ = supported_role(task)
    limits = task.gates.max_output_difference.get(attempt.form, {})
    names = {name for item in observed for name in item.observation.reference}
    found = [
        f"the task has no max_output_difference.{attempt.form} for {name!r}"
        for name in sorted(names)
        if f"{role}.{name}" not in limits
    ]
    for item in observed:
        own = item.observation.expected[attempt.title]
        found += compare_outputs(own, item.observation.reference).problems
    return list(dict.fromkeys(found))


def _status(task: Task, own: ParityRecord | None, problems: Sequence[str]) -> tuple[Status, str]:
    if problems:
        return "rejected", "; ".join(problems[:4])
    if own is not None and own.verdict == "fail":
        return "rejected", f"its own arithmetic fails the gate: {'; '.join(own.reasons[:4])}"
    if task.purpose == "benchmark":
        return "shipped", f"for benchmarks: no clinical gate is claimed; {ON_THE_DEVICE}"
    if own is None:
        return "unjudged", "no labelled cases: give --cases to judge and ship it"
    if own.verdict != "pass":
        return "unjudged", "; ".join(own.reasons)
    return "shipped", (
        f"for {', '.join(TARGETS)}: its own arithmetic passes on {own.cases} cases; {ON_THE_DEVICE}"
    )


def _advisory(record: ParityRecord, remarks: Sequence[str], where: str) -> ParityRecord:
    """A reading without the device: no verdict about it."""
    reading = f"{where} the gate reads {record.verdict}"
    reasons = (reading, *record.reasons, *remarks)
    return record.model_copy(
        update={
            "verdict": "advisory",
            "reasons": tuple(reason[:REASON_CHARACTERS] for reason in reasons),
        }
    )


def _judgement(
    task: Task,
    attempt: Attempt,
    status: Status,
    reason: str,
    worst: Mapping[str, float],
    records: Sequence[ParityRecord],
    evidence: Sequence[ExecutorEvidence],
) -> Judgement:
    """The device is held to the task's caps: what a CPU shows says nothing of its rounding."""
    role, _ = supported_role(task)
    caps = {
        name.removeprefix(f"{role}."): limit
        for name, limit in task.gates.max_output_difference.get(attempt.form, {}).items()
        if name.startswith(f"{role}.")
    }
    return Judgement(
        attempt=attempt,
        status=status,
        reason=reason[:REASON_CHARACTERS],
        targets=TARGETS if status == "shipped" else (),
        tolerance=caps,
        worst_difference=worst,
        parity=tuple(records),
        evidence=tuple(evidence),
    )
