"""`diagnose`: the probe is a real graph, and a runtime that does not compute is seen."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

import medsdk_runtimes
from medsdk.diagnosis import PROBE_GRAPH, diagnose
from medsdk.errors import InferenceFailedError
from medsdk.tasks.pixel_contract import Kernel
from medsdk_runtimes import _opening, onnxruntime_rt
from medsdk_runtimes.operating_system import usable_cores


def test_the_probe_is_a_graph_of_the_onnx_package_that_doubles():
    model = onnx.load_from_string(PROBE_GRAPH)
    onnx.checker.check_model(model, full_check=True)
    (node,) = model.graph.node
    assert (node.op_type, list(node.input), list(node.output)) == ("Add", ["x", "x"], ["y"])
    for values in ([], [0.0], [1.5, -2.0, 3e38]):
        given = np.array(values, np.float32)
        with np.errstate(over="ignore"):
            (found,) = ReferenceEvaluator(model).run(None, {"x": given})
            np.testing.assert_array_equal(found, given + given)


def test_the_onnx_package_makes_the_same_graph():
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "probe", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    probe = onnx.load_from_string(PROBE_GRAPH)
    for item in (probe, model):
        item.ClearField("producer_name")  # some versions write it empty
    assert probe == model


def test_every_installed_runtime_computes():
    document = diagnose()
    here = {runtime.name: runtime.availability() for runtime in medsdk_runtimes.known()}
    assert [item.name for item in document.runtimes] == list(here)
    for item in document.runtimes:
        assert item.available == here[item.name].available
        assert item.computed == ("pass" if item.available else "")
        assert bool(item.devices) == item.available
    assert document.problems == ()
    assert document.thread_budget == usable_cores()
    assert set(document.resize_kernels) == set(get_args(Kernel))


@pytest.mark.parametrize(
    ("raised", "shown"),
    [
        (InferenceFailedError("out of memory", got="1 MB"), "out of memory"),
        (RuntimeError("broken at /home/jane/x.cpp"), "RuntimeError"),
    ],
)
def test_a_runtime_that_raises_is_a_problem_not_a_traceback(monkeypatch, raised, shown):
    def fail(*_: Any) -> Any:
        raise raised

    monkeypatch.setattr(onnxruntime_rt._OrtSession, "_run", fail)
    document = diagnose()
    first = document.runtimes[0]
    assert first.name == "onnxruntime"
    assert shown in first.computed
    assert any(
        "onnxruntime is installed but does not compute" in text for text in document.problems
    )
    assert "jane" not in document.model_dump_json()


def test_a_runtime_that_computes_wrongly_is_a_problem(monkeypatch):
    monkeypatch.setattr(
        onnxruntime_rt._OrtSession, "_run", lambda _, tensors: {"y": tensors["x"] * np.float32(3)}
    )
    document = diagnose()
    assert document.runtimes[0].computed.startswith("wrong: [0.0, 3.0, 6.0")
    assert document.problems


def test_a_machine_without_runtimes_is_told_what_to_install(monkeypatch):
    def nothing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(_opening, "import_module", nothing)
    document = diagnose()
    assert document.problems == ('no runtime works here: pip install "medsdk[onnxruntime]"',)
    for item in document.runtimes:
        assert (item.available, item.computed, item.devices) == (False, "", ())
        assert item.reason


def test_the_machine_is_described_without_names(monkeypatch):
    for variable in ("USER", "LOGNAME", "HOSTNAME", "HOME"):
        monkeypatch.setenv(variable, "canary-7351")
    assert "canary-7351" not in diagnose().model_dump_json()
