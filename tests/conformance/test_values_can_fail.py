"""Wrong values that only some graphs show are found by the cases that are there for them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from medsdk_conformance import CASES, examine
from medsdk_conformance.graphs import FOREIGN_OPSETS
from medsdk_runtimes import Runtime, available
from tests.conformance import planted_values

pytestmark = pytest.mark.skipif(not available(), reason="no runtime to plant a fault in")

FOREIGN = {
    case.id for case in CASES if case.id.rpartition("-opset-")[2] in map(str, FOREIGN_OPSETS)
}

FAULTS: dict[str, tuple[Callable[[Runtime], Runtime], set[str]]] = {
    "refuses-ir-10": (planted_values.Dated, {"conv", "gemm", "softmax", "quantized-conv"}),
    "refuses-other-opsets": (planted_values.OnlyOwn, FOREIGN),
}
"""Runtimes with a fault, and the cases that find it."""


def _failed(runtime: Runtime, ids: set[str]) -> set[str]:
    return {item.id for item in examine(runtime, ids) if item.verdict == "fail"}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(fault: str) -> None:
    plant, expected = FAULTS[fault]
    assert expected
    assert _failed(plant(available()[0]), expected) == expected
