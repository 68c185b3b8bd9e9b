"""The rule of outcomes, with planted records: must reproduce, may be gone, cannot be shown."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.hazards.processes import ROOT
from tests.hazards.reporting import RECORD_VARIABLE

PLANTED = """
import pytest
from tests.hazards import records, reporting

RECORD = dict(library="pytest", happens="h", medsdk="m")
ANOMALIES = (
    records.Anomaly(id="same", seen=(records.release(pytest.__version__),), **RECORD),
    records.Anomaly(id="older", seen=("0.1",), **RECORD),
    records.Anomaly(id="elsewhere", seen=("0.1",), needs=("avx2", "no-vnni"), **RECORD),
)
reporting.anomalies = lambda: ANOMALIES
records.cpu_flags = lambda: frozenset({"avx2", "avx512_vnni"})
"""

CASES = {
    "same_shows": ("same", "reproduces(True, 'e')", "PASSED"),
    "same_is_gone": ("same", "reproduces(False, 'e')", "FAILED"),
    "older_shows": ("older", "reproduces(True, 'e')", "PASSED"),
    "older_is_gone": ("older", "reproduces(False, 'e')", "PASSED"),
    "the_version_it_was_seen_with": ("older", "reproduces(False, 'e', '0.1+cpu')", "FAILED"),
    "says_nothing": ("older", "pass", "ERROR"),
    "skips": ("older", "pytest.skip('no network')", "SKIPPED"),
    "needs_another_machine": ("elsewhere", "assert False", "SKIPPED"),
}
"""Name of a planted test: the record, what it does, and what has to become of it."""


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What pytest prints of the planted tests."""
    folder = tmp_path_factory.mktemp("planted")
    tests = [
        f"@pytest.mark.hazard({name!r})\ndef test_{case}(reproduces):\n    {body}\n"
        for case, (name, body, _) in CASES.items()
    ]
    text = "\n\n".join([PLANTED, *tests])
    (folder / "test_planted.py").write_text(text, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    options = ["-v", "-rs", "-p", "tests.hazards.reporting", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *options, "-c", str(folder / "pytest.ini")]
    environment = {key: value for key, value in os.environ.items() if key != RECORD_VARIABLE}
    done = subprocess.run(
        [*command, str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 1, done.stderr
    return done.stdout


@pytest.mark.parametrize("case", CASES)
def test_what_becomes_of_a_test(output: str, case: str):
    last = re.findall(rf"test_{case} ([A-Z]+)", output)[-1]
    assert last == CASES[case][2], output


@pytest.mark.parametrize(
    "line",
    [
        "2 reproduce, 1 no longer, 2 not tested",
        r"older: no longer reproduces with pytest [\d.]+ \(seen with 0\.1\): e\.",
        "older: not tested, no network",
        "elsewhere: not tested, it takes an x86 processor without VNNI",
        "same was seen with pytest .* does not show with that very version",
        "older: the test never said whether it reproduces",
    ],
)
def test_what_the_summary_says(output: str, line: str):
    assert re.search(line, output), output
