"""Surfaces and their distances against scipy.ndimage, and by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from medsdk.parity import surfaces
from medsdk.parity.surfaces import nearest, surface, surface_distance

Mask = NDArray[np.bool_]


def _by_scipy(first: Mask, second: Mask, spacing: Any) -> NDArray[np.float64]:
    """Pooled distances of both surfaces, each to the other."""
    a = first & ~ndimage.binary_erosion(first)
    b = second & ~ndimage.binary_erosion(second)
    to_b = ndimage.distance_transform_edt(~b, sampling=spacing)
    to_a = ndimage.distance_transform_edt(~a, sampling=spacing)
    return np.concatenate([to_b[a], to_a[b]])


def _blob(generator: np.random.Generator, shape: Any) -> Mask:
    """A smooth mask somewhere in the array, often over its border."""
    noise = ndimage.gaussian_filter(generator.normal(size=shape), 2.0)
    return np.asarray(noise > np.quantile(noise, generator.uniform(0.6, 0.97)), np.bool_)


@pytest.mark.parametrize("axes", [2, 3])
def test_distances_are_those_of_scipy(axes):
    generator = np.random.default_rng(axes)
    for _ in range(40):
        shape = generator.integers(1, 25 if axes == 2 else 13, axes)
        first, second = _blob(generator, shape), _blob(generator, shape)
        if not (first.any() and second.any()):
            continue
        spacing = generator.uniform(0.3, 6.0, axes)
        expected = _by_scipy(first, second, spacing)
        got = surface_distance(first, second, spacing)
        assert got is not None
        assert got.mean == pytest.approx(expected.mean(), rel=1e-12)
        assert got.percentile_95 == pytest.approx(np.percentile(expected, 95), rel=1e-12)


@pytest.mark.parametrize("axes", [2, 3])
def test_noise_too(axes):
    """No two elements alike, so every line of the search counts."""
    generator = np.random.default_rng(10 + axes)
    for _ in range(30):
        shape = generator.integers(1, 14, axes)
        first, second = (generator.random(shape) < generator.random() for _ in range(2))
        np.testing.assert_array_equal(surface(first), first & ~ndimage.binary_erosion(first))
        if first.any() and second.any():
            spacing = generator.uniform(0.3, 6.0, axes)
            expected = _by_scipy(first, second, spacing)
            got = surface_distance(first, second, spacing)
            assert got is not None
            assert got.mean == pytest.approx(expected.mean(), rel=1e-12)


@pytest.mark.parametrize("axes", [2, 3])
def test_the_search_ends_no_line_too_early(axes, monkeypatch):
    """One line at a time, as with surfaces so large that no more fit at once."""
    monkeypatch.setattr(surfaces, "_AT_ONCE", 1)
    generator = np.random.default_rng(20 + axes)
    for _ in range(15):
        shape = generator.integers(3, 16 if axes == 2 else 8, axes)
        first, second = (generator.random(shape) < 0.15 for _ in range(2))
        if first.any() and second.any():
            spacing = generator.uniform(0.3, 6.0, axes)
            got = surface_distance(first, second, spacing)
            assert got is not None
            assert got.mean == pytest.approx(_by_scipy(first, second, spacing).mean(), rel=1e-12)


def test_spacing_follows_the_axes():
    """One voxel, moved along one axis: the distance is that axis's spacing."""
    spacing = (5.0, 0.7, 0.4)
    for axis in range(3):
        first, second = np.zeros((2, 9, 9, 9), bool)
        first[4, 4, 4] = True
        there = [4, 4, 4]
        there[axis] += 2
        second[tuple(there)] = True
        got = surface_distance(first, second, spacing)
        assert got is not None
        assert got.mean == got.percentile_95 == pytest.approx(2 * spacing[axis])


def test_a_mask_on_the_border_has_its_surface_there():
    whole = np.ones((5, 5), bool)
    assert surface(whole).sum() == 16
    assert surface(np.ones((1, 1), bool)).all()
    inner = np.zeros((5, 5), bool)
    inner[1:4, 1:4] = True
    # A ring of 16 around a ring of 8: the four corners are sqrt(2) from it, all others 1.
    got = surface_distance(whole, inner, (1.0, 1.0))
    assert got is not None
    assert got.mean == pytest.approx((4 * np.sqrt(2) + 12 + 8) / 24)


def test_equal_masks_are_0_apart():
    mask = np.zeros((3, 4, 5), bool)
    mask[1, 1:3, 2] = True
    got = surface_distance(mask, mask, (3.0, 1.0, 1.0))
    assert got is not None
    assert (got.mean, got.percentile_95) == (0.0, 0.0)


def test_both_directions_are_pooled():
    """A far part of one mask alone counts, whichever mask it is in."""
    near = np.zeros((1, 40), bool)
    near[0, :10] = True
    far = near.copy()
    far[0, 39] = True
    one, other = (surface_distance(a, b, (1.0, 1.0)) for a, b in ((near, far), (far, near)))
    assert one == other
    assert one is not None
    assert one.mean == pytest.approx(30 / 21)


def test_there_is_no_distance_to_nothing():
    mask = np.ones((3, 3), bool)
    empty = np.zeros((3, 3), bool)
    for pair in ((mask, empty), (empty, mask), (empty, empty)):
        assert surface_distance(*pair, (1.0, 1.0)) is None
    assert np.isinf(nearest(np.array([[0, 0]]), empty, (1.0, 1.0))).all()


@pytest.mark.parametrize("spacing", [(1.0,), (1.0, 0.0), (1.0, float("nan")), (1.0, -1.0)])
def test_a_spacing_is_positive_and_one_an_axis(spacing):
    mask = np.ones((3, 3), bool)
    with pytest.raises(ValueError, match="spacing"):
        surface_distance(mask, mask, spacing)


def test_far_apart_masks_are_exact_too():
    first, second = np.zeros((2, 30, 90, 90), bool)
    first[:3, :3, :3] = True
    second[-3:, -3:, -3:] = True
    spacing = (2.5, 0.8, 0.8)
    got = surface_distance(first, second, spacing)
    assert got is not None
    assert got.mean == pytest.approx(_by_scipy(first, second, spacing).mean(), rel=1e-12)
