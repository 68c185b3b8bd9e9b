"""What lies beside the wheels: hashed requirements, licences, the installer, and the list."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from packaging.utils import parse_wheel_filename

from offline_kit.errors import KitNotMadeError, WheelMissingError
from offline_kit.gathering import metadata_of
from offline_kit.install import FACTS, LIST
from offline_kit.targets import Target

HERE = Path(__file__).parent
README = "README.txt"
LICENCES = "LICENCES.txt"


def write_requirements(kit: Path, target: Target, wheels: Iterable[Path]) -> str:
    """One line a wheel, with its digest, without markers: the list is closed.

    Args:
        kit: The kit's folder.
        target: Whom it is for.
        wheels: Every wheel of the target.

    Returns:
        The file's name in the kit.
    """
    name = f"requirements/{target.name}.txt"
    lines = []
    for wheel in sorted(wheels):
        package, version, _, _ = parse_wheel_filename(wheel.name)
        lines.append(f"{package}=={version} --hash=sha256:{sha256_of(wheel)}\n")
    (kit / "requirements").mkdir(exist_ok=True)
    (kit / name).write_text("".join(lines), encoding="utf-8", newline="\n")
    return name


def check_target(kit: Path, target: Target, requirements: str) -> None:
    """Let pip take the kit's wheels as the target would, without a network.

    Args:
        kit: The kit's folder.
        target: Whom it is for.
        requirements: Its requirements, as `write_requirements` named them.

    Raises:
        WheelMissingError: pip would not install them there.
    """
    with tempfile.TemporaryDirectory(prefix="medsdk-kit-") as folder:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pip", "install", "--dry-run", "--quiet"),
                *("--isolated", "--disable-pip-version-check", "--ignore-installed", "--no-index"),
                *("--find-links", str(kit / "wheels"), "--require-hashes", "--target", folder),
                *(*target.pip_words(), "-r", str(kit / requirements)),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise WheelMissingError(
            f"{target.name}: pip would not install the kit",
            got=done.stderr.strip()[-400:],
            expected="every wheel there, with its digest",
            remedy="mend what pip says of it, or choose another --system, --python or --glibc",
        )


def write_licences(kit: Path, wheels: Iterable[Path]) -> None:
    """A line a package with its licence; the texts lie in the wheels.

    Args:
        kit: The kit's folder.
        wheels: Every wheel.

    Raises:
        KitNotMadeError: A licence is not named, or is the GPL.
    """
    rows: dict[str, str] = {}
    for wheel in sorted(wheels):
        package, version, _, _ = parse_wheel_filename(wheel.name)
        text = _licence(wheel)
        # No "GPL" of any kind: what is on a scanner is sold with it.
        if not text or re.search(r"GPL|GNU", text):
            raise KitNotMadeError(
                f"{wheel.name} cannot be in a kit",
                got=f"licence {text or 'not named'}",
                expected="a licence that a vendor may pass on",
                remedy="take another version, or leave out the extra that brings it",
            )
        rows[f"{package} {version}"] = text
    width = max(map(len, rows))
    text = "".join(f"{name:<{width}}  {licence}\n" for name, licence in sorted(rows.items()))
    head = "Licences of the packages in this kit. Their texts lie in the wheels.\n\n"
    (kit / LICENCES).write_text(head + text, encoding="utf-8", newline="\n")


def _licence(wheel: Path) -> str:
    metadata = metadata_of(wheel)
    named = metadata["License-Expression"]
    if named:
        return str(named)
    classifiers = [
        text.split(" :: ")[-1]
        for text in metadata.get_all("Classifier") or ()
        if text.startswith("License ::")
    ]
    first = str(metadata["License"] or "").strip().splitlines()[:1]
    return "; ".join(classifiers or first)[:120]


def finish(kit: Path, targets: Mapping[str, str], installs: str, glibc: str) -> str:
    """Add the installer, its facts and the page for the site, and list everything.

    Args:
        kit: The kit's folder, with wheels, requirements and licences.
        targets: Name of a target to its requirements.
        installs: What the kit installs, for instance `medsdk[onnxruntime] 0.1.0`.
        glibc: The oldest C library, for instance `2.28`.

    Returns:
        sha256 of the list: what the site compares with what the vendor told it.
    """
    shutil.copyfile(HERE / "install.py", kit / "install.py")
    facts = {"format_version": "1.0", "glibc": glibc, "installs": installs, "targets": targets}
    text = json.dumps(facts, indent=2, sort_keys=True) + "\n"
    (kit / FACTS).write_text(text, encoding="utf-8", newline="\n")
    page = (HERE / README).read_text(encoding="utf-8")
    for word, value in (
        ("@INSTALLS@", installs),
        ("@GLIBC@", glibc),
        ("@TARGETS@", "\n".join(f"    {name}" for name in sorted(targets))),
    ):
        page = page.replace(word, value)
    (kit / README).write_text(page, encoding="utf-8", newline="\n")
    names = sorted(path.relative_to(kit).as_posix() for path in kit.rglob("*") if path.is_file())
    lines = "".join(f"{sha256_of(kit / name)}  {name}\n" for name in names)
    (kit / LIST).write_text(lines, encoding="utf-8", newline="\n")
    return sha256_of(kit / LIST)


def sha256_of(path: Path) -> str:
    """Hexadecimal digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
