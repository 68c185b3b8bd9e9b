"""`medsdk demo` as `make demo` runs it: the main job from end to end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from medsdk.cli.main import run


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo") / "out"
    assert run(["demo", "--out", str(out), "--quiet"]) == 0
    return out


def test_demo_leaves_what_it_says(demo: Path) -> None:
    document = json.loads((demo / "demo.json").read_text(encoding="utf-8"))
    assert document["verdict"] == "pass"
    assert "not for clinical use" in document["notice"]
    for name in document["files"]:
        assert (demo / name).exists(), name
    with Image.open(demo / "finding.png") as picture:
        assert picture.width >= 480


def test_demo_judged_int8_on_labelled_cases(demo: Path) -> None:
    document = json.loads((demo / "demo.json").read_text(encoding="utf-8"))
    variants = document["variants"]["filter"]
    assert variants["fp32"]["status"] == "shipped"
    assert variants["int8-cpu"]["status"] in ("shipped", "rejected")
    assert {record["cases"] for record in variants["int8-cpu"]["parity"]} == {400}
    assert variants["int8-cpu"]["reason"]


def test_demo_answers_for_every_frame_of_real_objects(demo: Path) -> None:
    run_document = json.loads((demo / "results/findings.json").read_text(encoding="utf-8"))
    # Five single-frame objects and emri_small, which has ten frames.
    assert len(run_document["findings"]) == 15
    assert {finding["status"] for finding in run_document["findings"]} == {"ok"}
    assert run_document["refused"] == []


def test_demo_shows_a_refused_modality(demo: Path) -> None:
    error = json.loads((demo / "demo.json").read_text(encoding="utf-8"))["refused_modality"]
    assert error["exit_status"] == 2
    assert "US" in error["got"]
    assert "MR" in error["expected"]


def test_demo_answers_for_every_frame_of_a_real_clip(demo: Path) -> None:
    clip = json.loads((demo / "demo.json").read_text(encoding="utf-8"))["clip"]
    assert clip["verdict"] == "pass"
    assert "phantoms" in clip["notice"]
    assert "not for clinical use" in clip["notice"]
    found = json.loads((demo / "liver/results/findings.json").read_text(encoding="utf-8"))
    assert found["notice"] == clip["notice"]
    assert [item["frame_number"] for item in found["findings"]] == list(range(1, 121))
    assert {item["status"] for item in found["findings"]} == {"ok"}
    assert {tuple(item["region"]) for item in found["findings"]} == {tuple(clip["roi"])}
    # Neighbouring frames of a beating heart differ, so the probabilities do.
    assert len({json.dumps(item["probabilities"]) for item in found["findings"]}) > 100


def test_demo_refuses_a_folder_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine", encoding="utf-8")
    assert run(["demo", "--out", str(tmp_path), "--quiet"]) == 2
    assert (tmp_path / "thesis.txt").read_text(encoding="utf-8") == "mine"
