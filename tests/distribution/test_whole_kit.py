"""The whole offline kit: made from the package index, installed with the network off, and run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.distribution.conftest import ROOT

pytestmark = pytest.mark.slow

TARGETS = {
    f"{system}-{python}"
    for system in ("linux-x86_64", "linux-aarch64", "windows-x86_64")
    for python in ("cp311", "cp312")
}
NEEDED = {"medsdk", "numpy", "pydicom", "pydantic", "typer", "pillow", "onnxruntime", "python-gdcm"}


@pytest.fixture(scope="module")
def kit(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "kit"
    script = str(ROOT / "release/make_offline_kit.py")
    words = [sys.executable, script, "--wheel", str(wheel), "--out", str(out)]
    subprocess.run(words, check=True)
    return out


def _offline() -> list[str]:
    """A program that runs another without a network; none where that is not allowed."""
    words = ["unshare", "-n"]
    found = shutil.which("unshare")
    if found and not subprocess.run([*words, "true"], capture_output=True, check=False).returncode:
        return words
    return []


def _clean() -> dict[str, str]:
    return {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}


def test_every_target_has_what_it_needs(kit: Path) -> None:
    lists = {path.stem: path.read_text(encoding="utf-8") for path in kit.glob("requirements/*.txt")}
    assert set(lists) == TARGETS
    for target, text in lists.items():
        names = {line.split("==")[0] for line in text.splitlines()}
        assert names >= NEEDED, target
        assert ("colorama" in names) == target.startswith("windows"), target
        assert not {"torch", "onnx", "tensorflow", "keras"} & names
    done = subprocess.run(
        ["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=kit, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="not tested: turning the network off")
def test_it_installs_and_runs_with_the_network_off(kit: Path, tmp_path: Path) -> None:
    off = _offline()
    if not off:
        pytest.skip("not tested: unshare -n is not allowed here")
    code = "import socket; print(*(name for _, name in socket.if_nameindex()))"
    seen = subprocess.run([*off, sys.executable, "-c", code], capture_output=True, check=True)
    assert seen.stdout.split() == [b"lo"], "the network is on"
    environment = tmp_path / "env"
    words = [*off, sys.executable, str(kit / "install.py"), "--venv", str(environment)]
    done = subprocess.run(words, env=_clean(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    shown = subprocess.run(
        [*off, environment / "bin/medsdk", "demo", "--device-only", "--json", "--quiet"],
        cwd=tmp_path,
        env=_clean(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr
    document = json.loads(shown.stdout)
    assert (document["verdict"], document["findings"]) == ("pass", 12)


def test_the_installer_and_the_demo_on_aarch64_under_qemu(kit: Path, tmp_path: Path) -> None:
    script = str(ROOT / "release/try_aarch64.py")
    words = [sys.executable, script, "--kit", str(kit), "--work", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    document = json.loads(done.stdout)
    if document["verdict"] == "not-run":
        pytest.skip(f"not tested: {document['obstacle']}")
    steps = {step["name"]: step for step in document["steps"]}
    # pip chose the aarch64 wheels and their digests fit; the package itself starts.
    assert steps["install.py"]["verdict"] == "pass", steps["install.py"]["said"]
    assert steps["medsdk --version"]["verdict"] == "pass", steps["medsdk --version"]["said"]
