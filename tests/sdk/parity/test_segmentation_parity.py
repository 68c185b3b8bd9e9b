"""Parity of masks: Dice by counting, lesions by scipy, verdicts by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage, stats

from medsdk.parity.evidence import Claim, Evidence, Scope
from medsdk.parity.judging import Subject
from medsdk.parity.segmentation import (
    NO_LESION,
    MaskCase,
    MaskMeasures,
    by_size,
    change_evidence,
    dice,
    extra_components,
    lesions_of,
    measure_masks,
    metric_evidence,
)
from medsdk.parity.surfaces import SurfaceDistance
from medsdk.tasks.gates import SegmentationGate

GATE, SCOPE = SegmentationGate(), Scope(candidate="variant", label="metastasis")
Mask = NDArray[np.bool_]


def _subject(number: int) -> Subject:
    return Subject(f"{number:016x}", number + 1, f"patient {number}")


def _square(size: int, at: int = 1, shape: tuple[int, int] = (16, 16)) -> Mask:
    mask = np.zeros(shape, bool)
    mask[at : at + size, at : at + size] = True
    return mask


def _measures(
    number: int,
    reference: float = 0.9,
    variant: float = 0.9,
    between: float = 1.0,
    size: float = 100.0,
    empty: tuple[bool, bool, bool] = (False, False, False),
) -> MaskMeasures:
    near = None if any(empty) else SurfaceDistance(0.5, 1.0)
    return MaskMeasures(
        _subject(number), size, "mm3", empty, reference, variant, between, near, near
    )


def _claim(evidence: Evidence, measure: str, quartile: str = "") -> Claim:
    (found,) = [
        item
        for item in evidence.claims
        if item.measure == measure
        and item.scope.value.startswith(quartile)
        and bool(item.scope.value) == bool(quartile)
    ]
    return found


def test_dice_counts_elements():
    generator = np.random.default_rng(1)
    for _ in range(20):
        first, second = generator.random((2, 3, 7, 5)) < 0.4
        both = sum(a and b for a, b in zip(first.flat, second.flat, strict=True))
        expected = 2 * both / (sum(first.flat) + sum(second.flat))
        assert dice(first, second) == pytest.approx(expected, abs=1e-15)


def test_dice_of_empty_masks():
    empty, full = np.zeros((4, 4), bool), np.ones((4, 4), bool)
    assert dice(empty, empty) == 1.0
    assert dice(full, empty) == dice(empty, full) == 0.0


def test_one_voxel_moved_by_one_slice():
    truth = np.zeros((4, 6, 6), bool)
    truth[1, 2, 2] = True
    variant = np.roll(truth, 1, axis=0)
    got = measure_masks(MaskCase(_subject(0), truth, truth, variant, (5.0, 0.8, 0.8)))
    assert (got.dice_reference, got.dice_variant, got.dice_between) == (1.0, 0.0, 0.0)
    assert got.from_truth == SurfaceDistance(5.0, 5.0)
    assert got.size == pytest.approx(5.0 * 0.8 * 0.8)
    assert got.size_unit == "mm3"
    assert got.dice_change == -1.0


def test_a_slice_has_an_area():
    mask = _square(3)
    got = measure_masks(MaskCase(_subject(0), mask, mask, mask, (0.5, 0.7)))
    assert got.size == pytest.approx(9 * 0.35)
    assert got.size_unit == "mm2"


def test_masks_of_two_shapes_are_refused():
    with pytest.raises(ValueError, match="masks of"):
        MaskCase(
            _subject(0), np.ones((3, 3), bool), np.ones((3, 3), bool), np.ones((3, 4), bool), (1, 1)
        )
    with pytest.raises(ValueError, match="spacing"):
        MaskCase(_subject(0), _square(1), _square(1), _square(1), (1.0, 1.0, 1.0))


@pytest.mark.parametrize(
    ("change", "bad", "n", "verdicts"),
    [
        (0.0, 0, 149, ("pass", "pass", "pass")),
        (-0.005, 149, 149, ("pass", "pass", "pass")),
        (-0.006, 149, 149, ("fail", "pass", "pass")),
        (-0.03, 7, 149, ("pass", "pass", "pass")),
        (-0.03, 9, 149, ("pass", "fail", "pass")),
        (0.0, 0, 58, ("pass", "not-conclusive", "pass")),
        (0.0, 0, 59, ("pass", "pass", "pass")),
        (-0.5, 4, 20, ("fail", "fail", "pass")),
    ],
)
def test_dice_is_held_against_the_gate(change, bad, n, verdicts):
    cases = [_measures(number, 0.9, 0.9 + (change if number < bad else 0.0)) for number in range(n)]
    evidence = change_evidence(GATE, cases, SCOPE)
    names = ("dice-change-mean", "dice-change-5th-percentile", "dice-to-reference-median")
    assert tuple(_claim(evidence, name).verdict for name in names) == verdicts
    assert _claim(evidence, "dice-change-mean").value == pytest.approx(change * bad / n)


def test_too_few_masks_decide_nothing():
    evidence = change_evidence(GATE, [_measures(number) for number in range(148)], SCOPE)
    assert evidence.verdict == "not-conclusive"
    assert _claim(evidence, "emptied-masks").needed == 149
    assert change_evidence(GATE, [_measures(k) for k in range(149)], SCOPE).verdict == "pass"


def test_the_median_of_the_two_masks():
    cases = [_measures(number, between=0.979 if number < 75 else 1.0) for number in range(149)]
    claim = _claim(change_evidence(GATE, cases, SCOPE), "dice-to-reference-median")
    assert (claim.value, claim.verdict) == (0.979, "fail")


def test_an_emptied_mask_is_a_flip_and_counts_in_dice():
    cases = [_measures(number) for number in range(148)]
    cases.append(_measures(148, 0.9, 0.0, 0.0, empty=(False, False, True)))
    evidence = change_evidence(GATE, cases, SCOPE)
    emptied = _claim(evidence, "emptied-masks")
    assert (emptied.events, emptied.n, emptied.verdict, emptied.needed) == (1, 149, "fail", 149)
    flips = _claim(evidence, "flips")
    assert (flips.events, flips.n, flips.verdict) == (1, 149, "advisory")
    assert _claim(evidence, "filled-masks").n == 0
    assert _claim(evidence, "dice-change-mean").value == pytest.approx(-0.9 / 149)
    assert _claim(evidence, "surface-distance-undefined").events == 1
    assert _claim(evidence, "surface-distance-mean").n == 148
    assert (evidence.worst[0].measure, evidence.worst[0].case) == ("emptied-masks", f"{148:016x}")
    assert evidence.worst[0].variant == "empty"


def test_a_mask_out_of_nothing_is_a_flip():
    """Nothing there, nothing found before: Dice falls from 1 to 0."""
    truth, found = np.zeros((8, 8), bool), _square(2, shape=(8, 8))
    case = measure_masks(MaskCase(_subject(0), truth, truth, found, (1.0, 1.0)))
    evidence = change_evidence(GATE, [case], SCOPE)
    assert _claim(evidence, "filled-masks").events == 1
    assert _claim(evidence, "flips").events == 1
    assert _claim(evidence, "dice-change-mean").value == -1.0
    assert evidence.verdict == "fail"


def test_empty_slices_do_not_thin_a_loss_out():
    """Ten lesions lose 0.1 each, between 990 slices with nothing in them."""
    empty = [
        _measures(number, 1.0, 1.0, 1.0, 0.0, (True, True, True)) for number in range(10, 1000)
    ]
    cases = [_measures(number, 0.9, 0.8) for number in range(10)] + empty
    evidence = change_evidence(GATE, cases, SCOPE)
    mean = _claim(evidence, "dice-change-mean")
    assert mean.value == pytest.approx(-0.1)
    assert (mean.n, mean.verdict) == (10, "fail")
    assert _claim(evidence, "emptied-masks").n == 10
    assert _claim(evidence, "filled-masks").n == 990
    assert _claim(evidence, "dice-change-mean", NO_LESION).n == 990
    assert change_evidence(GATE, empty, SCOPE).verdict == "not-conclusive"


@pytest.mark.parametrize(
    ("lesions", "emptied", "nothing", "filled", "verdicts"),
    [
        (100, 4, 900, 0, ("not-conclusive", "pass")),
        (149, 0, 149, 0, ("pass", "pass")),
        (149, 1, 900, 0, ("fail", "pass")),
        (149, 0, 148, 0, ("pass", "not-conclusive")),
        (900, 0, 149, 1, ("pass", "fail")),
        (149, 0, 0, 0, ("pass", "advisory")),
    ],
)
def test_each_direction_counts_what_could_flip(lesions, emptied, nothing, filled, verdicts):
    """Masks that are empty before cannot be emptied, and the other way round."""
    cases = [
        _measures(k, 0.9, 0.0, 0.0, empty=(False, False, True)) if k < emptied else _measures(k)
        for k in range(lesions)
    ]
    cases += [
        _measures(lesions + k, 1.0, float(k >= filled), size=0.0, empty=(True, True, k >= filled))
        for k in range(nothing)
    ]
    evidence = change_evidence(GATE, cases, SCOPE)
    found = [_claim(evidence, name) for name in ("emptied-masks", "filled-masks")]
    assert [(item.events, item.n) for item in found] == [(emptied, lesions), (filled, nothing)]
    assert tuple(item.verdict for item in found) == verdicts
    for item, events, n in zip(found, (emptied, filled), (lesions, nothing), strict=True):
        if n:
            expected = stats.binomtest(events, n, alternative="less").proportion_ci(0.95).high
            assert item.bound is not None
            assert item.bound.high == pytest.approx(expected, abs=1e-9)
    if not nothing:
        assert found[1].reason == "no case is without a lesion: nothing is shown of filled masks"


def test_quartiles_by_the_size_of_the_truth():
    cases = [_measures(number, size=float(number + 1)) for number in range(8)]
    cases.append(_measures(8, 1.0, 1.0, size=0.0, empty=(True, True, True)))
    groups = by_size(cases, SCOPE)
    names = [scope.value for scope, _ in groups]
    assert names == [
        "quartile 1: 1 to 2.75 mm3",
        "quartile 2: 2.75 to 4.5 mm3",
        "quartile 3: 4.5 to 6.25 mm3",
        "quartile 4: 6.25 to 8 mm3",
        NO_LESION,
    ]
    assert [[case.size for case in part] for _, part in groups] == [
        [1, 2], [3, 4], [5, 6], [7, 8], [0]
    ]  # fmt: skip
    assert {(scope.stratum, scope.label) for scope, _ in groups} == {("lesion-size", "metastasis")}


def test_every_case_is_in_one_quartile_even_where_sizes_tie():
    for sizes in ([5.0] * 6, [1.0, 1.0, 1.0, 2.0], [3.0], [1.0, 2.0]):
        cases = [_measures(number, size=size) for number, size in enumerate(sizes)]
        placed = [case.subject.case for _, part in by_size(cases, SCOPE) for case in part]
        assert sorted(placed) == sorted(case.subject.case for case in cases)
    assert by_size([], SCOPE) == ()


def test_a_quartile_is_reported_and_never_passes():
    """Small lesions lose what large ones hide; four cases do not make a verdict."""
    cases = [
        _measures(number, 0.9, 0.88 if number < 40 else 0.9, size=float(number + 1))
        for number in range(160)
    ]
    evidence = change_evidence(GATE, cases, SCOPE)
    assert _claim(evidence, "dice-change-mean").verdict == "pass"
    first = _claim(evidence, "dice-change-mean", "quartile 1")
    assert first.value == pytest.approx(-0.02)
    assert first.n == 40
    parts = [item for item in evidence.claims if item.scope.stratum]
    assert {item.verdict for item in parts} == {"advisory"}
    assert {item.limit for item in parts} == {None}


def test_metrics_against_the_truth():
    mask = _square(4)
    cases = [
        measure_masks(MaskCase(_subject(0), mask, mask, _square(2), (2.0, 1.0))),
        measure_masks(MaskCase(_subject(1), mask, mask, mask & False, (2.0, 1.0))),
    ]
    evidence = metric_evidence(cases, SCOPE)
    claim = _claim(evidence, "dice")
    assert claim.value == pytest.approx((2 * 4 / 20) / 2)
    assert claim.n == 2
    assert _claim(evidence, "surface-distance-undefined").events == 1
    assert evidence.verdict == "advisory"
    assert metric_evidence([], SCOPE).verdict == "advisory"


# ---- lesions ---------------------------------------------------------------------------------


def test_each_lesion_with_what_touches_it():
    generator = np.random.default_rng(5)
    for _ in range(20):
        truth, reference, variant = generator.random((3, 5, 9, 9)) < 0.25
        case = MaskCase(_subject(0), truth, reference, variant, (3.0, 1.0, 1.0))
        structure = ndimage.generate_binary_structure(3, 2)
        lesions, count = ndimage.label(truth, structure)
        got = lesions_of(case, 18)
        assert len(got) == count
        for number, lesion in enumerate(got, 1):
            want = lesions == number
            for mask, found in ((reference, lesion.reference), (variant, lesion.variant)):
                parts, _ = ndimage.label(mask, structure)
                touching = [part for part in np.unique(parts[want]) if part]
                assert np.count_nonzero(found) == np.isin(parts, touching).sum()
                assert dice(lesion.truth, found) == dice(want, np.isin(parts, touching))


def test_one_component_over_two_lesions_costs_both():
    truth = np.zeros((3, 20), bool)
    truth[1, 1:5] = truth[1, 15:19] = True
    bridge = np.zeros_like(truth)
    bridge[1, 1:19] = True
    far = truth.copy()
    far[1, 9] = True
    lesions = lesions_of(MaskCase(_subject(0), truth, far, bridge, (1.0, 1.0)), 8)
    assert [dice(item.truth, item.reference) for item in lesions] == [1.0, 1.0]
    assert [dice(item.truth, item.variant) for item in lesions] == [2 * 4 / 22] * 2
    assert extra_components(truth, far, 8) == 1
    assert extra_components(truth, bridge, 8) == 0
    assert extra_components(truth & False, far, 8) == 3


def test_a_lesion_that_is_missed_is_an_emptied_mask():
    truth = _square(3) | _square(3, 10)
    cases = lesions_of(MaskCase(_subject(0), truth, truth, _square(3), (1.0, 1.0)), 4)
    evidence = change_evidence(GATE, [measure_masks(case) for case in cases], SCOPE)
    assert _claim(evidence, "emptied-masks").events == 1
    assert _claim(evidence, "emptied-masks").n == 2
