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
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from medsdk_conformance.limits import MOST_SILENT, TIME_LIMIT_S
from medsdk_conformance.suite import (
    ENDS,
    ITEMS,
    Item,
    Result,
    Verdict,
    with_exception,
)
from medsdk_conformance.wording import one_line
from medsdk_runtimes import RUNTIMES, known_names
from medsdk_runtimes.errors import DeviceUnavailableError, RuntimeUnavailableError
from medsdk_runtimes.framing import receive, send

_ENDING_S = 10.0
_PRINTS = "standard-output"
"""The item that is judged last, over all that the runtime did."""
_LATE_S = 0.5
"""How long after the last call something may still be printed."""
_SHOWN_BYTES = 80

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
    in_turn = sorted(items, key=lambda item: item.id == _PRINTS)
    results: dict[str, Timed] = {}
    with _asking(name, device or "", limit_s, show_output) as asked:
        facts = asked.facts()
        devices = tuple(facts.get("devices", ()))
        if device is not None and devices and device not in devices:
            raise DeviceUnavailableError.missing(name, device, devices)
        for number, item in enumerate(in_turn):
            progress(f"conformance of {name}", number, len(items))
            results[item.id] = asked.item(item, facts.get("exceptions", {}).get(item.id))
        progress(f"conformance of {name}", len(items), len(items))
    return Report(
        name,
        facts.get("version", ""),
        device or next(iter(devices), ""),
        tuple(facts.get("capabilities", ())),
        tuple(results[item.id] for item in items),
    )


@contextmanager
def _asking(name: str, device: str, limit_s: float, show_output: bool) -> Iterator[_Asked]:
    """A runtime to be asked; no child and no file is left, whatever happens."""
    # On Windows a process that is still ending may hold the file.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        printed = _Printed(Path(folder) / "printed", show_output)
        asked = _Asked(name, device, limit_s, show_output, printed)
        try:
            yield asked
        finally:
            asked.drop()


class _GoneError(Exception):
    """The child died or did not answer; the message says which."""


class _SilentError(_GoneError):
    """It did not answer in time."""


@dataclass
class _Printed:
    """What the children wrote to standard output.

    Attributes:
        file: That they append to.
        show: Whether it goes to standard error too.
        first: What was asked when something was printed first, with its beginning.
    """

    file: Path
    show: bool
    first: str = ""
    seen: int = 0

    def look(self, asked: str) -> None:
        """See what came since the last time."""
        if not self.file.exists() or self.file.stat().st_size <= self.seen:
            return
        with self.file.open("rb") as file:
            file.seek(self.seen)
            text = file.read(None if self.show else _SHOWN_BYTES)
            self.seen = file.seek(0, os.SEEK_END)
        if self.show:
            sys.stderr.write(text.decode(errors="replace"))
        if not self.first:
            begins = text[:_SHOWN_BYTES].decode(errors="replace")
            self.first = f"first seen after {asked}: {begins!r}"


@dataclass
class _Asked:
    """A runtime behind child processes, one after the other."""

    name: str
    device: str
    limit_s: float
    show_output: bool
    printed: _Printed
    child: _Child | None = None
    mute: str = ""
    """That it does not even say what it is."""
    silent: int = 0
    """Items in a row that were not answered in time."""
    unasked: str = ""
    """Why nothing more is asked."""

    def facts(self) -> Mapping[str, Any]:
        """What the runtime says of itself; empty where it cannot be asked.

        Raises:
            RuntimeUnavailableError: It does not load, or says that it is not available.
        """
        try:
            loaded = self._ask({"what": "load"})
        except _GoneError as gone:
            self.drop()
            loaded = {"raised": str(gone)}
        self.printed.look("its import")
        if "raised" in loaded:
            raise RuntimeUnavailableError(
                f"the runtime {self.name!r} does not load",
                got=loaded["raised"],
                expected="a package that imports",
                remedy="update or remove the package that declares it",
            )
        try:
            found = self._ask({"what": "describe"})
        except _GoneError as gone:
            self.drop()
            if isinstance(gone, _SilentError):
                self.mute = (
                    f"it did not say within {self.limit_s:g} s what it is: availability(), "
                    "devices(), capabilities"
                )
            return {}
        finally:
            self.printed.look("availability() and devices()")
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
        verdict, detail = self._judge(item)
        result = with_exception(Result(item.id, item.capability, verdict, detail), exception)
        return Timed(result, round(time.monotonic() - before, 3))

    def _judge(self, item: Item) -> tuple[Verdict, str]:
        if self.unasked:
            return "not-run", f"not asked: {self.unasked}"
        if self.mute:  # an item fails, since this is no runtime that could not be asked
            self.unasked = self.mute
            return "fail", self.mute
        verdict: Verdict = "pass"
        detail = ""
        try:
            if item.id == ENDS:
                self._let_end()
            else:
                reply = self._ask({"what": "item", "id": item.id})
                verdict, detail = reply["verdict"], reply["detail"]
            self.silent = 0
        except _GoneError as gone:
            self.drop()
            verdict, detail = "fail", str(gone)
            self.silent = self.silent + 1 if isinstance(gone, _SilentError) else 0
            if self.silent == MOST_SILENT:
                self.unasked = (
                    f"{MOST_SILENT} items in a row were not answered within {self.limit_s:g} s"
                )
        if item.id == _PRINTS:
            time.sleep(_LATE_S)
        self.printed.look(item.id)
        if item.id == _PRINTS and self.printed.first:
            verdict = "fail"
            detail = one_line(f"{self.printed.seen} bytes in all, {self.printed.first}")
        return verdict, detail

    def _let_end(self) -> None:
        """A process of its own that leaves a session open and then ends."""
        self.drop()
        reply = self._ask({"what": "leave-open"})
        if reply["verdict"] != "pass":
            raise _GoneError(reply["detail"])
        child, self.child = self.child, None
        if child is not None:
            child.let_end()

    def _ask(self, request: Mapping[str, str]) -> dict[str, Any]:
        if self.child is None:
            self.child = _Child(self.name, self.device, self.printed.file, self.show_output)
        # An import is no item: however short their limit is, a library may be slow to load.
        loads = request["what"] == "load"
        return self.child.ask(request, max(self.limit_s, TIME_LIMIT_S) if loads else self.limit_s)

    def drop(self) -> None:
        """End the child."""
        child, self.child = self.child, None
        if child is not None:
            child.kill()


@dataclass
class _Child:
    """One child process."""

    name: str
    device: str
    printed: Path
    show_output: bool
    replies: queue.SimpleQueue[dict[str, Any] | None] = field(default_factory=queue.SimpleQueue)

    def __post_init__(self) -> None:
        self.process = subprocess.Popen(
            # Without -P a file in the current directory could stand in for a library.
            [
                *(sys.executable, "-P", "-m", "medsdk_conformance._child"),
                *(self.name, self.device, str(self.printed)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if self.show_output else subprocess.DEVNULL,
            env={
                **os.environ,
                # The child sees the parent's import path, so that both run the same code.
                "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
                # What it prints before it dies is seen.
                "PYTHONUNBUFFERED": "1",
            },
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
            raise _SilentError(f"no answer within {limit_s:g} s: the process was ended") from None
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
