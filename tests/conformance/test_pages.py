"""What the pages about runtimes tell to type works, and what they name is there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from medsdk_conformance import ITEMS
from medsdk_runtimes import CAPABILITIES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/conformance.md").read_text(encoding="utf-8")
EXAMPLE = (ROOT / "examples/reference_runtime/README.md").read_text(encoding="utf-8")
COMMANDS = [
    command
    for command in re.findall(r"^\$ medsdk (.*)$", PAGE + EXAMPLE, re.M)
    # test_example_runtime.py runs these two.
    if command not in {"conformance onnx-reference", "doctor"}
]


def _run(words: list[str], packages: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(packages), *filter(None, sys.path)])
    return subprocess.run(
        [sys.executable, "-m", *words],
        capture_output=True,
        encoding="utf-8",
        check=False,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
    )


def test_there_are_commands_to_run() -> None:
    assert len(COMMANDS) >= 4


@pytest.mark.parametrize("command", dict.fromkeys(COMMANDS))
def test_a_command_runs(command: str, example_packages: Path, tmp_path: Path) -> None:
    done = _run(["medsdk.cli.main", *shlex.split(command)], example_packages, tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_vendors_test_file_runs(example_packages: Path, tmp_path: Path) -> None:
    (block,) = (text for text in re.findall(r"```python\n(.*?)```", PAGE, re.S) if "ITEMS" in text)
    (tmp_path / "test_mine.py").write_text(block, encoding="utf-8")
    words = ["pytest", "-q", "-p", "no:cacheprovider", "-k", "conv or close or process", "."]
    done = _run(words, example_packages, tmp_path)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_every_capability_is_explained(capability: str) -> None:
    assert f"| `{capability}` |" in PAGE


def test_items_that_are_named_are_there() -> None:
    ids = {item.id for item in ITEMS}
    named = re.findall(r"--only (\S+)", PAGE) + re.findall(r'^ {8}"([a-z0-9-]+)": "', PAGE, re.M)
    assert named
    assert set(named) <= ids
    for name in ("process-ends", "declarations"):
        assert f"`{name}`" in PAGE
        assert name in ids
