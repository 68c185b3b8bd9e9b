"""The kit stands on the SDK and the runtimes alone, and needs no more than numpy and onnx."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import medsdk_conformance

ROOT = Path(__file__).parents[2]
PACKAGE = Path(str(medsdk_conformance.__file__)).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))
ALLOWED = {"medsdk", "medsdk_runtimes", "medsdk_conformance", "numpy", "onnx", "typer"}
ELSEWHERE = (
    *("torch", "keras", "tensorflow", "onnxruntime", "openvino", "tensorrt", "pytest", "scipy"),
    *("medsdk_export", "pydicom", "PIL"),
)

_CHECKED = """
import importlib.abc, sys

class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in sys.argv[1].split(","):
            raise ModuleNotFoundError(f"blocked: {name}", name=name)

sys.meta_path.insert(0, Blocked())
"""


def _imported(path: Path) -> set[str]:
    names = set()
    for item in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(item, ast.Import):
            names |= {alias.name.split(".")[0] for alias in item.names}
        elif isinstance(item, ast.ImportFrom):
            assert not item.level
            names.add(str(item.module).split(".")[0])
    return names - set(sys.stdlib_module_names)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_module_imports_only_what_is_below_it(path: Path) -> None:
    assert _imported(path) <= ALLOWED


def _python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        capture_output=True,
        encoding="utf-8",
        check=False,
        env=environment,
    )


def test_every_graph_is_built_without_a_framework() -> None:
    code = _CHECKED + (
        "from medsdk_conformance import CASES, ITEMS, examine\n"
        "import medsdk_conformance.kit, medsdk_conformance._child\n"
        "for case in CASES: case.build()\n"
        "print(len(ITEMS))"
    )
    done = _python(code, ",".join(ELSEWHERE))
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 150


def test_the_blocking_can_fail() -> None:
    done = _python(_CHECKED + "import medsdk_conformance.suite", "numpy")
    assert "blocked: numpy" in done.stderr


def test_the_help_and_the_list_need_no_onnx() -> None:
    code = _CHECKED + (
        "from medsdk.cli.main import run\n"
        "status = [run(['conformance', *words]) for words in (['--help'], ['--list'])]\n"
        "raise SystemExit(any(status))"
    )
    assert _python(code, "onnx,torch,onnxruntime,openvino").returncode == 0


def test_the_extra_has_what_the_kit_needs_and_no_more() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    device = {re.split(r"[<>=]", item)[0].lower() for item in project["dependencies"]}
    extra = {
        re.split(r"[<>=]", item)[0] for item in project["optional-dependencies"]["conformance"]
    }
    imported = set().union(*map(_imported, SOURCES))
    assert extra == {"onnx"}
    assert {name for name in imported if not name.startswith("medsdk")} <= device | extra
