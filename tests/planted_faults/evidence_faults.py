"""Faults in what holds the others: tolerances, evidence and probes taken out or edited."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.planted_faults.checking import verified
from tests.planted_faults.decision_faults import higher_threshold
from tests.planted_faults.plant import Plant
from tests.planted_faults.workshop import ROLE, Change


def loose_tolerances(_: Path, manifest: dict[str, Any]) -> None:
    for variant in manifest["networks"][ROLE]["variants"].values():
        variant["tolerance"] = dict.fromkeys(variant["tolerance"], 1.0)


def no_protocol(folder: Path, _: dict[str, Any]) -> None:
    (folder / "evidence/protocol.json").unlink()


def no_probes(folder: Path, manifest: dict[str, Any]) -> None:
    del manifest["decision_probes"]
    higher_threshold(folder, manifest)


def _in_parity(change: Callable[[dict[str, Any]], None]) -> Change:
    def plant(folder: Path, _: dict[str, Any]) -> None:
        path = folder / "evidence/parity.json"
        document = json.loads(path.read_bytes())
        change(document)
        path.write_text(json.dumps(document), encoding="utf-8")

    return plant


def other_flips(parity: dict[str, Any]) -> None:
    for attempt in parity["attempts"]:
        for executor in attempt["executors"]:
            for claim in executor["evidence"]["claims"]:
                if claim["measure"] == "flips":
                    claim["events"] += 1


PLANTS = (
    Plant(
        "tolerances loosened",
        "manifest: every tolerance of every variant is 1.0",
        "manifest",
        r"fp32 of 'filter': the tolerance of output '\w+' is 1, the task allows 0\.001",
        verified("colour", loose_tolerances),
    ),
    Plant(
        "evidence taken out",
        "`evidence/protocol.json` is not in the bundle any more",
        "manifest",
        r"evidence/protocol\.json is missing: it was judged by a protocol",
        verified("colour", no_protocol),
    ),
    Plant(
        "evidence taken out",
        "manifest: no decision probes, and the threshold is 0.51",
        "manifest",
        r"decision_probes is missing: it was judged by a protocol",
        verified("colour", no_probes),
    ),
    Plant(
        "evidence edited",
        "`evidence/parity.json`: another protocol (`verify` alone)",
        "bundle",
        r"was judged by another protocol than evidence/protocol\.json",
        verified(
            "colour",
            _in_parity(lambda parity: parity.update(protocol_sha256="0" * 64)),
            load=False,
        ),
    ),
    Plant(
        "evidence edited",
        "`evidence/parity.json`: other flips (`verify` alone)",
        "bundle",
        r"int8-cpu: evidence/parity\.json and the manifest do not tell the same",
        verified("colour", _in_parity(other_flips), load=False),
    ),
)
