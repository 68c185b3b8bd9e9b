"""Runtimes with a fault that shows only over time: many calls, many threads, much later."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from medsdk_runtimes import Array, Runtime, Session, Settings
from tests.conformance.planted import Fault, Outputs, Wrapped

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
        time.sleep(0)
        if self.engine is None:
            return {spec.name: np.zeros((1, 4), np.float32) for spec in self.outputs}
        return self.engine.run(tensors)

    def _close(self) -> None:
        self.engine = None


SESSIONS: dict[str, tuple[Callable[..., Any], set[str]]] = {
    "scratch-of-the-process": (SharesScratch, {"threads-two-sessions"}),
    "forgets-its-engine": (ForgetsItsEngine, {"close-while-running"}),
}
"""Sessions with a fault, and the items that find it."""

RUNTIMES: dict[str, tuple[Callable[[Runtime], Runtime], set[str]]] = {
    "mixes-opens": (MixesOpens, {"threads-open"}),
    "opens-in-one-thread": (OpensInOneThread, {"threads-open"}),
}
"""Runtimes with a fault, and the items that find it."""
