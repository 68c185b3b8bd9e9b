"""`medsdk diff`: what changed between two sides, what it did to decisions, and one verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from medsdk._refusals import TaskUnsupportedError
from medsdk._version import __version__
from medsdk.bundle.change_envelope import ChangeEnvelope
from medsdk.bundle.reading import Bundle
from medsdk.canonical import timestamp
from medsdk.changes.comparing import (
    Side,
    bundle_side,
    candidate_facts,
    changes_between,
    check_same_question,
    header_side,
)
from medsdk.changes.envelope import Judgement, judge_by_envelope, judge_by_gates
from medsdk.changes.errors import NotComparableError
from medsdk.changes.running import Pins, Progress, answered, candidate_pairs, cases_of
from medsdk.changes.sides import Answered, Unasked, pair_evidence
from medsdk.evaluation.answers import AnswersHeader
from medsdk.evaluation.cases import CaseSet
from medsdk.evaluation.running import title_of
from medsdk.parity.evidence import Claim, Evidence, Scope
from medsdk.pipeline import supported_role
from medsdk.plan.candidate import Candidate
from medsdk.reports.report import Change, Report, ReportCandidate
from medsdk.tasks.gates import ClassificationGate, Gates
from medsdk.tasks.schema import Task


@dataclass(frozen=True)
class DiffRequest:
    """How two sides are compared.

    Attributes:
        first: The approved side.
        second: The other.
        pins: What was chosen of the first side, where it is a bundle.
        pins_b: What was chosen of the second side, where it is a bundle.
        table: Table of cases; None for the known answers' inputs of two bundles.
        out: Where answers are kept.
        scratch: A folder for the known answers' inputs, as long as a case may be drawn.
        fresh: Whether to begin anew where there are answers.
    """

    first: Bundle | Answered
    second: Bundle | Answered
    pins: Pins
    pins_b: Pins
    table: Path | None
    out: Path
    scratch: Path
    fresh: bool = False


@dataclass(frozen=True)
class Diff:
    """What came of a comparison.

    Attributes:
        report: What is printed.
        pictured: The cases and their task, for whoever draws a picture of one; None where none
            was run here.
    """

    report: Report
    pictured: tuple[CaseSet, Task] | None


@dataclass(frozen=True)
class _Pair:
    """Two candidates on the same cases.

    Attributes:
        before: The approved side.
        after: The other.
        title: How claims name the second.
    """

    before: Answered | Unasked
    after: Answered | Unasked
    title: str

    def sides(self, described: Callable[[AnswersHeader], Side]) -> tuple[Side, Side]:
        """What both say; without what is read back where one of them did not answer."""
        one, two = described(self.before.header), described(self.after.header)
        if isinstance(self.before, Answered) and isinstance(self.after, Answered):
            return one, two
        return one.asked, two.asked


def diff(request: DiffRequest, progress: Progress) -> Diff:
    """Compare two sides.

    Args:
        request: What is compared, and how.
        progress: Told what is being done.

    Returns:
        The report. Two bundles of one digest, asked with the same pins, are the same: nothing is
        run unless there is a table of cases.

    Raises:
        NotComparableError: Other tasks or labels, or a bundle against answers without cases.
        UnpairedResultsError: The answers are of other cases.
        TaskUnsupportedError: This release does not run the task, or it has no gate to judge by.
        MedsdkError: What opening and running the candidates raises.
    """
    check_same_question(_question(request.first), _question(request.second))
    gate = _classification(_gates(request.first))
    envelope = None
    if isinstance(request.first, Bundle):
        envelope = request.first.manifest.change_envelope
    if envelope is not None:
        gate = envelope.gate(gate)
    before, after = request.first, request.second
    cases: CaseSet | None = None
    if isinstance(before, Answered) and isinstance(after, Answered):
        pairs: tuple[_Pair, ...] = (_Pair(before, after, f"B: {after.header.title}"),)
        changes = changes_between(header_side(before.header), header_side(after.header))
        unjudged: list[Claim] = []
    elif isinstance(before, Bundle) and isinstance(after, Bundle):
        chosen = candidate_pairs(before, after, request.pins, request.pins_b)
        identical = before.sha256 == after.sha256 and all(one == two for one, two in chosen)
        if identical and request.table is None:
            judgement = _judge(envelope, (), Evidence(), ())
            return Diff(_report(request, (), judgement, gate, Evidence(), envelope), None)
        cases = cases_of(before, request.table, request.scratch, progress, after)
        pairs = _run_pairs(request, before, after, chosen, cases, progress)
        changes, unjudged = _bundle_changes(request, before, after, chosen, pairs)
    else:
        pairs, cases = _run_against_answers(request, progress)
        changes, unjudged = _header_changes(pairs), []
    evidence = _evidence(pairs, gate)
    evidence += Evidence(claims=tuple(unjudged))
    judgement = _judge(envelope, changes, evidence, pairs)
    report = _report(request, pairs, judgement, gate, evidence, envelope)
    task = next((side.manifest.task for side in (before, after) if isinstance(side, Bundle)), None)
    return Diff(report, None if cases is None or task is None else (cases, task))


def _run_pairs(
    request: DiffRequest,
    first: Bundle,
    second: Bundle,
    chosen: Sequence[tuple[Candidate, Candidate]],
    cases: CaseSet,
    progress: Progress,
) -> tuple[_Pair, ...]:
    return tuple(
        _Pair(
            _ask(request, first, one, cases, "a", progress),
            _ask(request, second, two, cases, "b", progress),
            f"B: {title_of(two)}",
        )
        for one, two in chosen
    )


def _run_against_answers(
    request: DiffRequest, progress: Progress
) -> tuple[tuple[_Pair, ...], CaseSet]:
    """A bundle that is run here, against answers from elsewhere."""
    if request.table is None:
        raise NotComparableError(
            "a bundle cannot be compared with answers without the cases that they answer",
            got="no --cases",
            expected="the table of cases of the evaluation that wrote the answers",
            remedy="--cases CASES.csv",
        )
    first, second = request.first, request.second
    if isinstance(first, Bundle) and isinstance(second, Answered):
        cases = cases_of(first, request.table, request.scratch, progress)
        candidate = request.pins.candidate(first.manifest)
        asked = _ask(request, first, candidate, cases, "a", progress)
        return (_Pair(asked, second, f"B: {second.header.title}"),), cases
    assert isinstance(first, Answered)
    assert isinstance(second, Bundle)
    cases = cases_of(second, request.table, request.scratch, progress)
    candidate = request.pins_b.candidate(second.manifest)
    asked = _ask(request, second, candidate, cases, "b", progress)
    return (_Pair(first, asked, f"B: {title_of(candidate)}"),), cases


def _ask(
    request: DiffRequest,
    bundle: Bundle,
    candidate: Candidate,
    cases: CaseSet,
    side: str,
    progress: Progress,
) -> Answered | Unasked:
    return answered(
        bundle,
        candidate,
        cases,
        request.out / side,
        progress,
        fresh=request.fresh,
        phase=f"{side.upper()}: {candidate}: case",
    )


def _bundle_changes(
    request: DiffRequest,
    first: Bundle,
    second: Bundle,
    chosen: Sequence[tuple[Candidate, Candidate]],
    pairs: Sequence[_Pair],
) -> tuple[tuple[Change, ...], list[Claim]]:
    """What differs between two bundles and between their candidates; and what was not judged."""
    run = {choice.variant for pair in chosen for one in pair for choice in one.networks.values()}
    whole = request.pins.variant is None and request.pins_b.variant is None
    variants = None if whole else run
    before, after = bundle_side(first, variants), bundle_side(second, variants)
    if first.sha256 == second.sha256:  # two candidates of one bundle
        before, after = Side({}, {}), Side({}, {})
    found: dict[Change, None] = dict.fromkeys(changes_between(before, after))
    for pair in pairs:
        found |= dict.fromkeys(changes_between(*pair.sides(_candidate_side)))
    unjudged = [
        _unjudged(place)
        for place, graph in after.graphs.items()
        if whole
        and place.split(" ")[1] not in run
        and (place not in before.graphs or before.graphs[place].file != graph.file)
    ]
    return tuple(found), unjudged


def _unjudged(place: str) -> Claim:
    role, variant = place.split(" ")
    return Claim(
        measure="cases",
        scope=Scope(candidate=f"B: {variant}", role=role),
        n=0,
        verdict="not-conclusive",
        reason=f"{variant} of {role!r} is new or changed and was not run: it is not meant for "
        "the runtime that was. Pin a variant to ask of that one alone",
    )


def _header_changes(pairs: Iterable[_Pair]) -> tuple[Change, ...]:
    found: dict[Change, None] = {}
    for pair in pairs:
        found |= dict.fromkeys(changes_between(*pair.sides(header_side)))
    return tuple(found)


def _candidate_side(header: AnswersHeader) -> Side:
    return Side(candidate_facts(header), {})


def _evidence(pairs: Iterable[_Pair], gate: ClassificationGate) -> Evidence:
    found = Evidence()
    for pair in pairs:
        if isinstance(pair.before, Unasked):
            found += _not_asked(pair, pair.before.problem, "the approved side", "not-conclusive")
        elif isinstance(pair.after, Unasked):
            found += _not_asked(pair, pair.after.problem, "the second side", "fail")
        else:
            found += pair_evidence(pair.before, pair.after, gate, pair.title)
    return found


def _not_asked(pair: _Pair, problem: str, side: str, verdict: str) -> Evidence:
    claim = Claim.model_validate(
        {
            "measure": "known-answers",
            "scope": Scope(candidate=pair.title),
            "n": 0,
            "verdict": verdict,
            "reason": f"{side} could not be asked: {problem}",
        }
    )
    return Evidence(claims=(claim,))


def _judge(
    envelope: ChangeEnvelope | None,
    changes: Sequence[Change],
    evidence: Evidence,
    pairs: Sequence[_Pair],
) -> Judgement:
    if envelope is None:
        return judge_by_gates(changes, evidence)
    headers = [
        side.header
        for pair in pairs
        for side in (pair.before, pair.after)
        if isinstance(side, Answered)
    ]
    sets = {header.cases_sha256 for header in headers}
    return judge_by_envelope(
        envelope,
        changes,
        evidence,
        sets.pop() if len(sets) == 1 else "",
        min((header.cases for header in headers), default=0),
    )


def _report(
    request: DiffRequest,
    pairs: Sequence[_Pair],
    judgement: Judgement,
    gate: ClassificationGate,
    evidence: Evidence,
    envelope: ChangeEnvelope | None,
) -> Report:
    first = request.first
    sides = [side for pair in pairs for side in (pair.before, pair.after)]
    one = next((side for side in sides if isinstance(side, Answered)), None)
    if isinstance(first, Bundle):
        title, notice = first.manifest.task.title, first.manifest.notice
    else:
        title, notice = first.header.task["id"], first.header.notice
    place = "change_envelope" if envelope is not None else "classification"
    gates = {f"{place}.{key}": value for key, value in gate.model_dump(mode="json").items()}
    return Report(
        kind="diff",
        title=title,
        notice=notice,
        verdict=judgement.verdict,
        reasons=judgement.reasons,
        created=timestamp(),
        medsdk=__version__,
        candidates=tuple(_candidates(pairs, evidence)),
        gates=gates,
        cases_sha256="" if one is None else one.header.cases_sha256,
        cases=0 if one is None else one.header.cases,
        patients=None if one is None or request.table is None else one.patients,
        changes=judgement.changes,
        envelope=judgement.envelope,
        evidence=evidence,
    )


def _candidates(pairs: Sequence[_Pair], evidence: Evidence) -> list[ReportCandidate]:
    found: dict[str, ReportCandidate] = {}
    for pair in pairs:
        if isinstance(pair.before, Answered):
            title = f"A: {pair.before.header.title}"
            found[title] = ReportCandidate.of(
                pair.before.header, title, reference=True, verdict="advisory"
            )
        if isinstance(pair.after, Answered):
            claims = (item for item in evidence.claims if item.scope.candidate == pair.title)
            own = Evidence(claims=tuple(claims))
            found[pair.title] = ReportCandidate.of(
                pair.after.header,
                pair.title,
                reference=False,
                verdict=own.verdict,
                reasons=own.reasons,
            )
    return list(found.values())


def _question(side: Bundle | Answered) -> tuple[str, tuple[str, ...]]:
    if isinstance(side, Answered):
        return side.header.task["id"], side.header.labels
    task = side.manifest.task
    _, decode = supported_role(task)
    return task.id, tuple(decode.labels)


def _gates(side: Bundle | Answered) -> Gates:
    return side.header.gates if isinstance(side, Answered) else side.manifest.task.gates


def _classification(gates: Gates) -> ClassificationGate:
    if gates.classification is None:
        raise TaskUnsupportedError(
            "the approved side has no gate to judge decisions by",
            got="no gates.classification",
            expected="a task with gates.classification",
        )
    return gates.classification
