"""Write the support table from what the conformance kit finds, or check the written one.

    python docs/upkeep/conformance_table.py            writes docs/conformance-table.md
    python docs/upkeep/conformance_table.py --check    exit 1 where it is not up to date

Every runtime of medsdk has a column. One that is not installed here reads "not tested", so write
the table where all of them are.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from medsdk.results.documents import ConformanceDocument, ConformanceItem
from medsdk_conformance.kit import run_kit
from medsdk_conformance.reporting import describe_items, describe_report
from medsdk_conformance.suite import ITEMS
from medsdk_runtimes import CAPABILITIES, RUNTIMES, available
from medsdk_runtimes.machine import identify

PROCESSOR_SECTION = "int8-full-range"
PAGE = Path(__file__).parents[1] / "conformance-table.md"

_HEAD = """\
# What each runtime keeps

Written by `python docs/upkeep/conformance_table.py` from the results of `medsdk conformance`; a
test compares it with what the installed runtimes do now. What the capabilities mean, and how to
read an exception: [conformance.md](conformance.md).

Instruction set for 8-bit integers of the machine that wrote it: `{isa}`. All of `int8` and
`int8-asymmetric` have weights of 7 bits; those of 8 bits, which depend on it, are in
`int8-full-range`.

- **yes**: passes.
- **not declared**: the runtime does not say that it can; it refuses, or its values are right
  (those of `int8-full-range` are not compared).
- **exception**: fails, as the runtime declares with a reason.
- **not tested**: the runtime, or what the item needs, is not on the machine that wrote this page.
- **FAILS**: declared, and not kept.
"""


def support_text(
    documents: Mapping[str, ConformanceDocument | None], isa: str | None = None
) -> str:
    """The page.

    Args:
        documents: What the kit found, by runtime; None where it is not installed.
        isa: Instruction-set tier that it was found on; None takes this machine's.
    """
    asked = describe_items(ITEMS).items
    heads = [
        f"{name} {document.runtime_version} ({document.device})" if document else name
        for name, document in documents.items()
    ]
    found = {
        name: {item.id: item for item in document.items} if document else {}
        for name, document in documents.items()
    }
    lines = [_HEAD.format(isa=identify(()).isa if isa is None else isa)]
    for capability in (None, *CAPABILITIES):
        lines += [
            f"## {f'`{capability}`' if capability else 'Every runtime'}",
            "",
            f"| item | asks | {' | '.join(heads)} |",
            f"|---|---|{'---|' * len(heads)}",
        ]
        for item in asked:
            if item.capability == capability:
                cells = [_cell(results.get(item.id)) for results in found.values()]
                lines.append(f"| `{item.id}` | {_plain(item.asks)} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def up_to_date(written: str, now: str) -> bool:
    """Whether two pages say the same of what does not depend on the instruction set.

    On the same instruction set, whether they are the same.
    """
    isa = re.compile(r": `(.*)`\.")
    section = re.compile(rf"## `{PROCESSOR_SECTION}`\n.*?(?=\n## )", re.S)
    if isa.findall(written)[:1] != isa.findall(now)[:1]:
        written, now = (section.sub("", isa.sub("", text, count=1)) for text in (written, now))
    return written == now


def _cell(item: ConformanceItem | None) -> str:
    if item is None:
        return "not tested"
    match item.verdict:
        case "pass":
            return "yes"
        case "fail":
            return "FAILS"
        case "advisory":
            return f"exception: {_plain(item.detail)}"
        case _:
            undeclared = "does not declare" in item.detail
            return "not declared" if undeclared else f"not tested: {_plain(item.detail)}"


def _plain(text: str) -> str:
    return text.replace("|", "\\|")


def measure() -> dict[str, ConformanceDocument | None]:
    """Run the kit on every runtime of medsdk that is installed here."""
    here = {runtime.name for runtime in available()}
    return {
        runtime.name: describe_report(run_kit(runtime.name)) if runtime.name in here else None
        for runtime in RUNTIMES
    }


def main(arguments: Sequence[str]) -> int:
    """Write or check; the exit status."""
    if list(arguments) not in ([], ["--check"]):
        sys.stderr.write("usage: conformance_table.py [--check]\n")
        return 2
    text = support_text(measure())
    if not arguments:
        PAGE.write_bytes(text.encode())
    elif not up_to_date(PAGE.read_text(encoding="utf-8"), text):
        sys.stderr.write(
            f"{PAGE.name} is not up to date: python docs/upkeep/conformance_table.py\n"
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
