"""The few statistics that a verdict needs, exact, without scipy on the device."""

from __future__ import annotations

import math


def binomial_upper_bound(events: int, trials: int, confidence: float) -> float:
    """One-sided upper Clopper-Pearson bound of a rate.

    The largest rate p with P(X <= events | trials, p) >= 1 - confidence (Clopper and Pearson,
    Biometrika 26, 1934), found by bisection to 1e-12.

    Args:
        events: How often it happened, 0..trials.
        trials: How often it could have happened.
        confidence: Of the one-sided interval, for instance 0.95.

    Returns:
        The bound, 0..1; 1.0 where there were no trials.

    Raises:
        ValueError: The counts make no sense.
    """
    if not 0 <= events <= trials or not 0 < confidence < 1:
        raise ValueError(f"{events} events in {trials} trials at confidence {confidence}")
    if events == trials:
        return 1.0
    low, high = events / trials, 1.0
    while high - low > 1e-12:
        middle = (low + high) / 2
        if _cumulative(events, trials, middle) >= 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def cases_needed(max_rate: float, confidence: float) -> int:
    """How many cases without a single event put the upper bound at or below a rate.

    Args:
        max_rate: The rate, above 0.
        confidence: Of the one-sided bound.

    Returns:
        The smallest n with `1 - (1 - confidence) ** (1 / n) <= max_rate`.
    """
    if max_rate >= 1:
        return 1
    return math.ceil(math.log(1 - confidence) / math.log1p(-max_rate))


def runs_needed(percentile: float, confidence: float = 0.99) -> int:
    """How many runs a latency percentile needs before it is conclusive.

    MLPerf LoadGen's early-stopping rule with one overrun allowed: the smallest number of
    runs n with `P(X <= 1 | n, 1 - percentile) <= 1 - confidence`.

    Args:
        percentile: For instance 0.99.
        confidence: For instance 0.99.

    Returns:
        64 for a p90, 662 for a p99, 6636 for a p99.9 at confidence 0.99.
    """
    runs = math.ceil(math.log(1 - confidence) / math.log(percentile))
    while _cumulative(1, runs, 1 - percentile) > 1 - confidence:
        runs += 1
    return runs


def overruns_allowed(runs: int, percentile: float, confidence: float = 0.99) -> int:
    """How many of the slowest runs a percentile's estimate may leave above it.

    Args:
        runs: Number of runs, n.
        percentile: For instance 0.99.
        confidence: For instance 0.99.

    Returns:
        The largest t with `P(X <= t | n, 1 - percentile) <= 1 - confidence`; the t-th slowest
        run is then an upper estimate of the percentile that holds with that confidence. 0
        where there are too few runs for any estimate.
    """
    allowed = 0
    while allowed < runs and _cumulative(allowed + 1, runs, 1 - percentile) <= 1 - confidence:
        allowed += 1
    return allowed


def _cumulative(events: int, trials: int, rate: float) -> float:
    """P(X <= events) of a binomial distribution, summed in logarithms."""
    if rate <= 0.0:
        return 1.0
    if rate >= 1.0:
        return 1.0 if events >= trials else 0.0
    log_rate, log_rest = math.log(rate), math.log1p(-rate)
    return math.fsum(
        math.exp(
            math.lgamma(trials + 1)
            - math.lgamma(k + 1)
            - math.lgamma(trials - k + 1)
            + k * log_rate
            + (trials - k) * log_rest
        )
        for k in range(events + 1)
    )
