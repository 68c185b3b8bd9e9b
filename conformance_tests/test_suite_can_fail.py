"""Runtimes with a planted fault: the suite is worth something only if it finds each of them."""

# ruff: noqa: D102, D103 - the name of a test says what it shows

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pytest

from medsdk_conformance import capabilities_of, examine
from medsdk_runtimes import (
    Array,
    Availability,
    Capability,
    Device,
    Runtime,
    Session,
    Settings,
    TensorSpec,
    available,
)

Outputs = dict[str, Array]
Wrap = Callable[[Session], Session]

pytestmark = pytest.mark.skipif(not available(), reason="no runtime to plant a fault in")


class Wrapped(Session):
    """A session in front of a sound one; without a change of `_run` it is sound too."""

    def __init__(self, inner: Session, outputs: tuple[TensorSpec, ...] | None = None) -> None:
        super().__init__(inner.inputs, outputs or inner.outputs, inner.effective)
        self.inner = inner

    def _run(self, tensors: Mapping[str, Array]) -> Outputs:
        return self.inner.run(tensors)

    def _close(self) -> None:
        self.inner.close()


class Wide(Wrapped):
    """Returns and declares float64 where the graph says float32."""

    def __init__(self, inner: Session) -> None:
        super().__init__(inner, tuple(replace(spec, dtype="float64") for spec in inner.outputs))

    def _run(self, tensors: Mapping[str, Array]) -> Outputs:
        return {name: array.astype(np.float64) for name, array in super()._run(tensors).items()}


class Swapped(Wrapped):
    """Gives each output the values of another."""

    def _run(self, tensors: Mapping[str, Array]) -> Outputs:
        outputs = super()._run(tensors)
        return dict(zip(outputs, reversed(list(outputs.values())), strict=True))


class Reordered(Wrapped):
    """Returns the right outputs in the order of the alphabet."""

    def _run(self, tensors: Mapping[str, Array]) -> Outputs:
        return dict(sorted(super()._run(tensors).items()))


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


class Hiding(Wrapped):
    """Replaces NaN by 0."""

    def _run(self, tensors: Mapping[str, Array]) -> Outputs:
        return {name: np.nan_to_num(array) for name, array in super()._run(tensors).items()}


class Bfloat16(Wrapped):
    """Computes in bfloat16 and says float32."""

    def _run(self, tensors: Mapping[str, Array]) -> Outputs:
        return {name: _bfloat16(array) for name, array in super()._run(tensors).items()}


class Racing(Wrapped):
    """Keeps the inputs of a call in the session."""

    def __init__(self, inner: Session) -> None:
        super().__init__(inner)
        self.current: Mapping[str, Array] = {}

    def _run(self, tensors: Mapping[str, Array]) -> Outputs:
        self.current = tensors
        time.sleep(0)  # another thread may come in here
        return super()._run(self.current)


class OneThread(Wrapped):
    """Says one thread whatever was asked."""

    def __init__(self, inner: Session) -> None:
        super().__init__(inner)
        self.effective = replace(inner.effective, threads=1)


def _bfloat16(array: Array) -> Array:
    if array.dtype != np.float32:
        return array
    return (array.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)


@dataclass(frozen=True)
class Faulty:
    """A runtime that wraps the sessions of a sound one."""

    inner: Runtime
    wrap: Wrap = Wrapped
    moves_to_the_first_device: bool = False

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def capabilities(self) -> frozenset[Capability]:
        return capabilities_of(self.inner)

    def availability(self) -> Availability:
        return self.inner.availability()

    def devices(self) -> tuple[Device, ...]:
        return self.inner.devices()

    def open(self, onnx: bytes, settings: Settings) -> Session:
        if self.moves_to_the_first_device:
            settings = replace(settings, device=self.devices()[0].name)
        return self.wrap(self.inner.open(onnx, settings))


def _failed(runtime: Runtime, ids: Iterable[str]) -> set[str]:
    return {item.id for item in examine(runtime, set(ids)) if item.verdict == "fail"}


FAULTS: dict[str, tuple[Wrap, set[str]]] = {
    "another-dtype": (Wide, {"conv", "gemm", "several-inputs-and-outputs"}),
    "swapped-outputs": (Swapped, {"several-inputs-and-outputs", "outputs-no-inputs"}),
    "reordered-outputs": (Reordered, {"several-inputs-and-outputs"}),
    "reused-buffers": (Reusing, {"outputs-fresh"}),
    "hidden-nan": (Hiding, {"not-a-number"}),
    "silent-bfloat16": (Bfloat16, {"float32-to-the-last-bit", "conv", "gemm", "softmax"}),
    "racing-threads": (Racing, {"threads"}),
    "threads-ignored": (OneThread, {"effective-threads"}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(fault: str) -> None:
    wrap, expected = FAULTS[fault]
    assert _failed(Faulty(available()[0], wrap), expected) == expected


def test_a_quiet_change_of_device_is_found() -> None:
    faulty = Faulty(available()[0], moves_to_the_first_device=True)
    assert _failed(faulty, {"device-absent"}) == {"device-absent"}


def test_the_wrapper_alone_is_sound() -> None:
    """Else the faults above could be found for the wrapper's sake."""
    ids = {"device-absent", *(item for _, expected in FAULTS.values() for item in expected)}
    threads_before = threading.active_count()
    assert _failed(Faulty(available()[0]), ids) == set()
    assert threading.active_count() == threads_before
