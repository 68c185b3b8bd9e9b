"""Whether decisions flip more often where the same file runs on an older instruction set."""

from __future__ import annotations

from collections.abc import Sequence

from medsdk.bundle.manifest import Verdict
from medsdk.parity import rates
from medsdk.parity._decidable import ROUNDING
from medsdk.parity.decisions import paired_answers
from medsdk.parity.evidence import Claim, Scope
from medsdk.parity.pairing import PairedCase


def isa_ladder(
    max_rise: float,
    confidence: float,
    labels: Sequence[str],
    native: Sequence[PairedCase],
    lower: Sequence[PairedCase],
    scope: Scope,
) -> Claim:
    """Hold flips on an older instruction set against those on the machine's own.

    Args:
        max_rise: The gate, 0..1: how much the rate of flips may rise, as observed.
        confidence: Of the one-sided bound of the cases that flip on the older one alone.
        labels: The labels that an answer may be.
        native: Reference and variant on the machine's own instruction set.
        lower: The same reference, and the variant on the older one, for the same cases.
        scope: Of the candidate on the older one.

    Returns:
        The claim, over the cases that say something on both; `events` are those that flip on the
        older one alone, whose bound bounds the rise too.

    Raises:
        ValueError: The two are not of the same cases in the same order.
    """
    if [pair.case for pair in native] != [pair.case for pair in lower]:
        raise ValueError("an instruction set is held against another on the same cases")
    ours, theirs = paired_answers(labels, native), paired_answers(labels, lower)
    both = ours.compared & theirs.compared
    before, after = ours.flipped[both], theirs.flipped[both]
    claim = rates.upper("isa-ladder", scope, after & ~before, ours.patients[both], confidence)
    verdict: Verdict = "pass"
    reason, rise = "", None
    if not claim.n:
        verdict, reason = "not-conclusive", f"{scope.candidate}: no case was compared on both"
    else:
        rise = (int(after.sum()) - int(before.sum())) / claim.n
        if rise > max_rise + ROUNDING:
            verdict = "fail"
            reason = (
                f"{scope.candidate}: flips rise by {rise:.2%} over the native instruction set, "
                f"the gate is {max_rise:.2%}"
            )
    judged = {"value": rise, "limit": max_rise, "needed": 1, "verdict": verdict, "reason": reason}
    return Claim.model_validate({**dict(claim), **judged})
