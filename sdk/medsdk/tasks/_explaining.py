"""What is wrong with a document, in the words of the person who wrote it.

pydantic says where an error is in terms of its own types: the tag of a union and the branch of
an alternative stand between the keys. Here the position becomes the dotted key of the file, and
the message says what is allowed.
"""

from __future__ import annotations

import math
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

MAX_PROBLEMS = 8
"""Problems that one error spells out."""

MAX_DEPTH = 32
"""Tables and arrays inside each other; a task needs eight."""

_MAX_SHOWN = 80


def describe_problems(problems: Sequence[str]) -> str:
    """One line: the first few problems, and how many more there are."""
    more = len(problems) - MAX_PROBLEMS
    return "; ".join(problems[:MAX_PROBLEMS]) + (f"; and {more} more" if more > 0 else "")


def schema_problems(error: ValidationError, root: type[BaseModel]) -> list[str]:
    """Key, value and what is allowed, for each key that is wrong.

    Args:
        error: What pydantic raised.
        root: The model of the whole document.
    """
    wrong: dict[str, list[str]] = {}
    for item in error.errors(include_url=False):
        keys, annotation = _position(item["loc"], root)
        value, message = item["input"], _message(item, annotation)
        if item["type"] in ("union_tag_invalid", "union_tag_not_found"):
            keys = (*keys, "kind")
            value = item.get("ctx", {}).get("tag", item["input"])
        key = ".".join(keys)
        silent = not key or item["type"] in ("missing", "union_tag_not_found")
        head = key if silent or _is_nested(item) else f"{key} = {shown(value)}"
        wrong.setdefault(head, []).append(message)
    # Branches of an alternative each report the same key.
    return [
        f"{head}: {' or '.join(messages)}" if head else "; ".join(messages)
        for head, messages in wrong.items()
    ]


def unfit_values(document: Mapping[str, object]) -> list[str]:
    """Values that no task has: dates, NaN, infinity, integers beyond 64 bits."""
    return list(_unfit(document))


def shown(value: object) -> str:
    """A value as an error shows it, cut where it is long."""
    if isinstance(value, dict):
        return "(a table)"
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


def _unfit(document: Mapping[str, object]) -> Iterator[str]:
    waiting: list[tuple[tuple[str, ...], object]] = [((), document)]
    while waiting:
        keys, value = waiting.pop()
        if isinstance(value, Mapping | list | tuple):
            if len(keys) >= MAX_DEPTH:
                yield f"{'.'.join(keys[:3])}...: nested deeper than {MAX_DEPTH} tables and arrays"
                return
            inside = value.items() if isinstance(value, Mapping) else enumerate(value)
            waiting += [((*keys, str(key)), item) for key, item in reversed(list(inside))]
            continue
        key = ".".join(keys)
        if isinstance(value, float) and not math.isfinite(value):
            yield f"{key} = {value}: a finite number is needed"
        elif isinstance(value, int) and value.bit_length() > 63:
            yield f"{key}: an integer of {value.bit_length()} bits; 64 bits with sign are allowed"
        elif not isinstance(value, str | bool | int | float | None):  # JSON has null
            yield (
                f"{key} = {shown(value)}: {type(value).__name__} is no type of a task; allowed: "
                "strings, booleans, integers, finite floats, arrays and tables"
            )


def _message(item: ErrorDetails, annotation: object) -> str:
    context: dict[str, Any] = item.get("ctx", {})
    match item["type"]:
        case "extra_forbidden":
            names = ", ".join(
                field for model in _models(annotation) for field in model.model_fields
            )
            return f"unknown key (allowed: {names})"
        case "missing":
            allowed = _literals(annotation)
            return "missing" + (f" (allowed: {', '.join(allowed)})" if allowed else "")
        case "union_tag_not_found":
            kinds = [kind for model in _models(annotation) for kind in _kinds(model)]
            return f"missing (allowed: {', '.join(kinds)})"
        case "union_tag_invalid":
            return f"allowed: {context['expected_tags']}"
        case "literal_error":
            return f"allowed: {context['expected']}"
        case _:
            return item["msg"].removeprefix("Value error, ")


def _is_nested(item: ErrorDetails) -> bool:
    """Whether the error is that of a whole table, whose message names the key inside."""
    return item["type"] == "value_error" and isinstance(item["input"], dict)


def _position(
    location: tuple[int | str, ...], root: type[BaseModel]
) -> tuple[tuple[str, ...], object]:
    """Keys of the file, and the annotation there (of an unknown key: of its table)."""
    keys: list[str] = []
    here: object = root
    for part in location:
        models = _models(here)
        if len(models) > 1:  # the tag of a union is part of the location and no key
            here = next(model for model in models if repr(part) in _kinds(model))
        elif models and part in models[0].model_fields:
            keys.append(str(part))
            here = models[0].model_fields[str(part)].annotation
        elif models:
            keys.append(str(part))
        elif _container(here) is not None and part != "[key]":
            keys.append(str(part))
            here = _container(here)
    return tuple(keys), here


def _branches(annotation: object) -> Iterator[object]:
    """What an annotation may be, without `Annotated` and alternatives around it."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _branches(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for branch in get_args(annotation):
            yield from _branches(branch)
    else:
        yield annotation


def _models(annotation: object) -> list[type[BaseModel]]:
    return [
        branch
        for branch in _branches(annotation)
        if isinstance(branch, type) and issubclass(branch, BaseModel)
    ]


def _container(annotation: object) -> object | None:
    """The annotation of an item of an array or of an open table."""
    for branch in _branches(annotation):
        if get_origin(branch) in (dict, tuple):
            inside: object = get_args(branch)[1 if get_origin(branch) is dict else 0]
            return inside
    return None


def _literals(annotation: object) -> list[str]:
    return [
        repr(value)
        for branch in _branches(annotation)
        if get_origin(branch) is Literal
        for value in get_args(branch)
    ]


def _kinds(model: type[BaseModel]) -> list[str]:
    return _literals(model.model_fields["kind"].annotation)
