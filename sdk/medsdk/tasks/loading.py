"""Reading a task file: TOML in, a checked `Task` out, and errors that a person can use."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from medsdk._refusals import TaskInvalidError, TaskUnknownError
from medsdk.tasks._explaining import describe_problems, schema_problems, unfit_values
from medsdk.tasks.schema import Task
from medsdk.tasks.versions import check_format_version, drop_optional

MAX_TASK_BYTES = 256 * 1024
"""Many times the size of any task: an ensemble lists its members, not their networks."""

MAX_DOTS_PER_LINE = 1000
"""tomllib takes time and memory that grow with the square of the parts of a dotted key."""


def _invalid(name: str, problems: Sequence[str]) -> TaskInvalidError:
    """One line for all problems: key, value, what is allowed."""
    return TaskInvalidError(
        f"the task file {name} is not valid",
        got=describe_problems(problems),
        expected="what docs/tasks-format.md describes",
        remedy="`medsdk tasks show uterus-mr/tumor-filter --toml` prints a complete example",
    )


def task_from_document(document: object, name: str) -> Task:
    """Check a parsed document.

    Args:
        document: What a TOML or JSON parser gave.
        name: What the file is called in errors.

    Returns:
        The task.

    Raises:
        TaskInvalidError: It is no valid task; every problem is named.
        FormatVersionError: It has another format version than this release reads.
    """
    if not isinstance(document, Mapping):
        raise TaskInvalidError(f"{name} is no table", got=type(document).__name__)
    check_format_version(document.get("format_version"), f"the task file {name}")
    known = drop_optional(dict(document), set(Task.model_fields))
    unfit = unfit_values(known)
    if unfit:
        raise _invalid(name, unfit)
    try:
        return Task.model_validate_json(json.dumps(known, allow_nan=False))
    except ValidationError as error:
        raise _invalid(name, schema_problems(error, Task)) from error


def read_task(path: Path) -> Task:
    """Read a vendor's own task file.

    Args:
        path: A TOML file in UTF-8.

    Returns:
        The task.

    Raises:
        TaskInvalidError: The file is missing, no TOML, or no valid task.
        FormatVersionError: It has another format version than this release reads.
    """
    # A name that is no UTF-8 must not break the printing of the error.
    name = (path.name or str(path)).encode(errors="backslashreplace").decode()
    try:
        with path.open("rb") as file:
            data = file.read(MAX_TASK_BYTES + 1)
        if len(data) > MAX_TASK_BYTES:
            raise TaskInvalidError(
                f"the task file {name} is too large",
                got=f"more than {MAX_TASK_BYTES} bytes",
                expected=f"at most {MAX_TASK_BYTES} bytes",
            )
        # A byte-order mark is what some Windows editors write.
        text = data.decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise TaskInvalidError(
            f"the task file {name} cannot be read",
            got=_reason(error),
            expected="a TOML file in UTF-8",
        ) from error
    return _parse(text, name)


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8 (byte {error.start})"
    return getattr(error, "strerror", None) or "no name of a file"


def _parse(text: str, name: str) -> Task:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.count(".") > MAX_DOTS_PER_LINE:
            raise TaskInvalidError(
                f"the task file {name} is not valid",
                got=f"line {number} has {line.count('.')} dots",
                expected=f"at most {MAX_DOTS_PER_LINE} on a line",
            )
    try:
        document: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TaskInvalidError(
            f"the task file {name} is no TOML",
            got=str(error),
            expected="TOML 1.0",
            remedy="`medsdk tasks show uterus-mr/tumor-filter --toml` prints a complete example",
        ) from error
    except (ValueError, RecursionError) as error:
        # An integer of thousands of digits; thousands of brackets.
        raise TaskInvalidError(
            f"the task file {name} is not valid",
            got="nested too deeply" if isinstance(error, RecursionError) else str(error)[:80],
            expected="what docs/tasks-format.md describes",
        ) from error
    return task_from_document(document, name)


def catalogue() -> Iterator[str]:
    """Ids of the tasks that ship, sorted."""
    root = resources.files("medsdk.tasks")
    for group in sorted(root.iterdir(), key=lambda entry: entry.name):
        if group.is_dir() and not group.name.startswith("_"):
            for file in sorted(group.iterdir(), key=lambda entry: entry.name):
                if file.name.endswith(".toml"):
                    yield f"{group.name}/{file.name.removesuffix('.toml')}"


def catalogue_text(task_id: str) -> str:
    """The TOML text of a task of the catalogue.

    Raises:
        TaskUnknownError: The catalogue has no such task.
    """
    known = tuple(catalogue())
    if task_id not in known:
        raise TaskUnknownError(
            "the catalogue has no such task",
            got=repr(task_id),
            expected=f"one of {', '.join(known)}",
            remedy="`medsdk tasks` lists them; a task of your own goes in with --task-file",
        )
    group, name = task_id.split("/")
    file = resources.files("medsdk.tasks").joinpath(group, f"{name}.toml")
    return file.read_text(encoding="utf-8")


def catalogue_task(task_id: str) -> Task:
    """A task of the catalogue.

    Raises:
        TaskUnknownError: The catalogue has no such task.
    """
    return _parse(catalogue_text(task_id), f"{task_id}.toml")
