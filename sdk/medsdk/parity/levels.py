"""From slices to lesions and studies: a mean probability, then the task's rule."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from medsdk.decide import Outcome
from medsdk.evaluation.answers import Answer
from medsdk.parity.errors import UnitRefusedError

UnitLevel = Literal["slice", "lesion", "study"]
AnswerStatus = Literal["ok", "indeterminate", "no-result", "error"]


def at_level(
    answers: Sequence[Answer],
    level: UnitLevel,
    decide: Callable[[Mapping[str, float]], Outcome],
) -> tuple[Answer, ...]:
    """One answer for each lesion or study, of the answers for their slices.

    A unit's probability of a label is the mean over the slices that the network answered,
    indeterminate ones included; the task's rule then decides as it does for a slice. Slices that
    the network was not run on (`no-result`) say nothing. A unit of which a slice ended in an
    error is an error: a mean over the others would be of another set of slices.

    Args:
        answers: One a slice.
        level: What to count. `slice` gives the answers back.
        decide: The task's rule, for instance `functools.partial(medsdk.decide.decide, task)`.

    Returns:
        One answer a unit, in the order of their first slices. `case` is the unit's digest and
        `number` its first row; a truth is that of its slices that have one; of `strata` those
        are kept whose value is the same for all slices. A unit without any answered slice is
        indeterminate. At level `lesion` a slice that shows no lesion belongs to no unit.

    Raises:
        UnitRefusedError: A slice names no study, none names a lesion, or the slices of a unit
            differ in truth or patient, or in the labels that have a probability.
    """
    if level == "slice":
        return tuple(answers)
    units: dict[str, list[Answer]] = {}
    for item in answers:
        unit = item.lesion if level == "lesion" else item.study
        if unit is not None:
            units.setdefault(unit, []).append(item)
    counted = sum(map(len, units.values()))
    lacking = counted < len(answers) if level == "study" else not counted
    if answers and lacking:
        raise UnitRefusedError.absent(level, len(answers) - counted, len(answers))
    return tuple(_unit(name, level, slices, decide) for name, slices in units.items())


def _unit(
    name: str,
    level: Literal["lesion", "study"],
    slices: Sequence[Answer],
    decide: Callable[[Mapping[str, float]], Outcome],
) -> Answer:
    first = slices[0]
    labelled = [item for item in slices if item.truth is not None]
    answered = [item for item in slices if item.probabilities]
    _agree(level, "truth", [(item.number, item.truth) for item in labelled])
    _agree(level, "patient", [(item.number, item.patient) for item in slices])
    _agree(
        level,
        "set of labels",
        [(item.number, tuple(sorted(item.probabilities))) for item in answered],
    )
    status: AnswerStatus
    label, reason = None, ""
    probabilities: dict[str, float] = {}
    failed = sum(item.status == "error" for item in slices)
    if failed:
        status, reason = "error", f"{failed} of {len(slices)} slices ended in an error"
    elif not answered:
        status, reason = "indeterminate", f"none of {len(slices)} slices has a probability"
    else:
        probabilities = {
            name: math.fsum(item.probabilities[name] for item in answered) / len(answered)
            for name in answered[0].probabilities
        }
        outcome = decide(probabilities)
        status, label, reason = outcome.status, outcome.label, outcome.reason
    return Answer(
        case=name,
        number=min(item.number for item in slices),
        truth=labelled[0].truth if labelled else None,
        patient=first.patient,
        study=first.study if len({item.study for item in slices}) == 1 else None,
        lesion=first.lesion if level == "lesion" else None,
        strata={
            column: value
            for column, value in first.strata.items()
            if all(item.strata.get(column) == value for item in slices)
        },
        status=status,
        label=label,
        probabilities=probabilities,
        reason=reason,
    )


def _agree(
    level: Literal["lesion", "study"], subject: str, found: Sequence[tuple[int, object]]
) -> None:
    """Refuse a unit whose slices differ, naming its first slice and the first that differs."""
    for number, value in found[1:]:
        if value != found[0][1]:
            raise UnitRefusedError.disagreeing(level, subject, (found[0][0], number))
