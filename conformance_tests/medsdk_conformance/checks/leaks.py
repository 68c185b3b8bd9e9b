"""What is left behind: memory, files and threads, counted over many turns after a warm-up.

A library may keep pools, caches and threads once; what grows with every turn is a leak. The
bounds are a third of what one leak a turn would cost.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable
from contextlib import closing

import numpy as np

from medsdk_conformance.check import Check, NotTestableError, Subject, require
from medsdk_conformance.graphs import node, product, serialized
from medsdk_runtimes import Session
from medsdk_runtimes.errors import SettingRefusedError
from medsdk_runtimes.operating_system import memory_current_bytes, native_threads, open_handles

_SIDE = 1024
"""A graph has `_SIDE` x `_SIDE` float32 weights: 4 MB."""
_WARM_UP = 6
_SESSIONS = 18
_CALLS = 60
_MEGABYTE = 2**20


def _sessions_keep_no_memory(subject: Subject) -> None:
    onnx = product(np.ones((_SIDE, _SIDE), np.float32))
    given = np.ones((1, _SIDE), np.float32)

    def turn() -> None:
        with closing(subject.open(onnx)) as session:
            session.run({"x": given})

    grown = _growth_bytes(turn, _SESSIONS)
    most = _SESSIONS * given.nbytes * _SIDE // 3
    require(
        grown <= most,
        f"{grown // _MEGABYTE} MB more after {_SESSIONS} sessions of 4 MB that were closed, "
        f"expected at most {most // _MEGABYTE}",
    )


def _calls_keep_no_memory(subject: Subject) -> None:
    onnx = serialized(
        [node("Neg", ["x"], "y")],
        [("x", "float32", (_SIDE, _SIDE))],
        [("y", "float32", (_SIDE, _SIDE))],
    )
    given = np.ones((_SIDE, _SIDE), np.float32)
    with closing(subject.open(onnx)) as session:
        grown = _growth_bytes(lambda: session.run({"x": given}), _CALLS)
    most = _CALLS * given.nbytes // 3
    require(
        grown <= most,
        f"{grown // _MEGABYTE} MB more after {_CALLS} calls that return 4 MB each, "
        f"expected at most {most // _MEGABYTE}",
    )


def _growth_bytes(turn: Callable[[], object], turns: int) -> int:
    """How much more resident memory there is after `turns`, beyond a warm-up."""
    for _ in range(_WARM_UP):
        turn()
    gc.collect()
    before = memory_current_bytes()
    if not before:
        raise NotTestableError("this system does not tell how much memory a process has")
    for _ in range(turns):
        turn()
    gc.collect()
    return memory_current_bytes() - before


def _turn_with_threads(subject: Subject) -> None:
    """Open with two threads where that is taken, run, close."""
    onnx = product(np.ones((64, 64), np.float32))
    try:
        session: Session = subject.open(onnx, threads=2)
    except SettingRefusedError:
        session = subject.open(onnx)
    with closing(session):
        session.run({"x": np.ones((1, 64), np.float32)})


def _sessions_keep_no_files(subject: Subject) -> None:
    if not open_handles():
        raise NotTestableError("this system does not tell how many files a process has open")
    _require_no_growth(subject, open_handles, "open files")


def _sessions_keep_no_threads(subject: Subject) -> None:
    _require_no_growth(
        subject, lambda: native_threads() or threading.active_count(), "running threads"
    )


def _require_no_growth(subject: Subject, count: Callable[[], int], what: str) -> None:
    for _ in range(_WARM_UP):
        _turn_with_threads(subject)
    gc.collect()
    before = count()
    for _ in range(_SESSIONS):
        _turn_with_threads(subject)
    gc.collect()
    most = _SESSIONS // 3
    until = time.monotonic() + 2.0  # a thread that was told to end may need a moment
    while (grown := count() - before) > most and time.monotonic() < until:
        time.sleep(0.05)
    require(
        grown <= most,
        f"{grown} more {what} after {_SESSIONS} sessions that were closed, expected at most {most}",
    )


CHECKS: tuple[Check, ...] = (
    Check(
        "leak-of-sessions",
        None,
        "Sessions that were closed keep no memory.",
        _sessions_keep_no_memory,
    ),
    Check("leak-of-calls", None, "Calls keep no memory.", _calls_keep_no_memory),
    Check(
        "leak-of-files",
        None,
        "Sessions that were closed keep no file open.",
        _sessions_keep_no_files,
    ),
    Check(
        "leak-of-threads",
        None,
        "Sessions that were closed keep no thread.",
        _sessions_keep_no_threads,
    ),
)
"""Every rule about what is left behind."""
