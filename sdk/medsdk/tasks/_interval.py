"""Pairs of numbers that span something."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, PositiveFloat


def _ascending(pair: tuple[float, float]) -> tuple[float, float]:
    if pair[0] >= pair[1]:
        raise ValueError(f"the first number ({pair[0]:g}) must be below the second ({pair[1]:g})")
    return pair


Interval = Annotated[tuple[float, float], AfterValidator(_ascending)]
"""Lower and upper end, both inside."""

PositiveInterval = Annotated[tuple[PositiveFloat, PositiveFloat], AfterValidator(_ascending)]
"""Lower and upper end, both inside and above zero."""
