"""The wheel on a device: a fresh environment, no training framework, and the demo runs there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.distribution.conftest import ROOT

FRAMEWORKS = ("torch", "onnx", "tensorflow", "keras", "tf2onnx", "h5py", "safetensors", "sympy")

DEMO = """
import sys
from medsdk.cli.main import run
status = run(["demo", "--device-only", "--out", sys.argv[1], "--json", "--quiet"])
print(*sorted({name.split(".")[0] for name in sys.modules}), file=sys.stderr)
sys.exit(status)
"""


class Device:
    """A fresh virtual environment, with nothing of this one in sight."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        venv.create(folder, with_pip=True)
        self.bin = folder / ("Scripts" if sys.platform == "win32" else "bin")
        hidden = ("PYTHON", "MEDSDK", "VIRTUAL_ENV")
        self.environment: Mapping[str, str] = {
            name: text for name, text in os.environ.items() if not name.startswith(hidden)
        }

    def run(self, program: str, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.bin / program), *words],
            cwd=cwd,
            env=self.environment,
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )

    def install(self, *requirements: str) -> None:
        constraints = str(ROOT / "constraints.txt")
        words = (
            "-m",
            "pip",
            "install",
            "-q",
            "--no-compile",
            "--disable-pip-version-check",
            "-c",
            constraints,
        )
        done = self.run("python", *words, *requirements, cwd=self.folder)
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def device(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Device:
    made = Device(tmp_path_factory.mktemp("device") / "venv é")
    made.install(f"{wheel}[onnxruntime]")
    return made


def test_the_demo_runs_without_a_training_framework(device: Device, tmp_path: Path) -> None:
    done = device.run("python", "-c", DEMO, str(tmp_path / "out"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["verdict"] == "pass"
    assert document["findings"] == 12
    assert document["plan"]["runtime"] == "onnxruntime"
    assert document["absent_runtimes"] == ["openvino"]
    assert document == json.loads((tmp_path / "out/demo.json").read_text(encoding="utf-8"))
    imported = done.stderr.split()
    assert "onnxruntime" in imported
    assert not set(FRAMEWORKS) & set(imported)


def test_nothing_more_is_installed_than_a_device_needs(device: Device, tmp_path: Path) -> None:
    assert device.run("python", "-m", "pip", "check", cwd=tmp_path).returncode == 0
    listed = device.run("python", "-m", "pip", "list", "--format=json", cwd=tmp_path)
    names = {item["name"].lower().replace("_", "-") for item in json.loads(listed.stdout)}
    assert {"medsdk", "onnxruntime", "numpy", "pydicom", "pydantic", "typer", "pillow"} <= names
    assert not {*FRAMEWORKS, "tensorflow-cpu", "openvino", "scipy", "pytest"} & names
    code = "import importlib.util as u, sys; print([n for n in sys.argv[1:] if u.find_spec(n)])"
    assert device.run("python", "-c", code, *FRAMEWORKS, cwd=tmp_path).stdout.strip() == "[]"


def test_the_program_says_what_it_needs(device: Device, tmp_path: Path) -> None:
    shown = device.run("medsdk", "--version", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    whole = device.run("medsdk", "demo", cwd=tmp_path)
    assert whole.returncode == 3
    assert "medsdk demo --device-only" in whole.stderr
    refused = device.run("medsdk", "export", "--help", cwd=tmp_path)
    assert "Traceback" not in refused.stderr


def test_without_a_runtime_the_remedy_is_named(device: Device, tmp_path: Path) -> None:
    """Last, since it takes the runtime away."""
    device.run("python", "-m", "pip", "uninstall", "-q", "-y", "onnxruntime", cwd=tmp_path)
    done = device.run("medsdk", "demo", "--device-only", cwd=tmp_path)
    assert done.returncode == 3
    assert 'pip install "medsdk[onnxruntime]"' in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_openvino_alone_is_enough(wheel: Path, tmp_path: Path) -> None:
    device = Device(tmp_path / "venv")
    device.install(f"{wheel}[openvino]")
    done = device.run("python", "-c", DEMO, str(tmp_path / "out"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["plan"]["runtime"] == "openvino"
    assert document["absent_runtimes"] == ["onnxruntime"]
    assert not set(FRAMEWORKS) & set(done.stderr.split())
