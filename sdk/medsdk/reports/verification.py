"""The report of `medsdk verify`: known answers, flips and differences as claims."""

from __future__ import annotations

from collections.abc import Iterator

from medsdk._version import __version__
from medsdk.bundle.manifest import Verdict
from medsdk.bundle.reading import Bundle
from medsdk.canonical import timestamp
from medsdk.evaluation.running import title_of
from medsdk.parity.evidence import Bound, Claim, Evidence, Scope
from medsdk.parity.protocol import gate_values
from medsdk.parity.statistics import binomial_upper_bound
from medsdk.parity.verification import CandidateVerdict, Verification
from medsdk.reports.report import Report, ReportCandidate
from medsdk.results.describing import describe_bundle, describe_candidate
from medsdk_runtimes.machine import identify

_CONFIDENCE = 0.95


def verification_report(bundle: Bundle, verification: Verification) -> Report:
    """What `verify` found of a bundle on this machine.

    Args:
        bundle: The opened bundle.
        verification: What was found.

    Returns:
        The report. For each candidate it claims how many known answers were reproduced, how many
        decisions flipped and how far the outputs are off; a runtime that is not installed decides
        nothing, as in the command's verdict.
    """
    manifest = bundle.manifest
    claims = [claim for found in verification.candidates for claim in _claims(bundle, found)]
    claims += [
        Claim(
            measure="known-answers",
            scope=Scope(candidate=name),
            n=0,
            verdict="advisory",
            reason=f"{name} is not installed here",
        )
        for name in verification.absent
    ]
    return Report(
        kind="verify",
        title=manifest.task.title,
        notice=manifest.notice,
        verdict=verification.verdict,
        reasons=_reasons(verification),
        created=timestamp(),
        medsdk=__version__,
        candidates=tuple(_candidate(bundle, found) for found in verification.candidates),
        gates=dict(gate_values(manifest.task)),
        cases_sha256="",
        cases=len(manifest.known_answers),
        patients=None,
        evidence=Evidence(claims=tuple(claims)),
    )


def _reasons(verification: Verification) -> tuple[str, ...]:
    failed = (found for found in verification.candidates if found.verdict == "fail")
    of_candidates = (
        f"{title_of(found.candidate)}: {reason}" for found in failed for reason in found.reasons
    )
    nothing: tuple[str, ...] = ()
    if verification.verdict == "not-run":
        nothing = ("no runtime that a variant is meant for is installed here",)
    return (*verification.reasons, *of_candidates, *nothing)


def _candidate(bundle: Bundle, found: CandidateVerdict) -> ReportCandidate:
    described = describe_candidate(found)
    return ReportCandidate(
        title=title_of(found.candidate),
        bundle=describe_bundle(bundle.manifest, bundle.sha256),
        runtime=described.runtime,
        runtime_version="" if found.effective is None else found.effective.version,
        device=described.device,
        networks=described.networks,
        settings=described.settings,
        machine_sha256=identify().digest,
        reference=False,
        verdict=found.verdict,
        reasons=found.reasons,
    )


def _claims(bundle: Bundle, found: CandidateVerdict) -> Iterator[Claim]:
    scope = Scope(candidate=title_of(found.candidate))
    advisory = found.verdict == "advisory"

    def judged(measure_failed: bool, *, ran: bool = True) -> Verdict:
        if advisory:
            return "advisory"
        return "fail" if measure_failed else "pass" if ran else "not-run"

    n, flips = found.cases, found.flips
    missed = sum(
        any(reason.startswith(f"{answer.id}: ") for reason in found.reasons)
        for answer in bundle.manifest.known_answers
    )
    yield Claim(
        measure="known-answers",
        scope=scope,
        n=n,
        events=n - missed,
        value=(n - missed) / n if n else None,
        verdict=judged(found.verdict == "fail"),
        reason="; ".join(found.reasons[:_NAMED]),
    )
    nothing = "" if n else "nothing was run"
    yield Claim(
        measure="flips",
        scope=scope,
        n=n,
        events=flips,
        value=flips / n if n else None,
        bound=Bound(
            high=binomial_upper_bound(flips, n, _CONFIDENCE),
            confidence=_CONFIDENCE,
            method="clopper-pearson",
        )
        if n
        else None,
        verdict=judged(flips > 0, ran=n > 0),
        reason=nothing or (f"{flips} of {n} decisions are not the reference's" if flips else ""),
    )
    yield _difference(bundle, found, scope, nothing, advisory=advisory)


def _difference(
    bundle: Bundle, found: CandidateVerdict, scope: Scope, nothing: str, *, advisory: bool
) -> Claim:
    """The largest difference of any output; its limit where there is one output alone."""
    limits = [
        (role, output, limit)
        for role, choice in found.candidate.networks.items()
        for output, limit in bundle.manifest.networks[role]
        .variants[choice.variant]
        .tolerance.items()
    ]
    value, limit = found.max_abs_error, None
    if len(limits) == 1:
        ((role, output, limit),) = limits
        scope = scope.model_copy(update={"role": role, "output": output})
    reason = nothing
    verdict: Verdict = "not-run"
    if not nothing:
        verdict = "pass" if limit is not None else "advisory"
        if value is None:
            verdict, reason = "fail", "an output is missing, of another shape, or not finite"
        elif limit is not None and value > limit:
            verdict, reason = "fail", f"an output differs by {value:.3g}, allowed {limit:.3g}"
    return Claim(
        measure="output-difference",
        scope=scope,
        n=found.cases,
        value=value,
        unit="",
        bound=None if value is None else Bound(high=value, method="extremes"),
        limit=limit,
        verdict="advisory" if advisory else verdict,
        reason=reason,
    )


_NAMED = 5
"""So many reasons are put into one claim; the candidate has them all."""
