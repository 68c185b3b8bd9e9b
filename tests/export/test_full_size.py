"""Full-size bundles carry no claim: they load under `explore` alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import medsdk
from medsdk.bundle import Bundle
from medsdk.errors import VariantUnavailableError
from medsdk.pixels import Box
from medsdk_export import phantoms

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "full_size.py"
TASK = "liver-us/malignancy"


@pytest.mark.slow
def test_a_full_size_bundle_answers_under_explore_alone(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", str(SCRIPT), str(tmp_path), "--task", TASK]
    subprocess.run(command, check=True, capture_output=True)
    bundle = tmp_path / TASK / "bundle"
    manifest = Bundle.open(bundle).manifest
    assert manifest.purpose == "benchmark"
    assert "not for clinical use" in manifest.notice
    assert manifest.networks["classifier"].parameters == {"classes": 2, "width": 1.0}
    variants = manifest.networks["classifier"].variants
    assert {name: variant.status for name, variant in variants.items()} == {
        "fp32": "shipped",
        "int8-cpu": "shipped",
        "int8-gpu": "shipped",
    }
    with pytest.raises(VariantUnavailableError, match="no clinical claim"):
        medsdk.load(bundle)
    case = next(phantoms.cases(TASK, 1, 4004))
    assert case.roi is not None
    with medsdk.load(bundle, policy="explore") as engine:
        assert engine.plan.known_answers_checked == 4
        finding = engine.predict(case.to_bytes(), roi=Box(*case.roi))
        assert finding.status == "ok"
