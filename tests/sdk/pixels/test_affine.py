"""Boxes and affines."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medsdk.pixels.affine import Affine, Box
from medsdk.pixels.errors import PixelInputRefusedError

coordinate = st.floats(-5000, 5000)
factor = st.floats(0.01, 100)
steps = st.lists(
    st.one_of(
        st.builds(Affine.scale, factor, factor),
        st.builds(Affine.translation, coordinate, coordinate),
    ),
    max_size=4,
)


@given(steps, coordinate, coordinate)
def test_there_and_back_again(chain, x, y):
    affine = Affine()
    for step in chain:
        affine = affine.then(step)
    there = affine.apply(x, y)
    back = affine.inverse().apply(*there)
    size = max(1.0, *(abs(value) for value in affine.inverse().matrix)) * max(
        1.0, *(abs(value) for value in affine.matrix)
    )
    assert math.isclose(back[0], x, abs_tol=1e-9 * size)
    assert math.isclose(back[1], y, abs_tol=1e-9 * size)


@given(steps, coordinate, coordinate)
def test_a_chain_is_its_steps_one_after_the_other(chain, x, y):
    affine, point = Affine(), (x, y)
    for step in chain:
        affine, point = affine.then(step), step.apply(*point)
    got = affine.apply(x, y)
    scale = max(1.0, *(abs(value) for value in (*affine.matrix, *point))) * 5000
    assert math.isclose(got[0], point[0], abs_tol=1e-9 * scale)
    assert math.isclose(got[1], point[1], abs_tol=1e-9 * scale)


def test_sheared_affines_chain_in_order():
    first = Affine((2.0, 0.5, 3.0, -0.25, 1.5, -7.0))
    second = Affine((0.5, -3.0, 1.0, 4.0, 0.25, 11.0))
    assert first.then(second).apply(5.0, 9.0) == second.apply(*first.apply(5.0, 9.0))
    assert first.then(second) != second.then(first)


def test_a_sheared_affine_inverts():
    affine = Affine((2.0, 0.5, 3.0, -0.25, 1.5, -7.0))
    assert affine.inverse().apply(*affine.apply(11.0, 13.0)) == pytest.approx((11.0, 13.0))


@pytest.mark.parametrize("text", ["1,2,30.5,40", " 1, 2 ,30.5 , 4e1", "1.0,2.0,30.50,40"])
def test_a_box_is_read_from_text(text):
    box = Box.parse(text)
    assert box == Box(1.0, 2.0, 30.5, 40.0)
    assert (box.width, box.height) == (29.5, 38.0)
    assert str(box) == "1,2,30.5,40"


@pytest.mark.parametrize(
    "text", ["", "1,2,3", "1,2,3,4,5", "a,2,3,4", "1,2,1,4", "1,2,3,1", "nan,2,3,4", "1,2,inf,4"]
)
def test_what_is_no_box_is_refused(text):
    with pytest.raises(PixelInputRefusedError) as caught:
        Box.parse(text)
    assert caught.value.exit_status == 2
    assert "x0,y0,x1,y1" in caught.value.remedy


@pytest.mark.parametrize("corner", ["0", None, [0], 1j, 10**400, float("nan")])
def test_a_corner_of_another_kind_is_refused(corner):
    with pytest.raises(PixelInputRefusedError, match="finite") as caught:
        Box(corner, 0, 4, 4)
    assert "medsdk.Box(x0, y0, x1, y1)" in caught.value.remedy


def test_corners_may_be_numbers_of_numpy():
    corners: tuple[Any, ...] = (np.float32(1), np.int64(2), 3, np.uint8(4))
    assert Box(*corners) == Box(1.0, 2.0, 3.0, 4.0)
