"""Comparing what a network gave with what it should have given: every output, every value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from medsdk_runtimes.contract import Array


@dataclass(frozen=True)
class Difference:
    """How two sets of outputs differ.

    Attributes:
        max_abs: For each expected output, the largest absolute difference; infinity where it
            cannot be computed.
        problems: What accounts for a failure apart from the size of a difference: a missing or
            extra output, another dtype or shape, NaN or infinity.
    """

    max_abs: Mapping[str, float]
    problems: tuple[str, ...]


def compare_outputs(got: Mapping[str, Array], expected: Mapping[str, Array]) -> Difference:
    """Account for every output by name, count, dtype, shape, NaN and value.

    Args:
        got: Outputs by name.
        expected: Outputs by name, any numeric dtype.

    Returns:
        The differences, in float64.
    """
    problems = [f"output {name!r} is missing" for name in expected.keys() - got.keys()]
    problems += [f"output {name!r} is extra" for name in got.keys() - expected.keys()]
    largest = {}
    for name, want in expected.items():
        largest[name] = float("inf")
        have = got.get(name)
        if have is None:
            continue
        if have.dtype != want.dtype or have.shape != want.shape:
            problems.append(
                f"output {name!r} is {have.dtype}{have.shape}, expected {want.dtype}{want.shape}"
            )
            continue
        if not (np.isfinite(have).all() and np.isfinite(want).all()):
            problems.append(f"output {name!r} holds NaN or infinity")
            continue
        difference = np.abs(have.astype(np.float64) - want.astype(np.float64))
        largest[name] = float(difference.max(initial=0.0))
    return Difference(largest, tuple(sorted(problems)))


def beyond(difference: Difference, tolerance: Mapping[str, float]) -> tuple[str, ...]:
    """What of a difference is not within the tolerance.

    Args:
        difference: What was seen.
        tolerance: For each output, the largest difference allowed; a missing entry allows none.

    Returns:
        One sentence a problem; empty where all is well.
    """
    over = [
        f"output {name!r} differs by {value:.3g}, allowed {tolerance.get(name, 0.0):.3g}"
        for name, value in difference.max_abs.items()
        if np.isfinite(value) and value > tolerance.get(name, 0.0)
    ]
    return (*difference.problems, *over)
