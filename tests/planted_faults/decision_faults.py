"""Faults behind the network: labels and thresholds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.planted_faults.checking import verified
from tests.planted_faults.plant import Plant
from tests.planted_faults.workshop import ROLE


def permuted_labels(_: Path, manifest: dict[str, Any]) -> None:
    manifest["task"]["networks"][ROLE]["decode"]["labels"].reverse()


def higher_threshold(_: Path, manifest: dict[str, Any]) -> None:
    manifest["task"]["thresholds"]["tumour-probability"]["value"] += 0.01


def lower_threshold(_: Path, manifest: dict[str, Any]) -> None:
    manifest["task"]["thresholds"]["tumour-probability"]["value"] -= 0.01


def exchanged_labels(_: Path, manifest: dict[str, Any]) -> None:
    rule = manifest["task"]["decision"]["rule"]
    rule["label"], rule["otherwise"] = rule["otherwise"], rule["label"]


PLANTS = (
    Plant(
        "labels permuted",
        "task: `decode.labels` reversed",
        "decode",
        r"labels are in another order: .*'tumour' has what 'none' should have",
        verified("colour", permuted_labels),
    ),
    Plant(
        "a threshold moved by 0.01",
        "task: 0.51, every known answer keeps its label",
        "decide",
        r"'tumour' began at 0\.5; the threshold 'tumour-probability' is now 0\.51",
        verified("colour", higher_threshold),
    ),
    Plant(
        "a threshold moved by 0.01",
        "task: 0.49, every known answer keeps its label",
        "decide",
        r"'none' ended after 0\.499999 .*; the threshold 'tumour-probability' is now 0\.49",
        verified("colour", lower_threshold),
    ),
    Plant(
        "the rule's labels exchanged",
        "task: `label` and `otherwise`, every known answer keeps its label",
        "decide",
        r"`label` and `otherwise` are exchanged: at export 'tumour' was the label",
        verified("colour", exchanged_labels),
    ),
)
