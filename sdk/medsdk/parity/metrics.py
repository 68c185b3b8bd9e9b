"""Accuracy, sensitivity and specificity of a classifier as plain numbers, each by its name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from medsdk.parity.decisions import Flags, Said, said_labels


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
    labels = tuple(dict.fromkeys([positive, *truths, *filter(None, decisions)]))
    return metrics_of(said_labels(labels, truths, decisions), 0)


def metrics_of(side: Said, positive: int) -> BinaryMetrics:
    """The metrics of answers that are numbered already.

    Args:
        side: One candidate's.
        positive: Index of the label that sensitivity speaks of.
    """
    sensitivity = _share(*side.rated("sensitivity", positive))
    specificity = _share(*side.rated("specificity", positive))
    mean = None if sensitivity is None or specificity is None else (sensitivity + specificity) / 2
    return BinaryMetrics(_share(side.known, side.right), sensitivity, specificity, mean)


def judged_labels(labels: Sequence[str], positive: int) -> Sequence[int]:
    """Which labels are held against the rest.

    Of two, each one's sensitivity is the other's specificity, so one is enough.
    """
    return range(len(labels)) if len(labels) > 2 else (positive,)


def _share(among: Flags, right: Flags) -> float | None:
    n = int(among.sum())
    return int(right.sum()) / n if n else None
