"""OpenVINO on the CPU.

Its defaults are not ours: on a processor with bfloat16 it runs float32 graphs in bfloat16, and a
hint that was set can still read back as `dynamic`. So the precision is read from every layer of
the compiled graph. A compiled model that several threads call returns wrong values, so every call
has an infer request of its own. With one inference thread the synchronous `infer()` of 2026.4.1
swallows an error and leaves the results of the call before, so every call is asynchronous and
waited for, which does raise and costs nothing measurable. It computes 64-bit integers in 32 bits
and float64 in float32 without a word: values and graphs that this would change are refused.

A graph with a dynamic batch is compiled twice: for a batch of 1 when it is opened, with the
dynamic axes as they are when another batch first comes. The dynamic form costs 8 to 13 % at
batch 1 (a MobileNetV2 at 224: INT8 3.26 against 3.02 ms on one thread, 2.22 against 1.96 on two;
FP32 7.74 against 7.15 and 4.41 against 4.04) and 2 to 4 % at batch 8. Both forms share the
graph's weights. What `open` raises for the one, the first `run` of the other can raise too.
"""

from __future__ import annotations

import os
import threading
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np

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
    TensorSpec,
)
from medsdk_runtimes.errors import (
    GraphRefusedError,
    InferenceFailedError,
    SessionClosedError,
    SettingRefusedError,
)
from medsdk_runtimes.graph import GraphFacts
from medsdk_runtimes.machine import sums_bytes_exactly
from medsdk_runtimes.operating_system import cpu_flags

# openvino ships no types that mypy reads; the names say what is meant.
_Module: TypeAlias = Any
_Core: TypeAlias = Any
_Model: TypeAlias = Any
_Compiled: TypeAlias = Any
_Request: TypeAlias = Any
_Port: TypeAlias = Any

NAME: Final = "openvino"
ISA_VARIABLE: Final = "ONEDNN_MAX_CPU_ISA"
"""Environment variable by which oneDNN, inside OpenVINO, is held to an older instruction set."""

_HINTS: Final[Mapping[Precision, str]] = {
    "fp32": "f32",
    "int8": "f32",
    "fp16": "f16",
    "bf16": "bf16",
}
# Layers of the compiled graph that carry the arithmetic, in OpenVINO's words. Only they tell the
# instruction set as well: reductions take AVX-512 even where oneDNN is held to AVX2.
_LAYERS: Final = frozenset(
    {"Convolution", "Deconvolution", "FullyConnected", "MatMul", "GroupConvolution"}
)
_NO_ARITHMETIC: Final = frozenset({"Const", "Input", "Output", "Parameter", "Result", "Constant"})
_LOW: Final = frozenset({"bf16", "f16"})
_INTEGER: Final = frozenset({"u8", "i8"})
_WIDE: Final = frozenset({"int64", "uint64", "uint32"})
# As they stand in `primitiveType`, best first.
_ISA_TOKENS: Final = ("amx", "avx512", "avx2", "avx", "sse42", "sve", "asimd", "acl")


class OpenVino:
    """The runtime `openvino`; see `medsdk_runtimes.contract.Runtime`."""

    @property
    def name(self) -> str:
        """Stable name."""
        return NAME

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What the conformance tests may ask of it."""
        # Held to an older instruction set it may compute as an older processor does.
        exact = sums_bytes_exactly(cpu_flags()) and ISA_VARIABLE not in os.environ
        return frozenset(CAPABILITIES) - {"optimise-off", *(() if exact else ("int8-full-range",))}

    def availability(self) -> Availability:
        """Whether openvino imports."""
        return _opening.look("openvino", NAME)

    def devices(self) -> tuple[Device, ...]:
        """`CPU`: nothing else was tested."""
        core = _opening.load(NAME, "openvino", NAME).Core()
        return tuple(
            Device(device, str(core.get_property(device, "FULL_DEVICE_NAME")))
            for device in core.available_devices
            if device == "CPU"
        )

    def open(self, onnx: bytes, settings: Settings) -> Session:
        """Open a graph; see `Runtime.open`."""
        ov = _opening.load(NAME, "openvino", NAME)
        facts = _opening.admit(NAME, onnx, settings, self.devices)
        if not settings.optimise:
            raise SettingRefusedError(
                "OpenVINO cannot run a graph without its optimisations",
                got="optimise=False",
                expected="optimise=True",
                remedy="take onnxruntime for a reference run",
            )
        edges = {spec.dtype for spec in (*facts.inputs, *facts.outputs)}
        if "float64" in edges | facts.tensor_types:
            raise GraphRefusedError(
                "OpenVINO would compute this graph's float64 in float32",
                got="float64",
                expected="float32",
                remedy="export the graph in float32, or take onnxruntime",
            )
        compiler = _Compiler(ov, onnx, facts, settings)
        return _OvSession(compiler, facts)


@dataclass(frozen=True)
class _Reading:
    precision: Precision
    isa: str
    operators: dict[str, int]
    evidence: str


class _Compiler:
    """Compiles one graph in the forms that calls need."""

    def __init__(self, ov: _Module, onnx: bytes, facts: GraphFacts, settings: Settings) -> None:
        self._core: _Core = ov.Core()
        self._settings = settings
        self._facts = facts
        self.version = _opening.release(str(ov.__version__))
        try:
            self._model = self._core.read_model(onnx)
        except Exception as error:  # noqa: BLE001 - the library raises RuntimeError and others
            raise _refused(error) from None
        self.inputs = _indices("input", facts.inputs, self._model.inputs)
        self.outputs = _indices("output", facts.outputs, self._model.outputs)

    def single(self) -> tuple[_Compiled, _Reading] | None:
        """The form for a batch of 1; None where the batch is not what is dynamic."""
        if not _only_batch_is_dynamic(self._facts.inputs):
            return None
        model = self._model.clone()  # shares the weights
        shapes = {self.inputs[spec.name]: [1, *spec.shape[1:]] for spec in self._facts.inputs}
        try:
            model.reshape(shapes)
        except RuntimeError:
            return None  # a graph that is not made for a batch of 1
        return self._compile(model)

    def general(self) -> tuple[_Compiled, _Reading]:
        """The form with the axes that the graph has."""
        return self._compile(self._model)

    def _compile(self, model: _Model) -> tuple[_Compiled, _Reading]:
        settings = self._settings
        options = {
            "INFERENCE_PRECISION_HINT": _HINTS[settings.precision],
            "INFERENCE_NUM_THREADS": settings.threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
        }
        try:
            compiled = self._core.compile_model(model, settings.device, options)
        except Exception as error:  # noqa: BLE001 - the library raises RuntimeError and others
            raise _refused(error) from None
        threads = compiled.get_property("INFERENCE_NUM_THREADS")
        if threads != settings.threads:
            raise SettingRefusedError(
                "OpenVINO does not take that number of threads",
                got=f"{settings.threads} threads",
                expected=f"{threads}, which is what it would use",
                remedy="ask for no more threads than this process has cores",
            )
        reading = _read(compiled, self._facts)
        _opening.require_precision(NAME, settings.precision, reading.precision, reading.evidence)
        return compiled, reading

    def effective(self, compiled: _Compiled, reading: _Reading) -> Effective:
        """What the first form that was compiled really uses."""
        return Effective(
            runtime=NAME,
            version=self.version,
            device=",".join(compiled.get_property("EXECUTION_DEVICES")),
            precision=reading.precision,
            threads=compiled.get_property("INFERENCE_NUM_THREADS"),
            isa=reading.isa,
            operators=reading.operators,
            evidence=reading.evidence,
        )


class _OvSession(Session):
    def __init__(self, compiler: _Compiler, facts: GraphFacts) -> None:
        single = compiler.single()
        first = single or compiler.general()
        super().__init__(facts.inputs, facts.outputs, compiler.effective(*first))
        self._compiler: _Compiler | None = compiler
        self._input_indices = compiler.inputs
        self._output_indices = compiler.outputs
        self._wide = [spec.name for spec in facts.inputs if spec.dtype in _WIDE]
        self._single = None if single is None else _Requests(single[0])
        self._general = _Requests(first[0]) if single is None else None
        self._lock = threading.Lock()

    def _run(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        for name in self._wide:
            _refuse_wide(name, tensors[name])
        requests = self._requests(tensors)
        request = requests.take()
        feed = {self._input_indices[name]: array for name, array in tensors.items()}
        try:
            # The inputs are read where they lie; they outlive the call, which is all it takes.
            request.start_async(feed, share_inputs=True)
            request.wait()
            results = {
                name: np.array(request.get_output_tensor(index).data, order="C")
                for name, index in self._output_indices.items()
            }
        except Exception as error:  # noqa: BLE001 - the library raises RuntimeError and others
            self._drop(requests)
            raise InferenceFailedError(
                "OpenVINO failed while it ran the graph", got=_opening.library_words(error)
            ) from None
        if requests.failed:  # in another thread, while this call ran
            return self._run(tensors)
        requests.give_back(request)
        return results

    def _drop(self, failed: _Requests) -> None:
        """Compile a form again after one of its requests failed.

        OpenVINO 2026.4.1 gives wrong values, without an error, from every later request of a
        compiled model of which one request has failed.
        """
        failed.failed = True
        with self._lock:
            compiler = self._compiler
            if compiler is None:
                return
            if self._single is failed:
                again = compiler.single()
                self._single = None if again is None else _Requests(again[0])
            if self._general is failed:
                self._general = None

    def _requests(self, tensors: Mapping[str, Array]) -> _Requests:
        """The requests of the form that fits these shapes; compiles it the first time."""
        single, general, compiler = self._single, self._general, self._compiler
        if compiler is None:
            raise SessionClosedError("the session was closed while this call came in")
        if single is not None and all(array.shape[0] == 1 for array in tensors.values()):
            return single
        if general is not None:
            return general
        with self._lock:
            if self._general is None:
                self._general = _Requests(compiler.general()[0])
            return self._general

    def _close(self) -> None:
        with self._lock:
            self._single = self._general = self._compiler = None


class _Requests:
    """Infer requests of one compiled model; each serves one call at a time."""

    def __init__(self, compiled: _Compiled) -> None:
        self._compiled = compiled
        self._idle: deque[_Request] = deque()
        self._lock = threading.Lock()
        self.failed = False

    def take(self) -> _Request:
        """An idle request, or a new one: as many come to be as calls run at once."""
        with self._lock:
            return self._idle.pop() if self._idle else self._compiled.create_infer_request()

    def give_back(self, request: _Request) -> None:
        """Make a request idle after its call."""
        with self._lock:
            self._idle.append(request)


def _refuse_wide(name: str, array: Array) -> None:
    """Integers are computed in 32 bits; a value that needs more would become another one."""
    info = np.iinfo(np.int32)
    if array.size and not (info.min <= int(array.min()) and int(array.max()) <= info.max):
        raise InferenceFailedError(
            f"OpenVINO computes the integers of input {name!r} in 32 bits",
            got="values that need more",
            expected=f"{info.min} to {info.max}",
            remedy="take onnxruntime for this graph",
        )


def _only_batch_is_dynamic(inputs: tuple[TensorSpec, ...]) -> bool:
    return bool(inputs) and all(
        spec.shape and spec.shape[0] is None and None not in spec.shape[1:] for spec in inputs
    )


def _indices(kind: str, specs: tuple[TensorSpec, ...], ports: list[_Port]) -> dict[str, int]:
    """Position of each tensor; a port may have several names."""
    if len(ports) != len(specs):
        _opening.same_names(kind, specs, [port.get_any_name() for port in ports])
    found = {}
    for spec in specs:
        matches = [number for number, port in enumerate(ports) if spec.name in port.get_names()]
        if len(matches) != 1:
            _opening.same_names(kind, specs, [port.get_any_name() for port in ports])
        found[spec.name] = matches[0]
    return found


def _read(compiled: _Compiled, facts: GraphFacts) -> _Reading:
    """The precision and the instruction set of every layer of the compiled graph."""
    layers: list[tuple[str, str, str]] = []
    for node in compiled.get_runtime_model().get_ordered_ops():
        info = node.get_rt_info()
        kind, precision, primitive = (
            str(info[key].value) if key in info else ""
            for key in ("layerType", "runtimePrecision", "primitiveType")
        )
        if kind not in _NO_ARITHMETIC:
            layers.append((kind, precision, primitive))
    carrying = [layer for layer in layers if layer[0] in _LAYERS]
    counts = Counter(precision for _, precision, _ in layers)
    low = sorted(_LOW & counts.keys())
    judged = Counter(precision for _, precision, _ in carrying or layers)
    # Without quantization u8 is what OpenVINO makes of bool, and of bytes at the edges.
    integer = sum(judged[name] for name in _INTEGER) if facts.has_quantization else 0
    found: Precision = "int8" if integer else "fp32"
    if low:
        found = "bf16" if "bf16" in low else "fp16"
    evidence = (
        f"read from runtimePrecision of {len(layers)} layers: {integer} of {sum(judged.values())} "
        f"layers that carry the arithmetic in 8-bit integers, where the graph quantizes "
        f"{facts.quantized_layers}; {sum(counts[name] for name in low)} in 16 bits"
    )
    limit = os.environ.get(ISA_VARIABLE)
    if limit:
        evidence += f"; {ISA_VARIABLE}={limit[:32]}"
    return _Reading(found, _isa(carrying or layers), dict(counts), evidence)


def _isa(layers: list[tuple[str, str, str]]) -> str:
    """Instruction sets of the layers, best first; several joined by a plus sign."""
    seen = {_isa_token(primitive) for _, _, primitive in layers}
    return "+".join(token for token in _ISA_TOKENS if token in seen)


def _isa_token(primitive: str) -> str:
    return next((token for token in _ISA_TOKENS if token in primitive), "")


def _refused(error: Exception) -> GraphRefusedError:
    return GraphRefusedError(
        "OpenVINO does not open this graph",
        got=_opening.library_words(error),
        expected="operators and types that this build of OpenVINO has",
        remedy="export the graph again, or take another runtime",
    )
