"""What a bundle claims, held against ONNX Runtime, numpy and the source itself; planted faults."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from medsdk.bundle import Bundle
from medsdk.errors import OutputNotWritableError
from medsdk.pixels.contract import Prepared, Preprocessor
from medsdk.tasks import Task
from medsdk_export import attempts, build, from_onnx, graphs, known_answers
from medsdk_export.build import export_bundle
from medsdk_export.errors import InputsRefusedError, ReferenceMismatchError
from medsdk_export.inputs import explicit_little_endian
from medsdk_export.quantize import quantize_form_a, quantize_form_b

Floats = NDArray[np.float32]


def _logits(graph: bytes, tensor: Any) -> Floats:
    """ONNX Runtime alone, every optimisation off, one thread."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    result: Floats = session.run(["logits"], {"image": tensor})[0]
    return result


# What a good bundle claims


def test_known_answers_are_what_the_source_file_gives(bundle_dir: Path, vendor: Any) -> None:
    bundle = Bundle.open(bundle_dir)
    source = vendor.model.read_bytes()
    quantized = {
        name: bundle.read(bundle.manifest.networks["filter"].variants[name].file or "")
        for name in ("int8-cpu", "int8-gpu")
    }
    for answer in bundle.manifest.known_answers:
        tensor = bundle.array(answer.tensors["filter"])
        reference = bundle.array(answer.outputs["filter"]["logits"])
        np.testing.assert_array_equal(reference, _logits(source, tensor))
        for name, graph in quantized.items():
            own = bundle.array(answer.variant_outputs["filter"][name]["logits"])
            np.testing.assert_array_equal(own, _logits(graph, tensor))
        powers = np.exp(reference[0].astype(np.float64))
        want = dict(zip(("none", "tumour"), powers / powers.sum(), strict=True))
        assert answer.probabilities == pytest.approx(want, abs=1e-12)
        assert answer.label == ("tumour" if want["tumour"] >= 0.5 else "none")


def test_known_answers_keep_a_margin_and_are_spread_over_the_labels(bundle_dir: Path) -> None:
    bundle = Bundle.open(bundle_dir)
    variants = bundle.manifest.networks["filter"].variants
    for answer in bundle.manifest.known_answers:
        stored = {
            "fp32": bundle.array(answer.outputs["filter"]["logits"]),
            **{
                name: bundle.array(answer.variant_outputs["filter"][name]["logits"])
                for name in ("int8-cpu", "int8-gpu")
            },
        }
        for name, logits in stored.items():
            difference = float(logits[0, 1]) - float(logits[0, 0])
            assert abs(difference) > 2 * variants[name].tolerance["logits"], (answer.id, name)
            assert (difference > 0) == (answer.label == "tumour")
    labels = Counter(answer.label for answer in bundle.manifest.known_answers)
    assert labels == {"none": 3, "tumour": 3}


def test_images_within_twice_the_tolerance_are_no_known_answers(
    few: Any, make_task: Callable[..., Task], tmp_path: Path, only_onnxruntime: None
) -> None:
    """With a tolerance of 1.3 about half of the cases are borderline."""
    tolerance = 1.3
    task = make_task(
        ("[gates.fp32]\natol = 1e-4", f"[gates.fp32]\natol = {tolerance}"),
        ('float = { "filter.logits" = 1e-3 }', 'float = { "filter.logits" = 9.0 }'),
    )
    export_bundle(few.request(tmp_path / "all", known_answers=8))
    export_bundle(few.request(tmp_path / "clear", task=task, known_answers=8))

    def differences(out: Path) -> list[float]:
        bundle = Bundle.open(out)
        found = (bundle.array(a.outputs["filter"]["logits"]) for a in bundle.manifest.known_answers)
        return sorted(float(logits[0, 1]) - float(logits[0, 0]) for logits in found)

    every = differences(tmp_path / "all")
    assert len(every) == 8
    clear = [value for value in every if abs(value) > 2 * tolerance]
    assert 0 < len(clear) < 8
    assert differences(tmp_path / "clear") == clear


def test_tolerances_follow_from_the_worst_difference(bundle_dir: Path) -> None:
    manifest = Bundle.open(bundle_dir).manifest
    for variant in manifest.networks["filter"].variants.values():
        cap = {"float": 1e-3, "cpu": 1.0, "gpu": 1.0}[variant.form]
        worst = variant.worst_difference["logits"]
        seen = min(max(1.5 * worst, 1e-4), cap)
        # No target of the GPU's form ran here, so its device is held to the cap.
        assert variant.tolerance["logits"] == (cap if variant.form == "gpu" else seen)


@pytest.mark.parametrize(
    ("sizes", "count", "shares"),
    [
        ([80, 80], 16, [8, 8]),
        ([80, 80], 5, [3, 2]),
        ([3, 80], 16, [3, 13]),  # a rare label leaves its room to the other
        ([80, 80, 80], 16, [6, 5, 5]),
        ([1, 1], 16, [1, 1]),
        ([80, 80, 80], 2, [1, 1, 0]),
    ],
)
def test_shares_are_as_equal_as_the_labels_allow(
    sizes: list[int], count: int, shares: list[int]
) -> None:
    assert known_answers._shares(sizes, count) == shares


# Without enough evidence


def test_few_cases_leave_int8_unjudged_and_out_of_the_bundle(
    few: Any, tmp_path: Path, only_onnxruntime: None
) -> None:
    result = export_bundle(few.request(tmp_path / "out"))
    variants = result.manifest.networks["filter"].variants
    assert {name: item.status for name, item in variants.items()} == {
        "fp32": "shipped",
        "int8-cpu": "unjudged",
        "int8-gpu": "unjudged",
    }
    for name in ("int8-cpu", "int8-gpu"):
        assert "149 cases" in variants[name].reason
        assert variants[name].file is None
        assert variants[name].targets == ()
    graphs_there = [path.name for path in (tmp_path / "out").rglob("*.onnx")]
    assert graphs_there == ["fp32.onnx"]
    assert not list((tmp_path / "out").rglob("*int8*"))
    attempted = json.loads((tmp_path / "out" / "evidence" / "attempts.json").read_bytes())
    statuses = [item["status"] for item in attempted["attempts"]]
    assert statuses == ["shipped", "unjudged", "unjudged", "unjudged"]


@pytest.mark.parametrize("purpose", ["reference", "benchmark"])
def test_only_a_benchmark_ships_int8_from_phantoms(
    purpose: str,
    few: Any,
    make_task: Callable[..., Task],
    tmp_path: Path,
    only_onnxruntime: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(build, "PHANTOM_POOL", 6)
    task = make_task(
        ('id = "vendor/blob"', 'id = "uterus-mr/tumor-filter"'),
        ('purpose = "reference"', f'purpose = "{purpose}"'),
    )
    result = export_bundle(few.request(tmp_path / "out", task=task, cases=None))
    variants = result.manifest.networks["filter"].variants
    for variant in (variants["int8-cpu"], variants["int8-gpu"]):
        assert variant.status == ("shipped" if purpose == "benchmark" else "unjudged")
        assert variant.parity == ()
    assert {item.origin for item in result.manifest.known_answers} == {"phantom"}
    assert {item.truth for item in result.manifest.known_answers} == {None}
    if purpose == "reference":
        assert all("--cases" in variants[name].reason for name in ("int8-cpu", "int8-gpu"))


# Planted faults


def _spoil(model: onnx.ModelProto, name: str) -> None:
    """Set an initializer to zero."""
    tensor = next(item for item in model.graph.initializer if item.name == name)
    zeros = np.zeros_like(numpy_helper.to_array(tensor))
    tensor.CopyFrom(numpy_helper.from_array(zeros, name))


@pytest.mark.parametrize("fault", ["zero-weights", "huge-scale"])
def test_an_int8_graph_that_decides_otherwise_is_rejected(
    fault: str,
    vendor: Any,
    few: Any,
    tmp_path: Path,
    only_onnxruntime: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    good = quantize_form_a

    def bad(*arguments: Any, **options: Any) -> onnx.ModelProto:
        model = good(*arguments, **options)
        if fault == "zero-weights":
            _spoil(model, "hw_quantized")
            return model
        scale = next(item for item in model.graph.initializer if item.name == "image_scale")
        value = numpy_helper.to_array(scale) * 300
        scale.CopyFrom(numpy_helper.from_array(value.astype(np.float32), scale.name))
        return model

    monkeypatch.setattr(attempts, "quantize_form_a", bad)
    out = tmp_path / "out"
    result = export_bundle(few.request(out, cases=vendor.cases))
    variant = result.manifest.networks["filter"].variants["int8-cpu"]
    assert variant.status == "rejected"
    assert "decisions flipped" in variant.reason
    assert (variant.file, variant.targets, variant.tolerance) == (None, (), {})
    # Form B comes from the same record, not from the graph of form A.
    assert {path.name for path in out.rglob("*.onnx")} == {"fp32.onnx", "int8-gpu.onnx"}
    assert {
        tuple(answer.variant_outputs["filter"]) for answer in result.manifest.known_answers
    } == {("int8-gpu",)}
    (record, *_) = variant.parity
    assert record.cases == 160
    assert record.flips > 20
    assert result.verification.verdict == "pass"  # of what did ship


def test_a_graph_that_tensorrt_would_not_take_is_rejected_and_not_written(
    vendor: Any,
    few: Any,
    tmp_path: Path,
    only_onnxruntime: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    good = quantize_form_b

    def bad(*arguments: Any) -> onnx.ModelProto:
        model = good(*arguments)
        zero = next(item for item in model.graph.initializer if item.name == "image_zero_point")
        zero.CopyFrom(numpy_helper.from_array(np.array(0, np.uint8), zero.name))
        return model

    monkeypatch.setattr(attempts, "quantize_form_b", bad)
    result = export_bundle(few.request(tmp_path / "out", cases=vendor.cases))
    variant = result.manifest.networks["filter"].variants["int8-gpu"]
    assert (variant.status, variant.targets, variant.parity) == ("rejected", (), ())
    assert "'image_QuantizeLinear': a zero point in uint8" in variant.reason
    assert not list((tmp_path / "out").rglob("*int8-gpu*"))
    assert result.manifest.networks["filter"].variants["int8-cpu"].status == "shipped"


def _spoil_when_prepared(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[onnx.ModelProto], None]
) -> None:
    """An exporter whose graph is not what its source computes."""

    def prepare(model: onnx.ModelProto) -> None:
        graphs.prepare(model)
        change(model)

    monkeypatch.setattr(from_onnx, "prepare", prepare)


def test_a_graph_that_does_not_compute_what_its_source_does_is_no_bundle(
    few: Any, tmp_path: Path, only_onnxruntime: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    _spoil_when_prepared(monkeypatch, lambda model: _spoil(model, "b"))
    with pytest.raises(ReferenceMismatchError, match=r"differs by .* at batch 1") as caught:
        export_bundle(few.request(tmp_path / "out"))
    assert caught.value.exit_status == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("cases", [1, 2, 8])
def test_a_graph_that_is_wrong_on_another_batch_size_is_no_bundle(
    cases: int,
    few: Any,
    tmp_path: Path,
    only_onnxruntime: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Hazard 9: an exporter bug that one image cannot show, however few cases there are."""

    def depends_on_the_batch(model: onnx.ModelProto) -> None:
        # logits += 0.01 * (batch size - 1)
        model.graph.node[-1].output[0] = "before"
        one = numpy_helper.from_array(np.array([1.0], np.float32), "one")
        hundredth = numpy_helper.from_array(np.array([0.01], np.float32), "hundredth")
        model.graph.initializer.extend([one, hundredth])
        model.graph.node.extend(
            [
                helper.make_node("Shape", ["before"], ["shape"], "n1", start=0, end=1),
                helper.make_node("Cast", ["shape"], ["batch"], "n2", to=1),
                helper.make_node("Sub", ["batch", "one"], ["more"], "n3"),
                helper.make_node("Mul", ["more", "hundredth"], ["shift"], "n4"),
                helper.make_node("Add", ["before", "shift"], ["logits"], "n5"),
            ]
        )

    _spoil_when_prepared(monkeypatch, depends_on_the_batch)
    rows = few.table.read_text(encoding="utf-8").splitlines()[: cases + 1]
    few.table.write_text("\n".join(rows) + "\n", encoding="utf-8")
    with pytest.raises(ReferenceMismatchError, match="at batch 3"):
        export_bundle(few.request(tmp_path / "out"))


def test_a_graph_that_no_runtime_reproduces_is_no_bundle(
    few: Any, tmp_path: Path, only_onnxruntime: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = attempts.make_attempts

    def bad(model: onnx.ModelProto, record: Any) -> Any:
        made = good(model, record)
        spoilt = onnx.load_model_from_string(made[0].onnx)
        _spoil(spoilt, "b")
        changed = type(made[0])(**{**vars(made[0]), "onnx": spoilt.SerializeToString()})
        return [changed, *made[1:]]

    monkeypatch.setattr(build, "make_attempts", bad)
    with pytest.raises(ReferenceMismatchError, match=r"no runtime reproduces .* in FP32"):
        export_bundle(few.request(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("where", ["everywhere", "one-pixel"])
def test_preprocessing_that_is_off_by_one_grey_level_is_no_bundle(
    where: str, few: Any, tmp_path: Path, only_onnxruntime: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = Preprocessor.prepare
    grey_level = np.float32(1 / 255 / 0.225)

    def off(self: Preprocessor, *arguments: Any, **options: Any) -> Prepared:
        prepared = good(self, *arguments, **options)
        tensor = prepared.tensor.copy()
        if where == "everywhere":
            tensor += grey_level
        else:
            tensor[0, 2, 5, 7] += grey_level
        return Prepared(**{**vars(prepared), "tensor": tensor})

    monkeypatch.setattr(Preprocessor, "prepare", off)
    with pytest.raises(ReferenceMismatchError, match=r"^preprocessing case 1 .*0\.0174") as caught:
        export_bundle(few.request(tmp_path / "out"))
    assert caught.value.exit_status == 1
    assert not (tmp_path / "out").exists()


def test_a_bundle_that_does_not_verify_is_not_published(
    few: Any, tmp_path: Path, only_onnxruntime: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = explicit_little_endian

    def swapped(dataset: Any) -> bytes:
        dataset.PixelData = dataset.PixelData[::-1]
        return good(dataset)

    monkeypatch.setattr(known_answers, "explicit_little_endian", swapped)
    with pytest.raises(ReferenceMismatchError, match="does not reproduce its own known answers"):
        export_bundle(few.request(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_cases_that_the_network_does_not_decide_clearly_give_no_known_answers(
    few: Any,
    make_task: Callable[..., Task],
    tmp_path: Path,
    only_onnxruntime: None,
) -> None:
    task = make_task(
        (
            'otherwise = "none", threshold = "tumour-probability" }',
            'otherwise = "none", threshold = "tumour-probability", indeterminate_within = 0.4999 }',
        )
    )
    with pytest.raises(InputsRefusedError, match=r"no known answer.*8 images"):
        export_bundle(few.request(tmp_path / "out", task=task))


def test_a_temporary_directory_that_is_full_is_said_so(
    few: Any, tmp_path: Path, only_onnxruntime: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(**options: Any) -> Any:
        raise OSError(28, "No space left on device", "/somewhere/secret")

    monkeypatch.setattr("tempfile.TemporaryDirectory", full)
    with pytest.raises(OutputNotWritableError, match="No space left") as caught:
        export_bundle(few.request(tmp_path / "out"))
    assert caught.value.exit_status == 3
    assert "secret" not in str(caught.value)
    shutil.rmtree(tmp_path / "inputs")
    assert list(tmp_path.iterdir()) == []
