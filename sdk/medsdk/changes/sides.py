"""The sides of a comparison: bundles that are run here, and answers that were given elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from medsdk.bundle.reading import Bundle
from medsdk.decide.rules import Outcome, apply_rule
from medsdk.evaluation.answers import Answer, AnswersHeader, read_answers
from medsdk.evaluation.errors import AnswersUnreadableError
from medsdk.parity.classification import change_evidence
from medsdk.parity.errors import UnitRefusedError
from medsdk.parity.evidence import Claim, Evidence, Level, Scope
from medsdk.parity.levels import at_level
from medsdk.parity.no_result import no_result
from medsdk.parity.pairing import paired
from medsdk.tasks.decoding import Decision, Rule, ThresholdRule
from medsdk.tasks.gates import ClassificationGate


@dataclass(frozen=True)
class Answered:
    """Who answered, and what.

    Attributes:
        header: Who, and by what contract.
        answers: One a case.
    """

    header: AnswersHeader
    answers: tuple[Answer, ...]

    def decide(self, probabilities: Mapping[str, float]) -> Outcome:
        """Apply the rule that these answers were decided by."""
        return apply_rule(_rule(self.header), self.header.thresholds, probabilities)

    @property
    def patients(self) -> int:
        """How many different patients."""
        return len({answer.patient for answer in self.answers})


@dataclass(frozen=True)
class Unasked:
    """A candidate that answered nothing.

    Attributes:
        header: What was asked for; of what is read back of a session it says nothing.
        problem: Why: it does not open, or does not reproduce the bundle's known answers.
    """

    header: AnswersHeader
    problem: str


def read_side(path: Path) -> Bundle | Answered:
    """Open a side.

    Args:
        path: A bundle in either form, or a file of answers.

    Returns:
        The bundle, or the answers.

    Raises:
        BundleUnreadableError: There is neither.
        AnswersUnreadableError: A file of answers that is malformed, not finished, or at odds
            with its own header.
        MedsdkError: As `Bundle.open` and `read_answers` say.
    """
    if path.is_file() and _starts_as_answers(path):
        side = Answered(*read_answers(path))
        _check(side)
        return side
    return Bundle.open(path)


def pair_evidence(
    before: Answered, after: Answered, gate: ClassificationGate, candidate: str
) -> Evidence:
    """What a change did to decisions, at every level that the answers know.

    Args:
        before: The approved side.
        after: The other, on the same cases.
        gate: Judges the answers themselves; lesions and studies are reported only.
        candidate: How claims name the second side.

    Returns:
        The evidence.

    Raises:
        UnpairedResultsError: The two were not asked of the same cases.
    """
    header = before.header
    scope = Scope(candidate=candidate)
    pairs = paired(before.answers, after.answers)
    shared = {pair.case for pair in pairs if pair.reference.status == "error"}
    found = Evidence(claims=(no_result(after.answers, shared, scope),))
    found += change_evidence(gate, header.labels, header.positive, pairs, scope)
    levels: tuple[tuple[Level, bool], ...] = (
        ("lesion", any(answer.lesion is not None for answer in before.answers)),
        ("study", all(answer.study is not None for answer in before.answers)),
    )
    for level, known in levels:
        if known and (level == "lesion" or level == "study"):
            wider = scope.model_copy(update={"level": level})
            try:
                units = paired(
                    at_level(before.answers, level, before.decide),
                    at_level(after.answers, level, after.decide),
                )
            except UnitRefusedError as error:
                claim = Claim(
                    measure="cases", scope=wider, n=0, verdict="advisory", reason=error.what
                )
                found += Evidence(claims=(claim,))
                continue
            change = change_evidence(gate, header.labels, header.positive, units, wider)
            found += change.as_advice()
    return found


def _rule(header: AnswersHeader) -> Rule:
    try:
        rule = Decision.model_validate_json(header.decision).rule
    except ValidationError as error:
        raise _at_odds("a decision that is none") from error
    if isinstance(rule, ThresholdRule) and rule.threshold not in header.thresholds:
        raise _at_odds("a decision by a threshold that it does not have")
    return rule


def _check(side: Answered) -> None:
    """Refuse answers that their own header does not allow.

    Raises:
        AnswersUnreadableError: A rule that is none, or labels that are none of the task's.
    """
    _rule(side.header)
    labels = set(side.header.labels)
    said = {side.header.positive}
    for answer in side.answers:
        named = (answer.truth, answer.label, *answer.probabilities)
        said |= {label for label in named if label is not None}
    if not said <= labels:
        raise _at_odds(f"{len(said - labels)} labels that are none of the task's")


def _at_odds(got: str) -> AnswersUnreadableError:
    return AnswersUnreadableError(
        "the file of answers contradicts its header",
        got=got,
        expected="a file as `medsdk evaluate` writes it",
        remedy="make the answers again",
    )


def _starts_as_answers(path: Path) -> bool:
    """Whether a file begins as JSON lines do; what cannot be opened is left to `Bundle.open`."""
    try:
        with path.open("rb") as file:
            return file.read(1) == b"{"
    except OSError:
        return False
