"""The folder that a demo fills: whole or not at all, and never over somebody else's files."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from medsdk.atomic import new_directory
from medsdk.demonstration.errors import DemoOutputError
from medsdk.errors import OutputNotWritableError

if TYPE_CHECKING:
    from medsdk.engine import Engine
    from medsdk.pixels import Box
    from medsdk.results.documents import Document

MARKER = "demo.json"
"""Written last; a directory that holds it is a demo's and may be replaced by the next."""


@contextmanager
def demo_folder(out: Path) -> Iterator[Path]:
    """A folder to fill, which takes the place of `out` at the end.

    Everything appears at once, so that an interrupted demo leaves the last one as it was.

    Args:
        out: Where everything goes.

    Raises:
        DemoOutputError: `out` holds something that is not a demo's, or is the directory that the
            command runs in, or one above it.
        OutputNotWritableError: It cannot be written.
    """
    if _is_around_us(out):
        raise DemoOutputError(
            "the demo's output directory would take the place of the one that it runs in",
            got="the current directory, or one above it",
            expected="a directory beside or below it",
            remedy="choose another --out",
        )
    if _holds_something_else(out):
        raise DemoOutputError(
            "the demo's output directory holds something else",
            got="files that no demo wrote",
            expected="a new directory, or one of an earlier demo",
            remedy="choose another --out",
        )
    with new_directory(out, "the demo", replace=True) as folder:
        try:
            yield folder
        except OSError as error:
            raise OutputNotWritableError.from_os("the demo", error) from error


def write_document(path: Path, document: Document) -> None:
    """Write a document as `--json` prints it."""
    path.write_text(document.model_dump_json(indent=2) + "\n", encoding="utf-8")


def draw(engine: Engine, source: Path | bytes, number: int, roi: Box | None, out: Path) -> None:
    """A picture of one frame with its finding.

    Args:
        engine: The loaded bundle.
        source: A DICOM file.
        number: Which frame, 1-based.
        roi: Region of interest, where the task takes one.
        out: The PNG file.
    """
    from medsdk.pixels import open_dicom
    from medsdk.results.picture import finding_picture

    image = open_dicom(source)
    finding = engine.predict(image, frame_number=number, roi=roi)
    title = engine.bundle.manifest.task.title
    out.write_bytes(finding_picture(image.frame(number), finding, title))


def in_shell(path: Path) -> str:
    """A path as a shell takes it in a command: cmd.exe on Windows."""
    if sys.platform == "win32":
        return subprocess.list2cmdline([str(path)])
    return shlex.quote(str(path))


def _is_around_us(out: Path) -> bool:
    try:
        place, here = out.resolve(), Path.cwd()
    except OSError as error:
        raise OutputNotWritableError.from_os("the demo", error) from error
    return place == here or place in here.parents


def _holds_something_else(out: Path) -> bool:
    try:
        used = out.exists() and any(out.iterdir() if out.is_dir() else [out])
        return used and not (out / MARKER).is_file()
    except OSError as error:
        raise OutputNotWritableError.from_os("the demo", error) from error
