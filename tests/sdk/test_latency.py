"""The bench: what it drives, and what n runs allow to say, by the binomial distribution."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import pytest
from scipy import stats

from medsdk.bench import Latency, measure
from medsdk.cli.bench import P99_RUNS, _judge
from medsdk.cli.verify import EXIT_OF
from medsdk.parity.statistics import runs_needed
from medsdk.parity.verification import CandidateVerdict
from medsdk.plan import Candidate, Choice


def _shuffled(count: int) -> Latency:
    """1 to n milliseconds in some order."""
    values = [number * 1_000_000 for number in range(1, count + 1)]
    random.Random(count).shuffle(values)
    return Latency(tuple(values))


def _allowed(runs: int, percentile: float) -> int:
    """LoadGen's rule: the largest t with P(X <= t | n, 1 - percentile) <= 1 %."""
    t = 0
    while stats.binom.cdf(t + 1, runs, 1 - percentile) <= 0.01:
        t += 1
    return t


@pytest.mark.parametrize(("percentile", "needed"), [(0.9, 64), (0.99, 662), (0.999, 6636)])
def test_the_first_n_that_is_enough(percentile, needed):
    assert runs_needed(percentile) == needed
    assert stats.binom.cdf(1, needed, 1 - percentile) <= 0.01
    assert stats.binom.cdf(1, needed - 1, 1 - percentile) > 0.01
    assert _shuffled(needed - 1).percentile_ns(percentile) is None
    assert _shuffled(needed).percentile_ns(percentile) == needed * 1_000_000  # the slowest


def test_the_command_line_asks_for_as_many_as_a_p99_needs():
    assert runs_needed(0.99) == P99_RUNS == 662


@pytest.mark.parametrize("runs", [1, 2, 100, 661])
def test_too_few_runs_give_no_estimate(runs):
    assert _shuffled(runs).percentile_ns(0.99) is None


@pytest.mark.parametrize("runs", [662, 663, 837, 838, 1000, 2000, 5000, 20000])
def test_the_estimate_is_the_t_th_slowest_run(runs):
    t = _allowed(runs, 0.99)
    found = _shuffled(runs).percentile_ns(0.99)
    assert found == (runs - t + 1) * 1_000_000
    # It lies below the true percentile where fewer than t runs lie above that: 1 % at most.
    assert stats.binom.cdf(t - 1, runs, 0.01) <= 0.01
    assert found >= 0.99 * runs * 1_000_000


def test_median_and_slowest():
    assert Latency((5, 1, 3)).p50_ns == 3
    assert Latency((4, 1, 3, 2)).p50_ns == 2  # the lower one of an even number
    assert Latency((7,)).p50_ns == Latency((7,)).max_ns == 7
    assert Latency((5, 1, 3)).max_ns == 5


class _System:
    """Any object with three methods; its own clock, so that no wall time is asked."""

    def __init__(self, samples: int) -> None:
        self.samples = samples
        self.now_ns = 0
        self.calls: list[str] = []

    def clock(self) -> int:
        return self.now_ns

    def count(self) -> int:
        return self.samples

    def warm_up(self) -> None:
        self.calls.append("warm up")
        self.now_ns += 10_000

    def query(self, sample: int) -> None:
        self.calls.append(f"query {sample}")
        self.now_ns += 100 + sample


def test_one_sample_after_the_other_after_one_warm_up(monkeypatch):
    system = _System(3)
    monkeypatch.setattr(time, "perf_counter_ns", system.clock)
    done = []

    def progress(number: int) -> None:
        done.append(number)
        system.now_ns += 77_777  # not part of what is timed

    latency = measure(system, 7, progress)
    assert system.calls == ["warm up", *(f"query {n}" for n in (0, 1, 2, 0, 1, 2, 0))]
    assert latency.latencies_ns == (100, 101, 102, 100, 101, 102, 100)
    assert done == list(range(1, 8))
    assert latency.runs == 7


def test_an_error_of_the_system_is_not_a_run():
    class Broken(_System):
        def query(self, sample: int) -> None:
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        measure(Broken(1), 3)


def _parity(verdict: Any, *reasons: str) -> CandidateVerdict:
    candidate = Candidate("onnxruntime", "CPU", {"filter": Choice("fp32", "fp32")}, 1)
    return CandidateVerdict(candidate, None, verdict, reasons, 6, 0, 0.0)


Judgement = Callable[[int, float | None], tuple[str, tuple[str, ...]]]


@pytest.mark.parametrize(
    ("runs", "limit_ms", "verdict", "status"),
    [
        (661, None, "not-conclusive", 5),
        (661, 0.001, "not-conclusive", 5),
        (661, 10_000.0, "not-conclusive", 5),
        (662, None, "pass", 0),
        (662, 662.0, "pass", 0),  # the slowest run is the estimate; equal is not above
        (662, 661.9, "fail", 1),
        (2000, 1992.0, "pass", 0),  # the 9th slowest
        (2000, 1991.9, "fail", 1),
    ],
)
def test_verdict_of_a_bench(runs, limit_ms, verdict, status):
    found, reasons = _judge(_parity("pass"), _shuffled(runs), limit_ms)
    assert (found, EXIT_OF[found]) == (verdict, status)
    assert bool(reasons) == (verdict != "pass")
    if verdict == "not-conclusive":
        assert reasons == (f"a p99 needs 662 runs, there were {runs}",)
    if verdict == "fail":
        assert f"above {limit_ms:g} ms" in reasons[0]


@pytest.mark.parametrize("runs", [10, 662])
def test_parity_comes_before_speed(runs):
    found, reasons = _judge(_parity("fail", "ka-001: network: x"), _shuffled(runs), None)
    assert (found, EXIT_OF[found]) == ("fail", 1)
    assert reasons == ("parity: ka-001: network: x",)
