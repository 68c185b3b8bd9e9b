"""Runtimes with a fault that shows only over time: many calls, many threads, much later."""

from __future__ import annotations

import itertools
import os
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from medsdk_runtimes import Array, Runtime, Session, Settings
from medsdk_runtimes.errors import GraphRefusedError
from tests.conformance.planted import KEPT, LET_GO, Declares, Fault, Outputs, Wrapped

# --- threads ------------------------------------------------------------------------------------


class SharesScratch(Wrapped):
    """One lock a session, but the inputs are copied to a buffer of the process."""

    scratch: ClassVar[Outputs] = {}

    def __init__(self, inner: Session) -> None:
        super().__init__(inner)
        self.lock = threading.Lock()

    def _run(self, tensors: Mapping[str, Array]) -> Outputs:
        with self.lock:
            copied = {}
            for name, array in tensors.items():
                buffer = self.scratch.setdefault(f"{name}{array.shape}", np.empty_like(array))
                buffer[...] = array
                copied[name] = buffer
            time.sleep(0)  # another session may come in here
            return super()._run(copied)


@dataclass(frozen=True)
class MixesOpens(Fault):
    """Two that open at once may get the same graph."""

    current: ClassVar[list[bytes]] = [b""]

    def open(self, onnx: bytes, settings: Settings) -> Session:
        self.current[0] = onnx
        time.sleep(0.001)
        return super().open(self.current[0], settings)


@dataclass(frozen=True)
class OpensInOneThread(Fault):
    """Opens in the main thread alone."""

    def open(self, onnx: bytes, settings: Settings) -> Session:
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("not in this thread")
        return super().open(onnx, settings)


class ForgetsItsEngine(Wrapped):
    """A call that has begun when the session is closed meets no engine, and gives zeros."""

    def __init__(self, inner: Session) -> None:
        super().__init__(inner)
        self.engine: Session | None = inner

    def _run(self, tensors: Mapping[str, Array]) -> Outputs:
        engine = self.engine
        if engine is None:
            return {spec.name: np.zeros((1, 4), np.float32) for spec in self.outputs}
        return engine.run(tensors)

    def _close(self) -> None:
        self.engine = None


# --- memory -------------------------------------------------------------------------------------


class RingOfBuffers(Wrapped):
    """Returns as many buffers in turn as a ring holds."""

    size = 4

    def __init__(self, inner: Session) -> None:
        super().__init__(inner)
        self.rings: dict[str, list[Array]] = {}
        self.calls = 0

    def _run(self, tensors: Mapping[str, Array]) -> Outputs:
        outputs = super()._run(tensors)
        self.calls += 1
        for name, array in outputs.items():
            ring = self.rings.setdefault(f"{name}{array.shape}", [])
            if len(ring) < self.size:
                ring.append(array)
            else:
                outputs[name] = ring[self.calls % self.size]
                outputs[name][...] = array
        return outputs


class LargeRing(RingOfBuffers):
    """The same with more of them."""

    size = 64


def _write_later(values: Sequence[tuple[Array, Any]]) -> None:
    def work() -> None:
        for array, value in values:
            array[...] = value

    threading.Timer(0.03, work).start()


class ClearsInputsLater(Wrapped):
    """Clears its inputs some time after the call."""

    def _run(self, tensors: Mapping[str, Array]) -> Outputs:
        _write_later([(array, 0) for array in tensors.values() if array.flags.writeable])
        return super()._run(tensors)


class WritesOutputsLater(Wrapped):
    """Writes its outputs again some time after the call."""

    def _run(self, tensors: Mapping[str, Array]) -> Outputs:
        outputs = super()._run(tensors)
        _write_later([(array, array.copy()) for array in outputs.values()])
        return outputs


class Misaligned(Wrapped):
    """Returns arrays that do not lie where their type has to."""

    def _run(self, tensors: Mapping[str, Array]) -> Outputs:
        return {name: _one_byte_on(array) for name, array in super()._run(tensors).items()}


def _one_byte_on(array: Array) -> Array:
    moved = np.empty(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    moved[...] = array
    return moved


# --- leaks --------------------------------------------------------------------------------------


class KeepsAMegabyte(Wrapped):
    """Keeps a quarter of what a session takes."""

    def __init__(self, inner: Session) -> None:
        super().__init__(inner)
        KEPT.append(np.ones(2**20, np.uint8))


class KeepsALittle(Wrapped):
    """Keeps 10 KB of every call."""

    def _run(self, tensors: Mapping[str, Array]) -> Outputs:
        KEPT.append(np.ones(10 * 1024, np.uint8))
        return super()._run(tensors)


class KeepsSmallInputs(Wrapped):
    """Keeps a copy of every input that is not large."""

    def _run(self, tensors: Mapping[str, Array]) -> Outputs:
        KEPT.append([array.copy() for array in tensors.values() if array.nbytes < 2**20])
        return super()._run(tensors)


class KeepsMegabytesOfCalls(Wrapped):
    """Keeps 1 MB of every call that is large."""

    def _run(self, tensors: Mapping[str, Array]) -> Outputs:
        if any(array.nbytes >= 2**20 for array in tensors.values()):
            KEPT.append(np.ones(2**20, np.uint8))
        return super()._run(tensors)


class RightAtFirst(Wrapped):
    """Is wrong after some hundred calls."""

    def __init__(self, inner: Session) -> None:
        super().__init__(inner)
        self.calls = 0

    def _run(self, tensors: Mapping[str, Array]) -> Outputs:
        self.calls += 1
        outputs = super()._run(tensors)
        return outputs if self.calls < 500 else {name: 0 * a for name, a in outputs.items()}


_sessions = itertools.count()


class KeepsAFileOfThree(Wrapped):
    """Leaves a file open with every third session."""

    def __init__(self, inner: Session) -> None:
        super().__init__(inner)
        if next(_sessions) % 3 == 0:
            KEPT.append(os.fdopen(os.open(os.devnull, os.O_RDONLY)))


class KeepsAThreadOfThree(Wrapped):
    """Leaves a thread running with every third session."""

    def __init__(self, inner: Session) -> None:
        super().__init__(inner)
        if next(_sessions) % 3 == 0:
            threading.Thread(target=LET_GO.wait, daemon=True).start()


class LeavesTemporaryFiles(Wrapped):
    """Writes a temporary file for each session and leaves it."""

    def __init__(self, inner: Session) -> None:
        super().__init__(inner)
        os.close(tempfile.mkstemp()[0])


# --- errors -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RaisesItsOwn(Fault):
    """Raises an error of its own where a graph is refused."""

    def open(self, onnx: bytes, settings: Settings) -> Session:
        try:
            return super().open(onnx, settings)
        except GraphRefusedError:
            raise ValueError("cannot parse") from None


@dataclass(frozen=True)
class SaysOfGraphs(Fault):
    """Says something else where a graph is refused."""

    said: str = ""

    def open(self, onnx: bytes, settings: Settings) -> Session:
        try:
            return super().open(onnx, settings)
        except GraphRefusedError:
            raise GraphRefusedError(self.said) from None


SESSIONS: dict[str, tuple[Callable[..., Any], set[str]]] = {
    "scratch-of-the-process": (SharesScratch, {"threads-two-sessions"}),
    "forgets-its-engine": (ForgetsItsEngine, {"close-while-running"}),
    "ring-of-4": (RingOfBuffers, {"outputs-kept"}),
    "ring-of-64": (LargeRing, {"outputs-kept"}),
    "clears-inputs-later": (ClearsInputsLater, {"inputs-left-alone"}),
    "writes-outputs-later": (WritesOutputsLater, {"outputs-fresh"}),
    "misaligned-outputs": (Misaligned, {"outputs-fresh"}),
    "keeps-a-megabyte-a-session": (KeepsAMegabyte, {"leak-of-sessions"}),
    "keeps-10-KB-a-call": (KeepsALittle, {"leak-of-calls"}),
    "keeps-small-inputs": (KeepsSmallInputs, {"leak-of-calls"}),
    "keeps-a-megabyte-a-call": (KeepsMegabytesOfCalls, {"leak-of-calls"}),
    "right-at-first": (RightAtFirst, {"leak-of-calls"}),
    "keeps-every-third-file": (KeepsAFileOfThree, {"leak-of-files"}),
    "keeps-every-third-thread": (KeepsAThreadOfThree, {"leak-of-threads"}),
    "leaves-temporary-files": (LeavesTemporaryFiles, {"leak-of-temporary-files"}),
}
"""Sessions with a fault, and the items that find it."""

RUNTIMES: dict[str, tuple[Callable[[Runtime], Runtime], set[str]]] = {
    "mixes-opens": (MixesOpens, {"threads-open"}),
    "opens-in-one-thread": (OpensInOneThread, {"threads-open"}),
    "raises-its-own": (RaisesItsOwn, {"garbage", "truncated"}),
    "excuses-threads": (
        lambda it: Declares(it, exceptions={"threads": "one at a time"}),
        {"declarations"},
    ),
}
"""Runtimes with a fault, and the items that find it."""
