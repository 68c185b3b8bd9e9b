"""What keeps cases and answers from being used.

::

    MedsdkError
    ├── CasesRefusedError       2  a table of cases that cannot be used
    ├── AnswersUnreadableError  4  no file of answers, or a malformed, cut or unfinished one
    ├── AnswersMismatchError    2  answers of something else than what was to go on
    └── ReferenceContractError  2  a reference made under another preprocessing contract
"""

from __future__ import annotations

from typing import Self

from medsdk_runtimes.errors import MedsdkError


class CasesRefusedError(MedsdkError):
    """A table of cases cannot be used."""

    code = "cases-refused"
    exit_status = 2


class AnswersUnreadableError(MedsdkError):
    """There is no file of answers, or it is malformed, cut short or not finished."""

    code = "answers-unreadable"
    exit_status = 4


class AnswersMismatchError(MedsdkError):
    """The answers that are there are of something else than what was to go on."""

    code = "answers-mismatch"
    exit_status = 2


class ReferenceContractError(MedsdkError):
    """A reference was made under another preprocessing contract."""

    code = "reference-contract"
    exit_status = 2

    @classmethod
    def between(cls, role: str, reference: str, variant: str) -> Self:
        """The pixel contracts of one network differ.

        Args:
            role: Which network.
            reference: Digest of the contract that the reference was made under; empty where it
                has no such network.
            variant: Digest of the contract that the candidate was run under, likewise.
        """
        return cls(
            f"the reference was made under another preprocessing contract of {role!r}",
            got=f"the reference's {reference or 'is missing'}, here {variant or 'is missing'}",
            expected="one preprocessing contract: otherwise other images are compared",
            remedy="make the reference again with this bundle; `medsdk diff` compares two "
            "bundles whose preprocessing differs",
        )
