"""Scores to probabilities, against scipy."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import special

from medsdk.decode import class_probabilities
from medsdk.errors import OutputMismatchError
from medsdk.tasks.decoding import ClassificationDecode

Activation = Literal["none", "softmax", "sigmoid"]
SCORES = st.floats(-1e4, 1e4, width=32)
NAMES = "abcdefghij"


def _decode(activation: Activation, count: int) -> ClassificationDecode:
    labels = tuple(NAMES[:count])
    return ClassificationDecode(
        kind="classification", output="logits", labels=labels, activation=activation
    )


def _values(activation: Activation, scores: Any, labels: int = 0) -> NDArray[np.float64]:
    array = np.asarray([scores])
    found = class_probabilities(_decode(activation, labels or array.shape[1]), {"logits": array})
    assert list(found) == list(NAMES[: len(found)])
    return np.array(list(found.values()))


@settings(deadline=None)
@given(st.lists(SCORES, min_size=2, max_size=10))
def test_softmax_is_scipys(scores):
    single = np.array(scores, np.float32)
    found = _values("softmax", single)
    np.testing.assert_allclose(
        found, special.softmax(single.astype(np.float64)), rtol=1e-12, atol=1e-300
    )
    assert abs(found.sum() - 1) < 1e-12
    assert found[single.argmax()] == found.max()


@settings(deadline=None)
@given(st.lists(SCORES, min_size=2, max_size=10))
def test_sigmoid_is_scipys(scores):
    single = np.array(scores, np.float32)
    expected = special.expit(single.astype(np.float64))
    np.testing.assert_allclose(_values("sigmoid", single), expected, rtol=1e-12, atol=1e-300)


@settings(deadline=None)
@given(SCORES)
def test_one_score_speaks_for_the_second_label(score):
    expected = special.expit([-score, score])
    found = _values("sigmoid", np.array([score], np.float32), labels=2)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1, width=32), min_size=2, max_size=10))
def test_none_leaves_probabilities_as_they_are(values):
    assert _values("none", np.array(values, np.float32)).tolist() == values


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_extreme_scores_neither_overflow_nor_warn(dtype, activation):
    largest = np.finfo(dtype).max
    found = _values(activation, np.array([largest, -largest], dtype))
    assert found.tolist() == [1.0, 0.0]
    assert _values(activation, np.array([-largest, largest], dtype)).tolist() == [0.0, 1.0]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "none"])
def test_a_score_that_is_not_finite_raises(activation, bad):
    with pytest.raises(OutputMismatchError, match="not finite"):
        _values(activation, np.array([0.5, bad], np.float32))


def test_a_graph_with_its_own_softmax_may_round_past_1():
    above = np.nextafter(np.float32(1), np.float32(2))
    assert _values("none", np.array([-1e-7, above], np.float32)).tolist() == [0.0, 1.0]


@pytest.mark.parametrize("scores", [[0.2, 1.001], [-0.001, 0.5], [-3.2, 4.1]])
def test_logits_are_not_taken_for_probabilities(scores):
    with pytest.raises(OutputMismatchError, match=r"no probabilities.*activation"):
        _values("none", np.array(scores, np.float32))


@pytest.mark.parametrize(
    ("activation", "shape", "labels"),
    [
        ("softmax", (1, 3), 2),
        ("softmax", (1, 1), 2),
        ("sigmoid", (1, 1), 3),
        ("none", (1, 1), 2),
        ("softmax", (0, 2), 2),
        ("softmax", (2,), 2),
        ("sigmoid", (1,), 2),
        ("softmax", (), 2),
        ("softmax", (1, 2, 2), 2),
    ],
)
def test_scores_that_do_not_fit_the_labels_raise(activation, shape, labels):
    outputs = {"logits": np.zeros(shape, np.float32)}
    with pytest.raises(OutputMismatchError, match="does not fit the labels"):
        class_probabilities(_decode(activation, labels), outputs)


def test_an_output_of_another_name_is_missing():
    with pytest.raises(OutputMismatchError, match=r"'logits' is missing; got: a, b"):
        class_probabilities(_decode("softmax", 2), {"b": np.zeros((1, 2)), "a": np.zeros((1, 2))})


def test_the_row_is_the_one_that_was_asked_for():
    outputs = {"logits": np.array([[0, 0], [0, math.log(3)]], np.float64)}
    decode = _decode("softmax", 2)
    assert class_probabilities(decode, outputs) == {"a": 0.5, "b": 0.5}
    assert class_probabilities(decode, outputs, row=1) == pytest.approx({"a": 0.25, "b": 0.75})
    with pytest.raises(OutputMismatchError):
        class_probabilities(decode, outputs, row=2)


@pytest.mark.parametrize("shape", [(1, 2, 1, 1), (1, 1, 2)])
def test_axes_of_length_1_are_left_out(shape):
    outputs = {"logits": np.array([0, math.log(3)]).reshape(shape)}
    found = class_probabilities(_decode("softmax", 2), outputs)
    assert found == pytest.approx({"a": 0.25, "b": 0.75})
