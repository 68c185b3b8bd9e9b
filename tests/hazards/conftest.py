"""Judging and reporting of hazards, for this folder."""

from __future__ import annotations

from tests.hazards.reporting import (
    pytest_configure,
    pytest_runtest_makereport,
    pytest_sessionfinish,
    pytest_terminal_summary,
    record,
    reproduces,
)

__all__ = [
    "pytest_configure",
    "pytest_runtest_makereport",
    "pytest_sessionfinish",
    "pytest_terminal_summary",
    "record",
    "reproduces",
]
