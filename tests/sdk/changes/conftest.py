"""What the tests of a comparison share: one that runs below the test's own folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from medsdk.changes.diffing import Diff, DiffRequest, diff
from medsdk.changes.running import Pins
from medsdk.changes.sides import read_side
from medsdk.reports.report import Report


def _quiet(phase: str, done: int, total: int) -> None:
    """Progress that nobody sees."""


@pytest.fixture
def differ(tmp_path: Path) -> Callable[..., Report]:
    def run(
        first: Path,
        second: Path,
        pins: Pins = Pins(),  # noqa: B008 - frozen
        pins_b: Pins | None = None,
        cases: Path | None = None,
        place: str = "out",
    ) -> Report:
        out, scratch = tmp_path / place, tmp_path / "scratch"
        scratch.mkdir(exist_ok=True)
        sides = read_side(first), read_side(second)
        request = DiffRequest(*sides, pins, pins if pins_b is None else pins_b, cases, out, scratch)
        found: Diff = diff(request, _quiet)
        return found.report

    return run
