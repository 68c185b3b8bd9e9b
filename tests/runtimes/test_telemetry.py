"""Nothing is written or prepared for a vendor's service when a runtime is used."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CODE = "from medsdk_runtimes import runtime; runtime('onnxruntime').devices()"


@pytest.mark.skipif(sys.platform != "linux", reason="the files are looked for where Linux has them")
def test_onnxruntime_leaves_no_device_id(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ORT_")}
    for name in ("HOME", "XDG_CACHE_HOME", "TMPDIR"):
        (tmp_path / name).mkdir()
        environment[name] = str(tmp_path / name)
    subprocess.run([sys.executable, "-c", CODE], check=True, env=environment)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
