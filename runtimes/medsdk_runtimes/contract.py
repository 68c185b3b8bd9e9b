"""The contract between medsdk and a runtime.

A runtime is one module with an object that satisfies `Runtime`. Its `open` returns
a `Session`; the base class checks names, dtypes, shapes, lifetime and the process
once, and the runtime overrides `_run` and `_close` only.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, final, get_args, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from medsdk_runtimes.errors import (
    ForkedProcessError,
    OutputMismatchError,
    SessionClosedError,
    TensorMismatchError,
)

Precision = Literal["fp32", "fp16", "bf16", "int8"]
"""What a network as a whole runs in. `int8`: layers that the graph quantizes run in 8-bit
integers and everything else in float32; `Effective.evidence` counts how many do, since a runtime
may leave some of them in float32."""

PRECISIONS: tuple[Precision, ...] = get_args(Precision)
"""Every `Precision`."""

Capability = Literal[
    "fp32",
    "int8",
    "int8-asymmetric",
    "int8-full-range",
    "dynamic-batch",
    "optimise-off",
    "three-axes",
    "resize-linear",
    "integer-edges",
]
"""What a runtime may or may not be able to do:

- `fp32`: execute graphs in float32. Every runtime needs it.
- `int8`: execute symmetrically quantized graphs in 8-bit integers (form B: S8, zero points 0,
  float biases).
- `int8-asymmetric`: the same with zero points (form A: U8 activations, INT32 biases).
- `int8-full-range`: run such graphs exactly where weights have all 8 bits too. Not every processor
  can: AVX2 adds neighbouring products in 16 bits, which saturate.
- `dynamic-batch`: take another batch size at every call.
- `optimise-off`: open a graph with `Settings.optimise` off.
- `three-axes`: convolve and pool over three axes, as networks for clips do.
- `resize-linear`: resize linearly inside the graph.
- `integer-edges`: take and return integers and bool.

A runtime declares the ones it has in an attribute `capabilities`, a set; one that declares nothing
is asked for all. Everything else in this module every runtime must do. What a runtime knows that it
does not keep, it may declare in an attribute `conformance_exceptions`, item to reason
(docs/conformance.md)."""

CAPABILITIES: tuple[Capability, ...] = get_args(Capability)
"""Every `Capability`."""

Array = NDArray[np.generic]


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a graph.

    Attributes:
        name: Name in the graph.
        dtype: numpy name of the dtype, for instance `float32`.
        shape: One entry an axis; None where the axis is dynamic.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class Availability:
    """Whether a runtime can be used on this machine.

    Attributes:
        available: True where its library imports.
        version: Version of the library, empty where it is not here.
        reason: Why it is not available, empty where it is.
        extra: The extra of medsdk that installs it.
    """

    available: bool
    version: str
    reason: str
    extra: str


@dataclass(frozen=True)
class Device:
    """A device that a runtime can open a session on."""

    name: str
    description: str


@dataclass(frozen=True)
class Settings:
    """What is asked of a runtime when it opens a graph.

    Attributes:
        device: Name out of `Runtime.devices()`.
        threads: Worker threads of the session, from the process's thread budget; >= 1.
        precision: What the network is to run in; the session raises
            `PrecisionMismatchError` where the executed graph shows another one.
        optimise: False turns every graph optimisation off (the reference's setting).
    """

    device: str = "CPU"
    threads: int = 1
    precision: Precision = "fp32"
    optimise: bool = True


@dataclass(frozen=True)
class Effective:
    """What a session really uses, read back after loading.

    Attributes:
        runtime: Name of the runtime.
        version: Version of its library.
        device: Device that executes, as the library reports it.
        precision: Read from the executed graph (`evidence` says how).
        threads: Worker threads.
        isa: Instruction-set tier seen in the executed graph, empty where not reported.
        operators: Number of executed operators by execution precision, in the runtime's own
            words, e.g. `{"f32": 40, "u8": 52}`; empty where the graph that is executed cannot
            be read.
        evidence: How `precision` and `device` were read, in one sentence.
    """

    runtime: str
    version: str
    device: str
    precision: Precision
    threads: int
    isa: str = ""
    operators: Mapping[str, int] = field(default_factory=dict)
    evidence: str = ""


class Session(ABC):
    """One graph, opened on one device. `run` may be called by any number of threads.

    Args:
        inputs: Specification of every input of the graph.
        outputs: Specification of every output of the graph.
        effective: What the runtime really uses.
    """

    def __init__(
        self,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        effective: Effective,
    ) -> None:
        self.inputs = inputs
        self.outputs = outputs
        self.effective = effective
        self._process_id = os.getpid()
        self._closed = False
        self._expected_inputs = {spec.name: (np.dtype(spec.dtype), spec.shape) for spec in inputs}
        self._expected_outputs = {spec.name: (np.dtype(spec.dtype), spec.shape) for spec in outputs}

    @final
    def run(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        """Execute the graph once.

        Args:
            tensors: Every input by name, C-contiguous, dtype and shape as `inputs` says.

        Returns:
            Every output by name, in the order of `outputs`; freshly owned arrays.

        Raises:
            TensorMismatchError: An input is missing, unknown or of another dtype or shape.
            OutputMismatchError: The runtime returned other outputs than it declares.
            SessionClosedError: After `close()`, or `close()` came while the call was under way and
                the runtime could not end it.
            ForkedProcessError: In a forked child of the process that opened the session.
            InferenceFailedError: The runtime itself failed.
        """
        self.check_usable()
        _check(tensors, self._expected_inputs, TensorMismatchError, "input")
        try:
            results = self._run(tensors)
        # What a library says of an engine that was taken from it is no news: it was closed.
        except Exception as error:
            if self._closed and not isinstance(error, SessionClosedError):
                raise _closed_error() from error
            raise
        _check(results, self._expected_outputs, OutputMismatchError, "output")
        return results

    @final
    def check_usable(self) -> None:
        """Raise unless `run` may be called here.

        Raises:
            SessionClosedError: After `close()`.
            ForkedProcessError: In a forked child of the process that opened the session.
        """
        if self._closed:
            raise _closed_error()
        if os.getpid() != self._process_id:
            raise ForkedProcessError(
                "a session cannot be used in a forked process",
                got=f"process {os.getpid()}",
                expected=f"process {self._process_id}, which opened it",
                remedy="start workers with the 'spawn' method and load the bundle in each",
            )

    @final
    def close(self) -> None:
        """Release what the session holds. Closing twice is allowed."""
        if not self._closed:
            self._closed = True
            self._close()

    @abstractmethod
    def _run(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        """Compute; the inputs are checked, the outputs will be."""

    @abstractmethod
    def _close(self) -> None:
        """Release what the runtime holds; called once."""


@runtime_checkable
class Runtime(Protocol):
    """A library that executes ONNX graphs."""

    @property
    def name(self) -> str:
        """Stable name, as plans and certificates carry it."""

    def availability(self) -> Availability:
        """Whether the library is here; never raises."""

    def devices(self) -> tuple[Device, ...]:
        """Devices that `open` accepts.

        Raises:
            RuntimeUnavailableError: The library is not installed.
        """

    def open(self, onnx: bytes, settings: Settings) -> Session:
        """Load a graph from its bytes (never a path, so external data cannot resolve).

        May be called by any number of threads at once.

        Raises:
            RuntimeUnavailableError: The library is not installed.
            DeviceUnavailableError: The device is not here.
            SettingRefusedError: A setting that this runtime cannot honour.
            GraphRefusedError: The bytes are no ONNX graph that medsdk opens.
            PrecisionMismatchError: The executed graph has another precision than asked.
        """


def _closed_error() -> SessionClosedError:
    return SessionClosedError(
        "the session is closed", remedy="open the graph again; a session cannot be reopened"
    )


def _check(
    tensors: Mapping[str, Array],
    expected: Mapping[str, tuple[np.dtype[np.generic], tuple[int | None, ...]]],
    error: type[TensorMismatchError] | type[OutputMismatchError],
    kind: str,
) -> None:
    if not isinstance(tensors, Mapping):
        raise error(
            f"the {kind}s are no mapping of names to arrays",
            got=type(tensors).__name__,
            expected="a dict",
        )
    if tensors.keys() != expected.keys():
        raise error(
            f"the names of the {kind}s are wrong",
            got=", ".join(sorted(map(str, tensors))) or "none",
            expected=", ".join(expected),
            remedy=f"give every {kind} of the graph by its name and no other",
        )
    for name, (dtype, shape) in expected.items():
        array = tensors[name]
        if not isinstance(array, np.ndarray):
            raise error(
                f"{kind} {name!r} is no numpy array",
                got=type(array).__name__,
                expected=f"numpy.ndarray of {dtype}",
            )
        if array.dtype != dtype:
            raise error(
                f"{kind} {name!r} has another dtype",
                got=str(array.dtype),
                expected=str(dtype),
                remedy=f"convert with .astype(numpy.{dtype}) where that is what is meant",
            )
        if array.ndim != len(shape) or any(
            want is not None and want != have for want, have in zip(shape, array.shape, strict=True)
        ):
            raise error(
                f"{kind} {name!r} has another shape",
                got=str(array.shape),
                expected=str(tuple("any" if axis is None else axis for axis in shape)),
            )
        if not array.flags.c_contiguous:
            raise error(
                f"{kind} {name!r} is not C-contiguous",
                got=f"strides {array.strides}",
                expected="a C-contiguous array",
                remedy="numpy.ascontiguousarray(...)",
            )
