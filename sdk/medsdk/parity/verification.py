"""`medsdk verify`: every known answer on every candidate, each stage alone and chained."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import medsdk_runtimes
from medsdk._refusals import VariantUnavailableError
from medsdk.bundle.manifest import Verdict
from medsdk.bundle.reading import Bundle
from medsdk.parity.known_answers import check_answer, spread
from medsdk.pipeline import Pipeline
from medsdk.plan.candidate import Candidate, candidates_of
from medsdk_runtimes.contract import Effective
from medsdk_runtimes.errors import MedsdkError

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many are done, how many there are."""


@dataclass(frozen=True)
class CandidateVerdict:
    """What verification found of one candidate.

    Attributes:
        candidate: Which one.
        effective: What the runtime really used; None where it did not open.
        verdict: `pass`, or `fail`, or `not-run`.
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
        verdict: `pass` if every candidate passes; `not-run` if there is none.
        candidates: One verdict each.
        absent: Runtimes that a variant targets and that are not installed here.
    """

    verdict: Verdict
    candidates: tuple[CandidateVerdict, ...]
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
    targets = {
        target
        for network in bundle.manifest.networks.values()
        for variant in network.variants.values()
        if variant.status == "shipped"
        for target in variant.targets
    }
    installed = [runtime.name for runtime in medsdk_runtimes.available()]
    for name in runtimes:
        medsdk_runtimes.require(name)
        if name not in targets:
            raise VariantUnavailableError(
                f"no variant of the bundle is meant for {name}",
                got=name,
                expected=f"one of {', '.join(sorted(targets)) or 'none'}",
            )
    chosen = runtimes or tuple(name for name in installed if name in targets)
    verdicts = [
        verify_candidate(bundle, candidate, progress)
        for candidate in candidates_of(bundle.manifest, chosen, threads, tiers=True)
    ]
    overall: Verdict = "pass"
    if not any(item.verdict != "not-run" for item in verdicts):
        overall = "not-run"
    elif any(item.verdict == "fail" for item in verdicts):
        overall = "fail"
    absent = () if runtimes else tuple(sorted(targets - set(installed)))
    return Verification(overall, tuple(verdicts), absent)


def verify_candidate(
    bundle: Bundle, candidate: Candidate, progress: Progress | None = None
) -> CandidateVerdict:
    """Run every known answer on one candidate.

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
        answers = spread(bundle.manifest)
        results = []
        for done, answer in enumerate(answers):
            if progress is not None:
                progress(str(candidate), done, len(answers))
            results.append(check_answer(bundle, candidate, pipeline, answer, alone=True))
        if progress is not None:
            progress(str(candidate), len(answers), len(answers))
        effective = pipeline.stage.session.effective
    reasons = tuple(f"{result.id}: {problem}" for result in results for problem in result.problems)
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
