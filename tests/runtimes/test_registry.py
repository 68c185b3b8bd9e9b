"""Finding a runtime: ours, a third party's, an absent one."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

import medsdk_runtimes
from medsdk_runtimes import (
    Availability,
    Runtime,
    Settings,
    available,
    known,
    known_names,
    onnxruntime_rt,
    require,
    runtime,
)
from medsdk_runtimes.errors import RuntimeUnavailableError

FRAMEWORKS = ("onnxruntime", "openvino", "onnx", "torch", "tensorrt", "keras")


class ThirdParty:
    """A runtime of another package."""

    name = "third"

    def availability(self):
        return Availability(available=True, version="1", reason="", extra="third")

    def devices(self):
        return ()

    def open(self, onnx, settings):
        raise NotImplementedError


THIRD = ThirdParty()
NO_RUNTIME = object()


@pytest.fixture
def third_parties(monkeypatch):
    monkeypatch.setitem(sys.modules, "third_party_runtime", sys.modules[__name__])
    entries = [
        EntryPoint(name, f"third_party_runtime:{target}", "medsdk.runtimes")
        for name, target in (
            ("third", "THIRD"),
            ("broken", "NOT_THERE"),
            ("wrong", "NO_RUNTIME"),
            ("renamed", "THIRD"),
            ("onnxruntime", "THIRD"),
        )
    ]
    monkeypatch.setattr(medsdk_runtimes, "entry_points", lambda group: entries)


def test_importing_the_package_imports_no_framework():
    code = f"import sys, medsdk_runtimes; print([m for m in {FRAMEWORKS!r} if m in sys.modules])"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    child = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert child.stdout.strip() == "[]"


def test_our_own_come_first_and_satisfy_the_protocol():
    assert [item.name for item in known()][:2] == ["onnxruntime", "openvino"]
    assert all(isinstance(item, Runtime) for item in known())


def test_an_unknown_name_names_those_that_are_here():
    with pytest.raises(RuntimeUnavailableError) as caught:
        runtime("onnx-runtime")
    assert caught.value.exit_status == 3
    for item in available():
        assert item.name in caught.value.expected


@pytest.mark.usefixtures("third_parties")
def test_third_parties():
    assert runtime("third") is THIRD
    assert THIRD in available()
    assert runtime("onnxruntime") is medsdk_runtimes.RUNTIMES[0]  # ours cannot be taken over
    for name in ("broken", "wrong", "renamed"):
        found = runtime(name)
        assert found not in available()
        assert found.availability().reason
        for call in (found.devices, lambda found=found: found.open(b"", Settings())):
            with pytest.raises(RuntimeUnavailableError):
                call()
        with pytest.raises(RuntimeUnavailableError):
            require(name)


@pytest.mark.usefixtures("third_parties")
def test_a_name_is_looked_up_without_the_packages_of_others(monkeypatch):
    def load(entry):
        assert entry.name == "third"
        return THIRD

    monkeypatch.setattr(medsdk_runtimes, "_load", load)
    assert runtime("third") is THIRD


@pytest.mark.usefixtures("third_parties")
def test_names_are_known_without_running_anything(monkeypatch):
    monkeypatch.setattr(medsdk_runtimes, "_load", None)
    expected = ("onnxruntime", "openvino", "broken", "renamed", "third", "wrong")
    assert known_names() == expected


def test_a_library_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # makes its import fail
    item = onnxruntime_rt.OnnxRuntime()
    here = item.availability()
    assert not here.available
    assert here.reason
    assert here.extra == "onnxruntime"
    assert "onnxruntime" not in [found.name for found in available()]
    for call in (
        item.devices,
        lambda: item.open(b"", Settings()),
        lambda: require("onnxruntime"),
    ):
        with pytest.raises(RuntimeUnavailableError) as caught:
            call()
        assert "pip install" in caught.value.remedy
