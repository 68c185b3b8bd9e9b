"""Parity of a quantity: its change in its own unit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medsdk.parity.change_charts import bland_altman, histogram
from medsdk.parity.evidence import Chart, Evidence, Scope, WorstCase
from medsdk.parity.judging import (
    SHOWN_WORST,
    Limit,
    Subject,
    counted,
    fewest_for_percentile,
    flips,
    mean,
    percentile,
)
from medsdk.tasks.gates import RegressionGate


@dataclass(frozen=True)
class ValueCase:
    """One case and the quantity that each side gave.

    Attributes:
        subject: Whose.
        truth: The true value in the quantity's unit; None where nobody knows.
        reference: The reference's value; None where it gave no result.
        variant: The variant's.
    """

    subject: Subject
    truth: float | None
    reference: float | None
    variant: float | None

    def __post_init__(self) -> None:
        for value in (self.truth, self.reference, self.variant):
            if value is not None and not math.isfinite(value):
                raise ValueError(f"a value of {value}; None stands for no result")


def change_evidence(
    gate: RegressionGate, unit: str, cases: Sequence[ValueCase], scope: Scope
) -> Evidence:
    """Hold a variant's values against the reference's, by the task's gate.

    Judged: mean and 95th percentile of the absolute change, over the cases with two values; and
    the rate of flips, cases in which one side alone has a value, of those in which any side has
    one. Reported: the bias, which is the mean of the signed change, and the cases in which the
    variant has no value.

    Args:
        gate: The task's gate.
        unit: The quantity's.
        cases: Any number.
        scope: Whose evidence.

    Returns:
        Claims, the histogram of changes, a Bland-Altman plot, the cases that changed most.
    """
    both = [
        (case, case.reference, case.variant)
        for case in cases
        if case.reference is not None and case.variant is not None
    ]
    before, after = [was for _, was, _ in both], [now for _, _, now in both]
    changes = [now - was for _, was, now in both]
    sizes = [abs(change) for change in changes]
    people = [case.subject.patient for case, _, _ in both]
    any_value = [case for case in cases if case.reference is not None or case.variant is not None]
    claims = (
        mean(
            "value-change-mean",
            scope,
            sizes,
            people,
            unit,
            Limit(gate.max_mean_change, least=False, needed=1),
        ),
        percentile(
            "value-change-95th-percentile",
            scope,
            sizes,
            people,
            95,
            unit,
            Limit(gate.max_95th_percentile_change, least=False, needed=fewest_for_percentile(95)),
        ),
        *flips(
            scope,
            [(case.reference is None) != (case.variant is None) for case in any_value],
            [case.subject.patient for case in any_value],
            gate.max_flip_rate,
            gate.confidence,
        ),
        mean("value-bias", scope, changes, people, unit),
        counted(
            "no-result",
            scope,
            [case.variant is None for case in cases],
            [case.subject.patient for case in cases],
        ),
    )
    charts: tuple[Chart, ...] = ()
    if both:
        charts = (
            histogram("value-change-mean", scope, np.array(changes), unit),
            bland_altman("value-bias", scope, np.array(before), np.array(after), unit),
        )
    return Evidence(claims=claims, charts=charts, worst=_worst(cases, unit, scope))


def _worst(cases: Sequence[ValueCase], unit: str, scope: Scope) -> tuple[WorstCase, ...]:
    """First the values that one side alone has, then the largest changes."""
    flipped, changed = [], []
    for case in cases:
        if case.reference is not None and case.variant is not None:
            size = abs(case.variant - case.reference)
            if size > 0:
                changed.append(_named(case, unit, scope, size))
        elif case.reference is not None or case.variant is not None:
            flipped.append(_named(case, unit, scope, None))
    changed.sort(key=lambda item: (-item.size, item.case))
    return (*flipped[:SHOWN_WORST], *changed[:SHOWN_WORST])


def _named(case: ValueCase, unit: str, scope: Scope, size: float | None) -> WorstCase:
    return WorstCase(
        scope=scope,
        case=case.subject.case,
        number=case.subject.number,
        measure="flips" if size is None else "value-change-mean",
        size=1 if size is None else size,
        unit="count" if size is None else unit,
        truth=None if case.truth is None else _said(case.truth, unit),
        reference=_said(case.reference, unit),
        variant=_said(case.variant, unit),
    )


def _said(value: float | None, unit: str) -> str:
    return "no result" if value is None else f"{value:.6g} {unit}"
