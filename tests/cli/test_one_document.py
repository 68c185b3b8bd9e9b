"""With --json standard output is one JSON document, whatever a foreign runtime prints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TALKATIVE = """
import atexit, ctypes, os, sys
from medsdk_runtimes import RUNTIMES

print("imported")
os.write(1, b"from below\\n")
atexit.register(os.write, 1, b"the end")


class Talkative:
    name = "talkative"

    def availability(self):
        if sys.platform == "linux":
            ctypes.CDLL(None).printf(b"%s", b"kept in a buffer of C until the process ends")
        return RUNTIMES[0].availability()

    def devices(self):
        print("looking for cards")
        return RUNTIMES[0].devices()

    def open(self, onnx, settings):
        sys.__stdout__.write("a banner")
        return RUNTIMES[0].open(onnx, settings)


RUNTIME = Talkative()
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "talkative.py").write_text(TALKATIVE, encoding="utf-8")
    information = tmp_path / "talkative-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Name: talkative\nVersion: 1.0\n", "utf-8")
    (information / "entry_points.txt").write_text(
        "[medsdk.runtimes]\ntalkative = talkative:RUNTIME\n", "utf-8"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    return {**os.environ, "PYTHONPATH": path}


def _medsdk(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "medsdk.cli.main", *words]
    return subprocess.run(command, capture_output=True, check=False, env=environment)


@pytest.mark.parametrize("buffered", ["", "1"])
def test_doctor_prints_one_document(environment, buffered):
    done = _medsdk({**environment, "PYTHONUNBUFFERED": buffered}, "doctor", "--json")
    document = json.loads(done.stdout)
    assert "talkative" in {item["name"] for item in document["runtimes"]}
    for said in (b"imported", b"from below", b"looking for cards", b"the end"):
        assert said in done.stderr


def test_without_json_nothing_is_kept_apart(environment):
    done = _medsdk(environment, "doctor")
    assert b"imported" in done.stdout


def test_an_error_is_one_document_and_help_is_help(environment):
    done = _medsdk(environment, "verify", "nothing.medsdk", "--json")
    assert json.loads(done.stdout)["error"]["code"]
    assert b"Usage" in _medsdk(environment, "verify", "--json", "--help").stdout


def test_without_standard_error_there_is_a_document(environment):
    command = f"{sys.executable} -m medsdk.cli.main doctor --json 2>&-"
    done = subprocess.run(["sh", "-c", command], capture_output=True, check=False, env=environment)
    assert json.loads(done.stdout)["runtimes"]
