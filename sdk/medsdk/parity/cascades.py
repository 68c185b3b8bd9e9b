"""Parity of a cascade: what each stage passes on, which members answer, and what is decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from medsdk.parity import classification
from medsdk.parity.decisions import paired_answers
from medsdk.parity.evidence import Claim, Evidence, Level, Scope, WorstCase
from medsdk.parity.judging import SHOWN_WORST, counted, listed
from medsdk.parity.pairing import PairedCase
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
    """

    entered: Mapping[str, Items]
    passed: Mapping[str, Items]
    answered: frozenset[str]

    def __post_init__(self) -> None:
        for stage, items in self.passed.items():
            if not items <= self.entered.get(stage, frozenset()):
                raise ValueError(f"stage {stage!r} passes on what never entered it")


@dataclass(frozen=True)
class RoutedCase:
    """One study, series or clip: what each side said of it in the end, and the way to it.

    Attributes:
        answers: The final answers, with their truth and patient.
        reference: The reference's way.
        variant: The variant's.
    """

    answers: PairedCase
    reference: Passage
    variant: Passage


def change_evidence(
    gate: ClassificationGate,
    labels: Sequence[str],
    positive: str,
    stages: Sequence[str],
    members: Sequence[str],
    cases: Sequence[RoutedCase],
    scope: Scope,
    item_level: Level = "slice",
) -> Evidence:
    """What each stage passes on that it did not before, or no longer, and what that decided.

    Args:
        gate: The bound of the rate of changes of each stage must be within its `max_flip_rate`;
            the final decisions are judged by all of it.
        labels: The labels that a final answer may be.
        positive: The label that sensitivity speaks of.
        stages: Roles in their order; what enters the first is the same on both sides.
        members: Names of all members; empty where there are none.
        cases: Any number.
        scope: Whose evidence; its level is the cases'.
        item_level: What the items are.

    Returns:
        For each stage: items that one side alone passed on, of those that entered on both, in
        all and by direction, and items that entered on one side alone. Then what
        `classification.change_evidence` says of the final decisions, the flips among the cases
        that took another way, and members that answered on one side alone. The cases whose
        decision flipped, then those with most changes.

    Raises:
        ValueError: A truth, a final answer or `positive` is none of the labels.
    """
    claims: list[Claim] = []
    for stage in stages:
        where = scope.model_copy(update={"level": item_level, "role": stage})
        claims += _routing(stage, cases, where, gate)
    answers = [case.answers for case in cases]
    decided = classification.change_evidence(gate, labels, positive, answers, scope)
    moved = [_moves(case, stages) for case in cases]
    pairs = paired_answers(labels, answers)
    rerouted = [
        index
        for index, (number, among) in enumerate(zip(moved, pairs.compared, strict=True))
        if number and among
    ]
    after = [
        counted(
            "flips-after-routing",
            scope,
            [bool(pairs.flipped[index]) for index in rerouted],
            [answers[index].patient for index in rerouted],
        )
    ]
    if members:
        after += _members(members, cases, scope)
    routed = Evidence(claims=tuple(after), worst=_worst(cases, moved, scope))
    return Evidence(claims=tuple(claims)) + decided + routed


def _routing(
    stage: str, cases: Sequence[RoutedCase], scope: Scope, gate: ClassificationGate
) -> list[Claim]:
    onward, back, owners = [], [], []
    alone, visitors = [], []
    for case in cases:
        before, after = (_entered(side, stage) for side in (case.reference, case.variant))
        was, now = (_passed(side, stage) for side in (case.reference, case.variant))
        for item in sorted(before & after):
            onward.append(item in now and item not in was)
            back.append(item in was and item not in now)
            owners.append(case.answers.patient)
        for item in sorted(before | after):
            alone.append(item not in before & after)
            visitors.append(case.answers.patient)
    changed = [one or other for one, other in zip(onward, back, strict=True)]
    return [
        counted("routing-changes", scope, changed, owners, gate.max_flip_rate, gate.confidence),
        counted("passed-on-by-variant-only", scope, onward, owners),
        counted("passed-on-by-reference-only", scope, back, owners),
        counted("entered-on-one-side", scope, alone, visitors),
    ]


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
        owners += [case.answers.patient for case in cases]
        heard = [any(side[index] for side in sides) for index in (0, 1)]
        if heard[0] != heard[1]:
            absent = "variant" if heard[0] else "reference"
            faults.append(f"member {member!r} never answers in the {absent}")
    unknown = {
        name for case in cases for side in (case.reference, case.variant) for name in side.answered
    } - set(members)
    faults += [f"member {name!r} answers and is not of the task" for name in sorted(unknown)]
    patients = len({case.answers.patient for case in cases})
    return [
        counted("members-on-one-side", scope, differs, owners),
        listed("outputs", scope, len(members) + len(unknown), faults, patients),
    ]


def _worst(
    cases: Sequence[RoutedCase], moved: Sequence[int], scope: Scope
) -> tuple[WorstCase, ...]:
    """The cases with most items that took another way."""
    rerouted = sorted(
        ((number, case.answers) for case, number in zip(cases, moved, strict=True) if number),
        key=lambda each: (-each[0], each[1].case),
    )
    return tuple(
        WorstCase(
            scope=scope,
            case=item.case,
            number=item.number,
            measure="routing-changes",
            size=number,
            unit="count",
            truth=item.truth,
            reference=item.reference.label or item.reference.status,
            variant=item.variant.label or item.variant.status,
        )
        for number, item in rerouted[:SHOWN_WORST]
    )


def _entered(side: Passage, stage: str) -> Items:
    return side.entered.get(stage, frozenset())


def _passed(side: Passage, stage: str) -> Items:
    return side.passed.get(stage, frozenset())
