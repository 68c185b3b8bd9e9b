"""Each hypothesis finds the fault that was made, and says nothing of what only looks like it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from medsdk.parity.explaining import (
    explain_order,
    explain_planes,
    explain_replaced,
    linear_relation,
    same,
    where_it_is,
)
from medsdk.parity.explaining_outputs import (
    explain_names,
    explain_output,
    explain_probabilities,
    to_bfloat16,
)
from medsdk.tasks.decoding import ClassificationDecode

finite = st.floats(-1e6, 1e6, width=32)


def _noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


# -- bfloat16 -----------------------------------------------------------------------------------


@settings(deadline=None)
@given(hnp.arrays(np.float32, 8, elements=st.floats(width=32)))
def test_bfloat16_is_what_torch_rounds_to(values):
    import torch

    want = torch.from_numpy(values.copy()).to(torch.bfloat16).to(torch.float32).numpy()
    np.testing.assert_array_equal(to_bfloat16(values), want)


def test_numbers_that_look_like_bfloat16():
    want = _noise(1, 8)
    said = explain_output(to_bfloat16(want), want, 1e-4)
    assert said is not None
    assert "the numbers look like bfloat16" in said
    assert "bfloat16" not in (explain_output(want + np.float32(0.25), want, 1e-4) or "")
    # Of a reference that bfloat16 holds too, nothing follows.
    coarse = to_bfloat16(want)
    assert "bfloat16" not in (explain_output(coarse[:, ::-1], coarse, 1e-4) or "")


def test_differences_of_the_size_of_bfloat16():
    want = _noise(1, 8)
    got = (want + np.float32(0.003) * np.abs(want).max() * np.sign(_noise(1, 8, seed=1))).astype(
        np.float32
    )
    assert "within the rounding of bfloat16" in (explain_output(got, want, 1e-4) or "")


# -- order, members, planes ---------------------------------------------------------------------


@settings(deadline=None)
@given(st.permutations(range(5)), st.integers(0, 99))
def test_any_other_order_is_found_and_the_right_one_is_not(order, seed):
    want = list(_noise(5, 3, 4, seed=seed))
    said = explain_order([want[index] for index in order], want, "slices")
    if list(order) == sorted(order):
        assert said is None
    else:
        assert said is not None
        assert "the slices are in another order" in said
        assert ("reversed" in said) == (list(order) == [4, 3, 2, 1, 0])


def test_many_members_are_only_tried_backwards():
    want = list(_noise(40, 2))
    assert "reversed" in (explain_order(want[::-1], want, "slices") or "")
    assert explain_order([*want[1:], want[0]], want, "slices") is None
    assert explain_order(want[:-1], want, "slices") is None


def test_equal_members_are_in_every_order():
    one = _noise(4)
    assert explain_order([one + np.float32(1e-6)] * 3, [one] * 3, "channels") is None
    assert explain_order([one + 1] * 3, [one] * 3, "channels") is None


def test_one_member_in_place_of_another():
    stored = {f"fold-{number}": _noise(4, seed=number) for number in (1, 2, 3)}
    said = explain_replaced("fold-2", stored["fold-1"], stored)
    assert said == "fold-2 gives what fold-1 should give: one stands in place of the other"
    assert explain_replaced("fold-2", stored["fold-2"], stored) is None
    assert explain_replaced("fold-2", stored["fold-2"] + 1, stored) is None


@pytest.mark.parametrize(
    ("turn", "said"),
    [
        (lambda image: image[..., ::-1], "flipped left to right"),
        (lambda image: image[..., ::-1, :], "flipped top to bottom"),
        (lambda image: image[..., ::-1, ::-1], "turned by 180"),
        (lambda image: image.swapaxes(-1, -2), "transposed"),
        (lambda image: np.rot90(image, 3, (-2, -1)), "turned by 90"),
        (lambda image: np.rot90(image, 1, (-2, -1)), "turned by 270"),
        (lambda image: image, None),
        (lambda image: image + 1, None),
    ],
)
def test_turned_images(turn, said):
    image = _noise(3, 6, 6)
    found = explain_planes(turn(image), image)
    assert (found is None) if said is None else (said in (found or ""))


def test_within_a_grey_level_nothing_is_said_to_be_turned():
    image = np.full((1, 4, 4), 100.0)
    other = image.copy()
    other[0, 0, 0] += 1
    assert explain_planes(other, image, 1.0) is None


# -- relations of values ------------------------------------------------------------------------


@settings(deadline=None)
@given(st.floats(0.1, 10), st.floats(-5, 5), st.booleans(), st.integers(0, 99))
def test_a_linear_relation_is_recovered(factor, offset, negative, seed):
    values = _noise(20, seed=seed).astype(np.float64)
    factor = -factor if negative else factor
    found = linear_relation(values, factor * values + offset)
    assert found == pytest.approx((factor, offset), abs=1e-6)


def test_what_is_not_linear_has_no_relation():
    values = _noise(20)
    assert linear_relation(values, values**2) is None
    assert linear_relation(values[:2], 2 * values[:2]) is None  # two values prove nothing
    assert linear_relation(np.append(values, np.nan), np.append(values, 0)) is None
    assert linear_relation(np.full(9, 3.0), np.full(9, 3.5)) == (1.0, 0.5)


@settings(deadline=None)
@given(hnp.arrays(np.float32, (2, 3), elements=finite), st.integers(0, 5))
def test_the_place_is_the_one_that_was_changed(want, at):
    got = want.copy()
    got.flat[at] += np.float32(1e7)
    said = where_it_is(got, want, ("channel", "value"))
    assert f"channel {at // 3}, value {at % 3}" in said
    assert f"only channel {at // 3} is off" in said


def test_same_needs_one_shape():
    assert not same(np.zeros((2, 1)), np.zeros((1, 2)))
    assert same(np.ones(3), np.ones(3) + 9e-6)
    assert not same(np.ones(3), np.ones(3) + 2e-5)


# -- outputs ------------------------------------------------------------------------------------


def test_where_an_output_is_not_finite():
    got = _noise(1, 4, 2)
    got[0, 2, 1] = np.inf
    got[0, 3, 0] = np.nan
    said = explain_output(got, _noise(1, 4, 2), 1e-4)
    assert said == "2 of 8 values not finite, the first at [0, 2, 1]"
    assert explain_output(_noise(1, 4, 2), got, 1e-4) == "the stored output is not finite"


def test_an_output_that_is_stored_of_something_else():
    want, other = _noise(1, 4), _noise(1, 4, seed=1)
    said = explain_output(other, want, 1e-4, {"variant 'int8-cpu'": other}) or ""
    assert said.endswith("it is what is stored of variant 'int8-cpu'")
    # What is stored there is this output too, so it explains nothing.
    assert "stored of" not in (explain_output(want + 1, want, 1e-4, {"another": want}) or "")


def test_outputs_that_are_scaled_or_permuted():
    want = _noise(1, 5)
    assert "every value is 0.5 times what it should be" in (
        explain_output(want / 2, want, 1e-4) or ""
    )
    assert "the values of the output are in another order: reversed" in (
        explain_output(want[:, ::-1], want, 1e-4) or ""
    )
    # Nothing of another shape or dtype: that is said already.
    assert explain_output(want[:, :4], want, 1e-4) is None
    assert explain_output(want.astype(np.float64), want, 1e-4) is None


def test_most_values_scaled_behind_a_rounding():
    want = np.abs(_noise(1, 64)) + np.float32(0.2)
    got = np.round(want / 2, 2)  # as a quantized layer does: no exact relation
    got[0, :5] = 0
    said = explain_output(got, want, 0.01) or ""
    assert said.endswith("are about 0.5 times what they should be: a scale before it is off")
    for other in (want + np.float32(0.5), want * np.float32(1.05), want[:, ::-1], want[:, :3] / 2):
        assert "about" not in (explain_output(other, want[:, : other.shape[1]], 0.01) or "")
    assert "about" not in (explain_output(got, want, 1.0) or "")  # all within ten tolerances


def test_outputs_under_other_names():
    logits, features = _noise(1, 2), _noise(1, 8)
    want = {"logits": logits, "features": features}
    renamed = {"scores": logits, "features": features}
    assert explain_names(renamed, want) == "'scores' holds what 'logits' should: it was renamed"
    assert "still gives features" in (explain_names({"features": features}, want) or "")
    assert explain_names(want, want) is None
    assert explain_names({"other": features[:, 2:4], "features": features}, want) is None


# -- probabilities ------------------------------------------------------------------------------


def _decode(activation: str, labels: tuple[str, ...] = ("a", "b", "c")) -> ClassificationDecode:
    return ClassificationDecode.model_validate(
        {
            "kind": "classification",
            "output": "logits",
            "labels": labels,
            "activation": activation,
        }
    )


def test_permuted_labels_and_no_others():
    want = {"a": 0.7, "b": 0.2, "c": 0.1}
    got = {"a": 0.2, "b": 0.7, "c": 0.1}
    outputs = {"logits": np.log([[0.2, 0.7, 0.1]]).astype(np.float32)}
    said = explain_probabilities(got, want, outputs, _decode("softmax"))
    assert said is not None
    assert said.endswith(": 'a' has what 'b' should have, 'b' has what 'a' should have")
    turned = explain_probabilities(
        {"a": 0.2, "b": 0.1, "c": 0.7}, want, outputs, _decode("softmax")
    )
    assert turned == (
        "the labels are in another order: 'a' has what 'b' should have, "
        "'b' has what 'c' should have, 'c' has what 'a' should have"
    )
    assert explain_probabilities({"a": 0.6, "b": 0.3, "c": 0.1}, want, {}, _decode("none")) is None


def test_another_activation():
    logits = np.array([[1.0, -0.5, 0.25]], np.float32)
    powers = np.exp(logits[0].astype(np.float64))
    want = dict(zip("abc", powers / powers.sum(), strict=True))
    sigmoid = dict(zip("abc", powers / (1 + powers), strict=True))
    said = explain_probabilities(sigmoid, want, {"logits": logits}, _decode("sigmoid"))
    assert said == "the stored ones are what activation 'softmax' gives, the task says 'sigmoid'"
