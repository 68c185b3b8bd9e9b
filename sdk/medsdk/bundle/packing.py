"""A bundle's directory to one file, and back: the same bundle, byte for byte."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace as changed
from pathlib import Path

from medsdk._refusals import BundleFormError, BundleTamperedError, OutputNotWritableError
from medsdk.atomic import new_directory, new_file
from medsdk.bundle.one_file import OneFile, write_one_file
from medsdk.bundle.placing import check_apart, check_place, default_directory, default_file
from medsdk.bundle.reading import Bundle
from medsdk.bundle.storage import Directory, Storage, contents

Progress = Callable[[str, int, int | None], None]
"""Called with the phase, how many files are done, and how many there are (None: unknown)."""

_FORMS = ("one file", "a directory")


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
    bundle, target = _prepared(Path(directory), Directory, out, default_file, replace, say)
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
    bundle, target = _prepared(Path(file), OneFile, out, default_directory, replace, say)
    with new_directory(target, "the bundle", replace=replace) as made:
        _write_files(made, bundle.storage, say)
        written = _same(bundle, made, say)
    return _moved(written, target)


def _silent(phase: str, done: int, total: int | None) -> None:
    pass


def _prepared(
    source: Path,
    form: type[OneFile] | type[Directory],
    out: str | os.PathLike[str] | None,
    default: Callable[[Path], Path],
    replace: bool,
    say: Progress,
) -> tuple[Bundle, Path]:
    """The source, opened and found to be of one form, and the place where the other may be."""
    say("checking the bundle", 0, None)
    bundle = Bundle.open(source)
    if not isinstance(bundle.storage, form):
        here, there = _FORMS if form is Directory else _FORMS[::-1]
        raise BundleFormError(
            f"the bundle is {here} already",
            got=here,
            expected=f"a bundle that is {there}",
            remedy="use it as it is, or copy it",
        )
    target = default(source) if out is None else Path(out)
    check_apart(source, target)
    check_place(target, replace=replace)
    return bundle, target


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


def _write_files(folder: Path, storage: Storage, say: Progress) -> None:
    try:
        for number, name in enumerate(storage.sizes):
            say("unpacking", number, len(storage.sizes))
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                for chunk in contents(storage, name):
                    file.write(chunk)
    except OSError as error:
        raise OutputNotWritableError.from_os("the bundle", error) from error
    say("unpacking", len(storage.sizes), len(storage.sizes))
