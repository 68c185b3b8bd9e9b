"""A report with every kind of chart, all verdicts, strata and texts that somebody hostile wrote."""

from __future__ import annotations

from typing import Any

import pytest

from medsdk.parity.evidence import (
    AgreementTable,
    BlandAltman,
    Bound,
    Claim,
    Evidence,
    Histogram,
    Scope,
    WorstCase,
)
from medsdk.reports.report import Change, Report, ReportCandidate
from medsdk.results.documents import BundleIdentity, NetworkChoice, SettingsDocument

HOSTILE = "<script>alert('x')</script> & \"quoted\" \u202eesrever\u2066"
"""What a label or a reason may be; the last characters turn the direction of text."""

FP32, INT8 = "onnxruntime fp32", "openvino avx2 int8-cpu"


def candidate(title: str, *, reference: bool) -> ReportCandidate:
    runtime, *_, variant = title.split()
    return ReportCandidate(
        title=title,
        bundle=BundleIdentity(name="blob", version="1.0.0", sha256="ab" * 32),
        runtime=runtime,
        runtime_version="1.31.1",
        device="CPU",
        networks={"filter": NetworkChoice(variant=variant, precision="fp32")},
        settings=SettingsDocument(threads=1 if reference else 2, isa="native"),
        machine_sha256="cd" * 32,
        reference=reference,
        verdict="pass" if reference else "fail",
        reasons=() if reference else (HOSTILE,),
    )


def claims() -> tuple[Claim, ...]:
    here = Scope(candidate=INT8)
    exact = Bound(high=0.00993610, method="clopper-pearson")
    found = [
        Claim(
            measure="flips",
            scope=here,
            n=300,
            patients=150,
            events=0,
            value=0.0,
            bound=exact,
            limit=0.02,
            needed=149,
            verdict="pass",
        ),
        Claim(
            measure="sensitivity-change",
            scope=Scope(candidate=INT8, label=HOSTILE),
            n=152,
            value=-0.0212,
            bound=Bound(low=-0.0332, high=-0.0102, method="paired-bootstrap"),
            limit=-0.01,
            verdict="fail",
            reason=HOSTILE,
        ),
        Claim(
            measure="flips",
            scope=Scope(candidate=INT8, level="study"),
            n=1,
            patients=1,
            events=0,
            value=0.0,
            bound=Bound(high=0.95, method="clopper-pearson"),
            limit=0.02,
            needed=149,
            verdict="not-conclusive",
            reason="1 study",
        ),
        Claim(measure="metric-ratio", scope=here, n=0, verdict="not-run", reason="not run"),
        Claim(
            measure="output-difference",
            scope=Scope(candidate=INT8, level="output", role="filter", output="logits"),
            n=300,
            value=3.2e-5,
            unit="",
            bound=Bound(high=3.2e-5, method="extremes"),
            limit=1e-4,
            verdict="pass",
        ),
        Claim(
            measure="surface-distance-mean",
            scope=Scope(candidate=INT8, level="lesion"),
            n=64,
            value=1.25,
            unit="mm",
            verdict="advisory",
        ),
    ]
    for number in range(40):
        found.append(
            Claim(
                measure="sensitivity",
                scope=Scope(candidate=INT8, stratum="site", value=f"{number} {HOSTILE}"),
                n=20 + number,
                value=0.9,
                bound=Bound(low=0.7, high=0.99, method="clopper-pearson"),
                verdict="advisory",
            )
        )
    return tuple(found)


def charts() -> tuple[AgreementTable | BlandAltman | Histogram, ...]:
    here = Scope(candidate=INT8)
    return (
        Histogram(
            measure="probability-change-mean",
            scope=here,
            unit="fraction",
            edges=(-0.2, -0.1, 0.0, 0.1, 0.2),
            counts=(1, 40, 0, 10),
        ),
        BlandAltman(
            measure="value-change-mean",
            scope=Scope(candidate=INT8, level="lesion"),
            unit="mm",
            n=4,
            bias=0.5,
            low=-1.0,
            high=2.0,
            points=((10.0, 0.0), (20.0, 1.0), (30.0, 2.5)),
        ),
        AgreementTable(
            scope=here,
            rows="reference",
            labels=("none", HOSTILE, "indeterminate"),
            counts=((146, 3, 0), (7, 142, 1), (0, 0, 1)),
        ),
    )


def report(**changed: Any) -> Report:
    evidence = Evidence(
        claims=claims(),
        charts=charts(),
        worst=(
            WorstCase(
                scope=Scope(candidate=INT8),
                case="00112233445566aa",
                number=7,
                measure="probability-change-mean",
                size=0.21,
                truth=HOSTILE,
                reference="none",
                variant=HOSTILE,
            ),
            WorstCase(
                scope=Scope(candidate=INT8),
                case="ffeeddccbbaa0099",
                measure="probability-change-mean",
                size=0.12,
            ),
        ),
    )
    facts: dict[str, Any] = {
        "kind": "diff",
        "title": f"Blobs {HOSTILE}",
        "notice": "Reference network: not for clinical use.",
        "verdict": evidence.verdict,
        "reasons": evidence.reasons,
        "created": "2026-11-25T20:00:00Z",
        "medsdk": "0.1.0",
        "candidates": (candidate(FP32, reference=True), candidate(INT8, reference=False)),
        "gates": {"classification.max_flip_rate": 0.02, "classification.metric": HOSTILE},
        "cases_sha256": "ef" * 32,
        "cases": 300,
        "patients": 150,
        "changes": (
            Change(what="thresholds", where="tumour", before="0.5", after="0.51", allowed=False),
            Change(what="weights", where=HOSTILE, before="", after=HOSTILE, allowed=True),
            Change(what="machine", where="", before="a", after="b"),
        ),
        "evidence": evidence,
    }
    return Report(**(facts | changed))


@pytest.fixture
def rich() -> Report:
    return report()


@pytest.fixture
def make_report() -> Any:
    """Makes the rich report with other facts."""
    return report


@pytest.fixture
def hostile() -> str:
    return HOSTILE
