"""Keras files, written by Keras in a process of its own, and one process that reads them all."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from medsdk.tasks import Network
from medsdk_export.architectures import build
from medsdk_export.architectures.twins import save_keras_weights, to_keras
from medsdk_export.keras_source.process import KerasProcess

HERE = Path(__file__).parent
SIDE = 32

TWINS = {
    "vgg10": ("vgg10", {"width": 0.1, "classes": 4}),
    "odd": ("mobilenet-v2", {"width": 0.35, "classes": 2}),
}


def stirred(name: str, parameters: dict[str, Any]) -> torch.nn.Module:
    """Random weights whose BatchNorms do something."""
    torch.manual_seed(5)
    network = build(name, parameters)
    for key, value in network.state_dict().items():
        if key.endswith(("running_mean", ".bias")):
            value.normal_(0.0, 0.2)
        elif key.endswith("running_var"):
            value.uniform_(0.5, 1.5)
    return network.eval()


@pytest.fixture(scope="session")
def torch_twins() -> dict[str, torch.nn.Module]:
    return {key: stirred(name, parameters) for key, (name, parameters) in TWINS.items()}


@pytest.fixture(scope="session")
def keras_files(
    vendor: Any, torch_twins: dict[str, torch.nn.Module], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder with everything that `make_models.py` writes."""
    folder = tmp_path_factory.mktemp("keras") / "mödels 1"
    folder.mkdir()
    for key, (name, parameters) in TWINS.items():
        state = {word: item.numpy() for word, item in torch_twins[key].state_dict().items()}
        save_keras_weights(folder / f"{key}.h5", to_keras(name, parameters, state))
    constants: dict[str, Any] = {
        item.name: numpy_helper.to_array(item) for item in onnx.load(vendor.model).graph.initializer
    }
    np.savez(folder / "blob.npz", **constants)
    done = subprocess.run(
        [sys.executable, str(HERE / "make_models.py"), str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.fixture(scope="session")
def shared_process() -> Iterator[list[KerasProcess]]:
    held = [KerasProcess()]
    yield held
    held[0].close()


@pytest.fixture
def process(shared_process: list[KerasProcess]) -> KerasProcess:
    """The process of all tests; a new one where a test ended it."""
    if not shared_process[0].alive:
        shared_process[0] = KerasProcess()
    return shared_process[0]


@pytest.fixture(scope="session")
def make_network(make_task: Callable[..., Any]) -> Callable[..., Network]:
    """The vendor's network with another architecture, size, or parts of its text replaced."""

    def make(
        *replacements: tuple[str, str],
        architecture: str = "keras",
        parameters: str = "{}",
        side: int = SIDE,
    ) -> Network:
        task = make_task(
            ('name = "onnx"', f'name = "{architecture}"'),
            ("parameters = {}", f"parameters = {parameters}"),
            ("height = 32, width = 32", f"height = {side}, width = {side}"),
            *replacements,
        )
        network: Network = task.networks["filter"]
        return network

    return make
