"""The conformance kit: every item in a child process that may raise, print, die or hang.

The parent never imports the runtime. It sends one item at a time and waits for the answer with a
limit; where the child dies or does not answer, the item fails with that reason, and a new child
goes on with the next.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import IO, Any

from medsdk_conformance.suite import ENDS, ITEMS, Item, Result, Verdict, with_exception
from medsdk_runtimes import RUNTIMES, known_names
from medsdk_runtimes.errors import DeviceUnavailableError, RuntimeUnavailableError
from medsdk_runtimes.framing import receive, send

TIME_LIMIT_S = 120.0
"""How long one item may take, unless it is said otherwise."""
_ENDING_S = 10.0

Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class Timed:
    """A result and the seconds that it took."""

    result: Result
    seconds: float


@dataclass(frozen=True)
class Report:
    """What a runtime declares and what it keeps.

    Attributes:
        runtime: Its name.
        version: Of its library, empty where it does not say.
        device: That everything ran on, empty where it names none.
        capabilities: That it declares.
        results: One an item, in the order of `ITEMS`.
    """

    runtime: str
    version: str
    device: str
    capabilities: tuple[str, ...]
    results: tuple[Timed, ...]


def run_kit(
    name: str,
    *,
    device: str | None = None,
    ids: Collection[str] | None = None,
    limit_s: float = TIME_LIMIT_S,
    show_output: bool = False,
    progress: Progress = lambda phase, done, total: None,
) -> Report:
    """Ask a runtime everything, or only the named items.

    Args:
        name: Of one of medsdk's own runtimes, or of an entry of the group `medsdk.runtimes`.
        device: One of its devices; None takes the first.
        ids: Items to run; None runs all.
        limit_s: Longest time for an item, in seconds.
        show_output: Whether what the runtime prints goes to standard error instead of nowhere.
        progress: Told of every item.

    Returns:
        What came of it, whatever the runtime did.

    Raises:
        RuntimeUnavailableError: There is no runtime of that name, or it does not load here.
        DeviceUnavailableError: It does not list that device.
    """
    if name not in known_names():
        raise RuntimeUnavailableError.unknown(name, known_names())
    items = [item for item in ITEMS if ids is None or item.id in ids]
    asked = _Asked(name, device or "", limit_s, show_output)
    with asked.ending():
        facts = asked.facts()
        devices = tuple(facts.get("devices", ()))
        if device is not None and devices and device not in devices:
            raise DeviceUnavailableError.missing(name, device, devices)
        results = []
        for number, item in enumerate(items):
            progress(f"conformance of {name}", number, len(items))
            results.append(asked.item(item, facts.get("exceptions", {}).get(item.id)))
        progress(f"conformance of {name}", len(items), len(items))
    return Report(
        name,
        facts.get("version", ""),
        device or next(iter(devices), ""),
        tuple(facts.get("capabilities", ())),
        tuple(results),
    )


class _GoneError(Exception):
    """The child died or did not answer; the message says which."""


@dataclass
class _Asked:
    """A runtime behind child processes, one after the other."""

    name: str
    device: str
    limit_s: float
    show_output: bool
    child: _Child | None = None

    @contextmanager
    def ending(self) -> Iterator[None]:
        """No child is left, whatever happens."""
        try:
            yield
        finally:
            self._drop()

    def facts(self) -> Mapping[str, Any]:
        """What the runtime says of itself; empty where it cannot be asked.

        Raises:
            RuntimeUnavailableError: It does not load, or says that it is not available.
        """
        try:
            loaded = self._ask({"what": "load"})
        except _GoneError as gone:
            self._drop()
            loaded = {"raised": str(gone)}
        if "raised" in loaded:
            raise RuntimeUnavailableError(
                f"the runtime {self.name!r} does not load",
                got=loaded["raised"],
                expected="a package that imports",
                remedy="update or remove the package that declares it",
            )
        try:
            found = self._ask({"what": "describe"})
        except _GoneError:
            self._drop()
            return {}
        if found.get("available") is False:
            ours = self.name in {runtime.name for runtime in RUNTIMES}
            raise RuntimeUnavailableError(
                f"the runtime {self.name!r} is not available on this machine",
                got=found["reason"],
                expected="a library that imports",
                remedy=f'pip install "medsdk[{found["extra"]}]"'
                if ours
                else "install what its package asks for",
            )
        return {} if "raised" in found else found

    def item(self, item: Item, exception: str | None) -> Timed:
        """Ask one thing."""
        before = time.monotonic()
        verdict: Verdict
        try:
            if item.id == ENDS:
                verdict, detail = "pass", ""
                self._let_end()
            else:
                reply = self._ask({"what": "item", "id": item.id})
                verdict, detail = reply["verdict"], reply["detail"]
        except _GoneError as gone:
            self._drop()
            verdict, detail = "fail", str(gone)
        result = with_exception(Result(item.id, item.capability, verdict, detail), exception)
        return Timed(result, round(time.monotonic() - before, 3))

    def _let_end(self) -> None:
        """A process of its own that leaves a session open and then ends."""
        self._drop()
        reply = self._ask({"what": "leave-open"})
        if reply["verdict"] != "pass":
            raise _GoneError(reply["detail"])
        child, self.child = self.child, None
        if child is not None:
            child.let_end()

    def _ask(self, request: Mapping[str, str]) -> dict[str, Any]:
        if self.child is None:
            self.child = _Child(self.name, self.device, self.show_output)
        return self.child.ask(request, self.limit_s)

    def _drop(self) -> None:
        child, self.child = self.child, None
        if child is not None:
            child.kill()


@dataclass
class _Child:
    """One child process."""

    name: str
    device: str
    show_output: bool
    replies: queue.SimpleQueue[dict[str, Any] | None] = field(default_factory=queue.SimpleQueue)

    def __post_init__(self) -> None:
        self.process = subprocess.Popen(
            # Without -P a file in the current directory could stand in for a library.
            [sys.executable, "-P", "-m", "medsdk_conformance._child", self.name, self.device],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if self.show_output else subprocess.DEVNULL,
            # The child sees the parent's import path, so that both run the same code.
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            # A group of its own, so that its own children end with it.
            start_new_session=True,
        )
        threading.Thread(target=self._listen, daemon=True).start()

    def ask(self, request: Mapping[str, str], limit_s: float) -> dict[str, Any]:
        """The answer to a request.

        Raises:
            _GoneError: There is none.
        """
        try:
            send(_pipe(self.process.stdin), request, {})
        except OSError:  # it died since the last answer
            raise self._gone() from None
        try:
            reply = self.replies.get(timeout=limit_s)
        except queue.Empty:
            raise _GoneError(f"no answer within {limit_s:g} s: the process was ended") from None
        if reply is None:
            raise self._gone()
        return reply

    def let_end(self) -> None:
        """Close the pipe and wait.

        Raises:
            _GoneError: It does not end, or not well.
        """
        _pipe(self.process.stdin).close()
        try:
            status = self.process.wait(_ENDING_S)
        except subprocess.TimeoutExpired:
            raise _GoneError(f"the process does not end within {_ENDING_S:g} s") from None
        finally:
            self.kill()
        if status:
            raise _GoneError(_ended(status))

    def kill(self) -> None:
        """End it and its children now."""
        if sys.platform == "win32":
            self.process.kill()
        else:
            with suppress(ProcessLookupError):  # all of them may have ended
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            try:
                _pipe(stream).close()
            except OSError:  # it died with a request on its way
                continue

    def _gone(self) -> _GoneError:
        try:
            return _GoneError(_ended(self.process.wait(_ENDING_S)))
        except subprocess.TimeoutExpired:
            return _GoneError("the process closed its pipe")

    def _listen(self) -> None:
        while True:
            try:
                reply, _ = receive(_pipe(self.process.stdout))
            # The pipe is closed, or what came is no message of ours.
            except (EOFError, OSError, ValueError, KeyError, TypeError):
                self.replies.put(None)
                return
            self.replies.put(reply)


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise OSError("no pipe")
    return stream


def _ended(status: int) -> str:
    if status >= 0:
        return f"the process ended with exit status {status}"
    try:
        return f"the process was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"the process was ended by signal {-status}"
