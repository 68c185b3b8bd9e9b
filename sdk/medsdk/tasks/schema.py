"""A task: a clinical question as data.

One TOML file a task. `docs/tasks-format.md` is its manual.
"""

from __future__ import annotations

from itertools import product
from typing import Annotated, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from medsdk.tasks._consistency import check_consistency
from medsdk.tasks._interval import Interval
from medsdk.tasks.decoding import Decision, Decode, Label, TensorName, Threshold
from medsdk.tasks.gates import Form, Gates
from medsdk.tasks.pixel_contract import PixelContract
from medsdk.tasks.strict import FormatVersion, Name, Semver, Strict, Text

NOTICE = "not for clinical use"
"""What every task and output that is no cleared product says."""

TaskId = Annotated[str, Field(pattern=r"^[a-z0-9]+(?:-[a-z0-9]+)*/[a-z0-9]+(?:-[a-z0-9]+)*$")]
Modality = Annotated[str, Field(pattern=r"^[A-Z]{2,16}$")]


class IntendedUse(Strict):
    """Who uses it, on whom, and where it is known to be weak."""

    user: Text
    population: Text
    known_limits: tuple[Text, ...]
    strata: tuple[Name, ...] = ()


class PublishedFigure(Strict):
    """A figure of a paper or report, as printed there."""

    metric: Text
    value: float
    unit: Text
    level: Literal["slice", "lesion", "case", "box", "image", "not stated"]
    source: Text
    note: Text | None = None


class SequenceRule(Strict):
    """How one sequence of a study is recognised; SeriesDescription is not portable.

    A key that is absent is not looked at. For CT the plane alone tells the series apart.
    """

    name: Name
    plane: Literal["axial", "sagittal", "coronal"] | None = None
    weighting: Literal["t1", "t2", "dwi", "adc", "pd"] | None = None
    echo_time_ms: Interval | None = None
    repetition_time_ms: Interval | None = None
    b_value_s_per_mm2: Interval | None = None


class Input(Strict):
    """What comes in.

    Attributes:
        modalities: DICOM Modality values that are accepted.
        kind: What one question is asked of.
        presentation_intent: For mammograms and radiographs.
        sequences: The sequences that are told apart. A network with members on the axis
            `sequence` sees the images of theirs; any other sees every image.
        slices: Whether the operator gives the first and the last slice that count.
        contrast_agent: Whether one must, or must not, have been given.
        body_region: Where it must have been taken, in words.
    """

    modalities: Annotated[tuple[Modality, ...], Field(min_length=1)]
    kind: Literal["image", "clip", "series", "study"]
    presentation_intent: Literal["for-presentation", "for-processing"] | None = None
    sequences: tuple[SequenceRule, ...] = ()
    slices: Literal["all", "operator-range"] = "all"
    contrast_agent: Literal["required", "refused"] | None = None
    body_region: Text | None = None


class RealTime(Strict):
    """What a task on a live image must keep up with.

    Attributes:
        frame_rate_hz: Frames that arrive; the display never waits for the network.
        max_overlay_age_ms: An older overlay is hidden, not shown.
    """

    frame_rate_hz: PositiveFloat
    max_overlay_age_ms: PositiveFloat


class Architecture(Strict):
    """The topology. `onnx` is a foreign graph that keeps its own form."""

    name: Name
    parameters: dict[str, int | float | str | bool] = {}


class InputTensor(Strict):
    """The network's input; its height and width are those of the pixel contract."""

    name: TensorName
    layout: Literal["nchw", "nhwc", "ncthw"] = "nchw"
    batch: Literal["dynamic"] | PositiveInt = "dynamic"


class OutputTensor(Strict):
    """One output; `axes` are what follows the batch axis, a word or a number each."""

    name: TensorName
    axes: tuple[Annotated[str, Field(min_length=1)] | PositiveInt, ...]


class Feed(Strict):
    """Where a network's images come from.

    `input`: the images of the question. `passed`: those to which the classifier `role` gives
    `label`, which is where its probability is at least `threshold` (absent: where it is the
    largest). `boxes`: the candidates of the detector `role`. `same`: whatever `role` saw.
    """

    kind: Literal["input", "passed", "boxes", "same"]
    role: Name | None = None
    label: Label | None = None
    threshold: Name | None = None

    @model_validator(mode="after")
    def _named(self) -> Self:
        if (self.kind == "input") != (self.role is None):
            raise ValueError(
                f"role is {self.role!r} and kind {self.kind!r}; allowed: a role for 'passed', "
                "'boxes' and 'same', and for them alone"
            )
        if (self.kind == "passed") != (self.label is not None):
            raise ValueError(
                f"label is {self.label!r} and kind {self.kind!r}; allowed: a label for "
                "'passed', and for it alone"
            )
        if self.kind != "passed" and self.threshold is not None:
            raise ValueError(
                f"threshold is {self.threshold!r} and kind {self.kind!r}; allowed: a threshold "
                "for 'passed' alone"
            )
        return self


class MemberAxis(Strict):
    """An axis of an ensemble: one network for each key."""

    axis: Literal["fold", "sequence"]
    keys: Annotated[tuple[Name, ...], Field(min_length=1)]


class Network(Strict):
    """One network, or an ensemble of networks of one topology."""

    architecture: Architecture
    feed: Feed = Feed(kind="input")
    members: tuple[MemberAxis, ...] = ()
    input: InputTensor
    outputs: Annotated[tuple[OutputTensor, ...], Field(min_length=1)]
    pixels: PixelContract
    decode: Decode


class Marks(Strict):
    """Which statements are published and which are our inference.

    Dotted keys of the file; an item of an array is its number from 0. Where one key lies
    inside another, the longer one holds.
    """

    known: tuple[str, ...]
    inferred: tuple[str, ...]


class Task(Strict):
    """A clinical question as data: pixels in, outputs, decision rule, gates."""

    format_version: FormatVersion
    id: TaskId
    version: Semver
    title: Text
    question: Text
    purpose: Literal["reference", "clinical", "benchmark"]
    notice: Text
    intended_use: IntendedUse
    published: tuple[PublishedFigure, ...] = ()
    input: Input
    networks: Annotated[dict[Name, Network], Field(min_length=1)]
    decision: Decision
    real_time: RealTime | None = None
    thresholds: dict[Name, Threshold] = {}
    gates: Gates
    marks: Marks
    optional: tuple[str, ...] = ()

    @property
    def roles(self) -> tuple[str, ...]:
        """Every network file the task needs: the roles, ensembles spelled out."""
        return tuple(member for role in self.networks for member in self.members_of(role))

    def members_of(self, role: str) -> tuple[str, ...]:
        """Roles of the single networks behind `role`: itself, or `role-key[-key]` each."""
        axes = [axis.keys for axis in self.networks[role].members]
        return tuple("-".join((role, *keys)) for keys in product(*axes))

    def network_of(self, member: str) -> Network:
        """The description of one of `roles`.

        Raises:
            KeyError: The task has no such role.
        """
        for role, network in self.networks.items():
            if member in self.members_of(role):
                return network
        raise KeyError(member)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.purpose != "clinical" and NOTICE not in self.notice:
            raise ValueError(
                f"notice is {self.notice!r}; allowed: a text that says {NOTICE!r}, while purpose "
                f"is {self.purpose!r}"
            )
        check_consistency(self)
        return self


__all__ = ["NOTICE", "Form", "Network", "Task"]
