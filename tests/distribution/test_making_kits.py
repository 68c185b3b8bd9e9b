"""The offline kit of a tiny wheelhouse: who gets what, and what makes no kit."""

from __future__ import annotations

import ast
import hashlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.distribution.conftest import ROOT
from tests.distribution.toy_kit import ABI, HERE, PINS, PYTHON, SYSTEMS, make_wheel

RELEASE = ROOT / "release"


def test_each_machine_gets_what_its_markers_say(made: tuple[Path, str]) -> None:
    kit, _ = made
    pinned = {"medsdk==0.1.0", "alpha==1.5", "charlie==2.0"}
    pinned |= {"delta==2.9"} if PYTHON == "3.11" else set()
    more = {"windows-x86_64": {"bravo==0.4.6"}, "linux-aarch64": {"echo==1.0"}}
    for system in SYSTEMS:
        text = (kit / f"requirements/{system}-{ABI}.txt").read_text(encoding="utf-8")
        rows = dict(line.split(" --hash=sha256:") for line in text.splitlines())
        assert set(rows) == pinned | more.get(system, set()), system
        digests = {
            hashlib.sha256(path.read_bytes()).hexdigest() for path in (kit / "wheels").iterdir()
        }
        assert set(rows.values()) <= digests
    assert not list((kit / "wheels").glob("alpha-9*"))
    assert not list((kit / "wheels").glob("foxtrot*"))
    assert len(list((kit / "wheels").glob("alpha-1.5*"))) == 3


def test_the_list_is_whole_and_the_printed_digest_is_its_own(made: tuple[Path, str]) -> None:
    kit, printed = made
    lines = (kit / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    listed = {name: digest for digest, name in (line.split("  ") for line in lines)}
    assert set(listed) == {p.relative_to(kit).as_posix() for p in kit.rglob("*") if p.is_file()} - {
        "SHA256SUMS"
    }
    for name, digest in listed.items():
        assert hashlib.sha256((kit / name).read_bytes()).hexdigest() == digest, name
    digest = hashlib.sha256((kit / "SHA256SUMS").read_bytes()).hexdigest()
    assert f"sha256 of SHA256SUMS: {digest}\n" in printed
    assert (kit / "LICENCES.txt").read_text(encoding="utf-8").splitlines()[2:] == [
        "alpha 1.5     MIT",
        "bravo 0.4.6   BSD-3-Clause",
        "charlie 2.0   Apache-2.0",
        *(["delta 2.9     MIT"] if PYTHON == "3.11" else []),
        "echo 1.0      MIT",
        "medsdk 0.1.0  MIT",
    ]


def test_no_address_of_an_index_is_in_the_kit(made: tuple[Path, str]) -> None:
    for path in made[0].rglob("*"):
        if path.is_file() and path.suffix != ".whl":
            assert b"://" not in path.read_bytes(), path.name


def test_the_same_wheels_make_the_same_kit(
    make_kit: Callable[..., subprocess.CompletedProcess[str]],
    made: tuple[Path, str],
    tmp_path: Path,
) -> None:
    again = tmp_path / "again"
    assert make_kit(again, "--system", "linux-x86_64").returncode == 0
    name = f"requirements/{HERE}.txt"
    assert (again / name).read_bytes() == (made[0] / name).read_bytes()
    before = set((made[0] / "SHA256SUMS").read_text(encoding="utf-8").splitlines())
    after = set((again / "SHA256SUMS").read_text(encoding="utf-8").splitlines())
    # The facts and the pages name fewer machines; every other line is there.
    changed = {line.split("  ")[1] for line in after - before}
    assert changed == {"LICENCES.txt", "README.txt", "kit.json"}


def _no_pin(house: Path) -> None:
    (house / "pins.txt").write_text(PINS.replace("charlie==2.0\n", ""), encoding="utf-8")


def _wrong_pin(house: Path) -> None:
    (house / "pins.txt").write_text(PINS.replace("delta==2.9", "delta==3.0"), encoding="utf-8")
    (house / "pins.txt").write_text(PINS.replace("alpha==1.5", "alpha==0.1"), encoding="utf-8")
    make_wheel(house / "wheels", "alpha", "0.1")


def _pin_twice(house: Path) -> None:
    (house / "pins.txt").write_text(PINS + "Alpha==1.5\n", encoding="utf-8")


def _open_pin(house: Path) -> None:
    (house / "pins.txt").write_text(PINS.replace("alpha==", "alpha>="), encoding="utf-8")


def _no_wheel_for_windows(house: Path) -> None:
    (house / f"wheels/alpha-1.5-{ABI}-{ABI}-win_amd64.whl").unlink()


def _too_new_for_the_system(house: Path) -> None:
    old = house / f"wheels/alpha-1.5-{ABI}-{ABI}-manylinux_2_28_x86_64.whl"
    old.rename(old.with_name(old.name.replace("2_28", "2_35")))


def _gpl(house: Path) -> None:
    make_wheel(house / "wheels", "charlie", "2.0", licence="LGPL-3.0-only")


def _no_licence(house: Path) -> None:
    make_wheel(house / "wheels", "charlie", "2.0", licence=None)


def _no_wheel_at_all(house: Path) -> None:
    (house / "wheels/charlie-2.0-py3-none-any.whl").write_bytes(b"PK")


@pytest.mark.parametrize(
    ("spoil", "status", "named"),
    [
        (_no_pin, 3, "no file says which version"),
        (_wrong_pin, 3, "not what a package needs"),
        (_pin_twice, 3, "Alpha==1.5"),
        (_open_pin, 3, "alpha>=1.5"),
        (_no_wheel_for_windows, 3, "windows-x86_64"),
        (_too_new_for_the_system, 3, "linux-x86_64"),
        (_gpl, 2, "LGPL-3.0-only"),
        (_no_licence, 2, "not named"),
        (_no_wheel_at_all, 3, "charlie"),
    ],
)
def test_a_wheelhouse_that_will_not_do_makes_no_kit(
    spoil: Callable[[Path], None],
    status: int,
    named: str,
    wheelhouse: Path,
    make_kit: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path: Path,
) -> None:
    house = Path(shutil.copytree(wheelhouse, tmp_path / "house"))
    spoil(house)
    system = "windows-x86_64" if "windows" in named else "linux-x86_64"
    done = make_kit(tmp_path / "kit", "--system", system, house=house)
    assert done.returncode == status, done.stderr
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "kit").exists()


def test_a_folder_of_something_else_is_left_alone(
    make_kit: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    (tmp_path / "thesis.txt").write_text("mine", encoding="utf-8")
    for out in (tmp_path, tmp_path / "thesis.txt"):
        assert make_kit(out).returncode == 2
    assert (tmp_path / "thesis.txt").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(
    ("words", "status", "named"),
    [
        (("--extras", "golf"), 2, "golf"),
        (("--pins", "nowhere.txt"), 3, "pins cannot be read"),
        (("--wheels-from", "nowhere"), 3, "alpha"),
        (("--wheel", "nowhere.whl"), 2, "make dist"),
        (("--wheel", str(ROOT / "LICENSE")), 2, "another file"),
        (("--glibc", "new"), 2, "--glibc"),
    ],
)
def test_a_wrong_command_line_is_told_so(
    words: tuple[str, ...],
    status: int,
    named: str,
    make_kit: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path: Path,
) -> None:
    done = make_kit(tmp_path / "kit", "--system", "linux-x86_64", *words)
    assert done.returncode == status, done.stderr
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "kit").exists()


@pytest.mark.parametrize("path", sorted(RELEASE.rglob("*.py")), ids=lambda path: path.stem)
def test_every_error_says_what_to_do(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            assert isinstance(node.exc.func, ast.Name | ast.Attribute)
            if isinstance(node.exc.func, ast.Name) and node.exc.func.id.endswith("Error"):
                given = {keyword.arg for keyword in node.exc.keywords}
                assert given == {"got", "expected", "remedy"}, f"{path.name}:{node.lineno}"
