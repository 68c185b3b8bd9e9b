"""Canonical JSON: one text for one document, so that a digest means something."""

from __future__ import annotations

import hashlib
import json
import os
from datetime import UTC, datetime
from typing import Any

from medsdk_runtimes.errors import SettingRefusedError


def canonical_json(document: object) -> bytes:
    """UTF-8, sorted keys, no spaces, no NaN, one newline at the end.

    Args:
        document: Dicts, lists, strings, booleans, None, integers and finite floats.

    Returns:
        The bytes.

    Raises:
        ValueError: A float is NaN or infinite.
    """
    text = json.dumps(
        document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode() + b"\n"


def parse_json(data: bytes) -> object:
    """Parse strictly: UTF-8, no duplicate keys, no NaN, bounded nesting.

    Args:
        data: JSON text.

    Returns:
        The document.

    Raises:
        ValueError: It is not such a text.
    """
    try:
        document: object = json.loads(
            data.decode(), object_pairs_hook=_distinct, parse_constant=_refuse_constant
        )
        return document
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def sha256_of(data: bytes) -> str:
    """Hexadecimal sha256 of some bytes."""
    return hashlib.sha256(data).hexdigest()


def timestamp() -> str:
    """Now in UTC, RFC 3339, to the second; SOURCE_DATE_EPOCH where it is set.

    Raises:
        SettingRefusedError: SOURCE_DATE_EPOCH is no time.
    """
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        moment = datetime.fromtimestamp(int(epoch), UTC) if epoch else datetime.now(UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise SettingRefusedError(
            "the environment variable SOURCE_DATE_EPOCH is no time",
            got=repr(epoch),
            expected="seconds since 1970 as an integer",
        ) from error
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def uid_hash(uid: str) -> str:
    """The form in which results, logs and errors name a DICOM UID.

    Args:
        uid: A DICOM UID, for instance a SOP Instance UID.

    Returns:
        `sha256:` and the first 32 hexadecimal digits of the UID's sha256, so that whoever holds
        the object can match it and nobody else can.
    """
    return f"sha256:{sha256_of(uid.encode())[:32]}"


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return document


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")
