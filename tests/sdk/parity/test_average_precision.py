"""Average precision against COCO's own code, and by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medsdk.parity.average_precision import Picture, mean_average_precision
from medsdk.parity.boxes import LabelledBox, ScoredBox
from medsdk.pixels import Box

GOLDEN = json.loads(Path(__file__).with_name("coco_average_precision.json").read_text("utf-8"))


def _pictures(data: Any) -> list[Picture]:
    return [
        (
            [LabelledBox(Box(*corners), label) for corners, label in picture["truth"]],
            [ScoredBox(Box(*corners), label, score) for corners, label, score in picture["found"]],
        )
        for picture in data
    ]


@pytest.mark.parametrize("item", GOLDEN["sets"])
def test_it_is_what_cocos_code_gives(item):
    pictures = _pictures(item["pictures"])
    assert mean_average_precision(pictures) == pytest.approx(item["every"], abs=1e-12)
    assert mean_average_precision(pictures, (0.5,)) == pytest.approx(item["half"], abs=1e-12)


def _true(at: int) -> LabelledBox:
    return LabelledBox(Box(20 * at, 0, 20 * at + 10, 10), "cyst")


def _box(at: int, score: float) -> ScoredBox:
    return ScoredBox(Box(20 * at, 0, 20 * at + 10, 10), "cyst", score)


def test_by_hand():
    """Hit, miss, hit of two: precision 1 up to recall 0.5, then 2/3; 51 and 50 of 101 recalls."""
    pictures = [([_true(0), _true(1)], [_box(0, 0.9), _box(5, 0.8), _box(1, 0.7)])]
    assert mean_average_precision(pictures, (0.5,)) == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_one_box_found_twice_is_one_hit_and_one_miss():
    twice = [([_true(0), _true(1)], [_box(0, 0.9), _box(0, 0.8), _box(1, 0.7)])]
    assert mean_average_precision(twice, (0.5,)) == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_tied_scores_have_no_order():
    """A hit and a miss of one score come together: precision 1/2, whichever picture is first."""
    hit = ([_true(0)], [_box(0, 0.5)])
    miss: tuple[list[LabelledBox], list[ScoredBox]] = ([], [_box(3, 0.5)])
    for pictures in ([hit, miss], [miss, hit]):
        assert mean_average_precision(pictures, (0.5,)) == pytest.approx(0.5)


def test_the_order_of_pictures_and_boxes_changes_nothing():
    generator = np.random.default_rng(3)
    for item in GOLDEN["sets"][:4]:
        pictures = _pictures(item["pictures"])
        expected = mean_average_precision(pictures)
        shuffled = [
            (
                [truth[i] for i in generator.permutation(len(truth))],
                [found[i] for i in generator.permutation(len(found))],
            )
            for truth, found in (pictures[i] for i in generator.permutation(len(pictures)))
        ]
        assert mean_average_precision(shuffled) == pytest.approx(expected, abs=1e-12)


def test_without_truth_there_is_none_and_without_boxes_it_is_0():
    assert mean_average_precision([([], [_box(0, 0.5)])]) is None
    assert mean_average_precision([]) is None
    assert mean_average_precision([([_true(0)], [])]) == 0.0
