"""Headers and answers made by hand, of a candidate that never ran."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from medsdk.evaluation.answers import Answer, AnswersHeader
from medsdk.parity.evidence import Claim
from medsdk.reports.report import Report
from medsdk.tasks.gates import ClassificationGate, Gates


def header(**update: Any) -> AnswersHeader:
    """A header; `update` replaces fields of it."""
    gates = Gates(
        classification=ClassificationGate(metric="mean-of-sensitivity-and-specificity"),
        max_output_difference={"float": {"filter.logits": 1e-3}},
    )
    made = AnswersHeader.model_validate(
        {
            "bundle": {"name": "vendor-blob", "version": "1.0.0", "sha256": "0" * 64},
            "notice": "not for clinical use",
            "task": {"id": "vendor/blob", "version": "1.0.0"},
            "decision": '{"reductions":[],"rule":{"kind":"threshold","label":"tumour",'
            '"otherwise":"none","role":"filter","threshold":"tumour"},"unit":"slice"}',
            "labels": ("none", "tumour"),
            "positive": "tumour",
            "gates": gates,
            "thresholds": {"tumour": 0.5},
            "preprocessing": {"filter": "0" * 64},
            "networks_sha256": {"filter": "0" * 64},
            "topology_sha256": {"filter": "0" * 64},
            "weights_sha256": {"filter": "0" * 64},
            "runtime": "onnxruntime",
            "runtime_version": "1.31.1",
            "device": "CPU",
            "networks": {"filter": {"variant": "fp32", "precision": "fp32"}},
            "settings": {"threads": 2, "isa": "native"},
            "machine": {"cpu_model": "one", "libraries": {"numpy": "2.4.0", "openvino": "1"}},
            "machine_sha256": "0" * 64,
            "cases_sha256": "0" * 64,
            "cases": 1,
            "medsdk": "0.1.0",
        }
    )
    return made.model_copy(update=update)


def answers(probabilities: Iterable[float], threshold: float = 0.5) -> tuple[Answer, ...]:
    """One answer a probability of a tumour; even cases show one. Two cases make a patient."""
    return tuple(
        Answer(
            case=f"{number:016x}",
            number=number,
            truth="tumour" if number % 2 == 0 else "none",
            patient=f"{number // 2:016x}",
            status="ok",
            label="tumour" if value >= threshold else "none",
            probabilities={"none": 1 - value, "tumour": value},
        )
        for number, value in enumerate(probabilities, 1)
    )


def claim_of(report: Report, measure: str, candidate: str = "") -> Claim:
    """The one claim about a measure."""
    (found,) = [
        item
        for item in report.evidence.claims
        if item.measure == measure and candidate in item.scope.candidate
    ]
    return found
