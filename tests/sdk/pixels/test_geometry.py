"""Crops and fits: sizes by arithmetic, and where a bright spot ends up."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from medsdk.pixels import Box, Frame, Preprocessor
from medsdk.pixels._geometry import resized_size
from medsdk.pixels.errors import PixelInputRefusedError

CENTRE = {"value": 0.0, "anchor": "centre"}
CORNER = {"value": 0.0, "anchor": "top-left"}
FITS = [
    pytest.param({"fit": "stretch"}, id="stretch"),
    pytest.param({"fit": "letterbox", "padding": CENTRE}, id="letterbox-centre"),
    pytest.param({"fit": "letterbox", "padding": CORNER}, id="letterbox-corner"),
    pytest.param({"fit": "cover"}, id="cover"),
]
CROPS = [
    pytest.param({"kind": "none"}, None, id="none"),
    pytest.param({"kind": "centre-square"}, None, id="centre-square"),
    pytest.param({"kind": "roi", "required": True}, Box(21.0, 17.0, 82.0, 76.0), id="roi"),
    pytest.param(
        {"kind": "roi", "required": True, "square": True}, Box(30.0, 35.0, 70.0, 60.0), id="square"
    ),
]
GREY = {"order": "grey"}


def _centroid(image: NDArray[np.float64]) -> tuple[float, float]:
    weight = image.sum()
    rows, columns = np.indices(image.shape) + 0.5
    return float((columns * image).sum() / weight), float((rows * image).sum() / weight)


@pytest.mark.parametrize("size", [(97, 121), (121, 97), (110, 110)])
@pytest.mark.parametrize("target", [(60, 48), (48, 60), (224, 200)])
@pytest.mark.parametrize(("crop", "roi"), CROPS)
@pytest.mark.parametrize("fit", FITS)
def test_a_spot_lies_where_the_affine_says(make_contract, size, target, crop, roi, fit):
    spot = (52.5, 47.5)  # x, y: the centre of column 52, row 47
    rows, columns = np.indices(size) + 0.5
    array = np.exp(-((columns - spot[0]) ** 2 + (rows - spot[1]) ** 2) / (2 * 3.0**2)) * 10000
    resize = {"kernel": "pil.bilinear.auto13", "height": target[0], "width": target[1]}
    contract = make_contract(
        values="stored",
        intensity={"kind": "min-max"},
        channels=GREY,
        normalisation={"divide_by": 1.0, "mean": (0.0,), "std": (1.0,)},
        crop=crop,
        resize=resize,
        **fit,
    )
    prepared = Preprocessor(contract).prepare(Frame(array.astype(np.uint16)), roi)
    got = _centroid(prepared.tensor[0, 0].astype(np.float64))
    want = prepared.affine.apply(*spot)
    assert got == pytest.approx(want, abs=0.06)
    assert prepared.affine.inverse().apply(*want) == pytest.approx(spot)


@pytest.mark.parametrize(
    ("fit", "size", "matrix"),
    [
        # 100 x 200 (rows x columns) into 50 x 50
        ({"fit": "stretch"}, (50, 50), (0.25, 0, 0, 0, 0.5, 0)),
        ({"fit": "letterbox", "padding": CENTRE}, (25, 50), (0.25, 0, 0, 0, 0.25, 12)),
        ({"fit": "letterbox", "padding": CORNER}, (25, 50), (0.25, 0, 0, 0, 0.25, 0)),
        ({"fit": "cover"}, (50, 100), (0.5, 0, -25, 0, 0.5, 0)),
    ],
)
def test_sizes_and_affines_by_hand(make_contract, fit, size, matrix):
    resize = {"kernel": "pil.bilinear.hv", "height": 50, "width": 50}
    preprocessor = Preprocessor(make_contract(values="stored", resize=resize, **fit))
    frame = Frame(np.arange(20000, dtype=np.uint16).reshape(100, 200))
    assert preprocessor.resized_size(100, 200) == size
    assert preprocessor.prepare(frame).affine.matrix == matrix


@pytest.mark.parametrize(
    ("anchor", "top"), [("centre", 1), ("top-left", 0)]
)  # 3 spare rows: 1 above and 2 below
def test_the_letterbox_is_filled_with_its_value(make_contract, anchor, top):
    contract = make_contract(
        values="stored",
        intensity={"kind": "as-is"},
        fit="letterbox",
        padding={"value": 114.0, "anchor": anchor},
        resize={"kernel": "pil.bilinear.hv", "height": 10, "width": 10},
        channels=GREY,
        normalisation={"divide_by": 1.0, "mean": (0.0,), "std": (1.0,)},
    )
    image = np.arange(70, dtype=np.uint8).reshape(7, 10)
    plane = Preprocessor(contract).prepare(Frame(image)).tensor[0, 0]
    assert np.array_equal(plane[top : top + 7], image)
    assert (np.delete(plane, range(top, top + 7), axis=0) == 114).all()


def test_cover_cuts_the_spare_pixel_on_the_right(make_contract):
    contract = make_contract(
        values="stored",
        intensity={"kind": "as-is"},
        fit="cover",
        resize={"kernel": "pil.bilinear.hv", "height": 6, "width": 6},
        channels=GREY,
        normalisation={"divide_by": 1.0, "mean": (0.0,), "std": (1.0,)},
    )
    image = np.arange(54, dtype=np.uint8).reshape(6, 9)
    prepared = Preprocessor(contract).prepare(Frame(image))
    assert np.array_equal(prepared.tensor[0, 0], image[:, 1:7])
    assert prepared.affine.matrix == (1, 0, -1, 0, 1, 0)


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 500), st.integers(1, 500))
def test_the_fitted_size_is_right_to_half_a_pixel(height, width, rows, columns):
    target = rows, columns
    assert resized_size("stretch", height, width, target) == target
    small = resized_size("letterbox", height, width, target)
    assert 1 <= small[0] <= rows
    assert 1 <= small[1] <= columns
    assert rows == small[0] or columns == small[1]
    scale = min(rows / height, columns / width)
    assert abs(small[0] - height * scale) <= 0.5 + 1e-9 or small[0] == 1
    assert abs(small[1] - width * scale) <= 0.5 + 1e-9 or small[1] == 1
    scale = max(rows / height, columns / width)
    if height * width * scale * scale > 6e7:
        return
    large = resized_size("cover", height, width, target)
    assert large[0] >= rows
    assert large[1] >= columns
    assert rows == large[0] or columns == large[1]
    assert abs(large[0] - height * scale) <= 0.5 + 1e-9
    assert abs(large[1] - width * scale) <= 0.5 + 1e-9


@pytest.mark.parametrize(
    ("size", "box"),
    [((10, 17), Box(3, 0, 13, 10)), ((17, 10), Box(0, 3, 10, 13)), ((9, 9), Box(0, 0, 9, 9))],
)
def test_the_centre_square(make_contract, size, box):
    contract = make_contract(values="stored", crop={"kind": "centre-square"})
    array = np.arange(size[0] * size[1], dtype=np.uint16).reshape(size)
    assert Preprocessor(contract).prepare(Frame(array)).crop == box


@pytest.mark.parametrize(
    ("square", "roi", "box"),
    [
        (False, Box(2.4, 3.5, 8.49, 9.6), Box(2, 4, 8, 10)),  # to the nearest edges
        (False, Box(-0.3, 0.0, 20.4, 10.2), Box(0, 0, 20, 10)),
        (True, Box(5, 2, 8, 8), Box(4, 2, 10, 8)),  # 3 more: 1 left, 2 right
        (True, Box(0, 2, 3, 8), Box(0, 2, 6, 8)),  # moved back into the frame
        (True, Box(18, 2, 20, 8), Box(14, 2, 20, 8)),
        (True, Box(4, 9, 9, 10), Box(4, 5, 9, 10)),
    ],
)
def test_the_region_of_interest(make_contract, square, roi, box):
    crop = {"kind": "roi", "required": False, "square": square}
    array = np.arange(200, dtype=np.uint16).reshape(10, 20)
    preprocessor = Preprocessor(make_contract(values="stored", crop=crop))
    assert preprocessor.prepare(Frame(array), roi).crop == box
    assert preprocessor.prepare(Frame(array)).crop == Box(0, 0, 20, 10)


@pytest.mark.parametrize(
    ("crop", "roi", "words"),
    [
        ({"kind": "roi", "required": True}, None, "task needs"),
        ({"kind": "none"}, Box(0, 0, 4, 4), "chooses its part"),
        ({"kind": "centre-square"}, Box(0, 0, 4, 4), "chooses its part"),
        ({"kind": "roi", "required": True}, (0, 0, 4, 4), r"got: tuple.*medsdk\.Box\("),
        ({"kind": "none"}, "0,0,4,4", r"got: str.*medsdk\.Box\("),
        ({"kind": "roi", "required": True}, Box(0, 0, 21, 4), "outside the frame"),
        ({"kind": "roi", "required": True}, Box(-1, 0, 4, 4), "outside the frame"),
        ({"kind": "roi", "required": True}, Box(1e300, 0, 2e300, 4), "outside the frame"),
        ({"kind": "roi", "required": True}, Box(3.1, 3.1, 3.4, 8), "less than a pixel"),
        ({"kind": "roi", "required": True, "square": True}, Box(0, 0, 12, 4), "side of 12"),
    ],
)
def test_a_wrong_region_of_interest_is_refused(make_contract, crop, roi, words):
    preprocessor = Preprocessor(make_contract(values="stored", crop=crop))
    frame = Frame(np.arange(200, dtype=np.uint16).reshape(10, 20))
    with pytest.raises(PixelInputRefusedError, match=words) as caught:
        preprocessor.prepare(frame, roi)
    assert caught.value.code == "pixel-input-refused"
    if words == "chooses its part":
        assert caught.value.remedy == "leave roi out"


@pytest.mark.parametrize(
    "crop",
    [
        {"kind": "candidate-box"},
        {"kind": "body", "threshold_hu": -300.0},
    ],
)
def test_crops_that_are_not_offered_are_refused(make_contract, crop):
    with pytest.raises(PixelInputRefusedError, match="not in this release"):
        Preprocessor(make_contract(crop=crop))


def test_a_strip_that_would_grow_huge_is_refused(make_contract):
    resize = {"kernel": "pil.bilinear.hv", "height": 4096, "width": 4096}
    preprocessor = Preprocessor(make_contract(values="stored", fit="cover", resize=resize))
    with pytest.raises(PixelInputRefusedError, match="1 x 60000"):
        preprocessor.prepare(Frame(np.arange(60000, dtype=np.uint16).reshape(1, -1)))
