"""Make the offline kit: every wheel that a device needs, for machines without a network.

    python release/make_offline_kit.py --wheel dist/medsdk-0.1.0-py3-none-any.whl --out dist/kit

docs/device-install.md says what is in it and how a site uses it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from offline_kit.errors import KitNotMadeError
from offline_kit.gathering import Source, gather, metadata_of, read_pins
from offline_kit.targets import PYTHONS, SYSTEMS, Target
from offline_kit.writing import check_target, finish, write_licences, write_requirements
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from medsdk.atomic import new_directory
from medsdk_runtimes.errors import MedsdkError

ROOT = Path(__file__).resolve().parent.parent
PINS = (ROOT / "constraints.txt", ROOT / "release/offline_kit/pins.txt")
EXTRAS = ("onnxruntime", "dicom")
"""OpenVINO adds 60 MB a target, so it is asked for with --extras."""


def make_kit(
    wheel: Path,
    out: Path,
    targets: Sequence[Target],
    extras: tuple[str, ...] = EXTRAS,
    folder: Path | None = None,
    pins: Sequence[Path] = PINS,
) -> str:
    """Make a kit.

    Args:
        wheel: medsdk's wheel.
        out: The kit's folder; a kit that is there is replaced.
        targets: Whom it is for, all with one glibc.
        extras: Extras of medsdk.
        folder: Take other wheels from this folder; None asks pip's package index.
        pins: Constraint files.

    Returns:
        sha256 of the kit's list.

    Raises:
        KitNotMadeError: No wheel of medsdk, an extra that it does not have, a licence that may
            not be in a kit, or `out` holds something else.
        WheelMissingError: Something that is needed has no wheel.
    """
    if not wheel.is_file() or not wheel.name.startswith("medsdk-"):
        raise KitNotMadeError(
            "there is no wheel of medsdk",
            got="another file" if wheel.exists() else "nothing at that path",
            expected="the file that `make dist` built",
            remedy="--wheel dist/medsdk-VERSION-py3-none-any.whl",
        )
    try:
        version = parse_wheel_filename(wheel.name)[1]
    except InvalidWheelFilename as error:
        raise KitNotMadeError(
            "the wheel of medsdk has another name than a wheel has",
            got=wheel.name,
            expected="medsdk-VERSION-py3-none-any.whl",
            remedy="take the file that `make dist` built, under its own name",
        ) from error
    unknown = set(extras) - set(metadata_of(wheel).get_all("Provides-Extra") or ())
    if unknown:
        raise KitNotMadeError(
            "medsdk has no such extra",
            got=", ".join(sorted(unknown)),
            expected=f"one of {', '.join(metadata_of(wheel).get_all('Provides-Extra') or ())}",
            remedy="--extras NAME,NAME",
        )
    if out.is_file() or (
        out.exists() and not (out / "install.py").is_file() and any(out.iterdir())
    ):
        raise KitNotMadeError(
            "what is at --out is no kit",
            got="something else, which a kit would replace",
            expected="a kit, or nothing",
            remedy="choose another --out",
        )
    with (
        new_directory(out, "the kit", replace=True) as kit,
        tempfile.TemporaryDirectory(prefix="medsdk-kit-") as work,
    ):
        wheels = kit / "wheels"
        wheels.mkdir()
        source = Source(wheel, read_pins(pins), Path(work), folder)
        files = {}
        for target in targets:
            found = gather(target, extras, source, wheels, _say)
            files[target.name] = write_requirements(kit, target, found)
            check_target(kit, target, files[target.name])
        write_licences(kit, wheels.iterdir())
        major, minor = targets[0].glibc
        installs = f"medsdk[{','.join(extras)}] {version}"
        return finish(kit, files, installs, f"{major}.{minor}")


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Make a kit, print the digest of its list; the exit status."""
    parser = argparse.ArgumentParser(prog="make_offline_kit", description="See the module.")
    parser.add_argument("--wheel", type=Path, required=True, help="medsdk's, from make dist")
    parser.add_argument("--out", type=Path, required=True, help="the kit's folder")
    parser.add_argument("--system", choices=SYSTEMS, action="append", help="default: all")
    parser.add_argument("--python", choices=PYTHONS, action="append", help="default: all")
    parser.add_argument("--extras", default=",".join(EXTRAS), help="default: %(default)s")
    parser.add_argument("--glibc", default="2.28", help="the oldest; default: %(default)s")
    parser.add_argument("--wheels-from", type=Path, metavar="DIR", help="no index: this folder")
    parser.add_argument("--pins", type=Path, action="append", help="default: those of the project")
    options = parser.parse_args(arguments)
    major, _, minor = options.glibc.partition(".")
    if not (major.isdecimal() and minor.isdecimal()):
        parser.error("--glibc is two numbers, for instance 2.28")
    targets = [
        Target(system, python, (int(major), int(minor)))
        for system in options.system or SYSTEMS
        for python in options.python or PYTHONS
    ]
    try:
        digest = make_kit(
            options.wheel,
            options.out,
            targets,
            tuple(filter(None, options.extras.split(","))),
            options.wheels_from,
            options.pins or PINS,
        )
    except MedsdkError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_status
    files = [path for path in options.out.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    sys.stdout.write(
        f"{options.out}: {len(files)} files, {size / 1e6:.0f} MB, for "
        f"{', '.join(target.name for target in targets)}\nsha256 of SHA256SUMS: {digest}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
