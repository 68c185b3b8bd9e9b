"""The plugin that judges a reproduction and says in the summary what no longer reproduces.

    @pytest.mark.hazard("openvino-cache-by-name")
    def test_...(reproduces):
        ...
        reproduces(old_answer, "the old model's answer came back")

With a version with which the hazard was seen it must reproduce, or the test fails. With another
version it may be gone: that is reported and fails nothing. A machine that cannot show it skips.
`MEDSDK_RECORD_HAZARDS=1` writes what was found into `outcomes.json`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from typing import Any

import pytest

from tests.hazards.records import Anomaly, Outcome, anomalies, record_outcomes, release

RECORD_VARIABLE = "MEDSDK_RECORD_HAZARDS"

Reproduces = Callable[..., None]
"""(reproduced, evidence, version=None): the version is the installed one where none is given."""

_FOUND: pytest.StashKey[list[tuple[Anomaly, str, Outcome, str]]] = pytest.StashKey()
_SKIPPED: pytest.StashKey[list[tuple[Anomaly, str]]] = pytest.StashKey()
_DONE: pytest.StashKey[bool] = pytest.StashKey()
"""On an item that was skipped or has failed: it owes no word any more."""


def judge(record: Anomaly, version: str, reproduced: bool) -> Outcome | None:
    """What it means that a hazard did or did not show; None: it must with this version."""
    if reproduced:
        return "reproduces"
    return None if version in record.seen else "gone"


def pytest_configure(config: pytest.Config) -> None:
    """The marker and the notes of this run."""
    config.addinivalue_line("markers", "hazard(id): reproduces a record of anomalies.toml")
    config.stash[_FOUND] = []
    config.stash[_SKIPPED] = []


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Anomaly:
    """The record that this test reproduces; skips where the machine cannot show it."""
    found = _record(request.node)
    assert found is not None, "a test of a hazard is marked with its id"
    missing = found.missing_here()
    if missing is not None:
        pytest.skip(missing)
    return found


@pytest.fixture
def reproduces(request: pytest.FixtureRequest, record: Anomaly) -> Generator[Reproduces]:
    """Takes what was seen. A test that never says it fails."""
    said: list[bool] = []

    def take(reproduced: bool, evidence: str, version: str | None = None) -> None:
        said.append(reproduced)
        tried = record.installed if version is None else release(version)
        outcome = judge(record, tried, bool(reproduced))
        if outcome is None:
            pytest.fail(
                f"{record.id} was seen with {record.library} {tried} and does not show with that "
                f"very version: the test does not reproduce it here ({evidence})",
                pytrace=False,
            )
        request.config.stash[_FOUND].append((record, tried, outcome, evidence))

    yield take
    if not said and not request.node.stash.get(_DONE, False):
        pytest.fail(f"{record.id}: the test never said whether it reproduces", pytrace=False)


def _record(item: Any) -> Anomaly | None:
    marker = item.get_closest_marker("hazard")
    if marker is None:
        return None
    (name,) = marker.args
    return next(record for record in anomalies() if record.id == name)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Notes the hazards that were not tested, with the reason."""
    report = yield
    found = _record(item)
    if found is not None and report.skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        item.config.stash[_SKIPPED].append((found, reason.removeprefix("Skipped: ")))
    if report.skipped or report.failed:
        item.stash[_DONE] = True
    return report


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """A section of its own: counts, what is gone, what was not tested."""
    found, skipped = config.stash[_FOUND], config.stash[_SKIPPED]
    if not found and not skipped:
        return
    gone = [entry for entry in found if entry[2] == "gone"]
    terminalreporter.section("hazards")
    terminalreporter.line(
        f"{len(found) - len(gone)} reproduce, {len(gone)} no longer, {len(skipped)} not tested"
    )
    for item, version, _, evidence in gone:
        seen = ", ".join(item.seen)
        terminalreporter.line(
            f"{item.id}: no longer reproduces with {item.library} {version} (seen with {seen}): "
            f"{evidence}. `make hazards` writes it down"
        )
    for item, reason in skipped:
        terminalreporter.line(f"{item.id}: not tested, {reason}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the outcomes down where that was asked for."""
    if not os.environ.get(RECORD_VARIABLE):
        return
    new: dict[str, dict[str, Outcome]] = {}
    for item, version, outcome, _ in session.config.stash[_FOUND]:
        new.setdefault(item.id, {})[version] = outcome
    record_outcomes(new)
