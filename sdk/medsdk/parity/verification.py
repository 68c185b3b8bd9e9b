"""`medsdk verify`: every known answer on every candidate, each stage alone and chained.

And the decision probes, which say where the rule changes its mind.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import medsdk_runtimes
from medsdk._refusals import VariantUnavailableError
from medsdk.bundle.manifest import Verdict
from medsdk.bundle.reading import Bundle
from medsdk.parity.decision_probes import check_probes
from medsdk.parity.declaration import undeclared_gates
from medsdk.parity.known_answers import AnswerResult, check_answer, spread
from medsdk.parity.recorded import evidence_faults
from medsdk.pipeline import Pipeline
from medsdk.plan.candidate import Candidate, advisory_candidates, candidates_of
from medsdk_runtimes.contract import Effective
from medsdk_runtimes.errors import GraphRefusedError, MedsdkError
from medsdk_runtimes.symmetric_int8 import faults_of

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many are done, how many there are."""

_FAULTS_SHOWN = 5


@dataclass(frozen=True)
class CandidateVerdict:
    """What verification found of one candidate.

    Attributes:
        candidate: Which one.
        effective: What the runtime really used; None where it did not open.
        verdict: `pass` or `fail`; `advisory` for a variant that is meant for another device.
        reasons: Why not `pass`: stage, known answer, what differed.
        cases: Known answers that were run, n.
        flips: Decisions that differ from the reference's.
        max_abs_error: Largest difference of any output from what was expected; None where
            nothing ran or an output cannot be compared (missing, another shape, NaN).
    """

    candidate: Candidate
    effective: Effective | None
    verdict: Verdict
    reasons: tuple[str, ...]
    cases: int
    flips: int
    max_abs_error: float | None


@dataclass(frozen=True)
class Verification:
    """The verdict of a whole bundle on this machine.

    Attributes:
        verdict: `pass` if every candidate that is not advisory passes and the bundle itself has
            nothing wrong; `not-run` if there is none.
        candidates: One verdict each.
        absent: Runtimes that a variant targets and that are not installed here.
        reasons: What is wrong with the bundle itself: gates that are not those that were declared
            before it was measured; evidence that contradicts itself or the manifest; graphs for a
            GPU that are not quantized as it takes them, with the first faults.
    """

    verdict: Verdict
    candidates: tuple[CandidateVerdict, ...]
    absent: tuple[str, ...]
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class AskedCandidates:
    """What can be run on this machine.

    Attributes:
        judged: Those that a verdict is made of.
        advisory: Variants for a GPU on the CPU: what they give decides nothing.
        absent: Runtimes that a variant targets and that are not installed here.
    """

    judged: tuple[Candidate, ...]
    advisory: tuple[Candidate, ...]
    absent: tuple[str, ...]


def verify(
    bundle: Bundle,
    runtimes: tuple[str, ...] = (),
    threads: int | None = None,
    progress: Progress | None = None,
) -> Verification:
    """Verify a bundle on this machine.

    Args:
        bundle: The opened bundle.
        runtimes: Names; empty for every installed one that a variant targets.
        threads: Worker threads; None takes the process's whole budget.
        progress: Told what is being done.

    Returns:
        A verdict for each candidate.

    Raises:
        RuntimeUnavailableError: A runtime that was named is not installed or unknown.
        VariantUnavailableError: No variant of the bundle is meant for a runtime that was named.
        TaskUnsupportedError: This release does not run the task.
    """
    asked = asked_candidates(bundle, runtimes, threads)
    verdicts = [verify_candidate(bundle, candidate, progress) for candidate in asked.judged]
    advice = [
        _as_advice(bundle, verify_candidate(bundle, candidate, progress))
        for candidate in asked.advisory
    ]
    reasons = (*undeclared_gates(bundle), *evidence_faults(bundle), *_unfit_graphs(bundle))
    overall: Verdict = "pass"
    if reasons or any(item.verdict == "fail" for item in verdicts):
        overall = "fail"
    elif not verdicts:
        overall = "not-run"
    return Verification(overall, (*verdicts, *advice), asked.absent, reasons)


def asked_candidates(
    bundle: Bundle, runtimes: tuple[str, ...] = (), threads: int | None = None
) -> AskedCandidates:
    """The candidates of a bundle on this machine.

    Args:
        bundle: The opened bundle.
        runtimes: Names; empty for every installed one that a variant targets.
        threads: Worker threads; None takes the process's whole budget.

    Raises:
        RuntimeUnavailableError: A runtime that was named is not installed or unknown.
        VariantUnavailableError: No variant of the bundle is meant for a runtime that was named.
    """
    targets = {
        target
        for network in bundle.manifest.networks.values()
        for variant in network.variants.values()
        if variant.status == "shipped"
        for target in variant.targets
    }
    here = {runtime.name: runtime for runtime in medsdk_runtimes.available()}
    for name in runtimes:
        medsdk_runtimes.require(name)
        if name not in targets:
            raise VariantUnavailableError(
                f"no variant of the bundle is meant for {name}",
                got=name,
                expected=f"one of {', '.join(sorted(targets)) or 'none'}",
            )
    chosen = runtimes or tuple(name for name in here if name in targets)
    onlookers = tuple(
        name for name in runtimes or here if "int8" in getattr(here[name], "capabilities", ())
    )
    return AskedCandidates(
        judged=tuple(candidates_of(bundle.manifest, chosen, threads, tiers=True)),
        advisory=tuple(advisory_candidates(bundle.manifest, onlookers, threads)),
        absent=() if runtimes else tuple(sorted(targets - set(here))),
    )


def _unfit_graphs(bundle: Bundle) -> tuple[str, ...]:
    """Graphs for a GPU that its runtime would refuse, or take and compute otherwise."""
    found = []
    for role, network in bundle.manifest.networks.items():
        for name, variant in network.variants.items():
            if variant.form != "gpu" or variant.file is None:
                continue
            try:
                faults = faults_of(bundle.read(variant.file))
            except GraphRefusedError as error:
                found.append(f"{name} of {role!r}: {error}")
            else:
                found += [f"{name} of {role!r}: {fault}" for fault in faults[:_FAULTS_SHOWN]]
    return tuple(found)


def _as_advice(bundle: Bundle, found: CandidateVerdict) -> CandidateVerdict:
    """A verdict on a runtime that the variant is not meant for."""
    meant = sorted(
        {
            target
            for role, choice in found.candidate.networks.items()
            for target in bundle.manifest.networks[role].variants[choice.variant].targets
        }
    )
    remark = f"meant for {', '.join(meant)}: what {found.candidate.runtime} gives decides nothing"
    return replace(found, verdict="advisory", reasons=(remark, *found.reasons))


def verify_candidate(
    bundle: Bundle, candidate: Candidate, progress: Progress | None = None
) -> CandidateVerdict:
    """Run every known answer on one candidate, and the decision probes.

    Args:
        bundle: The opened bundle.
        candidate: How to run it.
        progress: Told what is being done.

    Returns:
        The verdict. An error of the runtime is a `fail` with the error as its reason.
    """
    try:
        pipeline = Pipeline.open(bundle, candidate)
    except MedsdkError as error:
        return CandidateVerdict(
            candidate, None, "fail", (f"open: {error.code}: {error}",), 0, 0, None
        )
    with pipeline:
        probes = check_probes(bundle.manifest.task, bundle.manifest.decision_probes)
        answers = spread(bundle.manifest)
        results: list[AnswerResult] = []
        for done, answer in enumerate(answers):
            if progress is not None:
                progress(str(candidate), done, len(answers))
            # The first one that fails says why: the others would repeat it.
            explain = not any(result.problems for result in results)
            results.append(
                check_answer(bundle, candidate, pipeline, answer, alone=True, explain=explain)
            )
        if progress is not None:
            progress(str(candidate), len(answers), len(answers))
        effective = pipeline.stage.session.effective
    reasons = (
        *(f"{result.id}: {problem}" for result in results for problem in result.problems),
        *(f"decision probes: {problem}" for problem in probes),
    )
    largest = max(result.max_abs_error for result in results)
    return CandidateVerdict(
        candidate=candidate,
        effective=effective,
        verdict="fail" if reasons else "pass",
        reasons=reasons,
        cases=len(results),
        flips=sum(result.flipped for result in results),
        max_abs_error=largest if math.isfinite(largest) else None,
    )
