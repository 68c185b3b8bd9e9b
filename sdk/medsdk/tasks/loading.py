"""Reading a task file: TOML in, a checked `Task` out, and errors that a person can use."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from medsdk._refusals import TaskInvalidError, TaskUnknownError
from medsdk.tasks.schema import Task
from medsdk.tasks.versions import check_format_version, drop_optional

MAX_TASK_BYTES = 4 * 1024 * 1024


def _explain(file: str, error: ValidationError) -> TaskInvalidError:
    """One line for each problem: key, value, what is allowed."""
    problems = []
    for item in error.errors(include_url=False):
        key = ".".join(str(part) for part in item["loc"]) or "(whole file)"
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            message = "unknown key"
        value = item["input"]
        shown = "" if isinstance(value, dict | list) else f" = {value!r}"
        problems.append(f"{key}{shown}: {message}")
    more = f"; and {len(problems) - 8} more" if len(problems) > 8 else ""
    return TaskInvalidError(
        f"the task file {file} is not valid",
        got="; ".join(problems[:8]) + more,
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
    try:
        text = json.dumps(known, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TaskInvalidError(
            f"the task file {name} holds a value that no task has",
            got=str(error),
            expected="strings, booleans, integers, finite floats, arrays and tables",
        ) from error
    try:
        return Task.model_validate_json(text)
    except ValidationError as error:
        raise _explain(name, error) from error


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
    try:
        size = path.stat().st_size
        if size > MAX_TASK_BYTES:
            raise TaskInvalidError(
                f"the task file {path.name} is too large",
                got=f"{size} bytes",
                expected=f"at most {MAX_TASK_BYTES} bytes",
            )
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise TaskInvalidError(
            f"the task file {path.name} cannot be read",
            got=str(reason),
            expected="a TOML file in UTF-8",
        ) from error
    return _parse(text, path.name)


def _parse(text: str, name: str) -> Task:
    try:
        document: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TaskInvalidError(
            f"the task file {name} is no TOML", got=str(error), expected="TOML 1.0"
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
