"""Hand-made tables of the vendor's cases."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from medsdk.tasks import Task, read_task

Write = Callable[..., Path]


@pytest.fixture(scope="session")
def task(vendor: Any) -> Task:
    """The vendor's task."""
    return read_task(vendor.task_file)


@pytest.fixture
def table(vendor: Any, tmp_path: Path) -> Write:
    """Writes a table of the vendor's first cases, with changes.

    `columns` adds columns: name to a value, or to one value a row in turn. A column `path` there
    takes the place of the vendor's files.
    """

    def write(count: int = 6, name: str = "cases.csv", **columns: Any) -> Path:
        rows = []
        for number in range(count):
            row = {
                "path": str(vendor.cases.parent / f"{number}.dcm"),
                "truth": "tumour" if number % 2 == 0 else "none",
                "patient": f"p{number}",
            }
            for column, values in columns.items():
                listed = isinstance(values, Sequence) and not isinstance(values, str)
                row[column.replace("_", "-")] = values[number % len(values)] if listed else values
            rows.append(row)
        stream = io.StringIO()
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        path = tmp_path / name
        path.write_text(stream.getvalue(), encoding="utf-8")
        return path

    return write
