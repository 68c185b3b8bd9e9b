"""Probes stand right beside every boundary, and notice what known answers cannot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import medsdk
from medsdk.bundle import Bundle
from medsdk.decide import decide
from medsdk.errors import BundleUnreadableError, KnownAnswerFailedError
from medsdk.parity.decision_probes import check_probes
from medsdk.parity.verification import verify
from medsdk.tasks import Task, catalogue_task
from medsdk.tasks.decoding import ArgmaxRule, MaskRule, Threshold, ThresholdRule
from medsdk_export.decision_probes import STEP, decision_probes

TASK = catalogue_task("uterus-mr/tumor-filter")
NAME = "tumour-probability"


def _task(threshold: float, within: float = 0.0) -> Task:
    rule = ThresholdRule(
        kind="threshold",
        role="filter",
        label="tumour",
        otherwise="none",
        threshold=NAME,
        indeterminate_within=within,
    )
    return TASK.model_copy(
        update={
            "decision": TASK.decision.model_copy(update={"rule": rule}),
            "thresholds": {NAME: Threshold(value=threshold, meaning="for a test")},
        }
    )


def _argmax(count: int) -> Task:
    network = TASK.networks["filter"]
    labels = tuple(f"label {number}" for number in range(count))
    decode = network.decode.model_copy(update={"labels": labels})
    return TASK.model_copy(
        update={
            "networks": {"filter": network.model_copy(update={"decode": decode})},
            "decision": TASK.decision.model_copy(
                update={"rule": ArgmaxRule(kind="argmax", role="filter")}
            ),
        }
    )


bands = st.one_of(st.just(0.0), st.floats(1e-7, 0.49))


@settings(deadline=None, max_examples=50)
@given(st.floats(0, 1), bands)
def test_the_rule_decides_its_own_probes_as_meant(threshold, within):
    task = _task(threshold, within)
    assert decision_probes(task)
    assert check_probes(task, decision_probes(task)) == ()


@settings(deadline=None, max_examples=50)
@given(st.floats(0.02, 0.98), bands, st.sampled_from([-0.01, 0.01, -1e-5, 1e-5]))
def test_a_threshold_that_moved_is_noticed(threshold, within, shift):
    moved = _task(threshold + shift, within)
    said = check_probes(moved, decision_probes(_task(threshold, within)))
    assert said
    assert all(text.startswith("decide: ") for text in said)


def test_where_it_was_and_where_it_is():
    (where, *_) = check_probes(_task(0.51), decision_probes(_task(0.5)))
    assert where == (
        "decide: at export 'none' ended after 0.499999 and 'tumour' began at 0.5; the threshold "
        "'tumour-probability' is now 0.51"
    )


@pytest.mark.parametrize(("threshold", "within"), [(0.5, 0.0), (0.3, 0.0), (0.7, 0.1)])
def test_labels_of_the_rule_that_were_exchanged(threshold, within):
    task = _task(threshold, within)
    rule = task.decision.rule.model_copy(update={"label": "none", "otherwise": "tumour"})
    swapped = task.model_copy(update={"decision": task.decision.model_copy(update={"rule": rule})})
    (first, *_) = check_probes(swapped, decision_probes(task))
    assert first == (
        "decide: `label` and `otherwise` are exchanged: at export 'tumour' was the label and "
        "'none' what is said otherwise"
    )


@pytest.mark.parametrize(("before", "after"), [(0.0, 0.05), (0.05, 0.0), (0.05, 0.06)])
def test_another_band_is_noticed(before, after):
    said = check_probes(_task(0.5, after), decision_probes(_task(0.5, before)))
    assert any("indeterminate" in text for text in said)


def test_where_the_probes_stand():
    at = {probe.id: (probe.probabilities["tumour"], probe.label) for probe in decision_probes(TASK)}
    assert at == {
        "below-threshold": (pytest.approx(0.5 - STEP, abs=1e-15), "none"),
        "at-threshold": (0.5, "tumour"),
        "above-threshold": (pytest.approx(0.5 + STEP, abs=1e-15), "tumour"),
    }
    assert [probe.id for probe in decision_probes(_task(0.0))] == [
        "at-threshold",
        "above-threshold",
    ]


@pytest.mark.parametrize("count", [2, 3, 20])
def test_every_label_of_an_argmax_is_probed(count):
    task = _argmax(count)
    probes = decision_probes(task)
    assert check_probes(task, probes) == ()
    labels = task.networks["filter"].decode.labels  # type: ignore[union-attr]
    assert {probe.label for probe in probes} == {*labels, None}
    for probe in probes:
        assert decide(task, probe.probabilities).label == probe.label


def test_a_rule_over_masks_has_none():
    rule = MaskRule(kind="mask", role="filter")
    decision = TASK.decision.model_copy(update={"rule": rule})
    assert decision_probes(TASK.model_copy(update={"decision": decision})) == ()


# -- in a bundle --------------------------------------------------------------------------------


def _threshold(value: float) -> Any:
    def change(_: Path, manifest: dict[str, Any]) -> None:
        manifest["task"]["thresholds"][NAME]["value"] = value

    return change


@pytest.mark.parametrize("value", [0.49, 0.51])
def test_a_load_and_verify_refuse_a_threshold_that_moved(tampered, value):
    path = tampered(_threshold(value))
    bundle = Bundle.open(path)
    wanted = {answer.label for answer in bundle.manifest.known_answers}
    for answer in bundle.manifest.known_answers:  # none of them notices
        assert decide(bundle.manifest.task, answer.probabilities).label == answer.label
    assert wanted == {"none", "tumour"}
    found = verify(bundle, ("onnxruntime",))
    assert found.verdict == "fail"
    for item in found.candidates:
        if item.verdict != "advisory":
            assert all(text.startswith("decision probes: decide: ") for text in item.reasons)
            assert item.reasons
            assert item.flips == 0
    with pytest.raises(KnownAnswerFailedError, match=f"is now {value}") as caught:
        medsdk.load(path)
    assert caught.value.remedy


def test_probes_cannot_be_taken_out_of_a_bundle_with_a_protocol(tampered):
    def without(_: Path, manifest: dict[str, Any]) -> None:
        del manifest["decision_probes"]
        manifest["task"]["thresholds"][NAME]["value"] = 0.51

    with pytest.raises(BundleUnreadableError, match="decision_probes is missing"):
        Bundle.open(tampered(without))


def test_a_bundle_of_a_release_without_probes_still_loads(tampered):
    def without(folder: Path, manifest: dict[str, Any]) -> None:
        del manifest["decision_probes"], manifest["optional"]
        del manifest["provenance"]["gates_sha256"]
        for name in ("protocol", "parity"):
            (folder / f"evidence/{name}.json").unlink()

    with medsdk.load(tampered(without)) as engine:
        assert engine.plan.known_answers_checked > 0


def test_the_key_is_one_that_an_older_reader_passes_over(bundle_dir):
    manifest = json.loads((bundle_dir / "manifest.json").read_bytes())
    assert "decision_probes" in manifest["optional"]


@pytest.mark.parametrize(
    ("change", "got"),
    [
        (lambda probes: probes.append(probes[0]), "two decision probes share an id"),
        (lambda probes: probes[0].update(label="other"), "an unknown label"),
        (lambda probes: probes[0]["probabilities"].update(other=0.0), "an unknown label"),
        (lambda probes: probes[0]["probabilities"].update(none=1.5), "less than or equal to 1"),
        (lambda probes: probes[0].update(probabilities={}), "at least 1 item"),
        (lambda probes: probes[0].update(extra=1), "not permitted"),
    ],
)
def test_probes_that_are_none_are_refused(tampered, change, got):
    def plant(_: Path, manifest: dict[str, Any]) -> None:
        change(manifest["decision_probes"])

    with pytest.raises(BundleUnreadableError, match=got):
        Bundle.open(tampered(plant))
