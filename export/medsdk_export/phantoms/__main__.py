"""Command line of the phantoms: ``python -m medsdk_export.phantoms TASK --out DIR``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from medsdk_export.phantoms import TASKS, write

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Write phantoms; returns the exit status, 2 for a wrong argument."""
    parser = argparse.ArgumentParser(
        prog="python -m medsdk_export.phantoms",
        description="Write seeded synthetic DICOM files. They show no person.",
    )
    parser.add_argument("task", help=f"one of: {', '.join(TASKS)}")
    parser.add_argument("--out", type=Path, required=True, help="folder for NNNN.dcm")
    parser.add_argument("--count", type=int, required=True, help="how many files")
    parser.add_argument("--seed", type=int, required=True, help="same seed, same files")
    parser.add_argument("--cases", type=Path, help="also write the truth to this CSV")
    options = parser.parse_args(arguments)
    try:
        files = write(options.task, options.out, options.count, options.seed, options.cases)
    except ValueError as error:
        parser.error(str(error))
    sys.stdout.write(f"{len(files)} files in {options.out}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
