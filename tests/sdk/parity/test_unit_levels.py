"""Slices become lesions and studies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import pytest

from medsdk.decide import Outcome
from medsdk.errors import UnitRefusedError
from medsdk.evaluation.answers import Answer
from medsdk.parity.classification import metric_evidence
from medsdk.parity.evidence import Scope
from medsdk.parity.levels import UnitLevel, at_level
from tests.sdk.parity.made_answers import LABELS, answer, digest, only


def rule(probabilities: Mapping[str, float]) -> Outcome:
    """A tumour from 0.5 on; just below it nobody decides."""
    probability = probabilities["tumour"]
    if 0.45 <= probability < 0.5:
        return Outcome(None, "indeterminate", "near the threshold")
    return Outcome("tumour" if probability >= 0.5 else "none", "ok")


def test_slices_stay_as_they_are() -> None:
    answers = [answer(1, "none"), answer(2, "tumour")]
    assert at_level(answers, "slice", rule) == tuple(answers)


def test_a_study_has_the_mean_probability_and_the_rules_decision() -> None:
    answers = [
        answer(1, "tumour", "tumour", tumour=0.9, study=70, patient=5),
        answer(2, "none", "none", tumour=0.2, study=71, patient=6),
        answer(3, "none", None, tumour=0.3, study=70, patient=5),
        answer(4, None, "tumour", tumour=0.45, study=70, patient=5),
    ]
    first, second = at_level(answers, "study", rule)
    assert (first.case, first.study, first.number) == (digest(70), digest(70), 1)
    assert first.probabilities == pytest.approx({"tumour": 0.55, "none": 0.45})
    assert (first.status, first.label, first.truth) == ("ok", "tumour", "tumour")
    assert (second.label, second.truth, second.patient) == ("none", "none", digest(6))


def test_the_rule_may_leave_a_unit_undecided() -> None:
    (unit,) = at_level(
        [
            answer(1, "none", tumour=0.3, lesion=9, patient=1),
            answer(2, "tumour", tumour=0.64, lesion=9, patient=1),
        ],
        "lesion",
        rule,
    )
    assert (unit.status, unit.label, unit.reason) == ("indeterminate", None, "near the threshold")


def test_a_unit_without_an_answered_slice_is_indeterminate() -> None:
    answers = [answer(n, None, "none", status="no-result", study=7, patient=1) for n in (1, 2)]
    (unit,) = at_level(answers, "study", rule)
    assert (unit.status, unit.label, unit.truth) == ("indeterminate", None, "none")
    assert "none of 2 slices" in unit.reason


def test_a_failed_slice_fails_its_unit() -> None:
    answers = [
        answer(1, "tumour", tumour=0.9, study=7, patient=1),
        answer(2, None, status="error", study=7, patient=1),
    ]
    (unit,) = at_level(answers, "study", rule)
    assert (unit.status, unit.probabilities) == ("error", {})
    assert unit.reason == "1 of 2 slices ended in an error"


def test_strata_that_differ_within_a_unit_are_not_the_units() -> None:
    answers = [
        answer(n, "none", tumour=0.1, study=7, patient=1, strata={"site": "a", "size": str(n)})
        for n in (1, 2)
    ]
    (unit,) = at_level(answers, "study", rule)
    assert unit.strata == {"site": "a"}


def test_slices_without_a_lesion_are_of_no_lesion() -> None:
    answers = [
        answer(1, "tumour", tumour=0.9, lesion=8, patient=1),
        answer(2, "none", tumour=0.1, patient=1),
    ]
    (unit,) = at_level(answers, "lesion", rule)
    assert unit.case == digest(8)
    assert unit.probabilities["tumour"] == 0.9


@pytest.mark.parametrize("level", ["lesion", "study"])
def test_a_unit_of_two_truths_is_refused(level: Literal["lesion", "study"]) -> None:
    answers = [
        answer(number, "none", truth, tumour=0.1, patient=1, lesion=4, study=4)
        for number, truth in ((11, "none"), (12, None), (17, "tumour"))
    ]
    with pytest.raises(UnitRefusedError, match="more than one truth") as caught:
        at_level(answers, level, rule)
    assert caught.value.got == "case 11, case 17"


def test_a_unit_of_two_patients_is_refused() -> None:
    answers = [answer(n, "none", tumour=0.1, study=7, patient=n) for n in (1, 2)]
    with pytest.raises(UnitRefusedError, match="more than one patient"):
        at_level(answers, "study", rule)


def test_answers_without_units_are_refused() -> None:
    answers = [answer(1, "none", study=3), answer(2, "none")]
    with pytest.raises(UnitRefusedError, match="1 of 2 results name no study"):
        at_level(answers, "study", rule)
    with pytest.raises(UnitRefusedError, match="2 of 2 results name no lesion"):
        at_level(answers, "lesion", rule)
    assert at_level([], "slice", rule) == at_level([], "lesion", rule) == ()


def test_each_level_has_its_own_metrics_by_name() -> None:
    """Nine slices, four lesions, three studies: three different sensitivities."""
    table: list[tuple[float, str, int, int]] = [
        (0.9, "tumour", 21, 31),
        (0.2, "tumour", 21, 31),
        (0.8, "tumour", 22, 31),
        (0.1, "tumour", 23, 32),
        (0.3, "tumour", 23, 32),
        (0.9, "tumour", 23, 32),
        (0.1, "none", 24, 33),
        (0.7, "none", 24, 33),
        (0.1, "none", 24, 33),
    ]
    answers: list[Answer] = [
        answer(
            number,
            rule({"tumour": probability}).label,
            truth,
            tumour=probability,
            lesion=lesion,
            study=study,
            patient=study,
        )
        for number, (probability, truth, lesion, study) in enumerate(table, 1)
    ]
    found = {}
    for level in get_args(UnitLevel):
        units = at_level(answers, level, rule)
        evidence = metric_evidence(LABELS, "tumour", units, Scope(level=level))
        assert {claim.scope.level for claim in evidence.claims} == {level}
        found[level] = [
            (claim.events, claim.n)
            for claim in (only(evidence, name) for name in ("sensitivity", "specificity"))
        ]
    # Means: 0.55 and 0.8 are tumours, 0.433 is missed, 0.3 is none; of study 31 it is 0.633.
    assert found == {
        "slice": [(3, 6), (2, 3)],
        "lesion": [(2, 3), (1, 1)],
        "study": [(1, 2), (1, 1)],
    }
