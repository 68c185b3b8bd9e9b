"""Write down the gates of every version of every task of the catalogue, or check them.

python docs/upkeep/gates.py            adds a row for each new version of a task
python docs/upkeep/gates.py --check    exit 1 where a row is missing

Either exits with 1 where a task's gates are not those that its version was written down with: a
version's gates never change, so raise `version` in the task file. Rows are only ever added.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from medsdk.parity.protocol import gates_digest
from medsdk.tasks import Task, catalogue, catalogue_task

TABLE = Path(__file__).with_name("gates.json")
"""Task to version to `gates_digest`."""

Rows = dict[str, dict[str, str]]


def compare(rows: Rows, tasks: Iterable[Task]) -> tuple[Rows, list[str]]:
    """Hold tasks against the table.

    Args:
        rows: The table.
        tasks: The catalogue's.

    Returns:
        The rows that are missing, and a sentence for each task whose gates changed under its
        version.
    """
    missing: Rows = {}
    changed = []
    for task in tasks:
        digest = gates_digest(task)
        known = rows.get(task.id, {}).get(task.version)
        if known is None:
            missing.setdefault(task.id, {})[task.version] = digest
        elif known != digest:
            changed.append(
                f"{task.id} {task.version}: the gates are {digest[:16]}, {known[:16]} was written "
                "down; raise `version` in the task file, or give the gates their earlier values"
            )
    return missing, changed


def main(arguments: Sequence[str], table: Path = TABLE) -> int:
    """Add or check.

    Args:
        arguments: Nothing, or `--check`.
        table: The table.

    Returns:
        The exit status.
    """
    if list(arguments) not in ([], ["--check"]):
        sys.stderr.write(f"{__doc__}")
        return 2
    rows: Rows = json.loads(table.read_text(encoding="utf-8")) if table.exists() else {}
    missing, changed = compare(rows, map(catalogue_task, catalogue()))
    for line in changed:
        sys.stderr.write(f"{line}\n")
    if changed:
        return 1
    if arguments and missing:
        for task, versions in missing.items():
            sys.stderr.write(f"{task} {', '.join(versions)} is not in {table.name}\n")
        sys.stderr.write("python docs/upkeep/gates.py adds it\n")
        return 1
    for task, versions in missing.items():
        rows.setdefault(task, {}).update(versions)
    if missing:
        text = json.dumps(rows, indent=2, sort_keys=True)
        table.write_text(f"{text}\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
