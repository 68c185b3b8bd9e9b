"""`make offline-kit` packs the wheel that was just built, and no older one."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.distribution.conftest import ROOT

PYTHON = """\
#!/bin/sh
echo "$*" >> asked
case "$1" in
  *build_distributions.py) mkdir -p dist; touch dist/medsdk-0.2.0-py3-none-any.whl ;;
esac
"""
"""In place of the environment's: writes down what it is asked for, and builds a wheel."""


@pytest.mark.skipif(
    sys.platform == "win32" or shutil.which("make") is None,
    reason="not tested: the stand-in for Python is a script of sh, and make runs it",
)
def test_a_wheel_of_an_earlier_version_is_not_packed(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).touch()
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/python").write_text(PYTHON, encoding="utf-8")
    (tmp_path / ".venv/bin/python").chmod(0o755)
    (tmp_path / ".venv/ready").touch()
    (tmp_path / "dist").mkdir()
    for name in ("medsdk-0.1.0-py3-none-any.whl", "medsdk-0.1.0.tar.gz", "notes.txt"):
        (tmp_path / "dist" / name).touch()
    subprocess.run(["make", "offline-kit"], cwd=tmp_path, capture_output=True, check=True)
    words = (tmp_path / "asked").read_text(encoding="utf-8").splitlines()[-1].split()
    assert words[0].endswith("make_offline_kit.py")
    assert [word for word in words if word.endswith(".whl")] == [
        "dist/medsdk-0.2.0-py3-none-any.whl"
    ]
    assert sorted(path.name for path in (tmp_path / "dist").iterdir()) == [
        "medsdk-0.2.0-py3-none-any.whl",
        "notes.txt",
    ]
