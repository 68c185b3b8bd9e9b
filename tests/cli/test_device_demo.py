"""`medsdk demo --device-only`: what it leaves, what it says, and when it refuses."""

from __future__ import annotations

import importlib.util
import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pydicom
import pytest
from jsonschema import Draft202012Validator
from PIL import Image

import medsdk_runtimes
from medsdk.bundle import Bundle
from medsdk.cli.main import run
from medsdk.cli.verify import EXIT_OF
from medsdk.demonstration import device
from medsdk.pixels import open_dicom
from medsdk.results.documents import DeviceDemoDocument

SCHEMA = Path(__file__).parents[2] / "docs/schemas/device-demo.schema.json"


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("device-demo") / "out é"
    assert run(["demo", "--device-only", "--out", str(out), "--quiet"]) == 0
    return out


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_it_leaves_what_it_says(shown: Path) -> None:
    document = _json(shown / "demo.json")
    Draft202012Validator(_json(SCHEMA)).validate(document)
    assert document["verdict"] == "pass"
    assert "not for clinical use" in document["notice"]
    assert sorted(document["files"]) == sorted(
        path.name for path in shown.iterdir() if path.name != "demo.json"
    )
    with Image.open(shown / "finding.png") as picture:
        assert picture.width >= 480


def test_every_installed_runtime_was_verified(shown: Path) -> None:
    document = _json(shown / "demo.json")
    assert document["candidates"] == _json(shown / "verify.json")["candidates"]
    native = {
        (item["runtime"], item["networks"]["classifier"]["variant"]): item
        for item in document["candidates"]
        if item["settings"]["isa"] == "native"
    }
    runtimes = [item.name for item in medsdk_runtimes.available()]
    assert {("onnxruntime", "fp32"), ("openvino", "fp32")} <= set(native)
    assert {name for name, _ in native} == set(runtimes)
    assert {item["verdict"] for item in native.values()} == {"pass"}
    assert {item["cases"] for item in native.values()} == {4}


def test_every_frame_has_the_answer_of_the_reference(shown: Path) -> None:
    """By pydicom, Pillow and ONNX Runtime alone, as the task's page says it."""
    bundle = Bundle.open(device.BUNDLE)
    x0, y0, x1, y1 = _json(device.FACTS)["roi"]
    frames = pydicom.dcmread(device.CLIP).pixel_array
    session = onnxruntime.InferenceSession(
        bundle.read("networks/classifier/fp32.onnx"), providers=["CPUExecutionProvider"]
    )
    wanted = []
    for frame in frames:
        square = Image.fromarray(np.ascontiguousarray(frame[y0:y1, x0:x1]))
        small = np.asarray(square.resize((128, 128), Image.Resampling.BILINEAR), np.float64)
        tensor = np.repeat(((small / 255 - 0.5) / 0.5)[None, None], 3, axis=1).astype(np.float32)
        benign, malignant = session.run(None, {"image": tensor})[0][0].astype(np.float64)
        wanted.append(1 / (1 + np.exp(benign - malignant)))
    findings = _json(shown / "findings.json")["findings"]
    assert [item["frame_number"] for item in findings] == list(range(1, 13))
    assert [item["probabilities"]["malignant"] for item in findings] == pytest.approx(
        wanted, abs=1e-5
    )
    assert {item["status"] for item in findings} == {"ok"}
    assert {item["label"] for item in findings} == {_json(device.FACTS)["truth"]} == {"malignant"}
    # The lesion moves, so the answers differ.
    assert len({json.dumps(item["probabilities"]) for item in findings}) > 6


def test_the_data_are_small_and_are_nobodys() -> None:
    assert device.BUNDLE.stat().st_size < 3_000_000
    assert device.CLIP.stat().st_size < 1_500_000
    clip = pydicom.dcmread(device.CLIP)
    assert (clip.Modality, clip.NumberOfFrames, clip.PatientName) == ("US", 12, "")
    assert clip.PatientIdentityRemoved == "YES"
    assert open_dicom(device.CLIP).number_of_frames == 12


def test_json_is_one_document_and_the_folder_is_replaced(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    only_onnxruntime(monkeypatch)
    monkeypatch.setattr(device, "TIMING_NS", 1)
    out = tmp_path / "out"
    out.mkdir()
    (out / "demo.json").write_text("{}", encoding="utf-8")
    (out / "old.txt").write_text("of the last demo", encoding="utf-8")
    assert run(["demo", "--device-only", "--json", "--quiet", "--out", str(out)]) == 0
    printed, noise = capfd.readouterr()
    document = DeviceDemoDocument.model_validate_json(printed)
    assert noise == ""
    assert document.model_dump(mode="json") == _json(out / "demo.json")
    assert not (out / "old.txt").exists()
    # A slow device gets one run a frame, and so no p99.
    assert document.latency.runs == 12
    assert document.latency.p99_ms is None
    # Either runtime that is not here is named, and changes no verdict.
    assert document.absent_runtimes == ("openvino",)


def test_a_slow_device_reads_not_conclusive(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    only_onnxruntime(monkeypatch)
    monkeypatch.setattr(device, "TIMING_NS", 1)
    assert run(["demo", "--device-only", "--out", str(tmp_path / "out")]) == 0
    text = capfd.readouterr().out
    assert "n = 12" in text
    assert "not-conclusive (needs 662 runs)" in text
    assert "not for clinical use" in text


def test_it_runs_on_openvino_where_that_alone_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(medsdk_runtimes, "RUNTIMES", (medsdk_runtimes.runtime("openvino"),))
    monkeypatch.setattr(device, "TIMING_NS", 1)
    assert run(["demo", "--device-only", "--out", str(tmp_path / "out"), "--quiet"]) == 0
    document = _json(tmp_path / "out/demo.json")
    assert document["plan"]["runtime"] == "openvino"
    assert document["plan"]["source"] == "pinned"
    assert document["absent_runtimes"] == ["onnxruntime"]


def test_without_a_runtime_it_says_how_to_get_one(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(medsdk_runtimes, "RUNTIMES", ())
    assert run(["demo", "--device-only", "--out", str(tmp_path / "out"), "--quiet"]) == 3
    assert 'pip install "medsdk[onnxruntime]"' in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_changed_bundle_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = bytearray(device.BUNDLE.read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "changed.medsdk").write_bytes(data)
    monkeypatch.setattr(device, "BUNDLE", tmp_path / "changed.medsdk")
    words = ["demo", "--device-only", "--json", "--out", str(tmp_path / "out"), "--quiet"]
    assert run(words) == 1
    assert json.loads(capfd.readouterr().out)["error"]["code"] == "bundle-tampered"


def test_a_machine_that_computes_something_else_fails(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    only_onnxruntime(monkeypatch)
    rt = medsdk_runtimes.runtime("onnxruntime")
    whole = rt.open

    def wrong(*words: Any, **names: Any) -> Any:
        session: Any = whole(*words, **names)
        inner = session._run
        session._run = lambda feed: {k: v + np.float32(0.01) for k, v in inner(feed).items()}
        return session

    monkeypatch.setattr(rt, "open", wrong)
    assert run(["demo", "--device-only", "--out", str(tmp_path / "out"), "--quiet"]) == 1
    assert "known answer" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_variant_that_fails_here_is_not_called_well(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """FP32 loads and answers; INT8 computes something else."""
    only_onnxruntime(monkeypatch)
    monkeypatch.setattr(device, "TIMING_NS", 1)
    rt = medsdk_runtimes.runtime("onnxruntime")
    whole, bad = rt.open, Bundle.open(device.BUNDLE).read("networks/classifier/int8-cpu.onnx")

    def wrong(onnx: bytes, *words: Any, **names: Any) -> Any:
        session: Any = whole(onnx, *words, **names)
        if onnx == bad:
            inner = session._run
            session._run = lambda feed: {k: v + np.float32(1) for k, v in inner(feed).items()}
        return session

    monkeypatch.setattr(rt, "open", wrong)
    out = tmp_path / "out"
    assert run(["demo", "--device-only", "--out", str(out), "--quiet"]) == 1
    document = _json(out / "demo.json")
    verdicts = {
        item["networks"]["classifier"]["variant"]: item["verdict"]
        for item in document["candidates"]
    }
    assert (document["verdict"], verdicts) == ("fail", {"fp32": "pass", "int8-cpu": "fail"})
    assert document["findings"] == 12
    text = capfd.readouterr().out
    (line,) = (line for line in text.splitlines() if line.startswith("FAIL: "))
    assert "runs the network as it was exported" not in line
    assert "does not reproduce" in line
    reasons = [
        reason for item in document["candidates"] for reason in item["reasons"] if item["reasons"]
    ]
    assert reasons
    for reason in reasons[:10]:
        assert f"  onnxruntime: {reason}\n" in text
    # Every other verdict but a pass has a sentence of its own too.
    assert set(device.MEANING) == set(EXIT_OF)
    assert len(set(device.MEANING.values())) == len(EXIT_OF)


@pytest.mark.parametrize(
    "text",
    ["{", "[]", "{}", '{"roi": [1, 2], "truth": "a"}', '{"roi": [9, 9, 1, 1], "truth": "a"}'],
)
def test_damaged_facts_of_the_clip_are_said(
    text: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "clip.json").write_text(text, encoding="utf-8")
    monkeypatch.setattr(device, "FACTS", tmp_path / "clip.json")
    words = ["demo", "--device-only", "--json", "--out", str(tmp_path / "out"), "--quiet"]
    assert run(words) == 1
    assert json.loads(capfd.readouterr().out)["error"]["code"] == "demo-failed"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("out", [".", ".."])
def test_it_does_not_replace_the_directory_it_runs_in(
    out: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here/demo.json").write_text("{}", encoding="utf-8")
    (tmp_path / "demo.json").write_text("{}", encoding="utf-8")
    assert run(["demo", "--device-only", "--json", "--out", out, "--quiet"]) == 2
    assert json.loads(capfd.readouterr().out)["error"]["code"] == "demo-output"


def test_what_to_try_next_is_a_line_that_a_shell_takes(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    only_onnxruntime(monkeypatch)
    monkeypatch.setattr(device, "TIMING_NS", 1)
    monkeypatch.setattr(
        device, "BUNDLE", Path(shutil.copy(device.BUNDLE, tmp_path / "a bundle.medsdk"))
    )
    assert run(["demo", "--device-only", "--out", str(tmp_path / "out"), "--quiet"]) == 0
    last = shlex.split(capfd.readouterr().out.splitlines()[-1])
    assert last == ["medsdk", "verify", str(tmp_path / "a bundle.medsdk")]


@pytest.mark.parametrize("package", ["torch", "data_store"])
def test_the_whole_demo_names_all_that_it_needs(
    package: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == package else find(name)
    )
    assert run(["demo", "--out", str(tmp_path / "out"), "--quiet"]) == 3
    assert 'pip install "medsdk[torch,demo]"' in capfd.readouterr().err


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine", encoding="utf-8")
    shutil.copy(device.FACTS, tmp_path)
    assert run(["demo", "--device-only", "--out", str(tmp_path), "--quiet"]) == 2
    assert (tmp_path / "thesis.txt").read_text(encoding="utf-8") == "mine"


def only_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    """One runtime without instruction-set tiers."""
    monkeypatch.setattr(medsdk_runtimes, "RUNTIMES", (medsdk_runtimes.runtime("onnxruntime"),))
