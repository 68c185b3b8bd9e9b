"""Cases of which a candidate gave no answer, and whose fault that is."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from medsdk.evaluation.answers import Answer
from medsdk.parity.evidence import Claim, Scope

_NAMED = 5


def no_result(answers: Sequence[Answer], excused: Collection[str], scope: Scope) -> Claim:
    """How many cases have no answer.

    Args:
        answers: One a case, at least one.
        excused: Ids of the cases whose error says nothing of the candidate: a file that nobody
            can read, or one on which the reference ended in an error too.
        scope: Of which candidate.

    Returns:
        The claim. An error fails it, an excused one leaves it open: nobody knows what would have
        been said. A case that is indeterminate, or on which no network is run, is counted alone.
    """
    n = len(answers)
    failed = [item for item in answers if item.status == "error"]
    own = [item for item in failed if item.case not in excused]
    without = sum(item.status != "ok" for item in answers)
    return Claim(
        measure="no-result",
        scope=scope,
        n=n,
        patients=len({item.patient for item in answers}),
        events=without,
        value=without / n,
        verdict="fail" if own else "not-conclusive" if failed else "pass",
        reason=_errors(scope.candidate, own or failed, n) if failed else "",
    )


def _errors(title: str, failed: Sequence[Answer], n: int) -> str:
    named = ", ".join(f"case {item.number} ({item.reason})" for item in failed[:_NAMED])
    more = "" if len(failed) <= _NAMED else f" and {len(failed) - _NAMED} more"
    return f"{title}: {len(failed)} of {n} cases ended in an error: {named}{more}"
