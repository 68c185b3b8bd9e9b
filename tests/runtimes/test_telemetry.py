"""Nothing is written for a vendor's service when a runtime is used, and nothing is sent.

What a library sends from Python is seen here; what it sends from C is not.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from medsdk_conformance.graphs import affine

CODE = """
import sys, time
import numpy as np

def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "http.client.connect", "urllib.Request"):
        print(event, flush=True)
        raise OSError("no connection is made here")

sys.addaudithook(refuse)
from medsdk_runtimes import Settings, runtime
session = runtime(sys.argv[1]).open(sys.stdin.buffer.read(), Settings())
session.run({"x": np.ones((1, 4), np.float32)})
session.close()
time.sleep(0.5)  # a library would send from a thread
"""
KEPT = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH")
"""The only variables that the process gets: any of a build machine's keeps a library quiet."""


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
@pytest.mark.skipif(sys.platform != "linux", reason="the files are looked for where Linux has them")
def test_a_runtime_leaves_no_trace_and_calls_nobody(name: str, tmp_path: Path) -> None:
    environment = {key: os.environ[key] for key in KEPT if key in os.environ}
    for variable in ("HOME", "XDG_CACHE_HOME", "TMPDIR"):
        (tmp_path / variable).mkdir()
        environment[variable] = str(tmp_path / variable)
    done = subprocess.run(
        [sys.executable, "-c", CODE, name],
        check=True,
        env=environment,
        input=affine(),
        stdout=subprocess.PIPE,
    )
    assert done.stdout == b""
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_the_sender_can_still_be_imported_by_whoever_wants_it() -> None:
    code = (
        "from medsdk_runtimes import runtime; assert runtime('openvino').availability().available;"
        "import sys; assert 'openvino_telemetry' not in sys.modules; import openvino_telemetry"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
