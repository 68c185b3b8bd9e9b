"""A version of a task has one set of gates, for ever: docs/upkeep/gates.json."""

from __future__ import annotations

import importlib.util
import json
import shutil
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from medsdk.tasks import Task, catalogue, catalogue_text
from medsdk.tasks.loading import task_from_document

SCRIPT = Path(__file__).parents[3] / "docs/upkeep/gates.py"
UTERUS = "uterus-mr/tumor-filter"


@pytest.fixture(scope="module")
def gates() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gates_upkeep", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def table(gates: ModuleType, tmp_path: Path) -> Path:
    return Path(shutil.copy(gates.TABLE, tmp_path / "gates.json"))


def _changed(*edits: tuple[str, str]) -> Task:
    text = catalogue_text(UTERUS)
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    return task_from_document(tomllib.loads(text), "test.toml")


def test_every_task_of_the_catalogue_has_the_gates_of_its_version(gates: ModuleType) -> None:
    """Where this fails, read docs/protocol.md: raise `version`, then run the script."""
    assert gates.main(["--check"]) == 0
    rows = json.loads(gates.TABLE.read_text(encoding="utf-8"))
    assert set(rows) == set(catalogue())


def test_a_gate_that_changes_under_its_version_is_seen(
    gates: ModuleType,
    table: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    softer = _changed(("max_flip_rate = 0.02", "max_flip_rate = 0.03"))
    monkeypatch.setattr(gates, "catalogue", lambda: [UTERUS])
    monkeypatch.setattr(gates, "catalogue_task", lambda task_id: softer)
    before = table.read_bytes()
    for arguments in (["--check"], []):  # neither the check nor the upkeep takes it
        assert gates.main(arguments, table) == 1
        assert f"{UTERUS} 1.0.0: the gates are" in capsys.readouterr().err
        assert table.read_bytes() == before


def test_a_new_version_is_added_and_nothing_else_changes(
    gates: ModuleType, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raised = _changed(
        ("max_flip_rate = 0.02", "max_flip_rate = 0.03"), ('version = "1.0.0"', 'version = "1.1.0"')
    )
    monkeypatch.setattr(gates, "catalogue", lambda: [UTERUS])
    monkeypatch.setattr(gates, "catalogue_task", lambda task_id: raised)
    before = json.loads(table.read_text(encoding="utf-8"))
    assert gates.main(["--check"], table) == 1
    assert gates.main([], table) == 0
    assert gates.main(["--check"], table) == 0
    after = json.loads(table.read_text(encoding="utf-8"))
    assert after[UTERUS].pop("1.1.0") != before[UTERUS]["1.0.0"]
    assert after == before


def test_other_arguments_are_wrong_use(gates: ModuleType, table: Path) -> None:
    assert gates.main(["--chekc"], table) == 2
