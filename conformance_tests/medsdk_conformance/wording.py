"""What is said of somebody else's runtime, in one line, and whether a text holds a path."""

from __future__ import annotations

import re

from medsdk_runtimes import library_words

_LONGEST = 400
_ADDRESS = re.compile(r"\b\w+://\S+")
_PATH = re.compile(
    r"""
    (?<![\w.)\]/])(?:~|\.{1,2})?/[\w.\-]+(?:/|\.\w)  # /home/..., ./weights.bin; not FLOAT/INT8
    | \b[A-Za-z]:[\\/]\w                             # C:\models
    | \\\\\w                                         # \\server
    | [\w\-]+(?:[/\\][\w.\-]+)*[/\\][\w\-]+\.[A-Za-z]\w{0,4}\b  # secret/weights.bin
    """,
    re.VERBOSE,
)


def one_line(text: str) -> str:
    """Printable text in one short line."""
    shown = " ".join(text.encode("utf-8", "replace").decode().split())
    shown = "".join(letter if letter.isprintable() else "?" for letter in shown)
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}..."


def words(error: BaseException) -> str:
    """What somebody else's exception says, without anything that looks like a path."""
    return f"raised {library_words(error)}"


def holds_path(text: str) -> bool:
    """Whether a text shows where a file is; a slash between two words does not."""
    return _PATH.search(_ADDRESS.sub("", text)) is not None
