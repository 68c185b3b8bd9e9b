"""A session that many threads call."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing

import numpy as np

from medsdk_conformance.check import Check, RuleBrokenError, Subject, counted, equal, require
from medsdk_conformance.graphs import product
from medsdk_runtimes import Session
from medsdk_runtimes.errors import SessionClosedError

CALLING_THREADS = 8
CALLS_A_THREAD = 150
CLOSE_SECONDS = 1.0
"""Longest time that a session of a small graph may take to close, the best of three."""
_UNDER_WAY_SECONDS = 0.02


def _many_threads(batches: tuple[int, ...]) -> Callable[[Subject], None]:
    def run(subject: Subject) -> None:
        weights = np.random.default_rng(3).integers(-8, 9, (64, 32)).astype(np.float32)
        wrong: list[str] = []

        def call(session: Session, number: int) -> None:
            rng = np.random.default_rng(number)
            try:
                for turn in range(CALLS_A_THREAD):
                    # Small integers: every sum is exact, in whatever order it is taken.
                    batch = batches[(turn + number) % len(batches)]
                    given = rng.integers(-8, 9, (batch, 64)).astype(np.float32)
                    equal(session.run({"x": given})["y"], given @ weights)
            # Whatever it raises is reported by the thread that waits.
            except Exception as error:  # noqa: BLE001
                wrong.append(f"{type(error).__name__}: {error!s:.200}")

        with closing(subject.open(product(weights))) as session:
            threads = [
                threading.Thread(target=call, args=(session, number), daemon=True)
                for number in range(CALLING_THREADS)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        require(not wrong, f"{len(wrong)} of {CALLING_THREADS} threads: {wrong[:1]}")

    return run


def _closes_while_it_runs(subject: Subject) -> None:
    """A call that is under way ends well or is told that the session is closed."""
    _close_under_calls(subject)


def _close_under_calls(subject: Subject) -> float:
    """Close a session while threads call it; the seconds that it took."""
    session = subject.open()
    started = threading.Barrier(CALLING_THREADS + 1)
    closed = threading.Event()
    wrong: list[str] = []

    def call() -> None:
        started.wait()
        try:
            late = False
            while not late:
                late = closed.is_set()
                equal(session.run({"x": counted()})["y"], 2 * counted() + 1)
            wrong.append("a call after close() was answered")
        except SessionClosedError:
            return
        # Whatever it raises is reported by the thread that waits.
        except Exception as error:  # noqa: BLE001
            wrong.append(f"{type(error).__name__}: {error!s:.200}")

    threads = [threading.Thread(target=call, daemon=True) for _ in range(CALLING_THREADS)]
    for thread in threads:
        thread.start()
    started.wait()
    time.sleep(_UNDER_WAY_SECONDS)
    before = time.monotonic()
    session.close()
    took = time.monotonic() - before
    closed.set()
    for thread in threads:
        thread.join()
    require(not wrong, f"{len(wrong)} of {CALLING_THREADS} threads: {wrong[:1]}")
    return took


def _close_idle(subject: Subject) -> float:
    session = subject.open()
    session.run({"x": counted()})
    before = time.monotonic()
    session.close()
    return time.monotonic() - before


def _quick(close: Callable[[Subject], float]) -> Callable[[Subject], None]:
    """One of three must be quick: a machine may be busy, a slow close is always slow."""

    def run(subject: Subject) -> None:
        took = []
        for _ in range(3):
            took.append(close(subject))
            if took[-1] <= CLOSE_SECONDS:
                return
        raise RuleBrokenError(
            f"closing takes {min(took):.1f} s at best, expected at most {CLOSE_SECONDS} s"
        )

    return run


CHECKS: tuple[Check, ...] = (
    Check(
        "threads",
        None,
        f"{CALLING_THREADS} threads call one session; every value is right.",
        _many_threads((1,)),
    ),
    Check(
        "threads-batches",
        "dynamic-batch",
        "The same with other batch sizes at every call.",
        _many_threads((1, 3, 2)),
    ),
    Check(
        "close-while-running",
        None,
        "Calls that are under way at close() end well or raise SessionClosedError, and then stop.",
        _closes_while_it_runs,
    ),
    Check(
        "close-is-quick",
        None,
        f"A small session closes within {CLOSE_SECONDS} s.",
        _quick(_close_idle),
    ),
    Check(
        "close-is-quick-while-running",
        None,
        "The same while threads call it.",
        _quick(_close_under_calls),
    ),
)
"""Every rule about threads."""
