"""The JUnit XML: what the schemas in use agree on, and verdicts that match the report's."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from medsdk.parity.evidence import Claim, Evidence, Scope
from medsdk.reports.junit import junit_xml

COUNTS = {"failures": "failure", "errors": "error", "skipped": "skipped"}
ATTRIBUTES = {
    "testsuites": {"name", "tests", "failures", "errors", "skipped", "time"},
    "testsuite": {
        *("name", "tests", "failures", "errors", "skipped", "time", "timestamp", "hostname"),
    },
    "properties": set(),
    "property": {"name", "value"},
    "testcase": {"classname", "name", "time"},
    "failure": {"type", "message"},
    "error": {"type", "message"},
    "skipped": {"message"},
    "system-out": set(),
}
CHILDREN = {
    "testsuites": "(testsuite )*",
    "testsuite": "properties (testcase )*",
    "properties": "(property )+",
    "testcase": "((failure|error|skipped) )?(system-out )?",
}
"""In the order that Ant's and Jenkins' schemas give."""


def check(text: str) -> ET.Element:
    """Against the rules that Jenkins' and Ant's schemas and GitLab's reader share."""
    root = ET.fromstring(text)
    assert root.tag == "testsuites"
    for element in root.iter():
        assert set(element.attrib) == ATTRIBUTES[element.tag], element.tag
        order = "".join(f"{child.tag} " for child in element)
        assert re.fullmatch(CHILDREN.get(element.tag, ""), order), f"{element.tag}: {order}"
    for suite in (root, *root):
        cases = list(suite.iter("testcase"))
        assert int(suite.attrib["tests"]) == len(cases)
        for key, tag in COUNTS.items():
            assert int(suite.attrib[key]) == sum(case.find(tag) is not None for case in cases), key
    for suite in root:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.attrib["timestamp"])
    names = [(case.attrib["classname"], case.attrib["name"]) for case in root.iter("testcase")]
    assert len(names) == len(set(names))
    assert all(name.strip() and len(group.split(".")) == 3 for group, name in names)
    return root


def outcomes(root: ET.Element) -> dict[str, str]:
    return {
        case.attrib["name"]: next(
            (child.tag for child in case if child.tag != "system-out"), "success"
        )
        for case in root.iter("testcase")
    }


def test_one_case_a_claim_and_the_verdict(rich):
    text = junit_xml(rich)
    root = check(text)
    assert text.startswith('<?xml version="1.0" encoding="UTF-8"?>\n')
    assert root.attrib["tests"] == str(1 + len(rich.changes) + len(rich.evidence.claims))
    assert (root.attrib["failures"], root.attrib["errors"], root.attrib["skipped"]) == (
        *("3", "1", "1"),
    )
    found = outcomes(root)
    assert found["verdict"] == "failure"
    assert found["change: thresholds: tumour"] == "failure"
    assert found["flips: by slice"] == "success"
    assert found["flips: by study"] == "error"
    assert found["metric-ratio: by slice"] == "skipped"
    assert found["surface-distance-mean: by lesion"] == "success"
    said = {
        case.attrib["name"]: case.findtext("system-out") or "" for case in root.iter("testcase")
    }
    assert "0 in 300 slices; under 1.00 %" in said["flips: by slice"]
    assert said["surface-distance-mean: by lesion"].startswith("advisory: ")


def test_the_rules_can_fail(rich):
    text = junit_xml(rich)
    for before, after in (
        ('failures="3"', 'failures="2"'),
        ("<properties>", "<properties><testcase/>"),
        ('name="flips: by study"', 'name="flips: by slice"'),
        ('tests="', 'extra="1" tests="'),
        ("T20:00:00", "T20:00:00Z"),
    ):
        assert before in text
        with pytest.raises(AssertionError):
            check(text.replace(before, after))


@pytest.mark.parametrize(
    ("verdict", "outcome"),
    [
        ("pass", "success"),
        ("advisory", "success"),
        ("fail", "failure"),
        ("not-conclusive", "error"),
        ("not-run", "error"),
    ],
)
def test_a_report_is_green_only_where_it_passes(make_report, verdict, outcome):
    found = make_report(verdict=verdict, evidence=Evidence(), changes=(), reasons=("why",))
    assert outcomes(check(junit_xml(found))) == {"verdict": outcome}


@pytest.mark.parametrize(
    ("envelope", "outcome"),
    [("inside", "success"), ("outside", "failure"), ("undecidable", "error"), (None, None)],
)
def test_the_envelope_answers_by_a_case_of_its_own(make_report, envelope, outcome):
    root = check(junit_xml(make_report(envelope=envelope)))
    assert outcomes(root).get("change envelope") == outcome
    said = [case.findtext("system-out") for case in root.iter("testcase")]
    assert any((item or "").startswith(f"{envelope} ") for item in said) == (envelope is not None)


def test_what_xml_forbids_is_not_in_it(make_report, hostile):
    bad = "\x00\x01\x0b\x1b[31m\ufffe\uffff]]>\x85 " + hostile
    claim: dict[str, Any] = {"measure": "flips", "n": 1, "verdict": "fail", "reason": bad}
    claims = tuple(
        Claim(**claim, scope=Scope(candidate=bad, stratum=bad, value=bad)) for _ in range(2)
    )
    text = junit_xml(make_report(title=bad, notice=bad, evidence=Evidence(claims=claims)))
    root = check(text)
    assert not re.search("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", text)
    assert "<script" not in text
    assert "alert('x')" in "".join(root.itertext())


def test_names_are_stable_and_unique(make_report):
    claim = Claim(measure="flips", n=1, verdict="advisory")
    report = make_report(evidence=Evidence(claims=(claim,) * 3), changes=())
    assert list(outcomes(check(junit_xml(report)))) == [
        *("verdict", "flips: by slice", "flips: by slice (2)", "flips: by slice (3)"),
    ]
    assert junit_xml(report) == junit_xml(report)
