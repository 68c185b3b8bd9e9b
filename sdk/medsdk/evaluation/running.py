"""Every candidate on every case: one candidate after the other, one case at a time.

One session is open and one image is decoded at any moment; answers go to a file as they come, so
that a stopped or killed evaluation goes on where it was.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import medsdk_runtimes
from medsdk._refusals import VariantUnavailableError
from medsdk._version import __version__
from medsdk.bundle.reading import Bundle
from medsdk.canonical import canonical_json
from medsdk.diagnosis import machine_facts
from medsdk.evaluation.answers import KEPT_VALUES, Answer, AnswersHeader, AnswersWriter
from medsdk.evaluation.cases import CaseSet, KnownCase, read_frame
from medsdk.evaluation.errors import AnswersMismatchError
from medsdk.parity.known_answers import check_on_load
from medsdk.parity.protocol import positive_label
from medsdk.parity.verification import asked_candidates
from medsdk.pipeline import Pipeline, preprocessor_of, supported_role, variant_file
from medsdk.plan.candidate import DEFAULT_RUNTIME, DEFAULT_VARIANT, Candidate
from medsdk.results.documents import BundleIdentity, NetworkChoice, SettingsDocument
from medsdk_runtimes.contract import Array, Effective
from medsdk_runtimes.errors import MedsdkError, OutputMismatchError
from medsdk_runtimes.graph_digests import graph_digests
from medsdk_runtimes.machine import identify

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many are done, how many there are."""

ANSWERS = "answers"
"""Folder of the files of answers below an evaluation's place."""


@dataclass(frozen=True)
class AskedCandidate:
    """A candidate that takes part.

    Attributes:
        candidate: How to run the bundle.
        advisory: It is meant for another device, so that it decides nothing.
        reference: The others are compared with it.
    """

    candidate: Candidate
    advisory: bool = False
    reference: bool = False


@dataclass(frozen=True)
class Ran:
    """What came of a candidate.

    Attributes:
        asked: Which one.
        path: Its file of answers; None where it could not be asked.
        title: How a report names it.
        known_answers: How many it reproduced before the first case.
        problem: Why it could not be asked; empty where it was.
    """

    asked: AskedCandidate
    path: Path | None
    title: str
    known_answers: int = 0
    problem: str = ""


def choose_candidates(
    bundle: Bundle,
    runtimes: Sequence[str] = (),
    variants: Sequence[str] = (),
    isas: Sequence[str] = (),
    threads: int | None = None,
    *,
    reference: bool = True,
) -> tuple[AskedCandidate, ...]:
    """The candidates to ask, the reference first.

    Args:
        bundle: The opened bundle.
        runtimes: Names; empty for every installed one that a variant targets.
        variants: Ids of variants; empty for all.
        isas: Limits on the instruction set, `native` for none; empty for all.
        threads: Worker threads; None takes the process's whole budget.
        reference: Whether to mark one as the reference, and to add it where the pins leave it
            out: FP32 on ONNX Runtime, where that is not here FP32 on the first runtime that is.

    Returns:
        At least one.

    Raises:
        RuntimeUnavailableError: A runtime that was named is not installed or unknown, or none
            that the bundle is meant for is here.
        VariantUnavailableError: No candidate is left by the pins.
    """
    supported_role(bundle.manifest.task)
    everything = asked_candidates(bundle, (), threads)
    asked = asked_candidates(bundle, tuple(runtimes), threads) if runtimes else everything
    chosen = [
        AskedCandidate(candidate, advisory)
        for group, advisory in ((asked.judged, False), (asked.advisory, True))
        for candidate in group
        if (not isas or candidate.isa in isas)
        and (
            not variants
            or {choice.variant for choice in candidate.networks.values()} <= set(variants)
        )
    ]
    if not chosen:
        if not everything.judged:
            medsdk_runtimes.require(everything.absent[0] if everything.absent else DEFAULT_RUNTIME)
        raise VariantUnavailableError(
            "no candidate of the bundle is left by --runtime, --variant and --isa",
            got=", ".join((*runtimes, *variants, *isas)) or "none here",
            expected="; ".join(map(str, (*everything.judged, *everything.advisory))),
        )
    if not reference:
        return tuple(chosen)
    fp32 = [item for item in everything.judged if item.isa == "native" and is_fp32(item)]
    fp32.sort(key=lambda item: item.runtime != DEFAULT_RUNTIME)
    if not fp32:
        return tuple(chosen)
    others = [item for item in chosen if item.candidate != fp32[0]]
    return (AskedCandidate(fp32[0], reference=True), *others)


def run_candidate(
    bundle: Bundle,
    asked: AskedCandidate,
    cases: CaseSet,
    out: Path,
    progress: Progress,
    *,
    fresh: bool = False,
    phase: str = "",
) -> Ran:
    """Ask one candidate of every case, or of those that it was not asked of yet.

    Args:
        bundle: The opened bundle.
        asked: Which candidate.
        cases: At least one case.
        out: Its answers go to `answers/CANDIDATE.jsonl` below.
        progress: Told how many cases are done.
        fresh: Whether to begin anew where there are answers already.
        phase: What progress calls it.

    Returns:
        Where the answers are. A candidate that does not open, or that does not reproduce the
        bundle's known answers, is asked of no case, and `problem` says why. An error in one case
        is an answer with status `error`.

    Raises:
        AnswersMismatchError: There are answers of something else.
        AnswersUnreadableError: What is there is no file of answers.
        OutputNotWritableError: The place cannot be written.
    """
    candidate = asked.candidate
    title = title_of(candidate)
    progress(phase or title, 0, len(cases.cases))
    try:
        pipeline = Pipeline.open(bundle, candidate)
    except MedsdkError as error:
        return Ran(asked, None, title, problem=f"open: {error.code}: {error}")
    with pipeline:
        known = 0
        if not asked.advisory:  # of another device's variant a runtime here promises nothing
            try:
                known = check_on_load(bundle, candidate, pipeline)
            except MedsdkError as error:
                return Ran(asked, None, title, problem=f"{error.code}: {error}")
        header = header_of(bundle, candidate, pipeline.stage.session.effective, cases)
        path = out / ANSWERS / f"{_file_name(title)}.jsonl"
        with AnswersWriter.open(path, header, fresh=fresh) as writer:
            _check_rows(writer.done, cases)
            total = len(cases.cases)
            for done in range(len(writer.done), total):
                progress(phase or title, done, total)
                writer.append(ask(pipeline, cases.cases[done]))
            progress(phase or title, total, total)
    return Ran(asked, path, title, known)


def ask(pipeline: Pipeline, known: KnownCase) -> Answer:
    """Ask of one case.

    Args:
        pipeline: The opened candidate.
        known: The case.

    Returns:
        The answer; with status `error` and the error's code where there is none.
    """
    row = unanswered(known)
    if known.error:
        return row.model_copy(update={"status": "error", "reason": known.error})
    try:
        passage = pipeline.answer(read_frame(known.case, pipeline.task), known.case.roi)
        outputs = _kept(pipeline.stage.role, passage.outputs)
    except MedsdkError as error:
        return row.model_copy(update={"status": "error", "reason": error.code})
    outcome = passage.outcome
    if outcome is None:
        reason = passage.prepared.no_result or ""
        return row.model_copy(update={"status": "no-result", "reason": reason})
    return row.model_copy(
        update={
            "status": outcome.status,
            "label": outcome.label,
            "probabilities": dict(passage.probabilities),
            "reason": outcome.reason,
            "outputs": outputs,
        }
    )


def unanswered(known: KnownCase) -> Answer:
    """What the table says of a case, with no answer."""
    case = known.case
    return Answer(
        case=known.id,
        number=case.number,
        truth=case.truth,
        patient=case.patient,
        study=case.study,
        lesion=case.lesion,
        strata=dict(case.strata),
        status="no-result",
        label=None,
        probabilities={},
    )


def header_of(
    bundle: Bundle, candidate: Candidate, effective: Effective | None, cases: CaseSet
) -> AnswersHeader:
    """Who answers, and by what contract.

    Args:
        bundle: The opened bundle.
        candidate: Of it.
        effective: What was read back of its session; None where it did not open: the header then
            says what was asked for.
        cases: Of what it is asked.
    """
    manifest = bundle.manifest
    task = manifest.task
    role, decode = supported_role(task)
    machine = identify()
    decision = task.decision.model_dump(mode="json")
    file = variant_file(manifest, candidate, role)
    digests = graph_digests(bundle.read(file))
    return AnswersHeader(
        bundle=BundleIdentity(name=manifest.name, version=manifest.version, sha256=bundle.sha256),
        notice=manifest.notice,
        task={"id": task.id, "version": task.version},
        decision=canonical_json(decision).decode().strip(),
        labels=tuple(decode.labels),
        positive=positive_label(task, role),
        gates=task.gates,
        thresholds={name: item.value for name, item in task.thresholds.items()},
        preprocessing={role: preprocessor_of(task, task.networks[role]).digest},
        networks_sha256={role: manifest.files[file].sha256},
        topology_sha256={role: digests.topology},
        weights_sha256={role: digests.weights},
        runtime=candidate.runtime,
        runtime_version="" if effective is None else effective.version,
        device=candidate.device if effective is None else effective.device,
        networks={
            name: NetworkChoice(
                variant=choice.variant,
                precision=choice.precision if effective is None else effective.precision,
            )
            for name, choice in candidate.networks.items()
        },
        settings=SettingsDocument(threads=candidate.threads, isa=candidate.isa),
        machine=machine_facts(machine),
        machine_sha256=machine.digest,
        cases_sha256=cases.sha256,
        cases=len(cases.cases),
        medsdk=__version__,
    )


def title_of(candidate: Candidate) -> str:
    """A candidate in a few words, as `AnswersHeader.title` has it."""
    variants = ", ".join(sorted({choice.variant for choice in candidate.networks.values()}))
    isa = "" if candidate.isa == "native" else f" {candidate.isa}"
    return f"{candidate.runtime}{isa} {variants}"


def _kept(role: str, outputs: Mapping[str, Array]) -> dict[str, tuple[float, ...]]:
    """The small outputs; none of them may hold NaN or infinity, the large ones neither."""
    kept = {}
    for name, array in outputs.items():
        if not np.isfinite(array).all():
            raise OutputMismatchError(
                f"output {name!r} holds NaN or infinity",
                got="a value that is not finite",
                expected="finite values",
            )
        if array.size <= KEPT_VALUES:
            kept[f"{role}.{name}"] = tuple(map(float, array.ravel()))
    return kept


def _check_rows(done: Sequence[Answer], cases: CaseSet) -> None:
    """What is there must be of the same rows, since strata and units are kept with each answer."""
    asked = {"status", "label", "probabilities", "reason", "outputs"}
    for answer, known in zip(done, cases.cases, strict=False):
        row = unanswered(known)
        if answer.model_dump(exclude=asked) != row.model_dump(exclude=asked):
            raise AnswersMismatchError(
                f"the table says something else of {known.case.name} than the answers that are "
                "there",
                got="another study, lesion or stratum",
                expected="the table that the evaluation began with",
                remedy="give another --out, or --fresh to begin anew",
            )


def is_fp32(candidate: Candidate) -> bool:
    """Whether every network of it is the FP32 variant."""
    return all(choice.variant == DEFAULT_VARIANT for choice in candidate.networks.values())


def _file_name(title: str) -> str:
    """A candidate's title as a file name; nothing else of the user's is in it."""
    return re.sub("[^a-z0-9]+", "-", title.lower()).strip("-")
