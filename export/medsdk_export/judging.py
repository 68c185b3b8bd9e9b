"""From observations to a variant's status: shipped, rejected or unjudged, and why."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from medsdk.bundle.manifest import ParityRecord, Status
from medsdk.decide import decide
from medsdk.decode import class_probabilities
from medsdk.parity.classification import change_evidence
from medsdk.parity.comparison import Difference, compare_outputs, output_evidence
from medsdk.parity.evidence import Claim, Evidence, Scope
from medsdk.parity.float_rule import FLOAT_MEASURES, float_evidence, share_of_allowance
from medsdk.parity.isa_ladder import isa_ladder
from medsdk.parity.metrics import binary_metrics
from medsdk.parity.pairing import PairedCase
from medsdk.parity.protocol import positive_label
from medsdk.pipeline import supported_role
from medsdk.tasks import Task
from medsdk_export.attempts import Attempt, Executor, Observation
from medsdk_export.evidence import (
    CaseFacts,
    ExecutorEvidence,
    answer_of,
)
from medsdk_runtimes.contract import Array

TOLERANCE_FACTOR = 1.5
"""A known answer's tolerance over the worst difference seen (docs/conventions.md)."""

REASON_CHARACTERS = 1000
"""Runtimes put long texts into their errors, and a manifest's sentences are limited."""


@dataclass(frozen=True)
class Judgement:
    """What was decided about one attempt.

    Attributes:
        attempt: Which one.
        status: Whether it is in the bundle.
        reason: Why, in a sentence.
        targets: Runtimes on which it passed.
        tolerance: For each output, what a known answer may differ by.
        worst_difference: For each output, the worst difference seen on the targets, or on every
            runtime where there is no target.
        parity: One record an executor, where there were labelled cases.
        evidence: The claims behind them, one an executor.
    """

    attempt: Attempt
    status: Status
    reason: str
    targets: tuple[str, ...]
    tolerance: Mapping[str, float]
    worst_difference: Mapping[str, float]
    parity: tuple[ParityRecord, ...]
    evidence: tuple[ExecutorEvidence, ...] = ()


@dataclass(frozen=True)
class Observed:
    """One image's observation with its truth (None where nobody knows), and which case it is."""

    observation: Observation
    truth: str | None
    facts: CaseFacts


@dataclass(frozen=True)
class Seen:
    """What the outputs of one executor were.

    Attributes:
        images: What was seen of each image's outputs.
        worst: For each output, the largest difference; infinity where it cannot be computed.
        shares: For FP32, of each image the largest `share_of_allowance`.
        unlike: What is wrong in form.
        beyond: What exceeds the task's cap, or has none.
    """

    images: tuple[Difference, ...]
    worst: Mapping[str, float]
    shares: tuple[float, ...]
    unlike: tuple[str, ...]
    beyond: tuple[str, ...]

    @property
    def finite(self) -> bool:
        """Whether decisions can be made of them."""
        return all(map(math.isfinite, self.worst.values()))

    @property
    def problems(self) -> list[str]:
        """Everything that is wrong with them."""
        return [*self.unlike, *self.beyond]


def judge(
    task: Task,
    attempt: Attempt,
    observed: Sequence[Observed],
    refused: Sequence[tuple[Executor, str]],
) -> Judgement:
    """Judge one attempt on every executor.

    Args:
        task: Its gates were written before anything was measured.
        attempt: Which one.
        observed: Every image with its observation; labelled ones are the parity cases.
        refused: Executors that would not open the graph, with the reason.

    Returns:
        The judgement.
    """
    # One that failed on a later image is among `refused` and not in the last observation.
    executors = list(observed[-1].observation.outputs[attempt.title]) if observed else []
    problems: dict[str, list[str]] = {executor.runtime: [] for executor in executors}
    for executor, why in refused:
        problems.setdefault(executor.runtime, []).append(f"{executor}: {why}")
    worst: dict[Executor, Mapping[str, float]] = {}
    records: dict[Executor, ParityRecord] = {}
    evidence: dict[Executor, ExecutorEvidence] = {}
    undecided: dict[str, list[str]] = {}
    for executor in executors:
        seen = differences(task, attempt, observed, executor)
        worst[executor] = seen.worst
        problems[executor.runtime] += seen.problems
        shown = evidence_on(task, attempt, observed, executor, seen)
        evidence[executor] = shown
        if not seen.finite:
            continue
        if attempt.form == "float":
            problems[executor.runtime] += [
                claim.reason
                for claim in shown.evidence.claims
                if claim.measure in FLOAT_MEASURES and claim.verdict == "fail"
            ]
            continue
        record = record_on(task, attempt, observed, executor, shown.evidence)
        if record is None:
            continue
        records[executor] = record
        if record.verdict == "fail":
            problems[executor.runtime] += [f"{executor}: {text}" for text in record.reasons]
        elif record.verdict != "pass":
            undecided.setdefault(executor.runtime, []).extend(record.reasons)
    for executor, claim in _ladder(task, attempt, observed, list(records)).items():
        evidence[executor] = evidence[executor].with_claim(claim)
        if claim.verdict == "fail":
            problems[executor.runtime].append(claim.reason)
    if task.purpose == "benchmark":
        undecided.clear()  # no gate is claimed that more cases could decide

    labelled = any(item.truth is not None for item in observed)
    good = [runtime for runtime, texts in problems.items() if not texts]
    targets = tuple(runtime for runtime in good if runtime not in undecided)
    counted = [
        worst[executor]
        for executor in executors
        if (executor.runtime in targets or not targets)
        and all(map(math.isfinite, worst[executor].values()))
    ]
    largest = {
        name: max(item[name] for item in counted) for name in (counted[0] if counted else ())
    }
    failures = [text for texts in problems.values() for text in texts]
    status: Status
    if attempt.form != "float" and task.purpose == "benchmark" and targets:
        status = "shipped"
        reason = "for benchmarks: known answers hold, no clinical gate is claimed"
    elif attempt.form != "float" and not labelled:
        status, reason = "unjudged", "no labelled cases: give --cases to judge and ship it"
    elif targets:
        status = "shipped"
        reason = f"passes on {', '.join(targets)}"
        if failures or undecided:
            others = failures + [text for texts in undecided.values() for text in texts]
            reason += f"; not for the others: {'; '.join(others[:3])}"
    elif undecided and not failures:
        status = "unjudged"
        reason = "; ".join(dict.fromkeys(text for texts in undecided.values() for text in texts))
    else:
        status, reason = "rejected", "; ".join(failures[:4]) or "no runtime executed it"
    return Judgement(
        attempt=attempt,
        status=status,
        reason=reason[:REASON_CHARACTERS],
        targets=targets if status == "shipped" else (),
        tolerance=tolerances(task, attempt, largest),
        worst_difference=largest,
        parity=tuple(records.values()),
        evidence=tuple(evidence.values()),
    )


def better(first: Judgement, second: Judgement) -> Judgement:
    """Of two attempts at one variant, the one with more targets; the first on a tie."""
    return second if len(second.targets) > len(first.targets) else first


def label_of(task: Task, outputs: Mapping[str, Array]) -> str | None:
    """The decision that outputs lead to; None where it is indeterminate."""
    _, decode = supported_role(task)
    return decide(task, class_probabilities(decode, outputs)).label


def _expected(attempt: Attempt, observation: Observation) -> Mapping[str, Array]:
    """FP32 is held to the source framework, INT8 to its own graph, unoptimised."""
    if attempt.form == "float":
        return observation.reference
    return observation.expected[attempt.title]


def differences(
    task: Task, attempt: Attempt, observed: Sequence[Observed], executor: Executor
) -> Seen:
    """The worst difference of each output on one executor, and what is wrong with it."""
    role, _ = supported_role(task)
    limits = task.gates.max_output_difference.get(attempt.form, {})
    images: list[Difference] = []
    worst: dict[str, float] = {}
    shares: list[float] = []
    unlike: list[str] = []
    for item in observed:
        want = _expected(attempt, item.observation)
        got = item.observation.outputs[attempt.title][executor]
        difference = compare_outputs(got, want)
        images.append(difference)
        unlike += [f"{executor}: {text}" for text in difference.problems]
        for name, value in difference.max_abs.items():
            worst[name] = max(worst.get(name, 0.0), value)
        if attempt.form == "float" and all(map(math.isfinite, difference.max_abs.values())):
            held = (share_of_allowance(task.gates.fp32, got[name], want[name]) for name in want)
            shares.append(max(held, default=0.0))
    beyond = []
    for name, value in worst.items():
        limit = limits.get(f"{role}.{name}")
        if limit is None:
            beyond.append(f"the task has no max_output_difference.{attempt.form} for {name!r}")
        elif value > limit:
            beyond.append(
                f"{executor}: output {name!r} differs by {value:.3g}, the task allows {limit:.3g}"
            )
    once = tuple(dict.fromkeys(unlike))
    return Seen(tuple(images), worst, tuple(shares), once, tuple(beyond))


def evidence_on(
    task: Task,
    attempt: Attempt,
    observed: Sequence[Observed],
    executor: Executor,
    seen: Seen,
    *,
    advisory: bool = False,
) -> ExecutorEvidence:
    """Everything that one executor showed, as claims.

    Args:
        task: Its gates count.
        attempt: Which one.
        observed: Every image; those with a truth are the parity cases.
        executor: Which one.
        seen: `differences` of its outputs.
        advisory: Whether it decides nothing.

    Returns:
        Claims about outputs; where decisions can be made of them, about those too.
    """
    candidate = f"{executor} {attempt.variant}"
    role, _ = supported_role(task)
    limits = task.gates.max_output_difference.get(attempt.form, {})
    found = output_evidence(
        {
            f"case {item.facts.number}": image
            for item, image in zip(observed, seen.images, strict=True)
        },
        {name.removeprefix(f"{role}."): limit for name, limit in limits.items()},
        Scope(candidate=candidate, role=role),
    )
    outputs = [item.observation.outputs[attempt.title][executor] for item in observed]
    if seen.finite:
        if attempt.form == "float":
            pairs = _pairs(task, observed, outputs)
            shown = float_evidence(task, pairs, Scope(candidate=candidate), seen.shares)
            # The source framework's truth and pictures are INT8's to show.
            found += Evidence(claims=tuple(item for item in shown.claims if item.n))
        else:
            found += change_on(task, observed, outputs, candidate)
    return ExecutorEvidence(f"{executor.runtime} {executor.version}", executor.isa, advisory, found)


def change_on(
    task: Task,
    observed: Sequence[Observed],
    outputs: Sequence[Mapping[str, Array]],
    candidate: str,
) -> Evidence:
    """A variant against FP32 on the labelled cases; nothing without them or without a gate.

    Args:
        task: Its gate counts.
        observed: Every image; those with a truth are the parity cases.
        outputs: What the variant gave for each of them.
        candidate: How the claims name it.
    """
    gate = task.gates.classification
    pairs = _labelled(task, observed, outputs)
    if gate is None or not pairs:
        return Evidence()
    role, decode = supported_role(task)
    scope = Scope(candidate=candidate)
    return change_evidence(gate, decode.labels, positive_label(task, role), pairs, scope)


def _labelled(
    task: Task, observed: Sequence[Observed], outputs: Sequence[Mapping[str, Array]]
) -> tuple[PairedCase, ...]:
    """What FP32 and a variant say of the labelled cases."""
    return tuple(pair for pair in _pairs(task, observed, outputs) if pair.truth is not None)


def _pairs(
    task: Task, observed: Sequence[Observed], outputs: Sequence[Mapping[str, Array]]
) -> tuple[PairedCase, ...]:
    """What FP32 and a variant say of every image."""
    return tuple(
        PairedCase(
            facts.case,
            facts.number,
            item.truth,
            facts.patient,
            answer_of(task, facts, item.truth, item.observation.reference),
            answer_of(task, facts, item.truth, given),
        )
        for item, given in zip(observed, outputs, strict=True)
        for facts in (item.facts,)
    )


def decisions(shown: Evidence) -> Evidence:
    """What of an executor's evidence is about decisions, not about outputs."""
    claims = tuple(claim for claim in shown.claims if claim.scope.level != "output")
    return Evidence(claims=claims)


def record_on(
    task: Task,
    attempt: Attempt,
    observed: Sequence[Observed],
    executor: Executor,
    shown: Evidence,
) -> ParityRecord | None:
    """`parity_record` of what one executor gave, where `evidence_on` is `shown`."""
    outputs = [item.observation.outputs[attempt.title][executor] for item in observed]
    runtime = f"{executor.runtime} {executor.version}"
    return parity_record(task, observed, outputs, runtime, executor.isa, decisions(shown))


def parity_record(
    task: Task,
    observed: Sequence[Observed],
    outputs: Sequence[Mapping[str, Array]],
    runtime: str,
    isa: str,
    shown: Evidence,
) -> ParityRecord | None:
    """What the manifest says of a variant's decisions against FP32's.

    Args:
        task: Its gate counts.
        observed: Every image; those with a truth are the parity cases.
        outputs: What the variant gave for each of them.
        runtime: What executed it, with its version.
        isa: On which instruction set.
        shown: `change_on` of the same: its numbers and its verdict are those of the record.

    Returns:
        The record; None without labelled cases or without a gate.
    """
    # A measure's first claim counts the cases; later ones count patients or single labels.
    counts = {claim.measure: claim for claim in reversed(shown.claims)}
    flips = counts.get("flips")
    if flips is None or flips.bound is None or flips.bound.high is None:
        return None
    labelled = [
        (item.truth, item.observation.reference, given)
        for item, given in zip(observed, outputs, strict=True)
        if item.truth is not None
    ]
    truths, before, after = zip(*labelled, strict=True)
    positive = positive_label(task, supported_role(task)[0])
    fp32, variant = (
        binary_metrics(truths, [label_of(task, given) for given in side], positive)
        for side in (before, after)
    )
    return ParityRecord(
        runtime=runtime,
        isa=isa,
        cases=flips.n,
        flips=flips.events or 0,
        flip_rate_upper_bound=flips.bound.high,
        flips_to_positive=counts["flips-to-positive"].events or 0,
        flips_to_negative=counts["flips-to-negative"].events or 0,
        metrics={"fp32": fp32.as_dict(), "variant": variant.as_dict()},
        verdict=shown.verdict,
        reasons=tuple(dict.fromkeys(shown.reasons)),
    )


def _ladder(
    task: Task, attempt: Attempt, observed: Sequence[Observed], executors: Sequence[Executor]
) -> dict[Executor, Claim]:
    """For each lower instruction set, how far its flips rise above the native one's."""
    gate = task.gates.classification
    _, decode = supported_role(task)

    def on(executor: Executor) -> tuple[PairedCase, ...]:
        outputs = [item.observation.outputs[attempt.title][executor] for item in observed]
        return _labelled(task, observed, outputs)

    found = {}
    for executor in executors:
        top = dataclasses.replace(executor, isa="native")
        if gate is not None and executor != top and top in executors:
            found[executor] = isa_ladder(
                task.gates.isa_ladder.max_flip_rate_rise,
                gate.confidence,
                decode.labels,
                on(top),
                on(executor),
                Scope(candidate=f"{executor} {attempt.variant}"),
            )
    return found


def tolerances(task: Task, attempt: Attempt, worst: Mapping[str, float]) -> dict[str, float]:
    """1.5 times the worst difference, at least the float gate's atol, at most the task's cap."""
    role, _ = supported_role(task)
    limits = task.gates.max_output_difference.get(attempt.form, {})
    return {
        name: min(
            max(TOLERANCE_FACTOR * value, task.gates.fp32.atol),
            limits.get(f"{role}.{name}", task.gates.fp32.atol),
        )
        for name, value in worst.items()
    }
