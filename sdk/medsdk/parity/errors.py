"""What comparing results refuses (tree: `medsdk.errors`)."""

from __future__ import annotations

from typing import Self

from medsdk_runtimes.errors import MedsdkError


class UnpairedResultsError(MedsdkError):
    """Two sets of results are not of the same cases."""

    code = "unpaired-results"
    exit_status = 2

    @classmethod
    def missing(cls, in_reference: int, in_variant: int) -> Self:
        """Some cases were answered by one side only.

        Args:
            in_reference: Cases that only the variant answered.
            in_variant: Cases that only the reference answered.
        """
        return cls(
            "the two sets of results are not of the same cases",
            got=f"{in_variant} cases without a result of the variant, "
            f"{in_reference} without one of the reference",
            expected="one result of each for every case",
            remedy="run both on the same table of cases, to its end",
        )

    @classmethod
    def repeated(cls, side: str, cases: int) -> Self:
        """A side answered a case more than once.

        Args:
            side: `reference` or `variant`.
            cases: How many cases have more than one answer.
        """
        return cls(
            f"the results of the {side} name cases more than once",
            got=f"{cases} cases with more than one result",
            expected="one result for every case",
            remedy="remove the rows of the table of cases that hold the same picture twice",
        )

    @classmethod
    def disagreeing(cls, subject: str, numbers: tuple[int, ...], cases: int) -> Self:
        """The two sides do not agree on what a case is.

        Args:
            subject: What they disagree on, for instance `truth`.
            numbers: Rows of the reference's table of cases, the first few.
            cases: How many cases there are.
        """
        named = ", ".join(f"case {number}" for number in numbers)
        return cls(
            f"the two sets of results give another {subject} to the same case",
            got=f"{cases} cases with two, first {named}",
            expected=f"one {subject} for every case",
            remedy="run both on the same version of the table of cases",
        )


class UnitRefusedError(MedsdkError):
    """Slices that cannot be counted as lesions or studies."""

    code = "unit-refused"
    exit_status = 2

    @classmethod
    def absent(cls, level: str, without: int, answers: int) -> Self:
        """Nobody said which lesion or study a slice belongs to.

        Args:
            level: `lesion` or `study`.
            without: Answers that name none.
            answers: How many there are.
        """
        return cls(
            f"the results cannot be counted by {level}",
            got=f"{without} of {answers} results name no {level}",
            expected=f"the {level} of every result"
            if level == "study"
            else f"results that name a {level}",
            remedy=f"fill the column {level!r} of the table of cases",
        )

    @classmethod
    def disagreeing(cls, level: str, subject: str, numbers: tuple[int, ...]) -> Self:
        """The slices of one unit do not agree on what it is.

        Args:
            level: `lesion` or `study`.
            subject: What they disagree on, for instance `truth`.
            numbers: Rows of the table of cases that show it.
        """
        named = ", ".join(f"case {number}" for number in numbers)
        return cls(
            f"the cases of one {level} have more than one {subject}",
            got=named,
            expected=f"one {subject} for all cases of a {level}",
            remedy=f"correct the table of cases, or do not count by {level}",
        )
