"""The bootstrap over patients against scipy and against resamples that are written out."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, bootstrap

from medsdk.parity.bootstrap import (
    SEED,
    effective_cases,
    patient_codes,
    per_patient,
    percentile_interval,
    quantile_upper_bound,
    resampled_sums,
    widened,
)


@given(st.integers(0, 2**31), st.integers(2, 80), st.sampled_from((0.8, 0.9, 0.95)))
@settings(max_examples=25, deadline=None)
def test_a_ratio_of_sums_has_scipys_interval(seed: int, patients: int, confidence: float) -> None:
    generator = np.random.default_rng(seed)
    cases = generator.integers(1, 6, patients).astype(float)
    events = generator.binomial(cases.astype(int), 0.3).astype(float)
    drawn = resampled_sums(np.stack([events, cases], axis=1), 500, seed)
    found = percentile_interval(drawn[:, 0] / drawn[:, 1], confidence)
    theirs = bootstrap(
        (events, cases),
        lambda a, b, axis=-1: a.sum(axis) / b.sum(axis),
        paired=True,
        vectorized=True,
        n_resamples=500,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    assert found == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_drawn_patients_bring_all_their_cases() -> None:
    """Each resample written out: patients are drawn, then their cases counted one by one."""
    owners = ["a", "b", "a", "c", "a", "c"]
    lost = np.array([1, 0, 0, 1, 1, 0])
    sums = per_patient(patient_codes(owners), [lost, np.ones(6)])
    assert sums.tolist() == [[2, 3], [0, 1], [1, 2]]
    drawn = resampled_sums(sums, 50, seed=7)
    picks = np.random.default_rng(7).integers(0, 3, size=(50, 3))
    for row, pick in zip(drawn, picks, strict=True):
        cases = [at for patient in pick for at, name in enumerate(owners) if name == "abc"[patient]]
        assert row.tolist() == [sum(lost[at] for at in cases), len(cases)]


def test_draws_in_parts_are_the_draws_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sums = np.random.default_rng(0).random((40, 3))
    whole = resampled_sums(sums, 100)
    monkeypatch.setattr("medsdk.parity.bootstrap._WEIGHTS_AT_ONCE", 130)
    np.testing.assert_allclose(resampled_sums(sums, 100), whole, rtol=0, atol=1e-12)


def test_one_set_of_results_has_one_interval() -> None:
    sums = np.random.default_rng(0).random((30, 2))
    np.testing.assert_array_equal(resampled_sums(sums), resampled_sums(sums, seed=SEED))
    assert not np.array_equal(resampled_sums(sums), resampled_sums(sums, seed=SEED + 1))


def test_a_thousand_patients_take_little_time_and_memory() -> None:
    sums = np.random.default_rng(0).random((1000, 9))
    start = time.perf_counter()
    resampled_sums(sums, 2000)
    assert time.perf_counter() - start < 1  # 0.09 s on the machine of the measurements
    tracemalloc.start()
    resampled_sums(np.ones((20_000, 2)), 200)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 * 1024**2  # all 200 x 20 000 draws and their counts at once are 96 MB


def test_nobody_to_draw_is_no_interval() -> None:
    drawn = resampled_sums(np.zeros((0, 2)), 10)
    with np.errstate(invalid="ignore"):
        assert percentile_interval(drawn[:, 0] / drawn[:, 1], 0.95) is None


def test_resamples_without_a_denominator_are_left_out() -> None:
    values = np.array([np.nan, 0.0, 1.0, np.nan])
    assert percentile_interval(values, 0.5) == (0.25, 0.75)


def test_cases_are_worth_their_patients() -> None:
    assert effective_cases([1] * 300) == 300
    assert effective_cases([10] * 30) == pytest.approx(30)
    # One patient with half of the cases: less than the 51 patients that there are.
    assert effective_cases([50] + [1] * 50) == pytest.approx(100**2 / (2500 + 50))
    assert effective_cases([0, 0, 4]) == 1
    assert effective_cases([]) == 0


def test_an_interval_without_width_is_widened() -> None:
    assert widened((0.0, 0.0), 0.0, 0.012) == (-0.012, 0.012)
    assert widened((-0.05, 0.001), -0.02, 0.012) == pytest.approx((-0.05, 0.001))
    assert widened((-0.03, -0.02), -0.02, 0.012) == pytest.approx((-0.032, -0.008))
    assert widened(None, 0.5, 0.1) == pytest.approx((0.4, 0.6))


@given(st.integers(1, 400), st.sampled_from((0.5, 0.9, 0.95)), st.sampled_from((0.9, 0.95)))
@settings(max_examples=60, deadline=None)
def test_bound_of_a_percentile_is_an_order_statistic(
    cases: int, share: float, confidence: float
) -> None:
    """The r-th smallest with P(fewer than r of n are below the percentile) >= confidence."""
    values = np.random.default_rng(cases).permutation(cases).astype(float)
    ranks = [
        rank
        for rank in range(1, cases + 1)
        if binom.cdf(rank - 1, cases, share) >= confidence - 1e-12
    ]
    want = None if not ranks else ranks[0] - 1.0
    assert quantile_upper_bound(values, share, confidence) == want


def test_a_percentile_of_copies_has_no_bound() -> None:
    """600 slices of 6 patients are no 59 independent cases."""
    values = np.arange(600.0)
    assert quantile_upper_bound(values, 0.95, 0.95) is not None
    assert quantile_upper_bound(values, 0.95, 0.95, effective=6) is None
    assert quantile_upper_bound([], 0.95, 0.95) is None
