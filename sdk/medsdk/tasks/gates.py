"""What parity must show before a variant ships or a device serves, as data.

Gates are written into the bundle before anything is measured.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    PositiveFloat,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from medsdk.tasks.decoding import Fraction
from medsdk.tasks.strict import Strict

Form = Literal["float", "cpu", "gpu"]
"""`float`: no quantization. `cpu`: form A, unsigned 8-bit asymmetric activations and signed
8-bit per-channel weights. `gpu`: form B, signed symmetric, float bias, no zero points."""

Metric = Literal["accuracy", "mean-of-sensitivity-and-specificity"]


Losses = Literal["observed", "proved"]
"""Whether a loss is held to its limit as it was seen, or by what the cases prove of it."""


class FloatGate(Strict):
    """FP32 on one runtime against the source framework: `|a - b| <= atol + rtol |b|`."""

    atol: NonNegativeFloat = 1e-4
    rtol: NonNegativeFloat = 1e-4


class ClassificationGate(Strict):
    """INT8 against FP32 on labelled parity cases.

    Attributes:
        metric: The metric that is compared.
        min_metric_ratio: INT8's metric over FP32's, at least.
        max_flip_rate: The upper bound of the rate of flipped decisions, at most.
        max_sensitivity_loss: In absolute terms, at the threshold.
        max_specificity_loss: In absolute terms, at the threshold.
        confidence: Of the one-sided Clopper-Pearson bound.
        losses: How the two losses are held to their limits. `observed`: the loss that was seen.
            `proved`: the upper end of its one-sided interval at `confidence`, which is a proof of
            non-inferiority. Written only where it is not the default, so that a release that does
            not know it reads every other task as before.
    """

    metric: Metric
    min_metric_ratio: Fraction = 0.99
    max_flip_rate: Annotated[float, Field(gt=0, le=1)] = 0.02
    max_sensitivity_loss: Fraction = 0.01
    max_specificity_loss: Fraction = 0.01
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    losses: Losses = "observed"

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, object]:
        written: dict[str, object] = handler(self)
        if self.losses == "observed":
            written.pop("losses", None)
        return written


class SegmentationGate(Strict):
    """Changes of the Dice coefficient; a mask that is emptied, or no longer empty, is a flip.

    Attributes:
        min_mean_dice_change: Mean of Dice with the truth, INT8's minus FP32's, at least.
        min_5th_percentile_dice_change: 5th percentile of the same, at least.
        min_median_dice_to_fp32: Median Dice of INT8's mask with FP32's, at least.
        max_flip_rate: The upper bound of the rate of emptied masks, and of that of filled ones,
            at most, each of those masks that could flip that way.
        confidence: Of that one-sided Clopper-Pearson bound.
    """

    min_mean_dice_change: Annotated[float, Field(le=0)] = -0.005
    min_5th_percentile_dice_change: Annotated[float, Field(le=0)] = -0.02
    min_median_dice_to_fp32: Fraction = 0.98
    max_flip_rate: Annotated[float, Field(gt=0, le=1)] = 0.02
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95


class DetectionGate(Strict):
    """Recall and precision at the task's threshold; matching of single boxes."""

    max_recall_loss: Fraction = 0.01
    max_precision_loss: Fraction = 0.01
    match_iou: Fraction = 0.9
    match_score_difference: Fraction = 0.05


class RegressionGate(Strict):
    """Changes of the value, in its own unit; a value that is lost or gained is a flip.

    Attributes:
        max_mean_change: Mean of the absolute change, at most.
        max_95th_percentile_change: 95th percentile of the absolute change, at most.
        max_flip_rate: The upper bound of the rate of flips among the cases in which either side
            has a value, at most.
        confidence: Of that one-sided Clopper-Pearson bound.
    """

    max_mean_change: PositiveFloat
    max_95th_percentile_change: PositiveFloat
    max_flip_rate: Annotated[float, Field(gt=0, le=1)] = 0.02
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95


class HeatMapGate(Strict):
    """Against autograd in the source framework."""

    min_correlation: Fraction = 0.99
    max_peak_distance_cells: NonNegativeFloat = 1.0


class IsaLadderGate(Strict):
    """The same INT8 file on lower instruction sets of the same processor."""

    max_flip_rate_rise: Fraction = 0.01


class Gates(Strict):
    """The gates of a task; the kinds of its networks decide which ones it needs.

    Attributes:
        max_output_difference: For each form, and each `role.output`, the largest
            difference from the reference that a known answer may show, in the output's
            own unit. It caps the tolerances that export stores.
    """

    fp32: FloatGate = FloatGate()
    classification: ClassificationGate | None = None
    segmentation: SegmentationGate | None = None
    detection: DetectionGate | None = None
    regression: RegressionGate | None = None
    heat_map: HeatMapGate | None = None
    isa_ladder: IsaLadderGate = IsaLadderGate()
    max_output_difference: dict[Form, dict[str, PositiveFloat]]
