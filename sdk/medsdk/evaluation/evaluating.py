"""From a bundle and a table of cases to one report: who answered, and what that proves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import medsdk_runtimes
from medsdk._refusals import VariantUnavailableError
from medsdk._version import __version__
from medsdk.bundle.reading import Bundle
from medsdk.canonical import timestamp
from medsdk.evaluation.answers import Answer, AnswersHeader, read_answers
from medsdk.evaluation.calibration import calibration_images
from medsdk.evaluation.cases import CaseSet, identify_cases, read_cases
from medsdk.evaluation.errors import AnswersMismatchError, ReferenceContractError
from medsdk.evaluation.judging import Judge
from medsdk.evaluation.running import (
    Progress,
    Ran,
    choose_candidates,
    is_fp32,
    run_candidate,
    unanswered,
)
from medsdk.parity.evidence import Claim, Evidence
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
    cases = identify_cases(
        rows,
        task,
        lambda done: progress("reading the cases", done, len(rows)),
        calibration_images(bundle),
    )
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
    rows = [unanswered(known) for known in cases.cases]
    said = {item.case: item for item in answers}
    paired(answers, rows)
    # Of the same cases; which study, lesion or group they belong to, this table says.
    unit = {"number", "study", "lesion", "strata"}
    return header, tuple(
        said[row.case].model_copy(update=row.model_dump(include=unit)) for row in rows
    )


def _report(
    bundle: Bundle,
    judge: Judge,
    ran: Sequence[Ran],
    foreign: tuple[AnswersHeader, tuple[Answer, ...]] | None,
    progress: Progress,
) -> Report:
    """Judge one candidate after the other; its answers are read again and let go."""
    task = bundle.manifest.task
    reference = None if foreign is None else foreign[1]
    described = [] if foreign is None else [_of_elsewhere(foreign[0])]
    found = Evidence()
    for number, item in enumerate(ran):
        progress("comparing candidate", number, len(ran))
        header, answers = (None, ()) if item.path is None else read_answers(item.path)
        if item.asked.reference:
            reference = answers or None
        found += judge.of(item, answers, None if item.asked.reference else reference)
        described.append(_described(bundle, item, header))
    progress("comparing candidate", len(ran), len(ran))
    compared = any(not item.asked.reference and item.path is not None for item in ran)
    if all(item.asked.reference for item in ran):
        found += _nothing_compared()
    if compared and reference is None:
        found += _without_reference(len(judge.cases.cases))
    if any(not is_fp32(item.asked.candidate) and item.path is not None for item in ran):
        found += judge.isa_ladder() + judge.requirements()
    found += _without_truth(judge.cases)
    return Report(
        kind="evaluate",
        title=task.title,
        notice=bundle.manifest.notice,
        verdict=found.verdict,
        reasons=found.reasons,
        created=timestamp(),
        medsdk=__version__,
        candidates=tuple(_judged(item, found) for item in described),
        gates=dict(gate_values(task)),
        cases_sha256=judge.cases.sha256,
        cases=len(judge.cases.cases),
        patients=judge.cases.patients,
        evidence=found,
    )


def _nothing_compared() -> Evidence:
    said = "only the reference was asked: nothing was compared, and no gate of the task was judged"
    return Evidence(claims=(Claim(measure="flips", n=0, verdict="not-run", reason=said),))


def _without_reference(cases: int) -> Evidence:
    said = "there is no reference: FP32 could not be asked here, and no --reference was given"
    claim = Claim(measure="flips", n=cases, verdict="not-conclusive", reason=said)
    return Evidence(claims=(claim,))


def _without_truth(cases: CaseSet) -> Evidence:
    """How many cases count for flips alone; where none has a truth, each metric says so."""
    total = len(cases.cases)
    known = sum(item.case.truth is not None for item in cases.cases)
    if known in (0, total):
        return Evidence()
    missing = total - known
    said = f"{missing} of {total} cases {'has' if missing == 1 else 'have'} no truth"
    claim = Claim(
        measure="cases",
        n=total,
        patients=cases.patients,
        events=known,
        unit="count",
        verdict="advisory",
        reason=said,
    )
    return Evidence(claims=(claim,))


def _described(bundle: Bundle, ran: Ran, header: AnswersHeader | None) -> ReportCandidate:
    """Who answered; what was asked for, where it did not open."""
    candidate = ran.asked.candidate
    if header is not None:
        reference = ran.asked.reference
        return ReportCandidate.of(header, ran.title, reference=reference, verdict="not-run")
    here = {item.name: item.availability().version for item in medsdk_runtimes.known()}
    return ReportCandidate(
        title=ran.title,
        bundle=describe_bundle(bundle.manifest, bundle.sha256),
        runtime=candidate.runtime,
        runtime_version=here.get(candidate.runtime, ""),
        device=candidate.device,
        networks={
            role: NetworkChoice(variant=choice.variant, precision=choice.precision)
            for role, choice in candidate.networks.items()
        },
        settings=SettingsDocument(threads=candidate.threads, isa=candidate.isa),
        machine_sha256=identify().digest,
        reference=ran.asked.reference,
        verdict="not-run",
        reasons=(),
    )


def _of_elsewhere(header: AnswersHeader) -> ReportCandidate:
    title = f"{header.title} (from elsewhere)"
    return ReportCandidate.of(header, title, reference=True, verdict="not-run")


def _judged(candidate: ReportCandidate, evidence: Evidence) -> ReportCandidate:
    """The candidate with the verdict of the claims about it; one from elsewhere has none."""
    own = Evidence(
        claims=tuple(item for item in evidence.claims if item.scope.candidate == candidate.title)
    )
    if not own.claims:
        return candidate.model_copy(update={"verdict": "advisory"})
    return candidate.model_copy(update={"verdict": own.verdict, "reasons": own.reasons})
