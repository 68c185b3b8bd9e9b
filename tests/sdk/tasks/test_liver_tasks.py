"""The two liver tasks of the catalogue against what was published."""

import pytest

from medsdk.pipeline import supported_role
from medsdk.tasks import Task, catalogue_task
from medsdk.tasks.decoding import ArgmaxRule, ThresholdRule
from medsdk.tasks.pixel_contract import RegionOfInterest

CLASSIFY, MALIGNANCY = (catalogue_task(f"liver-us/{name}") for name in ("classify", "malignancy"))


@pytest.mark.parametrize("task", [CLASSIFY, MALIGNANCY], ids=lambda task: task.id)
def test_this_release_runs_it(task: Task) -> None:
    role, decode = supported_role(task)
    assert role == "classifier"
    assert (len(decode.labels),) == task.networks[role].outputs[0].axes
    assert task.networks[role].architecture.parameters == {"classes": len(decode.labels)}


@pytest.mark.parametrize("task", [CLASSIFY, MALIGNANCY], ids=lambda task: task.id)
def test_the_operator_places_a_square(task: Task) -> None:
    crop = task.networks["classifier"].pixels.crop
    assert crop == RegionOfInterest(kind="roi", required=True, square=True)
    assert "networks.classifier.pixels.crop" in task.marks.known
    assert "networks.classifier.pixels" in task.marks.inferred


def test_the_four_kinds_are_known_and_the_rule_is_not() -> None:
    assert supported_role(CLASSIFY)[1].labels == ("cyst", "hemangioma", "HCC", "metastasis")
    assert isinstance(CLASSIFY.decision.rule, ArgmaxRule)
    assert "networks.classifier.decode.labels" in CLASSIFY.marks.known
    assert "decision.rule" in CLASSIFY.marks.inferred


def test_malignant_from_one_half() -> None:
    rule = MALIGNANCY.decision.rule
    assert isinstance(rule, ThresholdRule)
    assert (rule.label, rule.otherwise) == ("malignant", "benign")
    assert MALIGNANCY.thresholds[rule.threshold].value == 0.5
    # The report says nothing of this network but its figures.
    assert "networks.classifier.architecture" in MALIGNANCY.marks.inferred


def test_published_figures_are_as_printed() -> None:
    assert [figure.value for figure in CLASSIFY.published] == [83.6, 91.1]
    assert [figure.value for figure in MALIGNANCY.published] == [88.9, 78.6, 92.5]
    assert "2022" in CLASSIFY.published[1].source
