"""Decision probes of a task, by reading its rule: what `decide` must make of them.

The expected decision is written down from the rule's words, not asked of `decide`, so that the two
hold each other; verifying the fresh bundle compares them.
"""

from __future__ import annotations

from collections.abc import Iterator

from medsdk.bundle.manifest import DecisionProbe
from medsdk.tasks import Task
from medsdk.tasks.decoding import ArgmaxRule, ClassificationDecode, ThresholdRule

STEP = 1e-6
"""How far from a boundary a probe stands: far above the rounding of float64, far below what
anybody means by another threshold."""


def decision_probes(task: Task) -> tuple[DecisionProbe, ...]:
    """Probes at every boundary of a task's rule.

    Args:
        task: The task.

    Returns:
        For a threshold: just below, at and just above it, and on both sides of each edge of its
        indeterminate band, as far as these are probabilities. For an argmax over n labels, each
        label just ahead of the next one, just behind it, and a tie of the two. None for a rule
        over boxes, masks or values.
    """
    rule = task.decision.rule
    match rule:
        case ThresholdRule():
            return tuple(_threshold(rule, task.thresholds[rule.threshold].value))
        case ArgmaxRule():
            decode = task.networks[rule.role].decode
            labels = decode.labels if isinstance(decode, ClassificationDecode) else ()
            return tuple(_argmax(labels))
        case _:
            return ()


def _threshold(rule: ThresholdRule, threshold: float) -> Iterator[DecisionProbe]:
    name, band = f"the threshold {rule.threshold!r}", rule.indeterminate_within
    step = min(STEP, band / 2) if band else STEP
    places: tuple[tuple[str, float, str, str | None], ...]
    if band:
        places = (
            ("below-band", threshold - band - step, f"below the band of {name}", rule.otherwise),
            ("in-band-low", threshold - band + step, f"inside the band of {name}", None),
            ("at-threshold", threshold, f"at {name}", None),
            ("in-band-high", threshold + band - step, f"inside the band of {name}", None),
            ("above-band", threshold + band + step, f"above the band of {name}", rule.label),
        )
    else:
        places = (
            ("below-threshold", threshold - step, f"below {name}", rule.otherwise),
            ("at-threshold", threshold, f"at {name}", rule.label),
            ("above-threshold", threshold + step, f"above {name}", rule.label),
        )
    for probe, value, where, label in places:
        if 0.0 <= value <= 1.0:
            yield DecisionProbe(
                id=probe,
                where=f"just {where}, where {rule.label!r} has {value!r}".replace("just at", "at"),
                probabilities={rule.label: value, rule.otherwise: 1.0 - value},
                label=label,
            )


def _argmax(labels: tuple[str, ...]) -> Iterator[DecisionProbe]:
    for index, first in enumerate(labels):
        second = labels[(index + 1) % len(labels)]
        for word, shift, label in (
            ("ahead", STEP, first),
            ("tie", 0.0, None),
            ("behind", -STEP, second),
        ):
            yield DecisionProbe(
                id=f"label-{index + 1}-{word}",
                where=f"where {first!r} has {0.5 + shift!r} and {second!r} {0.5 - shift!r}",
                probabilities={first: 0.5 + shift, second: 0.5 - shift},
                label=label,
            )
