"""From open to close, and across a fork."""

from __future__ import annotations

import os
import signal
import time
import warnings
from contextlib import closing

from medsdk_conformance.check import (
    Check,
    NotTestableError,
    RuleBrokenError,
    Subject,
    counted,
    equal,
    raises,
    require,
)
from medsdk_runtimes.errors import ForkedProcessError, SessionClosedError

_FORK_SECONDS = 10.0


def _closes(subject: Subject) -> None:
    session = subject.open()
    session.run({"x": counted()})
    session.close()
    session.close()
    with raises(SessionClosedError):
        session.run({"x": counted()})


def _closes_unused(subject: Subject) -> None:
    """And one that is forgotten without being closed does no harm to the next."""
    subject.open().close()
    forgotten = subject.open()
    forgotten.run({"x": counted()})
    del forgotten
    with closing(subject.open()) as session:
        equal(session.run({"x": counted()})["y"], 2 * counted() + 1)


def _refuses_after_fork(subject: Subject) -> None:
    if not hasattr(os, "fork"):
        raise NotTestableError("this system has no fork")
    with closing(subject.open()) as session:
        with warnings.catch_warnings():
            # Python 3.12 warns of a fork with threads; the child does nothing but be refused.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            status = 1
            try:
                session.run({"x": counted()})
            except ForkedProcessError:
                status = 0
            finally:
                os._exit(status)
        status = _wait(child)
        require(status == 0, "a forked child could use the session")
        equal(session.run({"x": counted()})["y"], 2 * counted() + 1)


def _wait(child: int) -> int:
    until = time.monotonic() + _FORK_SECONDS
    while time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise RuleBrokenError(f"a forked child hung for {_FORK_SECONDS:.0f} s")


CHECKS: tuple[Check, ...] = (
    Check("close", None, "close() twice is fine, and run() after it is refused.", _closes),
    Check(
        "close-unused",
        None,
        "A session may be closed without a call, or be forgotten.",
        _closes_unused,
    ),
    Check(
        "fork",
        None,
        "A forked child cannot use a session; its parent still can.",
        _refuses_after_fork,
    ),
)
"""Every rule about lifetime."""
