"""The base of every record that is read from a file."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

FORMAT_VERSION = "1.0"
"""Version of the task, bundle, certificate and JSON formats that this release writes."""


class Strict(BaseModel):
    """A frozen record: unknown keys, other types, NaN and infinity are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(?:[-_][a-z0-9]+)*$", max_length=64)]
"""Lower-case words joined by - or _: roles, thresholds, axes, variants."""

_PRINTABLE = r"^[^\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]*$"

Text = Annotated[str, StringConstraints(min_length=1, max_length=2000, pattern=_PRINTABLE)]
"""A sentence or two for people; tabs and newlines are the only control characters."""

Semver = Annotated[str, StringConstraints(pattern=r"^[0-9]+\.[0-9]+\.[0-9]+$")]
"""MAJOR.MINOR.PATCH."""

FormatVersion = Annotated[str, StringConstraints(pattern=r"^[0-9]+\.[0-9]+$")]
"""MAJOR.MINOR of a format."""
