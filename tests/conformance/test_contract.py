"""Every runtime that is installed here, against every rule and case, by the command itself."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from medsdk_conformance import ITEMS, Item, capabilities_of
from medsdk_conformance.suite import needs_of
from medsdk_runtimes import CAPABILITIES, RUNTIMES, Runtime, available, require
from tests.conformance.kit_command import Kit

INSTALLED = [runtime.name for runtime in available()]


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item.id)
@pytest.mark.parametrize("runtime", INSTALLED)
def test_the_runtime_keeps_the_contract(
    runtime: str, item: Item, kit_run: Callable[[str], Kit]
) -> None:
    result = kit_run(runtime).items[item.id]
    if result["verdict"] == "not-run":
        declared = capabilities_of(require(runtime))
        asked = needs_of(item) <= declared
        # Linux tells all that a check may look at, so there only an undeclared capability excuses.
        assert not (asked and sys.platform == "linux"), result["detail"]
        pytest.skip(result["detail"])
    assert result["verdict"] == "pass", result["detail"]


@pytest.mark.parametrize("runtime", RUNTIMES, ids=lambda runtime: runtime.name)
def test_every_own_runtime_can_be_asked_for_float32(runtime: Runtime) -> None:
    assert "fp32" in capabilities_of(runtime)


def test_the_items_have_names_of_their_own() -> None:
    assert len({item.id for item in ITEMS}) == len(ITEMS)


def test_every_capability_is_asked_for() -> None:
    assert {item.capability for item in ITEMS} == {None, *CAPABILITIES}
