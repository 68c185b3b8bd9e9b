"""Runtimes with a planted fault, in front of a sound one.

A `Fault` wraps the sessions of a runtime, or the runtime itself; everything else is passed on.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from medsdk_conformance.graphs import affine
from medsdk_runtimes import (
    Array,
    Availability,
    Capability,
    Device,
    Runtime,
    Session,
    Settings,
    TensorSpec,
)
from medsdk_runtimes.errors import (
    GraphRefusedError,
    InferenceFailedError,
    MedsdkError,
)

Outputs = dict[str, Array]


class Wrapped(Session):
    """A session in front of a sound one; without a change of `_run` it is sound too."""

    def __init__(self, inner: Session, outputs: tuple[TensorSpec, ...] | None = None) -> None:
        super().__init__(inner.inputs, outputs or inner.outputs, inner.effective)
        self.inner = inner

    def _run(self, tensors: Mapping[str, Array]) -> Outputs:
        return self.inner.run(tensors)

    def _close(self) -> None:
        self.inner.close()


@dataclass(frozen=True)
class Fault:
    """A runtime in front of a sound one; without a change it is sound too."""

    inner: Runtime
    wrap: Callable[[Session], Any] = Wrapped

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def capabilities(self) -> Any:
        return self.inner.capabilities  # type: ignore[attr-defined]

    def availability(self) -> Availability:
        return self.inner.availability()

    def devices(self) -> tuple[Device, ...]:
        return self.inner.devices()

    def open(self, onnx: bytes, settings: Settings) -> Session:
        session: Session = self.wrap(self.inner.open(onnx, settings))
        return session


# --- calls ------------------------------------------------------------------------------------


class Obliging(Wrapped):
    """Takes whatever it is given for the inputs."""

    def run(self, tensors: Mapping[str, Array]) -> Outputs:  # type: ignore[misc]  # the fault
        given = list(tensors.values()) if isinstance(tensors, Mapping) else [tensors]
        fitting: Outputs = {}
        for spec, array in zip(self.inputs, [*given, np.zeros(4)], strict=False):
            shape = [axis or -1 for axis in spec.shape]
            values = np.resize(np.asarray(array, spec.dtype), [abs(axis) for axis in shape])
            fitting[spec.name] = np.ascontiguousarray(values)
        return self.inner.run(fitting)


class Numb(Wrapped):
    """Returns what it returned before where a call fails."""

    def __init__(self, inner: Session) -> None:
        super().__init__(inner)
        self.before: Outputs = {"y": np.zeros((2, 2), np.float32)}

    def _run(self, tensors: Mapping[str, Array]) -> Outputs:
        try:
            self.before = super()._run(tensors)
        except InferenceFailedError:
            return self.before
        return self.before


class AsList(Wrapped):
    """Returns a list."""

    def _run(self, tensors: Mapping[str, Array]) -> Any:
        return list(super()._run(tensors).values())


class Nothing(Wrapped):
    """Returns None."""

    def _run(self, tensors: Mapping[str, Array]) -> Any:
        super()._run(tensors)


class ListsInside(Wrapped):
    """Returns lists for arrays."""

    def _run(self, tensors: Mapping[str, Array]) -> Any:
        return {name: array.tolist() for name, array in super()._run(tensors).items()}


class Extra(Wrapped):
    """Returns an output that nobody asked for."""

    def _run(self, tensors: Mapping[str, Array]) -> Outputs:
        return {**super()._run(tensors), "debug": np.zeros(1, np.float32)}


class Renaming(Wrapped):
    """Returns outputs under names of its own."""

    def _run(self, tensors: Mapping[str, Array]) -> Outputs:
        return {f"{name}:0": array for name, array in super()._run(tensors).items()}


class Printing(Wrapped):
    """Prints to standard output, from Python and from below."""

    def _run(self, tensors: Mapping[str, Array]) -> Outputs:
        sys.stdout.write("12 ms\n")
        os.write(1, b"warning: slow\n")
        return super()._run(tensors)


# --- memory -----------------------------------------------------------------------------------


class Reusing(Wrapped):
    """Returns the same buffers again and again."""

    def __init__(self, inner: Session) -> None:
        super().__init__(inner)
        self.buffers: Outputs = {}

    def _run(self, tensors: Mapping[str, Array]) -> Outputs:
        for name, array in super()._run(tensors).items():
            buffer = self.buffers.setdefault(name, array)
            if buffer.shape != array.shape:
                self.buffers[name] = array
            else:
                buffer[...] = array
        return dict(self.buffers)


class Viewing(Wrapped):
    """Returns its input where an output has the same values."""

    def _run(self, tensors: Mapping[str, Array]) -> Outputs:
        return {
            name: next((item for item in tensors.values() if np.array_equal(item, array)), array)
            for name, array in super()._run(tensors).items()
        }


class Sharing(Wrapped):
    """Returns outputs of the same values as one memory."""

    def _run(self, tensors: Mapping[str, Array]) -> Outputs:
        outputs = super()._run(tensors)
        first = next(iter(outputs.values()))
        return {
            name: first.reshape(array.shape) if first.size == array.size else array
            for name, array in outputs.items()
        }


class Scribbling(Wrapped):
    """Works in place on its inputs."""

    def _run(self, tensors: Mapping[str, Array]) -> Outputs:
        outputs = super()._run(tensors)
        for array in tensors.values():
            if array.flags.writeable:
                array[...] = 0
        return outputs


class Wiping(Wrapped):
    """Clears what it returned when it is closed."""

    def __init__(self, inner: Session) -> None:
        super().__init__(inner)
        self.given: list[Array] = []

    def _run(self, tensors: Mapping[str, Array]) -> Outputs:
        outputs = super()._run(tensors)
        self.given += outputs.values()
        return outputs

    def _close(self) -> None:
        for array in self.given:
            array[...] = 0
        super()._close()


# --- threads and lifetime ---------------------------------------------------------------------


class Racing(Wrapped):
    """Keeps the inputs of a call in the session."""

    def __init__(self, inner: Session) -> None:
        super().__init__(inner)
        self.current: Mapping[str, Array] = {}

    def _run(self, tensors: Mapping[str, Array]) -> Outputs:
        self.current = tensors
        time.sleep(0)  # another thread may come in here
        return super()._run(self.current)


class Undying(Wrapped):
    """Goes on after close() and in a forked child."""

    def check_usable(self) -> None:  # type: ignore[misc]  # the fault
        self.inner._process_id = os.getpid()

    def _close(self) -> None:
        pass


SLOW_SECONDS = 0.35


class SlowToClose(Wrapped):
    """Takes its time to close."""

    def _close(self) -> None:
        time.sleep(SLOW_SECONDS)
        super()._close()


class OnceClosed(Wrapped):
    """Forgetting one of its sessions breaks all of them."""

    broken = False

    def _run(self, tensors: Mapping[str, Array]) -> Outputs:
        if OnceClosed.broken:
            raise InferenceFailedError("the library was shut down")
        return super()._run(tensors)

    def __del__(self) -> None:
        OnceClosed.broken = True


# --- leaks ------------------------------------------------------------------------------------

KEPT: list[Any] = []
"""What the leaking runtimes keep; a test lets go of it."""
LET_GO = threading.Event()
"""Ends the threads that the leaking runtimes keep."""


class KeepsSessions(Wrapped):
    """Never gives back what a session takes."""

    def __init__(self, inner: Session) -> None:
        super().__init__(inner)
        KEPT.append(np.ones((1024, 1024), np.float32))


class KeepsOutputs(Wrapped):
    """Keeps every output."""

    def _run(self, tensors: Mapping[str, Array]) -> Outputs:
        outputs = super()._run(tensors)
        KEPT.append([array.copy() for array in outputs.values()])
        return outputs


class KeepsFiles(Wrapped):
    """Opens a file for each session."""

    def __init__(self, inner: Session) -> None:
        super().__init__(inner)
        KEPT.append(os.fdopen(os.open(os.devnull, os.O_RDONLY)))


class KeepsThreads(Wrapped):
    """Starts a thread for each session."""

    def __init__(self, inner: Session) -> None:
        super().__init__(inner)
        threading.Thread(target=LET_GO.wait, daemon=True).start()


# --- what a session says of itself --------------------------------------------------------------


class Claims(Wrapped):
    """Says something else of itself than is so."""

    def __init__(self, inner: Session, **claims: Any) -> None:
        super().__init__(inner)
        self.effective = replace(inner.effective, **claims)


def claiming(**claims: Any) -> Callable[[Session], Session]:
    """Sessions that claim this."""
    return lambda inner: Claims(inner, **claims)


# --- runtimes ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Declares(Fault):
    """Declares something of its own."""

    declared: Any = None
    exceptions: Any = None

    @property
    def capabilities(self) -> Any:
        if isinstance(self.declared, Exception):
            raise self.declared
        return super().capabilities if self.declared is None else self.declared

    @property
    def conformance_exceptions(self) -> Any:
        return self.exceptions


@dataclass(frozen=True)
class Here(Fault):
    """Says something else of its availability."""

    said: Any = None

    def availability(self) -> Availability:
        if self.said is None:  # another time every time
            return replace(self.inner.availability(), version=str(time.monotonic_ns()))
        found: Availability = self.said
        return found


@dataclass(frozen=True)
class Lists(Fault):
    """Lists other devices; whichever is asked for, the CPU runs, and says that it is the other."""

    listed: Any = ()
    honest: bool = True

    def devices(self) -> tuple[Device, ...]:
        found: tuple[Device, ...] = self.listed
        return found

    def open(self, onnx: bytes, settings: Settings) -> Session:
        return self.wrap(self.inner.open(onnx, replace(settings, device="CPU")))  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Accommodating(Fault):
    """Changes what it cannot do into what it can: device, threads, precision, optimisation."""

    def open(self, onnx: bytes, settings: Settings) -> Session:
        device = self.devices()[0].name
        for fallback in (
            {},
            {"threads": max(1, settings.threads)},
            {"precision": "fp32"},
            {"precision": "int8"},
        ):
            asked = replace(settings, device=device, **fallback)
            try:
                return self.wrap(self.inner.open(onnx, asked))  # type: ignore[no-any-return]
            except MedsdkError as error:
                last = error
        raise last


@dataclass(frozen=True)
class Unrefusing(Fault):
    """Opens something else where it should refuse a graph."""

    def open(self, onnx: bytes, settings: Settings) -> Session:
        try:
            return super().open(onnx, settings)
        except GraphRefusedError:
            return super().open(affine(), settings)


@dataclass(frozen=True)
class Telling(Fault):
    """Tells paths in its errors."""

    def open(self, onnx: bytes, settings: Settings) -> Session:
        try:
            return super().open(onnx, settings)
        except GraphRefusedError:
            raise GraphRefusedError("no such file: /home/me/model.onnx") from None


@dataclass(frozen=True)
class Unoptimised(Fault):
    """Refuses to leave its optimisations off, though it declares that it can."""

    def open(self, onnx: bytes, settings: Settings) -> Session:
        if not settings.optimise:
            raise NotImplementedError
        return super().open(onnx, settings)


class _Lent(Wrapped):
    """A session that others have too."""

    def _close(self) -> None:
        pass


@dataclass(frozen=True)
class CachesBySize(Fault):
    """Takes a graph of the same length for the same graph."""

    cache: dict[int, Session] = field(default_factory=dict)

    def open(self, onnx: bytes, settings: Settings) -> Session:
        if len(onnx) not in self.cache:
            self.cache[len(onnx)] = self.inner.open(onnx, settings)
        return _Lent(self.cache[len(onnx)])


@dataclass(frozen=True)
class SharesSessions(Fault):
    """Gives everybody who opens a graph the same session."""

    cache: dict[bytes, Session] = field(default_factory=dict)

    def open(self, onnx: bytes, settings: Settings) -> Session:
        if onnx not in self.cache:
            self.cache[onnx] = self.inner.open(onnx, settings)
        return self.cache[onnx]


@dataclass(frozen=True)
class Raising(Fault):
    """Raises something when a graph is opened."""

    raised: Exception = field(default_factory=ZeroDivisionError)

    def open(self, onnx: bytes, settings: Settings) -> Session:
        raise self.raised


@dataclass(frozen=True)
class Returning(Fault):
    """Returns something else than a session."""

    returned: Any = None

    def open(self, onnx: bytes, settings: Settings) -> Session:
        found: Session = self.returned
        return found


class Unprintable(Exception):  # noqa: N818 - a fault, and no error of ours
    """An exception that has no text."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


def quantized_as_float(inner: Session) -> Session:
    """Says float32 of a quantized graph."""
    return (
        Claims(inner, precision="fp32") if inner.effective.precision == "int8" else Wrapped(inner)
    )


CAPABILITY_SUBSET: frozenset[Capability] = frozenset({"fp32", "dynamic-batch"})
