"""The committed schemas are those of the documents, and mean what `docs/json.md` says."""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from medsdk.errors import MedsdkError
from medsdk.results.documents import ErrorDocument, ErrorFacts
from medsdk.results.schemas import DOCUMENTS

SCHEMAS = Path(__file__).parents[2] / "docs/schemas"


def _schema(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((SCHEMAS / f"{name}.schema.json").read_text("utf-8"))
    return found


@pytest.fixture
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_schemas", SCHEMAS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_committed_schemas_are_up_to_date():
    command = [sys.executable, str(SCHEMAS / "generate.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in SCHEMAS.glob("*.json")} == {
        f"{name}.schema.json" for name in DOCUMENTS
    }


def test_the_check_sees_a_changed_a_missing_and_a_left_over_schema(generate, tmp_path, capsys):
    shutil.copytree(SCHEMAS, tmp_path / "schemas")
    folder = tmp_path / "schemas"
    assert generate.main(["--check"], folder) == 0
    (folder / "run.schema.json").write_bytes(b"{}\n")
    (folder / "verify.schema.json").unlink()
    (folder / "old.schema.json").write_bytes(b"{}\n")
    assert generate.main(["--check"], folder) == 1
    said = capsys.readouterr().err
    assert [line.split()[0] for line in said.splitlines()] == [
        f"{name}.schema.json" for name in ("old", "run", "verify")
    ]
    assert generate.main([], folder) == 0
    assert generate.main(["--check"], folder) == 0
    assert not (folder / "old.schema.json").exists()
    assert generate.main(["--chekc"], folder) == 2


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_schema_is_sorted_draft_2020_12(name):
    schema = _schema(name)
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    text = (SCHEMAS / f"{name}.schema.json").read_text("utf-8")
    assert text == json.dumps(schema, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    assert "format_version" in schema["required"]
    # Every key that is printed is promised, those with a default too.
    assert set(schema["required"]) == set(DOCUMENTS[name].model_fields)


def _closed(node: Any) -> bool:
    if isinstance(node, dict):
        return node.get("additionalProperties") is False or any(map(_closed, node.values()))
    return isinstance(node, list) and any(map(_closed, node))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_no_record_is_closed_to_keys_of_later_releases(name):
    assert not _closed(_schema(name))


def test_what_a_schema_takes_and_what_it_refuses():
    facts = ErrorFacts(code="usage", what="w", got="", expected="", remedy="", exit_status=2)
    good = json.loads(ErrorDocument(error=facts).model_dump_json())
    validator = Draft202012Validator(_schema("error"))
    assert validator.is_valid(good)
    assert validator.is_valid(good | {"format_version": "1.7", "later": [1]})
    assert validator.is_valid(good | {"error": good["error"] | {"later": None}})
    bads: list[Any] = [
        good | {"format_version": "2.0"},
        good | {"format_version": 1.0},
        {"error": good["error"]},
        {"format_version": "1.0"},
        good | {"error": {**good["error"], "exit_status": "2"}},
        good | {"error": {key: value for key, value in good["error"].items() if key != "code"}},
        [],
    ]
    for bad in bads:
        assert not validator.is_valid(bad), bad


def test_closed_sets_are_enums_and_open_ones_are_not():
    verify, run = _schema("verify"), _schema("run")
    assert set(verify["properties"]["verdict"]["enum"]) == {
        *("pass", "fail", "not-run", "not-conclusive", "advisory"),
    }
    finding = run["$defs"]["FindingDocument"]["properties"]
    assert set(finding["status"]["enum"]) == {"ok", "indeterminate", "no-result"}
    assert finding["kind"] == {"type": "string"}
    assert "enum" not in run["$defs"]["PlanDocument"]["properties"]["source"]
    probability = finding["probabilities"]["additionalProperties"]
    assert (probability["minimum"], probability["maximum"]) == (0, 1)


PAGE = (SCHEMAS.parent / "json.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_page_has_a_section_for_every_document(name):
    assert f"\n## {name}\n" in PAGE


def _errors(kind: type[MedsdkError]) -> set[tuple[int, str]]:
    found = {(kind.exit_status, kind.code)}
    return found.union(*map(_errors, kind.__subclasses__()))


def test_the_page_lists_every_error_code_with_its_exit_status():
    for module in (
        *("medsdk.errors", "medsdk.cli.main", "medsdk_export.cli", "medsdk_export.demo"),
        "medsdk_conformance.errors",
    ):
        importlib.import_module(module)
    rows = re.findall(r"^\| (\d+) \| (`.*`) \|$", PAGE, re.M)
    listed = {(int(status), code.strip("`")) for status, text in rows for code in text.split(", ")}
    raised = {
        (kind_status, code)
        for kind in MedsdkError.__subclasses__()
        if kind.__module__.startswith("medsdk")
        for kind_status, code in _errors(kind)
    }
    assert raised == listed
