"""The few statistics that a verdict needs, exact, without scipy on the device.

Counts may be fractions of a case where cases of one patient are not independent
(`medsdk.parity.bootstrap.effective_cases`).
"""

from __future__ import annotations

import math

from medsdk.parity.beta import beta_cumulative, beta_quantile


def binomial_upper_bound(events: float, trials: float, confidence: float) -> float:
    """One-sided upper Clopper-Pearson bound of a rate.

    The largest rate p with P(X <= events | trials, p) >= 1 - confidence (Clopper and Pearson,
    Biometrika 26, 1934): a quantile of the beta distribution.

    Args:
        events: How often it happened, 0..trials.
        trials: How often it could have happened.
        confidence: Of the one-sided interval, for instance 0.95.

    Returns:
        The bound, 0..1; 1.0 where there were no trials.

    Raises:
        ValueError: The counts make no sense.
    """
    _check(events, trials, confidence)
    if events >= trials:
        return 1.0
    if events == 0:
        return -math.expm1(math.log1p(-confidence) / trials)
    return beta_quantile(confidence, events + 1, trials - events)


def binomial_lower_bound(events: float, trials: float, confidence: float) -> float:
    """One-sided lower Clopper-Pearson bound of a rate.

    Args:
        events: How often it happened, 0..trials.
        trials: How often it could have happened.
        confidence: Of the one-sided interval, for instance 0.95.

    Returns:
        The bound, 0..1; 0.0 where there were no trials.

    Raises:
        ValueError: The counts make no sense.
    """
    _check(events, trials, confidence)
    if events == 0:
        return 0.0
    if events >= trials:
        return math.exp(math.log1p(-confidence) / trials)
    return beta_quantile(1 - confidence, events, trials - events + 1)


def rate_exceeds(events: int, trials: int, worth: float, limit: float, confidence: float) -> bool:
    """Whether the cases refute a limit: the one-sided lower bound of the rate is beyond it.

    Args:
        events: How often it happened, 0..trials.
        trials: How often it could have happened.
        worth: How many independent trials they are worth, 0..trials.
        limit: Of the rate, 0..1.
        confidence: Of the bound.

    Returns:
        True where even few cases suffice; False where there are none.
    """
    if not trials:
        return False
    return binomial_lower_bound(events * worth / trials, worth, confidence) > limit


def binomial_interval(events: float, trials: float, confidence: float) -> tuple[float, float]:
    """Two-sided Clopper-Pearson interval of a rate, half of the error on each side.

    Args:
        events: How often it happened, 0..trials.
        trials: How often it could have happened.
        confidence: Of the two-sided interval, for instance 0.95.

    Returns:
        Both ends, 0..1; all of it where there were no trials.

    Raises:
        ValueError: The counts make no sense.
    """
    _check(events, trials, confidence)
    side = (1 + confidence) / 2
    return (
        binomial_lower_bound(events, trials, side),
        binomial_upper_bound(events, trials, side),
    )


def binomial_cumulative(events: int, trials: int, rate: float) -> float:
    """P(X <= events) of a binomial distribution.

    Args:
        events: At least -1; the result is 0 below 0 and 1 from `trials` on.
        trials: How often it could happen.
        rate: How likely it is each time, 0..1.

    Returns:
        The probability, 0..1.
    """
    if events < 0:
        return 0.0
    if events >= trials:
        return 1.0
    return beta_cumulative(1 - rate, trials - events, events + 1)


def mcnemar_p(one_way: int, other_way: int) -> float:
    """Exact two-sided p of McNemar's test (Psychometrika 12, 1947).

    It asks whether changes go one way more often than the other. It finds asymmetry and never
    proves equality: ten changes each way give p = 1.

    Args:
        one_way: Pairs that changed one way.
        other_way: Pairs that changed the other way.

    Returns:
        The probability of so uneven a split, or a more uneven one, were both ways as likely;
        1.0 where nothing changed.
    """
    changed = one_way + other_way
    return min(1.0, 2 * binomial_cumulative(min(one_way, other_way), changed, 0.5))


def cases_needed(max_rate: float, confidence: float, events: int = 0) -> int:
    """How many cases put the upper bound of a rate at or below a limit.

    Args:
        max_rate: The limit, above 0.
        confidence: Of the one-sided bound.
        events: How many events there may be among them.

    Returns:
        The smallest n with `binomial_upper_bound(events, n, confidence) <= max_rate`.

    Raises:
        ValueError: No number of cases shows a rate of 0.
    """
    if max_rate <= 0:
        raise ValueError(f"no number of cases shows a rate of at most {max_rate}")
    if max_rate >= 1:
        return max(events, 1)
    if events == 0:
        return math.ceil(math.log(1 - confidence) / math.log1p(-max_rate))
    few, enough = events, 2 * events + 1
    while binomial_upper_bound(events, enough, confidence) > max_rate:
        few, enough = enough, 2 * enough
    while enough - few > 1:
        middle = (few + enough) // 2
        if binomial_upper_bound(events, middle, confidence) > max_rate:
            few = middle
        else:
            enough = middle
    return enough


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
    while binomial_cumulative(1, runs, 1 - percentile) > 1 - confidence:
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
    while (
        allowed < runs and binomial_cumulative(allowed + 1, runs, 1 - percentile) <= 1 - confidence
    ):
        allowed += 1
    return allowed


def _check(events: float, trials: float, confidence: float) -> None:
    # Fractions of a case are products; their last digit may exceed the number of trials.
    if not 0 <= events <= trials * (1 + 1e-12) or not 0 < confidence < 1:
        raise ValueError(f"{events} events in {trials} trials at confidence {confidence}")
