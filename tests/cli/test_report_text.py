"""What a terminal shows of a report: the page's words and numbers, and nothing left out unsaid."""

from __future__ import annotations

import re
from typing import Any

import pytest

from medsdk.cli.report_text import report_text
from medsdk.parity.evidence import Bound, Claim, Evidence, Scope, WorstCase
from medsdk.reports import Report
from medsdk.reports.report import ReportCandidate
from medsdk.results.documents import BundleIdentity, NetworkChoice, SettingsDocument

TITLE = "onnxruntime int8-cpu"
HERE = Scope(candidate=TITLE)


def report(*claims: Claim, **changed: Any) -> Report:
    candidate = ReportCandidate(
        title=TITLE,
        bundle=BundleIdentity(name="blob", version="1.0.0", sha256="ab" * 32),
        runtime="onnxruntime",
        runtime_version="1",
        device="CPU",
        networks={"filter": NetworkChoice(variant="int8-cpu", precision="int8")},
        settings=SettingsDocument(threads=1, isa="native"),
        machine_sha256="cd" * 32,
        reference=False,
        verdict="pass",
        reasons=(),
    )
    facts: dict[str, Any] = {
        "kind": "evaluate",
        "title": "Blobs",
        "notice": "Not for clinical use.",
        "verdict": "pass",
        "reasons": (),
        "created": "2026-11-25T20:00:00Z",
        "medsdk": "0.1.0",
        "candidates": (candidate,),
        "gates": {},
        "cases_sha256": "",
        "cases": 160,
        "patients": 160,
        "evidence": Evidence(claims=claims),
    }
    return Report(**(facts | changed))


def rows(*claims: Claim) -> list[list[str]]:
    """The cells of the claims' rows."""
    lines = report_text(report(*claims)).splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("----"))
    return [re.split("  +", line) for line in lines[first + 1 : lines.index("", first)]]


def claim(**facts: Any) -> Claim:
    made: dict[str, Any] = {"scope": HERE, "n": 160, "verdict": "pass"}
    return Claim(**(made | facts))


@pytest.mark.parametrize(
    ("facts", "found", "bound", "limit"),
    [
        # 1 - 0.05 ** (1 / 160) is 0.018549...: to the nearest it would read 1.85 %.
        (
            {"events": 0, "value": 0.0, "bound": {"high": 1 - 0.05 ** (1 / 160)}, "limit": 0.02},
            *("0 in 160 slices", "under 1.86 %", "2.00 %"),
        ),
        (
            {"n": 300, "events": 0, "value": 0.0, "bound": {"high": 1 - 0.05 ** (1 / 300)}},
            *("0 in 300 slices", "under 1.00 %", "-"),
        ),
        (
            {
                "measure": "sensitivity-change",
                "n": 80,
                "value": -0.0125,
                "bound": {"low": -0.045149, "high": 0.01991},
                "limit": -0.01,
            },
            *("−1.25 points (n = 80 slices)", "−4.52 to 2.00 points", "−1.00 points"),
        ),
        (
            {
                "measure": "output-difference",
                "value": 0.0,
                "unit": "",
                "bound": {"high": 0.0, "method": "extremes"},
                "limit": 1e-4,
            },
            *("0 (n = 160 slices)", "largest seen 0", "0.0001"),
        ),
        (
            {"measure": "known-answers", "n": 4, "events": 4, "value": 4.0, "unit": "count"},
            *("4 in 4 slices", "-", "-"),
        ),
    ],
)
def test_numbers_are_never_better_than_they_are(facts, found, bound, limit):
    facts = {"measure": "flips"} | facts
    if "bound" in facts:
        facts["bound"] = Bound(**({"method": "clopper-pearson"} | facts["bound"]))
    assert rows(claim(**facts)) == [[facts["measure"], found, bound, limit, "pass"]]


def test_patients_are_shown_where_they_are_claimed():
    people = claim(
        measure="patients-with-flips",
        scope=HERE.model_copy(update={"level": "patient"}),
        n=1,
        events=0,
        value=0.0,
        bound=Bound(high=0.95, method="clopper-pearson"),
        verdict="advisory",
    )
    assert rows(people) == [
        ["patients-with-flips by patient", "0 in 1 patient", "under 95.00 %", "-", "advisory"]
    ]
    text = report_text(report(people, patients=1))
    assert "160 cases of 1 patient\n" in text
    assert "1 patients" not in text


def test_two_outputs_are_told_apart():
    def value(output: str) -> Claim:
        scope = HERE.model_copy(update={"role": "filter", "output": output})
        return claim(measure="stored-value", scope=scope, n=3, events=0, value=0.0, unit="")

    assert [row[0] for row in rows(value("logits"), value("features"))] == [
        *("stored-value (filter.logits)", "stored-value (filter.features)")
    ]


def test_a_candidate_without_numbers_says_why():
    why = f"{TITLE}: there is no such device"
    text = report_text(report(claim(measure="known-answers", n=0, verdict="advisory", reason=why)))
    assert f"{TITLE} (pass)\n{why}\n" in text


def test_what_speaks_of_no_candidate_is_said_at_the_top():
    missing = Claim(
        measure="cases",
        n=160,
        events=159,
        unit="count",
        verdict="advisory",
        reason="1 of 160 cases has no truth",
    )
    assert report_text(report(missing)).splitlines()[2:4] == [
        *("160 cases of 160 patients", "1 of 160 cases has no truth")
    ]


def test_the_size_of_a_worst_case_is_a_probability_not_a_share():
    worst = WorstCase(
        scope=HERE,
        case="00112233445566aa",
        number=74,
        measure="probability-change-mean",
        size=0.2375,
        reference="none",
        variant="tumour",
    )
    text = report_text(report(evidence=Evidence(worst=(worst,))))
    assert "worst cases: case 74 (none -> tumour; probability-change-mean 0.2375)" in text
