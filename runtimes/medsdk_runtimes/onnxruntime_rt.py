"""ONNX Runtime, on the CPU and, where its build has it, on CUDA."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from medsdk_runtimes import _opening
from medsdk_runtimes.contract import (
    CAPABILITIES,
    Array,
    Availability,
    Capability,
    Device,
    Effective,
    Precision,
    Session,
    Settings,
)
from medsdk_runtimes.errors import (
    DeviceUnavailableError,
    GraphRefusedError,
    InferenceFailedError,
    SessionClosedError,
    SettingRefusedError,
)
from medsdk_runtimes.graph import INTEGER_LAYERS, LAYERS, GraphFacts, GraphLimits, scan
from medsdk_runtimes.machine import sums_bytes_exactly
from medsdk_runtimes.operating_system import cpu_flags

# onnxruntime ships no types that mypy reads; the names say what is meant.
_Module: TypeAlias = Any
_Inference: TypeAlias = Any

NAME: Final = "onnxruntime"

_PROVIDERS: Final[Mapping[str, tuple[str, Mapping[str, str]]]] = {
    "CPU": ("CPUExecutionProvider", {}),
    # TF32 is on by default: float32 products with 10 bits of mantissa.
    "CUDA:0": ("CUDAExecutionProvider", {"device_id": "0", "use_tf32": "0"}),
}

# ONNX Runtime's own words for what it makes of layers when it fuses or re-lays them.
_FLOAT_LAYERS: Final = LAYERS | {"FusedConv", "FusedGemm", "FusedMatMul"}

# Every domain that ONNX Runtime 1.31 imports into a graph it writes, used or not.
_WRITTEN: Final = GraphLimits(
    domains=frozenset(
        {
            *("", "ai.onnx", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview"),
            *("ai.onnx.preview.training", "org.pytorch.aten", "com.microsoft"),
            *("com.microsoft.nchwc", "com.microsoft.experimental", "com.ms.internal.nhwc"),
        }
    )
)
# What fails is raised; the library's own lines on standard error would only repeat it.
_FATAL_ONLY: Final = 4


class OnnxRuntime:
    """The runtime `onnxruntime`; see `medsdk_runtimes.contract.Runtime`."""

    @property
    def name(self) -> str:
        """Stable name."""
        return NAME

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What the conformance tests may ask of it."""
        exact = sums_bytes_exactly(cpu_flags())
        return frozenset(CAPABILITIES) - (frozenset() if exact else {"int8-full-range"})

    def availability(self) -> Availability:
        """Whether onnxruntime imports."""
        return _opening.look("onnxruntime", NAME)

    def devices(self) -> tuple[Device, ...]:
        """`CPU`, and `CUDA:0` where the installed build has CUDA."""
        listed = _library().get_available_providers()
        return tuple(
            Device(name, provider)
            for name, (provider, _) in _PROVIDERS.items()
            if provider in listed
        )

    def open(self, onnx: bytes, settings: Settings) -> Session:
        """Open a graph; see `Runtime.open`."""
        ort = _library()
        facts = _opening.admit(NAME, onnx, settings, self.devices)
        if settings.device == "CPU" and settings.precision in {"fp16", "bf16"}:
            raise SettingRefusedError(
                "ONNX Runtime does not compute in 16 bits on this device",
                got=settings.precision,
                expected="fp32 or int8",
                remedy="its CPU provider casts 16-bit graphs to float32 and back",
            )
        wants_to_read = settings.optimise and facts.has_quantization
        session, executed = _load(ort, onnx, settings, wants_to_read)
        reading = _read(facts, executed, settings, wants_to_read)
        _opening.require_precision(NAME, settings.precision, reading.precision, reading.evidence)
        for kind, specs, found in (
            ("input", facts.inputs, session.get_inputs()),
            ("output", facts.outputs, session.get_outputs()),
        ):
            _opening.same_names(kind, specs, [item.name for item in found])
        effective = Effective(
            runtime=NAME,
            version=ort.__version__,
            device=settings.device,
            precision=reading.precision,
            threads=session.get_session_options().intra_op_num_threads,
            operators=reading.operators,
            evidence=f"{reading.evidence}; providers {', '.join(session.get_providers())}",
        )
        return _OrtSession(session, facts, effective)


class _OrtSession(Session):
    def __init__(self, session: _Inference, facts: GraphFacts, effective: Effective) -> None:
        super().__init__(facts.inputs, facts.outputs, effective)
        self._session: _Inference | None = session
        self._names = [spec.name for spec in facts.outputs]

    def _run(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        session = self._session  # kept alive by this name while another thread closes
        if session is None:
            raise SessionClosedError("the session was closed while this call came in")
        try:
            results = session.run(self._names, dict(tensors))
        except Exception as error:  # noqa: BLE001 - the library raises many types of its own
            raise InferenceFailedError(
                "ONNX Runtime failed while it ran the graph", got=_opening.library_words(error)
            ) from None
        # Each array is the only holder of memory that ONNX Runtime allocated for this call; the
        # conformance tests prove it, with outputs that are constants or inputs too.
        return dict(zip(self._names, results, strict=True))

    def _close(self) -> None:
        self._session = None


@dataclass(frozen=True)
class _Reading:
    precision: Precision
    operators: dict[str, int]
    evidence: str


def _library() -> _Module:
    ort = _opening.load(NAME, "onnxruntime", NAME)
    # Beside ORT_DISABLE_TELEMETRY, for an application that imported the library first.
    ort.disable_telemetry_events()
    return ort


def _load(
    ort: _Module,
    onnx: bytes,
    settings: Settings,
    wants_to_read: bool,
) -> tuple[_Inference, GraphFacts | None]:
    """A session and, where wanted and possible, the facts of the graph it executes."""
    if wants_to_read:
        try:
            with tempfile.TemporaryDirectory(
                prefix="medsdk-", ignore_cleanup_errors=True
            ) as folder:
                return _load_and_read(ort, onnx, settings, Path(folder) / "executed.onnx")
        except OSError:
            pass  # no place to write: `_read` says so in the evidence
    return _session(ort, onnx, settings, None), None


def _load_and_read(
    ort: _Module,
    onnx: bytes,
    settings: Settings,
    file: Path,
) -> tuple[_Inference, GraphFacts | None]:
    try:
        session = _session(ort, onnx, settings, file)
        return session, scan(file.read_bytes(), _WRITTEN)
    except GraphRefusedError:
        # A full disk and a bad graph look alike here. A bad graph is refused again below.
        return _session(ort, onnx, settings, None), None


def _session(
    ort: _Module,
    onnx: bytes,
    settings: Settings,
    executed: Path | None,
) -> _Inference:
    options = ort.SessionOptions()
    options.intra_op_num_threads = settings.threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = _FATAL_ONLY
    # Sessions in series that spin steal each other's cores.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if not settings.optimise:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    if executed is not None:
        options.optimized_model_filepath = str(executed)
    wanted, provider_options = _PROVIDERS[settings.device]
    try:
        session = ort.InferenceSession(
            onnx,
            options,
            providers=[(wanted, dict(provider_options))],
            # Both on by default or by environment: a quiet CPU, options out of the model.
            enable_fallback=0,
            read_config_from_model=0,
        )
    except Exception as error:  # noqa: BLE001 - the library raises many types of its own
        raise GraphRefusedError(
            "ONNX Runtime does not open this graph",
            got=_opening.library_words(error),
            expected="operators and types that this build of ONNX Runtime has",
            remedy="export the graph again, or take another runtime",
        ) from None
    # ONNX Runtime goes to the CPU without an error where a provider does not load.
    if session.get_providers()[0] != wanted:
        raise DeviceUnavailableError.missing(NAME, settings.device, ("CPU",))
    return session


def _read(
    facts: GraphFacts, executed: GraphFacts | None, settings: Settings, wanted_to_read: bool
) -> _Reading:
    """What precision the graph runs in, and how that is known."""
    if executed is None:
        declared, why = _declared(facts)
        if wanted_to_read:
            why += "; the executed graph could not be written and read back"
        elif facts.has_quantization:
            why += "; optimisation is off, so nothing is fused"
        else:
            why += "; ONNX Runtime converts no floats to another precision here"
        return _Reading(declared, {}, why)
    integer = sum(n for (_, name), n in executed.operators.items() if name in INTEGER_LAYERS)
    floating = sum(n for (_, name), n in executed.operators.items() if name in _FLOAT_LAYERS)
    other = sum(
        n
        for (_, name), n in executed.operators.items()
        if name.startswith("QLinear") and name not in INTEGER_LAYERS
    )
    # A graph without layers (Add alone) is judged by what it has.
    fused = integer if integer or floating else other
    precision: Precision = "int8" if fused else _float_precision(facts)
    counts = {"int8": integer + other, "f32": floating}
    return _Reading(
        precision,
        {key: count for key, count in counts.items() if count},
        f"read from the executed graph: {integer} integer and {floating} float layers, where "
        f"the graph quantizes {facts.quantized_layers}",
    )


def _declared(facts: GraphFacts) -> tuple[Precision, str]:
    if facts.quantized_layers:
        return "int8", f"declared by the graph, which quantizes {facts.quantized_layers} layers"
    return _float_precision(facts), "declared by the element types of the graph"


def _float_precision(facts: GraphFacts) -> Precision:
    if "bfloat16" in facts.tensor_types:
        return "bf16"
    return "fp16" if "float16" in facts.tensor_types else "fp32"
