"""What a bundle's one file costs against its directory: opening (every digest) and loading.

    python benchmarks/one_file.py BUNDLE_DIRECTORY... [--turns N]

Both forms lie in the page cache, since turns before the first one that counts read them.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from interleaved import by_turns

import medsdk


def _load(path: Path) -> None:
    medsdk.load(path, threads=1).close()


def measure(directory: Path, turns: int) -> None:
    """Print a row each for opening and for loading.

    Args:
        directory: A bundle.
        turns: How many turns.
    """
    with tempfile.TemporaryDirectory() as folder:
        bundle = medsdk.pack(directory, Path(folder) / "one.medsdk")
        file = bundle.storage.path
        work: Mapping[str, Callable[[Path], object]] = {"open": medsdk.Bundle.open, "load": _load}
        for name, call in work.items():
            timings = by_turns(
                {
                    "file": lambda call=call: call(file),  # type: ignore[misc]
                    "directory": lambda call=call: call(directory),  # type: ignore[misc]
                },
                turns,
            )
            sizes = bundle.storage.sizes.values()
            print(
                f"| {bundle.manifest.name} | {len(sizes)} | {sum(sizes) / 1e6:.1f} | {name} "
                f"| {timings.median_ms('directory'):.2f} | {timings.median_ms('file'):.2f} "
                f"| {timings.ratio('file', 'directory'):.3f} | {timings.turns} |"
            )


def main() -> None:
    """Measure every bundle that was named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("bundles", nargs="+", type=Path)
    parser.add_argument("--turns", type=int, default=50)
    arguments = parser.parse_args()
    print("| bundle | files | MB | what | directory ms | file ms | file / directory | n |")
    print("|---|---|---|---|---|---|---|---|")
    for bundle in arguments.bundles:
        measure(bundle, arguments.turns)


if __name__ == "__main__":
    main()
