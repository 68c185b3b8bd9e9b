"""Wrong values that only some graphs show are found by the cases that are there for them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import onnx
import pytest
from onnx import numpy_helper

from medsdk_conformance import CASES, examine
from medsdk_conformance.graphs import FOREIGN_OPSETS
from medsdk_runtimes import Capability, Runtime, available
from tests.conformance import planted_outputs, planted_values
from tests.conformance.planted import Fault
from tests.conformance.planted_values import Without

pytestmark = pytest.mark.skipif(not available(), reason="no runtime to plant a fault in")

FOREIGN = {
    case.id for case in CASES if case.id.rpartition("-opset-")[2] in map(str, FOREIGN_OPSETS)
}


def _needing(capability: Capability) -> set[str]:
    return {case.id for case in CASES if case.capability == capability}


FAULTS: dict[str, tuple[Callable[[Runtime], Runtime], set[str]]] = {
    "refuses-ir-10": (planted_values.Dated, {"conv", "gemm", "softmax", "quantized-conv"}),
    "refuses-other-opsets": (planted_values.OnlyOwn, FOREIGN),
    "undeclared-quantized-wrong": (
        partial(Without, wrap=planted_values.Zeroed, lacking=frozenset({"int8-asymmetric"})),
        _needing("int8-asymmetric"),
    ),
    "undeclared-resize-wrong": (
        partial(Without, wrap=planted_values.Zeroed, lacking=frozenset({"resize-linear"})),
        _needing("resize-linear"),
    ),
    "undeclared-batch-wrong": (
        partial(Without, wrap=planted_outputs.FixedBatch, lacking=frozenset({"dynamic-batch"})),
        {"conv", "gemm", "softmax", "not-a-number-layers", "quantized-conv"},
    ),
    "undeclared-precision-wrong": (
        partial(Without, wrap=planted_values.SaysFloat, lacking=frozenset({"int8"})),
        _needing("int8"),
    ),
    "hides-nan-in-conv": (
        planted_values.HidesIn,
        {"not-a-number-conv", "not-a-number-pointwise", "not-a-number-depthwise"},
    ),
    "hides-nan-in-matmul": (
        partial(planted_values.HidesIn, operator=b"MatMul"),
        {"not-a-number-matmul", "not-a-number-layers"},
    ),
    "bfloat16-in-wide-layers": (
        partial(Fault, wrap=planted_values.LargeInBfloat16),
        {"sized-conv", "sized-conv-depthwise"},
    ),
    "16-bit-offsets": (
        partial(Fault, wrap=planted_values.ShortOffsets),
        {"sized-conv", "sized-conv-first", "sized-conv-depthwise", "sized-max-pool"}
        | {"sized-matmul"},
    ),
    "wrong-at-batch-8": (partial(Fault, wrap=planted_values.WrongAtBatch), {"conv-batches"}),
    "wrong-at-batch-64": (partial(Fault, wrap=planted_values.WrongAtMany), {"conv-batches"}),
    "caches-by-head": (planted_values.CachesByPart, {"weights-one-value"}),
    "caches-by-tail": (
        partial(planted_values.CachesByPart, part=(-4096, None)),
        {"weights-one-value"},
    ),
    "caches-by-every-16th-byte": (
        partial(planted_values.CachesByPart, part=(None, None, 16)),
        {"weights-one-value"},
    ),
    "saturates": (planted_values.NoDotProduct, _needing("int8-full-range")),
}
"""Runtimes with a fault, and the items that find it."""


def _failed(runtime: Runtime, ids: set[str]) -> set[str]:
    return {item.id for item in examine(runtime, ids) if item.verdict == "fail"}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(fault: str) -> None:
    plant, expected = FAULTS[fault]
    assert expected
    assert _failed(plant(available()[0]), expected) == expected


def test_what_is_refused_or_right_without_being_declared_decides_nothing() -> None:
    lacking: frozenset[Capability] = frozenset({"int8", "int8-asymmetric", "resize-linear"})
    ids = {case.id for case in CASES if case.capability in lacking}
    for kind in (Without, planted_values.Refusing):
        results = examine(kind(available()[0], lacking=lacking), ids)
        assert {result.verdict for result in results} == {"not-run"}
        word = "refuses" if kind is planted_values.Refusing else "gives the right values"
        assert all(word in result.detail for result in results)


def test_who_takes_one_batch_size_alone_passes_what_it_declares() -> None:
    lacking: frozenset[Capability] = frozenset({"dynamic-batch"})
    results = examine(
        Without(available()[0], planted_values.OneImage, lacking),
        {case.id for case in CASES},
    )
    assert [result for result in results if result.verdict == "fail"] == []


def test_who_declares_no_full_range_may_saturate_there_but_not_with_7_bits() -> None:
    """No runtime can refuse it: a graph does not tell what its sums will be."""
    full = _needing("int8-full-range")
    runtime = Without(available()[0], planted_values.Zeroed, lacking=frozenset({"int8-full-range"}))
    results = examine(runtime, full)
    assert {result.verdict for result in results} == {"not-run"}
    assert all("not compared" in result.detail for result in results)
    assert _failed(runtime, _needing("int8")) == _needing("int8")
    lies = Without(available()[0], planted_values.SaysFloat, lacking=frozenset({"int8-full-range"}))
    assert _failed(lies, full) == full


def test_full_range_is_asked_in_both_forms_and_nowhere_else() -> None:
    for case in CASES:
        if case.precision != "int8":
            continue
        weights = next(
            numpy_helper.to_array(tensor).astype(int)
            for tensor in onnx.load_from_string(case.build().onnx).graph.initializer
            if tensor.name == "w"
        )
        full = case.capability == "int8-full-range"
        assert (abs(weights).max() > 64) == full, case.id
    besides = {case.besides for case in CASES if case.capability == "int8-full-range"}
    assert besides == {"int8", "int8-asymmetric"}
