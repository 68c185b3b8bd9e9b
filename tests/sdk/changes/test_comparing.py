"""Every kind of change is planted in a copy of a bundle, or in a header, and reported exactly."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from medsdk.bundle.reading import Bundle
from medsdk.changes.comparing import bundle_side, changes_between, header_side
from medsdk.evaluation.answers import AnswersHeader
from medsdk.reports.report import Change
from tests.sdk.changes.documents import header

Edit = Callable[[Path, dict[str, Any]], None]


def _graph(variant: str, edit: Callable[[onnx.ModelProto], object]) -> Edit:
    def change(folder: Path, manifest: dict[str, Any]) -> None:
        path = folder / f"networks/filter/{variant}.onnx"
        model = onnx.load(path)
        edit(model)
        path.write_bytes(model.SerializeToString())

    return change


def _halved(model: onnx.ModelProto) -> None:
    tensor = next(item for item in model.graph.initializer if item.data_type == 1)
    halved = (numpy_helper.to_array(tensor) / 2).astype(np.float32)
    tensor.CopyFrom(numpy_helper.from_array(halved, tensor.name))


def _relu_gone(model: onnx.ModelProto) -> None:
    next(node for node in model.graph.node if node.op_type == "Relu").op_type = "Identity"


def _in(*path: str | int, value: object) -> Edit:
    def change(_: Path, manifest: dict[str, Any]) -> None:
        place: Any = manifest
        for key in path[:-1]:
            place = place[key]
        assert place[path[-1]] != value
        place[path[-1]] = value

    return change


TASK_GATE = ("task", "gates", "classification")
PIXELS = ("task", "networks", "filter", "pixels")
VARIANT = ("networks", "filter", "variants", "int8-cpu")

PLANTED: dict[str, tuple[Edit, list[tuple[str, str]]]] = {
    "weights": (_graph("fp32", _halved), [("weights", "filter fp32")]),
    "a layer's scale": (_graph("int8-cpu", _halved), [("weights", "filter int8-cpu")]),
    "graph": (_graph("fp32", _relu_gone), [("graph", "filter fp32")]),
    "a note in a graph": (
        _graph("fp32", lambda model: setattr(model, "doc_string", "made on a Monday")),
        [("graph", "filter fp32 (names and notes alone)")],
    ),
    "kernel": (
        _in(*PIXELS, "resize", "kernel", value="pil.bicubic.hv"),
        [("preprocessing", "filter.resize.kernel")],
    ),
    "mean off by 1/255": (
        _in(*PIXELS, "normalisation", "mean", value=[0.485 + 1 / 255, 0.456, 0.406]),
        [("preprocessing", "filter.normalisation.mean")],
    ),
    "channel order": (
        _in(*PIXELS, "channels", "order", value="bgr"),
        [("preprocessing", "filter.channels.order")],
    ),
    "modality": (
        _in("task", "input", "modalities", value=["MR", "CT"]),
        [("preprocessing", "input.modalities")],
    ),
    "threshold": (
        _in("task", "thresholds", "tumour-probability", "value", value=0.51),
        [("thresholds", "tumour-probability")],
    ),
    "rule": (
        _in("task", "decision", "rule", "indeterminate_within", value=0.05),
        [("decision", "rule.indeterminate_within")],
    ),
    "activation": (
        _in("task", "networks", "filter", "decode", "activation", value="none"),
        [("decision", "filter.decode.activation")],
    ),
    "order of labels": (
        _in("task", "networks", "filter", "decode", "labels", value=["tumour", "none"]),
        [("labels", "filter")],
    ),
    "gate": (
        _in(*TASK_GATE, "max_flip_rate", value=0.05),
        [("gates", "classification.max_flip_rate")],
    ),
    "version": (_in("version", value="9.9.9"), [("version", "")]),
    "tolerance": (
        _in(*VARIANT, "tolerance", "logits", value=0.25),
        [("variant", "filter int8-cpu tolerance.logits")],
    ),
    "targets": (
        _in(*VARIANT, "targets", value=["onnxruntime"]),
        [("variant", "filter int8-cpu targets")],
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_change_is_reported_and_nothing_else(name, bundle_dir, tampered):
    edit, expected = PLANTED[name]
    before, after = Bundle.open(bundle_dir), Bundle.open(tampered(edit))
    changes = changes_between(bundle_side(before), bundle_side(after))
    assert [(item.what, item.where) for item in changes] == expected
    assert changes[0].before != changes[0].after


def test_a_variant_that_is_no_longer_there(bundle_dir, tampered):
    def withdrawn(folder: Path, manifest: dict[str, Any]) -> None:
        variant = manifest["networks"]["filter"]["variants"]["int8-gpu"]
        (folder / variant.pop("file")).unlink()
        variant["status"], variant["reason"] = "rejected", "it was withdrawn"

    before, after = Bundle.open(bundle_dir), Bundle.open(tampered(withdrawn))
    changes = changes_between(bundle_side(before), bundle_side(after))
    assert [(item.what, item.where, item.before, item.after) for item in changes] == [
        ("variant", "filter int8-gpu status", "shipped", "rejected")
    ]
    assert changes_between(bundle_side(before, ["fp32"]), bundle_side(after, ["fp32"])) == ()


def test_a_bundle_does_not_differ_from_itself_or_its_one_file(bundle_dir, packed):
    side = bundle_side(Bundle.open(bundle_dir))
    assert changes_between(side, bundle_side(Bundle.open(packed))) == ()


def test_the_tensor_that_changed_is_named(bundle_dir, tampered):
    after = Bundle.open(tampered(_graph("fp32", _halved)))
    (change,) = changes_between(bundle_side(Bundle.open(bundle_dir)), bundle_side(after))
    tensors = len(onnx.load(bundle_dir / "networks/filter/fp32.onnx").graph.initializer)
    assert f"(1 of {tensors} tensors: " in change.after


HEADERS: dict[str, tuple[dict[str, Any], list[tuple[str, str]]]] = {
    "weights": (
        {"networks_sha256": {"filter": "1" * 64}, "weights_sha256": {"filter": "1" * 64}},
        [("weights", "filter fp32")],
    ),
    "graph": (
        {"networks_sha256": {"filter": "1" * 64}, "topology_sha256": {"filter": "1" * 64}},
        [("graph", "filter fp32")],
    ),
    "a network of which no more is said": (
        {
            "networks_sha256": {"filter": "1" * 64},
            "weights_sha256": {},
            "topology_sha256": {},
        },
        [("weights", "filter fp32"), ("graph", "filter fp32")],
    ),
    "preprocessing": ({"preprocessing": {"filter": "1" * 64}}, [("preprocessing", "filter")]),
    "thresholds": ({"thresholds": {"tumour": 0.51}}, [("thresholds", "tumour")]),
    "decision": (
        {"decision": '{"reductions":[],"rule":{"kind":"argmax","role":"filter"},"unit":"slice"}'},
        [("decision", f"rule.{key}") for key in ("kind", "label", "otherwise", "threshold")],
    ),
    "labels": ({"labels": ("tumour", "none")}, [("labels", "")]),
    "positive label": ({"positive": "none"}, [("labels", "positive")]),
    "version": (
        {"bundle": {"name": "vendor-blob", "version": "2.0.0", "sha256": "1" * 64}},
        [("version", "")],
    ),
    "variant": (
        {
            "networks": {"filter": {"variant": "int8-cpu", "precision": "int8"}},
            "networks_sha256": {"filter": "1" * 64},
            "weights_sha256": {"filter": "1" * 64},
            "topology_sha256": {"filter": "1" * 64},
        },
        [("variant", "filter"), ("precision", "filter")],
    ),
    "runtime": ({"runtime": "openvino"}, [("runtime", "")]),
    "runtime's version": ({"runtime_version": "1.40.0"}, [("runtime-version", "")]),
    "device": ({"device": "GPU"}, [("device", "")]),
    "threads": ({"settings": {"threads": 4, "isa": "native"}}, [("settings", "threads")]),
    "limit on the instruction set": (
        {"settings": {"threads": 2, "isa": "avx2"}},
        [("settings", "isa")],
    ),
    "processor": (
        {
            "machine": {"cpu_model": "another", "libraries": {"numpy": "2.4.0"}},
            "machine_sha256": "1" * 64,
        },
        [("machine", "cpu_model")],
    ),
    "library": (
        {
            "machine": {"cpu_model": "one", "libraries": {"numpy": "2.5.0"}},
            "machine_sha256": "1" * 64,
        },
        [("machine", "libraries.numpy")],
    ),
    "release": ({"medsdk": "9.9.9"}, [("medsdk", "")]),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_that_differs_is_reported_and_nothing_else(name):
    update, expected = HEADERS[name]
    before = header()
    document = before.model_dump(mode="json") | {
        key: list(value) if isinstance(value, tuple) else value for key, value in update.items()
    }
    after = AnswersHeader.model_validate_json(json.dumps(document))
    changes = changes_between(header_side(before), header_side(after))
    assert [(item.what, item.where) for item in changes] == expected
    assert changes_between(header_side(before), header_side(before)) == ()


def test_a_changed_gate_in_a_header():
    before = header()
    gate = before.gates.classification
    assert gate is not None
    gates = before.gates.model_copy(
        update={"classification": gate.model_copy(update={"max_flip_rate": 0.05})}
    )
    after = before.model_copy(update={"gates": gates})
    (change,) = changes_between(header_side(before), header_side(after))
    assert change == Change(
        what="gates", where="classification.max_flip_rate", before="0.02", after="0.05"
    )
