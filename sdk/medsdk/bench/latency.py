"""One query at a time, as a scanner asks: how long each takes, and what n allows to say.

The shape is MLPerf LoadGen's single stream: the bench drives a small interface and knows
nothing of models, images or runtimes; accuracy is judged in another run.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from medsdk.parity.statistics import overruns_allowed, runs_needed


class SystemUnderTest(Protocol):
    """What is measured."""

    def count(self) -> int:
        """Number of different samples, at least 1."""

    def warm_up(self) -> None:
        """Called once, not measured."""

    def query(self, sample: int) -> None:
        """Answer one sample, 0 to count() - 1; this is what is timed."""


@dataclass(frozen=True)
class Latency:
    """What was measured.

    Attributes:
        latencies_ns: Every run in order, monotonic clock.
    """

    latencies_ns: tuple[int, ...]

    @property
    def runs(self) -> int:
        """N."""
        return len(self.latencies_ns)

    @property
    def p50_ns(self) -> int:
        """The median, the lower one of an even number."""
        return sorted(self.latencies_ns)[(self.runs - 1) // 2]

    @property
    def max_ns(self) -> int:
        """The slowest run."""
        return max(self.latencies_ns)

    def percentile_ns(self, percentile: float) -> int | None:
        """An upper estimate that holds with 99 % confidence (LoadGen's early-stopping rule).

        Args:
            percentile: For instance 0.99.

        Returns:
            The t-th slowest run, t being what `overruns_allowed` says; None where n is too
            small for any estimate (a p99 needs 662 runs).
        """
        if self.runs < runs_needed(percentile):
            return None
        allowed = overruns_allowed(self.runs, percentile)
        return sorted(self.latencies_ns)[self.runs - allowed]


def measure(
    system: SystemUnderTest, runs: int, progress: Callable[[int], None] | None = None
) -> Latency:
    """Ask one sample after the other and time each answer.

    Args:
        system: What is measured.
        runs: How many, at least 1.
        progress: Told how many are done, outside the timed part.

    Returns:
        The latencies.
    """
    system.warm_up()
    count = system.count()
    latencies = []
    for number in range(runs):
        sample = number % count
        start = time.perf_counter_ns()
        system.query(sample)
        latencies.append(time.perf_counter_ns() - start)
        if progress is not None:
            progress(number + 1)
    return Latency(tuple(latencies))
