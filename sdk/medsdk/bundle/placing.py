"""Where a bundle may be written: what it may replace, and what it never does."""

from __future__ import annotations

import os
import re
from pathlib import Path

from medsdk._refusals import BundleFormError, BundleUnreadableError, OutputNotWritableError
from medsdk.atomic import reported
from medsdk.bundle.names import is_signature
from medsdk.bundle.one_file import SUFFIX, OneFile
from medsdk.bundle.storage import MANIFEST, MANIFEST_DIGEST, BundleLimits

_TOP = {MANIFEST, MANIFEST_DIGEST, "networks", "known_answers", "evidence"}
"""What lies at the top of a bundle's directory, beside signatures."""


def check_place(target: Path, *, replace: bool) -> None:
    """Refuse a place that cannot be, or where replacing would delete what is no bundle.

    Args:
        target: Where a bundle shall be.
        replace: Whether the user said that what is there may be replaced.

    Raises:
        OutputNotWritableError: It holds something else, or cannot be looked at.
    """
    with reported("the bundle"):
        target.resolve()
        refused = replace and os.path.lexists(target) and not _is_replaceable(target)
    if refused:
        raise OutputNotWritableError(
            "what is at --out is no bundle",
            got="something else, which replacing would delete",
            expected="a bundle, an empty directory, or nothing",
            remedy="choose another place: --out, in Python `out`",
        )


def check_apart(source: Path, target: Path) -> None:
    """Refuse a place that is the source itself, lies in it, or holds it.

    Args:
        source: The bundle that is read.
        target: Where another shall be.

    Raises:
        OutputNotWritableError: It is, or cannot be looked at.
    """
    with reported("the bundle"):
        one, other = source.resolve(), target.resolve()
        same = target.exists() and source.samefile(target)
    if same or one.is_relative_to(other) or other.is_relative_to(one):
        raise OutputNotWritableError(
            "the bundle would lie in the one that it is made of, or in its place",
            got="a place that is the source, lies in it, or holds it",
            expected="another place",
            remedy="choose another place: --out, in Python `out`",
        )


def default_file(directory: Path) -> Path:
    """The directory's name with `.medsdk`, beside it.

    Args:
        directory: A bundle's directory.

    Raises:
        OutputNotWritableError: The name cannot be found out.
    """
    with reported("the bundle"):
        place = directory if directory.name not in ("", "..") else directory.resolve()
        return place.with_name(place.name + SUFFIX)


def default_directory(file: Path) -> Path:
    """The file's name without `.medsdk`, beside it.

    Args:
        file: A bundle's one file.

    Raises:
        BundleFormError: Its name does not end so.
    """
    if file.suffix != SUFFIX or not file.stem.strip("."):
        raise BundleFormError(
            "the file's name tells none for the directory",
            got=f"a name that does not end in {SUFFIX}, in small letters",
            expected=f"NAME{SUFFIX}, or a place",
            remedy="give the place: --out DIR, in Python `out`",
        )
    return file.with_suffix("")


def _is_replaceable(place: Path) -> bool:
    """True for a bundle, as far as names and headers tell, and for an empty directory."""
    if place.is_dir():
        names = {path.name for path in place.iterdir()}
        return not names or (
            all(is_signature(name) for name in names - _TOP)
            and (place / MANIFEST).is_file()
            and _is_digest(place / MANIFEST_DIGEST)
        )
    try:
        return MANIFEST in OneFile.open(place, BundleLimits()).sizes
    except BundleUnreadableError:
        return False


def _is_digest(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return re.fullmatch(rb"[0-9a-f]{64}\n", file.read(66)) is not None
