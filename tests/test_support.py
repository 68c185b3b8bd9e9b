"""docs/support.md shows the records of tests/hazards as they are."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.hazards.records import Anomaly, anomalies

ROOT = Path(__file__).parent.parent
RECORD: dict[str, Any] = {"happens": "It | happens.", "medsdk": "Is careful."}


@pytest.fixture(scope="module")
def support() -> ModuleType:
    spec = importlib.util.spec_from_file_location("support", ROOT / "docs/upkeep/support.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date(support: ModuleType) -> None:
    assert support.main(["--check"]) == 0


def test_another_page_is_seen(
    support: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = support.PAGE.read_text(encoding="utf-8")
    page = tmp_path / "support.md"
    monkeypatch.setattr(support, "PAGE", page)
    page.write_text(text.replace("reproduces with", "reproduced with"), encoding="utf-8")
    assert support.main(["--check"]) == 1
    assert support.main([]) == 0
    assert page.read_text(encoding="utf-8") == text
    assert support.main(["--what"]) == 2


def test_every_record_has_a_row(support: ModuleType) -> None:
    text = support.PAGE.read_text(encoding="utf-8")
    for record in anomalies():
        assert f"| {record.happens} |" in text


@pytest.mark.parametrize(
    ("record", "found", "row"),
    [
        (
            Anomaly(id="a", library="openvino", seen=("1.0",), **RECORD),
            {"1.0": "reproduces", "1.1": "gone"},
            r"| It \| happens. | 1.0 | Is careful. | reproduces with 1.0; **no longer** with 1.1 |",
        ),
        (
            Anomaly(id="a", library="nncf", seen=("3.4", "3.5"), needs=("avx2",), **RECORD),
            {},
            r"| It \| happens. | nncf 3.4, 3.5 | Is careful. | "
            "not tested since: it takes a processor with AVX2 |",
        ),
        (
            Anomaly(id="a", library="keras", seen=(), untested="nobody can", **RECORD),
            {},
            r"| It \| happens. | keras not written down | Is careful. | not tested: nobody can |",
        ),
        (
            Anomaly(id="a", library="onnxruntime", seen=("1",), shown_by=("t.py::x",), **RECORD),
            {},
            r"| It \| happens. | 1 | Is careful. | reproduced by `x` |",
        ),
    ],
)
def test_a_row(support: ModuleType, record: Anomaly, found: dict[str, str], row: str) -> None:
    assert row in support.tables([record], {"a": found})


def test_a_page_without_its_marks_is_refused(support: ModuleType) -> None:
    for text in ("", support.START, 2 * support.START + support.END):
        with pytest.raises(ValueError, match="once each"):
            support.page(text, "x")
