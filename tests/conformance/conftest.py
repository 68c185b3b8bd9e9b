"""The kit as a command, run once for each runtime."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest

from tests.conformance.kit_command import Kit, run_command


@pytest.fixture(scope="session")
def kit_run() -> Callable[[str], Kit]:
    """The whole kit on a runtime; the second time the same run."""
    return functools.cache(run_command)
