"""Python in a process of its own, for what must not happen in this one."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
SATURATION = "tests.hazards.saturation"
"""The module that runs `saturation.layer` in the runtime of its first argument."""


def run_python(
    code: str,
    *arguments: str,
    environment: dict[str, str] | None = None,
    interpreter: list[str] | None = None,
    timeout_s: float = 120,
) -> subprocess.CompletedProcess[str]:
    """Run `code`; this process's module path comes along.

    Args:
        code: A program.
        arguments: `sys.argv[1:]`.
        environment: Added to this process's, less what holds oneDNN back.
        interpreter: The command, this interpreter where it is None.
        timeout_s: After that long, `subprocess.TimeoutExpired`.
    """
    return _run(["-c", code, *arguments], environment, interpreter, timeout_s)


def run_module(
    module: str,
    *arguments: str,
    environment: dict[str, str] | None = None,
    interpreter: list[str] | None = None,
    timeout_s: float = 120,
) -> subprocess.CompletedProcess[str]:
    """The same for `python -m module`."""
    return _run(["-m", module, *arguments], environment, interpreter, timeout_s)


def _run(
    words: list[str],
    environment: dict[str, str] | None,
    interpreter: list[str] | None,
    timeout_s: float,
) -> subprocess.CompletedProcess[str]:
    inherited = {key: value for key, value in os.environ.items() if "ONEDNN" not in key}
    path = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    return subprocess.run(
        [*(interpreter or [sys.executable]), *words],
        env=inherited | {"PYTHONPATH": path} | (environment or {}),
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
    )


def other_environment(folder: Path, *requirements: str) -> list[str]:
    """A throw-away environment beside this one, as an interpreter for `run_python`.

    Skips the test where the packages cannot be had.

    Args:
        folder: Where it goes.
        requirements: What it has, each with its version.
    """
    venv.create(folder, with_pip=True)
    python = str(folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python"))
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*command, *requirements], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"{' '.join(requirements)} does not install here")
    return [python]
