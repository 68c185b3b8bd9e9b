"""Objects from scanners, against pydicom's own reading of them."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut
from pydicom.pixels.utils import pixel_array

from medsdk.pixels import Preprocessor, open_dicom
from medsdk.pixels.errors import PixelInputRefusedError, PixelInputUnreadableError

READABLE = [
    "CT_small.dcm",
    "MR_small.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_expb.dcm",
    "MR_small_implicit.dcm",
    "MR_small_padded.dcm",
    "MR_small_RLE.dcm",
    "MR_small_jp2klossless.dcm",
    "emri_small.dcm",
    "emri_small_RLE.dcm",
    "emri_small_big_endian.dcm",
    "emri_small_jpeg_2k_lossless.dcm",
    "eCT_Supplemental.dcm",
    "MR-SIEMENS-DICOM-WithOverlays.dcm",
    "MR2_UNCI.dcm",
    "MR2_UNCR.dcm",
    "RG1_UNCI.dcm",
    "RG3_UNCR.dcm",
    "mlut_18.dcm",
    "vlut_04.dcm",
    "rtdose.dcm",
    "rtdose_expb.dcm",
    "rtdose_rle.dcm",
    "SC_rgb.dcm",
    "SC_rgb_expb_2frame.dcm",
    "SC_rgb_rle_2frame.dcm",
    "SC_rgb_small_odd.dcm",
    "SC_rgb_small_odd_big_endian.dcm",
    "examples_rgb_color.dcm",
    "examples_ybr_color.dcm",
    "examples_palette.dcm",
    "OBXXXX1A.dcm",
    "image_dfl.dcm",
    "693_J2KI.dcm",
    "J2K_pixelrep_mismatch.dcm",
    "GDCMJ2K_TextGBR.dcm",
    "US1_J2KI.dcm",
    "US1_J2KR.dcm",
    "JPEG-LL.dcm",
    "JPGLosslessP14SV1_1s_1f_8b.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "JPEGLSNearLossless_16.dcm",
    "SC_rgb_jls_lossy_line.dcm",
    "SC_rgb_jls_lossy_sample.dcm",
    "SC_rgb_dcmtk_+eb+cr.dcm",
    "SC_rgb_dcmtk_+eb+cy+n1.dcm",
    "SC_rgb_dcmtk_+eb+cy+np.dcm",
    "SC_rgb_dcmtk_+eb+cy+s2.dcm",
    "SC_rgb_jpeg.dcm",
    "SC_rgb_jpeg_app14_dcmd.dcm",
    "SC_rgb_jpeg_gdcm.dcm",
    "SC_rgb_small_odd_jpeg.dcm",
    "SC_jpeg_no_color_transform.dcm",
    "SC_jpeg_no_color_transform_2.dcm",
    "SC_ybr_full_422_uncompressed.dcm",
    "SC_ybr_full_uncompressed.dcm",
    "color-pl.dcm",
    "color3d_jpeg_baseline.dcm",
]


def _path(name: str) -> str:
    path = get_testdata_file(name, download=False)
    if path is None:
        pytest.skip("the installed data has no such object")
    return str(path)


def _with_warnings(function: Callable[..., Any], *arguments: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*arguments)


@pytest.mark.parametrize("name", READABLE)
def test_frames_equal_pydicoms(name):
    path = _path(name)
    image = open_dicom(path)
    dataset = _with_warnings(pydicom.dcmread, path)
    count = int(dataset.get("NumberOfFrames") or 1)
    assert count == image.number_of_frames
    for index in range(0, count, max(1, count // 5)):
        frame = image.frame(index + 1)
        want = _with_warnings(lambda at=index: pixel_array(dataset, index=at))
        if image.photometric == "PALETTE COLOR":
            shown = _with_warnings(apply_color_lut, want, dataset) >> 8
            assert np.array_equal(frame.array, shown)
            continue
        assert np.array_equal(frame.array, want)
        if "PerFrameFunctionalGroupsSequence" in dataset or frame.color == "RGB":
            continue
        values = frame.modality_lut.apply(frame.array)
        expected = _with_warnings(apply_modality_lut, want, dataset)
        assert np.array_equal(values, expected)


@pytest.mark.parametrize(
    ("compressed", "reference", "tolerance"),
    [
        ("SC_rgb_jpeg.dcm", "SC_rgb_jpeg_dcmd.dcm", 0),
        ("US1_J2KR.dcm", "US1_UNCR.dcm", 0),
        ("MR2_J2KR.dcm", "MR2_UNCR.dcm", 0),
        ("SC_rgb_dcmtk_+eb+cr.dcm", "SC_rgb_dcmtk_ebcr_dcmd.dcm", 1),
        ("SC_rgb_dcmtk_+eb+cy+n1.dcm", "SC_rgb_dcmtk_ebcyn1_dcmd.dcm", 100),
        ("SC_rgb_dcmtk_+eb+cy+s4.dcm", "SC_rgb_dcmtk_ebcys4_dcmd.dcm", 1),
    ],
)
def test_frames_equal_what_another_toolkit_made_of_them(compressed, reference, tolerance):
    """DCMTK repeats subsampled chroma where libjpeg interpolates: edges differ."""
    got, want = (
        open_dicom(_path(name)).frame(1).array.astype(int) for name in (compressed, reference)
    )
    assert np.abs(got - want).max() <= tolerance
    assert np.abs(got - want).mean() <= 1.5


def test_the_enhanced_ct_has_a_lut_a_frame():
    image = open_dicom(_path("eCT_Supplemental.dcm"))
    dataset = _with_warnings(pydicom.dcmread, _path("eCT_Supplemental.dcm"))
    for number in range(1, image.number_of_frames + 1):
        groups = dataset.PerFrameFunctionalGroupsSequence[number - 1]
        shared = dataset.SharedFunctionalGroupsSequence[0]
        holder = groups if "PixelValueTransformationSequence" in groups else shared
        transform = holder.PixelValueTransformationSequence[0]
        lut = image.frame(number).modality_lut
        assert lut.slope == float(transform.RescaleSlope)
        assert lut.intercept == float(transform.RescaleIntercept)
        assert lut.units == ("HU" if transform.RescaleType == "HU" else None)
        assert image.frame(number).spacing_mm is not None


def test_the_ct_is_in_hounsfield_units_and_the_mr_is_not(make_contract):
    window = {"kind": "window", "center": 40.0, "width": 400.0}
    preprocessor = Preprocessor(make_contract(values="hu", intensity=window))
    prepared = preprocessor.prepare(open_dicom(_path("CT_small.dcm")).frame(1))
    assert prepared.no_result is None
    assert prepared.tensor.shape == (1, 3, 24, 32)
    with pytest.raises(PixelInputRefusedError, match="Hounsfield"):
        preprocessor.prepare(open_dicom(_path("MR_small.dcm")).frame(1))


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("MR_truncated.dcm", PixelInputUnreadableError),
        ("rtplan.dcm", PixelInputUnreadableError),
        ("rtstruct.dcm", PixelInputUnreadableError),
        ("reportsi.dcm", PixelInputUnreadableError),
        ("test-SR.dcm", PixelInputUnreadableError),
        ("no_meta.dcm", PixelInputUnreadableError),
        ("ExplVR_BigEndNoMeta.dcm", PixelInputUnreadableError),
        ("meta_missing_tsyntax.dcm", PixelInputUnreadableError),
        ("SC_rgb_16bit.dcm", PixelInputRefusedError),
        ("liver.dcm", PixelInputRefusedError),  # a segmentation of one bit a pixel
        ("README.txt", PixelInputUnreadableError),
    ],
)
def test_objects_that_are_not_read_say_so(name, error):
    with pytest.raises(error) as caught:
        open_dicom(_path(name))
    assert caught.value.got
    assert caught.value.expected
    assert caught.value.remedy
