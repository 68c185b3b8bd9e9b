"""Three files that appear together, and never in place of somebody else's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import medsdk.reports.writing
from medsdk.errors import OutputNotWritableError, ReportFolderError
from medsdk.reports import Report, check_report_folder, write_report

NAMES = ["report.html", "report.json", "report.xml"]


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_json_page_and_junit(rich, tmp_path):
    written = write_report(rich, tmp_path / "new" / "report é")
    assert [path.name for path in written] == ["report.json", "report.html", "report.xml"]
    assert _names(tmp_path / "new" / "report é") == NAMES
    assert _names(tmp_path / "new") == ["report é"]
    text = written[0].read_text(encoding="utf-8")
    assert Report.model_validate_json(text) == rich
    assert json.loads(text) == rich.model_dump(mode="json")
    assert '<html lang="en">' in written[1].read_text(encoding="utf-8")
    write_report(rich, tmp_path / "ja", language="ja")
    assert '<html lang="ja">' in (tmp_path / "ja/report.html").read_text(encoding="utf-8")


def test_the_same_report_gives_the_same_bytes(rich, tmp_path):
    first = write_report(rich, tmp_path / "1")
    second = write_report(rich, tmp_path / "2")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_an_earlier_report_is_replaced_only_where_that_is_meant(rich, make_report, tmp_path):
    folder = tmp_path / "report"
    write_report(rich, folder)
    before = (folder / "report.json").read_bytes()
    with pytest.raises(ReportFolderError, match="earlier one"):
        write_report(make_report(cases=7), folder)
    assert (folder / "report.json").read_bytes() == before
    write_report(make_report(cases=7), folder, replace=True)
    assert json.loads((folder / "report.json").read_bytes())["cases"] == 7
    assert _names(tmp_path) == ["report"]


def test_other_files_are_never_replaced(rich, tmp_path):
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path, tmp_path / "notes.txt", tmp_path / "link"):
        for replace in (False, True):
            with pytest.raises(ReportFolderError, match="something else"):
                check_report_folder(folder, replace=replace)
            with pytest.raises(ReportFolderError, match="something else"):
                write_report(rich, folder, replace=replace)
    assert (tmp_path / "notes.txt").read_text(encoding="utf-8") == "mine"
    check_report_folder(tmp_path / "not there")
    write_report(rich, tmp_path / "empty")
    assert _names(tmp_path / "empty") == NAMES


def test_a_page_that_fails_leaves_nothing(rich, tmp_path, monkeypatch):
    def broken(*_: object) -> str:
        raise RuntimeError("no page")

    monkeypatch.setattr(medsdk.reports.writing, "page_html", broken)
    with pytest.raises(RuntimeError, match="no page"):
        write_report(rich, tmp_path / "report")
    assert _names(tmp_path) == []


def test_a_folder_that_cannot_be_is_an_error_without_its_path(rich, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputNotWritableError) as caught:
        write_report(rich, tmp_path / "file" / "patient name")
    assert "patient" not in str(caught.value)
