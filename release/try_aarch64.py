"""Try the offline kit as Linux aarch64 sees it, on this x86-64 machine, under qemu's user mode.

    python release/try_aarch64.py --kit build/offline-kit --work /tmp/aarch64

Fetches qemu and Debian's arm64 Python as packages and unpacks them into --work; nothing is
installed here. Then it runs the kit's installer with that Python, and what it installed:
`medsdk --version`, `medsdk doctor` and `medsdk demo --device-only`. qemu is no aarch64 processor:
what passes here was run, what crashes here may be qemu's fault. Prints one JSON document; exit 0
where every step passed, 1 where one failed, 5 where nothing could be tested.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

PACKAGES = ("python3", "python3-venv", "libstdc++6", "libgomp1")
CPU = "neoverse-n1"
"""The processor that qemu plays. With `max`, which has SVE, OpenVINO 2026.4.1 under qemu 7.2
computes other values, and the known answers fail; whose fault that is, is not known."""

STEP_LIMIT_S = 1800
SAID = 1500
"""The last characters of what a step said that are kept."""


@dataclass(frozen=True)
class Step:
    """One step and what became of it.

    Attributes:
        name: What was tried.
        verdict: `pass`, `fail` or `not-run`.
        status: Exit status; below 0 the signal that ended it, None where it did not run.
        seconds: How long it took.
        said: The end of what it said, where it did not pass.
    """

    name: str
    verdict: str
    status: int | None
    seconds: float
    said: str


def fetch(work: Path) -> str:
    """Unpack qemu and an arm64 Debian Python below `work`.

    Returns:
        Why it cannot be done here; empty where it was.
    """
    for program in ("apt-get", "dpkg"):
        if shutil.which(program) is None:
            return f"no {program}"
    state, root = work / "apt", work / "root"
    if (work / "ready").exists():
        return ""
    for folder in (state / "lists/partial", state / "cache/archives/partial", root):
        folder.mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    settings = work / "apt.conf"
    # A state of its own: neither the packages nor the architectures of this machine change.
    settings.write_text(
        'APT::Architecture "arm64";\nAPT::Architectures { "arm64"; };\n'
        f'APT::Sandbox::User "root";\nDir::State "{state}";\nDir::State::status '
        f'"{state}/status";\nDir::State::lists "{state}/lists";\nDir::Cache "{state}/cache";\n',
        encoding="utf-8",
    )
    arm64 = {"APT_CONFIG": str(settings)}
    download = ("apt-get", "install", "-y", "--no-install-recommends", "--download-only")
    for words, more in (
        (("apt-get", "download", "qemu-user-static"), {}),
        (("apt-get", "update"), arm64),
        ((*download, *PACKAGES), arm64),
    ):
        done = _run(words, work, more)
        if done.returncode:
            return f"{' '.join(words[:2])}: {done.stderr.strip()[-SAID:]}"
    for path, place in (
        *((path, work / "qemu") for path in work.glob("qemu-user-static_*.deb")),
        *((path, root) for path in (state / "cache/archives").glob("*.deb")),
    ):
        _run(("dpkg", "-x", str(path), str(place)), work, {}, check=True)
    _write_python(work)
    (work / "ready").touch()
    return ""


def _write_python(work: Path) -> None:
    """A program that is the arm64 Python: children and virtual environments start it again."""
    path = work / "root/usr/bin/python-arm64"
    qemu, root = work / "qemu/usr/bin/qemu-aarch64-static", work / "root"
    path.write_text(
        f'#!/bin/sh\nexec {qemu} -0 "$0" -L {root} {root}/usr/bin/python3.11 "$@"\n',
        encoding="utf-8",
    )
    path.chmod(0o755)


def try_kit(kit: Path, work: Path, cpu: str) -> list[Step]:
    """Run the steps in order; after one that fails the rest is not run.

    Args:
        kit: The kit's folder.
        work: What `fetch` filled.
        cpu: The processor that qemu plays.
    """
    environment = work / "env"
    shutil.rmtree(environment, ignore_errors=True)
    python, program = str(work / "root/usr/bin/python-arm64"), str(environment / "bin/medsdk")
    out = str(work / "demo")
    steps: list[Step] = []
    for name, words in (
        ("install.py", (python, str(kit / "install.py"), "--venv", str(environment))),
        ("medsdk --version", (program, "--version")),
        ("medsdk doctor", (program, "doctor")),
        ("medsdk demo --device-only", (program, "demo", "--device-only", "--out", out)),
    ):
        # The doctor says what works; the demo is tried whatever it says.
        if any(step.verdict != "pass" and step.name != "medsdk doctor" for step in steps):
            steps.append(Step(name, "not-run", None, 0.0, ""))
            continue
        sys.stderr.write(f"{name}\n")
        start = time.monotonic()
        done = _run(words, work, {"QEMU_CPU": cpu})
        said = (done.stdout + done.stderr)[-SAID:] if done.returncode else ""
        seconds = round(time.monotonic() - start, 1)
        verdict = "fail" if done.returncode else "pass"
        steps.append(Step(name, verdict, done.returncode, seconds, said))
    return steps


def _run(
    words: Sequence[str], work: Path, more: Mapping[str, str], *, check: bool = False
) -> subprocess.CompletedProcess[str]:
    hidden = ("PYTHON", "VIRTUAL_ENV")
    clean = {name: text for name, text in os.environ.items() if not name.startswith(hidden)}
    try:
        return subprocess.run(
            words,
            cwd=work,
            env={**clean, **more},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=STEP_LIMIT_S,
            check=check,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(words, 124, "", str(error))


def main(arguments: Sequence[str] | None = None) -> int:
    """Try, and print what happened; the exit status."""
    parser = argparse.ArgumentParser(prog="try_aarch64", description="See the module.")
    parser.add_argument("--kit", type=Path, required=True, help="the kit's folder")
    parser.add_argument("--work", type=Path, required=True, help="a folder for 400 MB")
    parser.add_argument("--cpu", default=CPU, help="that qemu plays; default: %(default)s")
    options = parser.parse_args(arguments)
    kit, work = options.kit.resolve(), options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    obstacle = fetch(work)
    steps = [] if obstacle else try_kit(kit, work, options.cpu)
    verdict = "not-run" if obstacle else "pass"
    if any(step.verdict == "fail" for step in steps):
        verdict = "fail"
    document = {
        "verdict": verdict,
        "cpu": options.cpu,
        "obstacle": obstacle,
        "steps": [asdict(s) for s in steps],
    }
    sys.stdout.write(json.dumps(document, indent=2) + "\n")
    return {"pass": 0, "fail": 1, "not-run": 5}[verdict]


if __name__ == "__main__":
    sys.exit(main())
