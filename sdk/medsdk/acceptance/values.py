"""The file of a site's values: who gave them, what they were, how far they may move."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveInt, ValidationError, model_validator

from medsdk._refusals import OutputNotWritableError, shown
from medsdk.acceptance.errors import ValuesTamperedError, ValuesUnreadableError
from medsdk.atomic import reported, write_file
from medsdk.bundle.manifest import Sha256
from medsdk.canonical import canonical_json, parse_json, sha256_of
from medsdk.evaluation.answers import Answer, AnswersHeader, CaseId
from medsdk.tasks.decoding import Fraction
from medsdk.tasks.strict import FORMAT_VERSION, FormatVersion, Strict
from medsdk.tasks.versions import check_format_version

MOST_BYTES = 64 * 1024**2
"""The largest file of stored values that is read."""

_WHAT = "the file of stored values"
_AGAIN = "take the file from its backup, or store the values again with --store --force"


class StoredImage(Strict):
    """One image of a phantom and what was said of it.

    Attributes:
        number: Its place in the sorted folder, 1-based.
        case: Digest of its pixels and its region of interest, as in a file of answers.
        status: Whether there is an answer.
        label: The answer; None unless `status` is `ok`.
        probabilities: Label to probability; empty where there are none.
        reason: Why there is no answer; empty where there is.
        outputs: `role.output` to its values, flat, where they are few.
    """

    number: PositiveInt
    case: CaseId
    status: Literal["ok", "indeterminate", "no-result"]
    label: str | None
    probabilities: dict[str, float]
    reason: str = ""
    outputs: dict[str, tuple[float, ...]] = {}

    @classmethod
    def of(cls, answer: Answer) -> Self:
        """What is kept of an answer without an error."""
        return cls.model_validate(answer.model_dump(include=set(cls.model_fields)))


class StoredValues(Strict):
    """A site's values of one phantom on one candidate.

    Attributes:
        header: Who gave them, and by what contract; the machine too.
        tolerance: For each `role.output`, how far the same image's values may move: the
            variant's own tolerance.
        max_probability_change: How far a probability may move in a new acquisition of the same
            phantom; None where that was not declared.
        images: In the order of the sorted folder.
        created: UTC, RFC 3339.
        sha256: Of all the rest as canonical JSON; against corruption, not against forgery.
    """

    format_version: FormatVersion = FORMAT_VERSION
    kind: Literal["medsdk-accepted-values"] = "medsdk-accepted-values"
    header: AnswersHeader
    tolerance: dict[str, NonNegativeFloat]
    max_probability_change: Fraction | None
    images: Annotated[tuple[StoredImage, ...], Field(min_length=1, max_length=100_000)]
    created: str
    sha256: Sha256

    @model_validator(mode="after")
    def _numbered(self) -> Self:
        if [image.number for image in self.images] != list(range(1, self.header.cases + 1)):
            raise ValueError("images are not numbered from 1 to header.cases")
        return self

    @classmethod
    def signed(
        cls,
        header: AnswersHeader,
        tolerance: dict[str, float],
        max_probability_change: float | None,
        images: tuple[StoredImage, ...],
        created: str,
    ) -> Self:
        """The values with their digest; the arguments are the attributes."""
        made = cls(
            header=header,
            tolerance=tolerance,
            max_probability_change=max_probability_change,
            images=images,
            created=created,
            sha256="0" * 64,
        )
        return made.model_copy(update={"sha256": _digest(made.model_dump(mode="json"))})


def write_values(path: Path, values: StoredValues, *, replace: bool = False) -> None:
    """Store values, whole or not at all.

    Args:
        path: Where.
        values: What.
        replace: Whether values that are there may be replaced.

    Raises:
        OutputNotWritableError: Something is there, or it cannot be written.
    """
    check_free(path, replace=replace)
    write_file(path, canonical_json(values.model_dump(mode="json")), _WHAT)


def check_free(path: Path, *, replace: bool) -> None:
    """Refuse a place where something is, before anything is run.

    Raises:
        OutputNotWritableError: Something is there that may not be replaced, or the folder for it
            is not there.
    """
    with reported(_WHAT):
        there = os.path.lexists(path)
        replaceable = replace and path.is_file()
        folder = path.parent.is_dir()
    if not folder:
        raise OutputNotWritableError(
            f"{_WHAT} cannot be written",
            got="no folder at that path",
            expected="a folder that exists already",
            remedy="make the folder, or correct --values",
        )
    if there and not replaceable:
        raise OutputNotWritableError(
            "stored values are there already" if path.is_file() else "the place is taken",
            got="something that exists",
            expected="a new place for the stored values",
            remedy="check against them without --store; choose another --values; or replace the "
            "file with --force",
        )


def read_values(path: Path) -> StoredValues:
    """Read stored values.

    Raises:
        ValuesUnreadableError: No such file, too large, or no file of stored values.
        ValuesTamperedError: It is not what was written.
        FormatVersionError: It is of a format version that this release does not read.
    """
    document, data = _document(path)
    check_format_version(document.get("format_version"), _WHAT)
    if document.get("sha256") != _digest(document) or data != canonical_json(document):
        raise ValuesTamperedError(
            f"{_WHAT} is not what was written",
            got="another sha256, or another form of the same text",
            expected="the digest that stands in it",
            remedy=_AGAIN,
        )
    try:
        return StoredValues.model_validate_json(json.dumps(document))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise _unreadable(f"{shown(key)[1:-1]}: {shown(first['msg'], 300)[1:-1]}") from error


def _document(path: Path) -> tuple[dict[str, Any], bytes]:
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        if path.is_dir():
            raise ValuesUnreadableError(
                f"{_WHAT} is none",
                got="a folder",
                expected="a file that `medsdk accept --store` wrote",
                remedy="name the file in it",
            ) from error
        raise ValuesUnreadableError(
            "there are no stored values",
            got=getattr(error, "strerror", None) or "a path that cannot be",
            expected="a file that `medsdk accept --store` wrote",
            remedy="store the values first, with --store",
        ) from error
    if len(data) > MOST_BYTES:
        raise _unreadable(f"more than {MOST_BYTES} bytes")
    try:
        document = parse_json(data)
    except ValueError as error:
        raise _unreadable("no JSON") from error
    if not isinstance(document, dict) or document.get("kind") != "medsdk-accepted-values":
        raise _unreadable("another document")
    return document, data


def _digest(document: dict[str, Any]) -> str:
    """sha256 of a document without its own digest."""
    return sha256_of(canonical_json({key: document[key] for key in document if key != "sha256"}))


def _unreadable(got: str) -> ValuesUnreadableError:
    return ValuesUnreadableError(
        f"{_WHAT} is none",
        got=got,
        expected="a file that `medsdk accept --store` wrote",
        remedy=_AGAIN,
    )
