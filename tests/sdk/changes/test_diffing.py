"""Two bundles, two candidates, two machines: one verdict, for the reason that was planted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pydicom
import pytest
from onnx import numpy_helper

from medsdk.bundle.reading import Bundle
from medsdk.changes.running import Pins
from medsdk.changes.sides import read_side
from medsdk.errors import (
    AnswersMismatchError,
    AnswersUnreadableError,
    BundleUnreadableError,
    GraphRefusedError,
    KnownAnswerFailedError,
    NotComparableError,
    VariantUnavailableError,
)
from medsdk.evaluation import running
from medsdk.evaluation.answers import Answer
from medsdk.parity.known_answers import check_on_load
from medsdk.pipeline import Pipeline
from medsdk.plan.candidate import Candidate
from medsdk.reports.report import Report
from medsdk.tasks import Task
from medsdk_export.decision_probes import decision_probes
from tests.sdk.changes.documents import claim_of

Edit = Callable[[Path, dict[str, Any]], None]
FEW = 30
FP32, INT8 = Pins(variant="fp32"), Pins(variant="int8-cpu")


def _both(*edits: Edit) -> Edit:
    def change(folder: Path, manifest: dict[str, Any]) -> None:
        for edit in edits:
            edit(folder, manifest)

    return change


@pytest.fixture(scope="module")
def few(vendor: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of the vendor's first cases: enough for a gate of 10 %."""
    rows = vendor.cases.read_text(encoding="utf-8").splitlines()[: FEW + 1]
    table: Path = tmp_path_factory.mktemp("few") / "cases.csv"
    lines = [rows[0], *(f"{vendor.cases.parent}/{row}" for row in rows[1:])]
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return table


@pytest.fixture
def made(tampered: Callable[[Edit], Path]) -> Callable[..., Path]:
    """A copy of the bundle whose gate 30 cases can decide, with further changes."""

    def gate(_: Path, manifest: dict[str, Any]) -> None:
        manifest["task"]["gates"]["classification"]["max_flip_rate"] = 0.1

    return lambda *edits: tampered(_both(gate, *edits))


def _retrained(by: float, *variants: str) -> Edit:
    """A bias of the head that moves, within the tolerance of the known answers or not."""

    def change(folder: Path, manifest: dict[str, Any]) -> None:
        for variant in variants:
            path = folder / f"networks/filter/{variant}.onnx"
            model = onnx.load(path)
            bias = next(
                item
                for item in model.graph.initializer
                if list(item.dims) == [2] and item.data_type == onnx.TensorProto.FLOAT
            )
            moved = numpy_helper.to_array(bias) + np.array([0, by], np.float32)
            bias.CopyFrom(numpy_helper.from_array(moved.astype(np.float32), bias.name))
            path.write_bytes(model.SerializeToString())

    return change


def test_a_bundle_against_itself_is_the_same_without_running(differ, bundle_dir, packed, tmp_path):
    report = differ(bundle_dir, packed)
    assert (report.verdict, report.changes, report.reasons) == ("pass", (), ())
    assert report.evidence.claims == ()
    assert not (tmp_path / "out").exists()


def test_with_cases_a_bundle_against_itself_is_run(differ, bundle_dir, few):
    report = differ(bundle_dir, bundle_dir, FP32, cases=few)
    assert (report.verdict, report.changes) == ("pass", ())
    assert (claim_of(report, "flips").n, claim_of(report, "flips").events) == (FEW, 0)


def test_two_candidates_on_the_known_answers_prove_little_and_say_how_little(differ, bundle_dir):
    report = differ(bundle_dir, bundle_dir, FP32, INT8)
    assert [(item.what, item.before, item.after) for item in report.changes] == [
        ("variant", "fp32", "int8-cpu"),
        ("precision", "fp32", "int8"),
    ]
    assert report.verdict == "not-conclusive"
    flips = claim_of(report, "flips")
    assert (flips.n, flips.events) == (6, 0)
    assert flips.bound is not None
    assert flips.bound.high == pytest.approx(1 - 0.05 ** (1 / 6))
    assert "149 cases without a flip" in report.reasons[0]
    assert report.patients is None
    assert [item.title for item in report.candidates] == [
        *("A: onnxruntime fp32", "B: onnxruntime int8-cpu")
    ]
    assert [item.reference for item in report.candidates] == [True, False]


def test_two_candidates_on_enough_cases(differ, bundle_dir, vendor):
    report = differ(bundle_dir, bundle_dir, FP32, INT8, vendor.cases)
    assert (report.verdict, report.reasons) == ("pass", ())
    assert (report.cases, report.patients) == (160, 160)
    assert report.evidence.worst


def test_two_runtimes_are_two_candidates(differ, bundle_dir):
    report = differ(bundle_dir, bundle_dir, FP32, Pins(runtime="openvino", variant="fp32"))
    assert [item.what for item in report.changes] == ["runtime", "runtime-version"]


def test_weights_that_move_a_little(differ, made, few):
    second = made(_retrained(1e-6, "fp32"))
    report = differ(made(), second, FP32, cases=few)
    assert [(item.what, item.where) for item in report.changes] == [("weights", "filter fp32")]
    assert report.verdict == "pass"
    assert claim_of(report, "flips").events == 0
    assert (
        next(item for item in report.candidates if not item.reference).bundle.sha256
        == Bundle.open(second).sha256
    )


def test_without_a_pin_every_variant_is_compared_and_what_is_not_is_said(differ, made, few):
    report = differ(made(), made(_retrained(1e-6, "fp32", "int8-gpu")), cases=few)
    assert {item.title for item in report.candidates} == {
        *("A: onnxruntime fp32", "B: onnxruntime fp32"),
        *("A: onnxruntime int8-cpu", "B: onnxruntime int8-cpu"),
    }
    assert [(item.what, item.where) for item in report.changes] == [
        ("weights", "filter fp32"),
        ("weights", "filter int8-gpu"),
    ]
    assert report.verdict == "not-conclusive"
    assert len(report.reasons) == 1
    assert report.reasons[0].startswith("int8-gpu of 'filter' is new or changed and was not run")


def test_a_second_side_that_misses_its_known_answers_fails(differ, bundle_dir, tampered):
    report = differ(bundle_dir, tampered(_retrained(1.0, "fp32")), FP32)
    assert report.verdict == "fail"
    assert "the second side could not be asked: known-answer-failed" in report.reasons[0]


def test_a_first_side_that_misses_its_known_answers_decides_nothing(differ, bundle_dir, tampered):
    report = differ(tampered(_retrained(1.0, "fp32")), bundle_dir, FP32)
    assert report.verdict == "not-conclusive"
    assert "the approved side could not be asked" in report.reasons[0]


@pytest.mark.parametrize("opens", [True, False])
def test_what_was_asked_differs_though_the_approved_side_never_answered(
    differ, bundle_dir, few, tmp_path, monkeypatch, opens
):
    """Two candidates of one bundle, and a bundle against answers: neither is the same."""
    differ(bundle_dir, bundle_dir, INT8, cases=few, place="elsewhere")
    (path,) = (tmp_path / "elsewhere/b").rglob("*.jsonl")
    if opens:

        def check(bundle: Bundle, candidate: Candidate, pipeline: Any, *, every: bool) -> int:
            if candidate.networks["filter"].variant == "fp32":
                raise KnownAnswerFailedError("this machine does not reproduce a known answer")
            return check_on_load(bundle, candidate, pipeline, every=every)

        monkeypatch.setattr(running, "check_on_load", check)
    else:
        real_open = Pipeline.open

        def refuse(bundle: Bundle, candidate: Candidate) -> Pipeline:
            if candidate.networks["filter"].variant == "fp32":
                raise GraphRefusedError("the runtime does not take the graph")
            return real_open(bundle, candidate)

        monkeypatch.setattr(Pipeline, "open", staticmethod(refuse))
    for report in (
        differ(bundle_dir, bundle_dir, FP32, INT8),
        differ(bundle_dir, path, FP32, cases=few),
    ):
        assert report.verdict == "not-conclusive"
        assert "the approved side could not be asked" in report.reasons[0]
        found = [(item.what, item.before, item.after) for item in report.changes]
        assert ("variant", "fp32", "int8-cpu") in found
        assert {what for what, *_ in found} <= {"variant", "precision"}
    (same,) = {differ(bundle_dir, bundle_dir, FP32, cases=few).verdict}
    assert same == "not-conclusive"  # nothing differs, and nothing was seen


def _threshold(value: float) -> Edit:
    def change(_: Path, manifest: dict[str, Any]) -> None:
        manifest["task"]["thresholds"]["tumour-probability"]["value"] = value
        task = Task.model_validate_json(json.dumps(manifest["task"]))
        manifest["decision_probes"] = [probe.model_dump() for probe in decision_probes(task)]

    return change


def test_a_threshold_that_costs_sensitivity_fails(differ, bundle_dir, tampered, few):
    # Just above the least sure known answer, so that they all stay as they are.
    known = Bundle.open(bundle_dir).manifest.known_answers
    sure = min(item.probabilities["tumour"] for item in known if item.label == "tumour")
    report = differ(bundle_dir, tampered(_threshold(sure - 1e-3)), FP32, cases=few)
    assert [(item.what, item.where) for item in report.changes] == [
        ("thresholds", "tumour-probability")
    ]
    flips = claim_of(report, "flips-to-negative")
    assert flips.events is not None
    assert flips.events > 0
    assert (report.verdict, claim_of(report, "sensitivity-change").verdict) == ("fail", "fail")
    worst = report.evidence.worst[0]
    assert (worst.reference, worst.variant) == ("tumour", "none")


def test_preprocessing_that_changed_is_compared_and_not_refused(
    differ, bundle_dir, tampered, without_medsdk
):
    def other_kernel(folder: Path, manifest: dict[str, Any]) -> None:
        resize = manifest["task"]["networks"]["filter"]["pixels"]["resize"]
        resize["kernel"] = "pil.bilinear.auto13"
        images = [
            pydicom.dcmread(folder / item["input"]).pixel_array
            for item in manifest["known_answers"]
        ]
        without_medsdk.rebuild(folder, manifest, images)

    report = differ(bundle_dir, tampered(other_kernel), FP32)
    assert [(item.what, item.where) for item in report.changes] == [
        ("preprocessing", "filter.resize.kernel")
    ]
    assert claim_of(report, "flips").n == 6


@pytest.mark.parametrize(("version", "verdict"), [("1.0.0", "fail"), ("7.0.0", "not-conclusive")])
def test_gates_need_another_version(differ, bundle_dir, tampered, version, verdict):
    def change(_: Path, manifest: dict[str, Any]) -> None:
        gate = manifest["task"]["gates"]["classification"]
        gate["max_flip_rate"] = 0.5
        if version != "1.0.0":
            manifest["version"] = manifest["task"]["version"] = version

    report = differ(bundle_dir, tampered(change), FP32)
    assert report.verdict == verdict
    # The gates of the approved side judge, not the wider ones.
    assert claim_of(report, "flips").limit == 0.02
    assert ("under an equal version" in report.reasons[0]) == (verdict == "fail")


def test_another_question_is_refused(differ, bundle_dir, tampered):
    other = tampered(lambda _, manifest: manifest["task"].update(id="vendor/other"))
    with pytest.raises(NotComparableError, match="other questions"):
        differ(bundle_dir, other)


def test_a_variant_that_one_side_lacks_is_refused(differ, bundle_dir, tampered):
    def withdrawn(folder: Path, manifest: dict[str, Any]) -> None:
        variant = manifest["networks"]["filter"]["variants"]["int8-cpu"]
        (folder / variant.pop("file")).unlink()
        variant["status"], variant["reason"] = "rejected", "it was withdrawn"

    second = tampered(withdrawn)
    with pytest.raises(VariantUnavailableError):
        differ(bundle_dir, second, INT8)
    report = differ(bundle_dir, second)
    assert ("variant", "filter int8-cpu status") in [
        (item.what, item.where) for item in report.changes
    ]


def _never(*_: object) -> Answer:
    raise AssertionError("it was asked again")


def test_kept_answers_are_gone_on_with_and_those_of_another_bundle_refused(
    differ, bundle_dir, tampered, tmp_path, monkeypatch
):
    differ(bundle_dir, bundle_dir, FP32, INT8)
    kept = sorted((tmp_path / "out").rglob("*.jsonl"))
    assert [path.name for path in kept] == ["onnxruntime-fp32.jsonl", "onnxruntime-int8-cpu.jsonl"]
    monkeypatch.setattr("medsdk.evaluation.running.ask", _never)
    assert claim_of(differ(bundle_dir, bundle_dir, FP32, INT8), "flips").n == 6
    with pytest.raises(AnswersMismatchError):
        differ(bundle_dir, tampered(_retrained(1e-6, "int8-cpu")), FP32, INT8)


def test_a_bundle_against_answers_from_elsewhere(differ, made, few, tmp_path):
    bundle_dir = made()
    differ(bundle_dir, bundle_dir, FP32, INT8, few, place="elsewhere")
    (path,) = (tmp_path / "elsewhere/b").rglob("*.jsonl")
    with pytest.raises(NotComparableError, match="without the cases"):
        differ(bundle_dir, path)
    for sides, expected in (
        ((bundle_dir, path), ["variant", "precision"]),
        ((path, bundle_dir), ["variant", "precision"]),
    ):
        report = differ(*sides, FP32, cases=few)
        assert [item.what for item in report.changes] == expected
        assert report.verdict == "pass"


def _enveloped(
    cases_sha256: str,
    may_change: tuple[str, ...] = ("weights",),
    min_cases: int = FEW,
    **limits: float,
) -> Edit:
    def change(_: Path, manifest: dict[str, Any]) -> None:
        manifest["optional"] = ["change_envelope"]
        manifest["change_envelope"] = {
            "may_change": list(may_change),
            "limits": {
                "max_flip_rate": 0.1,
                "max_sensitivity_loss": 0.01,
                "max_specificity_loss": 0.01,
            }
            | limits,
            "cases_sha256": cases_sha256,
            "min_cases": min_cases,
        }

    return change


@pytest.fixture
def envelope(differ: Any, made: Any, few: Path) -> Callable[..., Report]:
    """A against a B that carries the same envelope and one more change."""

    def run(edit: Edit, cases_sha256: str = "", **declared: Any) -> Report:
        if not cases_sha256:
            bundle = made()
            cases_sha256 = differ(bundle, bundle, FP32, cases=few, place="sha").cases_sha256
        enveloped = _enveloped(cases_sha256, **declared)
        found: Report = differ(made(enveloped), made(enveloped, edit), FP32, cases=few)
        return found

    return run


def test_a_change_within_the_envelope(envelope):
    report = envelope(_retrained(1e-6, "fp32"))
    assert (report.envelope, report.verdict, report.reasons) == ("inside", "pass", ())
    assert [(item.what, item.allowed) for item in report.changes] == [("weights", True)]
    assert report.gates["change_envelope.max_flip_rate"] == 0.1


def test_a_change_that_the_envelope_forbids(envelope):
    report = envelope(_both(_retrained(1e-6, "fp32"), _threshold(0.51)), "d" * 64)
    assert (report.envelope, report.verdict) == ("outside", "fail")
    assert {item.what: item.allowed for item in report.changes} == {
        "weights": True,
        "thresholds": False,
    }
    assert "other cases" in report.reasons[1]


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ({"cases_sha256": "d" * 64}, "other cases than the envelope names"),
        ({"max_flip_rate": 0.05}, "the rate is under"),
    ],
)
def test_what_cannot_be_decided(envelope, declared, said):
    report = envelope(_retrained(1e-6, "fp32"), **declared)
    assert (report.envelope, report.verdict) == ("undecidable", "not-conclusive")
    assert said in report.reasons[0]


@pytest.mark.parametrize(
    ("loss", "place"), [(1.0, "inside"), (0.01, "outside")], ids=["allowed", "too much"]
)
def test_each_loss_is_held_to_the_envelopes_limit(envelope, bundle_dir, loss, place):
    known = Bundle.open(bundle_dir).manifest.known_answers
    sure = min(item.probabilities["tumour"] for item in known if item.label == "tumour")
    report = envelope(
        _threshold(sure - 1e-3),
        may_change=("thresholds",),
        max_flip_rate=1.0,
        max_sensitivity_loss=loss,
        min_metric_ratio=0.0,
    )
    assert report.envelope == place
    if place == "outside":
        assert report.reasons[0].startswith("a limit of the envelope is exceeded: ")
        assert "sensitivity" in report.reasons[0]


def test_the_same_bundle_lies_inside_its_envelope_without_a_case(differ, tampered):
    bundle = tampered(_enveloped("d" * 64))
    report = differ(bundle, bundle)
    assert (report.envelope, report.verdict) == ("inside", "pass")


def test_an_envelope_that_is_gone_is_one_row_with_its_remedy(differ, tampered):
    first, second = tampered(_enveloped("d" * 64)), tampered(lambda *_: None)
    report = differ(first, second, FP32)
    assert [(item.what, item.where, item.before, item.after) for item in report.changes] == [
        ("gates", "change_envelope", "declared", "absent")
    ]
    assert report.envelope == "outside"
    assert any("export B with the same --envelope" in reason for reason in report.reasons)


def test_an_envelope_that_changes_is_a_changed_gate(differ, tampered):
    first, second = tampered(_enveloped("d" * 64)), tampered(_enveloped("d" * 64, min_cases=9))
    report = differ(first, second, FP32)
    assert [(item.what, item.where) for item in report.changes] == [
        ("gates", "change_envelope.min_cases")
    ]
    assert report.verdict == "fail"


def test_a_file_that_is_neither_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"{}\n")
    with pytest.raises(AnswersUnreadableError):
        read_side(tmp_path / "file")
    (tmp_path / "file").write_bytes(b"neither")
    with pytest.raises(BundleUnreadableError):
        read_side(tmp_path / "file")
    with pytest.raises(BundleUnreadableError):
        read_side(tmp_path / "nothing")
