"""An int8-gpu on a machine without its GPU: run, shown, and without a say; its form has one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import medsdk_runtimes
from medsdk.bundle import Bundle
from medsdk.cli.main import run
from medsdk.errors import RuntimeUnavailableError
from medsdk.parity.verification import CandidateVerdict, Verification, verify
from medsdk.plan.candidate import advisory_candidates, candidates_of
from medsdk_runtimes import _opening, onnxruntime_rt, openvino_rt

RUNTIMES = tuple(runtime.name for runtime in medsdk_runtimes.available())
GRAPH = "networks/filter/int8-gpu.onnx"


@pytest.fixture
def native_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without lower instruction sets, each of which costs a process."""
    monkeypatch.setattr("medsdk.plan.candidate.lower_tiers", lambda name: ())


def _advice(verification: Verification) -> list[CandidateVerdict]:
    return [
        item
        for item in verification.candidates
        if item.candidate.networks["filter"].variant == "int8-gpu"
    ]


def _change(folder: Path, manifest: dict[str, Any], name: str, array: Any) -> None:
    """Replace an initializer of the graph for a GPU."""
    model = onnx.load(folder / GRAPH)
    tensor = next(item for item in model.graph.initializer if item.name == name)
    tensor.CopyFrom(numpy_helper.from_array(array, name))
    onnx.save(model, folder / GRAPH)
    variant = manifest["networks"]["filter"]["variants"]["int8-gpu"]
    variant["size_bytes"] = (folder / GRAPH).stat().st_size


def _other_answers(folder: Path, manifest: dict[str, Any]) -> None:
    """What the graph is said to give is not what it gives."""
    for answer in manifest["known_answers"]:
        file = folder / answer["variant_outputs"]["filter"]["int8-gpu"]["logits"]
        np.save(file, np.load(file) + np.float32(50))


def test_every_cpu_runtime_gives_advice_once(bundle_dir: Path) -> None:
    found = verify(Bundle.open(bundle_dir))
    advice = _advice(found)
    assert [item.candidate.runtime for item in advice] == list(RUNTIMES)
    assert {item.candidate.isa for item in advice} == {"native"}
    assert {item.verdict for item in advice} == {"advisory"}
    assert all("meant for tensorrt" in item.reasons[0] for item in advice)
    assert (found.verdict, found.reasons) == ("pass", ())
    assert "tensorrt" in found.absent


def test_a_runtime_that_leaves_every_layer_in_float_says_so(bundle_dir: Path) -> None:
    """ONNX Runtime fuses no Conv that a Relu parts from its Q: it would run FP32 for INT8."""
    (item,) = _advice(verify(Bundle.open(bundle_dir), ("onnxruntime",)))
    assert (item.cases, item.effective) == (0, None)
    assert "precision-mismatch" in item.reasons[1]
    assert "0 integer" in item.reasons[1]


def test_advice_that_differs_is_shown_and_changes_nothing(tampered: Any, native_only: None) -> None:
    if "openvino" not in RUNTIMES:
        pytest.skip("openvino is not installed")
    found = verify(Bundle.open(tampered(_other_answers)), ("openvino",))
    assert found.verdict == "pass"
    (item,) = _advice(found)
    assert item.verdict == "advisory"
    assert any("output 'logits' differs by" in reason for reason in item.reasons)
    assert item.max_abs_error == pytest.approx(50, abs=1)
    assert item.cases == 6


def test_a_runtime_that_dies_of_it_changes_nothing(
    bundle_dir: Path, monkeypatch: pytest.MonkeyPatch, native_only: None
) -> None:
    """Only the graph for a GPU is refused, by whatever error."""
    graph = (bundle_dir / GRAPH).read_bytes()
    for kind in (onnxruntime_rt.OnnxRuntime, openvino_rt.OpenVino):
        good = kind.open

        def refuse(self: Any, data: bytes, settings: Any, good: Any = good) -> Any:
            if data == graph:
                raise KeyError("secret")
            return good(self, data, settings)

        monkeypatch.setattr(kind, "open", refuse)
    found = verify(Bundle.open(bundle_dir))
    assert found.verdict == "pass"
    assert all("KeyError" in item.reasons[1] for item in _advice(found))


def test_a_graph_that_tensorrt_would_not_take_fails_the_bundle(
    tampered: Any, native_only: None
) -> None:
    def unsigned(folder: Path, manifest: dict[str, Any]) -> None:
        _change(folder, manifest, "image_zero_point", np.array(128, np.uint8))

    found = verify(Bundle.open(tampered(unsigned)))
    assert found.verdict == "fail"
    assert found.reasons[0].startswith("int8-gpu of 'filter': 'image_QuantizeLinear'")
    assert "uint8" in found.reasons[0]
    # Nothing else is at fault, and the variants for this machine still serve.
    decisive = [item for item in found.candidates if item.verdict != "advisory"]
    assert {item.verdict for item in decisive} == {"pass"}


def test_a_file_that_is_no_graph_fails_the_bundle(tampered: Any) -> None:
    def cut(folder: Path, manifest: dict[str, Any]) -> None:
        data = (folder / GRAPH).read_bytes()
        (folder / GRAPH).write_bytes(data[: len(data) // 2])
        variant = manifest["networks"]["filter"]["variants"]["int8-gpu"]
        variant["size_bytes"] = len(data) // 2

    found = verify(Bundle.open(tampered(cut)), ("onnxruntime",))
    assert found.verdict == "fail"
    assert "no well-formed ONNX graph" in found.reasons[0]


def test_form_b_is_checked_where_no_runtime_is_installed(
    tampered: Any, bundle_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(name: str) -> Any:
        raise ImportError(name)

    def asymmetric(folder: Path, manifest: dict[str, Any]) -> None:
        _change(folder, manifest, "image_zero_point", np.array(1, np.int8))

    bad = Bundle.open(tampered(asymmetric))
    monkeypatch.setattr(_opening, "import_module", nothing)
    assert verify(bad).verdict == "fail"
    assert verify(Bundle.open(bundle_dir)).verdict == "not-run"


def test_tensorrt_that_was_asked_for_is_absent(bundle_dir: Path) -> None:
    with pytest.raises(RuntimeUnavailableError) as caught:
        verify(Bundle.open(bundle_dir), ("tensorrt",))
    assert caught.value.exit_status == 3


def test_no_plan_and_no_bench_has_it(bundle_dir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    manifest = Bundle.open(bundle_dir).manifest
    planned = candidates_of(manifest, RUNTIMES, tiers=True)
    assert {item.networks["filter"].variant for item in planned} == {"fp32", "int8-cpu"}
    assert advisory_candidates(manifest, ("tensorrt",)) == []  # its own runtime decides
    assert run(["bench", str(bundle_dir), "--variant", "int8-gpu", "--runs", "1", "--quiet"]) == 2
    assert "is not meant for onnxruntime" in capfd.readouterr().err


def test_verify_shows_advice_and_faults(
    tampered: Any, bundle_dir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["verify", str(bundle_dir), "--runtime", "onnxruntime", "--quiet"]) == 0
    out = capfd.readouterr().out
    assert "advisory" in out
    assert out.endswith("\nPASS\n")

    def negative(folder: Path, manifest: dict[str, Any]) -> None:
        _change(folder, manifest, "image_scale", np.array(-1, np.float32))

    words = ["verify", str(tampered(negative)), "--runtime", "onnxruntime", "--quiet"]
    assert run(words) == 1
    assert "int8-gpu of 'filter': 'image_QuantizeLinear': a scale that" in capfd.readouterr().out
    assert run([*words, "--json"]) == 1
    document = json.loads(capfd.readouterr().out)
    assert document["verdict"] == "fail"
    assert len(document["reasons"]) == 2  # its Q and its DQ
