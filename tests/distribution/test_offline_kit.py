"""What the installer of an offline kit does, and what it refuses."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.distribution.toy_kit import ABI, HERE, make_wheel

on_linux = pytest.mark.skipif(
    sys.platform != "linux" or os.uname().machine != "x86_64",
    reason="not tested: the tiny kit has wheels for Linux x86-64, and this is another machine",
)


def run_installer(
    kit: Path, *words: str, more: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-B", str(kit / "install.py"), *words],
        cwd=kit.parent,
        # A machine's own setting must not bring another index or another package in.
        env={
            **os.environ,
            "PIP_INDEX_URL": "http://127.0.0.1:9/",
            "PIP_CONSTRAINT": "nowhere",
            **(more or {}),
        },
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=300,
    )


def relist(kit: Path) -> None:
    """Write the list again, as somebody who changed the kit would."""
    names = sorted(p.relative_to(kit).as_posix() for p in kit.rglob("*") if p.is_file())
    lines = [
        f"{hashlib.sha256((kit / name).read_bytes()).hexdigest()}  {name}\n"
        for name in names
        if name != "SHA256SUMS"
    ]
    (kit / "SHA256SUMS").write_text("".join(lines), encoding="utf-8", newline="\n")


@on_linux
def test_it_installs_without_a_network(kit: Path, tmp_path: Path) -> None:
    digest = hashlib.sha256((kit / "SHA256SUMS").read_bytes()).hexdigest()
    place = tmp_path / "an env"
    done = run_installer(kit, "--venv", str(place), "--list-sha256", digest)
    assert done.returncode == 0, done.stdout + done.stderr
    # The line to try next is one that a shell takes, with the space in it.
    assert shlex.split(done.stdout.splitlines()[-1])[0] == str(place / "bin/medsdk")
    python = place / "bin/python"
    words = [str(python), "-I", str(place / "bin/medsdk")]
    shown = subprocess.run(words, capture_output=True, text=True, check=True)
    assert shown.stdout == "manylinux_2_28_x86_64\n"
    listed = subprocess.run([python, "-I", "-m", "pip", "list"], capture_output=True, text=True)
    assert "charlie" in listed.stdout
    assert "bravo" not in listed.stdout
    # A second time into the same place is refused, and leaves it as it is.
    again = run_installer(kit, "--venv", str(place))
    assert again.returncode == 2
    assert "kit-usage" in again.stderr
    assert python.exists()
    # The kit was not touched.
    assert run_installer(kit, "--check").returncode == 0


@on_linux
def test_nothing_on_pythonpath_has_a_say(kit: Path, tmp_path: Path) -> None:
    """It holds the very packages already, and modules of somebody else."""
    path = tmp_path / "path"
    for wheel in (kit / "wheels").iterdir():
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(path)
    mark = tmp_path / "ran"
    code = f"open({str(mark)!r}, 'a').write(__name__ + chr(10))\n"
    for name in ("argparse", "hashlib", "signal", "subprocess", "venv/__init__", "venv/__main__"):
        (path / name).parent.mkdir(exist_ok=True)
        (path / f"{name}.py").write_text(code, encoding="utf-8")
    (path / "pip").mkdir()
    for name in ("__init__", "__main__"):
        (path / f"pip/{name}.py").write_text(code, encoding="utf-8")
    more = {"PYTHONPATH": str(path), "PYTHONOPTIMIZE": "2"}
    done = run_installer(kit, "--venv", str(tmp_path / "env"), more=more)
    assert not mark.exists(), mark.read_text(encoding="utf-8")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "env/bin/medsdk").is_file()
    assert "already satisfied" not in done.stdout


@on_linux
def test_a_kit_that_brings_no_program_is_not_called_installed(kit: Path, tmp_path: Path) -> None:
    """pip says yes to a medsdk without its command; the installer looks."""
    old = kit / "wheels/medsdk-0.1.0-py3-none-any.whl"
    before = hashlib.sha256(old.read_bytes()).hexdigest()
    with zipfile.ZipFile(old) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(old, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data.replace(b"medsdk = medsdk:main", b""))
    after = hashlib.sha256(old.read_bytes()).hexdigest()
    for file in (kit / "requirements").iterdir():
        text = file.read_text(encoding="utf-8").replace(before, after)
        file.write_text(text, encoding="utf-8")
    relist(kit)
    done = run_installer(kit, "--venv", str(tmp_path / "env"))
    assert done.returncode == 3, done.stdout
    assert "kit-machine" in done.stderr
    assert "installed: " not in done.stdout
    assert not (tmp_path / "env").exists()


def _missing_wheel(kit: Path) -> None:
    (kit / "wheels/charlie-2.0-py3-none-any.whl").unlink()


def _replaced_wheel(kit: Path) -> None:
    path = kit / "wheels/charlie-2.0-py3-none-any.whl"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _another_wheel_in_its_place(kit: Path) -> None:
    make_wheel(kit / "wheels", "charlie", "2.0", code="evil = True\n")


def _extra_wheel(kit: Path) -> None:
    make_wheel(kit / "wheels", "golf", "1.0")


def _extra_file(kit: Path) -> None:
    (kit / "hashlib.py").write_text("", encoding="utf-8")


def _changed_requirements(kit: Path) -> None:
    path = kit / f"requirements/{HERE}.txt"
    path.write_text(path.read_text(encoding="utf-8").replace("charlie", "golf"), encoding="utf-8")


def _line_gone(kit: Path) -> None:
    path = kit / "SHA256SUMS"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(lines[:-1]), encoding="utf-8")


def _digit_changed(kit: Path) -> None:
    path = kit / "SHA256SUMS"
    text = path.read_text(encoding="utf-8")
    path.write_text(("1" if text[0] == "0" else "0") + text[1:], encoding="utf-8")


def _link(kit: Path) -> None:
    path = kit / "wheels/charlie-2.0-py3-none-any.whl"
    path.rename(kit.parent / path.name)
    path.symlink_to(kit.parent / path.name)


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (_missing_wheel, "missing: wheels/charlie-2.0-py3-none-any.whl"),
        (_replaced_wheel, "changed: wheels/charlie-2.0-py3-none-any.whl"),
        (_another_wheel_in_its_place, "changed: wheels/charlie-2.0-py3-none-any.whl"),
        (_extra_wheel, "not in the list: wheels/golf-1.0-py3-none-any.whl"),
        (_extra_file, "not in the list: hashlib.py"),
        (_changed_requirements, f"changed: requirements/{HERE}.txt"),
        (_line_gone, "not in the list: wheels/"),
        (_digit_changed, "changed: LICENCES.txt"),
        (_link, "wheels/charlie-2.0-py3-none-any.whl"),
    ],
)
def test_a_spoilt_kit_installs_nothing(
    spoil: Callable[[Path], None], named: str, kit: Path, tmp_path: Path
) -> None:
    spoil(kit)
    done = run_installer(kit, "--venv", str(tmp_path / "env"))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "kit-tampered" in done.stderr
    assert named in done.stderr
    assert "remedy:" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "env").exists()


@pytest.mark.parametrize(
    "line",
    [
        "hello",
        "0" * 64 + "  ../outside",
        "0" * 64 + "  /etc/passwd",
        "0" * 64 + "  wheels//a.whl",
        "0" * 64 + "  SHA256SUMS",
        "0" * 64 + "  install.py",
        "g" * 64 + "  a",
        "",
    ],
)
def test_a_list_that_is_none_is_unreadable(line: str, kit: Path, tmp_path: Path) -> None:
    with (kit / "SHA256SUMS").open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")
    done = run_installer(kit, "--venv", str(tmp_path / "env"))
    assert done.returncode == 4
    assert "kit-unreadable" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "env").exists()


def test_without_a_list_there_is_no_kit(kit: Path) -> None:
    (kit / "SHA256SUMS").unlink()
    assert run_installer(kit, "--check").returncode == 4


def test_a_forged_kit_is_known_by_the_digest_of_its_list(kit: Path, tmp_path: Path) -> None:
    told = hashlib.sha256((kit / "SHA256SUMS").read_bytes()).hexdigest()
    _another_wheel_in_its_place(kit)
    relist(kit)
    words = ("--venv", str(tmp_path / "env"), "--list-sha256", told)
    done = run_installer(kit, *words)
    assert done.returncode == 1
    assert "not the list that you were told of" in done.stderr
    assert not (tmp_path / "env").exists()


def _requirement_with_an_index(kit: Path) -> None:
    with (kit / f"requirements/{HERE}.txt").open("a", encoding="utf-8") as file:
        file.write("--extra-index-url elsewhere\n")


@pytest.mark.parametrize("spoil", [_another_wheel_in_its_place, _requirement_with_an_index])
def test_requirements_that_the_listed_wheels_do_not_meet_are_tampering(
    spoil: Callable[[Path], None], kit: Path, tmp_path: Path
) -> None:
    """The list was written again, so every file is as it says."""
    spoil(kit)
    relist(kit)
    done = run_installer(kit, "--venv", str(tmp_path / "env"))
    assert done.returncode == 1
    assert "kit-tampered" in done.stderr
    assert f"requirements/{HERE}.txt" in done.stderr or "charlie==2.0" in done.stderr
    assert not (tmp_path / "env").exists()


@on_linux
@pytest.mark.parametrize(
    ("name", "status"), [("wheels/charlie-2.0-py3-none-any.whl", 1), ("SHA256SUMS", 4)]
)
def test_a_pipe_in_a_files_place_does_not_hang(name: str, status: int, kit: Path) -> None:
    (kit / name).unlink()
    os.mkfifo(kit / name)
    done = run_installer(kit, "--check")
    assert done.returncode == status
    assert "plain file" in done.stderr


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[]",
        "{",
        '{"targets": [], "glibc": "2.28", "installs": "a"}',
        '{"targets": {}, "glibc": 2.28, "installs": "a"}',
        '{"targets": {"a": "../b.txt"}, "glibc": "2.28", "installs": "a"}',
    ],
)
def test_facts_that_are_none_are_unreadable(text: str, kit: Path, tmp_path: Path) -> None:
    (kit / "kit.json").write_text(text, encoding="utf-8")
    relist(kit)
    done = run_installer(kit, "--venv", str(tmp_path / "env"))
    assert done.returncode == 4
    assert "kit-unreadable" in done.stderr
    assert "Traceback" not in done.stderr


@on_linux
def test_a_place_that_cannot_be_written_is_called_so(kit: Path, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for place in ("/proc/env", str(kit / "install.py/env"), str(tmp_path / "loop")):
        done = run_installer(kit, "--venv", place)
        assert done.returncode in {2, 3}
        assert "python3-venv" not in done.stderr
        assert "choose another --venv" in done.stderr
        assert "Traceback" not in done.stderr


@on_linux
@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("targets", {f"windows-x86_64-{ABI}": f"requirements/windows-x86_64-{ABI}.txt"}, HERE),
        ("glibc", "99.0", "glibc 99.0 or newer"),
    ],
)
def test_another_machine_is_told_what_the_kit_is_for(
    key: str, value: object, named: str, kit: Path, tmp_path: Path
) -> None:
    facts = json.loads((kit / "kit.json").read_text(encoding="utf-8"))
    (kit / "kit.json").write_text(json.dumps(facts | {key: value}), encoding="utf-8")
    relist(kit)
    done = run_installer(kit, "--venv", str(tmp_path / "env"))
    assert done.returncode == 3
    assert named in done.stderr
    assert not (tmp_path / "env").exists()


def test_it_installs_into_an_environment_of_its_own_alone(kit: Path) -> None:
    """What another environment holds already would not be the kit's."""
    # The wrong digest keeps an installer that takes this from reaching the Python of the tests.
    without = run_installer(kit, "--list-sha256", "0" * 64)
    assert without.returncode == 2
    assert "kit-usage" in without.stderr
    assert "--venv" in without.stderr
    inside = run_installer(kit, "--venv", str(kit / "env"))
    assert inside.returncode == 2
    assert run_installer(kit, "--check").returncode == 0
