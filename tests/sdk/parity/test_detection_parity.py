"""Parity of boxes, counted by hand; when a lesion is first found."""

from __future__ import annotations

import random

import numpy as np
import pytest
from scipy import stats

from medsdk.parity.average_precision import mean_average_precision, resampled_precisions
from medsdk.parity.boxes import LabelledBox, ScoredBox
from medsdk.parity.detection import DetectionCase, change_evidence, metric_evidence
from medsdk.parity.evidence import Claim, Evidence, Scope
from medsdk.parity.judging import Subject
from medsdk.parity.tracks import LesionTrack, delay_evidence, first_detection
from medsdk.pixels import Box
from medsdk.tasks.gates import DetectionGate

GATE, SCOPE = DetectionGate(), Scope(candidate="variant", level="frame")
LABELS = ("cyst",)


def _box(at: float, size: float = 10) -> Box:
    return Box(at, 0, at + size, 10)


def _true(at: float, label: str = "cyst") -> LabelledBox:
    return LabelledBox(_box(at), label)


def _found(at: float, score: float = 0.9, label: str = "cyst") -> ScoredBox:
    return ScoredBox(_box(at), label, score)


def _case(
    number: int,
    truth: list[LabelledBox],
    reference: list[ScoredBox],
    variant: list[ScoredBox],
    patient: str = "",
) -> DetectionCase:
    subject = Subject(f"{number:016x}", number + 1, patient or f"patient {number}")
    return DetectionCase(subject, tuple(truth), tuple(reference), tuple(variant))


def _claim(evidence: Evidence, measure: str, label: str = "") -> Claim:
    (found,) = [
        item for item in evidence.claims if item.measure == measure and item.scope.label == label
    ]
    return found


def _all_found(count: int) -> list[DetectionCase]:
    return [_case(number, [_true(0)], [_found(0)], [_found(0)]) for number in range(count)]


def test_the_same_boxes_pass():
    evidence = change_evidence(GATE, 0.5, LABELS, _all_found(100), SCOPE)
    assert evidence.verdict == "pass"
    assert not evidence.worst
    assert _claim(evidence, "recall-change").value == 0
    assert _claim(evidence, "boxes-matched").value == 1
    assert _claim(evidence, "mean-average-precision-change").verdict == "advisory"
    assert {item.scope.level for item in evidence.claims} == {"box"}


@pytest.mark.parametrize(
    ("lost", "of", "verdict"),
    [(0, 99, "not-conclusive"), (1, 100, "pass"), (2, 100, "fail"), (1, 99, "fail")],
)
def test_recall_may_lose_one_point(lost, of, verdict):
    cases = [
        _case(number, [_true(0)], [_found(0)], [] if number < lost else [_found(0)])
        for number in range(of)
    ]
    claim = _claim(change_evidence(GATE, 0.5, LABELS, cases, SCOPE), "recall-change")
    assert claim.value == pytest.approx(-lost / of)
    assert (claim.n, claim.needed) == (of, 100)
    assert claim.verdict == verdict


def test_precision_loses_with_every_extra_box():
    cases = _all_found(98)
    cases += [_case(98 + k, [_true(0)], [_found(0)], [_found(0), _found(50)]) for k in range(2)]
    evidence = change_evidence(GATE, 0.5, LABELS, cases, SCOPE)
    assert _claim(evidence, "precision-change").value == pytest.approx(100 / 102 - 1)
    assert _claim(evidence, "precision-change").verdict == "fail"
    assert _claim(evidence, "recall-change").verdict == "pass"
    extra = _claim(evidence, "boxes-extra")
    assert (extra.events, extra.n, extra.verdict) == (2, 102, "advisory")
    assert [item.case for item in evidence.worst] == [f"{number:016x}" for number in (98, 99)]


def test_a_gain_is_no_loss():
    cases = [_case(number, [_true(0)], [], [_found(0)]) for number in range(50)]
    evidence = change_evidence(GATE, 0.5, LABELS, [*cases, *_all_found(100)], SCOPE)
    assert _claim(evidence, "recall-change").value == pytest.approx(1 / 3)
    assert evidence.verdict == "pass"


def test_a_frequent_label_does_not_hide_a_rare_one():
    rare = [_case(1000 + k, [_true(0, "rare")], [_found(0, 0.9, "rare")], []) for k in range(3)]
    both = (*LABELS, "rare")
    evidence = change_evidence(GATE, 0.5, both, [*_all_found(300), *rare], SCOPE)
    assert _claim(evidence, "recall-change").verdict == "pass"
    assert _claim(evidence, "recall-change", "rare").verdict == "fail"
    assert _claim(evidence, "recall-change", "cyst").verdict == "pass"
    assert evidence.verdict == "fail"


def test_a_label_without_a_box_leaves_its_gate_open():
    evidence = change_evidence(GATE, 0.5, (*LABELS, "rare"), _all_found(300), SCOPE)
    assert _claim(evidence, "recall-change", "cyst").verdict == "pass"
    absent = _claim(evidence, "recall-change", "rare")
    assert (absent.n, absent.needed, absent.verdict) == (0, 100, "not-conclusive")
    assert absent.reason == "recall change: there is nothing that could be right on either side"
    assert evidence.verdict == "not-conclusive"


def test_a_box_has_a_label_of_the_task():
    with pytest.raises(ValueError, match="'rare' is none of the labels 'cyst'"):
        change_evidence(GATE, 0.5, LABELS, [_case(0, [_true(0, "rare")], [], [])], SCOPE)


def test_the_threshold_is_the_tasks():
    """A score at the threshold counts; the one just below it is lost."""
    cases = [_case(0, [_true(0)], [_found(0, 0.5)], [_found(0, 0.4999)])]
    evidence = change_evidence(GATE, 0.5, LABELS, cases, SCOPE)
    assert _claim(evidence, "recall-change").value == -1
    assert _claim(evidence, "boxes-lost").events == 1
    # Average precision is of all scores: nothing changed there.
    assert _claim(evidence, "mean-average-precision-change").value == 0
    assert metric_evidence(0.4, cases, SCOPE).claims[0].value == 1


def test_metrics_by_hand():
    """Two true of three boxes, two found of four lesions."""
    cases = [
        _case(0, [_true(0), _true(30)], [], [_found(0), _found(60)]),
        _case(1, [_true(0), _true(30)], [], [_found(30)]),
    ]
    evidence = metric_evidence(0.5, cases, SCOPE)
    recall, precision = _claim(evidence, "recall"), _claim(evidence, "precision")
    assert (recall.events, recall.n, recall.value) == (2, 4, 0.5)
    assert (precision.events, precision.n) == (2, 3)
    assert evidence.verdict == "advisory"


def test_a_moved_box_is_lost_and_extra():
    moved = ScoredBox(Box(1.2, 0, 11.2, 10), "cyst", 0.9)  # 8.8 of 11.2 shared
    evidence = change_evidence(
        GATE, 0.5, LABELS, [_case(0, [_true(0)], [_found(0)], [moved])], SCOPE
    )
    assert [_claim(evidence, name).events for name in ("boxes-lost", "boxes-extra")] == [1, 1]
    assert _claim(evidence, "boxes-matched").events == 0
    assert _claim(evidence, "recall-change").value == 0


def test_two_sides_may_be_swapped():
    """Lost becomes extra and the changes turn their sign."""
    generator = random.Random(8)
    cases = []
    for number in range(40):
        truth = [_true(15 * k) for k in range(generator.randint(0, 4))]
        sides = [
            [_found(15 * k + generator.uniform(-1, 1), generator.uniform(0.4, 1)) for k in range(4)]
            for _ in range(2)
        ]
        cases.append(_case(number, truth, sides[0], sides[1]))
    swapped = [
        DetectionCase(case.subject, case.truth, case.variant, case.reference) for case in cases
    ]
    one, other = (change_evidence(GATE, 0.5, LABELS, each, SCOPE) for each in (cases, swapped))
    assert _claim(one, "boxes-lost").events == _claim(other, "boxes-extra").events
    assert _claim(one, "boxes-matched").events == _claim(other, "boxes-matched").events
    for measure in ("recall-change", "precision-change", "mean-average-precision-50-change"):
        value = _claim(other, measure).value
        assert value is not None
        assert _claim(one, measure).value == pytest.approx(-value)


def test_average_precision_has_the_interval_of_resampled_patients():
    """Against the pictures themselves, drawn with their patients and scored anew."""
    generator = random.Random(9)
    cases = []
    for number in range(24):
        labels = ["cyst", "rare"][: 1 + (number % 5 == 0)]
        truth = [_true(15 * k, generator.choice(labels)) for k in range(generator.randint(0, 3))]
        sides = [
            [
                _found(15 * k + generator.uniform(-3, 3), round(generator.random(), 1), label)
                for k, label in enumerate(generator.choices(labels, k=3))
            ]
            for _ in range(2)
        ]
        cases.append(_case(number, truth, sides[0], sides[1], f"patient {number // 2}"))
    picks = np.random.default_rng(20).integers(0, 12, size=(2000, 12))[:40]
    after, change = [], []
    for drawn in picks:
        again = [cases[2 * k + half] for k in drawn for half in (0, 1)]
        both = [
            mean_average_precision([(case.truth, getattr(case, side)) for case in again])
            for side in ("reference", "variant")
        ]
        if both[0] is not None and both[1] is not None:
            after.append(both[1])
            change.append(both[1] - both[0])
    codes = np.arange(24) // 2
    pictures = [[(c.truth, getattr(c, side)) for c in cases] for side in ("reference", "variant")]
    before, later = (resampled_precisions(each, codes) for each in pictures)
    assert later[:40] == pytest.approx(after, abs=1e-12)
    assert (later - before)[:40] == pytest.approx(change, abs=1e-12)
    evidence = change_evidence(GATE, 0.5, (*LABELS, "rare"), cases, SCOPE)
    claim = _claim(evidence, "mean-average-precision-change")
    assert claim.bound is not None
    low, high = np.quantile(later - before, [0.025, 0.975])
    assert (claim.bound.low or 0) <= low
    assert (claim.bound.high or 0) >= high
    alone = _claim(metric_evidence(0.5, cases, SCOPE), "mean-average-precision-50")
    assert alone.bound is not None
    assert 0 <= (alone.bound.low or 0) < (alone.value or 0) < (alone.bound.high or 0) <= 1


def test_average_precision_of_few_patients_has_no_interval():
    claim = _claim(metric_evidence(0.5, _all_found(9), SCOPE), "mean-average-precision")
    assert (claim.bound, claim.value) == (None, 1)
    assert claim.reason == "no interval of 9 patients: it takes at least 10"
    still = _claim(
        change_evidence(GATE, 0.5, LABELS, _all_found(20), SCOPE), "mean-average-precision-change"
    )
    room = stats.binomtest(0, 20).proportion_ci(0.95).high
    assert still.bound is not None
    assert (still.bound.low, still.bound.high) == pytest.approx((-room, room), abs=1e-9)


def test_no_case_at_all():
    evidence = change_evidence(GATE, 0.5, LABELS, [], SCOPE)
    assert evidence.verdict == "not-conclusive"
    assert metric_evidence(0.5, [], SCOPE).verdict == "advisory"


def test_patients_are_counted():
    cases = [_case(k, [_true(0)], [_found(0)], [_found(0)], "one") for k in range(100)]
    claim = _claim(change_evidence(GATE, 0.5, LABELS, cases, SCOPE), "boxes-matched")
    assert (claim.patients, claim.n) == (1, 100)
    assert claim.bound is not None
    assert claim.bound.low == pytest.approx(0.025)  # as of one box


# ---- when a lesion is first found ------------------------------------------------------------


def _track(reference: int | None, variant: int | None, number: int = 0) -> LesionTrack:
    """A lesion in frames 3 to 30, found from a frame on."""

    def found(start: int | None) -> dict[int, tuple[ScoredBox, ...]]:
        return {} if start is None else {frame: (_found(0),) for frame in range(start, 31)}

    subject = Subject(f"{number:016x}", number + 1, f"patient {number}")
    frames = {frame: _true(0) for frame in range(3, 31)}
    return LesionTrack(subject, "a", frames, found(reference), found(variant))


@pytest.mark.parametrize(
    ("found", "first"),
    [
        ({1: (_found(0),), 7: (_found(0),)}, 7),  # frame 1 comes before the lesion
        ({5: (_found(0, 0.49),), 6: (_found(0, 0.5),)}, 6),
        ({5: (_found(0, 0.9, "other"),), 9: (_found(0),)}, 9),
        ({5: (_found(8),), 9: (_found(3),)}, 9),  # 2 of 18 shared, then 7 of 13
        ({}, None),
    ],
)
def test_the_first_frame_with_a_true_box(found, first):
    frames = {frame: _true(0) for frame in range(3, 31)}
    assert first_detection(frames, found, 0.5) == first


def test_delays_in_frames_and_those_never_found():
    pairs = [(5, 5), (5, 8), (6, 4), (5, None), (None, 5), (None, None)]
    tracks = [_track(*pair, number) for number, pair in enumerate(pairs)]
    evidence = delay_evidence(0.5, tracks, SCOPE)
    mean, largest, lost, gained = evidence.claims
    assert mean.value == pytest.approx(1 / 3)
    assert (mean.n, mean.unit) == (3, "frame")
    assert (largest.value, largest.events) == (3, 1)
    assert largest.bound is not None
    assert (largest.bound.low, largest.bound.high) == (-2, 3)
    assert (lost.measure, lost.events, lost.n) == ("lesions-lost", 1, 6)
    assert (gained.measure, gained.events, gained.n) == ("lesions-gained", 1, 6)
    assert [item.case for item in evidence.worst] == [f"{number:016x}" for number in (3, 1)]
    assert (evidence.worst[0].reference, evidence.worst[0].variant) == ("frame 5", "never")
    (chart,) = evidence.charts
    assert chart.kind == "histogram"
    assert dict(zip(np.array(chart.edges[:-1]) + 0.5, chart.counts, strict=True)) == {
        -2: 1, -1: 0, 0: 1, 1: 0, 2: 0, 3: 1
    }  # fmt: skip


def test_no_lesion_found_by_both():
    evidence = delay_evidence(0.5, [_track(5, None)], SCOPE)
    assert evidence.claims[0].value is None
    assert evidence.claims[2].events == 1
    assert not evidence.charts
    assert delay_evidence(0.5, [], SCOPE).verdict == "advisory"
