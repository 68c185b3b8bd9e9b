"""The data of `medsdk demo --device-only` come from their script.

On one kind of processor with one set of versions the bytes are the same again. Elsewhere floats
move the last digits, so the quick tests compare what must not move: weights, geometry, grey levels
within one (as the phantoms say of themselves), outputs within the gate of the task.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import numpy as np
import pydicom
import pytest

from medsdk.bundle import Bundle
from medsdk.demonstration.device import BUNDLE, CLIP, FACTS
from medsdk.tasks import catalogue_task
from medsdk_export.reference_weights import reference_weights
from medsdk_export.sources import read_source

SCRIPT = Path(__file__).parents[2] / "export/demonstration/make_data.py"
TASK = "liver-us/malignancy"


@pytest.fixture(scope="module")
def make_data() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_data", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_network_is_that_of_the_reference_weights() -> None:
    bundle = Bundle.open(BUNDLE)
    assert bundle.manifest.task == catalogue_task(TASK)
    source = read_source(reference_weights(TASK), bundle.manifest.task.networks["classifier"])
    assert bundle.read("networks/classifier/fp32.onnx") == source.model.SerializeToString()
    variants = bundle.manifest.networks["classifier"].variants
    assert {name: item.status for name, item in variants.items()} == {
        "fp32": "shipped",
        "int8-cpu": "shipped",
        # Two of 240 decisions flipped; nothing on a CPU needs it.
        "int8-gpu": "rejected",
    }
    assert {record.cases for record in variants["int8-cpu"].parity} == {240}
    assert {answer.label for answer in bundle.manifest.known_answers} == {"benign", "malignant"}


def test_the_clip_comes_from_its_seed(make_data: ModuleType, tmp_path: Path) -> None:
    make_data.make_clip(tmp_path / "clip.dcm", tmp_path / "clip.json")
    assert (tmp_path / "clip.json").read_bytes() == FACTS.read_bytes()
    ours, again = pydicom.dcmread(CLIP), pydicom.dcmread(tmp_path / "clip.dcm")
    before = ours.pixel_array.astype(int)
    assert np.abs(before - again.pixel_array.astype(int)).max() <= 1
    del ours.PixelData, again.PixelData
    assert ours == again
    # The phantom moves: most neighbours differ, and not by noise alone, which changes 1 level.
    moved = [np.abs(a - b).mean() > 5 for a, b in pairwise(before)]
    assert sum(moved) >= 9


def test_no_still_shares_a_patient_with_the_clip(make_data: ModuleType) -> None:
    seeds = (make_data.CALIBRATION[1], make_data.CASES[1], make_data.CLIP_SEED)
    trained = (1101, 2202, 3303)
    demo = (4004, 5005)
    assert len({*seeds, *trained, *demo}) == 8


@pytest.mark.slow
def test_the_script_makes_the_same_bundle_again(tmp_path: Path) -> None:
    clean = {name: text for name, text in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
    subprocess.run([sys.executable, str(SCRIPT), "--out", str(tmp_path)], env=clean, check=True)
    if (tmp_path / BUNDLE.name).read_bytes() == BUNDLE.read_bytes():
        return
    ours, again = Bundle.open(BUNDLE), Bundle.open(tmp_path / BUNDLE.name)
    machine = ("versions", "worst_difference", "tolerance", "parity", "reason", "quantization")
    assert _without(ours, machine) == _without(again, machine)
    for first, second in zip(
        ours.manifest.known_answers, again.manifest.known_answers, strict=True
    ):
        assert (first.label, first.roi, first.truth) == (second.label, second.roi, second.truth)
        frames = [b.array(a.frame).astype(int) for b, a in ((ours, first), (again, second))]
        assert np.abs(frames[0] - frames[1]).max() <= 1
        for label, probability in first.probabilities.items():
            assert second.probabilities[label] == pytest.approx(probability, abs=0.01)


def _without(bundle: Bundle, keys: tuple[str, ...]) -> object:
    """The manifest without digests and what was measured on one machine."""

    def strip(node: object) -> object:
        if isinstance(node, dict):
            gone = {*keys, "files", "probabilities", "sha256"}
            return {key: strip(value) for key, value in node.items() if key not in gone}
        return node

    return strip(json.loads(bundle.manifest.model_dump_json()))
