"""The whole offline kit: made from the package index, installed with the network off, and run."""

from __future__ import annotations

import json
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
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    shown = subprocess.run(
        [
            *(*off, str(environment / "bin/python"), "-I", str(environment / "bin/medsdk")),
            *("demo", "--device-only", "--json", "--quiet"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr
    document = json.loads(shown.stdout)
    assert (document["verdict"], document["findings"]) == ("pass", 12)


@pytest.mark.parametrize(
    ("extra", "passing"),
    [
        # ONNX Runtime 1.31.1 crashes under qemu 7.2 while it is imported (signal 11).
        ("onnxruntime", ("install.py", "medsdk --version")),
        (
            "openvino",
            ("install.py", "medsdk --version", "medsdk doctor", "medsdk demo --device-only"),
        ),
    ],
)
def test_the_kit_on_aarch64_under_qemu(
    extra: str, passing: tuple[str, ...], wheel: Path, tmp_path: Path
) -> None:
    """pip chooses the aarch64 wheels, their digests fit, and what qemu can run is right."""
    out = tmp_path / "kit"
    words = [sys.executable, str(ROOT / "release/make_offline_kit.py"), "--wheel", str(wheel)]
    words += ["--system", "linux-aarch64", "--python", "3.11", "--glibc", "2.35"]
    subprocess.run([*words, "--extras", extra, "--out", str(out)], check=True)
    words = [sys.executable, str(ROOT / "release/try_aarch64.py"), "--kit", str(out)]
    done = subprocess.run(
        [*words, "--work", str(tmp_path / "work")], capture_output=True, text=True, check=False
    )
    document = json.loads(done.stdout)
    if document["verdict"] == "not-run":
        pytest.skip(f"not tested: {document['obstacle']}")
    steps = {step["name"]: step for step in document["steps"]}
    for name in passing:
        assert steps[name]["verdict"] == "pass", f"{name}: {steps[name]['said']}"
