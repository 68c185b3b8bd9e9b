"""How many cases a gate needs, and the gates that no number of cases can decide."""

from __future__ import annotations

import math
from collections.abc import Iterator

from medsdk._refusals import UndecidableGateError
from medsdk.parity.statistics import binomial_upper_bound, cases_needed
from medsdk.tasks.decoding import SegmentationDecode, ThresholdRule
from medsdk.tasks.schema import Task

PRACTICAL_CASES = 100_000
"""A gate that needs more labelled cases than this is taken for one that none decides: it is more
than any reading of labelled images that a gate of one software change is worth."""

ROUNDING = 1e-12
"""What a difference of two rates may exceed its limit by, being computed in floats."""

_KINDS = {
    "classification": "classification",
    "segmentation": "segmentation",
    "detection": "detection",
    "regression": "regression",
    "heat_map": "heat-map",
}
"""Table of gates to the kind of network that it judges."""


def cases_that_prove(limit: float, confidence: float) -> int | None:
    """How many cases without a single event prove that a rate is within a limit.

    Args:
        limit: The largest rate, 0..1.
        confidence: Of the one-sided Clopper-Pearson bound.

    Returns:
        The smallest n whose bound at no event is at most the limit, by the very bound that
        judges; None where no n up to `PRACTICAL_CASES` has one.
    """
    if limit >= 1.0:
        return 1
    if limit <= 0.0 or binomial_upper_bound(0, PRACTICAL_CASES, confidence) > limit:
        return None
    n = max(1, cases_needed(limit, confidence))
    while binomial_upper_bound(0, n, confidence) > limit:
        n += 1
    while n > 1 and binomial_upper_bound(0, n - 1, confidence) <= limit:
        n -= 1
    return n


def events_proved(limit: float, confidence: float, n: int) -> int | None:
    """How many events n cases leave room for, so that the bound stays within the limit.

    Args:
        limit: The largest rate, 0..1.
        confidence: Of the one-sided Clopper-Pearson bound.
        n: Number of cases.

    Returns:
        The largest number of events; None where even none is too many.
    """
    if n == 0 or binomial_upper_bound(0, n, confidence) > limit:
        return None
    low, high = 0, n + 1  # the bound grows with the events
    while high - low > 1:
        middle = (low + high) // 2
        if middle <= n and binomial_upper_bound(middle, n, confidence) <= limit:
            low = middle
        else:
            high = middle
    return low


def events_observed(limit: float, n: int) -> int:
    """How many of n cases may be lost while the observed loss stays within the limit."""
    lost = min(n, math.floor((limit + ROUNDING) * n))
    return lost if lost / max(n, 1) <= limit + ROUNDING else lost - 1


def cases_that_tolerate_one(limit: float) -> int | None:
    """From how many cases on one lost case is within an observed limit.

    Args:
        limit: The largest loss, 0..1.

    Returns:
        The smallest n with `1 / n <= limit`; None where no n up to `PRACTICAL_CASES` has it.
    """
    if limit * PRACTICAL_CASES < 1.0 - ROUNDING:
        return None
    n = max(1, math.floor(1.0 / limit))
    return n if 1.0 / n <= limit + ROUNDING else n + 1


def check_decidable(task: Task) -> None:
    """Refuse a task with a gate that no number of cases can decide.

    Args:
        task: A valid task.

    Raises:
        UndecidableGateError: Naming the first such gate.
    """
    for error in undecidable(task):
        raise error


def undecidable(task: Task) -> Iterator[UndecidableGateError]:
    """Every gate of a task that no number of cases can decide, as the error that names it."""
    kinds = {network.decode.kind for network in task.networks.values()}
    for name, kind in _KINDS.items():
        if getattr(task.gates, name) is not None and kind not in kinds:
            yield UndecidableGateError.gate(
                f"gates.{name}",
                got=f"no {kind} network in the task",
                expected=f"tables of gates for {', '.join(sorted(kinds))} alone",
                remedy=f"take gates.{name} out, or add the network that it shall judge",
            )
    for table, key, limit, confidence in proved_rates(task):
        if cases_that_prove(limit, confidence) is None:
            yield _unprovable(f"gates.{table}.{key}", limit, confidence)
    yield from _without_an_answer(task)
    for role, network in task.networks.items():
        decode = network.decode
        if isinstance(decode, SegmentationDecode) and set(decode.labels) == {decode.background}:
            yield UndecidableGateError.gate(
                "gates.segmentation",
                got=f"networks.{role}.decode has no label but its background",
                expected="a label whose masks can be compared",
                remedy="add the label, or leave background out",
            )


def proved_rates(task: Task) -> Iterator[tuple[str, str, float, float]]:
    """Table, key, limit and confidence of every gate that a bound must prove."""
    gates = task.gates
    for table, gate in (
        ("classification", gates.classification),
        ("segmentation", gates.segmentation),
        ("regression", gates.regression),
    ):
        if gate is not None:
            yield table, "max_flip_rate", gate.max_flip_rate, gate.confidence
    losses = gates.classification
    if losses is not None and losses.losses == "proved":
        for key in ("max_sensitivity_loss", "max_specificity_loss"):
            yield "classification", key, getattr(losses, key), losses.confidence


def _unprovable(name: str, limit: float, confidence: float) -> UndecidableGateError:
    least = binomial_upper_bound(0, PRACTICAL_CASES, confidence)
    remedy = "raise the limit: a rate of 0 cannot be proved by cases"
    if name.endswith("_loss"):
        remedy += ", only observed, which losses = 'observed' does"
    return UndecidableGateError.gate(
        name,
        got=f"{limit:g} to be proved at a confidence of {confidence:g}",
        expected=f"at least {least:.2g}: what {PRACTICAL_CASES} cases without one event prove",
        remedy=remedy,
    )


def _without_an_answer(task: Task) -> Iterator[UndecidableGateError]:
    """A threshold that leaves one of its two labels no probability: then nothing can flip."""
    rule = task.decision.rule
    if not isinstance(rule, ThresholdRule):
        return
    threshold, apart = task.thresholds[rule.threshold].value, rule.indeterminate_within
    reachable = {
        rule.label: threshold + apart < 1.0 or (apart == 0.0 and threshold <= 1.0),
        rule.otherwise: threshold - apart > 0.0,
    }
    for label, there in reachable.items():
        if not there:
            yield UndecidableGateError.gate(
                "gates.classification",
                got=f"threshold {threshold:g} with indeterminate_within {apart:g}: no probability "
                f"from 0 to 1 is decided {label!r}",
                expected=f"a rule that can answer {rule.label!r} and {rule.otherwise!r}",
                remedy=f"move thresholds.{rule.threshold}, or narrow indeterminate_within",
            )
