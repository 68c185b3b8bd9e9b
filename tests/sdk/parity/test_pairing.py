"""Answers that are not of the same cases are refused, with what is missing on which side."""

from __future__ import annotations

import pytest

from medsdk.errors import UnpairedResultsError
from medsdk.parity.pairing import paired
from tests.sdk.parity.made_answers import answer, digest


def test_pairs_are_made_by_case_in_the_references_order() -> None:
    reference = [answer(3, "none", "none"), answer(1, "tumour", None)]
    variant = [answer(1, "none", None), answer(3, "none", "none")]
    first, second = paired(reference, variant)
    assert (first.case, first.number, first.truth) == (digest(3), 3, "none")
    assert (second.reference.label, second.variant.label) == ("tumour", "none")
    assert second.patient == digest(1)
    assert second.truth is None
    assert paired([], []) == ()


def test_missing_cases_are_counted_on_each_side() -> None:
    reference = [answer(number, "none") for number in (1, 2, 3, 4)]
    variant = [answer(number, "none") for number in (3, 4, 5)]
    with pytest.raises(UnpairedResultsError) as caught:
        paired(reference, variant)
    assert caught.value.got == (
        "2 cases without a result of the variant, 1 without one of the reference"
    )
    assert caught.value.code == "unpaired-results"
    assert caught.value.exit_status == 2
    assert caught.value.remedy


@pytest.mark.parametrize("side", ["reference", "variant"])
def test_a_case_that_occurs_twice_is_refused(side: str) -> None:
    once = [answer(1, "none"), answer(2, "none")]
    twice = [*once, answer(2, "none"), answer(2, "tumour")]
    sides = (twice, once) if side == "reference" else (once, twice)
    with pytest.raises(UnpairedResultsError, match="1 cases with more than one") as caught:
        paired(*sides)
    assert side in caught.value.what


@pytest.mark.parametrize("other", [None, "tumour"])
def test_truths_that_disagree_are_refused_by_row(other: str | None) -> None:
    reference = [answer(number, "none", "none") for number in range(1, 10)]
    variant = [answer(number, "none", other) for number in range(1, 10)]
    with pytest.raises(UnpairedResultsError, match="another truth") as caught:
        paired(reference, variant)
    assert caught.value.got == "9 cases with two, first case 1, case 2, case 3, case 4, case 5"


def test_patients_that_disagree_are_refused() -> None:
    with pytest.raises(UnpairedResultsError, match="another patient"):
        paired([answer(1, "none", patient=1)], [answer(1, "none", patient=2)])
