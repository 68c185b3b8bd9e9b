"""The change envelope that an export writes into its bundle, from a file of the user's."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from medsdk._refusals import shown
from medsdk.bundle.change_envelope import ChangeEnvelope
from medsdk.evaluation.cases import CaseSet, identify_cases, read_cases
from medsdk.parity.statistics import cases_needed
from medsdk.pipeline import supported_role
from medsdk.tasks import Task
from medsdk_export.errors import ExportRefusedError

MOST_BYTES = 64 * 1024
"""The largest file of an envelope that is read."""

_EXPECTED = "what docs/change-evidence.md describes"


def read_envelope(path: Path, task: Task) -> ChangeEnvelope:
    """Read a change envelope.

    Args:
        path: A TOML file in UTF-8 with the keys of `ChangeEnvelope`; `cases`, a table of cases by
            its path from there, may stand for `cases_sha256`.
        task: The task, for the table of cases.

    Returns:
        The envelope.

    Raises:
        ExportRefusedError: No such file, no TOML, no envelope, or a table with fewer cases than
            the envelope can be decided with.
        CasesRefusedError: The table of cases cannot be used.
    """
    document = _parsed(path)
    table = document.pop("cases", None)
    if (table is None) == ("cases_sha256" not in document):
        raise _invalid("both" if table is not None else "neither", "cases or cases_sha256")
    chosen = None if table is None else _case_set(path, table, task)
    if chosen is not None:
        document["cases_sha256"] = chosen.sha256
    try:
        envelope = ChangeEnvelope.model_validate(_tuples(document))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise _invalid(f"{shown(key)[1:-1]}: {shown(first['msg'], 300)[1:-1]}") from error
    limits = envelope.limits
    needed = max(envelope.min_cases, cases_needed(limits.max_flip_rate, limits.confidence))
    if chosen is not None and len(chosen.cases) < needed:
        raise ExportRefusedError(
            "the change envelope could never be decided",
            got=f"{len(chosen.cases)} cases",
            expected=f"at least {needed}: min_cases, and as many as max_flip_rate needs without "
            "a single flip",
            remedy="add cases, or declare wider limits",
        )
    return envelope


def _parsed(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise _invalid(f"more than {MOST_BYTES} bytes")
        return tomllib.loads(data.decode("utf-8-sig"))
    except tomllib.TOMLDecodeError as error:
        raise _invalid(f"no TOML: {error}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise _invalid(getattr(error, "strerror", None) or "no TOML in UTF-8") from error


def _case_set(path: Path, table: object, task: Task) -> CaseSet:
    if not isinstance(table, str):
        raise _invalid(f"cases is {shown(table)}", "the path of a table of cases")
    _, decode = supported_role(task)
    return identify_cases(read_cases(path.parent / table, task, decode.labels), task)


def _tuples(document: dict[str, Any]) -> dict[str, Any]:
    """TOML's lists as the tuples that a strict record takes."""
    return {
        key: tuple(value) if isinstance(value, list) else value for key, value in document.items()
    }


def _invalid(got: str, expected: str = _EXPECTED) -> ExportRefusedError:
    return ExportRefusedError(
        "the change envelope is none",
        got=got,
        expected=expected,
        remedy="--envelope FILE.toml",
    )
