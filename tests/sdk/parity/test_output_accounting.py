"""Every output of every case: names, count, dtype, shape, NaN, values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from medsdk.parity.comparison import compare_outputs, output_evidence
from medsdk.parity.evidence import Claim, Evidence, Scope

WANT = {
    "logits": np.array([[0.5, -1.0]], np.float32),
    "boxes": np.zeros((1, 3, 4), np.float32),
}
TOLERANCE = {"logits": 0.1, "boxes": 0.0}


def _evidence(*got: Mapping[str, NDArray[Any]]) -> Evidence:
    seen = {f"case {number}": compare_outputs(each, WANT) for number, each in enumerate(got, 1)}
    return output_evidence(seen, TOLERANCE, Scope(candidate="variant"))


def _claim(evidence: Evidence, measure: str, output: str = "") -> Claim:
    (found,) = [
        item for item in evidence.claims if item.measure == measure and item.scope.output == output
    ]
    return found


def test_equal_outputs_pass():
    evidence = _evidence(WANT, WANT)
    assert evidence.verdict == "pass"
    assert _claim(evidence, "outputs").n == 4
    assert _claim(evidence, "output-difference", "boxes").value == 0.0
    assert {item.scope.level for item in evidence.claims} == {"output"}


def _broken(change: str) -> dict[str, NDArray[Any]]:
    got: dict[str, NDArray[Any]] = {name: value.copy() for name, value in WANT.items()}
    match change:
        case "missing":
            del got["boxes"]
        case "extra":
            got["more"] = np.zeros(1)
        case "dtype":
            got["logits"] = got["logits"].astype(np.float64)
        case "shape":
            got["boxes"] = got["boxes"][:, :2]
        case "nan":
            got["boxes"][0, 1, 2] = np.nan
        case "infinity":
            got["logits"][0, 0] = -np.inf
    return got


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("missing", "case 2: output 'boxes' is missing"),
        ("extra", "case 2: output 'more' is extra"),
        ("dtype", "case 2: output 'logits' is float64(1, 2), expected float32(1, 2)"),
        ("shape", "case 2: output 'boxes' is float32(1, 2, 4), expected float32(1, 3, 4)"),
        ("nan", "case 2: output 'boxes' holds NaN or infinity"),
        ("infinity", "case 2: output 'logits' holds NaN or infinity"),
    ],
)
def test_an_output_that_cannot_be_compared_fails_by_name(change, reason):
    evidence = _evidence(WANT, _broken(change))
    claim = _claim(evidence, "outputs")
    assert (claim.verdict, claim.reason) == ("fail", reason)
    assert (claim.events, claim.n) == ((4, 5) if change == "extra" else (3, 4))
    if change != "extra":
        name = "logits" if "logits" in reason else "boxes"
        part = _claim(evidence, "output-difference", name)
        assert (part.verdict, part.events, part.n) == ("fail", 1, 2)
        assert "cannot be compared in 1 of 2" in part.reason


def test_a_difference_is_held_against_its_tolerance():
    near = {**WANT, "logits": WANT["logits"] + np.float32(0.09)}
    far = {**WANT, "logits": WANT["logits"] - np.float32(0.2)}
    assert _evidence(near).verdict == "pass"
    evidence = _evidence(near, far, WANT)
    claim = _claim(evidence, "output-difference", "logits")
    assert claim.value == pytest.approx(0.2)
    assert (claim.verdict, claim.events, claim.n, claim.limit) == ("fail", 1, 3, 0.1)
    assert claim.bound is not None
    assert (claim.bound.low, claim.bound.high) == (0.0, claim.value)
    assert _claim(evidence, "outputs").verdict == "pass"
    exact = {**WANT, "boxes": WANT["boxes"] + np.float32(1e-6)}
    assert _claim(_evidence(exact), "output-difference", "boxes").verdict == "fail"


def test_one_value_of_many_is_not_averaged_away():
    one = WANT["boxes"].copy()
    one[0, 2, 3] = -0.5
    claim = _claim(_evidence({**WANT, "boxes": one}), "output-difference", "boxes")
    assert (claim.value, claim.verdict) == (0.5, "fail")


def test_nothing_compared_is_not_run():
    assert _evidence().verdict == "not-run"
