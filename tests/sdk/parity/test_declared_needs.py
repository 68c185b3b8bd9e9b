"""What the protocol says a gate needs is what its claims ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

from medsdk.parity import cascades, classification, detection, heat_maps, regression, segmentation
from medsdk.parity.evidence import Evidence, Scope
from medsdk.parity.protocol import positive_label, requirements
from medsdk.tasks import Task, read_task
from medsdk.tasks.decoding import ClassificationDecode, DetectionDecode

FAMILIES = sorted((Path(__file__).parents[1] / "tasks/families").iterdir())
SCOPE = Scope()

GATES = {
    "flips": "max_flip_rate",
    "routing-changes": "max_flip_rate",
    "emptied-masks": "max_flip_rate",
    "metric-ratio": "min_metric_ratio",
    "sensitivity-change": "max_sensitivity_loss",
    "specificity-change": "max_specificity_loss",
    "sensitivity-non-inferiority": "max_sensitivity_loss",
    "specificity-non-inferiority": "max_specificity_loss",
    "recall-change": "max_recall_loss",
    "precision-change": "max_precision_loss",
    "dice-change-mean": "min_mean_dice_change",
    "dice-change-5th-percentile": "min_5th_percentile_dice_change",
    "dice-to-reference-median": "min_median_dice_to_fp32",
    "value-change-mean": "max_mean_change",
    "value-change-95th-percentile": "max_95th_percentile_change",
    "heat-map-correlation": "min_correlation",
    "heat-map-peak-distance": "max_peak_distance_cells",
}
"""Measures that decide, and the key of their gate."""


def _evidences(task: Task) -> dict[str, list[Evidence]]:
    """For each table of gates what it says of no case at all, for each network that it judges."""
    gates = task.gates
    found: dict[str, list[Evidence]] = {}
    for role, network in task.networks.items():
        decode, kind = network.decode, network.decode.kind
        found.setdefault(kind.replace("-", "_"), [])
        if isinstance(decode, ClassificationDecode):
            assert gates.classification is not None
            positive = positive_label(task, role)
            found[kind] += [
                classification.change_evidence(
                    gates.classification, decode.labels, positive, (), SCOPE
                ),
                cascades.change_evidence(
                    gates.classification, decode.labels, positive, [role], [], (), SCOPE
                ),
            ]
        elif isinstance(decode, DetectionDecode):
            assert gates.detection is not None
            found[kind].append(
                detection.change_evidence(gates.detection, 0.5, decode.labels, (), SCOPE)
            )
        elif kind == "segmentation":
            assert gates.segmentation is not None
            found[kind].append(segmentation.change_evidence(gates.segmentation, (), SCOPE))
        elif kind == "regression":
            assert gates.regression is not None
            found[kind].append(regression.change_evidence(gates.regression, "%", (), SCOPE))
        elif kind == "heat-map":
            assert gates.heat_map is not None
            found["heat_map"].append(heat_maps.change_evidence(gates.heat_map, (), SCOPE))
    return found


Need = tuple[str, str, int | None, float]
"""Gate, label, how many units it takes, and its limit without the sign."""


@pytest.mark.parametrize("path", FAMILIES, ids=lambda path: path.stem)
def test_a_claim_asks_for_what_was_declared(path: Path) -> None:
    task = read_task(path)
    found = _evidences(task)
    declared = {
        _need(item.gate, item.label, item.needed, item.limit)
        for item in requirements(task)
        if item.gate.partition(".")[0] in found
    }
    asked = {
        _need(f"{table}.{GATES[claim.measure]}", claim.scope.label, claim.needed, claim.limit)
        for table, evidences in found.items()
        for evidence in evidences
        for claim in evidence.claims
        if claim.verdict != "advisory" and claim.measure in GATES
    }
    assert asked == declared


def _need(gate: str, label: str, needed: int | None, limit: float | None) -> Need:
    assert limit is not None
    # A metric of all labels: the protocol names the label whose mean it takes.
    return (gate, "" if gate.endswith("min_metric_ratio") else label, needed, abs(limit))
