"""JUnit XML of a report, as Jenkins, GitLab and others read it: one test case a claim.

There is no standard; this keeps to what the schemas in use have in common (Jenkins' xunit plug-in,
Ant's writer, GitLab's reader): `testsuites`, `testsuite`, `properties` before `testcase`, at most
one of `failure`, `error` and `skipped` in a case, `system-out` behind it, counts that add up.
"""

from __future__ import annotations

import re
from collections import Counter
from xml.etree import ElementTree as ET

from medsdk.bundle.manifest import Verdict
from medsdk.parity.evidence import Claim, Scope
from medsdk.printable import printable
from medsdk.reports.report import VERDICT_OF_ENVELOPE, Change, Report
from medsdk.reports.wording import Wording

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 has no way to write (section 2.2, Char)."""

_OUTCOME: dict[Verdict, str] = {"fail": "failure", "not-conclusive": "error", "not-run": "skipped"}
"""A claim that nobody could decide is not green: it is an `error`. See docs/reports.md."""


def junit_xml(report: Report) -> str:
    """The XML file.

    Args:
        report: What was found.

    Returns:
        A document in UTF-8 with its declaration. The first suite says the verdict of the whole;
        each candidate has one, in the report's order, and what speaks of none is in the first.
    """
    root = ET.Element("testsuites", name=f"medsdk {report.kind}")
    names = ["", *(candidate.title for candidate in report.candidates)]
    names += [claim.scope.candidate for claim in report.evidence.claims]
    suites = [_suite(report, name, number) for number, name in enumerate(dict.fromkeys(names))]
    root.extend(suites)
    for count in ("tests", "failures", "errors", "skipped"):
        root.set(count, str(sum(int(suite.get(count, "0")) for suite in suites)))
    root.set("time", "0")
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, "unicode") + "\n"


def _suite(report: Report, candidate: str, number: int) -> ET.Element:
    title = candidate or report.title
    suite = ET.Element("testsuite", name=_clean(title))
    facts = {"medsdk": report.medsdk, "notice": report.notice, "cases": str(report.cases)}
    for item in report.candidates:
        if item.title == candidate:
            facts |= {
                "bundle": f"{item.bundle.name} {item.bundle.version}",
                "bundle_sha256": item.bundle.sha256,
                "runtime": f"{item.runtime} {item.runtime_version}",
                "device": item.device,
                "machine_sha256": item.machine_sha256,
            }
    properties = ET.SubElement(suite, "properties")
    for name, value in facts.items():
        ET.SubElement(properties, "property", name=name, value=_clean(value))
    # A dot would open another package in a reader's tree.
    group = f"medsdk.{report.kind}.{_clean(title).replace('.', '_')}"
    seen: Counter[str] = Counter()

    def add(name: str, outcome: str, reason: str, said: str) -> None:
        seen[name] += 1
        unique = name if seen[name] == 1 else f"{name} ({seen[name]})"
        case = ET.SubElement(suite, "testcase", classname=group, name=unique, time="0")
        if outcome == "skipped":
            ET.SubElement(case, outcome, message=_clean(reason))
        elif outcome:
            found = ET.SubElement(case, outcome, type=outcome, message=_clean(reason))
            found.text = _clean(f"{reason}\n{said}")
        ET.SubElement(case, "system-out").text = _clean(said)

    words = Wording.of("en")
    if number == 0:
        add("verdict", _OUTCOME_OF_ALL[report.verdict], "; ".join(report.reasons), report.verdict)
        if report.envelope is not None:
            outcome = _OUTCOME_OF_ALL[VERDICT_OF_ENVELOPE[report.envelope]]
            said = words.text("envelope", report.envelope)
            add("change envelope", outcome, words.text("envelope-meanings", report.envelope), said)
        for change in report.changes:
            add(*_of_change(change))
    for claim in report.evidence.claims:
        if claim.scope.candidate == candidate:
            outcome = _OUTCOME.get(claim.verdict, "")
            add(_claim_name(claim), outcome, claim.reason, _said(words, claim))
    kinds = Counter(item.tag for case in suite.iter("testcase") for item in case)
    suite.set("tests", str(len(suite.findall("testcase"))))
    for key, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(key, str(kinds[tag]))
    suite.set("time", "0")
    suite.set("timestamp", report.created.removesuffix("Z"))
    suite.set("hostname", "withheld")
    return suite


_OUTCOME_OF_ALL: dict[Verdict, str] = {
    "fail": "failure",
    "not-conclusive": "error",
    "not-run": "error",
    "pass": "",
    "advisory": "",
}


def _of_change(change: Change) -> tuple[str, str, str, str]:
    name = _clean(f"change: {change.what}: {change.where}")
    said = f"{change.before} -> {change.after}"
    if change.allowed is False:
        return name, "failure", "the change envelope does not allow it", said
    return name, "", "", said


def _claim_name(claim: Claim) -> str:
    return _clean(": ".join((claim.measure, *_parts(claim.scope))))


def _parts(scope: Scope) -> tuple[str, ...]:
    named = (
        (scope.stratum, scope.value),
        ("label", scope.label),
        ("network", scope.role),
        ("output", scope.output),
    )
    return (f"by {scope.level}", *(f"{name} {value}" for name, value in named if value))


def _said(words: Wording, claim: Claim) -> str:
    said = words.statement(claim)
    return f"advisory: {said}" if claim.verdict == "advisory" else said


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("", printable(text))
