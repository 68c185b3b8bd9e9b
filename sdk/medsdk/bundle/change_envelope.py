"""The change envelope of a bundle: what a successor may change, and what that may do, as data.

It is written at export, before the change that it speaks of is made; `medsdk.changes` judges.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from medsdk.tasks.decoding import Fraction
from medsdk.tasks.gates import ClassificationGate
from medsdk.tasks.strict import Strict

ChangedThing = Literal[
    "weights",
    "graph",
    "preprocessing",
    "thresholds",
    "decision",
    "labels",
    "gates",
    "version",
    "variant",
    "runtime",
    "runtime-version",
    "device",
    "precision",
    "settings",
    "machine",
    "medsdk",
]
"""What may differ between two sides: a closed set."""


class EnvelopeLimits(Strict):
    """What a change may do to decisions: the second side against the first, on the same cases.

    Attributes:
        max_flip_rate: The upper bound of the rate of changed decisions, at most.
        max_sensitivity_loss: In absolute terms, at the threshold.
        max_specificity_loss: In absolute terms, at the threshold.
        min_metric_ratio: The second side's metric over the first side's, at least.
        confidence: Of the one-sided bounds.
    """

    max_flip_rate: Annotated[float, Field(gt=0, le=1)]
    max_sensitivity_loss: Fraction
    max_specificity_loss: Fraction
    min_metric_ratio: Fraction = 0.99
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95


class ChangeEnvelope(Strict):
    """What may change after this bundle, and how it is judged.

    Attributes:
        may_change: The things that may differ; anything else that does lies outside.
        limits: What the change may do.
        cases_sha256: The set of cases that it must be judged on, as `medsdk evaluate` prints it.
        min_cases: With fewer cases nothing is decided.
    """

    may_change: Annotated[tuple[ChangedThing, ...], Field(min_length=1)]
    limits: EnvelopeLimits
    cases_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    min_cases: PositiveInt

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len(set(self.may_change)) != len(self.may_change):
            raise ValueError("may_change names a thing twice")
        return self

    def gate(self, approved: ClassificationGate) -> ClassificationGate:
        """The limits as a gate, whatever they do not say as the approved side's own has it."""
        return approved.model_copy(update=self.limits.model_dump())
