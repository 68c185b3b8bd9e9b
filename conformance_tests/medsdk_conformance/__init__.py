"""Conformance tests of the runtime contract, for medsdk's runtimes and for anybody's.

::

    from medsdk_conformance import examine
    failed = [result for result in examine(my_runtime) if result.verdict == "fail"]
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medsdk_conformance.capabilities import capabilities_of
    from medsdk_conformance.cases import CASES, Call, Case, Problem
    from medsdk_conformance.check import Check
    from medsdk_conformance.checks import CHECKS
    from medsdk_conformance.suite import ITEMS, Item, Result, examine, examine_item

__all__ = [
    "CASES",
    "CHECKS",
    "ITEMS",
    "Call",
    "Case",
    "Check",
    "Item",
    "Problem",
    "Result",
    "capabilities_of",
    "examine",
    "examine_item",
]

_WHERE = {
    "CASES": "cases",
    "CHECKS": "checks",
    "ITEMS": "suite",
    "Call": "case",
    "Case": "case",
    "Check": "check",
    "Item": "suite",
    "Problem": "case",
    "Result": "suite",
    "capabilities_of": "capabilities",
    "examine": "suite",
    "examine_item": "suite",
}


def __getattr__(name: str) -> object:
    # The command line imports this package for its command alone, and must not wait for the cases.
    if name in _WHERE:
        return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
