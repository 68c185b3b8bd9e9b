"""Every planted fault is caught at its stage by a message that leads to it, and nothing else is."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.planted_faults import plant as planting
from tests.planted_faults.checking import both
from tests.planted_faults.plant import Alarm, Plant, Proof, prove
from tests.planted_faults.table import PLANTS, markdown
from tests.planted_faults.workshop import Workshop

PAGE = Path(__file__).parents[2] / "docs/planted-faults.md"
FAULTS = {
    "channel order",
    "mean off by 1/255",
    "another resize kernel",
    "one weight channel zeroed",
    "labels permuted",
    "a threshold moved by 0.01",
    "a layer's scale halved",
    "an output dropped",
    "NaN in one element",
    "window off by 1 HU",
    "slices reversed",
    "one fold replaced",
    "bf16 in place of f32 (simulated)",
    "calibration cases among the test cases",
    "tolerances loosened",
    "evidence taken out",
    "evidence edited",
    "the rule's labels exchanged",
    "a window replaced by percentiles",
}


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("planted"))


_PROVED: dict[int, Proof] = {}


def _proof(plant: Plant, workshop: Workshop) -> Proof:
    """Each proof once: it takes seconds."""
    if id(plant) not in _PROVED:
        _PROVED[id(plant)] = prove(plant, workshop)
    return _PROVED[id(plant)]


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: f"{plant.fault}, {plant.where[:30]}")
def test_it_is_caught_where_it_is(plant: Plant, workshop: Workshop) -> None:
    assert _proof(plant, workshop).faults == ()


def _rows(text: str) -> list[str]:
    """Rows of a table, without what depends on the machine or on rounding."""
    return [re.sub(r"-?\d+\.\d+(e-?\d+)?", "…", row) for row in text.splitlines() if row[:1] == "|"]


def test_every_fault_of_the_list_is_planted() -> None:
    assert {plant.fault for plant in PLANTS} == FAULTS


def test_the_page_says_what_is_said(workshop: Workshop) -> None:
    """The page is one run of the command: a message that changed is seen, and a row too many."""
    found = [_proof(plant, workshop) for plant in PLANTS]
    page = PAGE.read_text(encoding="utf-8").partition("<!-- table -->")[2]
    page = page.partition("<!-- end of the table -->")[0]
    assert _rows(page) == _rows(markdown(found)), "python -m tests.planted_faults --write the page"


SOUND: tuple[Alarm, ...] = ()
CAUGHT = (Alarm("network", "value 3 is off"), Alarm("chain", "the decision differs"))


@pytest.mark.parametrize(
    ("sound", "planted", "why"),
    [
        (SOUND, CAUGHT, None),
        (CAUGHT, CAUGHT, "false alarm: network: value 3 is off"),
        (SOUND, SOUND, "not caught"),
        (SOUND, CAUGHT[1:], "not caught"),
        (SOUND, (*CAUGHT, Alarm("decode", "labels")), "caught at network, decode"),
        (SOUND, (Alarm("network", "it differs"),), "does not lead to it: it differs"),
        (SOUND, both(CAUGHT, CAUGHT), None),
        (SOUND, both(CAUGHT, ()), "caught at network, load, expected at network"),
        (SOUND, both((), CAUGHT), "caught at network, verify, expected at network"),
    ],
)
def test_a_proof_can_fail(
    sound: tuple[Alarm, ...], planted: tuple[Alarm, ...], why: str | None, workshop: Workshop
) -> None:
    plant = Plant("fault", "a | bar", "network", r"value \d", lambda _, there: sound)
    plant = replace(plant, check=lambda _, there: planted if there else sound)
    proof = planting.prove(plant, workshop)
    assert bool(proof.faults) == (why is not None)
    assert why is None or why in proof.faults[0]
    (row,) = markdown([proof]).splitlines()[2:]
    assert ("PASS" in row) == (why is None)
    assert "a \\| bar" in row
