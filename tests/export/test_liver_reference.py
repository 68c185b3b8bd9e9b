"""The committed liver networks: their figures, their size, and what they were trained on."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from training import liver_us

from medsdk.pixels import Box, Preprocessor, open_dicom
from medsdk.tasks import catalogue_task
from medsdk_export.architectures import build
from medsdk_export.phantoms import to_dicom
from medsdk_export.phantoms.liver_us import KINDS, MALIGNANT, Phantom, frame_at
from medsdk_export.reference_weights import reference_weights

_TASKS = ("liver-us/classify", "liver-us/malignancy")


@pytest.fixture(params=_TASKS)
def task_id(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def record(task_id: str) -> Any:
    return json.loads(reference_weights(task_id).with_suffix(".json").read_text(encoding="utf-8"))


def test_the_record_says_what_it_is(task_id: str, record: Any) -> None:
    task = catalogue_task(task_id)
    network = task.networks["classifier"]
    assert record["task"] == task_id
    assert record["notice"] == "Trained on synthetic phantoms only; not for clinical use."
    assert record["architecture"]["name"] == network.architecture.name
    assert tuple(record["labels"]) == network.decode.labels  # type: ignore[union-attr]
    seeds = {record["training"][name]["seed"] for name in ("train", "validation", "held_out")}
    assert len(seeds) == 3


def test_the_figures_follow_from_the_confusion(record: Any) -> None:
    for name in ("held_out", "validation"):
        figures = record[name]
        table = np.array(
            [list(row.values()) for row in figures["confusion_rows_are_truth"].values()]
        )
        assert table.sum() == figures["frames"] == record["training"][name]["count"]
        assert figures["accuracy"] == pytest.approx(np.trace(table) / table.sum())
        sensitivities = np.diag(table) / table.sum(axis=1)
        assert list(figures["sensitivity_by_label"].values()) == pytest.approx(sensitivities)
        for groups in ("correct_by_stratum", "correct_by_appearance"):
            assert sum(row["frames"] for row in figures[groups].values()) == table.sum()


def test_the_weights_are_small_and_fit(task_id: str, record: Any) -> None:
    path = reference_weights(task_id)
    assert path.stat().st_size <= 1_300_000
    parameters = {key: record["architecture"][key] for key in ("width", "classes")}
    build("vgg10", parameters).load_state_dict(load_file(path))


def test_training_saw_what_production_makes() -> None:
    """The tensor of the task's own contract, from the DICOM bytes, on odd and even squares."""
    preprocessor = Preprocessor(catalogue_task("liver-us/classify").networks["classifier"].pixels)
    for index in range(0, 12, 3):
        phantom = frame_at(index, 31)
        stream = io.BytesIO()
        to_dicom(phantom).save_as(stream, enforce_file_format=True)
        frame = open_dicom(stream.getvalue()).frame(1)
        tensor = preprocessor.prepare(frame, roi=Box(*phantom.roi)).tensor
        trained = liver_us.normalise(torch.from_numpy(liver_us.to_bytes(phantom))[None])
        np.testing.assert_allclose(tensor, trained.numpy(), atol=1e-6)


@pytest.fixture(scope="module")
def sample() -> list[Phantom]:
    """One frame each of 60 patients that no split has."""
    return [frame_at(index, 77) for index in range(0, 180, 3)]


def test_a_sample_reaches_the_recorded_accuracy(
    task_id: str, record: Any, sample: list[Phantom]
) -> None:
    """Within 3.3 standard deviations of the figure for the held-out seed."""
    network = liver_us.reference_network(task_id)
    network.load_state_dict(load_file(reference_weights(task_id)))
    data = liver_us.Examples(
        torch.from_numpy(np.stack([liver_us.to_bytes(phantom) for phantom in sample])),
        torch.tensor([KINDS.index(phantom.kind) for phantom in sample]),
        tuple(phantom.stratum for phantom in sample),
        tuple(phantom.appearance for phantom in sample),
    )
    called = liver_us.probabilities(network, data).argmax(axis=1)
    labels = record["labels"]
    truths = [
        p.kind if task_id == _TASKS[0] else ("malignant" if p.kind in MALIGNANT else "benign")
        for p in sample
    ]
    got = np.mean([labels[index] == truth for index, truth in zip(called, truths, strict=True)])
    expected = record["held_out"]["accuracy"]
    assert expected >= 0.78
    assert got >= expected - 3.3 * np.sqrt(expected * (1 - expected) / len(sample))


@pytest.mark.slow
def test_the_recorded_figures_are_reached_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert liver_us.main(["--check"]) == 0
    assert "DIFFERS" not in capsys.readouterr().out
