"""The one rule for FP32 on another runtime, or against its source framework.

Every output value is within `atol + rtol |b|` of the reference's, and no decision changes that the
reference makes clear of twice that: the margin is the gate's, never what was seen, so that a case
that flipped cannot excuse itself. All flips are published beside it; close to a threshold rounding
makes some, and they decide nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import compress

import numpy as np
import numpy.typing as npt

from medsdk.bundle.manifest import Verdict
from medsdk.decide.rules import decide, decision_margin
from medsdk.decode import class_probabilities
from medsdk.evaluation.answers import Answer
from medsdk.parity import rates
from medsdk.parity.bootstrap import patient_codes
from medsdk.parity.classification import change_evidence
from medsdk.parity.evidence import Bound, Claim, Evidence, Measure, Scope
from medsdk.parity.pairing import PairedCase
from medsdk.parity.protocol import positive_label
from medsdk.pipeline import supported_role
from medsdk.tasks.gates import FloatGate
from medsdk.tasks.schema import Task
from medsdk_runtimes.contract import Array

MARGIN = 2
"""So many times what the gate allows; a decision that is clearer must not change."""

FLOAT_MEASURES: tuple[Measure, ...] = ("float-difference", "flips-outside-margin")
"""What decides."""

_NAMED = 5


def float_evidence(
    task: Task,
    pairs: Sequence[PairedCase],
    scope: Scope,
    shares: Sequence[float | None] | None = None,
) -> Evidence:
    """Hold FP32's answers against a reference's.

    Args:
        task: Its gates count.
        pairs: One a case, with or without a truth.
        scope: Of which candidate.
        shares: For each case the largest `share_of_allowance` of all its outputs; None for what
            the answers themselves hold. A case without a share has nothing to compare.

    Returns:
        `float-difference` and `flips-outside-margin`, which decide; and as advice what
        `change_evidence` says of a change of decisions.
    """
    role, decode = supported_role(task)
    gates = task.gates
    found = Evidence()
    if gates.classification is not None:
        positive = positive_label(task, role)
        change = change_evidence(gates.classification, decode.labels, positive, pairs, scope)
        found = change.as_advice()
    if shares is None:
        scores = f"{role}.{decode.output}"
        shares = [_kept_share(gates.fp32, pair, scores) for pair in pairs]
    own = (_difference(gates.fp32, pairs, shares, scope), _outside(task, pairs, scope))
    return found + Evidence(claims=own)


def share_of_allowance(gate: FloatGate, got: npt.ArrayLike, want: npt.ArrayLike) -> float:
    """The largest `|a - b| / (atol + rtol |b|)`; the gate allows at most 1.

    Args:
        gate: Both tolerances.
        got: a, any shape.
        want: b, the reference's.

    Returns:
        At least 0; infinity where the shapes differ, or a value is not finite.
    """
    ours, theirs = np.asarray(got, np.float64), np.asarray(want, np.float64)
    if ours.shape != theirs.shape or not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
        return math.inf
    distance = np.abs(ours - theirs)
    allowed = gate.atol + gate.rtol * np.abs(theirs)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(distance == 0, 0.0, distance / allowed)
    return float(share.max(initial=0.0))


def stable_under(
    task: Task, outputs: Mapping[str, Array], tolerance: Mapping[str, npt.ArrayLike]
) -> bool:
    """Whether no change of the outputs within a tolerance can change the decision.

    Softmax, sigmoid and the identity are monotonic, so the worst change for a label raises
    its own score and lowers the others, or the reverse; those corners are tried.

    Args:
        task: Its decode and rule.
        outputs: By name, first axis 1.
        tolerance: For each output, one number or one a value.

    Returns:
        False where there is no decision.
    """
    _, decode = supported_role(task)
    label = _label(task, outputs)
    scores = np.asarray(outputs[decode.output], np.float64)
    step = np.broadcast_to(np.asarray(tolerance[decode.output], np.float64), scores.shape)
    for index in range(scores.shape[-1]):
        for sign in (1.0, -1.0):
            moved = scores - sign * step
            moved[..., index] = scores[..., index] + sign * step[..., index]
            if decode.activation == "none":  # probabilities already
                moved = np.clip(moved, 0.0, 1.0)
            if _label(task, {**outputs, decode.output: moved}) != label:
                return False
    return label is not None


def _label(task: Task, outputs: Mapping[str, Array]) -> str | None:
    _, decode = supported_role(task)
    return decide(task, class_probabilities(decode, outputs)).label


def _kept_share(gate: FloatGate, pair: PairedCase, scores: str) -> float | None:
    """Of what two answers hold: small outputs, and probabilities where the scores are no such."""
    theirs, ours = _values(pair.reference, scores), _values(pair.variant, scores)
    if not theirs and not ours:
        return None
    if theirs.keys() != ours.keys():
        return math.inf
    return max(share_of_allowance(gate, ours[name], values) for name, values in theirs.items())


def _values(answer: Answer, scores: str) -> dict[str, tuple[float, ...]]:
    if scores in answer.outputs or not answer.probabilities:
        return answer.outputs
    given = tuple(value for _, value in sorted(answer.probabilities.items()))
    return {**answer.outputs, "probabilities": given}


def _difference(
    gate: FloatGate, pairs: Sequence[PairedCase], shares: Sequence[float | None], scope: Scope
) -> Claim:
    seen = [(pair, share) for pair, share in zip(pairs, shares, strict=True) if share is not None]
    over = [pair for pair, share in seen if share > 1]
    worst = max((share for _, share in seen if math.isfinite(share)), default=None)
    reason = "" if seen else f"{scope.candidate}: no case has an output to compare"
    if over:
        reason = (
            f"{scope.candidate}: outputs of {len(over)} of {len(seen)} cases leave atol "
            f"{gate.atol:g}, rtol {gate.rtol:g} of the reference: {_names(over)}"
        )
    return Claim(
        measure="float-difference",
        scope=scope.model_copy(update={"level": "output"}),
        n=len(seen),
        patients=len({pair.patient for pair, _ in seen}),
        events=len(over),
        value=worst,
        bound=None if worst is None else Bound(high=worst, method="extremes"),
        limit=1.0,
        needed=1,
        verdict="fail" if over else "pass" if seen else "not-conclusive",
        reason=reason,
    )


def _outside(task: Task, pairs: Sequence[PairedCase], scope: Scope) -> Claim:
    """Flips among the cases that the reference decides clear of the margin."""
    clear = [pair for pair in pairs if _clear(task, pair.reference)]
    flips = [pair.reference.label != pair.variant.label for pair in clear]  # each has a label
    flipped = list(compress(clear, flips))
    gate = task.gates.classification
    claim = rates.upper(
        "flips-outside-margin",
        scope,
        np.array(flips, np.bool_),
        patient_codes([pair.patient for pair in clear]),
        0.95 if gate is None else gate.confidence,
    )
    verdict: Verdict = "fail" if flipped else "pass" if clear else "not-conclusive"
    reason = "" if clear else f"{scope.candidate}: the reference decides no case clear of rounding"
    if flipped:
        reason = (
            f"{scope.candidate}: {len(flipped)} of {len(clear)} decisions flip that are clear of "
            f"{MARGIN} times what the gate of floats allows: {_names(flipped)}"
        )
    judged = {"limit": 0.0, "needed": 1, "verdict": verdict, "reason": reason}
    return claim.model_copy(update=judged)


def _clear(task: Task, reference: Answer) -> bool:
    """Whether twice what the gate allows leaves the reference's decision as it is."""
    if reference.status != "ok":
        return False
    role, decode = supported_role(task)
    gate = task.gates.fp32
    scores = reference.outputs.get(f"{role}.{decode.output}")
    if scores is None:  # too many to be kept: their probabilities, of which each is at most 1
        step = MARGIN * (gate.atol + gate.rtol)
        return decision_margin(task, reference.probabilities) > step
    row = np.array([scores], np.float64)
    allowed = MARGIN * (gate.atol + gate.rtol * np.abs(row))
    return stable_under(task, {decode.output: row}, {decode.output: allowed})


def _names(pairs: Sequence[PairedCase]) -> str:
    named = ", ".join(f"case {pair.number}" for pair in pairs[:_NAMED])
    return named + (f" and {len(pairs) - _NAMED} more" if len(pairs) > _NAMED else "")
