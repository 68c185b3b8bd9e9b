"""What is drawn of paired values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medsdk.parity.evidence import SHOWN_POINTS, BlandAltman, Histogram, Measure, Scope

_BINS = 41
"""An odd number: one bin has no change in its middle."""

_LIMITS_OF_AGREEMENT = 1.96
"""Standard deviations; 95 % of a normal distribution."""


def histogram_of_changes(
    measure: Measure, scope: Scope, unit: str, changes: Sequence[float]
) -> Histogram:
    """Signed changes, as many bins on either side of none.

    Args:
        measure: What changed.
        scope: Of which part.
        unit: Of the changes.
        changes: Variant minus reference, finite, at least one.

    Returns:
        The histogram.
    """
    reach = float(np.abs(changes).max()) or 1.0
    counts, edges = np.histogram(changes, np.linspace(-reach, reach, _BINS + 1))
    return Histogram(
        measure=measure,
        scope=scope,
        unit=unit,
        edges=tuple(edges.tolist()),
        counts=tuple(counts.tolist()),
    )


def bland_altman(
    measure: Measure,
    scope: Scope,
    unit: str,
    reference: Sequence[float],
    variant: Sequence[float],
) -> BlandAltman:
    """Differences over means, with the bias and the limits of agreement.

    Args:
        measure: What is compared.
        scope: Of which part.
        unit: Of the values.
        reference: The reference's values, finite, at least one.
        variant: The variant's, in the same order.

    Returns:
        The chart. The standard deviation is that of a sample (n - 1), 0 of a single pair.
    """
    before, after = np.asarray(reference, np.float64), np.asarray(variant, np.float64)
    changes, means = after - before, (after + before) / 2
    bias = float(changes.mean())
    spread = float(changes.std(ddof=1)) if len(changes) > 1 else 0.0
    order = np.lexsort((means, changes))
    shown = order
    if len(order) > SHOWN_POINTS:
        shown = order[np.linspace(0, len(order) - 1, SHOWN_POINTS).round().astype(np.int64)]
    return BlandAltman(
        measure=measure,
        scope=scope,
        unit=unit,
        n=len(changes),
        bias=bias,
        low=bias - _LIMITS_OF_AGREEMENT * spread,
        high=bias + _LIMITS_OF_AGREEMENT * spread,
        points=tuple(zip(means[shown].tolist(), changes[shown].tolist(), strict=True)),
    )
