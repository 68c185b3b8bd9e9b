"""Exact bounds, intervals and McNemar's p against scipy and statsmodels."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.special import betainc
from scipy.stats import beta, binom, binomtest
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

from medsdk.parity import rates
from medsdk.parity.beta import beta_cumulative, beta_quantile
from medsdk.parity.bootstrap import quantile_cases_needed
from medsdk.parity.saying import says
from medsdk.parity.statistics import (
    binomial_cumulative,
    binomial_interval,
    binomial_lower_bound,
    binomial_upper_bound,
    cases_needed,
    mcnemar_p,
)
from tests.sdk.parity.made_answers import SCOPE

CONFIDENCES = st.sampled_from((0.6, 0.8, 0.9, 0.95, 0.975, 0.99, 0.999))


@st.composite
def counts(draw: st.DrawFn) -> tuple[int, int]:
    """Events and trials; small rates are as common as the others."""
    trials = draw(st.one_of(st.integers(1, 50), st.integers(51, 5_000), st.integers(5_001, 10**6)))
    return draw(st.one_of(st.integers(0, min(20, trials)), st.integers(0, trials))), trials


@given(counts(), CONFIDENCES)
@example((0, 1), 0.95)
@example((1, 1), 0.95)
@example((0, 10**6), 0.95)
@example((10**6, 10**6), 0.95)
@example((1, 10**6), 0.95)
@example((500_000, 10**6), 0.95)
@example((999_999, 10**6), 0.999)
@settings(max_examples=150, deadline=None)
def test_two_sided_intervals_are_those_of_scipy_and_statsmodels(
    seen: tuple[int, int], confidence: float
) -> None:
    found = binomial_interval(*seen, confidence)
    scipys = binomtest(*seen).proportion_ci(confidence, method="exact")
    assert found == pytest.approx((scipys.low, scipys.high), abs=1e-9)
    theirs = proportion_confint(*seen, alpha=1 - confidence, method="beta")
    assert found == pytest.approx(theirs, abs=1e-9)


@given(counts(), CONFIDENCES)
@settings(max_examples=100, deadline=None)
def test_one_sided_bounds_are_those_of_scipy(seen: tuple[int, int], confidence: float) -> None:
    less = binomtest(*seen, alternative="less").proportion_ci(confidence, method="exact")
    more = binomtest(*seen, alternative="greater").proportion_ci(confidence, method="exact")
    assert binomial_upper_bound(*seen, confidence) == pytest.approx(less.high, abs=1e-9)
    assert binomial_lower_bound(*seen, confidence) == pytest.approx(more.low, abs=1e-9)


@given(st.floats(0, 1), st.floats(0.01, 1e6), st.floats(0.01, 1e6))
@settings(max_examples=150, deadline=None)
def test_incomplete_beta_is_scipys(x: float, a: float, b: float) -> None:
    assert beta_cumulative(x, a, b) == pytest.approx(betainc(a, b, x), abs=1e-9)


@given(st.floats(0.001, 0.999), st.floats(0.5, 5_000), st.floats(0.5, 5_000))
@settings(max_examples=100, deadline=None)
def test_fractions_of_cases_have_a_quantile(probability: float, a: float, b: float) -> None:
    assert beta_quantile(probability, a, b) == pytest.approx(beta.ppf(probability, a, b), abs=1e-9)


@given(st.integers(-1, 600), st.integers(1, 500), st.floats(0, 1))
@settings(max_examples=100, deadline=None)
def test_cumulative_is_scipys(events: int, trials: int, rate: float) -> None:
    want = binom.cdf(events, trials, rate)
    assert binomial_cumulative(events, trials, rate) == pytest.approx(want, abs=1e-9)


@given(st.integers(0, 400), st.integers(0, 400))
@example(0, 0)
@example(0, 100_000)
@example(50_000, 50_100)
@settings(max_examples=100, deadline=None)
def test_mcnemar_is_that_of_statsmodels_and_scipy(one_way: int, other_way: int) -> None:
    found = mcnemar_p(one_way, other_way)
    table = [[5, one_way], [other_way, 7]]
    if one_way + other_way:
        assert found == pytest.approx(mcnemar(table, exact=True).pvalue, abs=1e-9)
        sign = binomtest(one_way, one_way + other_way, 0.5).pvalue
        assert found == pytest.approx(sign, abs=1e-9)
    else:
        assert found == 1.0


def test_mcnemar_never_proves_equality() -> None:
    """A thousand flips, as many each way: p is 1 and every second decision is another."""
    assert mcnemar_p(500, 500) == 1.0
    assert binomial_upper_bound(1000, 2000, 0.95) > 0.5


@pytest.mark.parametrize(("rate", "cases"), [(0.01, 299), (0.005, 598), (0.001, 2995), (0.02, 149)])
def test_cases_needed_without_an_event(rate: float, cases: int) -> None:
    assert cases_needed(rate, 0.95) == cases
    assert beta.ppf(0.95, 1, cases) <= rate < beta.ppf(0.95, 1, cases - 1)


@pytest.mark.parametrize("events", [1, 2, 5, 20])
@pytest.mark.parametrize("rate", [0.3, 0.05, 0.01])
def test_cases_needed_with_events(rate: float, events: int) -> None:
    cases = cases_needed(rate, 0.95, events)
    bound = beta.ppf(0.95, events + 1, cases - events)
    assert bound <= rate < beta.ppf(0.95, events + 1, cases - 1 - events)


def test_no_number_of_cases_shows_a_rate_of_nothing() -> None:
    with pytest.raises(ValueError, match="no number of cases"):
        cases_needed(0.0, 0.95)


def test_a_percentile_takes_59_cases() -> None:
    assert quantile_cases_needed(0.95, 0.95) == 59
    assert 0.95**59 <= 0.05 < 0.95**58


def test_a_million_cases_take_no_time() -> None:
    start = time.perf_counter()
    for events in (0, 1, 10_000, 500_000, 999_999):
        binomial_interval(events, 10**6, 0.95)
    # 0.03 s on the machine of the measurements; a sum of a million terms takes minutes.
    assert time.perf_counter() - start < 2


def test_counts_that_are_products_may_exceed_the_trials_in_the_last_digit() -> None:
    assert binomial_upper_bound(10 * (1 + 1e-15), 10, 0.95) == 1.0
    assert binomial_lower_bound(10 * (1 + 1e-15), 10, 0.95) == pytest.approx(0.05**0.1)
    with pytest.raises(ValueError, match="events"):
        binomial_upper_bound(10.01, 10, 0.95)


def test_a_claim_says_its_n_and_a_bound_that_is_not_rounded_down() -> None:
    said = says(rates.upper("flips", SCOPE, np.zeros(300, np.bool_), np.arange(300), 0.95))
    # The bound is 0.9936 %; a reader must not take away less.
    assert "0 in 300 slices" in said
    assert "under 1.00 %" in said
    assert "under 0.50 %" not in said
