"""From a bundle and a table of cases to one report: who answered, and what that proves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from medsdk._refusals import VariantUnavailableError
from medsdk._version import __version__
from medsdk.bundle.manifest import Verdict
from medsdk.bundle.reading import Bundle
from medsdk.canonical import timestamp
from medsdk.evaluation.answers import Answer, AnswersHeader, read_answers
from medsdk.evaluation.cases import CaseSet, identify_cases, read_cases
from medsdk.evaluation.errors import AnswersMismatchError, ReferenceContractError
from medsdk.evaluation.judging import Judged, Judge
from medsdk.evaluation.running import (
    AskedCandidate,
    Progress,
    Ran,
    choose_candidates,
    run_candidate,
    unanswered,
)
from medsdk.parity.evidence import Evidence, combined
from medsdk.parity.pairing import paired
from medsdk.parity.protocol import gate_values
from medsdk.pipeline import preprocessor_of, supported_role
from medsdk.reports.report import Report, ReportCandidate
from medsdk.results.describing import describe_bundle
from medsdk.results.documents import NetworkChoice, SettingsDocument
from medsdk.tasks.schema import Task
from medsdk_runtimes.machine import identify


@dataclass(frozen=True)
class EvaluationRequest:
    """What is to be evaluated.

    Attributes:
        bundle: The opened bundle.
        table: The table of cases, a CSV file.
        out: Folder for the files of answers; an evaluation that stopped there goes on.
        runtimes: Runtimes; empty for every installed one that a variant targets.
        variants: Variants; empty for all.
        isas: Limits on the instruction set; empty for all.
        threads: Worker threads; None takes the process's whole budget.
        reference: Answers of the reference from elsewhere; None takes FP32 here.
        within_patient: Strata that may differ between cases of one patient.
        fresh: Whether to begin anew where there are answers.
        explore: Whether a bundle for benchmarks may be evaluated; its verdict is advice.
    """

    bundle: Bundle
    table: Path
    out: Path
    runtimes: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    isas: tuple[str, ...] = ()
    threads: int | None = None
    reference: Path | None = None
    within_patient: tuple[str, ...] = ()
    fresh: bool = False
    explore: bool = False


@dataclass(frozen=True)
class Evaluation:
    """What came of it.

    Attributes:
        report: What was found.
        cases: The cases, for whoever draws a picture of one.
    """

    report: Report
    cases: CaseSet


def evaluate(request: EvaluationRequest, progress: Progress) -> Evaluation:
    """Ask every candidate of every case, and hold what they say against truth and reference.

    Args:
        request: What is to be evaluated.
        progress: Told what is being done.

    Returns:
        The report. Its verdict is `not-conclusive` where there are too few cases for a gate.

    Raises:
        CasesRefusedError: The table cannot be used.
        AnswersMismatchError: There are answers of something else in `out`, or the reference
            answers another question.
        AnswersUnreadableError: A file of answers cannot be used.
        ReferenceContractError: The reference was made under another preprocessing contract.
        UnpairedResultsError: The reference is of other cases.
        VariantUnavailableError: No such candidate, or a bundle for benchmarks.
        RuntimeUnavailableError: A runtime is not installed.
        TaskUnsupportedError: This release does not run the task.
        OutputNotWritableError: `out` cannot be written.
    """
    bundle = request.bundle
    task = bundle.manifest.task
    _, decode = supported_role(task)
    if bundle.manifest.purpose == "benchmark" and not request.explore:
        raise VariantUnavailableError(
            "the bundle is for benchmarks and makes no clinical claim",
            got="a bundle whose purpose is benchmark",
            expected="--explore, where figures are wanted all the same",
        )
    asked = choose_candidates(
        bundle,
        request.runtimes,
        request.variants,
        request.isas,
        request.threads,
        reference=request.reference is None,
    )
    rows = read_cases(request.table, task, decode.labels, request.within_patient)
    cases = identify_cases(rows, task, lambda done: progress("reading the cases", done, len(rows)))
    foreign = None
    if request.reference is not None:
        foreign = _foreign_reference(request.reference, task, cases)
    ran = [
        run_candidate(
            bundle,
            item,
            cases,
            request.out,
            progress,
            fresh=request.fresh,
            phase=f"candidate {number} of {len(asked)}, {item.candidate}: case",
        )
        for number, item in enumerate(asked, 1)
    ]
    judge = Judge(task, cases, advisory=bundle.manifest.purpose == "benchmark")
    return Evaluation(_report(bundle, judge, ran, foreign, progress), cases)


def _foreign_reference(
    path: Path, task: Task, cases: CaseSet
) -> tuple[AnswersHeader, tuple[Answer, ...]]:
    """A reference from elsewhere, held to this task and these cases before anything is run."""
    header, answers = read_answers(path)
    role, decode = supported_role(task)
    here = {role: preprocessor_of(task, task.networks[role]).digest}
    for name in sorted({*here, *header.preprocessing}):
        before, now = header.preprocessing.get(name, ""), here.get(name, "")
        if before != now:
            raise ReferenceContractError.between(name, before, now)
    if header.labels != tuple(decode.labels):
        raise AnswersMismatchError(
            "the reference answers another question",
            got=f"labels {', '.join(header.labels)}",
            expected=f"labels {', '.join(decode.labels)}",
            remedy="give answers to the same task",
        )
    paired(answers, [unanswered(known) for known in cases.cases])
    return header, answers


def _report(
    bundle: Bundle,
    judge: Judge,
    ran: list[Ran],
    foreign: tuple[AnswersHeader, tuple[Answer, ...]] | None,
    progress: Progress,
) -> Report:
    manifest = bundle.manifest
    reference = foreign[1] if foreign else _reference_answers(ran)
    found = Evidence(claims=tuple(judge.requirements(compared=_compared(ran, foreign))))
    candidates = [_of_elsewhere(foreign[0])] if foreign else []
    for number, item in enumerate(ran):
        progress("comparing candidate", number, len(ran))
        header, answers = (None, ()) if item.path is None else read_answers(item.path)
        judged = judge.of(item, answers, None if item.asked.reference else reference)
        found += judged.evidence
        candidates.append(_described(bundle, item, header, judged))
    progress("comparing candidate", len(ran), len(ran))
    found += Evidence(claims=tuple(judge.isa_ladder()))
    candidates = [_with_claims(item, found) for item in candidates]
    return Report(
        kind="evaluate",
        title=manifest.task.title,
        notice=manifest.notice,
        verdict=found.verdict,
        reasons=found.reasons,
        created=timestamp(),
        medsdk=__version__,
        candidates=tuple(candidates),
        gates={**gate_values(manifest.task)},
        cases_sha256=judge.cases.sha256,
        cases=len(judge.cases.cases),
        patients=judge.cases.patients,
        evidence=found,
    )
