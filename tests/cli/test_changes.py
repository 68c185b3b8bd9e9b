"""`medsdk diff` and `medsdk accept` as their user meets them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from medsdk.reports import Report
from tests.conftest import blob_image, dicom_bytes, mr_object

CANARY = "Canary^Patient"


@pytest.fixture
def phantom(tmp_path: Path) -> Path:
    folder = tmp_path / CANARY
    folder.mkdir()
    for number in range(1, 4):
        dataset = mr_object(blob_image(700 + number, positive=number % 2 == 0))
        dataset.PatientName = CANARY
        (folder / f"{CANARY}-{number}.dcm").write_bytes(dicom_bytes(dataset))
    return folder


def test_diff_of_a_bundle_with_itself(cli, bundle_dir, packed):
    done = cli("diff", bundle_dir, packed, "--json", "--quiet")
    assert done.status == 0
    report = Report.model_validate_json(done.out)
    assert (report.kind, report.verdict, report.changes) == ("diff", "pass", ())
    done = cli("diff", bundle_dir, packed)
    assert (done.status, "nothing changed" in done.out) == (0, True)
    assert done.out.rstrip().endswith("PASS")


def test_diff_of_two_candidates(cli, bundle_dir, tmp_path):
    words = ("diff", bundle_dir, bundle_dir, "--variant-b", "int8-cpu", "--quiet")
    done = cli(*words, "--report", tmp_path / "report", "--language", "ja", "--with-images")
    assert done.status == 5
    assert "fp32    int8-cpu" in done.out
    assert "149 cases without a flip would decide it" in done.out
    assert {path.name for path in (tmp_path / "report").iterdir()} == {
        *("report.json", "report.html", "report.xml")
    }
    report = Report.model_validate_json((tmp_path / "report/report.json").read_bytes())
    assert report.verdict == "not-conclusive"
    assert "data:image/png" in (tmp_path / "report/report.html").read_text(encoding="utf-8")


def test_diff_says_what_is_wrong(cli, bundle_dir, tmp_path):
    (tmp_path / "none").mkdir()
    for words, status, code in (
        ((bundle_dir,), 2, "usage"),
        ((bundle_dir, tmp_path / "none"), 4, "bundle-unreadable"),
        ((bundle_dir, bundle_dir, "--runtime-b", "tensorrt-rtx"), 3, "runtime-unavailable"),
        ((bundle_dir, bundle_dir, "--variant-b", "int4"), 2, "variant-unavailable"),
        ((bundle_dir, bundle_dir, "--cases", tmp_path / "no.csv"), 2, "cases-refused"),
    ):
        done = cli("diff", *words, "--json", "--quiet")
        assert (done.status, done.json["error"]["code"]) == (status, code), words


def test_a_bundle_for_benchmarks_is_refused_unless_explored(
    cli, bundle_dir, signed_again, phantom, tmp_path
):
    def benchmark(manifest):
        manifest["purpose"] = manifest["task"]["purpose"] = "benchmark"

    bundle = signed_again(benchmark)
    for words in (
        ("diff", bundle, bundle),
        ("accept", bundle, "--phantom", phantom, "--values", tmp_path / "v.json", "--store"),
    ):
        done = cli(*words, "--json", "--quiet")
        assert (done.status, done.json["error"]["code"]) == (2, "variant-unavailable")
        assert cli(*words, "--explore", "--json", "--quiet").status == 0


def test_answers_take_no_candidate(cli, bundle_dir, tmp_path):
    cli("diff", bundle_dir, bundle_dir, "--variant-b", "int8-cpu", "--out", tmp_path / "kept")
    one, two = sorted((tmp_path / "kept").rglob("*.jsonl"))
    done = cli("diff", one, two, "--json")
    assert done.status == 5
    assert [item["what"] for item in done.json["changes"]] == [*("variant", "precision")]
    done = cli("diff", one, two, "--runtime", "openvino", "--json")
    assert (done.status, done.json["error"]["code"]) == (2, "usage")


def test_accept_stores_and_checks(cli, bundle_dir, phantom, tmp_path):
    values = tmp_path / "values.json"
    words = ("accept", bundle_dir, "--phantom", phantom, "--values", values, "--quiet")
    done = cli(*words, "--json")
    assert (done.status, done.json["error"]["code"]) == (4, "values-unreadable")
    done = cli(*words, "--store", "--json")
    assert done.status == 0
    assert Report.model_validate_json(done.out).kind == "accept"
    for text in (done.out, done.err, values.read_text(encoding="utf-8")):
        assert "Canary" not in text
    before = values.read_bytes()
    done = cli(*words, "--store", "--json")
    assert (done.status, done.json["error"]["code"]) == (3, "output-not-writable")
    assert values.read_bytes() == before
    assert cli(*words, "--store", "--force", "--variant", "int8-cpu").status == 0
    # The stored candidate is the one that is checked.
    done = cli(*words, "--report", tmp_path / "report", "--with-images", "--json")
    assert (done.status, done.json["verdict"]) == (0, "pass")
    assert done.json["candidates"][0]["networks"]["filter"]["variant"] == "int8-cpu"
    assert "Canary" not in done.out + done.err
    assert "Canary" not in (tmp_path / "report/report.html").read_text(encoding="utf-8")

    shutil.copy(phantom / f"{CANARY}-1.dcm", tmp_path / "kept.dcm")
    (phantom / f"{CANARY}-1.dcm").unlink()
    done = cli(*words)
    assert done.status == 1
    assert "image 1" in done.out
    assert "Canary" not in done.out + done.err

    document = json.loads(values.read_bytes())
    document["tolerance"]["filter.logits"] = 1e9
    values.write_text(json.dumps(document), encoding="utf-8")
    done = cli(*words, "--json")
    assert (done.status, done.json["error"]["code"]) == (1, "values-tampered")


@pytest.mark.parametrize(
    "words",
    [
        ("--force",),
        ("--max-probability-change", "0.1"),
        ("--store", "--new-acquisition"),
        ("--store", "--max-probability-change", "1.5"),
    ],
)
def test_accept_refuses_words_that_do_not_go_together(cli, bundle_dir, phantom, tmp_path, words):
    values = tmp_path / "values.json"
    done = cli("accept", bundle_dir, "--phantom", phantom, "--values", values, *words, "--json")
    assert (done.status, done.json["error"]["code"]) == (2, "usage")
