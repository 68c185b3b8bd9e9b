"""Accounting for every output of a case: names, order, dtype, shape, NaN, infinities, values."""

from __future__ import annotations

import numpy as np

from medsdk_conformance.case import Case, Tensors
from medsdk_conformance.check import RuleBrokenError
from medsdk_runtimes import Array


def compare(case: Case, found: Tensors, expected: Tensors) -> None:
    """Raise unless `found` is what was expected, within the case's tolerance.

    Raises:
        RuleBrokenError: It is not; the message names the first difference.
    """
    if list(found) != list(expected):
        raise RuleBrokenError(f"outputs {list(found)}, expected {list(expected)}")
    for name, want in expected.items():
        _compare_output(case, name, found[name], want)


def _compare_output(case: Case, name: str, have: Array, want: Array) -> None:
    for what, found, expected in (
        ("dtype", have.dtype, want.dtype),
        ("shape", have.shape, want.shape),
    ):
        if found != expected:
            raise RuleBrokenError(f"{name}: {what} {found}, expected {expected}")
    if not have.flags.c_contiguous or not have.flags.writeable:
        raise RuleBrokenError(f"{name}: not a C-contiguous array of the caller's own")
    close = np.isclose(have, want, rtol=case.rtol, atol=case.atol, equal_nan=True)
    if not close.all():
        where = tuple(int(axis) for axis in np.argwhere(~close)[0])
        raise RuleBrokenError(
            f"{name}: {int((~close).sum())} of {close.size} values differ, the first at {where}: "
            f"{have[where]!s}, expected {want[where]!s}"
        )
