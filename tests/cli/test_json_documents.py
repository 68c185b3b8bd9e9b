"""`--json`: one document on standard output that its committed schema describes, nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import medsdk
import medsdk_runtimes
from medsdk.results.schemas import DOCUMENTS
from medsdk_runtimes import onnxruntime_rt

SCHEMAS = Path(__file__).parents[2] / "docs/schemas"
VARIANTS = ("fp32", "int8-cpu", "int8-gpu")
BUNDLE_KEYS = {"name", "version", "sha256"}


def _check(name: str, document: Any) -> None:
    """Against the committed schema, and against the model, which takes no other key."""
    schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(document)
    DOCUMENTS[name].model_validate_json(json.dumps(document))


def test_verify(cli, bundle_dir):
    done = cli("verify", bundle_dir, "--json")
    document = done.json
    _check("verify", document)
    assert done.status == 0
    assert set(document) == {
        *("verdict", "reasons", "bundle", "candidates"),
        *("format_version", "absent_runtimes", "machine_sha256"),
    }
    assert set(document["bundle"]) == BUNDLE_KEYS
    assert document["bundle"]["sha256"] == medsdk.Bundle.open(bundle_dir).sha256
    assert document["verdict"] == "pass"
    seen = set()
    for candidate in document["candidates"]:
        assert set(candidate) == {
            *("runtime", "device", "networks", "verdict", "reasons"),
            *("cases", "flips", "max_abs_error", "settings"),
        }
        assert set(candidate["networks"]) == {"filter"}
        assert set(candidate["networks"]["filter"]) == {"variant", "precision"}
        variant = candidate["networks"]["filter"]["variant"]
        if variant == "int8-gpu":
            assert candidate["verdict"] == "advisory"
            assert candidate["reasons"][0].startswith("meant for tensorrt")
        else:
            assert candidate["reasons"] == []
            assert (candidate["cases"], candidate["flips"]) == (6, 0)
        seen.add((candidate["runtime"], candidate["networks"]["filter"]["variant"]))
    names = [runtime.name for runtime in medsdk_runtimes.available()]
    assert seen == {(name, variant) for name in names for variant in VARIANTS}


def test_verify_that_fails(cli, signed_again):
    def other_mean(manifest: dict[str, Any]) -> None:
        manifest["task"]["networks"]["filter"]["pixels"]["normalisation"]["mean"][0] += 1 / 255

    done = cli("verify", signed_again(other_mean), "--runtime", "onnxruntime", "--json")
    _check("verify", done.json)
    assert done.status == 1
    assert done.json["verdict"] == "fail"
    (fp32, int8, advice) = done.json["candidates"]
    assert [item["verdict"] for item in (fp32, int8, advice)] == ["fail", "fail", "advisory"]
    assert all("preprocess: " in item["reasons"][0] for item in (fp32, int8))


def test_verify_without_a_runtime(cli, bundle_dir, monkeypatch):
    monkeypatch.setattr(medsdk_runtimes, "available", lambda: ())
    done = cli("verify", bundle_dir, "--json")
    _check("verify", done.json)
    assert (done.status, done.json["verdict"], done.json["candidates"]) == (3, "not-run", [])
    assert done.json["absent_runtimes"] == ["onnxruntime", "openvino", "tensorrt"]


def test_a_candidate_that_did_not_open_has_no_error_to_measure(cli, bundle_dir, monkeypatch):
    def refuse(*_: object) -> None:
        raise medsdk.errors.GraphRefusedError("no such operator")

    monkeypatch.setattr(onnxruntime_rt.OnnxRuntime, "open", refuse)
    done = cli("verify", bundle_dir, "--runtime", "onnxruntime", "--json")
    _check("verify", done.json)
    assert done.status == 1
    assert [item["max_abs_error"] for item in done.json["candidates"]] == [None] * 3


def test_run(cli, bundle_dir, image, changed, tmp_path):
    folder = tmp_path / "in put"
    folder.mkdir()
    (folder / "a.dcm").write_bytes(image)
    (folder / "b.dcm").write_bytes(b"no DICOM")
    (folder / "c.dcm").write_bytes(changed(PixelData=b"\1\0" * (48 * 64)))
    done = cli("run", bundle_dir, folder, "--out", tmp_path / "out", "--json")
    document = done.json
    _check("run", document)
    assert done.status == 4
    assert set(document["bundle"]) == BUNDLE_KEYS
    assert [item["input_index"] for item in document["findings"]] == [1, 3]
    assert [item["input_index"] for item in document["refused"]] == [2]
    answered, empty = document["findings"]
    wanted = {"kind", "source_uid", "frame_number", "label", "probabilities", "status", "reason"}
    assert set(answered) == wanted | {"input_index", "affine", "region", "decoder"}
    assert answered["kind"] == "classification"
    assert (answered["status"], answered["reason"]) == ("ok", "")
    assert set(answered["probabilities"]) == {"none", "tumour"}
    assert sum(answered["probabilities"].values()) == pytest.approx(1)
    assert (empty["status"], empty["label"], empty["probabilities"]) == ("no-result", None, {})
    assert empty["reason"]
    assert document["notice"].endswith("not for clinical use.")
    assert document["plan"]["source"] == "default"
    assert document["plan"]["networks"]["filter"]["evidence"]
    with medsdk.load(bundle_dir) as engine:
        assert document["provenance"]["thresholds"] == dict(engine.provenance.thresholds)
        assert answered["probabilities"] == dict(engine.predict(image).probabilities)
    written = (tmp_path / "out/findings.json").read_text(encoding="utf-8")
    assert json.loads(written) == document


def test_export_and_its_errors(cli, vendor, tmp_path):
    words = ["export", "--task-file", vendor.task_file, "--model", vendor.model]
    words += ["--calibration", vendor.calibration, "--out", tmp_path / "büндle", "--json"]
    done = cli(*words, "--cases", vendor.cases, "--known-answers", "2")
    _check("export", done.json)
    assert (done.status, done.json["verification"], done.json["known_answers"]) == (0, "pass", 2)
    assert set(done.json["bundle"]) == BUNDLE_KEYS
    again = cli(*words, "--cases", vendor.cases)
    _check("error", again.json)
    assert (again.status, again.json["error"]["code"]) == (3, "output-not-writable")
    nothing = cli(*words[:-2], tmp_path / "other", "--json", "--cases", tmp_path / "no.csv")
    _check("error", nothing.json)
    assert (nothing.status, nothing.json["error"]["code"]) == (2, "inputs-refused")


def test_inspect(cli, bundle_dir):
    done = cli("inspect", bundle_dir, "--json")
    document = done.json
    _check("inspect", document)
    assert done.status == 0
    bundle = medsdk.Bundle.open(bundle_dir)
    assert document["bundle"] == {
        "name": "vendor-blob",
        "version": "1.0.0",
        "sha256": bundle.sha256,
    }
    assert document["known_answers"] == 6
    assert set(document["variants"]["filter"]) == set(VARIANTS)
    inside = [path for path in bundle_dir.rglob("*") if path.is_file()]
    assert document["files"] == len(inside) - 2
    assert document["size_bytes"] == sum(
        path.stat().st_size for path in inside if not path.name.startswith("manifest.")
    )


def test_the_gates_of_a_bundle_are_shown(cli, bundle_dir):
    document = cli("inspect", bundle_dir, "--json").json
    assert document["gates"]["classification.max_flip_rate"] == 0.02
    assert document["gates_sha256"] == document["provenance"]["gates_sha256"]
    assert document["declared"].endswith("Z")
    assert document["undeclared"] == []
    (flips,) = [
        item for item in document["requirements"] if item["gate"] == "classification.max_flip_rate"
    ]
    assert (flips["needed"], flips["have"], flips["patients"]) == (149, 160, 160)
    text = cli("inspect", bundle_dir).out
    assert document["gates_sha256"] in text
    assert "with 160 labelled cases of 160 patients" in text
    assert "NOT AS DECLARED" not in text
    assert "max_output_difference.cpu.filter.logits 1" in text


def test_the_gates_of_an_earlier_bundle_are_shown_uncounted(cli):
    earlier = Path(__file__).parents[1] / "bundles/0.1.0-first"
    document = cli("inspect", earlier, "--json").json
    assert (document["declared"], document["undeclared"]) == (None, [])
    assert {item["have"] for item in document["requirements"]} == {None}
    assert "this bundle has no protocol" in cli("inspect", earlier).out


def test_the_gates_of_a_task_are_shown_with_what_they_need(cli):
    text = cli("tasks", "show", "uterus-mr/tumor-filter").out
    (row,) = [line for line in text.splitlines() if "max_flip_rate " in line]
    assert row.split()[:3] == ["classification.max_flip_rate", "0.02", "proved"]
    assert "149" in row.split()


def test_bench(cli, bundle_dir):
    done = cli("bench", bundle_dir, "--threads", "1", "--p99-ms", "100000", "--json", "--quiet")
    document = done.json
    _check("bench", document)
    assert (done.status, document["verdict"], document["reasons"]) == (0, "pass", [])
    latency = document["latency"]
    assert latency["runs"] == latency["p99_runs_needed"] == 662
    assert latency["p50_ms"] <= latency["p99_ms"] == latency["max_ms"]
    assert document["p99_limit_ms"] == 100000
    assert document["memory_peak_bytes"] > 10e6
    assert document["plan"]["source"] == "pinned"
    assert done.err == ""


@pytest.mark.parametrize(
    ("words", "status", "verdict"),
    [
        (["--runs", "3"], 5, "not-conclusive"),
        (["--runs", "662", "--p99-ms", "0.001"], 1, "fail"),
    ],
)
def test_bench_without_a_pass(cli, bundle_dir, words, status, verdict):
    done = cli("bench", bundle_dir, *words, "--json")
    _check("bench", done.json)
    assert (done.status, done.json["verdict"]) == (status, verdict)
    assert done.json["reasons"]
    assert (done.json["latency"]["p99_ms"] is None) == (verdict == "not-conclusive")


def test_bench_of_a_candidate_without_parity(cli, signed_again):
    def other_frame(manifest: dict[str, Any]) -> None:
        """The frame of one answer takes another's place: only `pixels` alone sees it."""
        first, second, *_ = manifest["known_answers"]
        first["frame"] = second["frame"]

    done = cli("bench", signed_again(other_frame), "--runs", "662", "--json")
    _check("bench", done.json)
    assert (done.status, done.json["verdict"]) == (1, "fail")
    assert done.json["reasons"][0].startswith("parity: ka-001: pixels: ")
    assert done.json["parity"]["verdict"] == "fail"


def test_doctor(cli):
    done = cli("doctor", "--json")
    _check("doctor", done.json)
    assert done.status == 0
    assert {item["computed"] for item in done.json["runtimes"] if item["available"]} == {"pass"}


def test_doctor_without_a_runtime_that_works(cli, monkeypatch):
    monkeypatch.setattr(medsdk_runtimes, "known", lambda: ())
    done = cli("doctor", "--json")
    _check("doctor", done.json)
    assert done.status == 3
    assert done.json["problems"]


def test_tasks(cli):
    done = cli("tasks", "--json")
    _check("tasks", done.json)
    assert done.status == 0
    assert "uterus-mr/tumor-filter" in {row["id"] for row in done.json["tasks"]}


@pytest.mark.parametrize("words", [["show", "--json"], ["--json", "show"]])
def test_a_task_is_json_wherever_the_option_stands(cli, words):
    done = cli("tasks", *words, "uterus-mr/tumor-filter")
    assert done.status == 0
    assert done.json["id"] == "uterus-mr/tumor-filter"


def test_text_says_the_same_as_json(cli, bundle_dir, image, tmp_path):
    path = tmp_path / "a.dcm"
    path.write_bytes(image)
    document = cli("run", bundle_dir, path, "--out", tmp_path / "1", "--json").json
    text = cli("run", bundle_dir, path, "--out", tmp_path / "2").out
    finding = document["findings"][0]
    assert document["notice"] in text
    assert f"{finding['probabilities'][finding['label']]:.3f}" in text
    verdict = cli("verify", bundle_dir, "--runtime", "onnxruntime").out
    assert verdict.endswith("\nPASS\n")
    assert document["notice"] in verdict
    for words in (["inspect", bundle_dir], ["bench", bundle_dir, "--runs", "2"]):
        assert document["notice"] in cli(*words).out
