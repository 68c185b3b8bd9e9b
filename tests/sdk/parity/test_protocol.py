"""What each gate needs: held against arithmetic in whole numbers, and against what judges later."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Callable
from decimal import Decimal, getcontext
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta

from medsdk.errors import TaskInvalidError, UndecidableGateError
from medsdk.parity._decidable import (
    PRACTICAL_CASES,
    cases_that_prove,
    cases_that_tolerate_one,
    events_observed,
    events_proved,
    undecidable,
)
from medsdk.parity.declaration import HEADER, rows, unjudged_forms
from medsdk.parity.protocol import (
    Requirement,
    Worth,
    changed_gates,
    gate_values,
    gates_digest,
    requirements,
    same_version_other_gates,
)
from medsdk.tasks import Task, catalogue, catalogue_task, catalogue_text, read_task
from medsdk.tasks.loading import task_from_document

FAMILIES = sorted((Path(__file__).parents[1] / "tasks/families").iterdir())
UTERUS = "uterus-mr/tumor-filter"
LIVER = "liver-us/classify"


def changed(*edits: tuple[str, str], task: str = UTERUS) -> Task:
    """A task of the catalogue with parts of its text replaced."""
    text = catalogue_text(task)
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new)
    return task_from_document(tomllib.loads(text), "test.toml")


def family(name: str, change: Callable[[dict[str, Any]], None]) -> Task:
    """A family's task, its document changed."""
    path = next(path for path in FAMILIES if path.stem == name)
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    change(document)
    return task_from_document(document, "test.toml")


def need(task: Task, gate: str, label: str = "", **counts: Any) -> Requirement:
    (found,) = [
        item for item in requirements(task, **counts) if (item.gate, item.label) == (gate, label)
    ]
    return found


# How many cases


@pytest.mark.parametrize(
    ("limit", "confidence", "cases"),
    [
        # measured.md: zero flips prove a rate under 1 % at 299, 0.5 % at 598, 0.1 % at 2,995.
        (0.01, 0.95, 299),
        (0.005, 0.95, 598),
        (0.001, 0.95, 2995),
        (0.02, 0.95, 149),
        (0.02, 0.99, 228),
        (1.0, 0.95, 1),
        (0.951, 0.95, 1),
        (0.949, 0.95, 2),
    ],
)
def test_cases_that_prove_a_rate_without_an_event(
    limit: float, confidence: float, cases: int
) -> None:
    assert cases_that_prove(limit, confidence) == cases


@settings(deadline=None, max_examples=200)
@given(st.floats(1e-4, 0.999), st.floats(0.501, 0.9999))
def test_it_is_the_first_number_whose_power_is_small_enough(
    limit: float, confidence: float
) -> None:
    """(1 - limit) ** n <= 1 - confidence, in 60 digits: neither n - 1 nor n + 1 will do."""
    getcontext().prec = 60
    n = cases_that_prove(limit, confidence)
    assert n is not None
    rest, alpha = 1 - Decimal(limit), 1 - Decimal(confidence)
    slack = Decimal("1e-11")  # the bound that judges is a float
    assert rest**n <= alpha + slack
    if n > 1:
        assert rest ** (n - 1) > alpha - slack


@pytest.mark.parametrize("n", [1, 59, 148, 149, 235, 236, 300, 311, 312, 1000])
def test_tolerated_flips_are_those_whose_bound_scipy_puts_within_the_limit(n: int) -> None:
    limit, confidence = 0.02, 0.95
    k = -1
    while float(beta.ppf(confidence, k + 2, n - k - 1)) <= limit:
        k += 1
    assert events_proved(limit, confidence, n) == (k if k >= 0 else None)


def test_no_case_proves_nothing() -> None:
    assert events_proved(0.02, 0.95, 0) is None
    assert events_proved(1.0, 0.95, 3) == 3
    assert events_observed(0.01, 0) == 0


@settings(deadline=None)
@given(st.integers(1, 100), st.integers(1, 2000))
def test_an_observed_loss_is_counted_in_whole_cases(hundredths: int, n: int) -> None:
    limit = hundredths / 100
    assert events_observed(limit, n) == math.floor(Fraction(hundredths, 100) * n)
    first = cases_that_tolerate_one(limit)
    assert first == math.ceil(Fraction(100, hundredths))


def test_a_limit_of_zero_never_tolerates_a_loss() -> None:
    assert cases_that_tolerate_one(0.0) is None
    assert cases_that_tolerate_one(1e-9) is None
    assert events_observed(0.0, 1000) == 0


# What a task's gates need


def test_the_gates_of_two_labels() -> None:
    task = catalogue_task(UTERUS)
    counts: dict[str, Any] = {"cases": {"tumour": 99, "none": 301}, "patients": 40}
    flips = need(task, "classification.max_flip_rate", **counts)
    assert (flips.unit, flips.decides, flips.needed, flips.have) == ("case", "proved", 149, 400)
    assert (flips.tolerated, flips.one_from, flips.patients) == (3, 236, 40)
    lost = need(task, "classification.max_sensitivity_loss", "tumour", **counts)
    assert (lost.unit, lost.decides, lost.needed, lost.have) == ("positive", "observed", 1, 99)
    # One of 99 is more than a point; one of 100 is a point; a proof takes 299 without a loss.
    assert (lost.tolerated, lost.one_from, lost.proof_from) == (0, 100, 299)
    spared = need(task, "classification.max_specificity_loss", "tumour", **counts)
    assert (spared.unit, spared.have, spared.tolerated) == ("negative", 301, 3)
    metric = need(task, "classification.min_metric_ratio", "tumour", **counts)
    # Of 99 and 301: one positive lost takes 1/198 off the mean, which is within 1 %.
    assert (metric.unit, metric.have, metric.tolerated, metric.one_from) == (
        "smaller-side", 99, 1, 50,
    )  # fmt: skip
    ladder = need(task, "isa_ladder.max_flip_rate_rise", **counts)
    assert (ladder.forms, ladder.tolerated) == (("cpu",), 4)
    assert need(task, "fp32.atol", **counts, images=7).have == 7
    assert unjudged_forms(task, requirements(task, **counts)) == {}


def test_more_labels_are_one_against_the_rest() -> None:
    task = catalogue_task(LIVER)
    counts = {"cyst": 100, "hemangioma": 50, "HCC": 50}
    found = requirements(task, counts)
    have = {
        (item.gate.rsplit("_", 2)[1], item.label): item.have
        for item in found
        if "loss" in item.gate
    }
    assert have == {
        ("sensitivity", "cyst"): 100,
        ("sensitivity", "hemangioma"): 50,
        ("sensitivity", "HCC"): 50,
        ("sensitivity", "metastasis"): 0,
        ("specificity", "cyst"): 100,
        ("specificity", "hemangioma"): 150,
        ("specificity", "HCC"): 150,
        ("specificity", "metastasis"): 200,
    }
    # A label without a single case keeps its gate open, and with it every INT8 variant.
    assert unjudged_forms(task, found) == dict.fromkeys(
        ("cpu", "gpu"),
        (
            "classification.max_sensitivity_loss (metastasis) has 0 of the 1 cases of metastasis "
            "that it needs: 1 more",
        ),
    )


def test_proved_losses_take_as_many_cases_as_a_proof_does() -> None:
    task = changed(
        ("max_specificity_loss = 0.01", 'max_specificity_loss = 0.02\nlosses = "proved"')
    )
    lost = need(task, "classification.max_sensitivity_loss", "tumour", cases={"tumour": 298})
    assert (lost.decides, lost.needed, lost.missing, lost.confidence) == ("proved", 299, 1, 0.95)
    assert need(task, "classification.max_specificity_loss", "tumour").needed == 149
    needs = requirements(task, {"tumour": 298, "none": 200})
    assert [*unjudged_forms(task, needs)] == ["cpu", "gpu"]
    assert unjudged_forms(task, requirements(task, {"tumour": 299, "none": 149})) == {}


def test_several_cases_of_one_patient_prove_less() -> None:
    task = changed(("confidence = 0.95", 'confidence = 0.95\nlosses = "proved"'))
    worth = Worth(600.0, {"tumour": (298.9, 400.0), "none": (400.0, 298.9)})
    found = requirements(task, {"tumour": 600, "none": 400}, 300, worth=worth)
    assert {item.gate: item.have for item in found if "loss" in item.gate} == {
        "classification.max_sensitivity_loss": 298,
        "classification.max_specificity_loss": 400,
    }
    assert [*unjudged_forms(task, found)] == ["cpu", "gpu"]


def test_several_cases_of_one_patient_prove_less_of_flips() -> None:
    task = catalogue_task(UTERUS)
    counts = {"tumour": 300, "none": 300}
    found = requirements(task, counts, 20, worth=Worth(20.7, {}))
    (flips,) = [item for item in found if item.gate == "classification.max_flip_rate"]
    assert (flips.unit, flips.have, flips.needed, flips.tolerated) == (
        "independent-case", 20, 149, None,
    )  # fmt: skip
    assert unjudged_forms(task, found)["cpu"] == (
        "classification.max_flip_rate has 20 of the 149 independent cases that it needs: 129 more",
    )
    # Where each is of its own patient, they are what they are.
    alone = need(task, "classification.max_flip_rate", cases=counts, worth=Worth(600.0, {}))
    assert (alone.unit, alone.have, alone.tolerated) == ("case", 600, 6)


def test_what_is_open_is_said_with_how_many_more_cases_it_takes() -> None:
    task = catalogue_task(UTERUS)
    found = unjudged_forms(task, requirements(task, {"tumour": 74, "none": 74}))
    assert found["cpu"] == (
        "classification.max_flip_rate has 148 of the 149 labelled cases that it needs: 1 more",
    )
    assert unjudged_forms(task, requirements(task, {"tumour": 75, "none": 74})) == {}
    none = unjudged_forms(task, requirements(task, {}, images=64))
    assert len(none["gpu"]) == 4  # the ladder is no gate of form B
    assert len(none["cpu"]) == 5


def test_a_form_without_caps_and_a_benchmark() -> None:
    task = changed(('gpu = { "filter.logits" = 1.0 }\n', ""))
    assert unjudged_forms(task, requirements(task, {"tumour": 200, "none": 200})) == {
        "gpu": ("the task has no max_output_difference.gpu",)
    }
    bench = changed(('purpose = "reference"', 'purpose = "benchmark"'))
    assert unjudged_forms(bench, requirements(bench, {})) == {}


def test_a_gate_that_nothing_exceeds_is_said_to_be_none() -> None:
    task = changed(
        ("max_flip_rate = 0.02", "max_flip_rate = 1.0"),
        ("max_sensitivity_loss = 0.01", "max_sensitivity_loss = 1.0"),
        ("min_metric_ratio = 0.99", "min_metric_ratio = 0.0"),
    )
    assert {item.gate for item in requirements(task) if item.cannot_fail} == {
        *("classification.max_flip_rate", "classification.max_sensitivity_loss"),
        "classification.min_metric_ratio",
    }


def test_other_kinds_are_uncounted_but_declared() -> None:
    def gates(name: str) -> set[str]:
        return {item.gate for item in requirements(family(name, lambda document: None))}

    masks = family("segmentation", lambda document: None)
    # 0.95 ** 59 < 0.05 <= 0.95 ** 58: so many masks bound a 5th percentile at all.
    assert need(masks, "segmentation.min_5th_percentile_dice_change").needed == 59
    assert need(masks, "segmentation.max_flip_rate").needed == 149
    boxes = family("detection", lambda document: None)
    assert need(boxes, "detection.max_recall_loss").needed == 100
    assert gates("segmentation") >= {
        "segmentation.max_flip_rate", "segmentation.min_mean_dice_change",
        "segmentation.min_5th_percentile_dice_change", "segmentation.min_median_dice_to_fp32",
    }  # fmt: skip
    assert gates("detection") >= {"detection.max_recall_loss", "classification.max_flip_rate"}
    assert gates("clip") >= {"regression.max_mean_change", "regression.max_flip_rate"}
    assert gates("heat-map") >= {"heat_map.min_correlation", "heat_map.max_peak_distance_cells"}


@pytest.mark.parametrize("path", FAMILIES, ids=lambda path: path.stem)
def test_every_family_can_be_decided_and_every_gate_is_named(path: Path) -> None:
    _every_gate_is_named(read_task(path))


@pytest.mark.parametrize("task_id", tuple(catalogue()))
def test_every_task_of_the_catalogue_can_be_decided(task_id: str) -> None:
    _every_gate_is_named(catalogue_task(task_id))


PARAMETERS = {"metric", "confidence", "losses", "match_iou", "match_score_difference"}
"""Keys of gates that say how a gate is read and are none themselves."""


def _every_gate_is_named(task: Task) -> None:
    assert list(undecidable(task)) == []
    found = requirements(task)
    missing = set(gate_values(task)) - {item.gate for item in found}
    if task.gates.classification is None:
        missing.discard("isa_ladder.max_flip_rate_rise")  # it counts decisions of a classifier
    assert {name.rpartition(".")[2] for name in missing} <= PARAMETERS
    assert all(len(row) == len(HEADER) for row in rows(found))
    assert Requirement.model_validate_json(found[0].model_dump_json()) == found[0]


# Gates that no number of cases can decide


def _refused(task: Task) -> UndecidableGateError:
    with pytest.raises(UndecidableGateError) as caught:
        requirements(task)
    error = caught.value
    assert (error.code, error.exit_status) == ("undecidable-gate", 2)
    assert all((error.what, error.got, error.expected, error.remedy))
    return error


@pytest.mark.parametrize("rate", ["1e-5", "1e-9", "1e-300", "5e-324"])
def test_a_rate_too_small_to_be_proved(rate: str) -> None:
    error = _refused(changed(("max_flip_rate = 0.02", f"max_flip_rate = {rate}")))
    assert "gates.classification.max_flip_rate" in error.what
    assert f"{PRACTICAL_CASES} cases" in error.expected


def test_the_smallest_rate_that_can_be_proved() -> None:
    least = 1 - 0.05 ** (1 / PRACTICAL_CASES)
    assert cases_that_prove(least * 1.0001, 0.95) == math.ceil(PRACTICAL_CASES / 1.0001)
    assert cases_that_prove(least * 0.999, 0.95) is None


def test_a_confidence_that_takes_too_many_cases() -> None:
    edits = (
        ("max_flip_rate = 0.02", "max_flip_rate = 0.0002"),
        ("confidence = 0.95", "confidence = 0.9999999999"),
    )
    assert requirements(changed(edits[0]))
    assert "0.9999999999" not in _refused(changed(*edits)).remedy


def test_a_loss_of_zero_can_be_observed_and_never_proved() -> None:
    zero = ("max_sensitivity_loss = 0.01", "max_sensitivity_loss = 0.0")
    lost = need(changed(zero), "classification.max_sensitivity_loss", "tumour")
    assert (lost.one_from, lost.proof_from) == (None, None)
    proved = ("confidence = 0.95", 'confidence = 0.95\nlosses = "proved"')
    error = _refused(changed(zero, proved))
    assert "max_sensitivity_loss" in error.what
    assert "losses = 'observed'" in error.remedy
    error = _refused(changed(("max_specificity_loss = 0.01", "max_specificity_loss = 0"), proved))
    assert "max_specificity_loss" in error.what


@pytest.mark.parametrize(
    ("threshold", "within", "label"),
    [("0.0", "0.0", "none"), ("1.0", "0.1", "tumour"), ("0.2", "0.2", "none"),
     ("0.7", "0.4", "tumour")],
)  # fmt: skip
def test_a_threshold_that_leaves_a_label_no_probability(
    threshold: str, within: str, label: str
) -> None:
    task = changed(
        ("value = 0.5", f"value = {threshold}"),
        (
            'threshold = "tumour-probability" }',
            f'threshold = "tumour-probability", indeterminate_within = {within} }}',
        ),
    )
    error = _refused(task)
    assert f"no probability from 0 to 1 is decided {label!r}" in error.got


@pytest.mark.parametrize("threshold", ["1.0", "0.001"])
def test_a_threshold_at_which_both_labels_can_be_decided(threshold: str) -> None:
    assert requirements(changed(("value = 0.5", f"value = {threshold}")))


def test_a_gate_whose_kind_no_network_has() -> None:
    task = changed(("[gates.isa_ladder]", "[gates.heat_map]\n\n[gates.isa_ladder]"))
    error = _refused(task)
    assert "gates.heat_map" in error.what
    assert "classification" in error.expected


def test_flips_of_masks_and_values_that_no_number_proves() -> None:
    def masks(document: dict[str, Any]) -> None:
        document["gates"]["segmentation"] = {"max_flip_rate": 1e-7}

    assert "gates.segmentation.max_flip_rate" in _refused(family("segmentation", masks)).what

    def values(document: dict[str, Any]) -> None:
        document["gates"]["regression"]["max_flip_rate"] = 1e-7

    assert "gates.regression.max_flip_rate" in _refused(family("clip", values)).what


def test_a_segmentation_without_a_label_but_its_background() -> None:
    def only_background(document: dict[str, Any]) -> None:
        network = next(iter(document["networks"].values()))
        decode = network["decode"]
        decode.update(labels=["nothing"], background="nothing", activation="sigmoid")
        decode["threshold"] = next(iter(document["thresholds"]), "mask")
        document.setdefault("thresholds", {}).setdefault(
            decode["threshold"], {"value": 0.5, "meaning": "half"}
        )
        for output in network["outputs"]:
            if output["name"] == decode["output"]:
                output["axes"][0] = 1
        document["marks"]["inferred"] += [f"thresholds.{decode['threshold']}"]

    try:
        task = family("segmentation", only_background)
    except TaskInvalidError as error:  # pragma: no cover - a family file that changed
        pytest.fail(str(error))
    assert "background" in _refused(task).got


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("max_flip_rate = 0.02", "max_flip_rate = 0.0"),
        ("min_metric_ratio = 0.99", "min_metric_ratio = 1.01"),
        ("confidence = 0.95", "confidence = 1.0"),
        ('[gates.classification]\nmetric = "mean-of-sensitivity-and-specificity"\n', "[gates.x]\n"),
        ("confidence = 0.95", 'confidence = 0.95\nlosses = "hoped"'),
    ],
)
def test_what_a_task_file_may_not_say_at_all(old: str, new: str) -> None:
    """A proven rate of 0, a ratio above 1, certainty, and a classifier without its gate."""
    with pytest.raises(TaskInvalidError):
        changed((old, new))


# Gates and versions


def test_gates_by_name_and_their_digest() -> None:
    task = catalogue_task(UTERUS)
    values = gate_values(task)
    assert values["classification.max_flip_rate"] == 0.02
    assert values["max_output_difference.cpu.filter.logits"] == 1.0
    assert "classification.losses" not in values
    assert gates_digest(task) == gates_digest(catalogue_task(UTERUS))
    other = changed(("max_flip_rate = 0.02", "max_flip_rate = 0.021"))
    assert gates_digest(other) != gates_digest(task)
    assert same_version_other_gates(task, other) == ("classification.max_flip_rate",)
    raised = changed(
        ("max_flip_rate = 0.02", "max_flip_rate = 0.021"),
        ('version = "1.0.0"', 'version = "1.0.1"'),
    )
    assert same_version_other_gates(task, raised) == ()
    assert changed_gates(task, raised) == ("classification.max_flip_rate",)
    dropped = changed(('gpu = { "filter.logits" = 1.0 }\n', ""))
    assert same_version_other_gates(task, dropped) == ("max_output_difference.gpu.filter.logits",)


def test_what_is_no_gate_changes_no_digest() -> None:
    task = catalogue_task(UTERUS)
    assert gates_digest(changed(("value = 0.5", "value = 0.6"))) == gates_digest(task)
    # Written out or left out, the default is the same gate.
    default = changed(("confidence = 0.95", 'confidence = 0.95\nlosses = "observed"'))
    assert gates_digest(default) == gates_digest(task)
    assert gates_digest(changed(("confidence = 0.95\n", ""))) == gates_digest(task)
    proved = changed(("confidence = 0.95", 'confidence = 0.95\nlosses = "proved"'))
    assert changed_gates(task, proved) == ("classification.losses",)


def test_a_key_of_a_later_minor_version_is_written_only_where_it_is_used() -> None:
    """So that a release that does not know it reads every other task file and bundle."""
    text = catalogue_task(UTERUS).model_dump_json()
    assert "losses" not in text
    proved = changed(("confidence = 0.95", 'confidence = 0.95\nlosses = "proved"'))
    document = json.loads(proved.model_dump_json())
    assert document["gates"]["classification"]["losses"] == "proved"
    assert task_from_document(document, "again") == proved
