"""From data to positions in a drawing, and the round numbers that stand beside its axis."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

_LARGEST, _SMALLEST = 1e150, 1e-150
"""Beyond these, differences and steps would leave the range of a float."""


@dataclass(frozen=True)
class Scale:
    """A linear axis.

    Attributes:
        low: Data at `start`.
        high: Data at `end`, above `low`.
        start: Position of `low`, in the drawing's units.
        end: Position of `high`; below `start` where the axis points upwards.
    """

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Where a value is drawn; one beyond the ends is drawn at the end."""
        inside = min(max(value, self.low), self.high)
        share = (inside - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self, about: int) -> tuple[float, ...]:
        """Round numbers within the axis: 1, 2 or 5 times a power of ten apart.

        Args:
            about: How many are wanted, roughly.
        """
        rough = (self.high - self.low) / max(about, 1)
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(k * power for k in (1, 2, 5, 10) if k * power >= rough * (1 - 1e-9))
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return tuple(k * step for k in range(first, last + 1))


def around(
    values: Iterable[float],
    start: float,
    end: float,
    *,
    floor: float = -math.inf,
    ceiling: float = math.inf,
) -> Scale:
    """An axis that shows all of some values, with a little room at both ends.

    Args:
        values: Finite.
        start: Position of the low end.
        end: Position of the high end.
        floor: What the quantity can never be below; the room ends there.
        ceiling: What it can never be above.
    """
    found = sorted(min(max(value, -_LARGEST), _LARGEST) for value in values) or [0.0]
    low, high = found[0], found[-1]
    room = (high - low) * 0.08 or abs(high) * 0.1
    if room < _SMALLEST:
        room = 1.0
    shown_low, shown_high = max(low - room, min(floor, low)), min(high + room, max(ceiling, high))
    if not shown_low < shown_high:
        shown_low, shown_high = low - room, high + room
    return Scale(shown_low, shown_high, start, end)
