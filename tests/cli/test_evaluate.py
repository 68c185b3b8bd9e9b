"""`medsdk evaluate` as its user meets it: exit statuses, text, JSON, reports, refusals."""

from __future__ import annotations

import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest

SCHEMA = Path(__file__).parents[2] / "docs/schemas/report.schema.json"
FAST = ("--runtime", "onnxruntime", "--variant", "int8-cpu", "--threads", "1", "--quiet")


@pytest.fixture(scope="module")
def answered(vendor: Any, bundle_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place where the vendor's 160 cases were answered once."""
    from medsdk.bundle import Bundle
    from medsdk.evaluation.evaluating import EvaluationRequest, evaluate

    out = tmp_path_factory.mktemp("answered") / "out"
    request = EvaluationRequest(
        bundle=Bundle.open(bundle_dir),
        table=vendor.cases,
        out=out,
        runtimes=("onnxruntime",),
        variants=("int8-cpu",),
        threads=1,
    )
    evaluate(request, lambda phase, done, total: None)
    return out


@pytest.fixture
def few(vendor: Any, tmp_path: Path) -> Path:
    """The table of the vendor's first 20 cases."""
    table = tmp_path / "few.csv"
    header, *rows = vendor.cases.read_text("utf-8").splitlines()[:21]
    lines = [header, *(f"{vendor.cases.parent}/{row}" for row in rows)]
    table.write_text("\n".join(lines) + "\n", "utf-8")
    return table


def test_enough_cases_pass(cli, bundle_dir, vendor, answered):
    done = cli("evaluate", bundle_dir, "--cases", vendor.cases, "--out", answered, *FAST)
    assert done.status == 0, done.err
    lines = done.out.splitlines()
    assert lines[1:3] == [
        "Reference network trained on synthetic phantoms: not for clinical use.",
        "160 cases of 160 patients",
    ]
    assert "onnxruntime fp32 (the reference)" in lines
    assert "onnxruntime int8-cpu (pass)" in lines
    # 0 of 160: the one-sided bound is 1 - 0.05 ** (1 / 160), by arithmetic, and rounded up.
    (flips,) = [line for line in lines if line.startswith("flips ")]
    bound = math.ceil((1 - 0.05 ** (1 / 160)) * 10_000) / 100
    assert re.split("  +", flips)[1:3] == ["0 in 160 slices", f"under {bound:.2f} %"]
    assert lines[-1] == "PASS"


def test_a_case_without_a_truth_is_told(cli, bundle_dir, vendor, answered, tmp_path):
    """It counts for flips alone, and the accuracy of 19 of 20 cases must not read as of all."""
    header, *rows = vendor.cases.read_text("utf-8").splitlines()[:21]
    place = header.split(",").index("truth")
    cells = rows[0].split(",")
    cells[place] = ""
    rows = [f"{vendor.cases.parent}/{row}" for row in (",".join(cells), *rows[1:])]
    table = tmp_path / "one.csv"
    table.write_text("\n".join([header, *rows]) + "\n", "utf-8")
    done = cli("evaluate", bundle_dir, "--cases", table, *FAST)
    assert done.out.splitlines()[3] == "1 of 20 cases has no truth"


def test_json_is_the_report(cli, bundle_dir, vendor, answered):
    words = ("evaluate", bundle_dir, "--cases", vendor.cases, "--out", answered, *FAST)
    document = cli(*words, "--json").json
    schema = json.loads(SCHEMA.read_text("utf-8"))
    jsonschema.Draft202012Validator(schema).validate(document)
    assert (document["kind"], document["verdict"]) == ("evaluate", "pass")
    assert (document["cases"], document["patients"]) == (160, 160)
    assert [item["reference"] for item in document["candidates"]] == [True, False]
    assert document["gates"]["classification.max_flip_rate"] == 0.02
    measures = {item["measure"] for item in document["evidence"]["claims"]}
    assert {"accuracy", "sensitivity", "specificity", "flips", "no-result"} <= measures


def test_too_few_cases_are_not_conclusive(cli, bundle_dir, few):
    done = cli("evaluate", bundle_dir, "--cases", few, *FAST)
    assert done.status == 5
    assert done.out.endswith("\nNOT-CONCLUSIVE\n")
    assert "20 cases, the limit of flips needs 149" in done.out


def test_a_report_with_pictures_warns(cli, bundle_dir, vendor, answered, tmp_path):
    folder = tmp_path / "report"
    words = ("evaluate", bundle_dir, "--cases", vendor.cases, "--out", answered, *FAST)
    plain = cli(*words, "--report", folder, "--language", "ja")
    assert plain.status == 0, plain.err
    assert {path.name for path in folder.iterdir()} == {"report.json", "report.html", "report.xml"}
    page = (folder / "report.html").read_text("utf-8")
    assert 'lang="ja"' in page
    assert "data:image/png" not in page
    assert "who a patient is" not in plain.err
    shown = cli(*words, "--report", folder, "--with-images")
    assert shown.status == 0
    assert "may show who a patient is" in shown.err
    assert "data:image/png;base64," in (folder / "report.html").read_text("utf-8")
    assert json.loads((folder / "report.json").read_text("utf-8"))["kind"] == "evaluate"


def test_a_folder_of_something_else_is_refused_before_anything_is_run(
    cli, bundle_dir, vendor, tmp_path
):
    (tmp_path / "thesis.txt").write_text("mine")
    out = tmp_path / "new"
    done = cli(
        *("evaluate", bundle_dir, "--cases", vendor.cases, "--out", out, "--report", tmp_path),
        "--json",
    )
    assert (done.status, done.json["error"]["code"]) == (2, "report-folder")
    assert not out.exists()


@pytest.mark.parametrize(
    ("words", "status", "code"),
    [
        (("--cases", "none.csv"), 2, "cases-refused"),
        (("--cases", "CASES", "--runtime", "tensorrt-none"), 3, "runtime-unavailable"),
        (("--cases", "CASES", "--variant", "int4"), 2, "variant-unavailable"),
        (("--cases", "CASES", "--isa", "mmx"), 2, "variant-unavailable"),
        (("--cases", "CASES", "--reference", "none.jsonl"), 4, "answers-unreadable"),
        (("--cases", "CASES", "--reference", "CASES"), 4, "answers-unreadable"),
        (("--cases", "CASES", "--within-patient", "colour"), 2, "cases-refused"),
        (("--cases", "CASES", "--out", "CASES"), 3, "output-not-writable"),
        ((), 2, "usage"),
    ],
)
def test_what_cannot_be_evaluated(cli, bundle_dir, vendor, words, status, code):
    words = [vendor.cases if word == "CASES" else word for word in words]
    done = cli("evaluate", bundle_dir, *words, "--json", "--quiet")
    error = done.json["error"]
    assert (done.status, error["code"], error["exit_status"]) == (status, code, status)
    assert "Traceback" not in done.err
    assert "cases.csv" not in done.out
    if code != "usage":
        assert error["what"]
        assert error["expected"]


def test_a_bundle_for_benchmarks_makes_no_claim(cli, signed_again, few):
    def benchmark(manifest: dict[str, Any]) -> None:
        manifest["purpose"] = manifest["task"]["purpose"] = "benchmark"

    place = signed_again(benchmark)
    refused = cli("evaluate", place, "--cases", few, *FAST, "--json")
    assert (refused.status, refused.json["error"]["code"]) == (2, "variant-unavailable")
    done = cli("evaluate", place, "--cases", few, *FAST, "--explore", "--json")
    assert (done.status, done.json["verdict"]) == (0, "advisory")
    shutil.rmtree(place)


def test_progress_names_case_and_candidate(cli, bundle_dir, few):
    words = [word for word in FAST if word != "--quiet"]
    said = cli("evaluate", bundle_dir, "--cases", few, *words).err.splitlines()
    assert said == [
        "reading the cases  0 of 20",
        "candidate 1 of 2, onnxruntime on CPU (filter: fp32): case  0 of 20",
        "candidate 2 of 2, onnxruntime on CPU (filter: int8-cpu): case  0 of 20",
        "comparing candidate  0 of 2",
    ]
