"""Regions of interest: from the tables that a user brings to the answer of the engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import medsdk
from medsdk.pixels import Box
from medsdk.pixels.errors import PixelInputRefusedError
from medsdk.tasks import Task
from medsdk_export.build import export_bundle
from medsdk_export.errors import InputsRefusedError
from medsdk_export.inputs import calibration_files, read_cases
from medsdk_export.tables import read_rois

LABELS = ("none", "tumour")
NO_CROP = 'crop = { kind = "none" }'
WHOLE = "0,0,64,48"


@pytest.fixture
def roi_task(make_task: Callable[..., Task]) -> Task:
    """The vendor's task with a square region of interest that the operator must give."""
    return make_task((NO_CROP, 'crop = { kind = "roi", required = true, square = true }'))


def give_rois(few: Any, cases: list[str], calibration: list[str]) -> None:
    """Add a roi to each case in turn, and a table to the calibration folder."""
    header, *rows = few.table.read_text("utf-8").splitlines()
    lines = [f'{row},"{cases[i % len(cases)]}"' for i, row in enumerate(rows)]
    few.table.write_text("\n".join([f"{header},roi", *lines]) + "\n", "utf-8")
    lines = [f'{i}.dcm,"{roi}"' for i, roi in enumerate(calibration)]
    (few.calibration / "rois.csv").write_text("\n".join(["path,roi", *lines]) + "\n", "utf-8")


def test_cases_and_calibration_files_carry_their_region(few: Any, roi_task: Task) -> None:
    give_rois(few, ["8,4,40,36", "0,0,48,48"], ["1,2,31.5,32", "0,0,20,20", WHOLE, WHOLE])
    cases = read_cases(few.table, roi_task, LABELS)
    assert [case.roi for case in cases[:3]] == [
        Box(8, 4, 40, 36),
        Box(0, 0, 48, 48),
        Box(8, 4, 40, 36),
    ]
    files = calibration_files(few.calibration, roi_task)
    assert [file.roi for file in files[:2]] == [Box(1, 2, 31.5, 32), Box(0, 0, 20, 20)]


def test_a_frame_may_be_asked_about_once_for_each_region(few: Any, roi_task: Task) -> None:
    give_rois(few, ["8,4,40,36", "0,0,48,48"], [])
    lines = few.table.read_text("utf-8").splitlines()
    name = lines[1].split(",")[0]
    truths = {line.split(",")[1] for line in lines[1:3]}
    assert len(truths) == 2
    other = lines[2].split(",", 1)[1]
    few.table.write_text("\n".join([*lines[:2], f"{name},{other}"]) + "\n", "utf-8")
    assert len(read_cases(few.table, roi_task, LABELS)) == 2
    few.table.write_text("\n".join([*lines[:2], lines[1]]) + "\n", "utf-8")
    with pytest.raises(InputsRefusedError, match="case 2 names a file"):
        read_cases(few.table, roi_task, LABELS)


@pytest.mark.parametrize(
    ("roi", "says"),
    [
        ("", "case 1 has no region of interest"),
        ("1,2,3", "case 1 has a region.*3 values"),
        ("1,2,3,x", "case 1 has a region.*no number"),
        ("5,5,5,9", "case 1 has a region.*empty box"),
        ("nan,0,1,1", "case 1 has a region.*not finite"),
    ],
)
def test_a_region_that_is_none_is_refused(roi: str, says: str, few: Any, roi_task: Task) -> None:
    give_rois(few, [roi], [])
    with pytest.raises(InputsRefusedError, match=says):
        read_cases(few.table, roi_task, LABELS)


def test_the_column_belongs_to_tasks_that_take_a_region(few: Any, roi_task: Task) -> None:
    with pytest.raises(InputsRefusedError, match="columns path, truth, patient, stratum, roi"):
        read_cases(few.table, roi_task, LABELS)
    give_rois(few, [WHOLE], [WHOLE])
    with pytest.raises(InputsRefusedError, match="another header"):
        read_cases(few.table, few.task, LABELS)
    assert read_rois(few.calibration, few.task) == {}


def test_a_calibration_file_without_its_region_is_refused(few: Any, roi_task: Task) -> None:
    with pytest.raises(InputsRefusedError, match=r"calibration file 1 has no region"):
        calibration_files(few.calibration, roi_task)
    give_rois(few, [WHOLE], [WHOLE, WHOLE])
    with pytest.raises(InputsRefusedError, match=r"calibration file 3 has no region"):
        calibration_files(few.calibration, roi_task)


def test_a_region_of_a_file_that_is_not_there_is_refused(few: Any, roi_task: Task) -> None:
    (few.calibration / "circle.dcm").symlink_to(few.calibration / "circle.dcm")
    for lines, says in (
        (["gone.dcm,1"], "missing"),
        (["nul\0byte.dcm,1"], "missing"),
        (["circle.dcm,1"], "missing"),
        ([f"{'long' * 200}.dcm,1"], "missing"),
        ([f'0.dcm,"{WHOLE}"', f'./0.dcm,"{WHOLE}"'], "another line names"),
    ):
        text = "\n".join(["path,roi", *lines]) + "\n"
        (few.calibration / "rois.csv").write_text(text, "utf-8")
        with pytest.raises(InputsRefusedError, match=says):
            read_rois(few.calibration, roi_task)


def test_a_bundle_proves_and_answers_with_regions(few: Any, roi_task: Task, tmp_path: Path) -> None:
    # Squares: what is not one would grow, and the reference must grow it in the same way.
    rois = ["2,2,46,46", "0,0,48,47", "16,0,64,48", "10.4,3.6,50.2,44"]
    give_rois(few, rois, rois)
    out = tmp_path / "bundle"
    result = export_bundle(few.request(out, task=roi_task))
    assert result.verification.verdict == "pass"
    assert {answer.roi for answer in result.manifest.known_answers} <= {
        tuple(float(value) for value in roi.split(",")) for roi in rois
    }
    with medsdk.load(out) as engine:
        source = few.calibration / "0.dcm"
        with pytest.raises(PixelInputRefusedError, match="which the task needs"):
            engine.predict(source)
        found = engine.predict(source, roi=Box(16, 0, 64, 48))
        assert found.region == Box(16, 0, 64, 48)
        assert found.affine.apply(16, 0) == (0, 0)
        assert found.affine.apply(64, 48) == (32, 32)
        other = engine.predict(source, roi=Box(0, 0, 30, 30))
        assert other.probabilities != found.probabilities


def test_a_case_whose_region_leaves_the_frame_is_named(
    few: Any, roi_task: Task, tmp_path: Path
) -> None:
    give_rois(few, [WHOLE, "30,30,80,48"], ["0,0,48,48"] * 4)
    with pytest.raises(InputsRefusedError, match=r"^case [12] cannot be used: the region"):
        export_bundle(few.request(tmp_path / "out", task=roi_task))
