"""Claims of counts, means and percentiles: their bounds against scipy, their verdicts by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from medsdk.parity.evidence import Claim, Scope
from medsdk.parity.judging import (
    Limit,
    change_of_share,
    counted,
    fewest_for_loss,
    fewest_for_percentile,
    flips,
    listed,
    mean,
    percentile,
    share,
    worst,
)

SCOPE = Scope()


def _each(count: int) -> list[str]:
    """As many patients as units."""
    return [f"patient {number}" for number in range(count)]


def _count(events: int, n: int, patients: list[str] | None = None) -> Claim:
    happened = [index < events for index in range(n)]
    return counted("flips", SCOPE, happened, patients or _each(n), 0.02)


@pytest.mark.parametrize(("events", "n"), [(0, 149), (0, 300), (3, 300), (7, 1000)])
def test_a_rate_has_its_clopper_pearson_bound(events, n):
    claim = _count(events, n)
    assert claim.bound is not None
    expected = stats.binomtest(events, n, alternative="less").proportion_ci(0.95).high
    assert claim.bound.high == pytest.approx(expected, abs=1e-9)
    assert (claim.n, claim.events, claim.value) == (n, events, events / n)


@pytest.mark.parametrize(
    ("events", "n", "verdict"),
    [(0, 148, "not-conclusive"), (0, 149, "pass"), (1, 148, "not-conclusive"), (1, 149, "fail")],
)
def test_a_bound_passes_from_149_on(events, n, verdict):
    claim = _count(events, n)
    assert (claim.verdict, claim.needed) == (verdict, 149)


def test_patients_with_several_cases_are_counted_too():
    """Five flips of 300 cases are flips of one patient of ten; ten prove no rate of 5 %."""
    patients = [f"patient {index // 30}" for index in range(300)]
    cases, people = flips(SCOPE, [index < 5 for index in range(300)], patients, 0.05, 0.95)
    assert (cases.events, cases.n, cases.patients, cases.verdict) == (5, 300, 10, "not-conclusive")
    assert "worth 10 independent ones" in cases.reason
    assert (people.measure, people.events, people.n) == ("patients-with-flips", 1, 10)
    assert people.scope.level == "patient"
    assert people.verdict == "advisory"
    assert len(flips(SCOPE, [False] * 3, _each(3), 0.05, 0.95)) == 1


@pytest.mark.parametrize(
    ("people", "each", "flipped", "verdict"),
    [(1, 149, 0, "not-conclusive"), (148, 3, 0, "not-conclusive"), (149, 3, 0, "pass"),
     (149, 3, 3, "fail")],
)  # fmt: skip
def test_a_bound_is_of_independent_units(people, each, flipped, verdict):
    """149 slices of one patient are one: all of them were taken by one machine of one anatomy."""
    patients = [f"patient {index // each}" for index in range(people * each)]
    claim = counted("flips", SCOPE, [k < flipped for k in range(len(patients))], patients, 0.02)
    assert (claim.n, claim.events, claim.verdict) == (people * each, flipped, verdict)
    expected = stats.beta.ppf(0.95, flipped / each + 1, people - flipped / each)
    assert claim.bound is not None
    assert claim.bound.high == pytest.approx(expected, abs=1e-9)


def test_more_cases_may_prove_what_the_cases_at_hand_do_not():
    """One of 149 is within 2 % and not proved to be; one of 236 would be."""
    assert "236 with as many events would prove it" in _count(1, 149).reason
    assert "would prove" not in _count(5, 149).reason


@pytest.mark.parametrize("people", [1, 2, 9])
def test_no_interval_of_few_patients(people):
    """Resampled, two patients cover 54 % of the nominal 95, five 85 %."""
    values = np.random.default_rng(5).normal(size=20 * people)
    patients = [f"patient {index % people}" for index in range(len(values))]
    claims = [
        mean("dice-change-mean", SCOPE, values.tolist(), patients, limit=Limit(-9, True, 1)),
        mean("surface-distance-mean", SCOPE, values.tolist(), patients, "mm"),
        change_of_share(
            "recall-change",
            SCOPE,
            ((values > 0).tolist(), patients),
            ((values > 0.1).tolist(), patients),
            Limit(-1, True, 1),
        ),
    ]
    for claim in claims:
        assert claim.bound is None
        assert claim.reason == f"no interval of {people} patients: it takes at least 10"
    assert [claim.verdict for claim in claims] == ["pass", "advisory", "pass"]


def test_no_interval_without_width():
    """Nothing moved: what so many leave open for a fraction, nothing for a distance."""
    still = mean("surface-distance-mean", SCOPE, [0.0] * 20, _each(20), "mm")
    assert still.bound is None
    assert still.reason == "no interval: all patients have the same mean"
    room = stats.binomtest(0, 20).proportion_ci(0.95).high
    moved = mean("dice-change-mean", SCOPE, [-0.002] * 20, _each(20))
    assert moved.bound is not None
    assert (moved.bound.low, moved.bound.high) == pytest.approx(
        (-0.002 - room, -0.002 + room), abs=1e-9
    )


def test_a_patients_units_are_worth_one():
    """A recall of 300 boxes of ten patients is known no better than one of ten boxes."""
    patients = [f"patient {index // 30}" for index in range(300)]
    claim = share("recall", SCOPE, [True] * 300, patients)
    expected = stats.binomtest(10, 10).proportion_ci(0.95)
    assert claim.bound is not None
    assert claim.bound.low == pytest.approx(expected.low, abs=1e-9)


def test_nothing_counted_proves_nothing():
    claim = counted("flips", SCOPE, [], [], 0.02)
    assert (claim.n, claim.value, claim.verdict) == (0, None, "not-conclusive")
    assert share("recall", SCOPE, [], []).value is None
    assert mean("dice", SCOPE, [], []).value is None
    assert percentile("dice", SCOPE, [], [], 5).value is None


def test_a_share_has_an_interval_on_both_sides():
    claim = share("recall", SCOPE, [True] * 90 + [False] * 10, _each(100))
    expected = stats.binomtest(90, 100).proportion_ci(0.95)
    assert claim.bound is not None
    assert (claim.bound.low, claim.bound.high) == pytest.approx(tuple(expected), abs=1e-9)


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([-0.005] * 59, "pass"),
        ([-0.0051] * 59, "fail"),
        ([-0.005] * 58, "not-conclusive"),
        ([-0.0051] * 3, "fail"),
        ([0.02] * 59, "pass"),
    ],
)
def test_a_mean_is_held_against_its_gate(values, verdict):
    claim = mean(
        "dice-change-mean", SCOPE, values, _each(len(values)), limit=Limit(-0.005, True, 59)
    )
    assert claim.verdict == verdict
    assert bool(claim.reason) == (verdict != "pass")


def test_the_interval_of_a_mean_is_about_the_normal_one():
    values = np.random.default_rng(1).normal(0.3, 2.0, 400)
    claim = mean("value-bias", SCOPE, values.tolist(), _each(400), "%")
    low, high = stats.norm.interval(0.95, values.mean(), values.std() / 20)
    assert claim.bound is not None
    assert claim.bound.low == pytest.approx(low, abs=0.03)
    assert claim.bound.high == pytest.approx(high, abs=0.03)


def test_the_interval_of_a_mean_knows_the_patient():
    """Ten patients with forty equal values each: the interval is that of ten values."""
    ten = np.random.default_rng(2).normal(0.0, 1.0, 10)
    alone = mean("value-bias", SCOPE, ten.tolist(), _each(10))
    repeated = mean(
        "value-bias", SCOPE, np.repeat(ten, 40).tolist(), np.repeat(_each(10), 40).tolist()
    )
    assert alone.bound is not None
    assert repeated.bound is not None
    assert repeated.bound.low == pytest.approx(alone.bound.low, abs=1e-12)
    assert repeated.bound.high == pytest.approx(alone.bound.high, abs=1e-12)


def test_a_percentile_is_numpys_and_its_bound_an_order_statistic():
    values = np.random.default_rng(3).normal(size=200)
    high = percentile("value-change-95th-percentile", SCOPE, values.tolist(), _each(200), 95)
    low = percentile("dice-change-5th-percentile", SCOPE, values.tolist(), _each(200), 5)
    assert high.value == pytest.approx(np.percentile(values, 95))
    assert low.value == pytest.approx(np.percentile(values, 5))
    # The smallest rank that so many of 200 stay below the percentile with probability 0.95.
    rank = next(r for r in range(1, 201) if stats.binom.cdf(r - 1, 200, 0.95) >= 0.95)
    ordered = np.sort(values)
    assert high.bound is not None
    assert low.bound is not None
    assert high.bound.high == ordered[rank - 1]
    assert low.bound.low == ordered[200 - rank]
    assert (high.bound.low, low.bound.high) == (None, None)


@pytest.mark.parametrize(("percent", "needed"), [(95, 59), (5, 59), (50, 5)])
def test_so_many_bound_a_percentile(percent, needed):
    assert fewest_for_percentile(percent) == needed
    values = [float(value) for value in range(needed)]
    assert percentile("dice", SCOPE, values, _each(needed), percent).bound is not None
    assert percentile("dice", SCOPE, values[1:], _each(needed - 1), percent).bound is None


def test_the_interval_of_a_change_is_paired():
    """The same boxes on both sides: whatever patients are drawn, nothing changes."""
    right = np.random.default_rng(4).random(200) < 0.7
    side = (right.tolist(), _each(200))
    claim = change_of_share("precision-change", SCOPE, side, side, Limit(-0.01, True, 100))
    assert (claim.value, claim.verdict, claim.n) == (0.0, "pass", 200)
    assert claim.bound is not None
    # What no change in 200 boxes leaves open, on either side.
    room = stats.binomtest(0, 200).proportion_ci(0.95).high
    assert (claim.bound.low, claim.bound.high) == pytest.approx((-room, room), abs=1e-9)


def test_masks_that_did_not_move_leave_room():
    claim = mean("dice-change-mean", SCOPE, [0.0] * 60, _each(60))
    room = stats.binomtest(0, 60).proportion_ci(0.95).high
    assert claim.bound is not None
    assert (claim.bound.low, claim.bound.high) == pytest.approx((-room, room), abs=1e-9)


def test_a_change_of_a_share_by_hand():
    """Of 100 right 90, then of 120 right 90: 0.75 - 0.9, of sides of other sizes."""
    before = ([True] * 90 + [False] * 10, _each(100))
    after = ([True] * 90 + [False] * 30, _each(120))
    claim = change_of_share("precision-change", SCOPE, before, after, Limit(-0.01, True, 100))
    assert claim.value == pytest.approx(-0.15)
    assert (claim.n, claim.patients, claim.verdict) == (100, 120, "fail")


def test_a_side_that_gives_nothing():
    some = ([True] * 100, _each(100))
    none: tuple[list[bool], list[str]] = ([], [])
    limit = Limit(-0.01, True, 100)
    lost = change_of_share("precision-change", SCOPE, some, none, limit)
    assert (lost.verdict, lost.value) == ("fail", None)
    assert "the variant gives nothing" in lost.reason
    never = change_of_share("precision-change", SCOPE, none, some, limit)
    assert never.verdict == "not-conclusive"


@pytest.mark.parametrize(
    ("loss", "needed"), [(0.01, 100), (0.05, 20), (0.03, 34), (1.0, 1), (0, 1)]
)
def test_one_unit_is_not_more_than_the_loss(loss, needed):
    assert fewest_for_loss(loss) == needed
    if loss:
        assert 1 / needed <= loss + 1e-12
        assert needed == 1 or 1 / (needed - 1) > loss


def test_the_worst_counts_those_beyond():
    claim = worst(
        "heat-map-correlation", SCOPE, [0.999, 0.98, 0.99], _each(3), Limit(0.99, True, 1)
    )
    assert (claim.value, claim.events, claim.verdict) == (0.98, 1, "fail")
    assert claim.bound is not None
    assert (claim.bound.low, claim.bound.high) == (0.98, 0.999)


def test_what_must_not_happen_is_listed():
    assert listed("outputs", SCOPE, 4, []).verdict == "pass"
    assert listed("outputs", SCOPE, 0, []).verdict == "not-run"
    many = listed("outputs", SCOPE, 9, [f"fault {number}" for number in range(7)])
    assert (many.verdict, many.events, many.n) == ("fail", 2, 9)
    assert many.reason.endswith("fault 4; and 2 more")
