"""The process in which a runtime is asked; it may die or hang without harm to who asks.

    python -m medsdk_conformance._child RUNTIME DEVICE PRINTED

Requests and replies are messages of `medsdk_runtimes.framing` over the standard input and
output. What the runtime writes to standard output, from its import to its end, is appended to the
file PRINTED. The reply to `load` is that the runtime's package was imported, to `describe` what it
says of itself, to `item` what came of it, to `leave-open` that a session was left open.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import medsdk_runtimes
from medsdk_conformance.capabilities import capabilities_of, exceptions_of
from medsdk_conformance.check import Subject, counted, equal
from medsdk_conformance.suite import ITEMS, judge_item
from medsdk_conformance.wording import one_line, words
from medsdk_runtimes import Runtime, Session, library_words
from medsdk_runtimes.framing import receive, send

Reply = dict[str, Any]

_left_open: list[Session] = []


def _devices(runtime: Runtime) -> list[str]:
    """Their names; where they cannot be read, the item `devices` says why."""
    try:
        return [one_line(str(device.name)) for device in runtime.devices()]
    except Exception as error:  # noqa: BLE001
        _show(error)
        return []


def _describe(runtime: Runtime) -> Reply:
    here = runtime.availability()
    if not here.available:
        return {
            "available": False,
            "reason": library_words(str(here.reason)),
            "extra": one_line(str(here.extra)),
        }
    return {
        "available": True,
        "version": one_line(str(here.version)),
        "devices": _devices(runtime),
        "capabilities": sorted(capabilities_of(runtime)),
        "exceptions": dict(exceptions_of(runtime)),
    }


def _show(error: BaseException) -> None:
    """Standard error is let through with `--show-output` alone."""
    with suppress(Exception):  # an exception may not even have a text
        traceback.print_exception(error)


def _item(runtime: Runtime, identifier: str, device: str) -> Reply:
    item = next(item for item in ITEMS if item.id == identifier)
    result = judge_item(runtime, item, device or None, _show)
    return {"verdict": result.verdict, "detail": result.detail}


def _leave_open(runtime: Runtime, device: str) -> Reply:
    subject = Subject(runtime, device or None, capabilities_of(runtime))
    session = subject.open()
    _left_open.append(session)
    equal(session.run({"x": counted()})["y"], 2 * counted() + 1)
    return {"verdict": "pass", "detail": ""}


def _answer(name: str, device: str, request: Mapping[str, Any]) -> Reply:
    runtime = medsdk_runtimes.runtime(name)
    match request["what"]:
        case "load":
            return {}
        case "describe":
            return _describe(runtime)
        case "leave-open":
            return _leave_open(runtime, device)
        case _:
            return _item(runtime, request["id"], device)


def _flush_printed() -> None:
    """What still waits in buffers of Python and of the C library is printed too."""
    with suppress(OSError, ValueError):  # the runtime may have closed it
        sys.stdout.flush()
    if sys.platform == "linux":
        library = ctypes.CDLL(None)
        library.fflush(ctypes.c_void_p.in_dll(library, "stdout"))


def serve(name: str, device: str, printed: Path) -> None:
    """Answer until the pipe closes."""
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb")
    # Whatever a library prints or reads must not end up between our messages.
    with printed.open("ab") as file:
        os.dup2(file.fileno(), 1)
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123 - for its descriptor
        os.dup2(nothing.fileno(), 0)
    # Ctrl-C reaches the whole group; who asks decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        try:
            request, _ = receive(requests)
        except EOFError:
            return
        try:
            reply = _answer(name, device, request)
        # SystemExit and KeyboardInterrupt too: nothing that a runtime raises ends this loop.
        except BaseException as error:  # noqa: BLE001
            _show(error)
            reply = {"verdict": "fail", "detail": words(error), "raised": words(error)}
        _flush_printed()
        try:
            send(replies, reply, {})
        except OSError:  # nobody asks any more
            return


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
