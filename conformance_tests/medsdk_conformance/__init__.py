"""Conformance tests of the runtime contract, for medsdk's runtimes and for anybody's.

::

    from medsdk_conformance import examine
    failed = [result for result in examine(my_runtime) if result.verdict == "fail"]
"""

from __future__ import annotations

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
