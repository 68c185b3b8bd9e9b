"""Calibration images and cases: what is refused, in words that name no value and no path."""

from __future__ import annotations

import csv
import io
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from medsdk.bundle import Bundle
from medsdk_export.build import export_bundle
from medsdk_export.errors import (
    ExportRefusedError,
    IdentityRefusedError,
    InputsRefusedError,
    SourceUnreadableError,
)
from medsdk_export.identity import IDENTITY_KEYWORDS
from medsdk_export.inputs import (
    Case,
    calibration_files,
    explicit_little_endian,
    open_case,
    read_cases,
)

CANARY = "Zmora^Wanda"
LABELS = ("none", "tumour")


def _rewrite(table: Path, change: Callable[[list[list[str]]], None]) -> None:
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    change(rows)
    stream = io.StringIO()
    csv.writer(stream).writerows(rows)
    table.write_text(stream.getvalue(), encoding="utf-8")


def _encoded(path: Path, syntax: str) -> bytes:
    """The same image in another transfer syntax, written by pydicom alone."""
    dataset = pydicom.dcmread(io.BytesIO(path.read_bytes()))
    stream = io.BytesIO()
    if syntax == RLELossless:
        dataset.compress(RLELossless, generate_instance_uid=False)
        dataset.save_as(stream, enforce_file_format=True)
        return stream.getvalue()
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    little = syntax != ExplicitVRBigEndian
    if not little:
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
    pydicom.dcmwrite(
        stream,
        dataset,
        implicit_vr=syntax == ImplicitVRLittleEndian,
        little_endian=little,
        enforce_file_format=True,
    )
    return stream.getvalue()


# Folders, tables and models


def test_an_empty_or_missing_calibration_folder_is_refused(few: Any, tmp_path: Path) -> None:
    with pytest.raises(InputsRefusedError, match="nothing at that path"):
        calibration_files(tmp_path / "nothing", few.task)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / ".hidden").write_bytes(b"x")
    (folder / "notes.txt").write_bytes(b"x")
    with pytest.raises(InputsRefusedError, match="empty"):
        calibration_files(folder, few.task)
    (folder / "file").write_bytes(b"x")
    with pytest.raises(InputsRefusedError, match="a file"):
        calibration_files(folder / "file", few.task)
    found = calibration_files(folder, few.task)
    assert [(file.path, file.roi) for file in found] == [(folder / "file", None)]


def test_calibration_files_that_are_no_images_are_named_by_number(few: Any, tmp_path: Path) -> None:
    (few.calibration / "2.dcm").write_bytes(b"no DICOM at all")
    with pytest.raises(InputsRefusedError, match=r"^calibration file 3 cannot be used") as caught:
        export_bundle(few.request(tmp_path / "out"))
    assert str(few.folder) not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_missing_and_unknown_roles_are_refused(few: Any, tmp_path: Path) -> None:
    with pytest.raises(ExportRefusedError, match=r"missing: filter; unknown: none"):
        export_bundle(few.request(tmp_path / "out", models={}))
    with pytest.raises(ExportRefusedError, match=r"missing: none; unknown: detector"):
        export_bundle(
            few.request(tmp_path / "out", models={"filter": few.model, "detector": few.model})
        )
    with pytest.raises(SourceUnreadableError):
        export_bundle(few.request(tmp_path / "out", models={"filter": tmp_path / "no.onnx"}))
    with pytest.raises(ExportRefusedError, match="at least 2"):
        export_bundle(few.request(tmp_path / "out", known_answers=1))
    assert [path.name for path in tmp_path.iterdir()] == ["inputs"]


def test_a_task_without_phantoms_needs_cases(few: Any, tmp_path: Path) -> None:
    with pytest.raises(InputsRefusedError, match=r"neither cases nor phantoms.*--cases"):
        export_bundle(few.request(tmp_path / "out", cases=None))


def test_a_table_with_a_byte_order_mark_and_crlf_is_read(few: Any) -> None:
    plain = read_cases(few.table, few.task, LABELS)
    text = few.table.read_bytes().replace(b"\n", b"\r\n")
    few.table.write_bytes(b"\xef\xbb\xbf" + text)
    assert read_cases(few.table, few.task, LABELS) == plain
    assert [case.name for case in plain] == [f"case {n}" for n in range(1, len(plain) + 1)]
    assert [case.truth for case in plain[:2]] == ["tumour", "none"]


def test_columns_may_stand_in_any_order(few: Any) -> None:
    plain = read_cases(few.table, few.task, LABELS)

    def reverse(rows: list[list[str]]) -> None:
        for row in rows:
            row.reverse()

    _rewrite(few.table, reverse)
    assert read_cases(few.table, few.task, LABELS) == plain


def _set(row: int, column: int, value: str) -> Callable[[list[list[str]]], None]:
    def change(rows: list[list[str]]) -> None:
        rows[row][column] = value

    return change


def _drop_column(rows: list[list[str]]) -> None:
    for row in rows:
        del row[2]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_set(2, 1, "sarcoma"), r"^case 2 has a truth.*'sarcoma'.*none, tumour"),
        (_set(2, 1, ""), r"^case 2 has a truth.*''"),
        (_set(2, 1, "Tumour"), r"^case 2 has a truth"),
        (_set(3, 0, "0.dcm"), r"^case 3 names a file that another case names"),
        (_set(3, 0, "./0.dcm"), r"^case 3 names a file that another case names"),
        (_set(3, 0, "../cases/0.dcm"), r"^case 3 names a file that another case names"),
        (_set(4, 0, "gone.dcm"), r"the file of case 4 is missing"),
        (_set(4, 0, ""), r"the file of case 4 is missing"),
        (_set(4, 0, "nul\0byte.dcm"), r"the file of case 4 is missing|no CSV"),
        (_set(0, 3, "group"), r"another header.*of them path, truth, patient as expected"),
        (_drop_column, r"another header.*of them path, truth, stratum"),
        (lambda rows: rows[0].append("more"), r"another header"),
        (lambda rows: rows[3].pop(), r"case 3 has another number of fields"),
        (lambda rows: rows[3].append("more"), r"case 3 has another number of fields"),
        (lambda rows: rows[0].__setitem__(3, "path"), r"another header"),
        (lambda rows: rows.__delitem__(slice(1, None)), r"no cases.*0 rows, 4 columns"),
        (lambda rows: rows.clear(), r"no cases"),
    ],
)
def test_a_table_that_does_not_say_what_it_must_is_refused(
    change: Callable[[list[list[str]]], None], says: str, few: Any
) -> None:
    _rewrite(few.table, change)
    with pytest.raises(InputsRefusedError, match=says) as caught:
        read_cases(few.table, few.task, LABELS)
    assert str(few.folder) not in str(caught.value)
    assert caught.value.exit_status == 2


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"path,truth\n\xff\xfe", "not UTF-8"),
        ("path,truth,patient,stratum\n".encode("utf-16"), "not UTF-8"),
        (b'path,truth,patient,stratum\n"0.dcm,none,p,all\n', "no CSV"),
        (b'path,truth,patient,stratum\n"0.dcm"x,none,p,all\n', "no CSV"),
        (b"path;truth;patient;stratum\n0.dcm;none;p;all\n", "another header"),
        (b"path,truth,patient,stratum\n" + b"a" * 200_000 + b",none,p,all\n", "no CSV"),
    ],
)
def test_a_file_that_is_no_table_is_refused(data: bytes, says: str, few: Any) -> None:
    few.table.write_bytes(data)
    with pytest.raises(InputsRefusedError, match=says):
        read_cases(few.table, few.task, LABELS)


def test_a_missing_table_is_refused(few: Any, tmp_path: Path) -> None:
    with pytest.raises(InputsRefusedError, match="No such file"):
        read_cases(tmp_path / "no.csv", few.task, LABELS)


# Cases


def _open(few: Any, number: int = 0) -> Any:
    case = Case("case 1", few.table.parent / f"{number}.dcm", None, "tumour", "patient", "stratum")
    return open_case(case, few.task)


def test_a_case_of_another_modality_is_refused(few: Any, change_dicom: Callable[..., None]) -> None:
    change_dicom(few.table.parent / "0.dcm", lambda d: setattr(d, "Modality", "CT"))
    with pytest.raises(InputsRefusedError, match=r"^case 1 cannot be used.*MR"):
        _open(few)


def test_a_case_of_several_frames_is_refused(few: Any, change_dicom: Callable[..., None]) -> None:
    def double(dataset: Any) -> None:
        dataset.NumberOfFrames = 2
        dataset.PixelData = dataset.PixelData * 2

    change_dicom(few.table.parent / "0.dcm", double)
    with pytest.raises(InputsRefusedError, match="2 frames"):
        _open(few)


def test_a_case_without_uids_is_refused(few: Any, change_dicom: Callable[..., None]) -> None:
    change_dicom(few.table.parent / "0.dcm", lambda d: delattr(d, "SOPInstanceUID"))
    with pytest.raises(InputsRefusedError, match="SOP Instance UID"):
        _open(few)


def _refused_identity(few: Any, keyword: str) -> None:
    with pytest.raises(IdentityRefusedError) as caught:
        _open(few)
    error = caught.value
    assert keyword in error.got.split(", ")
    assert error.what.startswith("case 1 ")
    assert error.exit_status == 2
    text = f"{error!s} {error.args}"
    assert "Zmora" not in text
    assert "1950" not in text
    assert str(few.folder) not in text


PLAIN = {
    "LO": CANARY,
    "PN": CANARY,
    "SH": "Zmora",
    "ST": CANARY,
    "LT": CANARY,
    "CS": "ZMORA",
    "DA": "19500101",
    "TM": "1950",
    "UI": "1.2.1950",
}


@pytest.mark.parametrize(
    "keyword",
    [
        # The direct identifiers that PS3.15 table E.1-1 removes or empties, by hand.
        "PatientName", "PatientID", "PatientBirthDate", "PatientBirthTime", "OtherPatientIDs",
        "OtherPatientNames", "PatientBirthName", "PatientMotherBirthName", "PatientAddress",
        "PatientTelephoneNumbers", "MedicalRecordLocator", "MilitaryRank", "EthnicGroup",
        "PatientReligiousPreference", "PatientComments", "AccessionNumber", "AdmissionID",
        "InstitutionName", "InstitutionAddress", "ReferringPhysicianName",
        "PerformingPhysicianName", "NameOfPhysiciansReadingStudy", "OperatorsName",
        "PhysiciansOfRecord", "RequestingPhysician", "ResponsiblePerson", "CountryOfResidence",
        # Names of people that the list above does not have: by their value representation.
        "ContentCreatorName", "ReviewerName", "VerifyingObserverName", "HumanPerformerName",
        "NamesOfIntendedRecipientsOfResults", "ScheduledPerformingPhysicianName",
    ],
)  # fmt: skip
def test_identity_is_refused_by_keyword_never_by_value(
    keyword: str, few: Any, change_dicom: Callable[..., None]
) -> None:
    vr = pydicom.datadict.dictionary_VR(keyword)
    change_dicom(few.table.parent / "0.dcm", lambda d: setattr(d, keyword, PLAIN[vr]))
    _refused_identity(few, keyword)


def test_identity_inside_sequences_and_private_groups_is_refused(
    few: Any, change_dicom: Callable[..., None]
) -> None:
    def nest(dataset: Any) -> None:
        inner, outer = Dataset(), Dataset()
        inner.PatientID = CANARY
        outer.PurposeOfReferenceCodeSequence = DicomSequence([inner])
        dataset.ReferencedImageSequence = DicomSequence([Dataset(), outer])

    change_dicom(few.table.parent / "0.dcm", nest)
    _refused_identity(few, "PatientID")

    def hide(dataset: Any) -> None:
        block = dataset.private_block(0x0033, "VENDOR", create=True)
        block.add_new(1, "PN", CANARY)

    change_dicom(few.table.parent / "2.dcm", hide)
    with pytest.raises(IdentityRefusedError, match=r"\(0033,1001\)"):
        _open(few, 2)


def test_burned_in_identity_is_refused(few: Any, change_dicom: Callable[..., None]) -> None:
    change_dicom(few.table.parent / "0.dcm", lambda d: setattr(d, "BurnedInAnnotation", "NO"))
    _open(few)
    change_dicom(few.table.parent / "0.dcm", lambda d: setattr(d, "BurnedInAnnotation", "YES"))
    _refused_identity(few, "BurnedInAnnotation")


def test_empty_identity_attributes_are_let_through(
    few: Any, change_dicom: Callable[..., None]
) -> None:
    def empty(dataset: Any) -> None:
        for keyword in IDENTITY_KEYWORDS:
            value: object = "" if pydicom.datadict.dictionary_VR(keyword) != "SQ" else []
            setattr(dataset, keyword, value)
        dataset.PatientName = "^^^^"

    change_dicom(few.table.parent / "0.dcm", empty)
    _open(few)


def test_every_listed_keyword_is_one_of_dicom() -> None:
    assert all(pydicom.datadict.tag_for_keyword(keyword) for keyword in IDENTITY_KEYWORDS)


def _with_element(few: Any, group: int, element: int, vr: bytes, value: bytes) -> Case:
    """The first case with one more element in front of its pixel module."""
    whole = (few.table.parent / "0.dcm").read_bytes()
    at = whole.index(struct.pack("<HH", 0x28, 2))
    header = struct.pack("<HH", group, element) + vr + struct.pack("<H", len(value))
    return Case("case 1", None, whole[:at] + header + value + whole[at:], "none", "p", "s")


@pytest.mark.parametrize(
    ("group", "element", "vr"),
    [(0x20, 0x13, b"IS"), (0x18, 0x50, b"DS"), (0x20, 0xD, b"UI"), (0x8, 0x20, b"DA")],
)
def test_malformed_values_are_not_spoken_of(
    group: int, element: int, vr: bytes, few: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    """pydicom warns with the value; a warning is an error here."""
    case = _with_element(few, group, element, vr, b"ZMORA ")
    _, dataset, _ = open_case(case, few.task)
    explicit_little_endian(dataset)
    assert "ZMORA" not in "".join(capfd.readouterr())


def test_values_that_cannot_be_parsed_are_refused_without_them(few: Any) -> None:
    case = _with_element(few, 0x18, 0x9087, b"FD", b"ZMORA ")  # no whole number of doubles
    with pytest.raises(InputsRefusedError, match=r"^case 1 cannot be used") as caught:
        open_case(case, few.task)
    cause = caught.value.__cause__
    assert cause is not None
    assert "ZMORA" not in f"{caught.value} {cause} {cause.__cause__}"


# Cases and calibration


@pytest.mark.parametrize(
    "syntax",
    [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless],
    ids=["explicit", "implicit", "big", "rle"],
)
def test_a_case_that_calibration_has_seen_is_refused_however_it_is_encoded(
    syntax: str, few: Any, tmp_path: Path, change_dicom: Callable[..., None]
) -> None:
    again = few.table.parent / "4.dcm"
    again.write_bytes(_encoded(few.calibration / "1.dcm", syntax))
    change_dicom(again, lambda d: setattr(d, "SeriesDescription", "another object"))
    with pytest.raises(InputsRefusedError, match=r"^case 5 is among the calibration images"):
        export_bundle(few.request(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_an_image_that_two_cases_show_is_refused(few: Any, tmp_path: Path) -> None:
    few.table.parent.joinpath("6.dcm").write_bytes(
        _encoded(few.table.parent / "2.dcm", ImplicitVRLittleEndian)
    )
    with pytest.raises(InputsRefusedError, match=r"^case 7 shows the same image"):
        export_bundle(few.request(tmp_path / "out"))


def test_images_without_contrast_are_refused(
    few: Any, tmp_path: Path, change_dicom: Callable[..., None], only_onnxruntime: None
) -> None:
    def flat(dataset: Any) -> None:
        dataset.PixelData = bytes(len(dataset.PixelData))

    change_dicom(few.table.parent / "1.dcm", flat)
    with pytest.raises(InputsRefusedError, match=r"^case 2 gives no result"):
        export_bundle(few.request(tmp_path / "out"))
    shutil.copy(few.table.parent / "1.dcm", few.calibration / "0.dcm")
    for number in (1, 2, 3):
        (few.calibration / f"{number}.dcm").unlink()
    shutil.copy(few.table.parent / "3.dcm", few.table.parent / "1.dcm")
    change_dicom(
        few.table.parent / "1.dcm",
        lambda d: setattr(d, "PixelData", d.PixelData[::-1]),
    )
    with pytest.raises(InputsRefusedError, match="no calibration image can be preprocessed"):
        export_bundle(few.request(tmp_path / "out"))


def test_known_answers_are_explicit_little_endian_without_a_site(
    few: Any, tmp_path: Path, only_onnxruntime: None
) -> None:
    syntaxes = (ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless)
    pixels = []
    for number in range(8):
        path = few.table.parent / f"{number}.dcm"
        dataset = pydicom.dcmread(path)
        pixels.append(dataset.pixel_array)
        dataset.preamble = b"ZMORA CLINIC".ljust(128, b"\0")
        dataset.file_meta.SourceApplicationEntityTitle = "ZMORA_AE"
        dataset.save_as(path, enforce_file_format=True)
        path.write_bytes(_encoded(path, syntaxes[number % 3]))
        assert b"ZMORA_AE" in path.read_bytes()
    export_bundle(few.request(tmp_path / "out", known_answers=8))
    bundle = Bundle.open(tmp_path / "out")
    found = 0
    for answer in bundle.manifest.known_answers:
        data = bundle.read(answer.input)
        assert b"ZMORA" not in data
        dataset = pydicom.dcmread(io.BytesIO(data))
        assert dataset.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
        assert any(np.array_equal(dataset.pixel_array, other) for other in pixels)
        np.testing.assert_array_equal(bundle.array(answer.frame), dataset.pixel_array)
        number = int(dataset.SOPInstanceUID.split(".")[-1])  # the vendor's own UIDs
        assert np.array_equal(dataset.pixel_array, pixels[number])
        found += 1
    assert found >= 4
