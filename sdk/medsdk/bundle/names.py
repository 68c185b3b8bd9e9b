"""What a file of a bundle may be called, the same in a directory, in one file and when written."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

from medsdk._refusals import shown

LONGEST_NAME = 200
"""Of a path inside a bundle, in characters."""

DEPTH = 8
"""How many directories deep a file may lie."""

_PART = r"(?!(?:aux|con|nul|prn|com[1-9]|lpt[1-9])(?:[./]|\Z))[a-z0-9](?:[a-z0-9_.-]*[a-z0-9_-])?"
_NAME = re.compile(rf"{_PART}(?:/{_PART}){{0,{DEPTH}}}")
_SIGNATURE = re.compile(r"signature(?:\.[a-z0-9]+)*")


def is_file_name(name: str) -> bool:
    """Whether a file of a bundle may have this path.

    Lower-case ASCII words with `/` between them, none of which starts or ends with a dot or is a
    device of Windows. So no path climbs out, none collides on a file system that folds case, and
    every system can hold them all.

    Args:
        name: Path inside the bundle.
    """
    return len(name) <= LONGEST_NAME and _NAME.fullmatch(name) is not None


def is_signature(name: str) -> bool:
    """Whether this is room for a signature, which no manifest lists.

    Args:
        name: Path inside the bundle.
    """
    return len(name) <= LONGEST_NAME and _SIGNATURE.fullmatch(name) is not None


def named(name: str) -> str:
    """How an error names a file: never by a name that somebody gave to something else.

    Args:
        name: Path inside what may be a bundle.
    """
    return repr(name) if is_file_name(name) else "a name that no file of a bundle has"


def _checked(name: str) -> str:
    if not is_file_name(name):
        raise ValueError(f"{shown(name)} is no name that a file of a bundle may have")
    return name


FilePath = Annotated[str, AfterValidator(_checked)]
"""A path inside the bundle, see `is_file_name`."""
