"""What a network's outputs mean, and how they become a decision, as data."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from medsdk.tasks._interval import Interval
from medsdk.tasks.strict import Name, Strict, Text

Activation = Literal["none", "softmax", "sigmoid"]
"""What decode applies. `none`: the graph has it inside already, as foreign graphs may."""

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
TensorName = Annotated[str, Field(min_length=1, max_length=256)]
Label = Annotated[str, Field(min_length=1, max_length=64)]


def _distinct(labels: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(labels)) != len(labels):
        raise ValueError("labels must be distinct")
    return labels


Labels = Annotated[tuple[Label, ...], Field(min_length=1), AfterValidator(_distinct)]
"""Distinct names of classes, in the order of the network's outputs."""


class ClassificationDecode(Strict):
    """Scores of classes: an output of shape N x labels (N x 1 for a sigmoid)."""

    kind: Literal["classification"]
    output: TensorName
    labels: Annotated[Labels, Field(min_length=2)]
    activation: Activation


class Suppression(Strict):
    """Non-maximum suppression; ties keep the earlier box."""

    iou: Fraction
    across_labels: bool
    max_boxes: PositiveInt


class DetectionDecode(Strict):
    """Boxes (N x boxes x 4) and scores (N x boxes x labels) decoded in the graph.

    Attributes:
        boxes: Output with the boxes.
        scores: Output with one score a box and label, 0..1.
        labels: In the order of the scores.
        box_format: Corners (`xyxy`) or centre and size (`cxcywh`).
        box_unit: `pixel` of the network's input, or `fraction` of its sides.
        confidence: Threshold below which a box is dropped.
        suppression: Applied to what is left.
        anchors: For the record: width and height in input pixels, a list a scale.
        strides: For the record: input pixels a cell, one a scale.
    """

    kind: Literal["detection"]
    boxes: TensorName
    scores: TensorName
    labels: Labels
    box_format: Literal["xyxy", "cxcywh"]
    box_unit: Literal["pixel", "fraction"] = "pixel"
    confidence: Name
    suppression: Suppression
    anchors: tuple[tuple[tuple[PositiveFloat, PositiveFloat], ...], ...] = ()
    strides: tuple[PositiveInt, ...] = ()

    @model_validator(mode="after")
    def _scales(self) -> Self:
        if len(self.anchors) != len(self.strides):
            raise ValueError(
                f"strides has {len(self.strides)} scales; allowed: {len(self.anchors)}, "
                "as many as anchors"
            )
        return self


class Components(Strict):
    """Connected components of a mask and the smallest that counts.

    Attributes:
        connectivity: Neighbours of a pixel in its slice (4, 8) or of a voxel in the series
            (6, 18, 26).
        min_volume_mm3: Smaller components are dropped. The volume of a pixel is its area times
            the distance between slices.
    """

    connectivity: Literal[4, 8, 6, 18, 26]
    min_volume_mm3: NonNegativeFloat


class SegmentationDecode(Strict):
    """A map of classes: an output of shape N x labels x H x W (labels last for `nhwc`).

    Attributes:
        output: Output with the scores.
        labels: In the order of the scores.
        activation: Over the labels of each pixel.
        background: The label that is no finding, where there is one.
        threshold: A pixel has a label where its probability is at least this; absent, each
            pixel has the label with the largest one.
        components: What is done with the mask of each label but the background.
    """

    kind: Literal["segmentation"]
    output: TensorName
    labels: Labels
    activation: Activation
    background: Label | None = None
    threshold: Name | None = None
    components: Components | None = None

    @model_validator(mode="after")
    def _labelled(self) -> Self:
        if self.background is not None and self.background not in self.labels:
            raise ValueError(
                f"background is {self.background!r}; allowed: {', '.join(self.labels)}"
            )
        if len(self.labels) == 1 and (self.activation == "softmax" or self.threshold is None):
            raise ValueError(
                f"one label with activation {self.activation!r} and threshold "
                f"{self.threshold!r}; allowed: 'sigmoid' or 'none', and a threshold"
            )
        return self


class RegressionDecode(Strict):
    """A quantity: an output of shape N x 1; `value = output * scale + offset`.

    A value outside `range`, which is in the quantity's unit, is no result.
    """

    kind: Literal["regression"]
    output: TensorName
    quantity: Text
    unit: Text
    scale: float = 1.0
    offset: float = 0.0
    range: Interval


class HeatMapDecode(Strict):
    """A map of what moved a class score: an output of shape 1 x labels x h x w.

    The labels are those of the explained classifier, and the last axis for `nhwc`.

    Attributes:
        output: Output with one map a label of the explained classifier.
        explains: Role of that classifier; both have the same pixel contract.
        method: How the graph computes the map.
        layer: Whose activations it weighs, in the source network's own name.
        upsample: From the map's size to that of the network's input.
    """

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
        operation: How. `mean`, `max`, `top-k-mean` and `sum-of-softmax` combine numbers
            (probabilities, values, maps). `vote`, `k-consecutive` and `k-of-n` count what the
            decision's rule says of each member; `k-of-n` looks at the last n members, so it
            answers frame by frame.
        k: For `top-k-mean`, `k-consecutive`, `k-of-n`.
        n: For `k-of-n`.
        match_iou: For detection: boxes of neighbouring members that overlap by at least this
            are the same lesion.
        empty: What an empty input gives; never a class.
        failed: What a member that failed, or had itself no answer, does.
    """

    role: Name
    axis: Axis
    operation: Literal[
        "mean", "max", "vote", "top-k-mean", "k-consecutive", "k-of-n", "sum-of-softmax"
    ]
    k: PositiveInt | None = None
    n: PositiveInt | None = None
    match_iou: Annotated[float, Field(gt=0, le=1)] | None = None
    empty: Literal["indeterminate", "no-result"]
    failed: Literal["exclude", "indeterminate", "no-result"]

    @model_validator(mode="after")
    def _counts(self) -> Self:
        needs_k = self.operation in ("top-k-mean", "k-consecutive", "k-of-n")
        if needs_k != (self.k is not None):
            raise ValueError(
                f"k is {self.k!r} and operation {self.operation!r}; allowed: a number for "
                "'top-k-mean', 'k-consecutive' and 'k-of-n', and for them alone"
            )
        if (self.operation == "k-of-n") != (self.n is not None):
            raise ValueError(
                f"n is {self.n!r} and operation {self.operation!r}; allowed: a number for "
                "'k-of-n', and for it alone"
            )
        if self.k is not None and self.n is not None and self.k > self.n:
            raise ValueError(f"k is {self.k}; allowed: at most n, which is {self.n}")
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
    """The boxes that survive.

    The classifier `verifier` drops a box whose probability of `verifier_label` is below
    `verifier_threshold`.
    """

    kind: Literal["boxes"]
    role: Name
    verifier: Name | None = None
    verifier_label: Label | None = None
    verifier_threshold: Name | None = None

    @model_validator(mode="after")
    def _together(self) -> Self:
        keys = ("verifier", "verifier_label", "verifier_threshold")
        missing = [key for key in keys if getattr(self, key) is None]
        if 0 < len(missing) < len(keys):
            raise ValueError(f"missing: {', '.join(missing)}; allowed: all of {', '.join(keys)}")
        return self


class MaskRule(Strict):
    """The mask and its components, of every label but the background."""

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
        unit: What one finding speaks of, once the reductions are done.
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
