"""Write the tables of docs/support.md from the records of tests/hazards, or check them.

python docs/upkeep/support.py            writes what stands between the two marks
python docs/upkeep/support.py --check    exit 1 where it is another text
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))

from tests.hazards.records import (  # noqa: E402 - found through the line above
    NEEDS,
    Anomaly,
    Outcome,
    anomalies,
    outcomes,
)

PAGE = ROOT / "docs/support.md"
START = "<!-- written by `make support` -->\n"
END = "<!-- end -->\n"

RUNTIMES = {"openvino": "OpenVINO", "onnxruntime": "ONNX Runtime"}
"""Distributions with a table of their own, and what they are called."""


def tables(records: Sequence[Anomaly], found: Mapping[str, Mapping[str, Outcome]]) -> str:
    """A table a runtime, and one for every other library.

    Args:
        records: In the order in which they are shown.
        found: What became of each version, by id.
    """
    parts = []
    for library, name in RUNTIMES.items():
        chosen = [record for record in records if record.library == library]
        parts.append(_table(name, chosen, found, named=False))
    rest = [record for record in records if record.library not in RUNTIMES]
    parts.append(_table("Other libraries", rest, found, named=True))
    return "\n".join(parts)


def _table(
    title: str,
    records: Sequence[Anomaly],
    found: Mapping[str, Mapping[str, Outcome]],
    *,
    named: bool,
) -> str:
    head = ["what happens", "seen with", "what medsdk does", "tried since"]
    lines = [f"### {title}\n", f"| {' | '.join(head)} |", "|---|---|---|---|"]
    for record in records:
        seen = ", ".join(record.seen) or "not written down"
        cells = [
            record.happens,
            f"{record.library} {seen}" if named else seen,
            record.medsdk,
            _since(record, found.get(record.id, {})),
        ]
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def _since(record: Anomaly, found: Mapping[str, Outcome]) -> str:
    """What is known of it now."""
    if record.untested:
        return f"not tested: {record.untested}"
    if record.shown_by:
        return "reproduced by " + ", ".join(f"`{_name(test)}`" for test in record.shown_by)
    if not found:
        needs = " and ".join(NEEDS[need] for need in record.needs)
        return f"not tested since: it takes {needs}"
    words = {"reproduces": "reproduces with", "gone": "**no longer** with"}
    return "; ".join(f"{words[outcome]} {version}" for version, outcome in sorted(found.items()))


def _name(test: str) -> str:
    return test.partition("::")[2]


def page(text: str, inside: str) -> str:
    """The page with another text between the marks.

    Raises:
        ValueError: A mark is missing, or stands there twice.
    """
    if text.count(START) != 1 or text.count(END) != 1:
        raise ValueError(f"the page must hold {START.strip()} and {END.strip()} once each")
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n{inside}\n{END}{after}"


def main(arguments: Sequence[str]) -> int:
    """Write or check.

    Returns:
        The exit status.
    """
    if list(arguments) not in ([], ["--check"]):
        sys.stderr.write("usage: support.py [--check]\n")
        return 2
    text = PAGE.read_text(encoding="utf-8")
    wanted = page(text, tables(anomalies(), outcomes()))
    if not arguments:
        PAGE.write_text(wanted, encoding="utf-8", newline="\n")
        return 0
    if text != wanted:
        sys.stderr.write("docs/support.md is not up to date: make support\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
