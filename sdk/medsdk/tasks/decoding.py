"""What a network's outputs mean, and how they become a decision, as data."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from medsdk.tasks.strict import Name, Strict, Text

Activation = Literal["none", "softmax", "sigmoid"]
"""What decode applies. `none`: the graph has it inside already, as foreign graphs may."""

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
TensorName = Annotated[str, Field(min_length=1, max_length=256)]
Label = Annotated[str, Field(min_length=1, max_length=64)]


class ClassificationDecode(Strict):
    """Scores of classes: an output of shape N x labels (N x 1 for a sigmoid)."""

    kind: Literal["classification"]
    output: TensorName
    labels: Annotated[tuple[Label, ...], Field(min_length=2)]
    activation: Activation

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len(set(self.labels)) != len(self.labels):
            raise ValueError(f"labels must be distinct, got {list(self.labels)}")
        return self


class Suppression(Strict):
    """Non-maximum suppression; ties keep the earlier box."""

    iou: Fraction
    across_labels: bool
    max_boxes: PositiveInt


class DetectionDecode(Strict):
    """Boxes (N x boxes x 4) and scores (N x boxes x labels) decoded in the graph."""

    kind: Literal["detection"]
    boxes: TensorName
    scores: TensorName
    labels: Annotated[tuple[Label, ...], Field(min_length=1)]
    box_format: Literal["xyxy", "cxcywh"]
    confidence: Name
    suppression: Suppression
    anchors: tuple[tuple[tuple[PositiveFloat, PositiveFloat], ...], ...] = ()
    strides: tuple[PositiveInt, ...] = ()

    @model_validator(mode="after")
    def _scales(self) -> Self:
        if len(self.anchors) != len(self.strides):
            raise ValueError(
                f"anchors has {len(self.anchors)} scales, strides has {len(self.strides)}"
            )
        return self


class Components(Strict):
    """Connected components of a mask and the smallest that counts."""

    connectivity: Literal[4, 8, 6, 18, 26]
    min_volume_mm3: NonNegativeFloat


class SegmentationDecode(Strict):
    """A map of classes: an output of shape N x labels x H x W."""

    kind: Literal["segmentation"]
    output: TensorName
    labels: Annotated[tuple[Label, ...], Field(min_length=1)]
    activation: Activation
    threshold: Name | None = None
    components: Components | None = None


class RegressionDecode(Strict):
    """A quantity: an output of shape N x 1; `value = output * scale + offset`."""

    kind: Literal["regression"]
    output: TensorName
    quantity: Text
    unit: Text
    scale: float = 1.0
    offset: float = 0.0
    range: tuple[float, float]


class HeatMapDecode(Strict):
    """A map of what moved a class score: an output of shape 1 x labels x h x w."""

    kind: Literal["heat-map"]
    output: TensorName
    explains: Name
    method: Literal["grad-cam", "grad-cam++", "cam", "eigen-cam"]
    layer: Text
    upsample: Literal["torch.bilinear", "pil.bilinear.hv", "tf.bilinear"]


Decode = Annotated[
    ClassificationDecode | DetectionDecode | SegmentationDecode | RegressionDecode | HeatMapDecode,
    Field(discriminator="kind"),
]

Axis = Literal["frame", "slice", "sequence", "fold"]
"""A named axis that a reduction removes."""


class Reduction(Strict):
    """One step from many answers to one, over one axis.

    Attributes:
        role: The network whose answers are reduced.
        axis: What is reduced.
        operation: How. `sum-of-softmax` adds probabilities; `vote` counts labels.
        k: For `top-k-mean`, `k-consecutive`, `k-of-n`.
        n: For `k-of-n`.
        empty: What an empty input gives; never a class.
        failed: What a failed member does.
    """

    role: Name
    axis: Axis
    operation: Literal[
        "mean", "max", "vote", "top-k-mean", "k-consecutive", "k-of-n", "sum-of-softmax"
    ]
    k: PositiveInt | None = None
    n: PositiveInt | None = None
    empty: Literal["indeterminate", "no-result"]
    failed: Literal["exclude", "indeterminate", "no-result"]

    @model_validator(mode="after")
    def _counts(self) -> Self:
        needs_k = self.operation in ("top-k-mean", "k-consecutive", "k-of-n")
        if needs_k != (self.k is not None):
            raise ValueError(
                f"k belongs to top-k-mean, k-consecutive and k-of-n; operation is "
                f"{self.operation!r}"
            )
        if (self.operation == "k-of-n") != (self.n is not None):
            raise ValueError(f"n belongs to k-of-n; operation is {self.operation!r}")
        if self.k is not None and self.n is not None and self.k > self.n:
            raise ValueError(f"k ({self.k}) must not exceed n ({self.n})")
        return self


class ThresholdRule(Strict):
    """`label` where its probability is at least the threshold, else `otherwise`."""

    kind: Literal["threshold"]
    role: Name
    label: Label
    otherwise: Label
    threshold: Name
    indeterminate_within: Annotated[float, Field(ge=0.0, lt=0.5)] = 0.0


class ArgmaxRule(Strict):
    """The label with the largest probability; ties are indeterminate."""

    kind: Literal["argmax"]
    role: Name


class BoxesRule(Strict):
    """The boxes that survive; `verifier` drops those below its threshold."""

    kind: Literal["boxes"]
    role: Name
    verifier: Name | None = None
    verifier_threshold: Name | None = None

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.verifier is None) != (self.verifier_threshold is None):
            raise ValueError("verifier and verifier_threshold come together")
        return self


class MaskRule(Strict):
    """The mask and its components."""

    kind: Literal["mask"]
    role: Name


class ValueRule(Strict):
    """The quantity, with its unit."""

    kind: Literal["value"]
    role: Name


Rule = Annotated[
    ThresholdRule | ArgmaxRule | BoxesRule | MaskRule | ValueRule, Field(discriminator="kind")
]


class Decision(Strict):
    """From decoded outputs to the finding.

    Attributes:
        unit: What one finding speaks of.
        reductions: Applied in this order.
        rule: Makes the finding of what is left.
    """

    unit: Literal["frame", "slice", "lesion", "clip", "series", "study"]
    reductions: tuple[Reduction, ...] = ()
    rule: Rule


class Threshold(Strict):
    """A number that decides, kept here and nowhere else."""

    value: float
    meaning: Text
