"""Parity of heat maps against scipy's correlation, and with maps that look at nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from medsdk.parity.evidence import Claim, Evidence, Scope
from medsdk.parity.heat_maps import MapCase, change_evidence, correlation, peak_distance
from medsdk.parity.judging import Subject
from medsdk.tasks.gates import HeatMapGate

GATE, SCOPE = HeatMapGate(), Scope(candidate="variant", role="map")
Map = NDArray[Any]


def _blob(generator: np.random.Generator, size: int = 14) -> Map:
    """A hill somewhere, in float32."""
    row, column = generator.integers(2, size - 2, 2)
    y, x = np.ogrid[:size, :size]
    hill = np.exp(-((y - row) ** 2 + (x - column) ** 2) / 8.0)
    return np.asarray(hill, np.float32)


def _maps(count: int, seed: int = 0) -> list[Map]:
    generator = np.random.default_rng(seed)
    return [_blob(generator) for _ in range(count)]


def _evidence(reference: list[Map], variant: list[Map], gate: HeatMapGate = GATE) -> Evidence:
    cases = (
        MapCase(Subject(f"{number:016x}", number + 1, f"patient {number}"), want, got)
        for number, (want, got) in enumerate(zip(reference, variant, strict=True))
    )
    return change_evidence(gate, cases, SCOPE)


def _claim(evidence: Evidence, measure: str) -> Claim:
    (found,) = [item for item in evidence.claims if item.measure == measure]
    return found


def test_the_correlation_is_pearsons():
    generator = np.random.default_rng(1)
    for scale in (1.0, 1e-30, 1e30):
        first, second = generator.normal(size=(2, 14, 9)) * scale
        expected = stats.pearsonr(first.ravel(), (first + second).ravel()).statistic
        assert correlation(first, first + second) == pytest.approx(expected, abs=1e-9)
    assert correlation(first, -first) == pytest.approx(-1)


@pytest.mark.parametrize("value", [0.0, 3.0, -1e-9])
def test_a_constant_map_has_none(value):
    varied = _maps(1)[0]
    flat = np.full_like(varied, value)
    assert correlation(flat, varied) is None
    assert correlation(varied, flat) is None
    nearly = (flat + 1e-8 * flat * np.arange(14, dtype=np.float32)).astype(np.float32)
    assert correlation(nearly, varied) is None


def test_peaks_in_cells():
    first, second, flat = np.zeros((3, 14, 14))
    first[3, 4] = second[4, 5] = 1.0
    assert peak_distance(first, second) == pytest.approx(np.sqrt(2))
    assert peak_distance(first, np.roll(first, 3, axis=1)) == 3.0
    # A plateau that holds the other's peak is no distance away from it.
    flat[3:6, 4:8] = 1.0
    assert peak_distance(first, flat) == peak_distance(flat, first) == 0.0


def test_equal_maps_pass():
    maps = _maps(12)
    evidence = _evidence(maps, maps)
    assert evidence.verdict == "pass"
    assert _claim(evidence, "heat-map-correlation").value == pytest.approx(1)
    assert _claim(evidence, "heat-map-peak-distance").unit == "cell"
    assert not evidence.worst


def test_one_map_that_is_off_fails_all():
    maps = _maps(50)
    moved = [*maps[:-1], np.roll(maps[-1], 2, axis=0)]
    evidence = _evidence(maps, moved)
    found = _claim(evidence, "heat-map-correlation")
    assert (found.verdict, found.events, found.n) == ("fail", 1, 50)
    assert found.value == pytest.approx(stats.pearsonr(maps[-1].ravel(), moved[-1].ravel())[0])
    assert _claim(evidence, "heat-map-peak-distance").value == 2.0
    assert {item.case for item in evidence.worst} == {f"{49:016x}"}


def test_a_peak_one_cell_away_is_within_the_gate():
    near, far = np.zeros((2, 14, 14))
    near[5, 5], near[5, 6] = 1.0, 0.99
    far[5, 5], far[5, 6] = 0.99, 1.0
    wide = HeatMapGate(min_correlation=0.9)
    moved = _evidence([near, *_maps(3)], [far, *_maps(3)], wide)
    assert _claim(moved, "heat-map-peak-distance").value == 1.0
    assert _claim(moved, "heat-map-peak-distance").verdict == "pass"


def test_the_same_map_for_every_picture_fails_whatever_its_correlation():
    """A reference that does not follow the picture agrees perfectly with a variant like it."""
    one = _maps(1)[0]
    scaled = [(one * factor).astype(np.float32) for factor in (1, 2, 5, 0.1)]
    evidence = _evidence(scaled, scaled)
    assert _claim(evidence, "heat-map-correlation").value == pytest.approx(1)
    variation = _claim(evidence, "heat-map-variation")
    assert variation.value == pytest.approx(0, abs=1e-6)
    assert variation.verdict == evidence.verdict == "fail"
    assert "do not follow the picture" in variation.reason
    exact = HeatMapGate(min_correlation=1.0)
    assert _claim(_evidence(scaled, scaled, exact), "heat-map-variation").verdict == "fail"


def test_variation_is_one_minus_the_mean_correlation_of_pairs():
    maps = _maps(9, seed=3)
    pairs = [
        stats.pearsonr(maps[i].ravel(), maps[j].ravel())[0] for i in range(9) for j in range(i)
    ]
    claim = _claim(_evidence(maps, maps), "heat-map-variation")
    assert claim.value == pytest.approx(1 - np.mean(pairs), abs=1e-9)
    assert (claim.n, claim.verdict) == (9, "pass")


def test_variation_has_the_interval_of_resampled_patients():
    """Of each resample the pairs of two pictures, a picture drawn twice never held to itself."""
    maps = _maps(24, seed=4)
    cases = [
        MapCase(Subject(f"{number:016x}", number + 1, f"patient {number // 2}"), each, each)
        for number, each in enumerate(maps)
    ]
    table = np.atleast_2d(np.corrcoef([each.ravel().astype(np.float64) for each in maps]))
    values = []
    for drawn in np.random.default_rng(20).integers(0, 12, size=(2000, 12)):
        chosen = np.concatenate([2 * drawn, 2 * drawn + 1])
        apart = chosen[:, None] != chosen[None, :]
        values.append(1 - table[np.ix_(chosen, chosen)][apart].mean())
    claim = _claim(change_evidence(GATE, cases, SCOPE), "heat-map-variation")
    assert claim.bound is not None
    assert (claim.bound.low, claim.bound.high) == pytest.approx(
        tuple(np.quantile(values, [0.025, 0.975])), abs=1e-9
    )
    few = _claim(_evidence(maps[:9], maps[:9]), "heat-map-variation")
    assert (few.bound, few.verdict) == (None, "pass")
    assert few.reason == "no interval of 9 patients: it takes at least 10"


def test_one_picture_shows_no_variation():
    evidence = _evidence(_maps(1), _maps(1))
    claim = _claim(evidence, "heat-map-variation")
    assert (claim.verdict, claim.needed, claim.n) == ("not-conclusive", 2, 1)
    assert evidence.verdict == "not-conclusive"
    # The same picture twice is one picture.
    maps = _maps(1)
    twice = [MapCase(Subject("0" * 16, number, "p"), maps[0], maps[0]) for number in (1, 2)]
    again = _claim(change_evidence(GATE, twice, SCOPE), "heat-map-variation")
    assert (again.n, again.verdict) == (1, "not-conclusive")
    assert _evidence([], []).verdict == "not-conclusive"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_one_value_that_is_not_finite_fails_by_name(value):
    maps = _maps(5)
    broken = [each.copy() for each in maps]
    broken[3][7, 7] = value
    claim = _claim(_evidence(maps, broken), "outputs")
    assert (claim.verdict, claim.events, claim.n) == ("fail", 4, 5)
    assert claim.reason == "case 4: a map holds NaN or infinity"


def test_another_shape_fails_by_name():
    maps = _maps(3)
    other = [maps[0], maps[1][:-1], maps[2]]
    assert "case 2: a map of (13, 14)" in _claim(_evidence(maps, other), "outputs").reason
    mixed = [maps[0], maps[1][:-1], maps[2]]
    assert "case 2: a map of (13, 14)" in _claim(_evidence(mixed, mixed), "outputs").reason


def test_constant_maps_are_counted():
    """Both may be constant, as a map behind a ReLU; one alone is a fault."""
    maps = _maps(6)
    flat = np.zeros_like(maps[0])
    both = _claim(_evidence([*maps, flat], [*maps, flat]), "heat-map-undefined")
    assert (both.events, both.n, both.verdict) == (1, 7, "advisory")
    one = _evidence([*maps, maps[0]], [*maps, flat])
    claim = _claim(one, "heat-map-undefined")
    assert (claim.verdict, claim.reason) == ("fail", "case 7: the variant's map alone is constant")
    assert one.verdict == "fail"


def test_maps_that_are_all_constant_fail():
    flat = [np.zeros((4, 4))] * 3
    evidence = _evidence(flat, flat)
    assert _claim(evidence, "heat-map-variation").verdict == "fail"
    assert _claim(evidence, "heat-map-correlation").verdict == "not-conclusive"
