"""Sessions that many threads open, call and close."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial

import numpy as np
from numpy.typing import NDArray

from medsdk_conformance.check import Check, RuleBrokenError, Subject, counted, equal, require
from medsdk_conformance.graphs import product
from medsdk_runtimes import Session
from medsdk_runtimes.errors import SessionClosedError

CALLING_THREADS = 8
CALLS_A_THREAD = 150
OPENING_THREADS = 4
OPENS_A_THREAD = 4
CLOSES = 6
CLOSE_SECONDS = 1.0
"""Longest time that a session of a small graph may take to close, the best of three."""
_UNDER_WAY_SECONDS = 0.02
_SWITCH_SECONDS = 1e-6
"""How long Python lets a thread run, so that threads meet in the middle of a call."""


@contextmanager
def _switching_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _together(works: Sequence[Callable[[], None]]) -> None:
    """Each in a thread of its own; what one of them raises breaks the rule."""
    wrong: list[str] = []
    ready = threading.Barrier(len(works))

    def thread(work: Callable[[], None]) -> None:
        ready.wait()
        try:
            work()
        # Whatever it raises is reported by the thread that waits.
        except Exception as error:  # noqa: BLE001
            wrong.append(f"{type(error).__name__}: {error!s:.200}")

    threads = [threading.Thread(target=thread, args=(work,), daemon=True) for work in works]
    with _switching_often():
        for item in threads:
            item.start()
        for item in threads:
            item.join()
    require(not wrong, f"{len(wrong)} of {len(works)} threads: {wrong[:1]}")


def _weights(seed: int) -> NDArray[np.float32]:
    """Small integers: every sum is exact, in whatever order it is taken."""
    return np.random.default_rng(seed).integers(-8, 9, (64, 32)).astype(np.float32)


def _call(
    session: Session, weights: NDArray[np.float32], seed: int, calls: int, batches: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(seed)
    for turn in range(calls):
        batch = batches[(turn + seed) % len(batches)]
        given = rng.integers(-8, 9, (batch, 64)).astype(np.float32)
        equal(session.run({"x": given})["y"], given @ weights)


def _many_threads(batches: tuple[int, ...]) -> Callable[[Subject], None]:
    def run(subject: Subject) -> None:
        weights = _weights(3)
        with closing(subject.open(product(weights))) as session:
            _together(
                [
                    partial(_call, session, weights, seed, CALLS_A_THREAD, batches)
                    for seed in range(CALLING_THREADS)
                ]
            )

    return run


def _two_sessions(subject: Subject) -> None:
    """What sessions share by mistake shows only while both of them run."""
    first, second = _weights(3), _weights(4)
    with (
        closing(subject.open(product(first))) as one,
        closing(subject.open(product(second))) as two,
    ):
        pairs = ((one, first), (two, second))
        _together(
            [
                partial(_call, *pairs[seed % 2], seed, CALLS_A_THREAD, (1,))
                for seed in range(CALLING_THREADS)
            ]
        )


def _opens_at_once(subject: Subject) -> None:
    def work(number: int) -> None:
        for turn in range(OPENS_A_THREAD):
            weights = _weights(OPENS_A_THREAD * number + turn)
            with closing(subject.open(product(weights))) as session:
                _call(session, weights, turn, 1, (1,))

    _together([partial(work, number) for number in range(OPENING_THREADS)])


def _closes_while_it_runs(subject: Subject) -> None:
    """A call that is under way ends well or is told that the session is closed."""
    with _switching_often():
        for _ in range(CLOSES):
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
        "threads-two-sessions",
        None,
        f"{CALLING_THREADS} threads call two sessions of different graphs at once.",
        _two_sessions,
    ),
    Check(
        "threads-open",
        None,
        f"{OPENING_THREADS} threads open, run and close sessions of different graphs at once.",
        _opens_at_once,
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
