"""Two candidates' answers to the same cases, side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from medsdk.evaluation.answers import Answer
from medsdk.parity.errors import UnpairedResultsError

_NAMED = 5
"""So many cases are named in an error; the others are counted."""


@dataclass(frozen=True)
class PairedCase:
    """One case and what both said of it.

    Attributes:
        case: Its id.
        number: Its row in the reference's table of cases, 1-based; None where there is none.
        truth: Its label; None where nobody knows.
        patient: Digest of the pseudonym: the unit of resampling.
        reference: What the reference said.
        variant: What the variant said.
    """

    case: str
    number: int | None
    truth: str | None
    patient: str
    reference: Answer
    variant: Answer


def paired(reference: Sequence[Answer], variant: Sequence[Answer]) -> tuple[PairedCase, ...]:
    """Pair two candidates' answers by the case.

    Args:
        reference: One side's answers, in any order.
        variant: The other's.

    Returns:
        One pair a case, in the reference's order.

    Raises:
        UnpairedResultsError: A case is missing on one side or occurs twice, or the two sides give
            it another truth or another patient.
    """
    sides: tuple[tuple[Literal["reference", "variant"], Sequence[Answer]], ...] = (
        ("reference", reference),
        ("variant", variant),
    )
    for side, answers in sides:
        repeated = sum(times > 1 for times in Counter(item.case for item in answers).values())
        if repeated:
            raise UnpairedResultsError.repeated(side, repeated)
    others = {item.case: item for item in variant}
    known = {item.case for item in reference}
    if known != others.keys():
        raise UnpairedResultsError.missing(
            in_reference=len(others.keys() - known), in_variant=len(known - others.keys())
        )
    pairs = [(item, others[item.case]) for item in reference]
    _agree("truth", [one.number for one, two in pairs if one.truth != two.truth])
    _agree("patient", [one.number for one, two in pairs if one.patient != two.patient])
    return tuple(
        PairedCase(one.case, one.number, one.truth, one.patient, one, two) for one, two in pairs
    )


def _agree(subject: str, differing: Sequence[int]) -> None:
    if differing:
        raise UnpairedResultsError.disagreeing(subject, tuple(differing[:_NAMED]), len(differing))
