"""What was said of cases, as numbers: the form in which claims count them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from medsdk.evaluation.answers import Answer
from medsdk.parity.bootstrap import patient_codes
from medsdk.parity.levels import AnswerStatus
from medsdk.parity.pairing import PairedCase

Codes = npt.NDArray[np.intp]
Flags = npt.NDArray[np.bool_]

Rate = Literal["sensitivity", "specificity"]
"""Of one label against the rest."""

UNKNOWN = -1
"""Code of a truth that nobody knows."""

WITHOUT_LABEL: tuple[str, ...] = tuple(name for name in get_args(AnswerStatus) if name != "ok")
"""What stands in place of a label where there is none; codes from -1 downwards, in this order."""

INDETERMINATE, NO_RESULT, ERROR = (-1 - index for index in range(len(WITHOUT_LABEL)))


@dataclass(frozen=True, eq=False)
class Said:
    """Truth, patient and answer of cases.

    Attributes:
        labels: The labels that an answer may be.
        truths: Index of each case's label, shape (cases,); `UNKNOWN` where nobody knows.
        patients: Number of each case's patient, from 0.
        answers: Index of the label that was said; `INDETERMINATE`, `NO_RESULT` or `ERROR`.
    """

    labels: tuple[str, ...]
    truths: Codes
    patients: Codes
    answers: Codes

    @property
    def known(self) -> Flags:
        """Which cases have a truth."""
        return _flags(self.truths != UNKNOWN)

    @property
    def right(self) -> Flags:
        """Which answers are the truth; none without a truth."""
        return _flags(self.known & (self.answers == self.truths))

    def rated(self, rate: Rate, label: int) -> tuple[Flags, Flags]:
        """Denominator and numerator of a rate of one label against the rest.

        Args:
            rate: `sensitivity`: of the cases of the label, those called so. `specificity`: of
                the cases of another label, those called another.
            label: Index of the label.

        Returns:
            Which cases are in either, shape (cases,) each.
        """
        if rate == "sensitivity":
            among = _flags(self.truths == label)
            return among, among & (self.answers == label)
        among = _flags(self.known & (self.truths != label))
        return among, among & called_other(self.answers, label)


@dataclass(frozen=True, eq=False)
class Pairs:
    """Two candidates' answers to the same cases."""

    reference: Said
    variant: Said

    @property
    def patients(self) -> Codes:
        """Number of each case's patient."""
        return self.reference.patients

    @property
    def flipped(self) -> Flags:
        """Which cases the two decide differently, an answer that is lost or gained included."""
        return _flags(self.reference.answers != self.variant.answers)

    @property
    def compared(self) -> Flags:
        """Which cases say something about the two.

        Two errors, or two frames on which no network was run, are no agreement.
        """
        return _flags(self.flipped | (self.reference.answers > NO_RESULT))

    def chosen(self, which: Flags) -> Pairs:
        """Some of the cases."""
        return Pairs(
            *(
                Said(side.labels, side.truths[which], side.patients[which], side.answers[which])
                for side in (self.reference, self.variant)
            )
        )


def called_other(answers: Codes, label: int) -> Flags:
    """Which answers are a label, and another one."""
    return _flags((answers >= 0) & (answers != label))


def said(labels: Sequence[str], answers: Sequence[Answer]) -> Said:
    """Number one candidate's answers.

    Args:
        labels: The labels that an answer may be.
        answers: One a case.

    Raises:
        ValueError: A truth or an answer is none of the labels.
    """
    return Said(
        labels=tuple(labels),
        truths=_truths(labels, [item.truth for item in answers]),
        patients=patient_codes([item.patient for item in answers]),
        answers=_answers(labels, answers),
    )


def paired_answers(labels: Sequence[str], cases: Sequence[PairedCase]) -> Pairs:
    """Number two candidates' answers.

    Args:
        labels: The labels that an answer may be.
        cases: Of `medsdk.parity.pairing.paired`.

    Raises:
        ValueError: A truth or an answer is none of the labels.
    """
    truths = _truths(labels, [item.truth for item in cases])
    patients = patient_codes([item.patient for item in cases])
    return Pairs(
        *(
            Said(tuple(labels), truths, patients, _answers(labels, answers))
            for answers in (
                [item.reference for item in cases],
                [item.variant for item in cases],
            )
        )
    )


def said_labels(
    labels: Sequence[str], truths: Sequence[str], decisions: Sequence[str | None]
) -> Said:
    """Number decisions of cases that are of one patient each.

    Args:
        labels: The labels that a decision may be.
        truths: One a case.
        decisions: One a case, None where indeterminate.

    Raises:
        ValueError: The two do not have one length, or a text is none of the labels.
    """
    if len(truths) != len(decisions):
        raise ValueError(f"{len(truths)} truths for {len(decisions)} decisions")
    codes = _codes(labels)
    answers = [INDETERMINATE if one is None else codes[one] for one in decisions]
    return Said(
        labels=tuple(labels),
        truths=_truths(labels, truths),
        patients=np.arange(len(truths)),
        answers=np.array(answers, np.intp),
    )


def names_of(labels: Sequence[str], answers: Sequence[Codes]) -> Iterator[tuple[int, str]]:
    """Code and name of every label, and of what stands in its place if it occurs."""
    yield from enumerate(labels)
    for index, name in enumerate(WITHOUT_LABEL):
        if any((side == -1 - index).any() for side in answers):
            yield -1 - index, name


def _flags(found: npt.ArrayLike) -> Flags:
    return np.asarray(found, np.bool_)


def _truths(labels: Sequence[str], truths: Sequence[str | None]) -> Codes:
    codes = _codes(labels)
    return np.array([UNKNOWN if one is None else codes[one] for one in truths], np.intp)


def _answers(labels: Sequence[str], answers: Sequence[Answer]) -> Codes:
    codes = _codes(labels)
    return np.array(
        [
            -1 - WITHOUT_LABEL.index(item.status) if item.label is None else codes[item.label]
            for item in answers
        ],
        np.intp,
    )


class _Labels(dict[str, int]):
    def __missing__(self, label: str) -> int:
        raise ValueError(f"{label!r} is none of the labels {', '.join(map(repr, self))}")


def _codes(labels: Sequence[str]) -> _Labels:
    return _Labels((label, index) for index, label in enumerate(labels))
