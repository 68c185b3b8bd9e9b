"""`verify` passes what is right, and every planted fault fails at the stage that has it."""

from __future__ import annotations

import importlib
import io
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pydicom
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

import medsdk
import medsdk_runtimes
from medsdk.bundle import Bundle
from medsdk.errors import (
    GraphRefusedError,
    InferenceFailedError,
    KnownAnswerFailedError,
    MedsdkError,
    RuntimeUnavailableError,
    VariantUnavailableError,
)
from medsdk.parity.verification import CandidateVerdict, Verification, verify
from medsdk.results.describing import describe_verification
from medsdk_runtimes import _opening, onnxruntime_rt
from medsdk_runtimes.operating_system import cpu_flags

RUNTIMES = tuple(runtime.name for runtime in medsdk_runtimes.available())
FP32 = "networks/filter/fp32.onnx"


def _candidates(verification: Verification) -> dict[tuple[str, str, str], str]:
    """Runtime, variant and instruction set to verdict, of those that decide."""
    return {
        (item.candidate.runtime, item.candidate.networks["filter"].variant, item.candidate.isa): (
            item.verdict
        )
        for item in _decisive(verification)
    }


def _decisive(verification: Verification) -> list[CandidateVerdict]:
    """Without what a CPU gives as advice: tests/sdk/test_advice.py."""
    return [item for item in verification.candidates if item.verdict != "advisory"]


def test_a_good_bundle_passes_on_every_runtime(bundle_dir):
    calls = []
    bundle = Bundle.open(bundle_dir)
    found = verify(bundle, progress=lambda *call: calls.append(call))
    assert found.verdict == "pass"
    targeted = {"onnxruntime", "openvino", "tensorrt"}
    assert found.absent == tuple(sorted(targeted - set(RUNTIMES)))
    native = {(name, variant, "native") for name in RUNTIMES for variant in ("fp32", "int8-cpu")}
    assert native <= set(_candidates(found))
    tolerance = {
        name: variant.tolerance["logits"]
        for name, variant in bundle.manifest.networks["filter"].variants.items()
    }
    for item in _decisive(found):
        variant = item.candidate.networks["filter"].variant
        assert (item.verdict, item.reasons, item.cases, item.flips) == ("pass", (), 6, 0)
        assert item.max_abs_error is not None
        assert item.max_abs_error <= tolerance[variant]
        assert item.effective is not None
        assert item.effective.precision == ("fp32" if variant == "fp32" else "int8")
        seen = [call[1:] for call in calls if call[0] == str(item.candidate)]
        assert seen == [(done, 6) for done in range(7)]
    described = describe_verification(bundle, found)
    assert [item.verdict for item in described.candidates] == [
        item.verdict for item in found.candidates
    ]


def test_openvino_passes_limited_to_avx2(bundle_dir):
    if "openvino" not in RUNTIMES:
        pytest.skip("openvino is not installed")
    if "avx512f" not in cpu_flags():
        pytest.skip("this processor has no AVX-512, so avx2 is what it runs anyway")
    found = verify(Bundle.open(bundle_dir), ("openvino",))
    assert _candidates(found) == {
        ("openvino", variant, isa): "pass"
        for variant in ("fp32", "int8-cpu")
        for isa in ("native", "avx2")
    }
    for item in _decisive(found):
        assert item.effective is not None
        assert ("avx512" in item.effective.isa) == (item.candidate.isa == "native")


def test_the_largest_error_is_that_of_the_arithmetic(bundle_dir, inputs, without_medsdk):
    (fp32, _) = _decisive(verify(Bundle.open(bundle_dir), ("onnxruntime",)))
    import onnxruntime as ort

    session = ort.InferenceSession(bundle_dir / FP32, providers=["CPUExecutionProvider"])
    largest = 0.0
    stored = sorted(bundle_dir.glob("known_answers/*/filter.reference.logits.npy"))
    for data, file in zip(inputs, stored, strict=True):
        tensor = without_medsdk.prepare(pydicom.dcmread(io.BytesIO(data)).pixel_array)
        got = session.run(None, {"image": tensor})[0].astype(np.float64)
        largest = max(largest, float(np.abs(got - np.load(file)).max()))
    assert fp32.max_abs_error == pytest.approx(largest, abs=2e-6)


# -- faults: what changes, the stage that must say so, and what it must say ---------------------


def _zeroed_channel(folder: Path, manifest: dict[str, Any]) -> None:
    """The convolution's channel that moves the logits most loses its weights."""
    model = onnx.load(folder / FP32)
    dense = next(t for t in model.graph.initializer if t.name == "hw")
    channel = int(np.abs(numpy_helper.to_array(dense)).max(0).argmax())
    tensor = next(t for t in model.graph.initializer if len(t.dims) == 4)
    weights = numpy_helper.to_array(tensor).copy()
    weights[channel] = 0
    tensor.CopyFrom(numpy_helper.from_array(weights, tensor.name))
    onnx.save(model, folder / FP32)
    _resize_of(folder, manifest)


def _renamed_output(folder: Path, manifest: dict[str, Any]) -> None:
    model = onnx.load(folder / FP32)
    for node in model.graph.node:
        for index, name in enumerate(node.output):
            if name == "logits":
                node.output[index] = "scores"
    model.graph.output[0].name = "scores"
    onnx.save(model, folder / FP32)
    _resize_of(folder, manifest)


def _renamed_input(folder: Path, manifest: dict[str, Any]) -> None:
    model = onnx.load(folder / FP32)
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            if name == "image":
                node.input[index] = "picture"
    model.graph.input[0].name = "picture"
    onnx.save(model, folder / FP32)
    _resize_of(folder, manifest)


def _resize_of(folder: Path, manifest: dict[str, Any]) -> None:
    variant = manifest["networks"]["filter"]["variants"]["fp32"]
    variant["size_bytes"] = (folder / FP32).stat().st_size


def _pixels(manifest: dict[str, Any]) -> Any:
    return manifest["task"]["networks"]["filter"]["pixels"]


def _permuted_labels(folder: Path, manifest: dict[str, Any]) -> None:
    manifest["task"]["networks"]["filter"]["decode"]["labels"].reverse()


def _other_activation(folder: Path, manifest: dict[str, Any]) -> None:
    manifest["task"]["networks"]["filter"]["decode"]["activation"] = "sigmoid"


def _moved_threshold(folder: Path, manifest: dict[str, Any]) -> None:
    """Between the weakest and the strongest tumour, so that one answer flips at least."""
    tumours = [
        answer["probabilities"]["tumour"]
        for answer in manifest["known_answers"]
        if answer["label"] == "tumour"
    ]
    assert min(tumours) < max(tumours)
    middle = (min(tumours) + max(tumours)) / 2
    manifest["task"]["thresholds"]["tumour-probability"]["value"] = middle


def _other_mean(folder: Path, manifest: dict[str, Any]) -> None:
    _pixels(manifest)["normalisation"]["mean"][0] += 1 / 255


def _other_fit(folder: Path, manifest: dict[str, Any]) -> None:
    _pixels(manifest)["fit"] = "cover"


def _one_grey_level(folder: Path, manifest: dict[str, Any]) -> None:
    file = folder / manifest["known_answers"][2]["frame"]
    frame = np.load(file)
    frame[20, 30] += 1
    np.save(file, frame)


def _inverted_flag(folder: Path, manifest: dict[str, Any]) -> None:
    file = folder / manifest["known_answers"][1]["input"]
    dataset = pydicom.dcmread(file)
    dataset.PhotometricInterpretation = "MONOCHROME1"
    dataset.save_as(file)


def _nan_reference(folder: Path, manifest: dict[str, Any]) -> None:
    file = folder / manifest["known_answers"][0]["outputs"]["filter"]["logits"]
    logits = np.load(file)
    logits[0, 1] = np.nan
    np.save(file, logits)


def _missing_tolerance(folder: Path, manifest: dict[str, Any]) -> None:
    manifest["networks"]["filter"]["variants"]["fp32"]["tolerance"] = {}
    # Without a tolerance only equal bits pass, and rounding makes them differ.
    file = folder / manifest["known_answers"][0]["outputs"]["filter"]["logits"]
    np.save(file, np.nextafter(np.load(file), np.float32(99)))


FAULTS = {
    "zeroed channel": (_zeroed_channel, "network", r"output 'logits' differs by .*, allowed"),
    "renamed output": (_renamed_output, "network", r"'logits' is missing.*'scores' is extra"),
    "renamed input": (_renamed_input, "network", r"names of the inputs.*got: image.*picture"),
    "permuted labels": (_permuted_labels, "decode", "labels are in another order"),
    "other activation": (_other_activation, "decode", "differ.*what activation 'softmax' gives"),
    "moved threshold": (_moved_threshold, "decide", "'none' in place of 'tumour'"),
    "other mean": (
        _other_mean,
        "preprocess",
        r"1024 of 3072 values .* at most 0\.0171; a constant offset of -0\.0171.* in channel 0: .*"
        r"made with mean 0\.485, the task says 0\.488922",
    ),
    "other fit": (_other_fit, "preprocess", r"values differ.*what fit = 'stretch' gives"),
    "grey level": (_one_grey_level, "pixels", "decoded frame differs"),
    "MONOCHROME1": (_inverted_flag, "preprocess", r"values differ.*grey levels are inverted"),
    "NaN reference": (_nan_reference, "network", r"'logits' holds NaN.*stored output is not"),
    "no tolerance": (_missing_tolerance, "network", r"allowed 0\b"),
}
CHAIN_STAYS_GOOD = {"grey level", "other activation"}
"""The chain starts from the scanner's bytes, so it does not see the stored frame; and it ends in
the decision, which another activation may leave as it is."""


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_fails_at_its_stage(tampered, name):
    change, stage, message = FAULTS[name]
    bundle = Bundle.open(tampered(change))
    found = verify(bundle, ("onnxruntime",))
    assert found.verdict == "fail"
    fp32 = found.candidates[0]
    assert fp32.candidate.networks["filter"].variant == "fp32"
    assert fp32.verdict == "fail"
    at = [reason.split(": ", 1)[1] for reason in fp32.reasons]
    alone = [reason for reason in at if not reason.startswith("chain: ")]
    assert alone
    if name != "NaN reference":  # which is wrong for decode as well
        assert {reason.split(":")[0] for reason in alone} == {stage}
    text = "; ".join(reason for reason in alone if reason.startswith(f"{stage}: "))
    assert re.search(message, text), text
    assert bool(set(at) - set(alone)) == (name not in CHAIN_STAYS_GOOD)
    # A document of it can be printed, whatever the fault was.
    described = describe_verification(bundle, found).model_dump_json()
    assert "Infinity" not in described


@pytest.mark.parametrize("name", FAULTS)
def test_a_load_refuses_where_the_chain_fails(tampered, inputs, name):
    bundle = tampered(FAULTS[name][0])
    if name == "grey level":  # of a file that serving does not use
        medsdk.load(bundle).close()
        return
    with pytest.raises(KnownAnswerFailedError) as caught:
        medsdk.load(bundle)
    error = caught.value
    assert error.exit_status == 1
    if name == "moved threshold":  # told by the probes, before any answer is run
        assert error.got.startswith("decide: ")
        assert "threshold 'tumour-probability' is now" in error.got
        return
    assert re.search(r"known answer 'ka-00\d'", error.what)
    assert re.match(f"{FAULTS[name][1]}: ", error.got)  # the stage, though a load runs the chain
    assert ("chain: " in error.got) == (name != "other activation")
    assert "verify" in error.remedy


def test_one_wrong_known_answer_is_named(tampered):
    found = verify(Bundle.open(tampered(_one_grey_level)), ("onnxruntime",))
    for item in _decisive(found):
        assert [reason.split(":")[0] for reason in item.reasons] == ["ka-003"]
        assert item.flips == 0


def test_flips_are_counted(tampered):
    bundle = Bundle.open(tampered(_moved_threshold))
    threshold = bundle.manifest.task.thresholds["tumour-probability"].value
    flipped = [
        answer
        for answer in bundle.manifest.known_answers
        if answer.label == "tumour" and answer.probabilities["tumour"] < threshold
    ]
    (fp32, _) = _decisive(verify(bundle, ("onnxruntime",)))
    assert 0 < fp32.flips == len(flipped) < fp32.cases
    assert fp32.max_abs_error is not None
    assert fp32.max_abs_error <= 1e-4


def test_a_fault_of_fp32_does_not_touch_int8(tampered):
    found = verify(Bundle.open(tampered(_zeroed_channel)), RUNTIMES)
    for (runtime, variant, isa), verdict in _candidates(found).items():
        assert verdict == ("fail" if variant == "fp32" else "pass"), (runtime, isa)


def test_an_error_that_has_no_size_is_null_not_infinity(tampered):
    bundle = Bundle.open(tampered(_nan_reference))
    found = describe_verification(bundle, verify(bundle, ("onnxruntime",)))
    (fp32, int8, *_) = found.candidates
    assert fp32.max_abs_error is None
    assert int8.max_abs_error is not None


def _tall_images() -> list[NDArray[np.uint16]]:
    """On 160 x 40 the two orders of passes differ."""
    images = []
    for seed in range(2):
        rng = np.random.default_rng(seed)
        image = rng.normal(400, 40, (160, 40))
        if seed:
            image[60:100, 8:30] += 500
        images.append(image.clip(0, 4095).astype(np.uint16))
    return images


def test_another_resize_kernel_is_caught(tampered, without_medsdk):
    images = _tall_images()
    hv, auto13 = (
        without_medsdk.prepare(images[0], f"pil.bilinear.{order}") for order in ("hv", "auto13")
    )
    differing = int(np.count_nonzero(hv != auto13))
    assert differing

    def other_images(folder, manifest):
        without_medsdk.rebuild(folder, manifest, images)

    def other_kernel(folder, manifest):
        without_medsdk.rebuild(folder, manifest, images)
        _pixels(manifest)["resize"]["kernel"] = "pil.bilinear.auto13"

    good = verify(Bundle.open(tampered(other_images)), ("onnxruntime",))
    assert good.verdict == "pass", good
    bad = verify(Bundle.open(tampered(other_kernel)), ("onnxruntime",))
    assert bad.verdict == "fail"
    first = bad.candidates[0].reasons[0]
    assert first.startswith(f"other-1: preprocess: {differing} of 3072 values differ"), first


# -- runtimes that fail -------------------------------------------------------------------------


def test_a_runtime_that_cannot_open_the_graph_fails_with_its_words(bundle_dir, monkeypatch):
    def refuse(*_):
        raise GraphRefusedError("it has no such operator", got="Conv of opset 17")

    monkeypatch.setattr(onnxruntime_rt.OnnxRuntime, "open", refuse)
    bundle = Bundle.open(bundle_dir)
    found = verify(bundle, ("onnxruntime",))
    assert found.verdict == "fail"
    for item in _decisive(found):
        assert item.effective is None
        assert (item.cases, item.max_abs_error) == (0, None)
        (reason,) = item.reasons
        assert reason == "open: graph-refused: it has no such operator; got: Conv of opset 17"
    assert describe_verification(bundle, found).candidates[0].device == "CPU"


@pytest.mark.parametrize(
    ("raised", "shown"),
    [
        (InferenceFailedError("out of memory", got="12 MB"), "out of memory; got: 12 MB"),
        (RuntimeError("at /home/jane/secret.cpp:3"), "RuntimeError"),
    ],
)
def test_a_runtime_that_raises_while_it_runs_fails(bundle_dir, monkeypatch, raised, shown):
    def fail(*_):
        raise raised

    monkeypatch.setattr(onnxruntime_rt._OrtSession, "_run", fail)
    found = verify(Bundle.open(bundle_dir), ("onnxruntime",))
    assert found.verdict == "fail"
    for item in _decisive(found):
        stages = {tuple(reason.split(": ")[1:3]) for reason in item.reasons}
        assert stages == {("network", "inference-failed"), ("chain", "inference-failed")}
        assert all(shown in reason for reason in item.reasons)
        assert "jane" not in " ".join(item.reasons)
        assert item.flips == item.cases == 6
    with pytest.raises(KnownAnswerFailedError, match=re.escape(shown)):
        medsdk.load(bundle_dir)


def test_a_foreign_runtime_that_raises_anything_on_open(bundle_dir, monkeypatch):
    def crash(*_):
        raise KeyError("at /home/jane/secret.cpp:3")

    monkeypatch.setattr(onnxruntime_rt.OnnxRuntime, "open", crash)
    found = verify(Bundle.open(bundle_dir), ("onnxruntime",))
    assert {item.verdict for item in found.candidates} == {"fail", "advisory"}
    assert "KeyError" in found.candidates[0].reasons[0]
    with pytest.raises(MedsdkError) as caught:
        medsdk.load(bundle_dir)
    assert "jane" not in str(caught.value)


def test_a_runtime_that_was_asked_for_and_is_not_here(bundle_dir, monkeypatch):
    bundle = Bundle.open(bundle_dir)
    with pytest.raises(RuntimeUnavailableError) as caught:
        verify(bundle, ("onnxruntime", "tensorrt"))
    assert caught.value.exit_status == 3

    def without_openvino(name: str) -> ModuleType:
        if name == "openvino":
            raise ImportError(name)
        return importlib.import_module(name)

    monkeypatch.setattr(_opening, "import_module", without_openvino)
    with pytest.raises(RuntimeUnavailableError, match="one of onnxruntime"):
        verify(bundle, ("openvino",))
    # Not asked for: what is here is verified, what is not is named.
    found = verify(bundle)
    assert (found.verdict, found.absent) == ("pass", ("openvino", "tensorrt"))
    assert {item.candidate.runtime for item in found.candidates} == {"onnxruntime"}


def test_no_runtime_at_all_is_not_run(bundle_dir, monkeypatch):
    def nothing(name):
        raise ImportError(name)

    monkeypatch.setattr(_opening, "import_module", nothing)
    found = verify(Bundle.open(bundle_dir))
    assert (found.verdict, found.candidates) == ("not-run", ())
    assert found.absent == ("onnxruntime", "openvino", "tensorrt")


def test_a_runtime_that_no_variant_is_meant_for_is_not_passed_over(tampered):
    if "openvino" not in RUNTIMES:
        pytest.skip("openvino is not installed")

    def only_onnxruntime(folder, manifest):
        for variant in ("fp32", "int8-cpu"):
            manifest["networks"]["filter"]["variants"][variant]["targets"] = ["onnxruntime"]

    bundle = Bundle.open(tampered(only_onnxruntime))
    assert verify(bundle).verdict == "pass"
    for asked in (("openvino",), ("onnxruntime", "openvino")):
        with pytest.raises(VariantUnavailableError, match="openvino"):
            verify(bundle, asked)
