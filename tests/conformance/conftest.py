"""The kit as a command, run once for each runtime, and the example runtime, installed once."""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conformance.kit_command import Kit, run_command

EXAMPLE = Path(__file__).parents[2] / "examples/reference_runtime"


@pytest.fixture(scope="session")
def kit_run() -> Callable[[str], Kit]:
    """The whole kit on a runtime; the second time the same run."""
    return functools.cache(run_command)


@pytest.fixture(scope="session")
def example_packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the import path, with the example installed in it."""
    folder = tmp_path_factory.mktemp("example")
    source, target = folder / "source", folder / "target"
    shutil.copytree(EXAMPLE, source, ignore=shutil.ignore_patterns("__pycache__"))
    options = ["--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check"]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", *options, "--target", target, source],
        check=True,
        capture_output=True,
    )
    return target
