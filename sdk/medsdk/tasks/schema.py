"""A task: a clinical question as data.

One TOML file a task. `docs/tasks-format.md` is its manual.
"""

from __future__ import annotations

from itertools import product
from typing import Annotated, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from medsdk.tasks.decoding import (
    ArgmaxRule,
    BoxesRule,
    ClassificationDecode,
    Decision,
    Decode,
    DetectionDecode,
    HeatMapDecode,
    MaskRule,
    RegressionDecode,
    SegmentationDecode,
    TensorName,
    Threshold,
    ThresholdRule,
    ValueRule,
)
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
    """How one sequence of a study is recognised; SeriesDescription is not portable."""

    name: Name
    plane: Literal["axial", "sagittal", "coronal"] | None = None
    weighting: Literal["t1", "t2", "dwi", "adc", "pd"] | None = None
    echo_time_ms: tuple[float, float] | None = None
    repetition_time_ms: tuple[float, float] | None = None
    b_value_s_per_mm2: tuple[float, float] | None = None


class Input(Strict):
    """What comes in.

    Attributes:
        modalities: DICOM Modality values that are accepted.
        kind: What one question is asked of.
        presentation_intent: For mammograms and radiographs.
        sequences: The sequences of a study that are used.
        body_region: Where it must have been taken, in words.
    """

    modalities: Annotated[tuple[Modality, ...], Field(min_length=1)]
    kind: Literal["image", "clip", "series", "study"]
    presentation_intent: Literal["for-presentation", "for-processing"] | None = None
    sequences: tuple[SequenceRule, ...] = ()
    body_region: Text | None = None


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

    `input`: the images of the question. `passed`: those that the classifier `role` called
    `label`. `boxes`: the candidates of the detector `role`. `same`: whatever `role` saw.
    """

    kind: Literal["input", "passed", "boxes", "same"]
    role: Name | None = None
    label: str | None = None

    @model_validator(mode="after")
    def _named(self) -> Self:
        if (self.kind == "input") != (self.role is None):
            raise ValueError("role belongs to 'passed', 'boxes' and 'same'")
        if (self.kind == "passed") != (self.label is not None):
            raise ValueError("label belongs to 'passed'")
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
    """Which statements are published and which are our inference: dotted keys of the file."""

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
            raise ValueError(f"notice must say {NOTICE!r} while purpose is {self.purpose!r}")
        for role, network in self.networks.items():
            self._check_network(role, network)
        self._check_rule()
        for reduction in self.decision.reductions:
            self._role(reduction.role, "decision.reductions.role")
        self._check_gates()
        self._check_marks()
        return self

    def _role(self, role: str, where: str) -> Network:
        if role not in self.networks:
            raise ValueError(f"{where} is {role!r}; allowed: {', '.join(self.networks)}")
        return self.networks[role]

    def _threshold(self, name: str, where: str) -> None:
        if name not in self.thresholds:
            allowed = ", ".join(self.thresholds) or "(thresholds is empty)"
            raise ValueError(f"{where} is {name!r}; allowed: {allowed}")

    def _check_network(self, role: str, network: Network) -> None:
        where = f"networks.{role}"
        if network.feed.role is not None:
            source = self._role(network.feed.role, f"{where}.feed.role")
            if network.feed.role == role:
                raise ValueError(f"{where}.feed.role names the network itself")
            if network.feed.kind == "boxes" and source.decode.kind != "detection":
                raise ValueError(f"{where}.feed takes boxes of a {source.decode.kind} network")
            if network.feed.kind == "passed":
                labels = getattr(source.decode, "labels", ())
                if network.feed.label not in labels:
                    raise ValueError(
                        f"{where}.feed.label is {network.feed.label!r}; allowed: "
                        f"{', '.join(labels) or '(that network has no labels)'}"
                    )
        if (network.input.layout == "ncthw") != (network.pixels.clip is not None):
            raise ValueError(f"{where}: layout 'ncthw' and pixels.clip come together")
        outputs = {output.name: output for output in network.outputs}
        decode = network.decode
        used: tuple[str, ...]
        match decode:
            case DetectionDecode():
                used = (decode.boxes, decode.scores)
                self._threshold(decode.confidence, f"{where}.decode.confidence")
            case SegmentationDecode():
                used = (decode.output,)
                if decode.threshold is not None:
                    self._threshold(decode.threshold, f"{where}.decode.threshold")
            case HeatMapDecode():
                used = (decode.output,)
                self._role(decode.explains, f"{where}.decode.explains")
            case ClassificationDecode() | RegressionDecode():
                used = (decode.output,)
        for name in used:
            if name not in outputs:
                raise ValueError(
                    f"{where}.decode names the output {name!r}; allowed: {', '.join(outputs)}"
                )

    def _check_rule(self) -> None:
        rule = self.decision.rule
        network = self._role(rule.role, "decision.rule.role")
        wanted = {
            ThresholdRule: "classification",
            ArgmaxRule: "classification",
            BoxesRule: "detection",
            MaskRule: "segmentation",
            ValueRule: "regression",
        }[type(rule)]
        if network.decode.kind != wanted:
            raise ValueError(
                f"decision.rule {rule.kind!r} needs a {wanted} network, "
                f"{rule.role!r} is {network.decode.kind}"
            )
        if isinstance(rule, ThresholdRule):
            self._threshold(rule.threshold, "decision.rule.threshold")
            labels = network.decode.labels if network.decode.kind == "classification" else ()
            if len(labels) != 2 or {rule.label, rule.otherwise} != set(labels):
                raise ValueError(
                    f"decision.rule.label and .otherwise are {rule.label!r} and "
                    f"{rule.otherwise!r}; allowed: the two labels {', '.join(labels)}"
                )
        if isinstance(rule, BoxesRule) and rule.verifier is not None:
            self._role(rule.verifier, "decision.rule.verifier")
            self._threshold(rule.verifier_threshold or "", "decision.rule.verifier_threshold")

    def _check_gates(self) -> None:
        for network in self.networks.values():
            field = network.decode.kind.replace("-", "_")
            if getattr(self.gates, field) is None:
                raise ValueError(f"gates.{field} is missing for a {network.decode.kind} network")
        outputs = {
            f"{role}.{output.name}"
            for role, network in self.networks.items()
            for output in network.outputs
        }
        for form, limits in self.gates.max_output_difference.items():
            if set(limits) != outputs:
                raise ValueError(
                    f"gates.max_output_difference.{form} has the keys {sorted(limits)}; "
                    f"allowed, each once: {sorted(outputs)}"
                )
        if "float" not in self.gates.max_output_difference:
            raise ValueError("gates.max_output_difference.float is missing")

    def _check_marks(self) -> None:
        document = self.model_dump(mode="json")
        both = set(self.marks.known) & set(self.marks.inferred)
        if both:
            raise ValueError(f"marked both known and inferred: {', '.join(sorted(both))}")
        marked = (*self.marks.known, *self.marks.inferred)
        for path in marked:
            node: object = document
            for key in path.split("."):
                if not isinstance(node, dict) or key not in node:
                    raise ValueError(f"marks names {path!r}, which is no key of this file")
                node = node[key]
        needed = ["input.modalities", "decision.rule"]
        for role in self.networks:
            needed += [f"networks.{role}.{part}" for part in ("architecture", "pixels", "decode")]
        for path in needed:
            if not any(
                path == m or path.startswith(f"{m}.") or m.startswith(f"{path}.") for m in marked
            ):
                raise ValueError(f"{path!r} is neither in marks.known nor in marks.inferred")


__all__ = ["NOTICE", "Form", "Network", "Task"]
