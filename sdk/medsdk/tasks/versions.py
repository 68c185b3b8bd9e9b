"""Which format versions this release reads, and what a document may leave to later ones.

A reader takes its own major version and the two before, and refuses newer. A document lists
its optional keys under `optional`: a reader ignores those that it does not know.
"""

from __future__ import annotations

import re
from typing import Any

from medsdk._refusals import FormatVersionError, shown
from medsdk.tasks.strict import FORMAT_VERSION

READ_MAJORS = tuple(
    major
    for major in range(int(FORMAT_VERSION.split(".")[0]) - 2, int(FORMAT_VERSION.split(".")[0]) + 1)
    if major >= 1
)
"""Major versions that this release reads."""


def check_format_version(value: object, name: str) -> None:
    """Refuse a version outside the readable range.

    Args:
        value: The document's `format_version`.
        name: What the document is called in the error.

    Raises:
        FormatVersionError: Missing, malformed, newer or too old.
    """
    match = re.fullmatch(r"([0-9]{1,6})\.([0-9]{1,6})", value) if isinstance(value, str) else None
    if match is None or int(match[1]) not in READ_MAJORS:
        raise FormatVersionError(
            f"{name} is of a format version that this release does not read",
            got=f"format_version = {shown(value)}",
            expected=f"major version {' or '.join(map(str, READ_MAJORS))}, for instance "
            f"{FORMAT_VERSION!r}",
            remedy="update medsdk for a newer document; make an older one again",
        )


def drop_optional(document: dict[str, Any], known: set[str]) -> dict[str, Any]:
    """Leave out the top-level keys that the document itself calls optional.

    Args:
        document: A parsed document.
        known: Keys that this release knows.

    Returns:
        The document without those keys that it lists under `optional` and that are unknown
        here. Every other unknown key stays, for the schema to refuse.
    """
    listed = document.get("optional")
    names = {name for name in listed if isinstance(name, str)} if isinstance(listed, list) else ()
    return {key: value for key, value in document.items() if key in known or key not in names}
