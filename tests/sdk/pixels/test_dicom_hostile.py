"""Broken and hostile input: one kind of error, no values of the object in any text."""

import logging
import threading
import traceback
import warnings
from io import BytesIO
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import RLELossless

from medsdk.pixels import DicomImage, Frame, open_dicom
from medsdk.pixels._quiet import reading
from medsdk.pixels.errors import PixelInputUnreadableError
from medsdk_runtimes.errors import MedsdkError

CANARY = "CANARYPATIENT"
CANARY_UID = "1.2.826.0.1.987654321.13"


@pytest.fixture
def nothing_leaks(caplog, capfd, recwarn):
    """No text that leaves the code may hold a canary."""
    pydicom.config.debug(True)
    caplog.set_level(logging.DEBUG)
    errors: list[MedsdkError] = []
    yield errors
    pydicom.config.debug(False)
    texts = [caplog.text, *capfd.readouterr(), *(str(item.message) for item in recwarn)]
    for error in errors:
        texts += [str(error), repr(error), repr(error.args), *traceback.format_exception(error)]
        texts += [error.what, error.got, error.expected, error.remedy]
    for text in texts:
        assert "CANARY" not in text
        assert "987654321" not in text


@pytest.fixture
def canary(make_dataset, as_file):
    """A file whose values are canaries wherever a name, an identifier or free text goes."""

    def make(array=None, **attributes):
        if array is None:
            array = np.arange(64, dtype=np.uint16).reshape(8, 8)
        dataset = make_dataset(array, RescaleSlope=2, RescaleIntercept=-1, PixelSpacing=[1, 1])
        dataset.PatientName = f"{CANARY}^NAME"
        dataset.PatientID = f"{CANARY}ID"
        dataset.AccessionNumber = CANARY
        dataset.StudyDescription = f"{CANARY} STUDY"
        dataset.ReferringPhysicianName = CANARY
        dataset.StudyInstanceUID = dataset.SeriesInstanceUID = CANARY_UID
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = CANARY_UID
        dataset.ReferencedImageSequence = Sequence([Dataset(), Dataset()])
        dataset.ReferencedImageSequence[0].ReferencedSOPInstanceUID = CANARY_UID
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for keyword, value in attributes.items():
                if value is None:
                    delattr(dataset, keyword)
                elif isinstance(value, tuple):
                    dataset.add_new(keyword, *value)
                else:
                    setattr(dataset, keyword, value)
            return as_file(dataset)

    return make


def _read_all(source: Any) -> list[Frame]:
    image = open_dicom(source)
    return [image.frame(number + 1) for number in range(image.number_of_frames)]


def _refused(
    source: Any, errors: list[MedsdkError], kind: type[MedsdkError] = MedsdkError
) -> MedsdkError:
    with pytest.raises(kind) as caught:
        _read_all(source)
    errors.append(caught.value)
    return caught.value


def test_every_truncation_is_unreadable(canary, nothing_leaks):
    data = canary()
    end = data.index(np.arange(64, dtype=np.uint16).tobytes()) + 128
    assert end == len(data)
    for length in range(end):
        error = _refused(data[:length], nothing_leaks, PixelInputUnreadableError)
        assert error.exit_status == 4
        assert error.remedy


@pytest.mark.parametrize("encapsulated", [False, True])
def test_every_truncation_is_unreadable_where_a_modality_is_asked_for(
    make_dataset, as_file, encapsulated
):
    dataset = make_dataset(np.arange(64, dtype=np.uint16).reshape(8, 8))
    if encapsulated:
        dataset.compress(RLELossless, encoding_plugin="pydicom")
    data = as_file(dataset)
    end = data.index(b"\xfe\xff\xdd\xe0") if encapsulated else len(data)
    assert open_dicom(data, modalities=("MR",)).rows == 8
    for length in range(end):
        with pytest.raises(PixelInputUnreadableError):
            open_dicom(data[:length], modalities=("MR",)).frame(1)


@pytest.mark.parametrize("seed", range(4))
def test_flipped_bytes_give_an_image_or_one_of_our_errors(canary, nothing_leaks, seed):
    data = canary()
    rng = np.random.default_rng(seed)
    for _ in range(150):
        broken = bytearray(data)
        for position in rng.integers(132, len(data) - 128, rng.integers(1, 6)):
            broken[position] = rng.integers(0, 256)
        try:
            frames = _read_all(bytes(broken))
        except MedsdkError as error:
            nothing_leaks.append(error)
        else:
            assert all(frame.array.ndim == 2 for frame in frames)


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"PixelData": None}, "no PixelData"),
        ({"Rows": None}, "Rows"),
        ({"Rows": 0}, "Rows"),
        ({"Columns": 9}, "128 bytes in PixelData"),
        ({"Columns": 4}, "128 bytes in PixelData"),
        ({"Rows": ("US", [8, 8])}, "Rows"),
        ({"NumberOfFrames": 0}, "at least one frame"),
        ({"NumberOfFrames": -1}, "NumberOfFrames"),
        ({"NumberOfFrames": ("LO", CANARY)}, "NumberOfFrames"),
        ({"NumberOfFrames": ("DS", "1.5")}, "NumberOfFrames"),
        ({"NumberOfFrames": 3}, "384 bytes"),
        ({"BitsStored": 17}, "BitsStored"),
        ({"BitsAllocated": None}, "BitsAllocated"),
        ({"PixelRepresentation": 2}, "PixelRepresentation"),
        ({"SamplesPerPixel": 3}, "SamplesPerPixel"),
        ({"PhotometricInterpretation": ("CS", CANARY)}, "PhotometricInterpretation"),
        ({"PhotometricInterpretation": None}, "PhotometricInterpretation"),
        ({"RescaleSlope": ("LO", CANARY)}, "RescaleSlope"),
        ({"RescaleSlope": ("LO", "nan")}, "RescaleSlope"),
        ({"RescaleSlope": 0}, "RescaleSlope"),
        ({"RescaleIntercept": None}, "RescaleIntercept"),
        ({"PixelSpacing": ("LO", [CANARY, "1"])}, "PixelSpacing"),
        ({"ModalityLUTSequence": ("LO", CANARY)}, "LUT"),
        ({"ModalityLUTSequence": [Dataset()]}, "LUTDescriptor"),
        ({"SharedFunctionalGroupsSequence": ("LO", CANARY)}, "FunctionalGroups|Pixel"),
    ],
)
def test_wrong_attributes_are_named_and_never_quoted(canary, nothing_leaks, attributes, words):
    error = _refused(canary(**attributes), nothing_leaks)
    assert any(word in str(error) for word in words.split("|")), str(error)


@pytest.mark.parametrize(
    ("descriptor", "data"),
    [
        ([4, 0, 16], [1, 2, 3]),
        ([4, 0, 99], [1, 2, 3, 4]),
        ([4, 0], [1, 2, 3, 4]),
        ([0, 0, 16], [1, 2]),
    ],
)
def test_a_table_that_does_not_fit_is_unreadable(canary, nothing_leaks, descriptor, data):
    item = Dataset()
    item.add_new("LUTDescriptor", "US", descriptor)
    item.add_new("LUTData", "US", data)
    error = _refused(canary(ModalityLUTSequence=[item]), nothing_leaks, PixelInputUnreadableError)
    assert "LUT" in str(error)


def test_a_header_of_ten_gigabytes_allocates_nothing(canary, nothing_leaks, monkeypatch):
    data = canary(Rows=50000, Columns=50000, NumberOfFrames=2)
    monkeypatch.setattr(np, "empty", None)
    monkeypatch.setattr(np, "frombuffer", None)
    error = _refused(data, nothing_leaks, PixelInputUnreadableError)
    assert "5000000000 bytes" in str(error)


def test_two_frames_of_data_in_an_object_of_one_are_refused(canary, nothing_leaks):
    data = canary(PixelData=bytes(256))
    _refused(data, nothing_leaks, PixelInputUnreadableError)
    padded = open_dicom(canary(PixelData=np.arange(64, dtype=np.uint16).tobytes() + bytes(126)))
    assert np.array_equal(padded.frame(1).array.ravel(), np.arange(64))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"%PDF-1.7\n" + b"\0" * 500,
        b"DICM",
        b"\0" * 128 + b"DICM",
        b"\0" * 128 + b"DICM" + b"\xff" * 400,
        b"\x89PNG" + bytes(range(256)) * 4,
    ],
)
def test_files_of_another_kind_are_unreadable(nothing_leaks, tmp_path, data):
    path = tmp_path / f"{CANARY}.dcm"
    path.write_bytes(data)
    for source in (data, path, str(path)):
        assert _refused(source, nothing_leaks).exit_status == 4


def test_paths_that_cannot_be_opened_are_not_repeated(nothing_leaks, tmp_path):
    directory = tmp_path / f"{CANARY}.dcm"
    directory.mkdir()
    for path in (directory, tmp_path / CANARY, f"{CANARY}\0", tmp_path / CANARY / "x"):
        assert _refused(path, nothing_leaks, PixelInputUnreadableError).exit_status == 4


def test_deep_nesting_is_unreadable_and_does_not_overflow(canary, nothing_leaks):
    start = canary(PixelData=None)
    deep = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 5000
    _refused(start + deep, nothing_leaks, PixelInputUnreadableError)


def test_an_unknown_transfer_syntax_is_not_repeated(canary, nothing_leaks):
    data = canary()
    size = len(CANARY_UID) + len(CANARY_UID) % 2
    syntax = CANARY_UID.encode().ljust(size, b"\0")
    old = b"\x02\x00\x10\x00UI\x14\x001.2.840.10008.1.2.1\0"
    assert old in data
    new = b"\x02\x00\x10\x00UI" + bytes([size, 0]) + syntax
    error = _refused(data.replace(old, new), nothing_leaks)
    assert error.exit_status == 2


def test_a_good_object_speaks_of_nothing(canary, nothing_leaks):
    # A name with bytes outside its character set makes pydicom warn and log.
    image = open_dicom(canary(PatientName=("PN", f"{CANARY}\u00e9"), RescaleType="X" * 20))
    assert isinstance(image, DicomImage)
    assert "CANARY" not in repr(image)
    assert "987654321" not in repr(image)
    assert image.sop_instance_uid == CANARY_UID


def test_a_dataset_without_a_transfer_syntax_is_unreadable(make_dataset):
    dataset = make_dataset(np.zeros((4, 4), np.uint8))
    del dataset.file_meta
    with pytest.raises(PixelInputUnreadableError, match="TransferSyntaxUID"):
        open_dicom(dataset)
    with pytest.raises(PixelInputUnreadableError, match="TransferSyntaxUID"):
        open_dicom(Dataset())


@pytest.mark.parametrize("value", [None, b"", 7])
def test_a_dataset_whose_pixels_are_no_bytes_is_unreadable(make_dataset, value):
    dataset = make_dataset(np.zeros((4, 4), np.uint8))
    dataset["PixelData"]._value = value
    with pytest.raises(PixelInputUnreadableError, match="holds no pixels"):
        open_dicom(dataset)


def test_a_dataset_whose_pixels_are_a_buffer_is_unreadable(make_dataset):
    dataset = make_dataset(np.zeros((4, 4), np.uint8))
    dataset.PixelData = BytesIO(bytes(16))
    with pytest.raises(PixelInputUnreadableError, match="holds no pixels"):
        open_dicom(dataset)


def test_only_the_reading_thread_is_quiet(caplog):
    logger = logging.getLogger("pydicom")
    seen = []

    def other():
        logger.warning("from another thread")
        try:
            warnings.warn("from another thread", stacklevel=1)  # an error, as this suite has it
        except UserWarning as warning:
            seen.append(str(warning))

    with reading("something"), reading("something inside"):
        warnings.warn("from this thread", stacklevel=1)
        logger.warning("from this thread")
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert seen == ["from another thread"]
    assert [record.message for record in caplog.records] == ["from another thread"]
    with pytest.warns(UserWarning, match="afterwards"):
        warnings.warn("afterwards", stacklevel=1)
    logger.warning("afterwards")
    assert caplog.records[-1].message == "afterwards"


def test_filters_do_not_pile_up():
    for _ in range(5):
        with reading("something"):
            pass
        warnings.simplefilter("ignore", ResourceWarning)
    before = len(warnings.filters)
    with reading("something"):
        pass
    assert len(warnings.filters) == before


def test_many_threads_read_at_once(canary):
    data = canary(PatientName=("PN", f"{CANARY}\u00e9"))
    want = open_dicom(data).frame(1).array
    wrong = []

    def read():
        for _ in range(20):
            try:
                if not np.array_equal(open_dicom(data).frame(1).array, want):
                    wrong.append("values")
            except Exception as error:  # noqa: BLE001  # reported below
                wrong.append(repr(error))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
