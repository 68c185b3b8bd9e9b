"""The README's commands and the examples run as they stand there."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

import medsdk
from medsdk.cli.main import run
from medsdk_export.reference_weights import reference_weights
from tests.conftest import Vendor

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ (medsdk .*)$", README, re.M)
LIGHT = [c for c in COMMANDS if c.split()[1] != "export" or "--explain" in c]
"""The others, tests/cli/test_demo.py runs for real."""


@pytest.fixture
def workplace(
    bundle_dir: Path,
    liver_bundle_dir: Path,
    vendor: Vendor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """A folder as the README assumes it: after `make demo`, with images and weights at hand."""
    shutil.copytree(bundle_dir, tmp_path / "build/demo/bundle")
    shutil.copytree(liver_bundle_dir, tmp_path / "build/demo/liver/bundle")
    shutil.copy(reference_weights("uterus-mr/tumor-filter"), tmp_path / "weights.safetensors")
    clip = get_testdata_file("color3d_jpeg_baseline.dcm", download=False)
    shutil.copy(str(clip), tmp_path / "clip.dcm")
    known = bundle_dir / "known_answers/ka-001/input.dcm"
    shutil.copy(known, tmp_path / "slice.dcm")
    shutil.copytree(vendor.cases.parent, tmp_path / "build/demo/cases")
    (tmp_path / "phantom").mkdir()
    shutil.copy(known, tmp_path / "phantom/1.dcm")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_readme_names_every_command() -> None:
    named = {command.split()[1] for command in COMMANDS}
    assert {"doctor", "inspect", "verify", "run", "bench", "tasks", "export"} <= named
    assert {"demo", "pack", "conformance", "evaluate", "diff", "accept"} <= named


@pytest.mark.parametrize("command", LIGHT)
def test_readme_command(command: str, workplace: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = shlex.split(command, comments=True)[1:]
    if words[0] == "bench":
        words += ["--p99-ms", "10000"]  # speed is judged in benchmarks/, not here
    if words[0] != "pack" and "bundle.medsdk" in words:  # what the README packed before
        medsdk.pack("build/demo/bundle", "bundle.medsdk")
    if words[0] == "accept" and "--store" not in words:  # what the README stored before
        assert run([*words, "--store"]) == 0
    assert run(words) == 0, capfd.readouterr().err


def test_readme_python(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", README, re.S)
    exec(compile(block, "README.md", "exec"), {})
    assert "not for clinical use" in capsys.readouterr().out


def test_links_lead_somewhere() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_example_runs(workplace: Path) -> None:
    result = subprocess.run(
        [sys.executable, str(ROOT / "examples/predict.py"), "build/demo/bundle", "slice.dcm"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "1 ok " in result.stdout
