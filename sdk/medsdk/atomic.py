"""Writing so that a reader sees all of it or nothing."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medsdk._refusals import OutputNotWritableError
from medsdk_runtimes.operating_system import sync_directory


@contextmanager
def new_directory(target: Path, what: str, *, replace: bool = False) -> Iterator[Path]:
    """A directory that appears at `target` whole, or not at all.

    Args:
        target: Where it shall be; its parent is made where it is missing.
        what: What it is called in errors.
        replace: Whether something that is there already may be replaced.

    Yields:
        A fresh directory beside `target` to write into.

    Raises:
        OutputNotWritableError: The place exists already, cannot be written, or is full.
    """
    with _fresh(target, what, replace=replace) as made:
        yield made
        with reported(what):
            _publish(made, target, what, replace=replace)


@contextmanager
def new_file(target: Path, what: str, *, replace: bool = False) -> Iterator[Path]:
    """A file that appears at `target` whole, or not at all. `write_file` does it for bytes.

    Args:
        target: Where it shall be; its parent is made where it is missing.
        what: What it is called in errors.
        replace: Whether something that is there already, also a directory, may be replaced.

    Yields:
        Where to write it. The directory that it lies in is fresh and hidden, beside `target`;
        whatever else the caller leaves there is removed at the end.

    Raises:
        OutputNotWritableError: The place exists already, cannot be written, or is full.
    """
    with _fresh(target, what, replace=replace) as folder:
        made = folder / "file"
        yield made
        with reported(what):
            _publish(made, target, what, replace=replace)


@contextmanager
def _fresh(target: Path, what: str, *, replace: bool) -> Iterator[Path]:
    with reported(what):
        there = os.path.lexists(target)
    if there and not replace:
        raise _there_already(target, what)
    with reported(what):
        target.parent.mkdir(parents=True, exist_ok=True)
        made = _beside(target, "partial")
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _there_already(target: Path, what: str) -> OutputNotWritableError:
    remedy = "choose another place: --out, in Python `out`"
    if target.is_file() or target.is_dir():  # no link that leads nowhere, no pipe, no device
        remedy += "; or let it be replaced: --force, in Python `replace=True`"
    return OutputNotWritableError(
        f"{what} is there already",
        got="something that exists",
        expected="a new place",
        remedy=remedy,
    )


def _publish(made: Path, target: Path, what: str, *, replace: bool) -> None:
    for path in made.rglob("*") if made.is_dir() else (made,):
        if path.is_file():
            with path.open("rb+") as file:
                os.fsync(file.fileno())
    if not replace:
        _appear(made, target, what)
    elif target.exists() and (made.is_dir() or target.is_dir()):
        aside = _beside(target, "old")
        old = aside / "old"
        try:
            target.replace(old)
            made.replace(target)
        except BaseException:
            if old.exists() and not target.exists():
                old.replace(target)
            shutil.rmtree(aside, ignore_errors=True)
            raise
        shutil.rmtree(aside, ignore_errors=True)
    else:
        made.replace(target)  # of a file by a file: in one step
    sync_directory(target.parent)


def _appear(made: Path, target: Path, what: str) -> None:
    """Where nothing is; what came there while the work was done stays as it is.

    A directory is renamed, which the system refuses for all but an empty directory, where nothing
    is lost. A file would take the place of another: it is linked instead.
    """
    try:
        if made.is_dir():
            made.rename(target)
            return
        try:
            target.hardlink_to(made)
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links: take the name first
            target.touch(exist_ok=False)
            made.replace(target)
    except OSError as error:
        if os.path.lexists(target):
            raise _there_already(target, what) from error
        raise


def _beside(target: Path, kind: str) -> Path:
    """A fresh hidden directory next to `target`.

    Not `tempfile.mkdtemp`: what that makes is its owner's alone, and on Windows the renamed
    directory would stay closed to the account that a scanner's service runs under.
    """
    path = target.parent / f".{target.name}.{kind}-{secrets.token_hex(4)}"
    path.mkdir()
    return path


@contextmanager
def reported(what: str) -> Iterator[None]:
    """What the system refuses, or Python of a path that cannot be, as an error without the path.

    Args:
        what: What was being written.

    Raises:
        OutputNotWritableError: For an OSError, the RuntimeError of a loop of links and the
            ValueError of a path with a zero byte.
    """
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        raise OutputNotWritableError.from_os(what, error) from error


def write_file(target: Path, data: bytes, what: str) -> None:
    """Write one file whole, replacing what is there.

    Args:
        target: Where.
        data: What.
        what: What it is called in errors.

    Raises:
        OutputNotWritableError: The place cannot be written or is full.
    """
    partial: Path | None = None
    try:
        with reported(what):
            target.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=f".{target.name}.partial-", dir=target.parent)
            partial = Path(name)
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            partial.chmod(0o644)
            partial.replace(target)
            partial = None
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)
