"""The JSON documents that other programs rely on; their schemas are in `docs/schemas/`.

Every document has `format_version`. Keys are only ever added within a major version; which sets
of values are closed, `docs/json.md` says.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, WithJsonSchema

from medsdk.bundle.manifest import ParityRecord, Status, Verdict
from medsdk.parity.protocol import Requirement
from medsdk.tasks.strict import FORMAT_VERSION, FormatVersion, Strict

Probability = Annotated[float, Field(ge=0.0, le=1.0)]

PlanSource = Annotated[
    Literal["default", "pinned"],
    # Later releases choose in more ways, so a program must not rely on these being all.
    WithJsonSchema({"type": "string", "examples": ["default", "pinned"]}),
]


class Document(Strict):
    """What all documents share."""

    # What has a default is printed all the same, so a schema may promise it.
    model_config = ConfigDict(json_schema_serialization_defaults_required=True)

    format_version: FormatVersion = FORMAT_VERSION


class BundleIdentity(Strict):
    """Which bundle."""

    name: str
    version: str
    sha256: str


class NetworkChoice(Strict):
    """Which variant of a network, and the precision that was read from the executed graph."""

    variant: str
    precision: str


class SettingsDocument(Strict):
    """The settings of a candidate."""

    threads: int
    isa: str


class CandidateDocument(Strict):
    """One candidate's verdict."""

    runtime: str
    device: str
    networks: dict[str, NetworkChoice]
    settings: SettingsDocument
    verdict: Verdict
    reasons: tuple[str, ...]
    cases: int
    flips: int
    max_abs_error: float | None


class VerifyDocument(Document):
    """`medsdk verify --json`."""

    verdict: Verdict
    reasons: tuple[str, ...]
    bundle: BundleIdentity
    candidates: tuple[CandidateDocument, ...]
    absent_runtimes: tuple[str, ...]
    machine_sha256: str


class FindingDocument(Strict):
    """One finding."""

    kind: str
    input_index: int
    source_uid: str
    frame_number: int
    label: str | None
    probabilities: dict[str, Probability]
    status: Literal["ok", "indeterminate", "no-result"]
    reason: str
    affine: tuple[float, float, float, float, float, float]
    region: tuple[float, float, float, float]
    decoder: str | None


class ErrorFacts(Strict):
    """An error: what, got, expected, remedy."""

    code: str
    what: str
    got: str
    expected: str
    remedy: str
    exit_status: int


class RefusedInput(Strict):
    """An input of `run`, or one frame of it, without a finding."""

    input_index: int
    frame_number: int | None = None
    error: ErrorFacts


class EffectiveDocument(Strict):
    """What a runtime really uses for one network."""

    runtime: str
    runtime_version: str
    device: str
    variant: str
    precision: str
    threads: int
    isa: str
    evidence: str


class PlanDocument(Strict):
    """What runs, where, and why."""

    source: PlanSource
    reason: str
    runtime: str
    device: str
    networks: dict[str, EffectiveDocument]
    known_answers_checked: int


class ProvenanceDocument(Strict):
    """Where the findings come from."""

    task: dict[str, str]
    thresholds: dict[str, float]
    preprocessing: dict[str, dict[str, str]]
    medsdk: str
    created: str


class RunDocument(Document):
    """`medsdk run --json` and `findings.json`."""

    notice: str
    bundle: BundleIdentity
    plan: PlanDocument
    provenance: ProvenanceDocument
    findings: tuple[FindingDocument, ...]
    refused: tuple[RefusedInput, ...]


class VariantDocument(Strict):
    """One variant of an export."""

    status: Status
    reason: str
    size_bytes: int
    parity: tuple[ParityRecord, ...]


class ExportDocument(Document):
    """`medsdk export --json`."""

    notice: str
    bundle: BundleIdentity
    variants: dict[str, dict[str, VariantDocument]]
    known_answers: int
    verification: Verdict
    requirements: tuple[Requirement, ...]


class PackDocument(Document):
    """`medsdk pack --json` and `medsdk unpack --json`."""

    notice: str
    bundle: BundleIdentity
    form: Literal["file", "directory"]
    files: int
    size_bytes: int


class TensorDocument(Strict):
    """An input or output of a source; an axis that is free or not known is None."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


class ArchitectureDocument(Strict):
    """An architecture of the catalogue whose weights have the shapes of a source's."""

    name: str
    parameters: dict[str, int | float | str | bool]


class ExplainDocument(Document):
    """`medsdk export --explain --json`."""

    format: str
    framework: str
    written_by: str
    sha256: str
    size_bytes: int
    weights: int
    weight_bytes: int
    layers: dict[str, int]
    inputs: tuple[TensorDocument, ...]
    outputs: tuple[TensorDocument, ...]
    layout: str
    batch: str
    opset: int | None
    activation: str
    architectures: tuple[ArchitectureDocument, ...]
    obstacles: tuple[ErrorFacts, ...]
    task_snippet: str


class InspectDocument(Document):
    """`medsdk inspect --json`."""

    notice: str
    bundle: BundleIdentity
    task: dict[str, str]
    purpose: str
    variants: dict[str, dict[str, VariantDocument]]
    known_answers: int
    files: int
    size_bytes: int
    provenance: dict[str, str | int | float | bool | dict[str, str | int | float | None] | None]
    gates: dict[str, float | str]
    gates_sha256: str
    requirements: tuple[Requirement, ...]
    declared: str | None
    undeclared: tuple[str, ...]


class LatencyDocument(Strict):
    """Latency of `predict` on decoded frames, in milliseconds.

    Attributes:
        runs: n.
        p50_ms: Median.
        p99_ms: Upper estimate of the 99th percentile by LoadGen's rule; None where n is too
            small for one.
        p99_runs_needed: n from which on a p99 is conclusive.
        max_ms: Slowest run.
    """

    runs: int
    p50_ms: float
    p99_ms: float | None
    p99_runs_needed: int
    max_ms: float


class BenchDocument(Document):
    """`medsdk bench --json`."""

    notice: str
    verdict: Verdict
    reasons: tuple[str, ...]
    bundle: BundleIdentity
    plan: PlanDocument
    parity: CandidateDocument
    latency: LatencyDocument
    p99_limit_ms: float | None
    memory_peak_bytes: int
    machine: dict[str, str | int | float | dict[str, str]]
    machine_sha256: str


class TaskRow(Strict):
    """One task of the catalogue."""

    id: str
    version: str
    title: str
    modalities: tuple[str, ...]
    networks: tuple[str, ...]
    notice: str


class TasksDocument(Document):
    """`medsdk tasks --json`."""

    tasks: tuple[TaskRow, ...]


class DeviceDocument(Strict):
    """One device of a runtime."""

    name: str
    description: str


class RuntimeDocument(Strict):
    """One runtime, as `doctor` found it."""

    name: str
    available: bool
    version: str
    reason: str
    extra: str
    devices: tuple[DeviceDocument, ...]
    computed: str


class DoctorDocument(Document):
    """`medsdk doctor --json`."""

    medsdk: str
    machine: dict[str, str | int | float | dict[str, str]]
    machine_sha256: str
    thread_budget: int
    runtimes: tuple[RuntimeDocument, ...]
    resize_kernels: dict[str, str]
    problems: tuple[str, ...]


class DemoClip(Strict):
    """The demo's second bundle, on a real ultrasound clip."""

    notice: str
    bundle: BundleIdentity
    verdict: Verdict
    variants: dict[str, dict[str, VariantDocument]]
    source: str
    roi: tuple[float, float, float, float]
    findings: int


class DemoDocument(Document):
    """`medsdk demo --json`."""

    notice: str
    bundle: BundleIdentity
    verdict: Verdict
    variants: dict[str, dict[str, VariantDocument]]
    findings: int
    refused_modality: ErrorFacts
    clip: DemoClip
    files: tuple[str, ...]


class ConformanceItem(Strict):
    """One rule or numeric case of the runtime contract, and what came of it."""

    id: str
    kind: Literal["check", "case"]
    capability: str | None
    asks: str
    verdict: Verdict
    detail: str
    seconds: float


class ConformanceDocument(Document):
    """`medsdk conformance --json`."""

    verdict: Verdict
    runtime: str
    runtime_version: str
    device: str
    capabilities: tuple[str, ...]
    exceptions: tuple[str, ...]
    items: tuple[ConformanceItem, ...]
    medsdk: str
    machine_sha256: str


class DeviceDemoDocument(Document):
    """`medsdk demo --device-only --json`."""

    notice: str
    verdict: Verdict
    bundle: BundleIdentity
    candidates: tuple[CandidateDocument, ...]
    absent_runtimes: tuple[str, ...]
    plan: PlanDocument
    roi: tuple[float, float, float, float]
    truth: str
    findings: int
    latency: LatencyDocument
    files: tuple[str, ...]


class ErrorDocument(Document):
    """What any command prints with `--json` when it fails."""

    error: ErrorFacts
