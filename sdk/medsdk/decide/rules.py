"""The rule that makes a finding of probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from medsdk._refusals import TaskUnsupportedError
from medsdk.tasks.decoding import ArgmaxRule, Rule, ThresholdRule
from medsdk.tasks.schema import Task

FindingStatus = Literal["ok", "indeterminate", "no-result"]


@dataclass(frozen=True)
class Outcome:
    """What a rule made of the probabilities.

    Attributes:
        label: The answer; None unless `status` is `ok`.
        status: Whether there is an answer.
        reason: Why there is none; empty where there is.
    """

    label: str | None
    status: FindingStatus
    reason: str = ""


def decide(task: Task, probabilities: Mapping[str, float]) -> Outcome:
    """Apply the task's rule.

    Args:
        task: Holds the rule and its thresholds.
        probabilities: Label to probability, 0..1.

    Returns:
        The outcome. A probability within `indeterminate_within` of the threshold, or a tie of
        an argmax, is indeterminate.

    Raises:
        TaskUnsupportedError: The rule needs boxes, masks or values.
    """
    thresholds = {name: item.value for name, item in task.thresholds.items()}
    return apply_rule(task.decision.rule, thresholds, probabilities)


def apply_rule(
    rule: Rule, thresholds: Mapping[str, float], probabilities: Mapping[str, float]
) -> Outcome:
    """Apply a rule apart from its task, for instance that of a file of answers.

    Args:
        rule: The rule.
        thresholds: Those that it may name.
        probabilities: Label to probability, 0..1.

    Returns:
        The outcome, as `decide` says.

    Raises:
        TaskUnsupportedError: The rule needs boxes, masks or values.
    """
    match rule:
        case ThresholdRule():
            threshold = thresholds[rule.threshold]
            probability = probabilities[rule.label]
            if rule.indeterminate_within and abs(probability - threshold) <= (
                rule.indeterminate_within
            ):
                return Outcome(
                    None,
                    "indeterminate",
                    f"the probability is within {rule.indeterminate_within} of the threshold",
                )
            return Outcome(rule.label if probability >= threshold else rule.otherwise, "ok")
        case ArgmaxRule():
            top = max(probabilities.values())
            winners = [label for label, value in probabilities.items() if value == top]
            if len(winners) > 1:
                return Outcome(None, "indeterminate", f"a tie of {', '.join(winners)}")
            return Outcome(winners[0], "ok")
        case _:
            raise unsupported_rule(rule)


def decision_margin(task: Task, probabilities: Mapping[str, float]) -> float:
    """How far the probabilities are from another decision.

    Args:
        task: Holds the rule and its thresholds.
        probabilities: Label to probability, 0..1.

    Returns:
        The decision stays as it is while no probability moves by as much as this, 0..1, and
        several may move at once; 0 where it is indeterminate.

    Raises:
        TaskUnsupportedError: The rule needs boxes, masks or values.
    """
    rule = task.decision.rule
    match rule:
        case ThresholdRule():
            distance = abs(probabilities[rule.label] - task.thresholds[rule.threshold].value)
            return max(0.0, distance - rule.indeterminate_within)
        case ArgmaxRule():
            first, second, *_ = sorted(probabilities.values(), reverse=True)
            return (first - second) / 2
        case _:
            raise unsupported_rule(rule)


def unsupported_rule(rule: Rule) -> TaskUnsupportedError:
    """The error for a rule that a later release brings."""
    return TaskUnsupportedError(
        "this release does not run the task's decision rule",
        got=f"decision.rule.kind = {rule.kind!r}",
        expected="'threshold' or 'argmax'",
    )
