"""The records are whole: each is shown by a test that exists, and each guard exists."""

from __future__ import annotations

import ast
import os
import re
from importlib.metadata import distribution
from pathlib import Path

import pytest

from tests.hazards.processes import CONSTRAINTS, ROOT
from tests.hazards.records import (
    FOLDER,
    Anomaly,
    anomalies,
    outcomes,
    record_outcomes,
    release,
)
from tests.hazards.reporting import RECORD_VARIABLE

RECORDS = anomalies()
HAZARDS = set(range(1, 13))
NAMED = [(record.id, test) for record in RECORDS for test in (*record.guards, *record.shown_by)]


def _tests_of(path: Path) -> dict[str, list[str]]:
    """Name of every test function of a file, with the hazards it is marked with."""
    found = {}
    for item in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(item, ast.FunctionDef) and item.name.startswith("test_"):
            marks = [ast.unparse(mark) for mark in item.decorator_list]
            found[item.name] = [
                name for mark in marks for name in re.findall(r"\.hazard\('(.+)'\)", mark)
            ]
    return found


def _marked() -> list[str]:
    files = [_tests_of(path) for path in sorted(FOLDER.glob("test_*.py"))]
    return [name for tests in files for names in tests.values() for name in names]


def test_every_hazard_of_the_list_has_a_record():
    assert {record.hazard for record in RECORDS if record.hazard} == HAZARDS


def test_every_mark_has_a_record():
    assert set(_marked()) <= {record.id for record in RECORDS}


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.id)
def test_a_record_is_shown_by_one_thing(record: Anomaly):
    ways = [record.id in _marked(), bool(record.shown_by), bool(record.untested)]
    assert sum(ways) == 1, "a test here, `shown_by` or `untested`"
    assert record.seen or record.untested, "a test compares with the versions it was seen with"


@pytest.mark.parametrize(("record", "test"), NAMED)
def test_a_test_that_is_named_exists(record: str, test: str):
    path, _, name = test.partition("::")
    assert (ROOT / path).is_file(), f"{record}: {path} is not there"
    assert name in _tests_of(ROOT / path), f"{record}: {path} has no {name}"


def test_what_is_constrained_was_looked_at():
    """A new version in constraints.txt is tried, and the attempt is written down."""
    if os.environ.get(RECORD_VARIABLE):
        pytest.skip("this run is the attempt")
    lines = CONSTRAINTS.read_text(encoding="utf-8").lower().split()
    pinned = dict(line.split("==") for line in lines)
    marked, tried = _marked(), outcomes()
    missing = [
        f"{record.id}: {record.library} {pinned[record.library.lower()]}"
        for record in RECORDS
        if record.id in marked and record.library.lower() in pinned
        if release(pinned[record.library.lower()]) not in {*record.seen, *tried.get(record.id, {})}
    ]
    assert not missing, "run `make hazards`"


def test_outcomes_are_those_of_records():
    assert set(outcomes()) <= set(_marked())


def test_libraries_are_named_as_the_registry_does():
    for record in RECORDS:
        if "environment" not in record.needs or record.library in ("onnxruntime", "Pillow"):
            assert distribution(record.library).version


ROW = '[[anomaly]]\nid = "a"\nlibrary = "x"\nseen = []\nhappens = "h"\nmedsdk = "m"\n'


@pytest.mark.parametrize(
    "text",
    [
        ROW + 'colour = "red"\n',
        ROW + 'needs = ["luck"]\n',
        ROW + ROW,
        ROW.replace('"a"', '"A b"'),
        ROW.replace('"h"', '""'),
        ROW.replace('library = "x"\n', ""),
        ROW + 'shown_by = ["t"]\nuntested = "u"\n',
    ],
)
def test_a_record_that_is_not_whole_is_refused(text: str, tmp_path: Path):
    path = tmp_path / "anomalies.toml"
    path.write_text(ROW, encoding="utf-8")
    assert len(anomalies(path)) == 1
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"a|A"):
        anomalies(path)


def test_a_machine_that_shows_less_takes_nothing_away(tmp_path: Path):
    path = tmp_path / "outcomes.json"
    path.write_text("{}", encoding="utf-8")
    record_outcomes({"a": {"1.0": "reproduces"}, "b": {"1.0": "reproduces"}}, path)
    record_outcomes({"a": {"1.1": "gone"}}, path)
    assert outcomes(path) == {"a": {"1.0": "reproduces", "1.1": "gone"}, "b": {"1.0": "reproduces"}}
