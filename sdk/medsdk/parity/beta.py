"""The beta distribution, from which exact intervals of a binomial rate are read."""

from __future__ import annotations

import math

_TINY = 1e-300
_STEPS = 100_000
"""The continued fraction needs about the square root of the larger parameter."""


def beta_cumulative(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b).

    By its continued fraction (NIST Digital Library of Mathematical Functions, 8.17.22), evaluated
    after Lentz, on the side of the mean where it converges fast.

    Args:
        x: 0..1.
        a: First parameter, above 0.
        b: Second parameter, above 0.

    Returns:
        P(X <= x) of a beta distribution, 0..1.
    """
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    if x > (a + 1) / (a + b + 2):
        return 1.0 - _front(1.0 - x, b, a) * _fraction(1.0 - x, b, a)
    return _front(x, a, b) * _fraction(x, a, b)


def beta_quantile(probability: float, a: float, b: float) -> float:
    """Where the cumulative distribution reaches a probability: the inverse of `beta_cumulative`.

    Newton's method, with a bisection wherever it would leave the bracket.

    Args:
        probability: 0..1, both excluded.
        a: First parameter, above 0.
        b: Second parameter, above 0.

    Returns:
        x, 0..1, to about 1e-12 of itself.
    """
    low, high = 0.0, 1.0
    x = a / (a + b)
    for _ in range(200):
        excess = beta_cumulative(x, a, b) - probability
        if excess > 0:
            high = x
        else:
            low = x
        # The derivative of the cumulative distribution is its density.
        density = _front(x, a, b) * a / (x * (1.0 - x)) if 0.0 < x < 1.0 else 0.0
        following = x - excess / density if density > 0 else math.nan
        if not low < following < high:
            following = (low + high) / 2
        if abs(following - x) <= 1e-13 * x or following in (low, high):
            return following
        x = following
    return x


def _front(x: float, a: float, b: float) -> float:
    """x^a (1 - x)^b / (a B(a, b))."""
    return math.exp(
        a * math.log(x)
        + b * math.log1p(-x)
        + math.lgamma(a + b)
        - math.lgamma(a + 1)
        - math.lgamma(b)
    )


def _fraction(x: float, a: float, b: float) -> float:
    """The continued fraction, by Lentz's method."""
    upper, lower = 1.0, 1.0 - (a + b) * x / (a + 1)
    lower = 1.0 / (lower if abs(lower) > _TINY else _TINY)
    value = lower
    for m in range(1, _STEPS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            lower = 1.0 + term * lower
            lower = 1.0 / (lower if abs(lower) > _TINY else _TINY)
            upper = 1.0 + term / upper
            upper = upper if abs(upper) > _TINY else _TINY
            step = upper * lower
            value *= step
        if abs(step - 1.0) < 1e-16:
            break
    return value
