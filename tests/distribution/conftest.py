"""The distributions, built once from a copy of this tree."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.distribution.toy_kit import ABI, PINS, PYTHON, make_wheel

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "release/make_offline_kit.py"
BUILD = ROOT / "release/build_distributions.py"
COMMIT_EPOCH = 1_700_000_001
"""Odd, since a zip knows even seconds only."""


def tracked() -> list[str]:
    """Names of the files that belong to the project: git's, or those of an unpacked sdist."""
    if (ROOT / ".git").exists():
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True
        )
        names = listed.stdout.decode().split("\0")[:-1]
        return sorted(name for name in names if (ROOT / name).is_file())
    own = {".venv", "build", "dist", ".pytest_cache", ".mypy_cache", ".ruff_cache", "__pycache__"}
    return sorted(
        path.relative_to(ROOT).as_posix()
        for path in ROOT.rglob("*")
        if path.is_file() and not own & set(path.parts) and path.name != "PKG-INFO"
    )


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes a checkout of this tree in a new folder, committed at COMMIT_EPOCH."""

    def make(name: str) -> Path:
        tree = tmp_path_factory.mktemp("checkouts") / name
        for file in tracked():
            (tree / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, tree / file)
        when = f"{COMMIT_EPOCH} +0000"
        environment = os.environ | {"GIT_AUTHOR_DATE": when, "GIT_COMMITTER_DATE": when}
        who = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
        for words in (("init", "-q"), ("add", "-A", "-f"), (*who, "commit", "-q", "-m", "All")):
            subprocess.run(["git", *words], cwd=tree, env=environment, check=True)
        return tree

    return make


@pytest.fixture(scope="session")
def build() -> Callable[..., Path]:
    """Runs `make dist`'s script on a tree and returns the folder with what it built."""

    def run(tree: Path, environment: Mapping[str, str] | None = None, umask: int = -1) -> Path:
        out = tree.parent / f"{tree.name}-dist"
        clean = {name: text for name, text in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
        done = subprocess.run(
            [sys.executable, str(BUILD), "--root", str(tree), "--out", str(out)],
            env=clean | dict(environment or {}),
            umask=umask,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return out

    return run


@pytest.fixture(scope="session")
def dist(checkout: Callable[[str], Path], build: Callable[..., Path]) -> Path:
    """The sdist and the wheel, from a plain checkout."""
    return build(checkout("plain"))


@pytest.fixture(scope="session")
def wheel(dist: Path) -> Path:
    """The wheel."""
    (found,) = dist.glob("*.whl")
    return found


@pytest.fixture(scope="session")
def sdist(dist: Path) -> Path:
    """The sdist."""
    (found,) = dist.glob("*.tar.gz")
    return found


@pytest.fixture(scope="session")
def wheelhouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """medsdk needs alpha (compiled), charlie with an extra, bravo and delta by markers."""
    folder = tmp_path_factory.mktemp("wheelhouse")
    (folder / "wheels").mkdir()
    make_wheel(
        folder,
        "medsdk",
        "0.1.0",
        requires=(
            "alpha>=1",
            'charlie; extra == "onnxruntime"',
            'foxtrot; extra == "other"',
            'delta<3; python_version < "3.12"',
        ),
        code="import alpha\n\n\ndef main():\n    print(alpha.TAG)\n",
    )
    wheels = folder / "wheels"
    for tag in ("manylinux_2_28_x86_64", "manylinux2014_aarch64", "win_amd64"):
        needs = ('bravo; platform_system == "Windows"', 'echo; platform_machine == "aarch64"')
        make_wheel(wheels, "alpha", "1.5", f"{ABI}-{ABI}-{tag}", needs, code=f"TAG = {tag!r}\n")
    make_wheel(wheels, "alpha", "9.0")
    make_wheel(wheels, "bravo", "0.4.6", licence="BSD-3-Clause")
    make_wheel(wheels, "charlie", "2.0", requires=("alpha",), licence="Apache-2.0")
    make_wheel(wheels, "delta", "2.9")
    make_wheel(wheels, "echo", "1.0")
    (folder / "pins.txt").write_text(PINS, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def make_kit(wheelhouse: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the script on the wheelhouse, or on another folder like it."""

    def run(out: Path, *words: str, house: Path = wheelhouse) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                *(sys.executable, str(SCRIPT), "--out", str(out), "--python", PYTHON),
                *("--wheel", str(house / "medsdk-0.1.0-py3-none-any.whl")),
                *("--wheels-from", str(house / "wheels"), "--pins", str(house / "pins.txt")),
                *("--extras", "onnxruntime", *words),
            ],
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def made(
    make_kit: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, str]:
    """A kit for every system and this Python, and what the script printed."""
    out = tmp_path_factory.mktemp("kit") / "kit é"
    done = make_kit(out)
    assert done.returncode == 0, done.stderr
    return out, done.stdout


@pytest.fixture
def kit(made: tuple[Path, str], tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(made[0], tmp_path / "kit"))
