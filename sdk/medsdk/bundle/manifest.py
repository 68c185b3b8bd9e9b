"""The manifest: what a bundle says of itself (`docs/bundle.md` is the format in prose)."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import (
    Field,
    FiniteFloat,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    model_validator,
)

from medsdk.bundle.change_envelope import ChangeEnvelope
from medsdk.bundle.names import FilePath
from medsdk.tasks.decoding import ArgmaxRule, ThresholdRule
from medsdk.tasks.gates import Form
from medsdk.tasks.schema import Task
from medsdk.tasks.strict import FormatVersion, Name, Semver, Strict, Text

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

Status = Literal["shipped", "rejected", "unjudged"]
Verdict = Literal["pass", "fail", "not-run", "not-conclusive", "advisory"]
"""The one closed set of verdicts."""

PROTOCOL = "evidence/protocol.json"
"""Where what was declared before measuring lies."""

PARITY = "evidence/parity.json"
"""Where what was measured lies; it names the protocol that it was judged by."""


class FileRecord(Strict):
    """A file of the bundle."""

    size_bytes: NonNegativeInt
    sha256: Sha256


class ParityRecord(Strict):
    """What the parity cases showed at export, on one runtime and ISA tier.

    Attributes:
        runtime: Runtime that was executed, with its version.
        isa: Instruction-set tier, `native` or the limit that was set.
        cases: Number of labelled cases, n.
        flips: Decisions that differ from FP32.
        flip_rate_upper_bound: One-sided Clopper-Pearson bound at the gate's confidence, of the
            independent cases that they are worth where patients have several.
        flips_to_positive: Of the flips, those from negative to positive.
        flips_to_negative: Of the flips, those from positive to negative.
        metrics: For `fp32` and the variant: accuracy, sensitivity, specificity and
            mean_of_sensitivity_and_specificity; None where it has no denominator.
        verdict: Against the task's gate.
        reasons: Why it did not pass; empty where it did.
    """

    runtime: Text
    isa: Text
    cases: NonNegativeInt
    flips: NonNegativeInt
    flip_rate_upper_bound: NonNegativeFloat
    flips_to_positive: NonNegativeInt
    flips_to_negative: NonNegativeInt
    metrics: dict[Literal["fp32", "variant"], dict[str, float | None]]
    verdict: Verdict
    reasons: tuple[str, ...]


class Variant(Strict):
    """One form of one network.

    Attributes:
        form: How it is quantized.
        bits: Width of the quantized values, 32 where nothing is.
        precision: What it must run in.
        targets: Runtimes it is meant for.
        status: Whether it is in the bundle.
        reason: Why it has that status.
        file: Where the graph is; absent unless shipped.
        size_bytes: Size of the graph.
        tolerance: For each output, the largest difference from the expected output that a
            known answer may show, in the output's unit.
        worst_difference: For each output, the worst difference seen at export.
        parity: What the parity cases showed, one entry a runtime and tier.
        quantization: How it was made (facts, for the record).
    """

    form: Form
    bits: Literal[32, 16, 8]
    precision: Literal["fp32", "fp16", "bf16", "int8"]
    targets: tuple[Name, ...]
    status: Status
    reason: Text
    file: FilePath | None = None
    size_bytes: PositiveInt
    tolerance: dict[str, NonNegativeFloat] = {}
    worst_difference: dict[str, NonNegativeFloat] = {}
    parity: tuple[ParityRecord, ...] = ()
    quantization: dict[str, str | int | float | bool] = {}

    @model_validator(mode="after")
    def _shipped_has_file(self) -> Self:
        if (self.status == "shipped") != (self.file is not None):
            raise ValueError("file belongs to a shipped variant, and to it alone")
        return self


class NetworkRecord(Strict):
    """One network of the bundle and its variants, by id."""

    architecture: Name
    parameters: dict[str, int | float | str | bool]
    opset: PositiveInt
    source: dict[str, str]
    variants: Annotated[dict[Name, Variant], Field(min_length=1)]


class KnownAnswer(Strict):
    """One input with what the reference gave at each stage.

    Attributes:
        id: Stable name inside the bundle.
        origin: Whether it came from the cases or from phantoms.
        truth: Its label where the cases said it.
        input: Uncompressed Explicit Little Endian DICOM.
        frame_number: Which frame, 1-based.
        roi: Region of interest that the operator gave, x0, y0, x1, y1 in pixels of the stored
            frame; None where the task takes none or none was given.
        frame: The decoded frame, `.npy`.
        tensors: For each role, the preprocessed tensor made with the named library, `.npy`.
        outputs: For each role and output, what the source framework gave in FP32, `.npy`.
        variant_outputs: For each role, quantized variant and output, what that graph gave on the
            reference tensor in ONNX Runtime with optimisations off, `.npy`.
        probabilities: Decoded from the reference's outputs.
        label: Decided from them.
    """

    id: Name
    origin: Literal["case", "phantom"]
    truth: str | None = None
    input: FilePath
    frame_number: PositiveInt
    roi: tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat] | None = None
    frame: FilePath
    tensors: dict[Name, FilePath]
    outputs: dict[Name, dict[str, FilePath]]
    variant_outputs: dict[Name, dict[Name, dict[str, FilePath]]] = {}
    probabilities: dict[str, float]
    label: str


class DecisionProbe(Strict):
    """Probabilities beside a boundary of the decision, and what must be decided of them.

    Known answers keep away from every boundary, so none of them tells where it is.

    Attributes:
        id: Stable name inside the bundle.
        where: On which side of which boundary, in words.
        probabilities: Label to probability, 0..1; a label that is absent has 0.
        label: What is decided; None where it is indeterminate.
    """

    id: Name
    where: Text
    probabilities: Annotated[
        dict[str, Annotated[float, Field(ge=0.0, le=1.0)]], Field(min_length=1, max_length=64)
    ]
    label: str | None = None


class Manifest(Strict):
    """Everything that a bundle says of itself.

    Attributes:
        kind: Always `medsdk-bundle`.
        name: The task's id with `/` as `-`.
        version: The task's version.
        purpose: Of the bundle; a `benchmark` loads only under `explore`.
        notice: What every output repeats.
        task: The whole task.
        networks: One record a role (ensembles spelled out).
        known_answers: Run on every load.
        decision_probes: What the rule decides beside its boundaries, checked on every load; empty
            in a bundle of a release that had none. An optional key: `optional` lists it.
        provenance: Versions, digests of sources and of the calibration set, times.
        files: Every file but the manifest, its digest and signatures.
        change_envelope: What a successor may change, and how that is judged; None where nobody
            said. It stands under `optional`, since older readers do not know it.
    """

    format_version: FormatVersion
    kind: Literal["medsdk-bundle"]
    name: Name
    version: Semver
    purpose: Literal["reference", "clinical", "benchmark"]
    notice: Text
    task: Task
    networks: Annotated[dict[Name, NetworkRecord], Field(min_length=1)]
    known_answers: Annotated[tuple[KnownAnswer, ...], Field(min_length=1, max_length=4096)]
    decision_probes: Annotated[tuple[DecisionProbe, ...], Field(max_length=4096)] = ()
    provenance: dict[str, str | int | float | bool | dict[str, str | int | float | None] | None]
    files: dict[FilePath, FileRecord]
    change_envelope: ChangeEnvelope | None = None
    optional: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.change_envelope is not None and "change_envelope" not in self.optional:
            raise ValueError("change_envelope must be listed under optional")
        if set(self.networks) != set(self.task.roles):
            raise ValueError(
                f"networks has {sorted(self.networks)}, the task needs {sorted(self.task.roles)}"
            )
        for path in self.referenced_files():
            if path not in self.files:
                raise ValueError(f"{path!r} is used but not listed in files")
        if len({answer.id for answer in self.known_answers}) != len(self.known_answers):
            raise ValueError("two known answers share an id")
        for answer in self.known_answers:
            self._check_answer(answer)
        self._check_probes()
        self._check_declared()
        self._check_tolerances()
        return self

    def _check_declared(self) -> None:
        """A bundle that speaks of a protocol anywhere has all that was exported with one.

        Those of earlier releases speak of none.
        """
        there = {PROTOCOL: PROTOCOL in self.files, PARITY: PARITY in self.files}
        there["provenance.gates_sha256"] = "gates_sha256" in self.provenance
        if not any(there.values()):
            return
        if isinstance(self.task.decision.rule, (ThresholdRule, ArgmaxRule)):
            there["decision_probes"] = bool(self.decision_probes)
        missing = ", ".join(name for name, found in there.items() if not found)
        if missing:
            raise ValueError(f"{missing} is missing: it was judged by a protocol, and has all four")

    def _check_tolerances(self) -> None:
        """No known answer may differ by more than the task's gates allow."""
        gates = self.task.gates
        described = {one: role for role in self.task.networks for one in self.task.members_of(role)}
        for role, network in self.networks.items():
            for name, variant in network.variants.items():
                limits = gates.max_output_difference.get(variant.form, {})
                for output, tolerance in variant.tolerance.items():
                    cap = limits.get(f"{described[role]}.{output}", gates.fp32.atol)
                    if tolerance > cap:
                        raise ValueError(
                            f"{name} of {role!r}: the tolerance of output {output!r} is "
                            f"{tolerance:g}, the task allows {cap:g}"
                        )

    def _check_probes(self) -> None:
        """A probe speaks of labels that the rule's network has."""
        if len({probe.id for probe in self.decision_probes}) != len(self.decision_probes):
            raise ValueError("two decision probes share an id")
        for probe in self.decision_probes:
            decode = self.task.networks[self.task.decision.rule.role].decode
            labels = getattr(decode, "labels", ())
            unknown = probe.probabilities.keys() - set(labels)
            if unknown or not (probe.label is None or probe.label in labels):
                raise ValueError(f"decision probe {probe.id!r}: an unknown label")

    def _check_answer(self, answer: KnownAnswer) -> None:
        """A known answer has every stage of every network, and of every quantized variant."""
        for role in self.task.roles:
            network = self.task.network_of(role)
            names = {output.name for output in network.outputs}
            kept = answer.variant_outputs.get(role, {})
            needed = {
                name
                for name, variant in self.networks[role].variants.items()
                if variant.status == "shipped" and variant.form != "float"
            }
            for what, have, want in (
                ("tensors", answer.tensors.keys() & {role}, {role}),
                (f"outputs.{role}", answer.outputs.get(role, {}).keys(), names),
                (f"variant_outputs.{role}", kept.keys() & needed, needed),
                *((f"variant_outputs.{role}.{n}", kept.get(n, {}).keys(), names) for n in needed),
            ):
                if set(have) != set(want):
                    raise ValueError(
                        f"known answer {answer.id!r}: {what} has {sorted(have)}, needed "
                        f"{sorted(want)}"
                    )
            decode = network.decode
            if decode.kind == "classification":
                if set(answer.probabilities) != set(decode.labels):
                    raise ValueError(f"known answer {answer.id!r}: probabilities of other labels")
                if answer.label not in decode.labels:
                    raise ValueError(f"known answer {answer.id!r}: an unknown label")

    def referenced_files(self) -> list[str]:
        """Paths that the networks and known answers name."""
        paths = [
            variant.file
            for network in self.networks.values()
            for variant in network.variants.values()
            if variant.file is not None
        ]
        for answer in self.known_answers:
            paths += [answer.input, answer.frame, *answer.tensors.values()]
            for outputs in answer.outputs.values():
                paths += outputs.values()
            for variants in answer.variant_outputs.values():
                for outputs in variants.values():
                    paths += outputs.values()
        return paths
