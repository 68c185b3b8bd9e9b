"""What commands print: one JSON document or text on standard output, the rest on stderr."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from medsdk._refusals import OutputNotWritableError
from medsdk.printable import printable
from medsdk.results.documents import Document
from medsdk_runtimes.errors import MedsdkError


class ReaderGoneError(Exception):
    """Whoever reads standard output closed it, as `head` does; nobody is left to tell."""


_apart: list[BinaryIO] = []
"""Where this program's own words go, once `keep_apart` was called."""


def keep_apart() -> None:
    """From now on standard output holds only what this module prints.

    A runtime of another package, or the library below it, may print when it is imported, used or
    at the end of the process; `--json` promises one document all the same. So file descriptor 1
    becomes standard error for as long as the process lives, and this module writes to a duplicate.
    """
    try:
        os.fstat(1)
    except OSError:  # there is no standard output: whoever prints is told so
        return
    try:
        os.fstat(2)
    except OSError:  # a duplicate of 1 would otherwise become 2
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    sys.stdout.flush()
    _apart.append(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)


def discard_output() -> None:
    """What could not be written is still buffered; let it go nowhere when Python ends."""
    with Path(os.devnull).open("w") as nowhere:
        for stream in (sys.stdout, *_apart):
            os.dup2(nowhere.fileno(), stream.fileno())


def print_document(document: Document) -> None:
    """One JSON document on standard output, UTF-8 whatever the locale."""
    text = json.dumps(
        document.model_dump(mode="json"), ensure_ascii=False, allow_nan=False, indent=2
    )
    _write(text + "\n")


def print_text(text: str) -> None:
    """Text for a person on standard output."""
    _write(text + "\n")


def print_note(text: str) -> None:
    """A remark on standard error."""
    sys.stderr.write(printable(text) + "\n")
    sys.stderr.flush()


def print_error(error: MedsdkError) -> None:
    """What, got, expected, remedy on standard error, a line each."""
    lines = [f"medsdk: {error.what}"]
    for name in ("got", "expected", "remedy"):
        value = getattr(error, name)
        if value:
            lines.append(f"  {name + ':':<10}{value}")
    print_note("\n".join(lines))


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Columns padded to their widest cell, two spaces between them."""
    cells = [list(header), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


@dataclass
class Progress:
    """Progress of long work on standard error.

    On a terminal one line is rewritten; elsewhere each phase gets one line when it starts and
    one for every ten seconds that it takes. As a context it ends its line whatever happens, so
    that an error starts on a line of its own.
    """

    quiet: bool = False
    _phase: str = ""
    _started: float = 0.0
    _spoke: float = 0.0
    _terminal: bool = field(default_factory=lambda: sys.stderr.isatty())

    def __call__(self, phase: str, done: int, total: int | None) -> None:
        """Report that `done` of `total` steps of a phase are done."""
        if self.quiet:
            return
        now = time.monotonic()
        fresh = phase != self._phase
        last = total is not None and done >= total
        if fresh:
            self.close()
            self._phase, self._started = phase, now
        pause = 0.1 if self._terminal else 10.0
        if not (fresh or last) and now - self._spoke < pause:
            return
        if not self._terminal and last and not fresh and now - self._started < pause:
            return
        self._spoke = now
        count = f"  {done} of {total}" if total and total > 1 else ""
        text = f"{phase}{count}"
        if self._terminal:
            sys.stderr.write(f"\r\x1b[2K{text}")
        else:
            sys.stderr.write(f"{text}\n")
        sys.stderr.flush()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the line that is being rewritten."""
        if self._phase and self._terminal and not self.quiet:
            sys.stderr.write("\n")
            sys.stderr.flush()
        self._phase = ""


def _write(text: str) -> None:
    text = printable(text)
    # A console of another encoding must not turn an answer into a UnicodeEncodeError.
    stream = _apart[0] if _apart else getattr(sys.stdout, "buffer", None)
    try:
        if stream is None:
            sys.stdout.write(text)
        else:
            sys.stdout.flush()
            stream.write(text.encode())
            stream.flush()
    except BrokenPipeError:
        raise ReaderGoneError from None
    except OSError as error:
        raise OutputNotWritableError.standard_output(error) from error
