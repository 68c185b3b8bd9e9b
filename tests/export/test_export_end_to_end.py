"""A vendor's network through the whole of export, from a task file and an .onnx."""

from __future__ import annotations

from pathlib import Path

from medsdk.bundle import Bundle


def test_bundle_ships_every_variant_with_their_evidence(bundle_dir: Path) -> None:
    manifest = Bundle.open(bundle_dir).manifest
    variants = manifest.networks["filter"].variants
    assert {name: item.status for name, item in variants.items()} == {
        "fp32": "shipped",
        "int8-cpu": "shipped",
        "int8-gpu": "shipped",
    }
    assert variants["int8-cpu"].form == "cpu"
    tiers = {(record.runtime.split()[0], record.isa) for record in variants["int8-cpu"].parity}
    assert {("onnxruntime", "native"), ("openvino", "native")} <= tiers
    assert all(record.cases == 160 for record in variants["int8-cpu"].parity)
    assert variants["int8-cpu"].size_bytes > 0
    gpu = variants["int8-gpu"]
    assert (gpu.form, gpu.bits, gpu.precision, gpu.targets) == ("gpu", 8, "int8", ("tensorrt",))
    assert {record.verdict for record in gpu.parity} == {"advisory"}
    own, *others = gpu.parity
    assert own.runtime.startswith("onnxruntime ")
    assert own.runtime.endswith(" unoptimised")
    assert {record.isa for record in others} <= {"native"}
    assert all(record.cases == 160 and record.reasons for record in gpu.parity)
    assert "nothing ran on a GPU" in gpu.reason
