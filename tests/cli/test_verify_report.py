"""`medsdk verify --report`: the same findings as a document, a page and JUnit XML."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import jsonschema
import pytest
from scipy import stats

import medsdk_runtimes
from medsdk.reports import Report
from medsdk.results.documents import VerifyDocument

SCHEMA = Path(__file__).parents[2] / "docs/schemas/report.schema.json"


def _report(folder: Path) -> Report:
    text = (folder / "report.json").read_text(encoding="utf-8")
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(json.loads(text))
    return Report.model_validate_json(text)


def test_every_candidate_has_its_claims(cli, bundle_dir, tmp_path):
    done = cli("verify", bundle_dir, "--json", "--report", tmp_path / "r", "--language", "ja")
    assert done.status == 0
    assert set(done.json) == set(VerifyDocument.model_fields)
    report = _report(tmp_path / "r")
    assert (report.kind, report.verdict, report.reasons) == ("verify", "pass", ())
    assert report.cases == 6
    assert len(report.candidates) == len(done.json["candidates"])
    titles = [item.title for item in report.candidates]
    assert len(set(titles)) == len(titles)
    assert "onnxruntime int8-cpu" in titles
    for item, printed in zip(report.candidates, done.json["candidates"], strict=True):
        known, flips, difference = (
            claim for claim in report.evidence.claims if claim.scope.candidate == item.title
        )
        advisory = printed["verdict"] == "advisory"
        assert {known.verdict, flips.verdict} <= ({"advisory"} if advisory else {"pass"})
        n = printed["cases"]  # 0 where it did not open
        assert n == 6 or advisory
        assert (known.n, flips.n, flips.events) == (n, n, printed["flips"])
        assert difference.value == printed["max_abs_error"]
        assert (difference.scope.output, difference.limit is None) == ("logits", False)
        assert (flips.bound is None) == (n == 0)
        if flips.bound is None:
            continue
        assert flips.bound.high == pytest.approx(
            stats.beta.ppf(0.95, printed["flips"] + 1, n - printed["flips"]), abs=1e-9
        )
    assert report.gates["classification.max_flip_rate"] == 0.02
    page = (tmp_path / "r/report.html").read_text(encoding="utf-8")
    assert '<html lang="ja">' in page
    assert "6スライス中0件" in page
    assert "臨床使用不可。" in page
    root = ET.parse(tmp_path / "r/report.xml").getroot()
    assert (root.get("failures"), root.get("errors")) == ("0", "0")


def test_a_failure_is_in_all_three(cli, signed_again, tmp_path):
    def other_mean(manifest: dict[str, Any]) -> None:
        manifest["task"]["networks"]["filter"]["pixels"]["normalisation"]["mean"][0] += 1 / 255

    bundle = signed_again(other_mean)
    done = cli("verify", bundle, "--runtime", "onnxruntime", "--report", tmp_path / "r")
    assert done.status == 1
    assert f"written: {tmp_path / 'r' / 'report.html'}\n\nFAIL\n" in done.out
    report = _report(tmp_path / "r")
    assert report.verdict == "fail"
    assert any("preprocess: " in reason for reason in report.reasons)
    known = next(claim for claim in report.evidence.claims if claim.measure == "known-answers")
    assert (known.n, known.events, known.verdict) == (6, 0, "fail")
    root = ET.parse(tmp_path / "r/report.xml").getroot()
    assert int(root.get("failures", "0")) >= 2
    page = (tmp_path / "r/report.html").read_text(encoding="utf-8")
    assert "Not passed" in page


def test_no_runtime_and_absent_ones(cli, bundle_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(medsdk_runtimes, "available", lambda: ())
    done = cli("verify", bundle_dir, "--report", tmp_path / "r")
    assert done.status == 3
    report = _report(tmp_path / "r")
    assert (report.verdict, report.candidates) == ("not-run", ())
    assert report.reasons
    assert [(claim.scope.candidate, claim.n) for claim in report.evidence.claims] == [
        *(("onnxruntime", 0), ("openvino", 0), ("tensorrt", 0)),
    ]


def test_a_folder_of_somebody_else_stays_and_nothing_is_run(cli, bundle_dir, tmp_path):
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    done = cli("verify", bundle_dir, "--report", tmp_path, "--json")
    assert (done.status, done.json["error"]["code"]) == (2, "report-folder")
    assert done.err == ""
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    wrong = cli("verify", bundle_dir, "--language", "fr", "--json")
    assert (wrong.status, wrong.json["error"]["code"]) == (2, "usage")
