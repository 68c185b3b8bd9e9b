"""Foreign text as a terminal, a page or an XML file may show it."""

from __future__ import annotations

import re

_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What steers a terminal or turns the direction of text, and file names that are no text."""


def printable(text: str) -> str:
    """The same text with what a terminal would obey as JSON writes it, `u001b` after a backslash.

    Args:
        text: Anything, from a bundle, a file name or a user. Tabs and newlines stay.
    """
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
