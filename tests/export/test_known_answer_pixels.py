"""Known answers of colour and compressed objects: exactly the frame that our decoder gave."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.processing import convert_color_space
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    UltrasoundImageStorage,
)

from medsdk.pixels import open_dicom
from medsdk.pixels.errors import PixelInputUnreadableError
from medsdk_export.inputs import explicit_little_endian

RNG = np.random.default_rng(13)


def _grey_object() -> Any:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UltrasoundImageStorage
    meta.MediaStorageSOPInstanceUID = UID("1.2.826.0.1.3680043.8.498.9")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = meta.MediaStorageSOPClassUID
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.Modality, dataset.Rows, dataset.Columns = "US", 6, 10
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.PixelData = bytes(120)
    return dataset


def _bytes(dataset: Any) -> bytes:
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def _color_object() -> Any:
    dataset = _grey_object()
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 3, "RGB"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    region = Dataset()
    region.RegionSpatialFormat = region.RegionDataType = 1
    region.RegionLocationMinX0 = region.RegionLocationMinY0 = 1
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = 8, 4
    dataset.SequenceOfUltrasoundRegions = Sequence([region])
    dataset.SpecificCharacterSet = ["ISO 2022 IR 13", "ISO 2022 IR 87"]
    dataset.SeriesDescription = "肝臓 ﾁｮｳｵﾝﾊﾟ"
    return dataset


def _read_again(dataset: Any) -> tuple[pydicom.Dataset, Any, Any]:
    """The stored object, the image in it, and the image that it was made from."""
    source = open_dicom(_bytes(dataset))
    data = explicit_little_endian(pydicom.dcmread(io.BytesIO(_bytes(dataset))))
    stored = pydicom.dcmread(io.BytesIO(data))
    assert stored.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    return stored, open_dicom(data), source


@pytest.mark.parametrize("form", ["rgb", "planar", "ybr", "422", "palette", "jpeg"])
def test_colour_is_stored_as_the_rgb_that_was_decoded(form: str) -> None:
    dataset = _color_object()
    pixels: NDArray[Any] = RNG.integers(0, 256, (6, 10, 3)).astype(np.uint8)
    dataset.PlanarConfiguration = int(form == "planar")
    dataset.PixelData = (np.moveaxis(pixels, 2, 0) if form == "planar" else pixels).tobytes()
    if form == "ybr":
        dataset.PhotometricInterpretation = "YBR_FULL"
        pixels = convert_color_space(pixels, "YBR_FULL", "RGB")
    elif form == "422":
        dataset.PhotometricInterpretation = "YBR_FULL_422"
        dataset.PixelData = bytes(range(120))
    elif form == "palette":
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "PALETTE COLOR"
        del dataset.PlanarConfiguration
        index = RNG.integers(0, 256, (6, 10)).astype(np.uint8)
        table = RNG.integers(0, 65536, (3, 256)).astype("<u2")
        for color, entries in zip(("Red", "Green", "Blue"), table, strict=True):
            setattr(dataset, f"{color}PaletteColorLookupTableDescriptor", [256, 0, 16])
            setattr(dataset, f"{color}PaletteColorLookupTableData", entries.tobytes())
        dataset.PixelData = index.tobytes()
        pixels = np.moveaxis((table[:, index] >> 8).astype(np.uint8), 0, 2)
    elif form == "jpeg":
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "JPEG")
        dataset.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.4.50")
        dataset.PhotometricInterpretation = "YBR_FULL_422"
        dataset.PixelData = encapsulate([stream.getvalue()])
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
        pixels = np.asarray(Image.open(stream))
    stored, image, source = _read_again(dataset)
    want = source.frame(1).array
    if form != "422":
        assert np.array_equal(want, pixels)
    assert np.array_equal(image.frame(1).array, want)
    assert np.array_equal(stored.pixel_array, want)
    assert (stored.PhotometricInterpretation, stored.PlanarConfiguration) == ("RGB", 0)
    assert not [e.keyword for e in stored if "Palette" in e.keyword]
    assert image.ultrasound_regions == source.ultrasound_regions != ()
    assert image.text("SeriesDescription") == "肝臓 ﾁｮｳｵﾝﾊﾟ"


@pytest.mark.parametrize(
    "character_set",
    [["", "ISO 2022 IR 87"], ["ISO 2022 IR 13", "ISO 2022 IR 87"], "ISO_IR 192"],
)
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_text_survives(character_set: Any, syntax: str) -> None:
    dataset = _grey_object()
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    dataset.SpecificCharacterSet = character_set
    dataset.SeriesDescription = "肝臓 超音波"
    dataset.PerformingPhysicianName = "Yamada^Tarou=山田^太郎=やまだ^たろう"
    _, image, source = _read_again(dataset)
    for keyword in source.text_keywords:
        assert image.text(keyword) == source.text(keyword)
    assert image.text("PerformingPhysicianName").endswith("やまだ^たろう")


def test_text_that_would_be_lost_is_refused() -> None:
    dataset = _grey_object()
    dataset.SeriesDescription = "XXXX"
    data = _bytes(dataset).replace(b"XXXX", b"\x8e\x52\x93\x63")
    with pytest.raises(PixelInputUnreadableError, match="SeriesDescription"):
        explicit_little_endian(pydicom.dcmread(io.BytesIO(data)))


@pytest.mark.parametrize(
    "name",
    [
        "MR_small_jp2klossless.dcm",
        "JPEG-LL.dcm",
        "examples_palette.dcm",
        "image_dfl.dcm",
        "J2K_pixelrep_mismatch.dcm",
    ],
)
def test_scanners_objects(name: str) -> None:
    path = get_testdata_file(name, download=False)
    if path is None:
        pytest.skip("pydicom-data is not installed")
    want = open_dicom(str(path)).frame(1)
    got = open_dicom(explicit_little_endian(pydicom.dcmread(str(path)))).frame(1)
    assert np.array_equal(got.array, want.array)
    assert got.array.dtype == want.array.dtype
    assert (got.color, got.decoder) == (want.color, "medsdk")
