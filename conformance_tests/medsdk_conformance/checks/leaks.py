"""What is left behind: memory, files and threads, counted over many turns after a warm-up.

A library may keep pools, caches and threads once, and a machine that does much else adds noise;
what grows in each of several windows of turns is a leak. So the window with the smallest growth
decides, and the first that stays below the bound ends the check.
"""

from __future__ import annotations

import gc
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np

from medsdk_conformance.check import Check, NotTestableError, Subject, equal, require
from medsdk_conformance.graphs import node, product, serialized
from medsdk_runtimes import Session
from medsdk_runtimes.errors import SettingRefusedError
from medsdk_runtimes.operating_system import (
    memory_current_bytes,
    native_threads,
    open_handles,
    release_free_memory,
)

WINDOWS = 3
MOST_BYTES_A_SESSION = 2**18
MOST_BYTES_A_CALL = 2**10
_SIDE = 1024
"""A graph has `_SIDE` x `_SIDE` float32 weights: 4 MB."""
_WARM_UP = 6
_SESSIONS = 10
_BIG_CALLS = 20
_SMALL_CALLS = 1500
_SMALL_WARM_UP = 300
ENDING_SECONDS = 0.5
"""How long what was told to end may take, each time that it is counted."""
_TEMPORARY = ("TMPDIR", "TEMP", "TMP")


def _sessions_keep_no_memory(subject: Subject) -> None:
    onnx = product(np.ones((_SIDE, _SIDE), np.float32))
    given = np.ones((1, _SIDE), np.float32)

    def turn() -> None:
        with closing(subject.open(onnx)) as session:
            session.run({"x": given})

    _require_no_memory(
        turn, _WARM_UP, _SESSIONS, MOST_BYTES_A_SESSION, "closed session of a graph of 4 MB"
    )


def _calls_keep_no_memory(subject: Subject) -> None:
    _require_calls_keep_nothing(subject, _SIDE, _WARM_UP, _BIG_CALLS, MOST_BYTES_A_SESSION)
    _require_calls_keep_nothing(subject, 1, _SMALL_WARM_UP, _SMALL_CALLS, MOST_BYTES_A_CALL)


def _require_calls_keep_nothing(
    subject: Subject, rows: int, warm_up: int, calls: int, most: int
) -> None:
    onnx = serialized(
        [node("Neg", ["x"], "y")],
        [("x", "float32", (rows, _SIDE))],
        [("y", "float32", (rows, _SIDE))],
    )
    given = np.arange(rows * _SIDE, dtype=np.float32).reshape(rows, _SIDE)
    expected = -given
    with closing(subject.open(onnx)) as session:

        def turn() -> None:
            equal(session.run({"x": given})["y"], expected)

        what = f"call of {given.nbytes // 1024} KB in and out"
        _require_no_memory(turn, warm_up, calls, most, what)


def _require_no_memory(
    turn: Callable[[], None], warm_up: int, turns: int, most: int, what: str
) -> None:
    if not memory_current_bytes():
        raise NotTestableError("this system does not tell how much memory a process has")
    grown = _smallest_growth(turn, warm_up, turns, _held_bytes, most * turns)
    require(
        grown <= most * turns,
        f"{grown / turns / 1024:.1f} KB more for each {what}, in the best of {WINDOWS} times "
        f"{turns}; expected at most {most // 1024}",
    )


def _held_bytes() -> int:
    release_free_memory()  # else a leak could fill what was freed before, and not show
    return memory_current_bytes()


def _smallest_growth(
    turn: Callable[[], None], warm_up: int, turns: int, count: Callable[[], int], most: int
) -> int:
    """The smallest growth of a window of turns; the first of at most `most` is taken."""
    for _ in range(warm_up):
        turn()
    grown = []
    for _ in range(WINDOWS):
        gc.collect()
        before = count()
        for _ in range(turns):
            turn()
        gc.collect()
        until = time.monotonic() + ENDING_SECONDS  # what was told to end may need a moment
        while (now := count() - before) > most and time.monotonic() < until:
            time.sleep(0.05)
        grown.append(now)
        if now <= most:
            break
    return min(grown)


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


def _sessions_leave_no_files(subject: Subject) -> None:
    with _own_temporary_folder() as folder:
        _require_no_growth(subject, lambda: sum(1 for _ in folder.rglob("*")), "temporary files")


@contextmanager
def _own_temporary_folder() -> Iterator[Path]:
    before = {name: os.environ.get(name) for name in _TEMPORARY}
    python = tempfile.tempdir
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.environ.update(dict.fromkeys(_TEMPORARY, folder))
        tempfile.tempdir = None
        try:
            yield Path(folder)
        finally:
            tempfile.tempdir = python
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


def _require_no_growth(subject: Subject, count: Callable[[], int], what: str) -> None:
    grown = _smallest_growth(lambda: _turn_with_threads(subject), _WARM_UP, _SESSIONS, count, 1)
    require(
        grown <= 1,
        f"{grown} more {what} after {_SESSIONS} sessions that were closed, in the best of "
        f"{WINDOWS} times; expected at most 1",
    )


CHECKS: tuple[Check, ...] = (
    Check(
        "leak-of-sessions",
        None,
        f"A session that was closed keeps no more than {MOST_BYTES_A_SESSION // 1024} KB.",
        _sessions_keep_no_memory,
    ),
    Check(
        "leak-of-calls",
        None,
        f"A small call keeps no more than {MOST_BYTES_A_CALL // 1024} KB, one of 4 MB no more than "
        f"{MOST_BYTES_A_SESSION // 1024}.",
        _calls_keep_no_memory,
    ),
    Check(
        "leak-of-files",
        None,
        "Sessions that were closed keep no file open.",
        _sessions_keep_no_files,
    ),
    Check(
        "leak-of-temporary-files",
        None,
        "Sessions that were closed leave no temporary file.",
        _sessions_leave_no_files,
    ),
    Check(
        "leak-of-threads",
        None,
        "Sessions that were closed keep no thread.",
        _sessions_keep_no_threads,
    ),
)
"""Every rule about what is left behind."""
