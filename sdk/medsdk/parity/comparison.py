"""Comparing what a network gave with what it should have given: every output, every value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from medsdk.parity.evidence import Bound, Claim, Evidence, Scope
from medsdk.parity.judging import listed
from medsdk_runtimes.contract import Array


@dataclass(frozen=True)
class Difference:
    """How two sets of outputs differ.

    Attributes:
        max_abs: For each expected output, the largest absolute difference; infinity where it
            cannot be computed.
        problems: What accounts for a failure apart from the size of a difference: a missing or
            extra output, another dtype or shape, NaN or infinity; at most one an output.
        outputs: How many there are on either side, by name.
    """

    max_abs: Mapping[str, float]
    problems: tuple[str, ...]
    outputs: int


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
    return Difference(largest, tuple(sorted(problems)), len(expected.keys() | got.keys()))


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


def output_evidence(
    differences: Mapping[str, Difference], tolerance: Mapping[str, float], scope: Scope
) -> Evidence:
    """Account for every output of every case.

    Args:
        differences: For each case, by a name that may be shown, what was seen of its outputs.
        tolerance: For each output, the largest difference allowed; a missing entry allows none.
        scope: Whose evidence.

    Returns:
        `outputs`, how many are accounted for: one that is missing, extra, of another dtype or
        shape, or that holds NaN or infinity is named with its case. `output-difference` of each
        output: the largest, in how many cases it was too large, and in how many it could not be
        worked out.
    """
    by_output = scope.model_copy(update={"level": "output"})
    faults = [
        f"{case}: {problem}" for case, seen in differences.items() for problem in seen.problems
    ]
    count = sum(seen.outputs for seen in differences.values())
    names = dict.fromkeys(name for seen in differences.values() for name in seen.max_abs)
    claims = [listed("outputs", by_output, count, faults)]
    for name in names:
        values = [seen.max_abs[name] for seen in differences.values() if name in seen.max_abs]
        where = by_output.model_copy(update={"output": name})
        claims.append(_largest(where, values, tolerance.get(name, 0.0)))
    return Evidence(claims=tuple(claims))


def _largest(scope: Scope, values: list[float], limit: float) -> Claim:
    finite = [value for value in values if np.isfinite(value)]
    over = sum(value > limit for value in finite)
    lost = len(values) - len(finite)
    reasons = []
    if over:
        reasons.append(
            f"output {scope.output!r} differs by {max(finite):.3g}, allowed {limit:.3g}, "
            f"too much in {over} of {len(values)}"
        )
    if lost:
        reasons.append(f"output {scope.output!r} cannot be compared in {lost} of {len(values)}")
    return Claim(
        measure="output-difference",
        scope=scope,
        n=len(values),
        events=over + lost,
        value=max(finite, default=None),
        unit="",
        bound=Bound(low=min(finite), high=max(finite), method="extremes") if finite else None,
        limit=limit,
        needed=1,
        verdict="fail" if reasons else "pass",
        reason="; ".join(reasons),
    )
