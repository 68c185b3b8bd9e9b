"""Parity of a cascade: what each stage passes on, which members answer, and what is decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from medsdk.parity.evidence import Claim, Evidence, Level, Measure, Scope, WorstCase
from medsdk.parity.judging import CONFIDENCE, SHOWN_WORST, Subject, counted, flips, listed
from medsdk.tasks.gates import ClassificationGate

Items = frozenset[str]
"""Names of the slices, frames or boxes of one case."""


@dataclass(frozen=True)
class Passage:
    """The way that one side took through the stages.

    Attributes:
        entered: Stage to the items that it was asked about.
        passed: Stage to the items that it passed on to the next one.
        answered: Members (folds, sequences) that gave an answer.
        decision: The final answer; None for indeterminate or no result.
    """

    entered: Mapping[str, Items]
    passed: Mapping[str, Items]
    answered: frozenset[str]
    decision: str | None

    def __post_init__(self) -> None:
        for stage, items in self.passed.items():
            if not items <= self.entered.get(stage, frozenset()):
                raise ValueError(f"stage {stage!r} passes on what never entered it")


@dataclass(frozen=True)
class RoutedCase:
    """One study, series or clip, and the way that each side took.

    Attributes:
        subject: Whose.
        truth: Its label; None where nobody knows.
        reference: The reference's way.
        variant: The variant's.
    """

    subject: Subject
    truth: str | None
    reference: Passage
    variant: Passage


def change_evidence(
    stages: Sequence[str],
    members: Sequence[str],
    cases: Sequence[RoutedCase],
    scope: Scope,
    gate: ClassificationGate | None = None,
    item_level: Level = "slice",
) -> Evidence:
    """What each stage passes on that it did not before, or no longer, and what that decided.

    Args:
        stages: Roles in their order; what enters the first is the same on both sides.
        members: Names of all members; empty where there are none.
        cases: Any number.
        scope: Whose evidence; its level is the cases'.
        gate: The bound of the rate of changes must be within its `max_flip_rate`, for each stage
            and for the final decision; None: reported.
        item_level: What the items are.

    Returns:
        For each stage: items that one side alone passed on, of those that entered on both, in
        all and by direction, and items that entered on one side alone. Then the flips of the
        final decision, those among the cases that took another way, and members that answered
        on one side alone. The cases whose decision flipped, then those with most changes.
    """
    claims: list[Claim] = []
    for stage in stages:
        where = scope.model_copy(update={"level": item_level, "role": stage})
        claims += _routing(stage, cases, where, gate)
    everybody = [case.subject.patient for case in cases]
    flipped = [case.reference.decision != case.variant.decision for case in cases]
    moved = [_moves(case, stages) for case in cases]
    claims += flips(scope, flipped, everybody, *_limit(gate))
    rerouted = [index for index, number in enumerate(moved) if number]
    claims.append(
        counted(
            "flips-after-routing",
            scope,
            [flipped[index] for index in rerouted],
            [everybody[index] for index in rerouted],
        )
    )
    if members:
        claims += _members(members, cases, scope)
    return Evidence(claims=tuple(claims), worst=_worst(cases, flipped, moved, scope))


def _routing(
    stage: str, cases: Sequence[RoutedCase], scope: Scope, gate: ClassificationGate | None
) -> list[Claim]:
    onward, back, owners = [], [], []
    alone, visitors = [], []
    for case in cases:
        before, after = (_entered(side, stage) for side in (case.reference, case.variant))
        was, now = (_passed(side, stage) for side in (case.reference, case.variant))
        for item in sorted(before & after):
            onward.append(item in now and item not in was)
            back.append(item in was and item not in now)
            owners.append(case.subject.patient)
        for item in sorted(before | after):
            alone.append(item not in before & after)
            visitors.append(case.subject.patient)
    changed = [one or other for one, other in zip(onward, back, strict=True)]
    return [
        counted("routing-changes", scope, changed, owners, *_limit(gate)),
        counted("passed-on-by-variant-only", scope, onward, owners),
        counted("passed-on-by-reference-only", scope, back, owners),
        counted("entered-on-one-side", scope, alone, visitors),
    ]


def _limit(gate: ClassificationGate | None) -> tuple[float | None, float]:
    return (None, CONFIDENCE) if gate is None else (gate.max_flip_rate, gate.confidence)


def _moves(case: RoutedCase, stages: Sequence[str]) -> int:
    """How many items took another way, over all stages."""
    return sum(
        len(
            (_entered(case.reference, stage) ^ _entered(case.variant, stage))
            | (_passed(case.reference, stage) ^ _passed(case.variant, stage))
        )
        for stage in stages
    )


def _members(members: Sequence[str], cases: Sequence[RoutedCase], scope: Scope) -> list[Claim]:
    """Answers that one side alone has; a member that one side never hears is a fault."""
    differs, owners, faults = [], [], []
    for member in members:
        sides = [
            [member in side.answered for side in (case.reference, case.variant)] for case in cases
        ]
        differs += [was != now for was, now in sides]
        owners += [case.subject.patient for case in cases]
        heard = [any(side[index] for side in sides) for index in (0, 1)]
        if heard[0] != heard[1]:
            absent = "variant" if heard[0] else "reference"
            faults.append(f"member {member!r} never answers in the {absent}")
    unknown = {
        name for case in cases for side in (case.reference, case.variant) for name in side.answered
    } - set(members)
    faults += [f"member {name!r} answers and is not of the task" for name in sorted(unknown)]
    patients = len({case.subject.patient for case in cases})
    return [
        counted("members-on-one-side", scope, differs, owners),
        listed("outputs", scope, len(members) + len(unknown), faults, patients),
    ]


def _worst(
    cases: Sequence[RoutedCase], flipped: Sequence[bool], moved: Sequence[int], scope: Scope
) -> tuple[WorstCase, ...]:
    def named(case: RoutedCase, measure: Measure, size: int) -> WorstCase:
        return WorstCase(
            scope=scope,
            case=case.subject.case,
            number=case.subject.number,
            measure=measure,
            size=size,
            unit="count",
            truth=case.truth,
            reference=case.reference.decision or "indeterminate",
            variant=case.variant.decision or "indeterminate",
        )

    ordered = sorted(
        zip(cases, flipped, moved, strict=True), key=lambda each: (-each[2], each[0].subject.case)
    )
    changed = [named(case, "flips", 1) for case, flip, _ in ordered if flip]
    rerouted = [named(case, "routing-changes", number) for case, _, number in ordered if number]
    return (*changed[:SHOWN_WORST], *rerouted[:SHOWN_WORST])


def _entered(side: Passage, stage: str) -> Items:
    return side.entered.get(stage, frozenset())


def _passed(side: Passage, stage: str) -> Items:
    return side.passed.get(stage, frozenset())
