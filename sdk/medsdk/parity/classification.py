"""Parity of a classifier's decisions on labelled cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from medsdk.bundle.manifest import Verdict
from medsdk.parity.statistics import binomial_upper_bound, cases_needed
from medsdk.tasks.gates import ClassificationGate


@dataclass(frozen=True)
class BinaryMetrics:
    """Metrics at the task's threshold, each by its name; None without a denominator.

    Sensitivity and specificity are of one label against the rest.
    """

    accuracy: float | None
    sensitivity: float | None
    specificity: float | None
    mean_of_sensitivity_and_specificity: float | None

    def as_dict(self) -> dict[str, float | None]:
        """For a record."""
        return {
            "accuracy": self.accuracy,
            "sensitivity": self.sensitivity,
            "specificity": self.specificity,
            "mean_of_sensitivity_and_specificity": self.mean_of_sensitivity_and_specificity,
        }

    def named(self, metric: str) -> float | None:
        """The metric that a gate names."""
        return self.as_dict()[metric.replace("-", "_")]


@dataclass(frozen=True)
class ClassificationParity:
    """INT8 against FP32 on the same labelled cases.

    Attributes:
        cases: Number of cases, n.
        flips: Cases that the two decide differently.
        flips_to_positive: Of those, FP32 negative and the variant positive.
        flips_to_negative: Of those, FP32 positive and the variant negative.
        flip_rate_upper_bound: One-sided Clopper-Pearson bound at the gate's confidence.
        reference: FP32's metrics.
        variant: The variant's metrics.
        verdict: `pass`, `fail`, or `not-conclusive` where there are too few cases to pass.
        reasons: Why not `pass`; empty where it is.
    """

    cases: int
    flips: int
    flips_to_positive: int
    flips_to_negative: int
    flip_rate_upper_bound: float
    reference: BinaryMetrics
    variant: BinaryMetrics
    verdict: Verdict
    reasons: tuple[str, ...]


def binary_metrics(
    truths: Sequence[str], decisions: Sequence[str | None], positive: str
) -> BinaryMetrics:
    """Accuracy, sensitivity and specificity of decisions.

    Args:
        truths: The true labels.
        decisions: The decided labels; None (indeterminate) counts as wrong.
        positive: The label that sensitivity speaks of.

    Returns:
        The metrics, each 0..1.
    """
    right = [truth == decision for truth, decision in zip(truths, decisions, strict=True)]
    pairs = list(zip(truths, decisions, strict=True))
    of_positive = [decision == positive for truth, decision in pairs if truth == positive]
    of_negative = [
        decision not in (positive, None) for truth, decision in pairs if truth != positive
    ]
    sensitivity, specificity = _rate(of_positive), _rate(of_negative)
    mean = None if sensitivity is None or specificity is None else (sensitivity + specificity) / 2
    return BinaryMetrics(_rate(right), sensitivity, specificity, mean)


def judge_classification(
    gate: ClassificationGate,
    positive: str,
    truths: Sequence[str],
    reference: Sequence[str | None],
    variant: Sequence[str | None],
) -> ClassificationParity:
    """Hold a variant's decisions against FP32's by the task's gate.

    Args:
        gate: The task's gate, written before anything was measured.
        positive: The label that sensitivity speaks of.
        truths: The true labels.
        reference: FP32's decisions, None where indeterminate.
        variant: The variant's decisions, in the same order.

    Returns:
        Counts, metrics and the verdict.

    Raises:
        ValueError: The three do not have one length.
    """
    pairs = list(zip(reference, variant, strict=True))
    count = len(truths)
    if count != len(pairs):
        raise ValueError(f"{count} truths for {len(pairs)} decisions")
    flips = sum(a != b for a, b in pairs)
    bound = binomial_upper_bound(flips, count, gate.confidence) if count else 1.0
    before = binary_metrics(truths, reference, positive)
    after = binary_metrics(truths, variant, positive)
    failures, missing = [], []

    needed = cases_needed(gate.max_flip_rate, gate.confidence)
    if bound > gate.max_flip_rate:
        reason = (
            f"{flips} of {count} decisions flipped: the rate is under {bound:.2%} at "
            f"{gate.confidence:.0%} confidence, the gate is {gate.max_flip_rate:.2%}"
        )
        if count < needed:
            missing.append(f"{reason}; {needed} cases without a flip would decide it")
        else:
            failures.append(reason)
    if before.sensitivity is None or before.specificity is None:
        missing.append("sensitivity and specificity need positive and negative cases")
    old, new = before.named(gate.metric), after.named(gate.metric)
    if old is not None and new is not None and new < gate.min_metric_ratio * old:
        failures.append(
            f"{gate.metric} {new:.4f} is below {gate.min_metric_ratio:.2%} of FP32's {old:.4f}"
        )
    labels = {positive, *truths}
    # Of two labels, each one's sensitivity is the other's specificity.
    for label in sorted(labels) if len(labels) > 2 else (positive,):
        failures += _losses(
            gate,
            label,
            binary_metrics(truths, reference, label),
            binary_metrics(truths, variant, label),
        )
    verdict: Verdict = "fail" if failures else "not-conclusive" if missing else "pass"
    return ClassificationParity(
        cases=count,
        flips=flips,
        flips_to_positive=sum(a != b and b == positive for a, b in pairs),
        flips_to_negative=sum(a != b and a == positive for a, b in pairs),
        flip_rate_upper_bound=bound,
        reference=before,
        variant=after,
        verdict=verdict,
        reasons=(*failures, *missing),
    )


def _losses(
    gate: ClassificationGate, label: str, before: BinaryMetrics, after: BinaryMetrics
) -> list[str]:
    """What of one label against the rest falls by more than the gate allows."""
    found = []
    for name, limit in (
        ("sensitivity", gate.max_sensitivity_loss),
        ("specificity", gate.max_specificity_loss),
    ):
        was, now = before.named(name), after.named(name)
        if was is not None and now is not None and was - now > limit + 1e-12:
            found.append(
                f"{name} for {label!r} falls from {was:.4f} to {now:.4f}, by more than {limit:.2%}"
            )
    return found


def _rate(right: Sequence[bool]) -> float | None:
    return sum(right) / len(right) if right else None
