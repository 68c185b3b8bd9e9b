"""DICOM objects built from arrays, read back and compared by arithmetic."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels.processing import convert_color_space
from pydicom.sequence import Sequence

from medsdk.pixels import DicomLimits, Frame, open_dicom
from medsdk.pixels.errors import (
    PixelInputRefusedError,
    PixelInputUnreadableError,
)

CT = "1.2.840.10008.5.1.4.1.1.2"
RLE = "1.2.840.10008.1.2.5"
DEFLATED = "1.2.840.10008.1.2.1.99"
RNG = np.random.default_rng(11)


def _item(**attributes: Any) -> Dataset:
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return item


def _random(dtype: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    info = np.iinfo(dtype)
    return RNG.integers(info.min, info.max, shape, dtype, endpoint=True)


@pytest.mark.parametrize("syntax", ["implicit", "little", "big"])
@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4"])
@pytest.mark.parametrize("shape", [(6, 4), (5, 3), (1, 1)])
def test_what_was_stored_is_read(make_dataset, as_file, tmp_path, syntax, dtype, shape):
    array = _random(np.dtype(dtype), shape)
    dataset = make_dataset(array, syntax=syntax)
    path = tmp_path / "image.dcm"
    path.write_bytes(as_file(dataset))
    for source in (dataset, path.read_bytes(), path, str(path)):
        image = open_dicom(source)
        frame = image.frame(1)
        assert np.array_equal(frame.array, array)
        assert frame.array.dtype == array.dtype
        assert frame.array.dtype.isnative
        assert frame.array.flags.writeable
        assert frame.value_kind == "stored"
        assert (image.rows, image.columns, image.number_of_frames) == (*shape, 1)


@pytest.mark.parametrize("syntax", ["implicit", "little", "big"])
@pytest.mark.parametrize("dtype", ["u1", "i2"])
@pytest.mark.parametrize("shape", [(4, 5, 7), (3, 3, 3), (1, 2, 2)])
def test_frames_are_read_one_by_one(make_dataset, as_file, syntax, dtype, shape):
    array = _random(np.dtype(dtype), shape)
    image = open_dicom(as_file(make_dataset(array, syntax=syntax, frames=shape[0])))
    assert image.number_of_frames == shape[0]
    for number in range(1, shape[0] + 1):
        assert np.array_equal(image.frame(number).array, array[number - 1])
    for number in (0, -1, shape[0] + 1):
        with pytest.raises(PixelInputRefusedError, match=f"1 to {shape[0]}"):
            image.frame(number)


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("shape", [(4, 6), (3, 3)])
def test_8_bits_in_words_of_big_endian(make_dataset, as_file, frames, shape):
    array = _random(np.uint8, (frames, *shape))
    data = array.tobytes() + b"\0" * (array.size % 2)
    swapped = np.frombuffer(data, np.uint16).byteswap().tobytes()
    dataset = make_dataset(array, syntax="big", frames=frames, pixel_bytes=swapped)
    dataset["PixelData"].VR = "OW"
    image = open_dicom(as_file(dataset))
    for index in range(frames):
        assert np.array_equal(image.frame(index + 1).array, array[index])


@pytest.mark.parametrize("syntax", ["little", "big"])
@pytest.mark.parametrize(("dtype", "bits"), [("u2", 12), ("i2", 12), ("u1", 5), ("i4", 20)])
def test_unused_high_bits_say_nothing(make_dataset, as_file, syntax, dtype, bits):
    stored = _random(np.dtype(dtype), (7, 9))
    signed = np.dtype(dtype).kind == "i"
    want = stored.astype(np.int64) & ((1 << bits) - 1)
    if signed:
        want = np.where(want >= 1 << (bits - 1), want - (1 << bits), want)
    image = open_dicom(as_file(make_dataset(stored, syntax=syntax, bits_stored=bits)))
    assert (image.bits_allocated, image.bits_stored) == (stored.itemsize * 8, bits)
    assert image.signed is signed
    assert np.array_equal(image.frame(1).array, want)


@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize("syntax", ["implicit", "little", "big"])
def test_rgb(make_dataset, as_file, planar, syntax):
    array = _random(np.uint8, (2, 4, 6, 3))
    stored = np.moveaxis(array, 3, 1) if planar else array
    dataset = make_dataset(
        array, syntax=syntax, photometric="RGB", frames=2, pixel_bytes=stored.tobytes()
    )
    dataset.PlanarConfiguration = planar
    image = open_dicom(as_file(dataset))
    assert image.photometric == "RGB"
    for index in range(2):
        frame = image.frame(index + 1)
        assert frame.color == "RGB"
        assert np.array_equal(frame.array, array[index])


def test_the_facts(make_dataset, as_file):
    dataset = make_dataset(
        np.zeros((4, 4), np.uint16),
        photometric="MONOCHROME1",
        PixelSpacing=[0.5, 0.75],
        PresentationIntentType="FOR PRESENTATION",
        Modality="MG",
    )
    image = open_dicom(as_file(dataset))
    assert image.modality == "MG"
    assert image.photometric == image.frame(1).color == "MONOCHROME1"
    assert image.transfer_syntax == "Explicit VR Little Endian"
    assert image.sop_class_uid.endswith("1.4")
    assert image.sop_instance_uid == "1.2.3.4.5"
    assert image.presentation_intent == "FOR PRESENTATION"
    assert image.spacing_mm == image.frame(1).spacing_mm == (0.5, 0.75)
    assert "1.2.3.4.5" not in repr(image)


@pytest.mark.parametrize("spacing", [[0, 0], None])
def test_a_spacing_that_says_nothing_is_none(make_dataset, as_file, spacing):
    dataset = make_dataset(np.zeros((4, 4), np.uint16), PixelSpacing=spacing)
    image = open_dicom(as_file(dataset))
    assert image.spacing_mm is None
    assert image.presentation_intent is None


def test_the_source_dataset_is_not_changed(make_dataset):
    dataset = make_dataset(RNG.integers(0, 9, (3, 4, 4)).astype(np.uint16), frames=3)
    before = str(dataset)
    image = open_dicom(dataset)
    image.frame(2).array[:] = 0
    assert str(dataset) == before
    assert image.frame(2).array.any()


# Modality LUT


@pytest.mark.parametrize(
    ("modality", "unit", "units"),
    [
        ("CT", None, "HU"),
        ("CT", "HU", "HU"),
        ("CT", "US", None),
        ("CT", "HU_MOD", None),
        ("MR", None, None),
        ("MR", "US", None),
    ],
)
def test_slope_and_intercept(make_dataset, as_file, modality, unit, units):
    array = _random(np.int16, (5, 5))
    dataset = make_dataset(array, Modality=modality, RescaleSlope="1.5", RescaleIntercept="-1024")
    if unit:
        dataset.RescaleType = unit
    lut = open_dicom(as_file(dataset)).frame(1).modality_lut
    assert np.array_equal(lut.apply(array), array * 1.5 - 1024)
    assert lut.units == units


def test_no_slope_is_the_identity_and_no_hounsfield_units(make_dataset, as_file):
    array = _random(np.int16, (5, 5))
    lut = open_dicom(as_file(make_dataset(array, Modality="CT"))).frame(1).modality_lut
    assert np.array_equal(lut.apply(array), array)
    assert lut.units is None


@pytest.mark.parametrize("syntax", ["implicit", "little", "big"])
@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("representation", ["US", "OW"])
@pytest.mark.parametrize(("dtype", "first"), [(np.uint8, 3), (np.int16, -40), (np.uint16, 60000)])
def test_a_table(make_dataset, as_file, syntax, bits, representation, dtype, first):
    entries = RNG.integers(0, 1 << bits, 80).astype(np.uint16)
    array = np.arange(first - 20, first + 100).reshape(10, 12)
    array = np.clip(array, np.iinfo(dtype).min, np.iinfo(dtype).max).astype(dtype)
    dataset = make_dataset(array, syntax=syntax)
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [80, first, bits])
    if representation == "US":
        item.add_new("LUTData", "US", entries.tolist())
    else:
        item.add_new("LUTData", "OW", entries.astype(">u2" if syntax == "big" else "<u2").tobytes())
    item.ModalityLUTType = "US"
    dataset.ModalityLUTSequence = Sequence([item])
    lut = open_dicom(as_file(dataset)).frame(1).modality_lut
    want = entries[np.clip(array.astype(int) - first, 0, 79)]
    assert np.array_equal(lut.apply(array), want)


def test_a_negative_first_value_that_was_written_as_unsigned(make_dataset, as_file):
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [4, 65534, 16])  # -2
    item.add_new("LUTData", "US", [10, 20, 30, 40])
    array = np.arange(-4, 4, dtype=np.int16).reshape(2, 4)
    lut = open_dicom(as_file(make_dataset(array, ModalityLUTSequence=Sequence([item]))))
    got = lut.frame(1).modality_lut.apply(array)
    assert got.tolist() == [[10, 10, 10, 20], [30, 40, 40, 40]]


def test_a_table_of_bytes(make_dataset, as_file):
    entries = RNG.integers(0, 256, 33).astype(np.uint8)
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [33, 0, 8])
    item.add_new("LUTData", "OW", entries.tobytes() + b"\0")
    item.ModalityLUTType = "US"
    array = np.arange(40, dtype=np.uint8).reshape(5, 8)
    dataset = make_dataset(array, ModalityLUTSequence=Sequence([item]))
    lut = open_dicom(as_file(dataset)).frame(1).modality_lut
    assert np.array_equal(lut.apply(array), entries[np.minimum(array, 32)])


def test_per_frame_groups_come_before_shared_ones_and_those_before_the_object(
    make_dataset, as_file
):
    array = _random(np.uint16, (3, 4, 4))
    dataset = make_dataset(array, frames=3, RescaleSlope=9, RescaleIntercept=9, PixelSpacing=[9, 9])

    def transform(slope: int, intercept: int) -> Sequence:
        return Sequence([_item(RescaleSlope=slope, RescaleIntercept=intercept, RescaleType="US")])

    dataset.SharedFunctionalGroupsSequence = Sequence(
        [
            _item(
                PixelValueTransformationSequence=transform(2, -1),
                PixelMeasuresSequence=Sequence([_item(PixelSpacing=[0.5, 0.25])]),
            )
        ]
    )
    dataset.PerFrameFunctionalGroupsSequence = Sequence(
        [
            _item(PixelValueTransformationSequence=transform(3, 100)),
            _item(PixelMeasuresSequence=Sequence([_item(PixelSpacing=[0.7, 0.8])])),
            _item(),
        ]
    )
    image = open_dicom(as_file(dataset))
    frames = [image.frame(number) for number in (1, 2, 3)]
    assert [frame.spacing_mm for frame in frames] == [(0.5, 0.25), (0.7, 0.8), (0.5, 0.25)]
    for frame, (slope, intercept) in zip(frames, [(3, 100), (2, -1), (2, -1)], strict=True):
        want = frame.array.astype(float) * slope + intercept
        assert np.array_equal(frame.modality_lut.apply(frame.array), want)

    del dataset.SharedFunctionalGroupsSequence
    last = open_dicom(as_file(dataset)).frame(3)
    assert (last.modality_lut.slope, last.spacing_mm) == (9, (9, 9))


def test_too_few_per_frame_groups_are_refused(make_dataset, as_file):
    dataset = make_dataset(np.zeros((3, 4, 4), np.uint8), frames=3)
    dataset.PerFrameFunctionalGroupsSequence = Sequence([Dataset(), Dataset()])
    with pytest.raises(PixelInputUnreadableError, match="2 items"):
        open_dicom(as_file(dataset))


# Compressed


def _rle(make_dataset: Any, array: NDArray[Any], **more: Any) -> Any:
    dataset = make_dataset(array, **more)
    dataset.compress(RLE, encoding_plugin="pydicom")
    return dataset


@pytest.mark.parametrize("dtype", [np.uint8, np.int16])
def test_rle_needs_no_other_package(make_dataset, as_file, dtype):
    array = _random(dtype, (3, 8, 6))
    image = open_dicom(as_file(_rle(make_dataset, array, frames=3)))
    assert image.transfer_syntax == "RLE Lossless"
    for index in range(3):
        assert np.array_equal(image.frame(index + 1).array, array[index])


def test_rle_in_colour(make_dataset, as_file):
    array = _random(np.uint8, (8, 6, 3))
    image = open_dicom(as_file(_rle(make_dataset, array, photometric="RGB")))
    assert np.array_equal(image.frame(1).array, array)


def _encapsulated(
    make_dataset: Any,
    syntax: str,
    frames: tuple[bytes, ...] = (b"\1" * 20,),
    array: NDArray[Any] | None = None,
) -> Any:
    array = np.zeros((8, 8), np.uint16) if array is None else array
    dataset = make_dataset(array, syntax=syntax)
    dataset.PixelData = encapsulate(list(frames))
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    return dataset


def test_a_frame_that_is_no_codestream_is_unreadable(make_dataset, as_file):
    image = open_dicom(as_file(_encapsulated(make_dataset, "1.2.840.10008.1.2.4.90")))
    with pytest.raises(PixelInputUnreadableError, match="header of a compressed frame"):
        image.frame(1)


def test_a_compressed_frame_of_another_size_is_unreadable(make_dataset, as_file):
    buffer = BytesIO()
    Image.fromarray(np.zeros((16, 16), np.uint8)).save(buffer, format="JPEG")
    dataset = _encapsulated(
        make_dataset, "1.2.840.10008.1.2.4.50", (buffer.getvalue(),), np.zeros((8, 8), np.uint8)
    )
    with pytest.raises(PixelInputUnreadableError):
        open_dicom(as_file(dataset)).frame(1)


def test_rle_that_unfolds_to_more_than_its_header_is_refused(make_dataset, as_file):
    dataset = _encapsulated(make_dataset, RLE, (b"\1" * 9000,))
    with pytest.raises(PixelInputUnreadableError, match="of RLE"):
        open_dicom(as_file(dataset))


# Refusals


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"PhotometricInterpretation": "YBR_PARTIAL_420"}, "YBR_PARTIAL_420"),
        ({"PhotometricInterpretation": "HSV"}, "HSV"),
        ({"PhotometricInterpretation": "SECRET"}, "no defined term"),
        ({"BitsAllocated": 64}, "BitsAllocated 64"),
        ({"HighBit": 14}, "HighBit"),
    ],
)
def test_what_this_release_does_not_read_is_refused(make_dataset, as_file, change, words):
    dataset = make_dataset(np.zeros((4, 4), np.uint16))
    for keyword, value in change.items():
        setattr(dataset, keyword, value)
    with pytest.raises(PixelInputRefusedError, match=words) as caught:
        open_dicom(as_file(dataset))
    assert "SECRET" not in str(caught.value)


def test_colour_of_16_bits_is_refused(make_dataset, as_file):
    dataset = make_dataset(np.zeros((4, 4, 3), np.uint16), photometric="RGB")
    with pytest.raises(PixelInputRefusedError, match="RGB"):
        open_dicom(as_file(dataset))


@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize("syntax", ["implicit", "little", "big"])
@pytest.mark.parametrize("shape", [(4, 6), (5, 3), (1, 1), (3, 7)])
def test_ybr_full(make_dataset, as_file, planar, syntax, shape):
    array = _random(np.uint8, (2, *shape, 3))
    stored = np.moveaxis(array, 3, 1) if planar else array
    dataset = make_dataset(
        array, syntax=syntax, photometric="RGB", frames=2, pixel_bytes=stored.tobytes()
    )
    dataset.PhotometricInterpretation, dataset.PlanarConfiguration = "YBR_FULL", planar
    image = open_dicom(as_file(dataset))
    assert image.photometric == "YBR_FULL"
    for index in range(2):
        frame = image.frame(index + 1)
        assert (frame.color, frame.decoder) == ("RGB", "medsdk")
        assert np.array_equal(frame.array, convert_color_space(array[index], "YBR_FULL", "RGB"))


@pytest.mark.parametrize("syntax", ["implicit", "little", "big"])
@pytest.mark.parametrize(("rows", "columns"), [(4, 6), (3, 2), (5, 10)])
def test_ybr_full_422(make_dataset, as_file, syntax, rows, columns):
    stored = _random(np.uint8, (2, rows, columns // 2, 4))
    array = np.zeros((2, rows, columns, 3), np.uint8)
    array[..., 0] = stored[..., :2].reshape(2, rows, columns)
    array[..., 1:] = np.repeat(stored[..., 2:], 2, axis=2)
    dataset = make_dataset(
        array, syntax=syntax, photometric="RGB", frames=2, pixel_bytes=stored.tobytes()
    )
    dataset.PhotometricInterpretation = "YBR_FULL_422"
    data = as_file(dataset)
    image = open_dicom(data)
    for index in range(2):
        want = convert_color_space(array[index], "YBR_FULL", "RGB")
        assert np.array_equal(image.frame(index + 1).array, want)
    dataset.Columns = 5
    with pytest.raises(PixelInputRefusedError, match="odd number of columns"):
        open_dicom(as_file(dataset))


def test_float_pixels_are_refused(make_dataset, as_file):
    dataset = make_dataset(np.zeros((4, 4), np.uint16))
    del dataset.PixelData
    dataset.FloatPixelData = b"\0" * 64
    with pytest.raises(PixelInputRefusedError, match="FloatPixelData"):
        open_dicom(as_file(dataset))


def _deflated(make_dataset: Any, array: NDArray[Any]) -> bytes:
    dataset = make_dataset(array, syntax=DEFLATED)
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def test_a_deflated_object_is_inflated(make_dataset):
    array = _random(np.uint16, (40, 50))
    image = open_dicom(_deflated(make_dataset, array))
    assert image.transfer_syntax == "Deflated Explicit VR Little Endian"
    assert np.array_equal(image.frame(1).array, array)
    assert image.frame(1).decoder == "medsdk"
    assert image.text("PatientName") == "Doe^Jane"


def test_a_deflated_object_cannot_be_a_bomb(make_dataset):
    data = _deflated(make_dataset, np.zeros((3000, 3000), np.uint16))
    assert len(data) < 40_000
    assert open_dicom(data).rows == 3000
    limits = DicomLimits(inflated_bytes=17_000_000)
    with pytest.raises(PixelInputUnreadableError, match="inflated") as caught:
        open_dicom(data, limits=limits)
    assert "17000001 bytes" in caught.value.got  # no more than one byte beyond was inflated
    for broken in (data[:-20], data[:400] + b"\xff" * 40 + data[440:]):
        with pytest.raises(PixelInputUnreadableError):
            open_dicom(broken)


@pytest.mark.parametrize("source", [None, 7, np.zeros((3, 3)), ["a.dcm"]])
def test_a_source_of_another_type_is_refused(source):
    with pytest.raises(PixelInputRefusedError, match=type(source).__name__):
        open_dicom(source)


def test_limits_come_before_the_pixels(make_dataset, as_file, tmp_path):
    array = np.zeros((2, 10, 10), np.uint16)
    data = as_file(make_dataset(array, frames=2))
    path = tmp_path / "image.dcm"
    path.write_bytes(data)
    for source in (data, path):
        with pytest.raises(PixelInputUnreadableError, match="the file"):
            open_dicom(source, limits=DicomLimits(file_bytes=len(data) - 1))
    with pytest.raises(PixelInputUnreadableError, match="a frame"):
        open_dicom(data, limits=DicomLimits(frame_bytes=199))
    with pytest.raises(PixelInputUnreadableError, match="the decoded image"):
        open_dicom(data, limits=DicomLimits(decoded_bytes=399))
    exact = DicomLimits(file_bytes=len(data), frame_bytes=200, decoded_bytes=400)
    assert isinstance(open_dicom(Path(path), limits=exact).frame(2), Frame)
