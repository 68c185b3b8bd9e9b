"""The table of planted faults: one row each, and whether it was caught as it must be."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from tests.planted_faults import (
    case_faults,
    decision_faults,
    evidence_faults,
    mask_faults,
    network_faults,
    pixel_faults,
    series_faults,
)
from tests.planted_faults.plant import Plant, Proof, prove
from tests.planted_faults.workshop import Workshop

PLANTS: tuple[Plant, ...] = (
    *pixel_faults.PLANTS,
    *network_faults.PLANTS,
    *decision_faults.PLANTS,
    *evidence_faults.PLANTS,
    *series_faults.PLANTS,
    *mask_faults.PLANTS,
    *case_faults.PLANTS,
)

_HEADER = ("fault", "where it was planted", "caught at", "said", "proof")
_LONGEST = 230


def proofs(workshop: Workshop) -> Iterator[Proof]:
    """Plant every fault, one after the other."""
    return (prove(plant, workshop) for plant in PLANTS)


def markdown(found: Sequence[Proof]) -> str:
    """The table in Markdown.

    Numbers of the network stage are left out: they are the arithmetic of one machine.
    """
    lines = [f"| {' | '.join(_HEADER)} |", "|---" * len(_HEADER) + "|"]
    for proof in found:
        plant = proof.plant
        cells = (
            plant.fault,
            plant.where,
            ", ".join(proof.stages) or "-",
            _short(proof.message, plant.stage),
            "PASS" if not proof.faults else f"FAIL: {_short('; '.join(proof.faults), '')}",
        )
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _short(message: str, stage: str) -> str:
    if stage == "network":
        message = re.sub(r"-?\d+\.\d+(e-?\d+)?|(?<=: )0(?= in place)", "…", message)
    message = re.sub(r"sha256 [0-9a-f]+", "sha256 …", message)
    return message if len(message) <= _LONGEST else message[: _LONGEST - 1].rstrip() + "…"
