"""Phantoms: determinism, pixel range, valid DICOM without identities, table, errors."""

from __future__ import annotations

import csv
import hashlib
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pydicom
import pytest

from medsdk_export.phantoms import TASKS, __main__, slices, to_dicom, write
from medsdk_export.phantoms.uterus_mr import LABELS, Phantom, slice_at

_TASK = "uterus-mr/tumor-filter"
_SEED = 41


@pytest.fixture(scope="module")
def phantoms() -> list[Phantom]:
    return list(slices(80, _SEED))


@pytest.fixture(scope="module")
def strangers() -> list[Phantom]:
    """Slices of as many patients, so that shares have no correlation within patients."""
    return list(slices(160, 5, slices_per_patient=1))


def test_a_longer_run_begins_with_the_shorter(phantoms: list[Phantom]) -> None:
    for short, long in zip(slices(10, _SEED), phantoms, strict=False):
        np.testing.assert_array_equal(short.pixels, long.pixels)
        assert (short.stratum, short.patient, short.tumour, short.diameter_mm) == (
            long.stratum, long.patient, long.tumour, long.diameter_mm,
        )  # fmt: skip


def test_one_slice_needs_no_other(phantoms: list[Phantom]) -> None:
    np.testing.assert_array_equal(slice_at(37, _SEED).pixels, phantoms[37].pixels)


def test_seeds_differ(phantoms: list[Phantom]) -> None:
    other = slice_at(0, _SEED + 1)
    assert not np.array_equal(other.pixels, phantoms[0].pixels)
    assert other.patient != phantoms[0].patient


def test_every_slice_differs(phantoms: list[Phantom]) -> None:
    assert len({hashlib.sha256(p.pixels.tobytes()).digest() for p in phantoms}) == len(phantoms)


def test_pixels_are_12_bit_and_use_the_range(phantoms: list[Phantom]) -> None:
    for phantom in phantoms:
        assert phantom.pixels.dtype == np.uint16
        assert phantom.pixels.max() <= 4095
        low, high = np.percentile(phantom.pixels, (1, 99))
        assert high - low > 200
        assert not phantom.pixels.flags.writeable


def test_geometry_varies_within_the_stated_limits(phantoms: list[Phantom]) -> None:
    shapes = {phantom.pixels.shape for phantom in phantoms}
    assert len(shapes) > 3
    assert any(rows != columns for rows, columns in shapes)
    for phantom in phantoms:
        assert all(224 <= side <= 384 for side in phantom.pixels.shape)
        assert all(0.6 <= spacing <= 1.0 for spacing in phantom.spacing_mm)


def test_slices_of_a_patient_share_geometry_and_look_alike(phantoms: list[Phantom]) -> None:
    same, other = [], []
    for one, two in pairwise(phantoms):
        if one.patient == two.patient:
            assert one.pixels.shape == two.pixels.shape
            assert one.spacing_mm == two.spacing_mm
            same.append(_correlation(one, two))
        elif one.pixels.shape == two.pixels.shape:
            other.append(_correlation(one, two))
    assert np.median(same) > np.median(other) + 0.2


@pytest.mark.parametrize("name", ["phantoms", "strangers"])
def test_both_classes_are_about_equally_frequent(name: str, request: pytest.FixtureRequest) -> None:
    share = np.mean([phantom.tumour for phantom in request.getfixturevalue(name)])
    assert 0.35 < share < 0.65


def test_facts_agree_with_the_truth(phantoms: list[Phantom]) -> None:
    for phantom in phantoms:
        assert phantom.label == LABELS[int(phantom.tumour)]
        assert (phantom.diameter_mm > 0.0) == phantom.tumour
        assert (phantom.contrast != 0.0) == phantom.tumour
        kind = phantom.stratum.removesuffix("-borderline")
        assert (kind in {"leiomyoma", "heterogeneous"}) == phantom.tumour


def test_negatives_hold_every_confounder(strangers: list[Phantom]) -> None:
    strata = {phantom.stratum for phantom in strangers if not phantom.tumour}
    assert strata == {"plain", "contraction", "junctional", "cyst", "vessels"}


@pytest.mark.parametrize(("count", "seed", "per_patient"), [(-1, 0, 4), (1, -1, 4), (1, 0, 0)])
def test_wrong_arguments_are_refused(count: int, seed: int, per_patient: int) -> None:
    with pytest.raises(ValueError, match="must be 0 or more"):
        list(slices(count, seed, slices_per_patient=per_patient))


def test_the_file_reads_back_as_a_valid_mr_image(tmp_path: Path, phantoms: list[Phantom]) -> None:
    phantom = phantoms[6]
    path = tmp_path / "one.dcm"
    to_dicom(phantom).save_as(path, enforce_file_format=True)
    with pydicom.config.disable_value_validation():
        relaxed = pydicom.dcmread(path)
    dataset = pydicom.dcmread(path)
    assert dataset == relaxed
    assert dataset.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
    assert dataset.SOPClassUID == pydicom.uid.MRImageStorage
    assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
    assert (dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit) == (16, 12, 11)
    assert dataset.PhotometricInterpretation == "MONOCHROME2"
    assert tuple(map(float, dataset.PixelSpacing)) == phantom.spacing_mm
    assert "PHANTOM" in dataset.SeriesDescription
    np.testing.assert_array_equal(dataset.pixel_array, phantom.pixels)
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        assert dataset[keyword].value.startswith("2.25.")
        assert dataset[keyword].value.is_valid


def test_the_file_holds_no_identity(phantoms: list[Phantom]) -> None:
    dataset = to_dicom(phantoms[0])
    for keyword in (
        "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime",
        "ReferringPhysicianName", "StudyID", "AccessionNumber", "Manufacturer",
    ):  # fmt: skip
        assert keyword in dataset
        assert not dataset[keyword].value
    assert dataset.PatientIdentityRemoved == "YES"
    assert phantoms[0].patient not in str(dataset)
    assert not any(e.VR in {"PN", "DA", "TM", "DT", "AE"} and e.value for e in dataset)


def test_uids_follow_the_patient(phantoms: list[Phantom]) -> None:
    first, second, stranger = (to_dicom(phantoms[index]) for index in (0, 1, 4))
    assert first.SeriesInstanceUID == second.SeriesInstanceUID
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert first.StudyInstanceUID != stranger.StudyInstanceUID
    other_seed = to_dicom(slice_at(0, _SEED + 1))
    assert other_seed.SOPInstanceUID != first.SOPInstanceUID


@pytest.mark.parametrize("syntax", ["explicit-little", "implicit-little", "rle"])
def test_every_syntax_keeps_the_pixels(
    syntax: str, tmp_path: Path, phantoms: list[Phantom]
) -> None:
    path = tmp_path / "one.dcm"
    to_dicom(phantoms[3], syntax=syntax).save_as(path, enforce_file_format=True)  # type: ignore[arg-type]
    np.testing.assert_array_equal(pydicom.dcmread(path).pixel_array, phantoms[3].pixels)


def test_an_unknown_syntax_names_the_known(phantoms: list[Phantom]) -> None:
    with pytest.raises(ValueError, match=r"'big'.*explicit-little, implicit-little, rle"):
        to_dicom(phantoms[0], syntax="big")  # type: ignore[arg-type]


def test_written_bytes_repeat(tmp_path: Path) -> None:
    first = write(_TASK, tmp_path / "a", 3, 9)
    second = write(_TASK, tmp_path / "b", 5, 9)
    assert [path.name for path in first] == ["0000.dcm", "0001.dcm", "0002.dcm"]
    for one, two in zip(first, second, strict=False):
        assert one.read_bytes() == two.read_bytes()


def test_the_table_tells_the_truth(tmp_path: Path) -> None:
    table = tmp_path / "tables" / "cases.csv"
    write(_TASK, tmp_path / "images", 8, _SEED, table)
    with table.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert table.read_text(encoding="utf-8").startswith("path,truth,patient,stratum\n")
    for row, phantom in zip(rows, slices(8, _SEED), strict=True):
        assert row["path"] == f"../images/{phantom.index:04d}.dcm"
        assert (table.parent / row["path"]).is_file()
        assert row["truth"] == phantom.label
        assert row["patient"] == phantom.patient
        assert row["stratum"] == phantom.tumour_kind


def test_an_unknown_task_names_the_known(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"'uterus-mr/nothing'.*{TASKS[0]}"):
        write("uterus-mr/nothing", tmp_path, 1, 1)
    assert not list(tmp_path.iterdir())


def test_the_command_line_writes_files(tmp_path: Path) -> None:
    out, table = tmp_path / "out", tmp_path / "cases.csv"
    arguments = [_TASK, "--out", str(out), "--count", "2", "--seed", "3", "--cases", str(table)]
    assert __main__.main(arguments) == 0
    assert len(list(out.glob("*.dcm"))) == 2
    assert len(table.read_text(encoding="utf-8").splitlines()) == 3


def test_the_command_line_refuses_an_unknown_task(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        __main__.main(["liver/nothing", "--out", str(tmp_path), "--count", "1", "--seed", "1"])
    assert stop.value.code == 2
    assert "liver/nothing" in capsys.readouterr().err


def test_importing_the_package_does_not_import_pydicom() -> None:
    code = "import sys, medsdk_export.phantoms; sys.exit('pydicom' in sys.modules)"
    path = [entry for entry in sys.path if entry]
    code = f"import sys; sys.path[:0] = {path!r}; {code}"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def _correlation(one: Phantom, two: Phantom) -> float:
    return float(np.corrcoef(one.pixels.ravel(), two.pixels.ravel())[0, 1])
