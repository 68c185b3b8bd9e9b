"""Parity of a classifier's decisions. `docs/parity.md` says what each claim means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from medsdk.evaluation.answers import Answer
from medsdk.parity import change_claims, rates
from medsdk.parity.change_charts import (
    agreement_table,
    probability_charts,
    worst_answers,
    worst_changes,
)
from medsdk.parity.decisions import (
    ERROR,
    INDETERMINATE,
    NO_RESULT,
    Codes,
    Pairs,
    Rate,
    Said,
    paired_answers,
    said,
)
from medsdk.parity.evidence import Claim, Evidence, Scope
from medsdk.parity.metrics import judged_labels
from medsdk.parity.pairing import PairedCase
from medsdk.tasks.gates import ClassificationGate


def change_evidence(
    gate: ClassificationGate,
    labels: Sequence[str],
    positive: str,
    cases: Sequence[PairedCase],
    scope: Scope,
) -> Evidence:
    """Hold a variant's answers against a reference's by the task's gate.

    Cases without a truth count for flips and agreement, not for sensitivity or specificity. An
    answer that is lost or gained is a flip. A case where both sides ended in an error, or where
    no network was run on either, is no agreement: it is counted in the claim `cases` alone.

    Args:
        gate: The task's gate, written before anything was measured.
        labels: The labels that an answer may be.
        positive: The label that sensitivity speaks of.
        cases: Of `medsdk.parity.pairing.paired`; at another level than `slice` of the answers
            that `medsdk.parity.levels.at_level` gave.
        scope: Of which part the evidence is; `level` names what a case is.

    Returns:
        Claims, charts and worst cases.

    Raises:
        ValueError: A truth, an answer or `positive` is none of the labels.
    """
    everything = paired_answers(labels, cases)
    compared = everything.compared
    pairs = everything.chosen(compared)
    kept = [case for case, among in zip(cases, compared, strict=True) if among]
    index = list(labels).index(positive)
    claims = (
        *_compared(everything, scope),
        *change_claims.gated(gate, index, pairs, scope),
        *change_claims.directions(gate, positive, pairs, scope),
        *change_claims.agreements(gate, index, pairs, scope),
        *change_claims.probability_changes(gate, kept, scope),
        *change_claims.flips_by_patient(gate, pairs, scope),
    )
    table = agreement_table(
        scope,
        labels,
        everything.reference.answers,
        everything.variant.answers,
        truth=False,
    )
    return Evidence(
        claims=claims,
        charts=(table, *probability_charts(positive, kept, scope)),
        worst=worst_changes(cases, scope),
    )


def metric_evidence(
    labels: Sequence[str],
    positive: str,
    answers: Sequence[Answer],
    scope: Scope,
    confidence: float = 0.95,
) -> Evidence:
    """Hold one candidate's answers against the truth: no gate, all claims `advisory`.

    An answer that is not there (indeterminate, no result, an error) is no right one.

    Args:
        labels: The labels that an answer may be.
        positive: The label that sensitivity speaks of; of more than two labels each is held
            against the rest.
        answers: One a case.
        scope: Of which part the evidence is.
        confidence: Of the two-sided intervals.

    Returns:
        Accuracy, and sensitivity, specificity and their mean, each by its name.

    Raises:
        ValueError: A truth, an answer or `positive` is none of the labels.
    """
    side = said(labels, answers)
    known = side.known
    claims = [
        *_labelled(side, scope),
        rates.rate("accuracy", scope, known, side.right, side.patients, confidence),
    ]
    for index in judged_labels(labels, list(labels).index(positive)):
        named = scope.model_copy(update={"label": labels[index]})
        for name in get_args(Rate):
            among, right = side.rated(name, index)
            claims.append(rates.rate(name, named, among, right, side.patients, confidence))
        claims.append(rates.mean_of_both(side, index, named, confidence))
    table = agreement_table(scope, labels, side.truths[known], side.answers[known], truth=True)
    return Evidence(claims=tuple(claims), charts=(table,), worst=worst_answers(answers, scope))


def _compared(pairs: Pairs, scope: Scope) -> tuple[Claim, ...]:
    """How many cases say something about the two, where it is not all of them."""
    used = int(pairs.compared.sum())
    told = [
        f"{text} of the {name}"
        for name, side in (("reference", pairs.reference), ("variant", pairs.variant))
        for text in _without_label(side)
    ]
    return _cases(scope, pairs.patients, used, told, "have no answer on either side")


def _labelled(side: Said, scope: Scope) -> tuple[Claim, ...]:
    """How many cases have a truth, where it is not all, and how many answers are no label."""
    return _cases(
        scope, side.patients, int(side.known.sum()), _without_label(side), "have no truth"
    )


def _without_label(side: Said) -> list[str]:
    texts = ((INDETERMINATE, "indeterminate"), (NO_RESULT, "without result"), (ERROR, "errors"))
    counts = ((int((side.answers == code).sum()), text) for code, text in texts)
    return [f"{count} {text}" for count, text in counts if count]


def _cases(
    scope: Scope, patients: Codes, used: int, told: Sequence[str], others: str
) -> tuple[Claim, ...]:
    n = len(patients)
    if used < n:
        told = (f"{n - used} of {n} cases {others}", *told)
    if not told:
        return ()
    claim = Claim(
        measure="cases",
        scope=scope,
        n=n,
        patients=rates.people(patients),
        events=used,
        value=used / n,
        verdict="advisory",
        reason="; ".join(told),
    )
    return (claim,)
