"""Decision probes: what the rule makes of probabilities just below, at and above its boundaries.

A known answer keeps a margin, so a threshold can move by 0.01 and leave every one of them alone.
The probes stand a millionth on either side, with the decision that was meant at export.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from medsdk.bundle.manifest import DecisionProbe
from medsdk.decide.rules import decide
from medsdk.tasks.decoding import ThresholdRule
from medsdk.tasks.schema import Task


def check_probes(task: Task, probes: Sequence[DecisionProbe]) -> tuple[str, ...]:
    """Decide every probe of a bundle.

    Args:
        task: The bundle's.
        probes: Its probes.

    Returns:
        Sentences that start with the stage `decide`: where the boundary was, where that can be
        told, then one for each probe that was decided otherwise; empty where all agree, and for a
        bundle without probes.

    Raises:
        TaskUnsupportedError: This release does not run the task's rule.
    """
    if not probes:
        return ()
    wrong = [
        f"decide: {_said(got)} in place of {_said(probe.label)} {probe.where}"
        for probe, got in _otherwise(task, probes)
    ]
    if not wrong:
        return ()
    return (*(_exchanged(task, probes) or _moved(task, probes)), *wrong)


def _otherwise(
    task: Task, probes: Sequence[DecisionProbe]
) -> Iterator[tuple[DecisionProbe, str | None]]:
    """Probes that are decided otherwise, with what is decided of them."""
    labels = getattr(task.networks[task.decision.rule.role].decode, "labels", ())
    for probe in probes:
        got = decide(task, {**dict.fromkeys(labels, 0.0), **probe.probabilities}).label
        if got != probe.label:
            yield probe, got


def _said(label: str | None) -> str:
    return "indeterminate" if label is None else repr(label)


def _exchanged(task: Task, probes: Sequence[DecisionProbe]) -> tuple[str, ...]:
    """Whether every probe is decided as at export once the rule's two labels change places.

    With a threshold of 0.5 only the probe at the threshold itself shows it.
    """
    rule = task.decision.rule
    if not isinstance(rule, ThresholdRule):
        return ()
    other = rule.model_copy(update={"label": rule.otherwise, "otherwise": rule.label})
    decision = task.decision.model_copy(update={"rule": other})
    if any(_otherwise(task.model_copy(update={"decision": decision}), probes)):
        return ()
    return (
        f"decide: `label` and `otherwise` are exchanged: at export {other.label!r} was the label "
        f"and {other.otherwise!r} what is said otherwise",
    )


def _moved(task: Task, probes: Sequence[DecisionProbe]) -> tuple[str, ...]:
    """Where a threshold was at export, against where the task now has it."""
    rule = task.decision.rule
    if not isinstance(rule, ThresholdRule):
        return ()
    at = [(probe.probabilities.get(rule.label, 0.0), probe.label) for probe in probes]
    below = [value for value, label in at if label == rule.otherwise]
    above = [value for value, label in at if label == rule.label]
    value = task.thresholds[rule.threshold].value
    band = rule.indeterminate_within
    if below and above and not max(below) < value - band <= value + band <= min(above):
        return (
            f"decide: at export {rule.otherwise!r} ended after {max(below):.7g} and "
            f"{rule.label!r} began at {min(above):.7g}; the threshold {rule.threshold!r} is now "
            f"{value:.7g}" + (f", indeterminate within {band:g}" if band else ""),
        )
    return ()
