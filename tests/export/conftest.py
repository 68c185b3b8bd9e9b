"""Few inputs for quick exports, and tasks and images that differ from the vendor's."""

from __future__ import annotations

import io
import shutil
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
import pytest
import torch

import medsdk_runtimes
from medsdk.tasks import Task, read_task
from medsdk.tasks.loading import task_from_document
from medsdk_export.build import ExportRequest

CALIBRATION_FILES = 4
CASES = 8


@dataclass(frozen=True)
class Inputs:
    """What one export takes."""

    folder: Path
    task: Task
    model: Path

    @property
    def calibration(self) -> Path:
        return self.folder / "calibration"

    @property
    def table(self) -> Path:
        return self.folder / "cases" / "cases.csv"

    def request(self, out: Path, **changes: Any) -> ExportRequest:
        """A request with few inputs, or what `changes` says."""
        values: dict[str, Any] = {
            "task": self.task,
            "models": {"filter": self.model},
            "calibration": self.calibration,
            "out": out,
            "cases": self.table,
            "known_answers": 4,
        }
        return ExportRequest(**(values | changes))


@pytest.fixture(scope="session", autouse=True)
def one_torch_thread() -> Iterator[None]:
    """Small tensors gain nothing by threads, and on a busy machine wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def few(vendor: Any, tmp_path: Path) -> Inputs:
    """A few of the vendor's images, free to be changed."""
    folder = tmp_path / "inputs"
    (folder / "calibration").mkdir(parents=True)
    (folder / "cases").mkdir()
    for number in range(CALIBRATION_FILES):
        shutil.copy(vendor.calibration / f"{number}.dcm", folder / "calibration")
    rows = vendor.cases.read_text(encoding="utf-8").splitlines()[: CASES + 1]
    for row in rows[1:]:
        shutil.copy(vendor.cases.parent / row.split(",")[0], folder / "cases")
    (folder / "cases" / "cases.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return Inputs(folder, read_task(vendor.task_file), vendor.model)


@pytest.fixture
def only_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    """One runtime without instruction-set tiers: for what does not depend on runtimes."""
    monkeypatch.setattr(medsdk_runtimes, "RUNTIMES", (medsdk_runtimes.runtime("onnxruntime"),))


@pytest.fixture(scope="session")
def make_task(vendor: Any) -> Callable[..., Task]:
    """The vendor's task with parts of its text replaced."""
    text = vendor.task_file.read_text(encoding="utf-8")

    def make(*replacements: tuple[str, str]) -> Task:
        changed = text
        for old, new in replacements:
            assert old in changed, old
            changed = changed.replace(old, new)
        return task_from_document(tomllib.loads(changed), "test.toml")

    return make


@pytest.fixture(scope="session")
def change_dicom() -> Callable[..., None]:
    """Read a DICOM file, let a function change it, and write it back."""

    def change(path: Path, edit: Callable[[Any], None]) -> None:
        dataset = pydicom.dcmread(io.BytesIO(path.read_bytes()))
        edit(dataset)
        dataset.save_as(path, enforce_file_format=True)

    return change
