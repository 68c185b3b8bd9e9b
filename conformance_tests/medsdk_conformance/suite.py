"""Runs the cases and checks on one runtime and tells what came of each."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass
from typing import Literal

import numpy as np

from medsdk_conformance.capabilities import capabilities_of
from medsdk_conformance.cases import CASES, Case, Tensors
from medsdk_conformance.checks import CHECKS, Check
from medsdk_runtimes import Array, Capability, Runtime, Settings
from medsdk_runtimes.errors import MedsdkError

Item = Case | Check

ITEMS: tuple[Item, ...] = (*CASES, *CHECKS)
"""Everything that a runtime is asked."""


@dataclass(frozen=True)
class Result:
    """What came of one case or check.

    Attributes:
        id: Of the case or check.
        capability: That it needs, or None.
        verdict: `not-run` where the runtime does not declare the capability.
        detail: Why it failed or was not run; empty where it passed.
    """

    id: str
    capability: Capability | None
    verdict: Literal["pass", "fail", "not-run"]
    detail: str = ""


def examine(runtime: Runtime, ids: Collection[str] | None = None) -> tuple[Result, ...]:
    """Ask a runtime everything, or only the named items.

    Args:
        runtime: An available runtime.
        ids: Items to run; None runs all.

    Returns:
        One result an item, in the order of `ITEMS`.
    """
    return tuple(examine_item(runtime, item) for item in ITEMS if ids is None or item.id in ids)


def examine_item(runtime: Runtime, item: Item) -> Result:
    """Ask a runtime one thing."""
    needed = item.capability
    if needed is not None and needed not in capabilities_of(runtime):
        return Result(item.id, needed, "not-run", f"the runtime does not declare {needed!r}")
    try:
        if isinstance(item, Case):
            _solve(runtime, item)
        else:
            item.run(runtime)
    except (AssertionError, MedsdkError) as error:
        return Result(item.id, needed, "fail", str(error) or type(error).__name__)
    return Result(item.id, needed, "pass")


def _solve(runtime: Runtime, case: Case) -> None:
    problem = case.build()
    settings = Settings(device=runtime.devices()[0].name, precision=case.precision)
    dynamic = "dynamic-batch" in capabilities_of(runtime)
    with closing(runtime.open(problem.onnx, settings)) as session:
        for call in problem.calls if dynamic else problem.calls[:1]:
            _compare(case, session.run(call.inputs), call.expected)


def _compare(case: Case, found: Tensors, expected: Tensors) -> None:
    """Account for every output: names, order, dtype, shape, NaN and infinities, values."""
    if list(found) != list(expected):
        raise AssertionError(f"outputs {list(found)}, expected {list(expected)}")
    for name, want in expected.items():
        _compare_output(case, name, found[name], want)


def _compare_output(case: Case, name: str, have: Array, want: Array) -> None:
    for what, found, expected in (
        ("dtype", have.dtype, want.dtype),
        ("shape", have.shape, want.shape),
    ):
        if found != expected:
            raise AssertionError(f"{name}: {what} {found}, expected {expected}")
    if not have.flags.c_contiguous or not have.flags.writeable:
        raise AssertionError(f"{name}: not a C-contiguous array of the caller's own")
    close = np.isclose(have, want, rtol=case.rtol, atol=case.atol, equal_nan=True)
    if not close.all():
        where = tuple(int(axis) for axis in np.argwhere(~close)[0])
        raise AssertionError(
            f"{name}: {int((~close).sum())} of {close.size} values differ, the first at {where}: "
            f"{have[where]!r}, expected {want[where]!r}"
        )
