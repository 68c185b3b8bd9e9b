"""Digests of files that are too large to hold."""

from __future__ import annotations

import hashlib
from pathlib import Path

_PIECE = 4 * 1024**2


def sha256_of_file(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal digits, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()
