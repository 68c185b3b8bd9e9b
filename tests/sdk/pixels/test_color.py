"""Colour conversions against the standard's arithmetic and pydicom's."""

from fractions import Fraction

import numpy as np
import pytest
from pydicom.pixels.processing import convert_color_space

from medsdk.pixels import Frame, Preprocessor
from medsdk.pixels._color import luma, rgb_from_ybr, ybr_from_422
from medsdk.pixels.errors import PixelInputRefusedError

RNG = np.random.default_rng(5)


def _exact(y: int, cb: int, cr: int) -> list[int]:
    """PS3.3 C.7.6.3.1.2 inverted in rational numbers, rounded half up."""
    red, green, blue = Fraction(299, 1000), Fraction(587, 1000), Fraction(114, 1000)
    r = y + 2 * (1 - red) * (cr - 128)
    b = y + 2 * (1 - blue) * (cb - 128)
    g = (y - red * r - blue * b) / green
    return [min(max(int((value + Fraction(1, 2)) // 1), 0), 255) for value in (r, g, b)]


def test_ybr_to_rgb_is_the_standards_arithmetic_rounded():
    pixels = RNG.integers(0, 256, (40, 50, 3)).astype(np.uint8)
    pixels[0, :4] = [[0, 128, 128], [255, 128, 128], [0, 0, 255], [255, 255, 0]]
    want = [[_exact(*map(int, pixel)) for pixel in row] for row in pixels]
    assert np.array_equal(rgb_from_ybr(pixels), want)


def test_ybr_to_rgb_is_pydicoms_for_every_chroma():
    cb, cr = np.meshgrid(np.arange(256), np.arange(256))
    for y in (0, 1, 77, 128, 254, 255):
        pixels = np.stack([np.full_like(cb, y), cb, cr], -1).astype(np.uint8)
        assert np.array_equal(rgb_from_ybr(pixels), convert_color_space(pixels, "YBR_FULL", "RGB"))


@pytest.mark.parametrize("shape", [(1, 1), (1, 700_001), (523, 1009)])
def test_blocks_make_no_difference(shape):
    pixels = RNG.integers(0, 256, (*shape, 3)).astype(np.uint8)
    flat = rgb_from_ybr(pixels.reshape(-1, 1, 3)).reshape(pixels.shape)
    assert np.array_equal(rgb_from_ybr(pixels), flat)
    assert np.array_equal(luma(pixels), luma(pixels.reshape(-1, 1, 3)).reshape(shape))


def test_two_pixels_share_their_chroma():
    stored = np.array([1, 2, 50, 60, 3, 4, 70, 80], np.uint8)
    got = ybr_from_422(stored, 2, 2)
    assert got.tolist() == [[[1, 50, 60], [2, 50, 60]], [[3, 70, 80], [4, 70, 80]]]


def test_luma_is_the_sum_in_float64_rounded_half_to_even():
    pixels = RNG.integers(0, 256, (64, 64, 3)).astype(np.uint8)
    pixels[0, 0] = [0, 0, 250]  # 28.5 exactly
    r, g, b = np.moveaxis(pixels.astype(np.float64), 2, 0)
    assert np.array_equal(luma(pixels), np.rint(0.299 * r + 0.587 * g + 0.114 * b))
    assert luma(pixels)[0, 0] == 28
    grey = np.repeat(np.arange(256, dtype=np.uint8)[:, np.newaxis], 3, 1)[np.newaxis]
    assert np.array_equal(luma(grey)[0], np.arange(256))


def test_a_grey_network_weighs_a_colour_frame_before_the_resize(make_contract):
    pixels = RNG.integers(0, 256, (30, 40, 3)).astype(np.uint8)
    contract = make_contract(
        values="stored",
        intensity={"kind": "as-is"},
        channels={"order": "grey", "from_color": "itu-r-601"},
    )
    preprocessor = Preprocessor(contract)
    got = preprocessor.prepare(Frame(pixels, "RGB"))
    want = preprocessor.prepare(Frame(luma(pixels)))
    assert got.tensor.shape == (1, 1, 24, 32)
    assert np.array_equal(got.tensor, want.tensor)
    assert np.array_equal(preprocessor.working_image(Frame(pixels, "RGB")), luma(pixels))


def test_a_grey_network_refuses_colour_where_its_task_says_so(make_contract):
    contract = make_contract(
        values="stored", intensity={"kind": "as-is"}, channels={"order": "grey"}
    )
    with pytest.raises(PixelInputRefusedError, match="an RGB frame"):
        Preprocessor(contract).prepare(Frame(np.zeros((4, 4, 3), np.uint8), "RGB"))


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_colour_networks_take_their_order(make_contract, order):
    pixels = RNG.integers(0, 256, (24, 32, 3)).astype(np.uint8)
    contract = make_contract(
        values="stored",
        intensity={"kind": "as-is"},
        channels={"order": order},
        normalisation={"divide_by": 1.0, "mean": (0.0,) * 3, "std": (1.0,) * 3},
    )
    got = Preprocessor(contract).prepare(Frame(pixels, "RGB")).tensor[0]
    want = pixels if order == "rgb" else pixels[..., ::-1]
    assert np.array_equal(got, np.moveaxis(want, 2, 0))
