"""Timing by turns: what is compared runs side by side, so that drift of the machine cancels."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Timings:
    """Seconds of each function, run by run: `seconds[name][i]` belong to one turn."""

    seconds: Mapping[str, Sequence[float]]

    @property
    def turns(self) -> int:
        """Number of turns, n."""
        return len(next(iter(self.seconds.values())))

    def median_ms(self, name: str) -> float:
        """Median in milliseconds."""
        return statistics.median(self.seconds[name]) * 1e3

    def fastest_ms(self, name: str) -> float:
        """Fastest run in milliseconds."""
        return min(self.seconds[name]) * 1e3

    def ratio(self, over: str, under: str) -> float:
        """Median of the turn-by-turn ratios."""
        pairs = zip(self.seconds[over], self.seconds[under], strict=True)
        return statistics.median(a / b for a, b in pairs)

    def median_difference_us(self, whole: str, *parts: str) -> float:
        """Median over the turns of `whole` minus its parts, in microseconds."""
        rest = [
            value - sum(self.seconds[part][turn] for part in parts)
            for turn, value in enumerate(self.seconds[whole])
        ]
        return statistics.median(rest) * 1e6


def by_turns(
    functions: Mapping[str, Callable[[], object]], turns: int, warm_up: int = 5
) -> Timings:
    """Run every function once a turn, in a new order each turn.

    With a fixed order the first one always finds the caches as the last one left them, which is
    worth 0.15 ms here.

    Args:
        functions: Name to what is timed.
        turns: How many turns.
        warm_up: Turns that are not counted, first.

    Returns:
        The timings.
    """
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    order = list(functions)
    shuffler = random.Random(0)
    for turn in range(-warm_up, turns):
        shuffler.shuffle(order)
        for name in order:
            function = functions[name]
            start = time.perf_counter()
            function()
            if turn >= 0:
                seconds[name].append(time.perf_counter() - start)
    return Timings(seconds)
