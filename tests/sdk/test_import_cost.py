"""What importing the device package brings in, and what it must do without."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import medsdk
import medsdk_runtimes

DEVICE = [
    (package.__name__, Path(str(package.__file__)).parent) for package in (medsdk, medsdk_runtimes)
]
MODULES = sorted(
    ".".join((name, *path.relative_to(folder).with_suffix("").parts)).removesuffix(".__init__")
    for name, folder in DEVICE
    for path in folder.rglob("*.py")
)
FRAMEWORKS = ("torch", "onnx", "onnxruntime", "openvino", "keras", "tensorflow", "tensorrt")

_BLOCKING = """
import importlib, importlib.abc, sys

class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"blocked: {name}", name=name)

BLOCKED = set(sys.argv[1].split(","))
sys.meta_path.insert(0, Blocked())
for name in sys.argv[2].split(","):
    importlib.import_module(name)
print(",".join(sorted(sys.modules)))
"""


def _python(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_medsdk_loads_nothing_heavy():
    loaded = set(_python("import medsdk, sys; print(*sys.modules)").split())
    assert "medsdk" in loaded
    heavy = {"pydicom", "pydantic", "typer", "PIL", *FRAMEWORKS}
    assert not heavy & loaded


def test_its_names_are_loaded_when_they_are_used():
    names = sorted(medsdk.__all__)
    code = "import medsdk; print(*(getattr(medsdk, name) is not None for name in dir(medsdk)))"
    assert _python(code).split() == ["True"] * len(names)
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        medsdk.lod  # noqa: B018


def test_every_module_imports_without_a_framework():
    assert {"medsdk.engine", "medsdk.cli.main", "medsdk_runtimes.openvino_rt"} <= set(MODULES)
    loaded = _python(_BLOCKING, ",".join(FRAMEWORKS), ",".join(MODULES)).strip().split(",")
    assert set(MODULES) <= set(loaded)
    assert not {name for name in loaded if name.split(".")[0] in FRAMEWORKS}
    # Imports only go down: the device never brings in the floor above it.
    assert not {name for name in loaded if name.startswith("medsdk_export")}


def test_the_blocking_can_fail():
    with pytest.raises(AssertionError, match="blocked: numpy"):
        _python(_BLOCKING, "numpy", "medsdk.engine")


def test_the_runtimes_need_neither_pydicom_nor_pydantic():
    names = ",".join(name for name in MODULES if name.startswith("medsdk_runtimes"))
    loaded = _python(_BLOCKING, "pydicom,pydantic,typer,PIL,medsdk,medsdk_export", names)
    assert "medsdk_runtimes.contract" in loaded


def test_a_task_is_read_without_pixels_or_a_command_line():
    code = "from medsdk.tasks import catalogue_task; import sys; print(*sys.modules)"
    loaded = set(_python(code).split())
    assert not {"pydicom", "PIL", "typer", *FRAMEWORKS} & loaded


def test_the_help_of_every_command_needs_no_framework():
    """A command line that is asked for --help must not wait for a library to load."""
    code = (
        "import sys\n"
        "from medsdk.cli.main import run\n"
        "status = [run([*words, '--help']) for words in ([], ['run'], ['verify'], ['export'])]\n"
        "print('loaded', *status, *sys.modules)"
    )
    last = _python(code).splitlines()[-1].split()
    assert last[:5] == ["loaded", "0", "0", "0", "0"]
    assert not {*FRAMEWORKS, "pydicom", "PIL"} & set(last)
