"""From what the SDK holds to what its JSON documents say."""

from __future__ import annotations

from medsdk.bench import Latency
from medsdk.bundle.manifest import Manifest
from medsdk.bundle.reading import Bundle
from medsdk.canonical import timestamp
from medsdk.engine import Engine
from medsdk.parity.statistics import runs_needed
from medsdk.parity.verification import CandidateVerdict, Verification
from medsdk.results.documents import (
    BundleIdentity,
    CandidateDocument,
    EffectiveDocument,
    ErrorFacts,
    FindingDocument,
    LatencyDocument,
    NetworkChoice,
    PlanDocument,
    ProvenanceDocument,
    SettingsDocument,
    VariantDocument,
    VerifyDocument,
)
from medsdk.results.finding import Finding
from medsdk_runtimes.errors import MedsdkError
from medsdk_runtimes.machine import identify


def describe_bundle(manifest: Manifest, sha256: str) -> BundleIdentity:
    """Which bundle."""
    return BundleIdentity(name=manifest.name, version=manifest.version, sha256=sha256)


def describe_variants(manifest: Manifest) -> dict[str, dict[str, VariantDocument]]:
    """Every variant with its status and why."""
    return {
        role: {
            name: VariantDocument(
                status=variant.status,
                reason=variant.reason,
                size_bytes=variant.size_bytes,
                parity=variant.parity,
            )
            for name, variant in network.variants.items()
        }
        for role, network in manifest.networks.items()
    }


def describe_candidate(verdict: CandidateVerdict) -> CandidateDocument:
    """One candidate's verdict; the precision is the one that was read back, where it opened."""
    candidate, effective = verdict.candidate, verdict.effective
    return CandidateDocument(
        runtime=candidate.runtime,
        device=candidate.device if effective is None else effective.device,
        networks={
            role: NetworkChoice(
                variant=choice.variant,
                precision=choice.precision if effective is None else effective.precision,
            )
            for role, choice in candidate.networks.items()
        },
        settings=SettingsDocument(threads=candidate.threads, isa=candidate.isa),
        verdict=verdict.verdict,
        reasons=verdict.reasons,
        cases=verdict.cases,
        flips=verdict.flips,
        max_abs_error=verdict.max_abs_error,
    )


def describe_verification(bundle: Bundle, verification: Verification) -> VerifyDocument:
    """The verdict of a bundle on this machine."""
    return VerifyDocument(
        verdict=verification.verdict,
        reasons=verification.reasons,
        bundle=describe_bundle(bundle.manifest, bundle.sha256),
        candidates=tuple(map(describe_candidate, verification.candidates)),
        absent_runtimes=verification.absent,
        machine_sha256=identify().digest,
    )


def describe_latency(latency: Latency) -> LatencyDocument:
    """What the timed runs allow to say."""
    estimate_ns = latency.percentile_ns(0.99)
    return LatencyDocument(
        runs=latency.runs,
        p50_ms=latency.p50_ns / 1e6,
        p99_ms=None if estimate_ns is None else estimate_ns / 1e6,
        p99_runs_needed=runs_needed(0.99),
        max_ms=latency.max_ns / 1e6,
    )


def describe_plan(engine: Engine) -> PlanDocument:
    """What runs, where, and why."""
    plan = engine.plan
    return PlanDocument(
        source=plan.source,
        reason=plan.reason,
        runtime=plan.candidate.runtime,
        device=plan.candidate.device,
        networks={
            role: EffectiveDocument(
                runtime=effective.runtime,
                runtime_version=effective.version,
                device=effective.device,
                variant=plan.candidate.networks[role].variant,
                precision=effective.precision,
                threads=effective.threads,
                isa=effective.isa,
                evidence=effective.evidence,
            )
            for role, effective in plan.effective.items()
        },
        known_answers_checked=plan.known_answers_checked,
    )


def describe_provenance(engine: Engine) -> ProvenanceDocument:
    """Where an engine's findings come from, but for bundle and plan."""
    provenance = engine.provenance
    return ProvenanceDocument(
        task=dict(provenance.task),
        thresholds=dict(provenance.thresholds),
        preprocessing={
            role: {
                "sha256": str(facts["preprocessing_sha256"]),
                "resize_implementation": str(facts["resize_implementation"]),
            }
            for role, facts in provenance.networks.items()
        },
        medsdk=provenance.medsdk,
        created=timestamp(),
    )


def describe_finding(finding: Finding, input_index: int) -> FindingDocument:
    """One finding.

    Args:
        finding: The finding.
        input_index: Which input of the run, 1-based.
    """
    region = finding.region
    return FindingDocument(
        kind=finding.kind,
        input_index=input_index,
        source_uid=finding.source_uid,
        frame_number=finding.frame_number,
        label=finding.label,
        probabilities=dict(finding.probabilities),
        status=finding.status,
        reason=finding.reason,
        affine=finding.affine.matrix,
        region=(region.x0, region.y0, region.x1, region.y1),
        decoder=finding.decoder,
    )


def describe_error(error: MedsdkError) -> ErrorFacts:
    """What, got, expected, remedy."""
    return ErrorFacts(
        code=error.code,
        what=error.what,
        got=error.got,
        expected=error.expected,
        remedy=error.remedy,
        exit_status=error.exit_status,
    )
