"""Tables of cases: what they may hold, and every bad one with a message that says what to do."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medsdk.errors import CasesRefusedError
from medsdk.evaluation.cases import (
    NOT_STATED,
    case_columns,
    identify_cases,
    pixels_digest,
    read_cases,
    read_frame,
)
from medsdk.evaluation.tables import read_table
from medsdk.pixels import Box
from medsdk.tasks import Task
from medsdk.tasks.loading import task_from_document

LABELS = ("none", "tumour")
SECRET = "Yamada Taro"


def refusal(path: Path, task: Task, *within: str) -> CasesRefusedError:
    with pytest.raises(CasesRefusedError) as caught:
        read_cases(path, task, LABELS, within)
    assert SECRET not in str(caught.value)
    assert str(path.parent) not in str(caught.value)
    return caught.value


def test_a_row_says_what_it_says(table: Any, task: Task) -> None:
    path = table(
        4,
        truth=["tumour", "none", "", "none"],
        site=["東京", "", "Kyōto", "東京"],
        study=["s1", "s2", "s3", "s4"],
        lesion=["l1", "", "l3", ""],
        lesion_size="small",
    )
    cases = read_cases(path, task, LABELS)
    assert [case.truth for case in cases] == ["tumour", "none", None, "none"]
    assert [case.strata["site"] for case in cases] == ["東京", NOT_STATED, "Kyōto", "東京"]
    assert [case.number for case in cases] == [1, 2, 3, 4]
    assert [case.lesion is None for case in cases] == [False, True, False, True]
    # A reader with the pseudonym can match it; nobody reads it out of the digest.
    assert cases[1].patient == hashlib.sha256(b"patient:p1").hexdigest()[:16]
    assert set(cases[0].strata) == {"site", "lesion-size"}
    assert str(path.parent) not in repr(cases)


def test_relative_absolute_and_climbing_paths(table: Any, task: Task, vendor: Any) -> None:
    path = table(3)
    for number in range(3):
        shutil.copy(vendor.cases.parent / f"{number}.dcm", path.parent / f"{number} é.dcm")
    here = path.parent
    paths = ["0 é.dcm", str(here / "1 é.dcm"), f"../{here.name}/2 é.dcm"]
    cases = read_cases(table(3, path=paths), task, LABELS)
    assert [case.path for case in cases] == [here / f"{n} é.dcm" for n in range(3)]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_byte_order_mark_and_other_line_ends_change_nothing(
    table: Any, task: Task, end: str
) -> None:
    path = table(3, site="a")
    plain = read_cases(path, task, LABELS)
    text = path.read_text("utf-8").replace("\n", end)
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert read_cases(path, task, LABELS) == plain


@pytest.mark.parametrize(
    ("encoding", "says"),
    [
        ("utf-16", "looks like UTF-16"),
        ("utf-16-le", "looks like UTF-16"),
        ("cp932", "looks like Shift-JIS"),
        ("latin-1", "not UTF-8"),
    ],
)
def test_another_encoding_is_named_and_refused(
    table: Any, task: Task, encoding: str, says: str
) -> None:
    path = table(3, path="a.dcm", site="Orléans" if encoding == "latin-1" else "東京病院")
    path.write_bytes(path.read_text("utf-8").encode(encoding))
    error = refusal(path, task)
    assert says in error.got
    assert ("Shift" in error.got) == (encoding == "cp932")
    assert "save it as UTF-8" in error.remedy
    assert "東京" not in str(error)


def test_a_dicom_file_is_no_table_and_said_to_be_one(
    task: Task, tmp_path: Path, vendor: Any
) -> None:
    error = refusal(vendor.cases.parent / "0.dcm", task)
    assert error.got == "a DICOM file"
    assert "UTF-8 (comma" not in error.remedy


def test_a_table_of_a_header_alone_needs_rows(task: Task, tmp_path: Path) -> None:
    path = tmp_path / "cases.csv"
    path.write_text("path,truth,patient\n", "utf-8")
    assert refusal(path, task).remedy == "add a row for each case"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "0 rows"),
        ("path,truth,patient\n", "0 rows"),
        (f"path;truth;patient\na;none;{SECRET}\n", "separated by semicolons"),
        (f"path\ttruth\tpatient\na\tnone\t{SECRET}\n", "separated by tabs"),
        (f"a.dcm,none,{SECRET}\nb.dcm,none,y\n", "of them none as expected"),
        (f"path,truth,patient,{SECRET}\na,none,b,c\n", "column 4 has another name"),
        ("path,truth,patient,site,site\na,none,b,c,d\n", "a column stands twice"),
        ("path,truth\na,none\n", "of them path, truth as expected"),
        ("path,truth,patient,roi\na,none,b,c\n", "column 4 has another name"),
        (f'path,truth,patient\n"{SECRET},none,b\n', "unexpected end"),
        (f"path,truth,patient\n{SECRET},none\n", ""),
        (f"path,truth,patient\n{'x' * 200_000},none,b\n", "field limit"),
    ],
)
def test_what_is_no_table_of_cases(task: Task, tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "cases.csv"
    path.write_text(text, "utf-8")
    error = refusal(path, task)
    assert says in error.got
    assert error.expected
    assert error.remedy


def test_an_unknown_column_names_those_that_are_allowed(table: Any, task: Task) -> None:
    error = refusal(table(2, scanner="x"), task)
    for column in case_columns(task):
        assert column in error.expected
    assert {"site", "device-model", "size", "stratum", "sequence", "lesion-size"} <= set(
        case_columns(task)
    )


@pytest.mark.parametrize(
    ("columns", "what", "got"),
    [
        ({"truth": ["none", SECRET]}, "case 2 has a truth that is no label", ""),
        ({"truth": [" tumour"]}, "case 1 has a truth", "spaces"),
        ({"patient": ["a", " "]}, "case 2 has no patient", ""),
        ({"study": ["a", ""]}, "case 2 has no study", ""),
        ({"site": ["a", "x" * 65]}, "case 2 has a value of site", "65 characters"),
        ({"site": ["a", "b\x07c"]}, "case 2 has a value of site", ""),
        ({"patient": "p", "site": ["a", "b"]}, "one patient stands in two strata of site", "case"),
        ({"study": "s"}, "one study has two patients", "case 1 and case 2"),
        ({"lesion": ["", "l", "l"]}, "one lesion has two patients", "case 2 and case 3"),
        ({"path": ["no", "nope"]}, "6 of 6 files", "case 1, case 2, case 3, case 4, case 5 and 1"),
        ({"path": "a\0b"}, "6 of 6 files", ""),
        (
            {"path": ["", "no"]},
            "6 of 6 files",
            "an empty path for case 1, case 3, case 5; nothing at the path of case 2",
        ),
        (
            {"path": "."},
            "6 of 6 files",
            "a folder for case 1, case 2, case 3, case 4, case 5 and 1",
        ),
    ],
)
def test_rows_that_cannot_be_used(
    table: Any, task: Task, columns: dict[str, Any], what: str, got: str
) -> None:
    error = refusal(table(6, **columns), task)
    assert what in error.what
    assert got in error.got
    assert error.expected
    assert (error.exit_status, error.code) == (2, "cases-refused")


def test_a_stratum_of_a_lesion_may_differ_where_the_user_says_so(table: Any, task: Task) -> None:
    path = table(4, patient="p", lesion_size=["small", "large"])
    assert "--within-patient lesion-size" in refusal(path, task).remedy
    assert len(read_cases(path, task, LABELS, ("lesion-size",))) == 4
    assert "no such stratum" in refusal(path, task, "colour").what


def test_a_column_of_names_is_no_stratum(table: Any, task: Task) -> None:
    error = refusal(table(60, site=[f"name {n}" for n in range(60)]), task)
    assert "the column site divides nothing" in error.what
    assert "60 different values" in error.got


def test_one_file_twice(table: Any, task: Task, vendor: Any) -> None:
    files = [str(vendor.cases.parent / name) for name in ("0.dcm", "1.dcm", "../cases/0.dcm")]
    error = refusal(table(3, path=files), task)
    assert error.what == "case 3 names a file that case 1 names already"


def test_one_image_under_two_names(table: Any, task: Task, tmp_path: Path, vendor: Any) -> None:
    shutil.copy(vendor.cases.parent / "0.dcm", tmp_path / "again.dcm")
    path = table(3, path=[str(vendor.cases.parent / f"{n}.dcm") for n in (0, 1)] + ["again.dcm"])
    cases = read_cases(path, task, LABELS)
    with pytest.raises(CasesRefusedError, match="case 3 has the same pixels as case 1"):
        identify_cases(cases, task)


def test_the_identity_of_a_case_is_its_pixels_and_its_region(
    table: Any, task: Task, vendor: Any
) -> None:
    known = identify_cases(read_cases(table(4), task, LABELS), task)
    assert len({item.id for item in known.cases}) == 4
    assert (known.labelled, known.patients) == (4, 4)
    other = identify_cases(read_cases(table(4, name="b.csv", site="x"), task, LABELS), task)
    assert [item.id for item in other.cases] == [item.id for item in known.cases]
    assert other.sha256 == known.sha256
    relabelled = identify_cases(read_cases(table(4, truth="none"), task, LABELS), task)
    assert relabelled.sha256 != known.sha256


def test_regions_make_cases_of_their_own(table: Any, task: Task) -> None:
    document = task.model_dump(mode="json")
    crop = {"kind": "roi", "required": True, "square": False}
    document["networks"]["filter"]["pixels"]["crop"] = crop
    roi_task = task_from_document(document, "task")
    path = table(2, roi=["1,2,30.5,31", "0,0,64,48"])
    cases = read_cases(path, roi_task, LABELS)
    assert [case.roi for case in cases] == [Box(1, 2, 30.5, 31), Box(0, 0, 64, 48)]
    paths = [str(cases[0].path)]
    again = read_cases(table(2, path=paths, roi=["1,2,30.5,31", "0,0,64,48"]), roi_task, LABELS)
    assert len({item.id for item in identify_cases(again, roi_task).cases}) == 2
    assert "no region of interest" in refusal(table(2, roi=""), roi_task).what
    assert "refused" in refusal(table(2, roi="1,2,3"), roi_task).what


@pytest.mark.parametrize(
    "roi", ["1,2,65,31", "-9,0,9,9", "0,0,1e20,1e20", "1.1,1,1.2,9", "nan,0,1,1"]
)
def test_a_region_that_its_frame_has_not_is_refused_beforehand(
    table: Any, task: Task, roi: str
) -> None:
    document = task.model_dump(mode="json")
    crop = {"kind": "roi", "required": True, "square": False}
    document["networks"]["filter"]["pixels"]["crop"] = crop
    roi_task = task_from_document(document, "task")
    path = table(2, roi=["0,0,64,48", roi])
    with pytest.raises(CasesRefusedError, match=r"case 2 has a region of interest that is refused"):
        identify_cases(read_cases(path, roi_task, LABELS), roi_task)


def test_a_file_that_cannot_be_read_is_a_case_with_an_error(
    table: Any, task: Task, tmp_path: Path, vendor: Any
) -> None:
    whole = (vendor.cases.parent / "0.dcm").read_bytes()
    (tmp_path / "cut.dcm").write_bytes(whole[:-7])
    (tmp_path / "no.dcm").write_bytes(b"no DICOM")
    path = table(3, path=[str(vendor.cases.parent / "1.dcm"), "cut.dcm", "no.dcm"])
    known = identify_cases(read_cases(path, task, LABELS), task).cases
    assert [item.error for item in known] == ["", *["pixel-input-unreadable"] * 2]
    assert len({item.id for item in known}) == 3


def test_pixels_digest_is_of_values_and_shape(table: Any, task: Task) -> None:
    frame = read_frame(read_cases(table(1), task, LABELS)[0], task)
    assert pixels_digest(frame.array) == pixels_digest(frame.array.astype(np.int32))
    assert pixels_digest(frame.array) != pixels_digest(frame.array.reshape(-1))
    changed = frame.array.copy()
    changed[0, 0] += 1
    assert pixels_digest(frame.array) != pixels_digest(changed)


FIELD = st.text(
    st.characters(codec="utf-8", exclude_characters="\r\0"),
    max_size=20,
)


@settings(max_examples=150, deadline=None)
@given(rows=st.lists(st.tuples(FIELD, FIELD, FIELD), min_size=1, max_size=6), bom=st.booleans())
def test_any_text_survives_a_table(
    rows: list[tuple[str, str, str]], bom: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    quoted = [",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows]
    text = "\n".join(["path,truth,patient", *quoted]) + "\n"
    path = tmp_path_factory.mktemp("any") / "t.csv"
    path.write_bytes(text.encode("utf-8-sig" if bom else "utf-8"))
    read = read_table(path, "the table", "case", ("path", "truth", "patient"))
    assert [tuple(row.values()) for row in read] == rows


@settings(max_examples=150, deadline=None)
@given(data=st.binary(max_size=200))
def test_any_bytes_are_a_table_or_refused(
    data: bytes, task: Task, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("any") / "t.csv"
    for start in (b"", b"path,truth,patient\n"):
        path.write_bytes(start + data)
        with pytest.raises(CasesRefusedError):  # no path in these bytes is a file with a patient
            read_cases(path, task, LABELS)
