"""What keeps two sides from being compared.

::

    MedsdkError
    └── NotComparableError      2  two sides that answer other questions
"""

from __future__ import annotations

from typing import Self

from medsdk_runtimes.errors import MedsdkError


class NotComparableError(MedsdkError):
    """Two sides answer other questions, or there is nothing to compare them on."""

    code = "not-comparable"
    exit_status = 2

    @classmethod
    def tasks(cls, first: str, second: str) -> Self:
        """They are of two tasks.

        Args:
            first: Id of the first side's.
            second: Id of the second side's.
        """
        return cls(
            "the two sides answer other questions",
            got=f"the tasks {first} and {second}",
            expected="one task, in one or two versions of it",
            remedy="`medsdk evaluate` holds each against the truth by itself",
        )

    @classmethod
    def labels(cls, first: tuple[str, ...], second: tuple[str, ...]) -> Self:
        """Their answers cannot be the same.

        Args:
            first: Labels of the first side.
            second: Labels of the second side.
        """
        return cls(
            "the two sides answer with other labels",
            got=f"{', '.join(first)} and {', '.join(second)}",
            expected="the same labels, in any order",
            remedy="`medsdk evaluate` holds each against the truth by itself",
        )
