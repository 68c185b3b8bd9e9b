"""Install medsdk from this kit, without a network: `python install.py --venv DIR`.

The installer of the offline kit. It needs Python and its standard library alone, checks every
file of the kit against SHA256SUMS before pip runs, and lets pip take wheels of this kit only, each
with its digest. Nothing is installed where anything is wrong. README.txt says more.

Exit status: 0 good, 1 the kit is not what was packed, 2 wrong use, 3 something is missing on
this machine, 4 the kit cannot be read.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__" and not sys.flags.isolated:
    # Modules beside this script and on PYTHONPATH come before Python's own: start again without
    # them. os is loaded before any of them is looked at.
    _script = os.path.abspath(__file__)  # noqa: PTH100
    _words = [sys.executable, "-I", _script, *sys.argv[1:]]
    if os.name == "posix":
        os.execv(sys.executable, _words)
    # os.execv of Windows does not wait, and does not quote.
    _paths = [os.path.dirname(_script), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]  # noqa: PTH120
    _foreign = {os.path.abspath(folder) for folder in _paths}  # noqa: PTH100
    sys.path[:] = [folder for folder in sys.path if os.path.abspath(folder) not in _foreign]  # noqa: PTH100
    import signal
    import subprocess

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the child answers it
    sys.exit(subprocess.call(_words))

import argparse
import hashlib
import json
import platform
import re
import shlex
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

KIT = Path(__file__).resolve().parent
LIST = "SHA256SUMS"
FACTS = "kit.json"
LIST_LIMIT_BYTES = 1_000_000
LINE = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9._+/-]+)")

REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+==[A-Za-z0-9.+!]+) --hash=sha256:([0-9a-f]{64})")


class KitError(Exception):
    """What went wrong, what was found, what was expected, and what to do."""

    code = "kit-error"
    exit_status = 1

    def __init__(self, what: str, got: str = "", expected: str = "", remedy: str = "") -> None:
        super().__init__(what)
        self.what, self.got, self.expected, self.remedy = what, got, expected, remedy


class KitTamperedError(KitError):
    """A file of the kit is missing, changed or was never packed."""

    code = "kit-tampered"


class KitUsageError(KitError):
    """The command line asks for something that the kit will not do."""

    code = "kit-usage"
    exit_status = 2


class KitMachineError(KitError):
    """This machine lacks something: another system, Python, C library, no room."""

    code = "kit-machine"
    exit_status = 3


class KitUnreadableError(KitError):
    """There is no kit here, or its list is no list."""

    code = "kit-unreadable"
    exit_status = 4


def check_kit(kit: Path, list_sha256: str | None = None) -> dict[str, str]:
    """Compare every file of the kit with the list.

    Args:
        kit: The kit's folder.
        list_sha256: Digest of the list as the vendor gave it; None where nobody did.

    Returns:
        Name of each file to its sha256.

    Raises:
        KitUnreadableError: No list, or no list in it.
        KitTamperedError: The list has another digest; a file is missing, changed, no plain
            file, or not in the list; a requirement is no wheel of the list.
    """
    wanted = _read_list(kit, list_sha256)
    found = set(_walk(kit)) - {LIST}
    missing = sorted(set(wanted) - found)
    extra = sorted(found - set(wanted))
    changed = sorted(name for name in set(wanted) & found if _sha256(kit / name) != wanted[name])
    if missing or extra or changed:
        problems = (("missing", missing), ("changed", changed), ("not in the list", extra))
        raise KitTamperedError(
            "the kit is not what was packed; nothing was installed",
            got="; ".join(
                "{}: {}{}".format(word, ", ".join(names[:5]), " ..." if len(names) > 5 else "")
                for word, names in problems
                if names
            ),
            expected=f"the {len(wanted)} files of {LIST}, unchanged, and no other",
            remedy="take the kit from its source again",
        )
    _check_requirements(kit, wanted)
    return wanted


def _check_requirements(kit: Path, listed: dict[str, str]) -> None:
    """Whoever replaced a wheel and listed it again must have changed these too."""
    wheels = {digest for name, digest in listed.items() if name.startswith("wheels/")}
    for name in sorted(listed):
        if not name.startswith("requirements/"):
            continue
        for line in (kit / name).read_text(encoding="utf-8", errors="replace").splitlines():
            match = REQUIREMENT.fullmatch(line)
            if match is None or match.group(2) not in wheels:
                raise KitTamperedError(
                    "the kit does not hold the wheels that it requires; nothing was installed",
                    got=f"{name}: " + (match.group(1) if match else "a line of another form"),
                    expected="every requirement with the digest of a listed wheel",
                    remedy="take the kit from its source again",
                )


def _read_list(kit: Path, list_sha256: str | None) -> dict[str, str]:
    path = kit / LIST
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise KitUnreadableError(
                f"{LIST} is no plain file",
                got="a folder, a pipe or a device",
                expected="a file beside install.py",
                remedy="take the kit from its source again",
            )
        if status.st_size > LIST_LIMIT_BYTES:
            raise KitUnreadableError(
                f"{LIST} is too large to be a list of files",
                got=f"{status.st_size} bytes",
                expected=f"at most {LIST_LIMIT_BYTES} bytes",
                remedy="take the kit from its source again",
            )
        data = path.read_bytes()
    except OSError as error:
        raise KitUnreadableError(
            "the list of the kit cannot be read",
            got=error.strerror or type(error).__name__,
            expected=f"{LIST} beside install.py",
            remedy="take the kit from its source again",
        ) from error
    digest = hashlib.sha256(data).hexdigest()
    if list_sha256 is not None and digest != list_sha256.strip().lower():
        raise KitTamperedError(
            f"{LIST} is not the list that you were told of; nothing was installed",
            got="sha256 " + digest,
            expected="sha256 " + list_sha256.strip().lower(),
            remedy="take the kit from its source again",
        )
    wanted: dict[str, str] = {}
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        match = LINE.fullmatch(line)
        name = match.group(2) if match else ""
        if match is None or name in wanted or name == LIST or not _is_inside(name):
            raise KitUnreadableError(
                f"line {number} of {LIST} is not one of a list of files",
                got=repr(line[:80]),
                expected="a sha256, two spaces, and a name that is there once",
                remedy="take the kit from its source again",
            )
        wanted[name] = match.group(1)
    return wanted


def _is_inside(name: str) -> bool:
    return not name.startswith("/") and not {"", ".", ".."} & set(name.split("/"))


def _walk(kit: Path) -> list[str]:
    """Names of all files; a link, a pipe or a device is nothing that was packed."""
    names = []
    for folder, folders, files in os.walk(str(kit)):
        for entry in folders + files:
            path = Path(folder, entry)
            name = path.relative_to(kit).as_posix()
            mode = path.lstat().st_mode
            if not (stat.S_ISREG(mode) if entry in files else stat.S_ISDIR(mode)):
                raise KitTamperedError(
                    "the kit holds what is no plain file; nothing was installed",
                    got=name,
                    expected="plain files",
                    remedy="take the kit from its source again",
                )
            if entry in files:
                names.append(name)
    return names


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            for chunk in iter(lambda: file.read(1 << 20), b""):
                digest.update(chunk)
    except OSError as error:
        raise KitUnreadableError(
            "a file of the kit cannot be read",
            got=error.strerror or type(error).__name__,
            expected="files that this user may read",
            remedy="take the kit from its source again",
        ) from error
    return digest.hexdigest()


def requirements_of(kit: Path, files: dict[str, str]) -> tuple[Path, str]:
    """The hashed requirements for this machine and Python, and what they install.

    Args:
        kit: The kit's folder.
        files: What `check_kit` returned.

    Raises:
        KitUnreadableError: The kit's facts are none.
        KitMachineError: The kit has no wheels for it.
    """
    targets, glibc, installs = _read_facts(kit, files)
    here = machine()
    if here not in targets:
        raise KitMachineError(
            "the kit has no wheels for this machine and Python",
            got=here,
            expected="one of " + ", ".join(sorted(targets)),
            remedy="run it with one of those Pythons (64 bit), or ask for a kit of yours",
        )
    library, version = platform.libc_ver()
    if sys.platform == "linux" and (library != "glibc" or _numbers(version) < _numbers(glibc)):
        raise KitMachineError(
            "the C library of this system is older than the wheels need, or another one",
            got="{} {}".format(library or "no glibc", version).strip(),
            expected=f"glibc {glibc} or newer",
            remedy="use a newer system",
        )
    return kit / targets[here], installs


def _read_facts(kit: Path, files: dict[str, str]) -> tuple[dict[str, str], str, str]:
    """Targets, oldest glibc, and what is installed."""
    try:
        facts = json.loads((kit / FACTS).read_text(encoding="utf-8"))
        targets, glibc, installs = (facts[name] for name in ("targets", "glibc", "installs"))
        good = isinstance(installs, str) and re.fullmatch(r"\d+\.\d+", glibc) is not None
        good = good and set(targets.values()) <= set(files)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        good = False
    if not good:
        raise KitUnreadableError(
            f"{FACTS} does not say what the kit is for",
            got="something else, or no JSON",
            expected="targets with a file of requirements each, glibc, installs",
            remedy="take the kit from its source again",
        )
    return targets, glibc, installs


def machine() -> str:
    """This machine and Python as the kit names them, for instance `linux-x86_64-cp311`."""
    system = {"win32": "windows"}.get(sys.platform, sys.platform)
    kind = platform.machine().lower()
    kind = {"amd64": "x86_64", "arm64": "aarch64"}.get(kind, kind)
    bits = "" if sys.maxsize > 2**32 else "-32bit"
    word = {"cpython": "cp"}.get(sys.implementation.name, sys.implementation.name)
    return "{}-{}-{}{}{}{}".format(system, kind, word, *sys.version_info[:2], bits)


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)[:2]]


def install(requirements: Path, python: str, wheels: Path) -> Path:
    """Let pip install, from this kit alone, what has the listed digests alone.

    Returns:
        The program that was installed.

    Raises:
        KitMachineError: pip is missing or did not install.
    """
    pip = [python, "-I", "-m", "pip"]
    words = [
        *(*pip, "install", "--no-index", "--find-links", str(wheels)),
        *("--require-hashes", "--only-binary", ":all:", "--no-deps", "--no-cache-dir"),
        *("--disable-pip-version-check", "-r", str(requirements)),
    ]
    for command in (words, [*pip, "check", "--disable-pip-version-check"]):
        done = subprocess.run(command, env=_environment(), check=False)
        if done.returncode:
            raise KitMachineError(
                "pip did not install",
                got=f"exit status {done.returncode}; what pip said stands above",
                expected="pip of Python 3.11 or 3.12, and room on the disk",
                remedy="`python -m pip --version` shows whether pip is there",
            )
    program = Path(python).parent / ("medsdk.exe" if sys.platform == "win32" else "medsdk")
    if not program.is_file():
        raise KitMachineError(
            "pip installed no program",
            got=f"no {program.name} in the environment",
            expected="the command line of medsdk",
            remedy="ask your vendor for another kit, and say what pip said",
        )
    return program


def _environment() -> dict[str, str]:
    """No setting of this machine may add a package index, a constraint or a folder of modules."""
    hidden = ("PIP_", "PYTHON")
    kept = {k: v for k, v in os.environ.items() if not k.upper().startswith(hidden)}
    return {**kept, "PIP_CONFIG_FILE": os.devnull}


def make_environment(folder: Path) -> str:
    """Make a virtual environment, and return its Python.

    Raises:
        KitUsageError: Something is there already, or it would lie inside the kit.
        KitMachineError: This Python cannot make one.
    """
    try:
        place = folder.resolve()
        used = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    except (OSError, RuntimeError) as error:
        raise _not_writable(error) from error
    if place == KIT or KIT in place.parents:
        raise KitUsageError(
            "the environment would lie inside the kit, whose files are counted",
            got="a folder of the kit",
            expected="a folder elsewhere",
            remedy="choose another --venv",
        )
    if used:
        raise KitUsageError(
            "there is something at --venv already",
            got="a file, or a folder that is not empty",
            expected="a new or empty folder",
            remedy="choose another --venv, or remove that one",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryDirectory(dir=str(folder)).cleanup()
    except OSError as error:
        raise _not_writable(error) from error
    done = subprocess.run(
        [sys.executable, "-I", "-m", "venv", str(folder)],
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        shutil.rmtree(str(folder), ignore_errors=True)
        raise KitMachineError(
            "this Python cannot make a virtual environment",
            got=(done.stdout + done.stderr).strip()[-300:],
            expected="Python with venv and ensurepip",
            remedy="install them (Debian and Ubuntu: the package python3-venv)",
        )
    windows = sys.platform == "win32"
    return str(folder / ("Scripts/python.exe" if windows else "bin/python"))


def _not_writable(error: Exception) -> KitMachineError:
    return KitMachineError(
        "the place of --venv cannot be written",
        got=getattr(error, "strerror", None) or type(error).__name__,
        expected="a folder that this user may make and fill",
        remedy="choose another --venv",
    )


def _work(options: argparse.Namespace) -> None:
    if options.venv is None and not options.check:
        raise KitUsageError(
            "there is nothing to install into",
            got="neither --venv nor --check",
            expected="--venv DIR, a new virtual environment: what another one holds already "
            "would not be of this kit",
            remedy="python install.py --venv medsdk-env",
        )
    files = check_kit(KIT, options.list_sha256)
    _say(f"checked: {len(files)} files are those of {LIST}")
    if options.check:
        return
    requirements, name = requirements_of(KIT, files)
    python = make_environment(options.venv)
    try:
        program = install(requirements, python, KIT / "wheels")
    except BaseException:
        shutil.rmtree(str(options.venv), ignore_errors=True)
        raise
    _say(f"installed: {name}\nTry next:\n  {_quoted(program)} demo --device-only")


def _quoted(path: Path) -> str:
    """As a shell takes it: cmd.exe on Windows."""
    if sys.platform == "win32":
        return subprocess.list2cmdline([str(path)])
    return shlex.quote(str(path))


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Check and install; the exit status."""
    parser = argparse.ArgumentParser(
        prog="install.py", description="Check this kit, and install medsdk from it offline."
    )
    parser.add_argument("--venv", type=Path, metavar="DIR", help="the virtual environment to make")
    parser.add_argument("--check", action="store_true", help="check the files and stop")
    parser.add_argument(
        "--list-sha256", metavar="HEX", help="sha256 of SHA256SUMS as your vendor told you"
    )
    try:
        _work(parser.parse_args(arguments))
    except KitError as error:
        lines = [f"install.py: {error.what} ({error.code})"]
        for name in ("got", "expected", "remedy"):
            if getattr(error, name):
                lines.append("  {:<10}{}".format(name + ":", getattr(error, name)))
        sys.stderr.write("\n".join(lines) + "\n")
        return error.exit_status
    except KeyboardInterrupt:
        sys.stderr.write("install.py: interrupted; nothing half-made was left at --venv\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
