"""Child processes import nothing from the folder that the user happens to be in."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from medsdk_export.errors import SourceUnreadableError
from medsdk_export.keras_source.process import KerasProcess
from medsdk_runtimes.contract import Settings
from medsdk_runtimes.errors import MedsdkError
from medsdk_runtimes.isa_tier import open_at_tier

PLANTED = ("h5py", "numpy", "keras", "tensorflow", "onnxruntime", "openvino", "random")


@pytest.fixture
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with modules of common names; what they write when somebody imports them."""
    written = tmp_path / "imported.txt"
    folder = tmp_path / "downloads"
    folder.mkdir()
    for name in PLANTED:
        code = f"open({str(written)!r}, 'a').write({name!r})\n"
        (folder / f"{name}.py").write_text(code, encoding="utf-8")
    monkeypatch.chdir(folder)
    return written


def test_the_process_that_reads_keras_files(canary: Path, tmp_path: Path) -> None:
    path = tmp_path / "downloads" / "model.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("weights", data=np.zeros(3))
    process = KerasProcess()
    try:
        with pytest.raises(SourceUnreadableError, match="neither a Keras model"):
            process.scan(path)
    finally:
        process.close()
    assert not canary.exists()


def test_the_process_of_a_lower_tier(canary: Path) -> None:
    with pytest.raises(MedsdkError):
        open_at_tier("openvino", b"no graph", Settings(threads=1), "avx2")
    assert not canary.exists()
