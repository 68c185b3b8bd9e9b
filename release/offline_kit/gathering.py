"""Gather the wheels of a target: every requirement, by the target's markers, at its pinned version.

pip downloads for another machine, but judges markers (`platform_system == "Windows"`) by the one
it runs on. So the requirements are followed here, from wheel to wheel, and pip is asked for
exact versions alone.
"""

from __future__ import annotations

import email
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from offline_kit.errors import WheelMissingError
from offline_kit.targets import Target


@dataclass(frozen=True)
class Source:
    """Where wheels come from.

    Attributes:
        own: medsdk's wheel.
        pins: Canonical name to exact version.
        work: A folder for what is on its way.
        folder: Only from this folder; None for the package index that pip is set up for.
    """

    own: Path
    pins: Mapping[str, str]
    work: Path
    folder: Path | None = None


def read_pins(paths: Iterable[Path]) -> dict[str, str]:
    """Exact versions of constraint files, by canonical name.

    Args:
        paths: Files with `name==version` a line; a later one may not change an earlier.

    Raises:
        WheelMissingError: A file cannot be read, or a line is something else.
    """
    pins: dict[str, str] = {}
    for path in paths:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise WheelMissingError(
                "a file of pins cannot be read",
                got=error.strerror or type(error).__name__,
                expected="a file of constraints, name==version a line",
                remedy="check --pins",
            ) from error
        for line in lines:
            text = line.split("#")[0].strip()
            match = re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.+!]+)", text)
            if not text:
                continue
            if match is None or canonicalize_name(match[1]) in pins:
                raise WheelMissingError(
                    "a constraint is no exact version, or is there twice",
                    got=text,
                    expected="name==version, each once",
                    remedy="mend the file of constraints",
                )
            pins[canonicalize_name(match[1])] = match[2]
    return pins


def gather(
    target: Target,
    extras: tuple[str, ...],
    source: Source,
    wheels: Path,
    say: Callable[[str], None],
) -> tuple[Path, ...]:
    """Bring every wheel that `medsdk[extras]` needs on a target into one folder.

    Args:
        target: The machine and Python.
        extras: Extras of medsdk.
        source: Where from.
        wheels: The folder; wheels of other targets may be there.
        say: Told what is fetched.

    Returns:
        The wheels of this target, sorted by name, medsdk's own among them.

    Raises:
        WheelMissingError: No pin, no wheel, or a pin that a requirement does not take.
    """
    found: dict[str, Path] = {"medsdk": source.own}
    done: set[tuple[str, str]] = set()
    pending: list[tuple[str, str]] = [("medsdk", extra) for extra in ("", *extras)]
    while pending:
        wanted: list[Requirement] = []
        for name, extra in pending:
            done.add((name, extra))
            wanted += _requirements(found[name], target, extra)
        missing = {canonicalize_name(item.name): item for item in wanted}
        fetch = sorted(set(missing) - set(found))
        if fetch:
            say(f"{target.name}: {', '.join(fetch)}")
            found |= _fetch({name: _pin(name, source, target) for name in fetch}, target, source)
        for item in wanted:
            _check(item, found[canonicalize_name(item.name)], target)
        asked = {
            (str(canonicalize_name(item.name)), extra)
            for item in wanted
            for extra in ("", *item.extras)
        }
        pending = sorted(asked - done)
    return tuple(sorted(Path(shutil.copyfile(path, wheels / path.name)) for path in found.values()))


def metadata_of(wheel: Path) -> Message:
    """What a wheel says of itself.

    Raises:
        WheelMissingError: It is no wheel.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            (name,) = (
                name
                for name in archive.namelist()
                if re.fullmatch(r"[^/]+\.dist-info/METADATA", name)
            )
            return email.message_from_string(archive.read(name).decode("utf-8"))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise WheelMissingError(
            f"{wheel.name} is no wheel",
            got=type(error).__name__,
            expected="a zip with one METADATA",
            remedy="build or download it again",
        ) from error


def _requirements(wheel: Path, target: Target, extra: str) -> list[Requirement]:
    items = map(Requirement, metadata_of(wheel).get_all("Requires-Dist") or ())
    markers = target.markers(extra)
    return [item for item in items if item.marker is None or item.marker.evaluate(markers)]


def _pin(name: str, source: Source, target: Target) -> str:
    if name not in source.pins:
        raise WheelMissingError(
            f"{target.name} needs {name}, and no file says which version",
            got="no pin",
            expected=f"a line {name}==VERSION",
            remedy="add it to constraints.txt, or to release/offline_kit/pins.txt where no "
            "machine of ours needs it",
        )
    return source.pins[name]


def _check(item: Requirement, wheel: Path, target: Target) -> None:
    version = parse_wheel_filename(wheel.name)[1]
    if not item.specifier.contains(version, prereleases=True):
        raise WheelMissingError(
            f"{target.name}: the pinned version is not what a package needs",
            got=wheel.name,
            expected=str(item).split(";")[0].strip(),
            remedy="change the pin",
        )


def _fetch(pins: Mapping[str, str], target: Target, source: Source) -> dict[str, Path]:
    folder = Path(tempfile.mkdtemp(dir=source.work))
    words = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    if source.folder is not None:
        words += ["--no-index", "--find-links", str(source.folder)]
    words += [*target.pip_words(), "--dest", str(folder)]
    words += [f"{name}=={version}" for name, version in pins.items()]
    done = subprocess.run(
        words, env=_environment(source), capture_output=True, text=True, check=False
    )
    found = {str(parse_wheel_filename(path.name)[0]): path for path in folder.iterdir()}
    if done.returncode or set(found) != set(pins):
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise WheelMissingError(
            f"{target.name}: pip has no wheel for all that is needed",
            got=" ".join(said)[-400:] or f"only {', '.join(sorted(found)) or 'nothing'}",
            expected=", ".join(f"{name}=={version}" for name, version in pins.items()),
            remedy="pin a version that has one; OpenVINO on aarch64 needs --glibc 2.35",
        )
    return found


def _environment(source: Source) -> dict[str, str]:
    """A folder means that folder alone, whatever pip is set up for."""
    if source.folder is None:
        return dict(os.environ)
    clean = {name: text for name, text in os.environ.items() if not name.startswith("PIP_")}
    return clean | {"PIP_CONFIG_FILE": os.devnull}
