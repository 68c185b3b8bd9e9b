"""A tiny wheelhouse of our own making, for kits that take no network."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
ABI = "cp" + PYTHON.replace(".", "")
SYSTEMS = ("linux-x86_64", "linux-aarch64", "windows-x86_64")
HERE = f"linux-x86_64-{ABI}"

PINS = """\
alpha==1.5
bravo==0.4.6  # for Windows alone
charlie==2.0
delta==2.9
echo==1.0
"""


def make_wheel(
    folder: Path,
    name: str,
    version: str,
    tag: str = "py3-none-any",
    requires: Sequence[str] = (),
    licence: str | None = "MIT",
    code: str = "",
) -> Path:
    """A wheel that pip installs, by the binary distribution format's own page."""
    info = f"{name}-{version}.dist-info"
    metadata = ["Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}"]
    metadata += [f"License-Expression: {licence}"] if licence else []
    metadata += ["Provides-Extra: onnxruntime"] if name == "medsdk" else []
    metadata += [f"Requires-Dist: {text}" for text in requires]
    files = {
        f"{name}.py": code,
        f"{info}/METADATA": "\n".join(metadata) + "\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    if name == "medsdk":
        files[f"{info}/entry_points.txt"] = "[console_scripts]\nmedsdk = medsdk:main\n"
    files[f"{info}/RECORD"] = "".join(f"{file},,\n" for file in (*files, f"{info}/RECORD"))
    path = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
    return path
