"""What `pip install "medsdk[onnxruntime]"` puts on a device, by package, without pip.

    python benchmarks/device_install.py

Installs into a fresh virtual environment from the registry, so it takes a minute.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
LIMIT_MB = 220

LISTING = """
import importlib.metadata as metadata
rows = []
for item in metadata.distributions():
    name = item.metadata["Name"]
    if name.lower() in ("pip", "setuptools"):
        continue
    size = 0
    for file in item.files or ():
        path = file.locate()
        if path.is_file():
            size += path.stat().st_size
    text = item.metadata.get("License-Expression") or ""
    if not text:
        classifiers = item.metadata.get_all("Classifier") or []
        text = "; ".join(c.split(" :: ")[-1] for c in classifiers if c.startswith("License"))
    rows.append((size, name, item.version, text or (item.metadata.get("License") or "")[:40]))
for size, name, version, licence in sorted(rows, reverse=True):
    print(f"{size}\\t{name}\\t{version}\\t{licence}")
"""


def main() -> None:
    """Install, list, judge."""
    with tempfile.TemporaryDirectory(prefix="medsdk-device-") as folder:
        environment = Path(folder, "venv")
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        windows = sys.platform == "win32"
        python = environment / ("Scripts/python.exe" if windows else "bin/python")
        subprocess.run(
            [
                str(python), "-m", "pip", "install", "--quiet",
                "--disable-pip-version-check", "-c", str(ROOT / "constraints.txt"),
                f"{ROOT}[onnxruntime]",
            ],
            check=True,
        )  # fmt: skip
        listing = subprocess.run(
            [str(python), "-c", LISTING], check=True, capture_output=True, text=True
        ).stdout
    total = 0
    print("| package | version | MB | licence |\n|---|---|---|---|")
    for line in listing.splitlines():
        size, name, version, licence = line.split("\t")
        total += int(size)
        print(f"| {name} | {version} | {int(size) / 1e6:.1f} | {licence} |")
    verdict = "pass" if total < LIMIT_MB * 1e6 else "**fail**"
    print(f"| **all** | | **{total / 1e6:.1f}** | {verdict} (< {LIMIT_MB} MB) |")


if __name__ == "__main__":
    main()
