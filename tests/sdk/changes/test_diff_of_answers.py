"""Two files of answers, as two machines wrote them: paired, judged, or refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medsdk.errors import (
    AnswersUnreadableError,
    NotComparableError,
    UnpairedResultsError,
)
from medsdk.evaluation.answers import Answer, write_answers
from tests.sdk.changes.documents import answers, claim_of, header


@pytest.fixture
def machines(tmp_path: Path) -> Callable[..., tuple[Path, Path]]:
    """Two files of answers, as two machines would have written them."""

    def make(
        first: tuple[Answer, ...], second: tuple[Answer, ...], **update: Any
    ) -> tuple[Path, Path]:
        paths = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
        other = {"machine": {"cpu_model": "another"}, "machine_sha256": "1" * 64} | update
        write_answers(paths[0], header(cases=len(first)), first)
        write_answers(paths[1], header(cases=len(second), **other), second)
        return paths

    return make


PROBABILITIES = [0.9 if number % 2 == 0 else 0.1 for number in range(1, 301)]


def test_two_machines_by_their_answers(differ, machines):
    moved = [value + 1e-4 for value in PROBABILITIES]
    report = differ(*machines(answers(PROBABILITIES), answers(moved)))
    assert [(item.what, item.where) for item in report.changes] == [
        ("machine", "cpu_model"),
        ("machine", "libraries.numpy"),
    ]
    assert (report.verdict, report.cases) == ("pass", 300)
    assert {item.title for item in report.candidates} == {
        *("A: onnxruntime fp32", "B: onnxruntime fp32")
    }


def test_two_machines_that_decide_otherwise(differ, machines):
    moved = [
        0.4 if number < 30 and value > 0.5 else value for number, value in enumerate(PROBABILITIES)
    ]
    report = differ(*machines(answers(PROBABILITIES), answers(moved)))
    flips = claim_of(report, "flips")
    assert (report.verdict, flips.events, flips.n) == ("fail", 15, 300)
    assert {item.number for item in report.evidence.worst} <= set(range(2, 31, 2))


@pytest.mark.parametrize("both", [True, False])
def test_errors_do_not_only_shrink_the_number_of_cases(differ, machines, both):
    one = answers(PROBABILITIES)
    lost: dict[str, Any] = {
        "status": "error",
        "label": None,
        "probabilities": {},
        "reason": "inference-failed",
    }
    two = tuple(
        item.model_copy(update=lost) if item.number <= 3 else item
        for item in answers(PROBABILITIES)
    )
    report = differ(*machines(two if both else one, two))
    claim = claim_of(report, "no-result")
    assert (claim.n, claim.events) == (300, 3)
    assert claim.verdict == ("not-conclusive" if both else "fail")
    assert "3 of 300 cases ended in an error: case 1 (inference-failed)" in claim.reason
    assert report.verdict == claim.verdict


def test_answers_of_other_cases_are_refused(differ, machines):
    with pytest.raises(UnpairedResultsError):
        differ(*machines(answers(PROBABILITIES), answers(PROBABILITIES[:-2])))


@pytest.mark.parametrize(
    "update",
    [
        {"decision": "{}"},
        {"decision": "no JSON"},
        {"positive": "cyst"},
        {"thresholds": {}},
        {"labels": ("none", "other")},
    ],
)
def test_answers_that_contradict_their_header_are_refused(differ, machines, update):
    with pytest.raises(AnswersUnreadableError, match="contradicts its header"):
        differ(*machines(answers(PROBABILITIES), answers(PROBABILITIES), **update))


def test_answers_with_other_labels_are_refused(differ, machines):
    other = ("none", "tumour", "cyst")
    paths = machines(answers(PROBABILITIES), answers(PROBABILITIES), labels=other)
    with pytest.raises(NotComparableError, match="other labels"):
        differ(*paths)


def test_lesions_and_studies_are_reported_and_decide_nothing(differ, machines):
    def divided(probabilities: list[float]) -> tuple[Answer, ...]:
        """Two slices of one truth make a lesion, a study and a patient."""
        return tuple(
            item.model_copy(
                update={
                    "patient": f"{(item.number - 1) // 4 * 2 + item.number % 2:016x}",
                    "lesion": f"{(item.number - 1) // 4 * 2 + item.number % 2 + 4096:016x}",
                    "study": f"{(item.number - 1) // 4 * 2 + item.number % 2 + 8192:016x}",
                }
            )
            for item in answers(probabilities)
        )

    report = differ(*machines(divided(PROBABILITIES), divided(PROBABILITIES)))
    assert report.verdict == "pass"
    flips = {item.scope.level: item for item in report.evidence.claims if item.measure == "flips"}
    assert {level: (item.n, item.verdict) for level, item in flips.items()} == {
        "slice": (300, "pass"),
        "lesion": (150, "advisory"),
        "study": (150, "advisory"),
    }


def test_slices_of_a_study_that_differ_in_truth_are_no_unit(differ, machines):
    one = tuple(item.model_copy(update={"study": item.patient}) for item in answers(PROBABILITIES))
    report = differ(*machines(one, one))
    assert report.verdict == "pass"
    (claim,) = [item for item in report.evidence.claims if item.scope.level == "study"]
    assert (claim.verdict, claim.n) == ("advisory", 0)
    assert "more than one truth" in claim.reason
