"""Regions of ultrasound images: read, checked, cropped to, and used for the spacing."""

from typing import Any

import numpy as np
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from medsdk.pixels import Box, Frame, Preprocessor, UltrasoundRegion, open_dicom
from medsdk.pixels.errors import PixelInputRefusedError, PixelInputUnreadableError

RNG = np.random.default_rng(3)
B_MODE: dict[str, Any] = {
    "RegionSpatialFormat": 1,
    "RegionDataType": 1,
    "RegionLocationMinX0": 4,
    "RegionLocationMinY0": 2,
    "RegionLocationMaxX1": 33,
    "RegionLocationMaxY1": 25,
    "PhysicalUnitsXDirection": 3,
    "PhysicalUnitsYDirection": 3,
    "PhysicalDeltaX": 0.05,
    "PhysicalDeltaY": -0.04,
}
ROWS, COLUMNS = 30, 40


def _item(**changes: Any) -> Dataset:
    item = Dataset()
    for keyword, value in (B_MODE | changes).items():
        if value is not None:
            setattr(item, keyword, value)
    return item


@pytest.fixture
def image_with(make_dataset, as_file):
    def make(*items: Dataset, **more: Any) -> Any:
        array = RNG.integers(0, 256, (ROWS, COLUMNS)).astype(np.uint8)
        dataset = make_dataset(array, Modality="US", **more)
        if items:
            dataset.SequenceOfUltrasoundRegions = Sequence(items)
        return open_dicom(as_file(dataset))

    return make


@pytest.fixture
def cropping(make_contract):
    return Preprocessor(
        make_contract(
            values="stored", intensity={"kind": "as-is"}, crop={"kind": "ultrasound-region"}
        )
    )


def test_corners_are_pixels_of_the_region(image_with, cropping):
    image = image_with(_item())
    assert image.ultrasound_regions == (UltrasoundRegion("b-mode", Box(4, 2, 34, 26), (0.4, 0.5)),)
    frame = image.frame(1)
    assert frame.ultrasound_regions == image.ultrasound_regions
    prepared = cropping.prepare(frame)
    assert prepared.crop == Box(4, 2, 34, 26)
    assert np.array_equal(cropping.working_image(frame), frame.array[2:26, 4:34])
    # The corners of the region are those of the network's input.
    assert prepared.affine.apply(4, 2) == pytest.approx((0, 0))
    assert prepared.affine.apply(34, 26) == pytest.approx((32, 24))


def test_a_region_of_the_whole_frame_is_inside(image_with, cropping):
    whole = _item(
        RegionLocationMinX0=0,
        RegionLocationMinY0=0,
        RegionLocationMaxX1=COLUMNS - 1,
        RegionLocationMaxY1=ROWS - 1,
    )
    assert cropping.prepare(image_with(whole).frame(1)).crop == Box(0, 0, COLUMNS, ROWS)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"RegionLocationMaxX1": COLUMNS}, "outside the frame"),
        ({"RegionLocationMaxY1": ROWS}, "outside the frame"),
        ({"RegionLocationMinX0": 34}, "reversed"),
        ({"RegionLocationMinY0": 26}, "reversed"),
        ({"RegionLocationMaxX1": None}, "missing"),
    ],
)
def test_a_region_that_makes_no_sense_is_kept_and_not_cropped_to(
    image_with, cropping, changes, words
):
    image = image_with(_item(**changes))
    (region,) = image.ultrasound_regions
    assert region.kind == "b-mode"
    assert words in region.problem
    assert image.spacing_mm is None
    with pytest.raises(PixelInputRefusedError, match=words):
        cropping.prepare(image.frame(1))


def test_none_and_two_are_refused_with_the_reason(image_with, cropping):
    for items, words in (
        ((), "no B-mode region"),
        ((_item(RegionDataType=2), _item(RegionSpatialFormat=3)), "colour-flow, spectral"),
        ((_item(), _item(RegionLocationMinX0=20)), "2 B-mode regions"),
    ):
        image = image_with(*items)
        assert image.spacing_mm is None
        with pytest.raises(PixelInputRefusedError, match=words) as caught:
            cropping.prepare(image.frame(1))
        assert "roi" in caught.value.remedy
    with pytest.raises(PixelInputRefusedError, match="no B-mode region"):
        cropping.prepare(Frame(np.zeros((9, 9), np.uint8)))


def test_other_regions_do_not_hide_the_one(image_with, cropping):
    kinds = {
        "colour-flow": {"RegionDataType": 2},
        "m-mode": {"RegionSpatialFormat": 2},
        "spectral": {"RegionSpatialFormat": 3, "RegionDataType": 3},
        "waveform": {"RegionSpatialFormat": 4, "RegionDataType": 10},
        "other": {"RegionSpatialFormat": 5, "RegionDataType": 13},
    }
    image = image_with(*(_item(**changes) for changes in kinds.values()), _item())
    assert [region.kind for region in image.ultrasound_regions] == [*kinds, "b-mode"]
    assert cropping.prepare(image.frame(1)).crop == Box(4, 2, 34, 26)
    assert image.spacing_mm == (0.4, 0.5)


@pytest.mark.parametrize(
    "changes",
    [
        {"PhysicalDeltaX": 0.0},
        {"PhysicalDeltaY": None},
        {"PhysicalUnitsXDirection": 4},
        {"PhysicalUnitsYDirection": None},
    ],
)
def test_a_delta_that_is_no_length_gives_no_spacing(image_with, cropping, changes):
    image = image_with(_item(**changes))
    assert image.spacing_mm is None
    assert image.frame(1).spacing_mm is None
    assert cropping.prepare(image.frame(1)).crop == Box(4, 2, 34, 26)


def test_pixel_spacing_comes_first(image_with):
    image = image_with(_item(), PixelSpacing=[0.7, 0.8])
    assert image.spacing_mm == image.frame(1).spacing_mm == (0.7, 0.8)


def test_a_roi_and_the_region_do_not_go_together(image_with, cropping):
    with pytest.raises(PixelInputRefusedError, match="region of interest"):
        cropping.prepare(image_with(_item()).frame(1), Box(5, 5, 9, 9))


def test_a_region_of_a_bare_frame_is_checked_too(cropping):
    region = UltrasoundRegion("b-mode", Box(0, 0, 10, 10), None)
    frame = Frame(np.zeros((9, 9), np.uint8), ultrasound_regions=(region,))
    with pytest.raises(PixelInputRefusedError, match="outside"):
        cropping.prepare(frame)


def test_absurdly_many_regions_are_unreadable(make_dataset, as_file):
    dataset = make_dataset(np.zeros((4, 4), np.uint8))
    dataset.SequenceOfUltrasoundRegions = Sequence([Dataset() for _ in range(257)])
    with pytest.raises(PixelInputUnreadableError, match="257 ultrasound regions"):
        open_dicom(as_file(dataset))


@pytest.mark.parametrize(
    ("name", "kinds", "problem", "spacing"),
    [
        ("color3d_jpeg_baseline.dcm", ["b-mode"], None, 0.5105),
        ("examples_ybr_color.dcm", ["b-mode"], "outside", None),
        ("OBXXXX1A.dcm", ["b-mode", "waveform"], "outside", None),
        ("gdcm-US-ALOKA-16.dcm", ["b-mode", "b-mode", "other"], None, None),
    ],
)
def test_scanners_regions(name, kinds, problem, spacing):
    path = get_testdata_file(name, download=False)
    if path is None:
        pytest.skip("pydicom-data is not installed")
    image = open_dicom(path)
    assert [region.kind for region in image.ultrasound_regions] == kinds
    assert (problem or "") in (image.ultrasound_regions[0].problem or "")
    if spacing is None:
        assert image.spacing_mm is None
    else:
        assert image.spacing_mm == pytest.approx((spacing, spacing), abs=1e-4)
