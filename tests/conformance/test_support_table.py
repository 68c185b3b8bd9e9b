"""The table in the docs is what the kit finds here and now."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from medsdk.results.documents import ConformanceDocument
from medsdk_conformance import ITEMS
from medsdk_runtimes import RUNTIMES, available
from tests.conformance.kit_command import Kit

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "conformance_table", DOCS / "upkeep/conformance_table.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def documents(kit_run: Callable[[str], Kit]) -> dict[str, ConformanceDocument | None]:
    here = {runtime.name for runtime in available()}
    return {
        runtime.name: ConformanceDocument.model_validate_json(
            json.dumps(kit_run(runtime.name).document)
        )
        if runtime.name in here
        else None
        for runtime in RUNTIMES
    }


def test_the_committed_table_is_up_to_date(generate: Any, documents: Any) -> None:
    if None in documents.values():
        pytest.skip("the table is written where every runtime is installed")
    committed = (DOCS / "conformance-table.md").read_text(encoding="utf-8")
    now = generate.support_text(documents)
    assert generate.up_to_date(committed, now), "python docs/upkeep/conformance_table.py"
    for item in ITEMS:
        assert committed.count(f"| `{item.id}` |") == 1
    for runtime in RUNTIMES:
        assert f"{runtime.name} {runtime.availability().version} (CPU)" in committed
    assert "FAILS" not in committed.partition("## ")[2]


def test_the_page_of_another_processor_is_compared_but_for_what_depends_on_it(
    generate: Any, documents: Any
) -> None:
    here, there = (generate.support_text(documents, isa) for isa in ("avx2", "amx"))
    assert generate.up_to_date(here, here)
    assert generate.up_to_date(here, there)
    row = "| `quantized-gemm-full-range` |"
    assert not generate.up_to_date(here, here.replace(row, "| `other` |"))
    assert generate.up_to_date(here, there.replace(row, "| `other` |"))
    for row in ("| `quantized-gemm` |", "| `conv` |", "| `close` |"):
        assert not generate.up_to_date(here, there.replace(row, "| `other` |"))


def test_what_is_not_here_reads_not_tested(generate: Any, documents: Any) -> None:
    text = generate.support_text({"onnxruntime": None, "tensorrt": None})
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert len(rows) == len(ITEMS)
    assert all(row.endswith("| not tested | not tested |") for row in rows)
    name, document = next((n, d) for n, d in documents.items() if d is not None)
    changed = document.model_copy(
        update={
            "items": tuple(
                item.model_copy(update={"verdict": verdict, "detail": detail})
                for item, (verdict, detail) in zip(
                    document.items,
                    [
                        ("fail", "x"),
                        ("advisory", "no | here (seen: y)"),
                        ("not-run", "this system has no fork"),
                        ("not-run", "the runtime does not declare 'int8'"),
                    ],
                    strict=False,
                )
            )
        }
    )
    rows = [
        line
        for line in generate.support_text({name: changed}).splitlines()
        if line.startswith("| `")
    ]
    cells = [row.rpartition(" | ")[2] for row in rows[:5]]
    assert cells[0] == "FAILS |"
    assert rows[1].endswith("| exception: no \\| here (seen: y) |")
    assert cells[2] == "not tested: this system has no fork |"
    assert cells[3] == "not declared |"
    assert cells[4] == "not tested |"
