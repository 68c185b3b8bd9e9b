"""``python -m tests.planted_faults [--write PAGE]``: plant every fault, print the table.

Exit 0 where each was caught at its stage and what is sound gave no alarm, else 1.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.planted_faults.table import PLANTS, markdown, proofs
from tests.planted_faults.workshop import Workshop

_START, _END = "<!-- table -->\n", "<!-- end of the table -->\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, and put it into a page where that is asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.planted_faults", description=__doc__)
    parser.add_argument("--write", type=Path, metavar="PAGE", help="A page with a place for it.")
    options = parser.parse_args(arguments)
    found = []
    with TemporaryDirectory(prefix="medsdk-planted-", ignore_cleanup_errors=True) as folder:
        for proof in proofs(Workshop(Path(folder))):
            found.append(proof)
            sys.stderr.write(f"{len(found)} of {len(PLANTS)}: {proof.plant.fault}\n")
    table = markdown(found)
    failed = sum(bool(proof.faults) for proof in found)
    sys.stdout.write(
        f"{table}\n{len(found) - failed} of {len(found)} plants proved: caught at their stage, and "
        "no alarm from the same check of what is sound\n"
    )
    if options.write is not None:
        text = options.write.read_text(encoding="utf-8")
        before, _, rest = text.partition(_START)
        _, _, after = rest.partition(_END)
        options.write.write_text(before + _START + table + _END + after, encoding="utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
