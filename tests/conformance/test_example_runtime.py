"""The runtime in `examples/` installs by itself and passes by what it declares."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from medsdk_conformance import ITEMS
from tests.conformance.conftest import EXAMPLE

UNDECLARED = {"int8", "int8-asymmetric", "int8-full-range"}


def _medsdk(target: Path, *words: str) -> tuple[int, Any]:
    path = os.pathsep.join([str(target), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-m", "medsdk.cli.main", *words, "--json"],
        capture_output=True,
        encoding="utf-8",
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )
    return done.returncode, json.loads(done.stdout)


def test_it_passes_by_its_declared_capabilities(example_packages: Path) -> None:
    status, document = _medsdk(example_packages, "conformance", "onnx-reference")
    verdicts = {item["id"]: item["verdict"] for item in document["items"]}
    assert [item for item in document["items"] if item["verdict"] == "fail"] == []
    assert (status, document["verdict"]) == (0, "pass")
    assert set(verdicts) == {item.id for item in ITEMS}
    for item in ITEMS:
        if item.id == "max-pool-stride-1":
            assert verdicts[item.id] == "advisory"
        else:
            assert verdicts[item.id] == ("not-run" if item.capability in UNDECLARED else "pass")
    assert UNDECLARED.isdisjoint(document["capabilities"])


@pytest.mark.parametrize(
    ("version", "faulty"),
    [("1.21.0", True), ("1.23.2", True), ("1.24.0", False), ("2.0", False), ("", False)],
)
def test_its_exception_is_for_the_versions_that_have_the_fault(
    version: str, faulty: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = importlib.util.spec_from_file_location("example", EXAMPLE / "medsdk_onnx_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr("onnx.__version__", version)
    assert set(module.RUNTIME.conformance_exceptions) == (
        {"max-pool-stride-1"} if faulty else set()
    )


def test_doctor_finds_it_and_it_computes(example_packages: Path) -> None:
    status, document = _medsdk(example_packages, "doctor")
    (found,) = [item for item in document["runtimes"] if item["name"] == "onnx-reference"]
    assert status == 0
    assert (found["available"], found["computed"]) == (True, "pass")
    assert [device["name"] for device in found["devices"]] == ["CPU"]


def test_a_name_that_is_not_installed_is_exit_3(tmp_path: Path) -> None:
    status, document = _medsdk(tmp_path, "conformance", "onnx-reference")
    assert (status, document["error"]["code"]) == (3, "runtime-unavailable")
