"""Text in the character sets of DICOM: read without loss, or refused; never shown."""

import logging
import warnings
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.data import get_charset_files

from medsdk.pixels import open_dicom
from medsdk.pixels.errors import PixelInputRefusedError, PixelInputUnreadableError

KANJI, KANA, HIRAGANA = "山田^太郎", "ﾔﾏﾀﾞ^ﾀﾛｳ", "やまだ^たろう"
DESCRIPTION = "肝臓 ﾁｮｳｵﾝﾊﾟ 腹部"


@pytest.fixture
def with_text(make_dataset, as_file):
    def make(character_set, **attributes):
        dataset = make_dataset(np.zeros((4, 4), np.uint8))
        if character_set is not None:
            dataset.SpecificCharacterSet = character_set
        for keyword, value in attributes.items():
            setattr(dataset, keyword, value)
        return as_file(dataset)

    return make


@pytest.mark.parametrize(
    "character_set",
    [
        ["", "ISO 2022 IR 87"],
        ["ISO 2022 IR 6", "ISO 2022 IR 87"],
        ["ISO 2022 IR 13", "ISO 2022 IR 87"],
        ["ISO 2022 IR 13", "ISO 2022 IR 87", "ISO 2022 IR 159"],
        "ISO_IR 192",
        "GB18030",
    ],
)
def test_japanese_as_pydicom_writes_it(with_text, character_set):
    kana = "ISO 2022 IR 13" in character_set or isinstance(character_set, str)
    name = f"{KANA if kana else 'Yamada^Tarou'}={KANJI}={HIRAGANA}"
    description = DESCRIPTION if kana else "肝臓 腹部"
    image = open_dicom(
        with_text(
            character_set,
            PatientName=name,
            SeriesDescription=description,
            ImageComments=f"一行目\r\n{description}\r\n表\\能",
            OtherPatientNames=[name, "Doe^Jane"],
        )
    )
    assert image.text("PatientName") == name
    assert image.text("SeriesDescription") == description
    assert image.text("ImageComments") == f"一行目\r\n{description}\r\n表\\能"
    assert image.text("OtherPatientNames") == f"{name}\\Doe^Jane"
    assert image.text("Modality") == "MR"
    assert image.text("StudyDescription") == ""


# PS3.5 annex H, examples 1 to 3, byte by byte.
EXAMPLE_1 = b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B"
EXAMPLE_2 = (
    b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J="
    b"\x1b$B$d$^$@\x1b(J^\x1b$B$?$m$&\x1b(J"
)


def test_the_examples_of_the_standard(with_text):
    def read(character_set: Any, stored: bytes) -> str:
        data: bytes = with_text(character_set, PatientName="X" * len(stored))
        at = data.index(b"X" * len(stored))
        data = data[:at] + stored + data[at + len(stored) :]
        return open_dicom(data).text("PatientName")

    want = f"{KANJI}={HIRAGANA}"
    assert read(["", "ISO 2022 IR 87"], EXAMPLE_1) == f"Yamada^Tarou={want}"
    assert read(["ISO 2022 IR 13", "ISO 2022 IR 87"], EXAMPLE_2) == f"{KANA}={want}"
    korean = b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7"
    korean += b"=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf"
    assert read(["", "ISO 2022 IR 149"], korean) == "Hong^Gildong=洪^吉洞=홍^길동"


@pytest.mark.parametrize(
    ("character_set", "stored"),
    [
        # Latin alphabet No. 9 (PS3.3 table C.12-2), which pydicom does not know: 0xA4 is the euro.
        ("ISO_IR 203", b"5 \xa4 \xbd\xa6"),
        ("ISO 2022 IR 203", b"5 \xa4 \xbd\xa6"),
        # With code extensions (table C.12-3) by ESC 02/13 06/02.
        (["ISO 2022 IR 100", "ISO 2022 IR 203"], b"5 \x1b-b\xa4 \xbd\xa6"),
    ],
)
def test_latin_9(with_text, character_set, stored):
    size = len(stored) + len(stored) % 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = with_text(character_set, SeriesDescription="X" * size)
    image = open_dicom(data.replace(b"X" * size, stored.ljust(size)))
    assert image.text("SeriesDescription") == "5 \N{EURO SIGN} \u0153\u0160"


@pytest.mark.parametrize("read_before", [False, True])
@pytest.mark.parametrize("character_set", ["ISO_IR 192", "ISO_IR 126"])
def test_a_replacement_character_of_pydicom_is_an_error(with_text, read_before, character_set):
    data = with_text(
        character_set, SeriesDescription="XX", PatientName="XX", StudyDescription="Ωμέγα"
    )
    # Neither UTF-8 nor Greek of ISO 8859-7 has these.
    data = data.replace(b"XX", b"\xff\xd2")
    source = pydicom.dcmread(pydicom.filebase.DicomBytesIO(data))
    if read_before:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert "\ufffd" in source.SeriesDescription
            assert "\ufffd" in str(source.PatientName)
            assert str(source.StudyDescription) == "Ωμέγα"
    image = open_dicom(source)
    for keyword in ("SeriesDescription", "PatientName"):
        with pytest.raises(PixelInputUnreadableError, match=keyword):
            image.text(keyword)
    assert image.text("StudyDescription") == "Ωμέγα"


@pytest.mark.parametrize("path", get_charset_files("chr*.dcm"), ids=lambda path: path[-12:])
def test_pydicoms_own_files(path, make_dataset, as_file):
    source = pydicom.dcmread(path)
    if "PatientName" not in source:
        pytest.skip("its text is in a sequence")
    # Some of them have no pixels: their text goes into an object that has.
    dataset = make_dataset(np.zeros((4, 4), np.uint8))
    for keyword in ("SpecificCharacterSet", "PatientName"):
        dataset[keyword] = source.get_item(keyword)
    image = open_dicom(as_file(dataset))
    assert image.text("PatientName") == str(source.PatientName)
    assert "\ufffd" not in image.text("PatientName")


@pytest.mark.parametrize(
    ("character_set", "stored"),
    [
        (None, b"K\xe4se"),  # no character set says what 0xE4 is
        ("ISO_IR 192", b"\xe5\xb1"),
        ("ISO_IR 192", b"\x8e\x52\x93\x63"),  # Shift JIS
        ("ISO 2022 IR 13", b"\x8e\x52\x93\x63"),
        (["", "ISO 2022 IR 87"], b"\x1b$B;3E\x1b(B"),
        (["", "ISO 2022 IR 87"], b"\x1b$B\x21\x01\x1b(B"),
        (["", "ISO 2022 IR 87"], b"\x1b$)C\xfb\xf3"),  # Korean is not announced
        (["", "ISO 2022 IR 87"], b"\x1b%Gabc"),
        (["", "ISO 2022 IR 87"], b"ab\x1b"),
        ("ISO_IR 999", b"abc"),
        (["", "ISO_IR 999"], b"abc"),
    ],
)
def test_bytes_that_are_no_text_are_an_error(with_text, character_set, stored):
    size = len(stored) + len(stored) % 2
    data = with_text(None, SeriesDescription="X" * size)
    if character_set is not None:
        dataset = pydicom.dcmread(pydicom.filebase.DicomBytesIO(data))
        dataset.SeriesDescription = "X" * size
        dataset.add_new("SpecificCharacterSet", "CS", character_set)
        buffer = pydicom.filebase.DicomBytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of character sets that do not exist
            dataset.save_as(buffer, enforce_file_format=True)
        data = buffer.getvalue()
    assert data.count(b"X" * size) == 1
    image = open_dicom(data.replace(b"X" * size, stored.ljust(size)))
    with pytest.raises(PixelInputUnreadableError, match="SeriesDescription") as caught:
        image.text("SeriesDescription")
    assert "SpecificCharacterSet" in caught.value.got
    assert image.text("Modality") == "MR"
    image.frame(1)


@pytest.mark.parametrize("keyword", ["Rows", "PixelData", "NoSuchThing", "", "SOPInstanceUID"])
def test_what_is_no_text_is_refused(with_text, keyword):
    with pytest.raises(PixelInputRefusedError, match="no text attribute"):
        open_dicom(with_text(None)).text(keyword)


def test_a_dataset_in_memory_is_read_too(make_dataset):
    dataset = make_dataset(np.zeros((4, 4), np.uint8))
    dataset.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
    dataset.PatientName = f"Yamada^Tarou={KANJI}"
    dataset.SeriesDescription = "肝臓"
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    image = open_dicom(dataset)
    assert image.text("PatientName") == f"Yamada^Tarou={KANJI}"
    assert image.text("SeriesDescription") == "肝臓"
    assert image.text("ImageType") == "ORIGINAL\\PRIMARY"


def test_text_is_in_no_representation_and_no_log(with_text, caplog, capsys):
    caplog.set_level(logging.DEBUG)
    image = open_dicom(with_text("ISO_IR 192", PatientName=f"CANARY={KANJI}", PatientID="CANARY"))
    assert image.text("PatientID") == "CANARY"
    said = capsys.readouterr()
    for text in (repr(image), repr(image.frame(1)), caplog.text, said.out, said.err):
        assert "CANARY" not in text
        assert "山" not in text
