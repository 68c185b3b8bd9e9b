"""Every runtime that is installed here, against every case and check of the contract."""

# ruff: noqa: D103 - the name of a test says what it shows

from __future__ import annotations

import pytest

from medsdk_conformance import ITEMS, capabilities_of, examine_item
from medsdk_conformance.cases import Case
from medsdk_conformance.checks import Check
from medsdk_runtimes import RUNTIMES, Runtime, available

INSTALLED = available()


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item.id)
@pytest.mark.parametrize("runtime", INSTALLED, ids=lambda runtime: runtime.name)
def test_the_runtime_keeps_the_contract(runtime: Runtime, item: Case | Check) -> None:
    result = examine_item(runtime, item)
    if result.verdict == "not-run":
        pytest.skip(result.detail)
    assert result.verdict == "pass", result.detail


@pytest.mark.parametrize("runtime", RUNTIMES, ids=lambda runtime: runtime.name)
def test_every_own_runtime_can_be_asked_for_float32(runtime: Runtime) -> None:
    assert "fp32" in capabilities_of(runtime)


def test_the_items_have_names_of_their_own() -> None:
    assert len({item.id for item in ITEMS}) == len(ITEMS)
