"""Answers and pairs of them, made for the tests of parity."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from medsdk.evaluation.answers import Answer
from medsdk.parity.evidence import Claim, Evidence, Scope
from medsdk.parity.pairing import PairedCase, paired

LABELS = ("none", "tumour")

Status = Literal["ok", "indeterminate", "no-result", "error"]


def digest(number: int) -> str:
    """The id of a case, a patient, a study or a lesion."""
    return f"{number:016x}"


def answer(
    number: int,
    said: str | None,
    truth: str | None = None,
    *,
    status: Status | None = None,
    patient: int | None = None,
    tumour: float | None = None,
    study: int | None = None,
    lesion: int | None = None,
    strata: dict[str, str] | None = None,
) -> Answer:
    """One answer; `said` None is indeterminate unless `status` says what it is."""
    return Answer(
        case=digest(number),
        number=number,
        truth=truth,
        patient=digest(number if patient is None else patient),
        study=None if study is None else digest(study),
        lesion=None if lesion is None else digest(lesion),
        strata=strata or {},
        status=status or ("indeterminate" if said is None else "ok"),
        label=said,
        probabilities={} if tumour is None else {"none": 1 - tumour, "tumour": tumour},
    )


def pairs_of(
    rows: Iterable[tuple[str | None, str | None, str | None]], patients: Sequence[int] = ()
) -> tuple[PairedCase, ...]:
    """Pairs of (truth, reference, variant); `error` and `no-result` are what they say."""
    sides: tuple[list[Answer], list[Answer]] = ([], [])
    for number, (truth, *said) in enumerate(rows, 1):
        patient = patients[number - 1] if patients else None
        for side, text in zip(sides, said, strict=True):
            status: Status | None = None
            if text == "error" or text == "no-result":
                text, status = None, text
            side.append(answer(number, text, truth, status=status, patient=patient))
    return paired(*sides)


def only(evidence: Evidence, measure: str, **where: str) -> Claim:
    """The one claim of a measure whose scope is as said."""
    (claim,) = [
        claim
        for claim in evidence.claims
        if claim.measure == measure
        and all(getattr(claim.scope, name) == value for name, value in where.items())
    ]
    return claim


def bound_of(claim: Claim) -> Any:
    """Both ends."""
    assert claim.bound is not None
    return claim.bound.low, claim.bound.high


SCOPE = Scope()
