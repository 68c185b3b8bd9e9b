"""A bundle's directory to one file, and back: the same bundle, byte for byte."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace as changed
from pathlib import Path

from medsdk._refusals import (
    BundleFormError,
    BundleTamperedError,
    BundleUnreadableError,
    OutputNotWritableError,
)
from medsdk.atomic import new_directory, new_file
from medsdk.bundle.manifest import MANIFEST
from medsdk.bundle.one_file import SUFFIX, OneFile, write_one_file
from medsdk.bundle.reading import Bundle
from medsdk.bundle.storage import BundleLimits, Directory, Storage

Progress = Callable[[str, int, int | None], None]
"""Called with the phase, how many files are done, and how many there are (None: unknown)."""


def pack(
    directory: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    replace: bool = False,
    progress: Progress | None = None,
) -> Bundle:
    """Write a bundle's directory as one file, always the same bytes for the same bundle.

    Its digests are checked before, and those of the written file before it appears.

    Args:
        directory: The bundle's directory.
        out: Where the file shall be; None for the directory's name with `.medsdk` beside it.
        replace: Whether a bundle, in either form, that is at `out` may be replaced.
        progress: Told what is being done.

    Returns:
        The written bundle, opened.

    Raises:
        BundleUnreadableError: There is no bundle, or a malformed one.
        BundleTamperedError: Its contents differ from its digests, or changed meanwhile.
        FormatVersionError: It is of a format version that this release does not read.
        BundleFormError: It is one file already, or too large to be one.
        OutputNotWritableError: The place exists, cannot be written, or is full.
    """
    say = progress or _silent
    source = Path(directory)
    bundle = _checked(source, say)
    if not isinstance(bundle.storage, Directory):
        raise BundleFormError(
            "the bundle is one file already",
            got="a file",
            expected="a bundle's directory",
            remedy="use it as it is, or copy it",
        )
    target = Path(out) if out is not None else _with_suffix(source)
    if target.resolve().is_relative_to(source.resolve()):
        raise OutputNotWritableError(
            "the file would lie inside the bundle that it is made of",
            got="a place in the bundle's directory",
            expected="another place",
            remedy="choose another --out",
        )
    _check_place(target, replace=replace)
    with new_file(target, "the bundle", replace=replace) as made:
        write_one_file(made, bundle.storage, lambda done, total: say("packing", done, total))
        written = _same(bundle, made, say)
    return _moved(written, target)


def unpack(
    file: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    replace: bool = False,
    progress: Progress | None = None,
) -> Bundle:
    """Write the one file that is a bundle as a directory; nothing that runs a bundle needs it.

    Its digests are checked before, and those of the directory before it appears.

    Args:
        file: The bundle.
        out: Where the directory shall be; None for the file's name without `.medsdk` beside it.
        replace: Whether a bundle, in either form, that is at `out` may be replaced.
        progress: Told what is being done.

    Returns:
        The written bundle, opened.

    Raises:
        BundleUnreadableError: There is no bundle, or a malformed one.
        BundleTamperedError: Its contents differ from its digests, or changed meanwhile.
        FormatVersionError: It is of a format version that this release does not read.
        BundleFormError: It is a directory already, or its name tells none for the directory.
        OutputNotWritableError: The place exists, cannot be written, or is full.
    """
    say = progress or _silent
    source = Path(file)
    bundle = _checked(source, say)
    if not isinstance(bundle.storage, OneFile):
        raise BundleFormError(
            "the bundle is a directory already",
            got="a directory",
            expected="a bundle's .medsdk file",
            remedy="use it as it is, or copy it",
        )
    target = Path(out) if out is not None else _without_suffix(source)
    _check_place(target, replace=replace)
    with new_directory(target, "the bundle", replace=replace) as made:
        _write_files(made, bundle.storage, say)
        written = _same(bundle, made, say)
    return _moved(written, target)


def is_replaceable(place: Path) -> bool:
    """Whether a bundle may take the place of what is there, if the user said so.

    Args:
        place: An existing file or directory.

    Returns:
        True for a bundle, as far as names and an archive's headers tell, and for an empty
        directory.

    Raises:
        OSError: It cannot be read.
    """
    if place.is_dir():
        return (place / MANIFEST).is_file() or not any(place.iterdir())
    try:
        return MANIFEST in OneFile.open(place, BundleLimits()).sizes
    except BundleUnreadableError:
        return False


def _silent(phase: str, done: int, total: int | None) -> None:
    pass


def _checked(source: Path, say: Progress) -> Bundle:
    say("checking the bundle", 0, None)
    return Bundle.open(source)


def _same(bundle: Bundle, made: Path, say: Progress) -> Bundle:
    """What was written, opened, if it is the same bundle."""
    say("checking what was written", 0, None)
    written = Bundle.open(made)
    if written.sha256 != bundle.sha256 or written.storage.sizes != bundle.storage.sizes:
        raise BundleTamperedError(
            "the bundle changed while it was read",
            got=f"sha256 {written.sha256}",
            expected=f"sha256 {bundle.sha256}",
            remedy="run it again",
        )
    return written


def _moved(bundle: Bundle, target: Path) -> Bundle:
    assert isinstance(bundle.storage, OneFile | Directory)
    return changed(bundle, storage=changed(bundle.storage, path=target))


def _with_suffix(source: Path) -> Path:
    place = source if source.name not in ("", "..") else source.resolve()
    return place.with_name(place.name + SUFFIX)


def _without_suffix(source: Path) -> Path:
    if source.suffix != SUFFIX:
        raise BundleFormError(
            "the file's name tells none for the directory",
            got=f"a name that does not end in {SUFFIX}",
            expected=f"NAME{SUFFIX}, or --out",
            remedy="give --out DIR",
        )
    return source.with_suffix("")


def _check_place(target: Path, *, replace: bool) -> None:
    try:
        refused = replace and target.exists() and not is_replaceable(target)
    except OSError as error:
        raise OutputNotWritableError.from_os("the bundle", error) from error
    if refused:
        raise OutputNotWritableError(
            "what is at --out is no bundle",
            got="something else, which replacing would delete",
            expected="a bundle, an empty directory, or nothing",
            remedy="choose another --out",
        )


def _write_files(folder: Path, storage: Storage, say: Progress) -> None:
    try:
        for number, name in enumerate(storage.sizes):
            say("unpacking", number, len(storage.sizes))
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                for chunk in storage.chunks(name):
                    file.write(chunk)
    except OSError as error:
        raise OutputNotWritableError.from_os("the bundle", error) from error
    say("unpacking", len(storage.sizes), len(storage.sizes))
