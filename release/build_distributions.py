"""Build the sdist and the wheel so that anybody gets the same bytes from the same commit.

    python release/build_distributions.py --out dist

What goes in is what git tracks, as it lies in the working tree: a stray file of the machine
cannot slip in. Timestamps are SOURCE_DATE_EPOCH, by default the time of the last commit; where
there is no git, in an unpacked sdist, the time that the sdist was built with. The wheel is made
from the sdist, so the sdist is known to be whole. docs/device-install.md says how to compare.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from medsdk.errors import OutputNotWritableError
from medsdk_runtimes.errors import MedsdkError

ROOT = Path(__file__).resolve().parent.parent
SDIST_MARK = "PKG-INFO"
"""Lies in an unpacked sdist and never in a checkout; its time is the sdist's."""

EARLIEST = 315_532_800
"""1980-01-01: a wheel is a zip, which knows no earlier time."""


class DistributionError(MedsdkError):
    """The distributions cannot be built here."""

    code: ClassVar[str] = "distribution"
    exit_status: ClassVar[int] = 3


def build_distributions(root: Path, out: Path) -> tuple[Path, ...]:
    """Build the sdist, and from it the wheel.

    Args:
        root: A checkout or an unpacked sdist.
        out: Where both go; made where it is missing, files of the same names are replaced.

    Returns:
        The files, sorted.

    Raises:
        DistributionError: No time to stamp the files with, git or the build failed.
        OutputNotWritableError: `out` is a file, cannot be written, or is full.
    """
    is_checkout = _is_checkout(root)
    epoch = source_date_epoch(root, is_checkout=is_checkout)
    with tempfile.TemporaryDirectory(prefix="medsdk-dist-") as folder:
        tree, made = Path(folder, "tree"), Path(folder, "made")
        if is_checkout:
            _copy_tracked(root, tree)
        else:
            _copy_unpacked(root, tree)
        done = subprocess.run(
            [
                *(sys.executable, "-m", "build", "--no-isolation"),
                *("--outdir", str(made), str(tree)),
            ],
            env={**os.environ, "SOURCE_DATE_EPOCH": str(epoch)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise DistributionError(
                "the build failed",
                got="\n".join((done.stdout + done.stderr).splitlines()[-15:]),
                expected="an sdist and a wheel",
                remedy='pip install -c constraints.txt "build" "hatchling"',
            )
        try:
            out.mkdir(parents=True, exist_ok=True)
            return tuple(
                Path(shutil.copyfile(path, out / path.name)) for path in sorted(made.iterdir())
            )
        except OSError as error:
            raise OutputNotWritableError.from_os("the distributions", error) from error


def source_date_epoch(root: Path, *, is_checkout: bool) -> int:
    """The time that every file gets, in seconds since 1970.

    Args:
        root: A checkout or an unpacked sdist.
        is_checkout: Which of the two.

    Returns:
        SOURCE_DATE_EPOCH where it is set; else the time of the last commit, or of the sdist.

    Raises:
        DistributionError: It is no time that a zip can hold, or there is none.
    """
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not text and is_checkout:
        text = _git(root, "log", "-1", "--format=%ct").decode().strip()
    if not text and (root / SDIST_MARK).is_file():
        text = str(int((root / SDIST_MARK).stat().st_mtime))
    if not (text.isascii() and text.isdigit()) or not EARLIEST <= int(text) < 2**32:
        raise DistributionError(
            "there is no time to stamp the files with",
            got=f"SOURCE_DATE_EPOCH {text!r}" if text else "neither git nor an unpacked sdist",
            expected="seconds since 1970, not before 1980",
            remedy="set SOURCE_DATE_EPOCH to the time of the release",
        )
    return int(text)


def _is_checkout(root: Path) -> bool:
    """Whether git tracks this very folder, and not one above an unpacked sdist."""
    return (root / ".git").exists()


def _copy_tracked(root: Path, tree: Path) -> None:
    for line in _git(root, "ls-files", "-s", "-z").decode().split("\0")[:-1]:
        facts, _, name = line.partition("\t")
        source, target = root / name, tree / name
        target.parent.mkdir(parents=True, exist_ok=True)
        # A file that is deleted and not committed is left out, as `git status` will say.
        if source.is_file() and not source.is_symlink():
            shutil.copyfile(source, target)
            # As git has it: a working tree may lie on a share that knows no such bit.
            target.chmod(0o755 if facts.startswith("100755") else 0o644)
    changed = _git(root, "status", "--porcelain").decode().splitlines()
    if changed:
        sys.stderr.write(
            f"note: {len(changed)} files differ from the commit; changed ones are built as they "
            "are, those that git does not track are left out\n"
        )


def _copy_unpacked(root: Path, tree: Path) -> None:
    """All but what `make` leaves, and the metadata, which the build writes anew."""
    shutil.copytree(
        root,
        tree,
        ignore=lambda folder, names: (
            {".venv", "build", "dist", SDIST_MARK} & set(names) if Path(folder) == root else ()
        ),
    )


def _git(root: Path, *words: str) -> bytes:
    try:
        done = subprocess.run(["git", *words], cwd=root, capture_output=True, check=False)
    except OSError as error:
        raise DistributionError(
            "git cannot be run, and the checkout says what belongs in",
            got=error.strerror or type(error).__name__,
            expected="git, or an unpacked sdist",
            remedy="install git, or build from the sdist",
        ) from error
    if done.returncode:
        raise DistributionError(
            f"git {words[0]} failed",
            got=done.stderr.decode(errors="replace").strip(),
            expected="a checkout that git reads",
            remedy="mend the checkout, or build from the sdist",
        )
    return done.stdout


def main(arguments: Sequence[str] | None = None) -> int:
    """Build and print each file's sha256; the exit status."""
    parser = argparse.ArgumentParser(prog="build_distributions", description="See the module.")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="default: dist")
    parser.add_argument("--root", type=Path, default=ROOT, help="the tree; default: this one")
    options = parser.parse_args(arguments)
    try:
        made = build_distributions(options.root.resolve(), options.out)
    except MedsdkError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_status
    for path in made:
        sys.stdout.write(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
