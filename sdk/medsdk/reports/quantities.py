"""Numbers as a reader sees them: never better than they are, the same in every locale."""

from __future__ import annotations

import decimal
from typing import Literal

from medsdk.parity.evidence import Measure

Rounding = Literal["nearest", "up", "down"]

MINUS = "\N{MINUS SIGN}"

POINTS: frozenset[Measure] = frozenset(
    {
        "isa-ladder",
        "accuracy-change",
        "sensitivity-change",
        "specificity-change",
        "mean-of-sensitivity-and-specificity-change",
        "sensitivity-non-inferiority",
        "specificity-non-inferiority",
        "recall-change",
        "precision-change",
        "mean-average-precision-change",
        "mean-average-precision-50-change",
    }
)
"""Differences of two shares: `fraction` is shown as percentage points."""

PLAIN: frozenset[Measure] = frozenset(
    {
        "stored-value",
        "asymmetry",
        "probability-change-mean",
        "probability-change-95th-percentile",
        "dice",
        "dice-change-mean",
        "dice-change-5th-percentile",
        "dice-to-reference-median",
        "heat-map-correlation",
        "heat-map-variation",
    }
)
"""Coefficients, probabilities and p-values: `fraction` is shown as it is, 0 to 1."""

_MODES: dict[Rounding, str] = {
    "nearest": decimal.ROUND_HALF_EVEN,
    "up": decimal.ROUND_CEILING,
    "down": decimal.ROUND_FLOOR,
}
_CONTEXT = decimal.Context(prec=40)


def fixed(value: float, places: int, rounding: Rounding = "nearest", factor: int = 1) -> str:
    """A number with a fixed count of decimals.

    The shortest decimal that stands for the float is rounded, not the float: a bound of 0.02 is
    2.00 %, never 2.01 % for being 0.0200000000000000004.

    Args:
        value: Finite.
        places: Decimals.
        rounding: `up` for an upper bound and `down` for a lower one, so that what is shown is
            never narrower than what was found.
        factor: What to multiply by first, for instance 100 for percent.
    """
    step = decimal.Decimal(1).scaleb(-places)
    exact = _CONTEXT.multiply(decimal.Decimal(repr(float(value))), decimal.Decimal(factor))
    shown = exact.quantize(step, rounding=_MODES[rounding], context=_CONTEXT)
    return _signed(format(abs(shown) if shown.is_zero() else shown, "f"))


def significant(value: float, digits: int = 4, rounding: Rounding = "nearest") -> str:
    """A number with so many significant digits, as `3.2e-05` where it is tiny or huge."""
    exact = decimal.Decimal(repr(float(value)))
    shown = decimal.Context(prec=digits, rounding=_MODES[rounding]).plus(exact)
    return _signed(f"{float(shown):.{digits}g}")


def whole(value: int) -> str:
    """A count."""
    return _signed(str(value))


def _signed(text: str) -> str:
    return text.replace("-", MINUS, 1) if text.startswith("-") else text
