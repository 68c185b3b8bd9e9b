"""What a runtime says it can do, and so what the conformance tests ask of it.

A runtime declares its capabilities in an attribute `capabilities`, a set of
`medsdk_runtimes.Capability`. A case names the capability it needs and never a runtime. A runtime
that declares nothing is asked for everything. What it knows that it does not keep it may declare
in `conformance_exceptions`, the id of an item to the reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import cast

from medsdk_runtimes import CAPABILITIES, Capability, Runtime

ALL: frozenset[Capability] = frozenset(CAPABILITIES)

OF_THE_PROCESSOR: frozenset[Capability] = frozenset({"int8-full-range"})
"""What a runtime lacks because of the machine and cannot refuse, since the graph does not tell: who
does not declare it says that its values may differ there, so they are not compared."""


def capabilities_of(runtime: Runtime) -> frozenset[Capability]:
    """What `runtime` declares, or everything where it declares nothing that can be read.

    Whatever is wrong with a declaration, `declaration_problems` says.
    """
    declared = _declared(runtime, "capabilities")
    if not isinstance(declared, Set):
        return ALL
    return frozenset(item for item in CAPABILITIES if item in declared)


def exceptions_of(runtime: Runtime) -> Mapping[str, str]:
    """What `runtime` declares that it does not keep: id to reason; empty where it is unreadable."""
    declared = _declared(runtime, "conformance_exceptions")
    if not isinstance(declared, Mapping):
        return {}
    return {
        name: reason
        for name, reason in declared.items()
        if isinstance(name, str) and isinstance(reason, str) and reason.strip()
    }


def declaration_problems(runtime: Runtime, ids: Set[str]) -> list[str]:
    """What is wrong with the declarations of `runtime`.

    Args:
        runtime: A runtime.
        ids: Of the items that an exception may name.
    """
    problems = []
    declared = _declared(runtime, "capabilities")
    if isinstance(declared, Set):
        unknown = sorted(str(item) for item in declared if item not in ALL)
        if unknown:
            known = ", ".join(CAPABILITIES)
            problems.append(f"unknown capabilities {', '.join(unknown)}; known are {known}")
        if "fp32" not in declared:
            problems.append("the capability 'fp32', which every check needs, is not declared")
    elif declared is not None:
        problems.append(f"capabilities are {_kind(declared)}, expected a set")
    exceptions = _declared(runtime, "conformance_exceptions")
    if isinstance(exceptions, Mapping):
        readable = exceptions_of(runtime)
        problems += [
            f"the exception for {name!s:.60} has no reason"
            for name in exceptions
            if name not in readable
        ]
        problems += [
            f"an exception for {name}, which is no item" for name in readable if name not in ids
        ]
    elif exceptions is not None:
        problems.append(f"conformance_exceptions are {_kind(exceptions)}, expected a mapping")
    return problems


def _declared(runtime: Runtime, name: str) -> object:
    try:
        return cast("object", getattr(runtime, name, None))
    # A foreign property may raise anything; that is a declaration which cannot be read.
    except Exception as error:  # noqa: BLE001
        return error


def _kind(declared: object) -> str:
    raised = isinstance(declared, Exception)
    return f"{'not readable: ' if raised else 'a '}{type(declared).__name__}"
