"""torch and its ONNX exporter by themselves."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx

Map = Callable[[torch.Tensor], torch.Tensor]

RNG_SEED = 20


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns and logs; what it does is what counts."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _exported(module: nn.Module, example: torch.Tensor, path: Path, **options: Any) -> None:
    with _quiet():
        torch.onnx.export(module, (example,), path, dynamo=True, verbose=False, **options)


def _small_network() -> nn.Module:
    torch.manual_seed(RNG_SEED)
    layers = (nn.Conv2d(3, 64, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(*layers, nn.Linear(64, 2)).eval()


@pytest.mark.hazard("torch-external-data")
def test_a_small_model_becomes_two_files(reproduces, tmp_path):
    path = tmp_path / "model.onnx"
    _exported(_small_network(), torch.zeros(1, 3, 16, 16), path)
    data = tmp_path / "model.onnx.data"
    size = data.stat().st_size if data.exists() else 0
    reproduces(data.exists(), f"{size} bytes of weights in a file of their own")


@pytest.mark.hazard("onnxruntime-preprocess-external-data")
def test_preparing_such_a_file_fails(reproduces, tmp_path):
    path, prepared = tmp_path / "model.onnx", str(tmp_path / "prepared.onnx")
    _exported(_small_network(), torch.zeros(1, 3, 16, 16), path)
    if not (tmp_path / "model.onnx.data").exists():
        pytest.skip("torch no longer writes the second file")
    try:
        with _quiet():
            quant_pre_process(str(path), prepared, skip_symbolic_shape=True)
    except Exception as error:  # noqa: BLE001 - whatever it raises
        reproduces(True, f"{type(error).__name__}")
    else:
        reproduces(False, "it is prepared")
    one = tmp_path / "one.onnx"
    _exported(_small_network(), torch.zeros(1, 3, 16, 16), one, external_data=False)
    with _quiet():
        quant_pre_process(str(one), prepared, skip_symbolic_shape=True)  # one file works


@pytest.mark.hazard("torch-quiet-opset")
def test_a_lower_opset_quietly_becomes_another(reproduces, tmp_path):
    asked, path = 11, tmp_path / "model.onnx"
    options = {"external_data": False, "opset_version": asked}
    _exported(_small_network(), torch.zeros(1, 3, 16, 16), path, **options)
    got = next(item.version for item in onnx.load(path).opset_import if not item.domain)
    reproduces(got != asked, f"asked for opset {asked}, got {got}")


class _Head(nn.Module):
    """Flatten, Dense, ReLU, Dense, behind a pooling that changes nothing, or without it."""

    def __init__(self, pool: nn.Module) -> None:
        super().__init__()
        self.pool = pool
        self.first, self.last = nn.Linear(4 * 7 * 7, 16), nn.Linear(16, 3)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.last(torch.relu(self.first(self.pool(features).flatten(1))))
        return scores


def _gradient_map(head: nn.Module) -> Map:
    """Grad-CAM of the highest score, with the head's gradient by torch.func."""

    def best(features: torch.Tensor) -> torch.Tensor:
        score: torch.Tensor = head(features).amax(1).sum()
        return score

    def heat(features: torch.Tensor) -> torch.Tensor:
        weights = torch.func.grad(best)(features).mean((2, 3), keepdim=True)
        return torch.relu((weights * features).sum(1))

    return heat


def _by_autograd(head: nn.Module, features: torch.Tensor) -> torch.Tensor:
    wanted = features.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(head(wanted).amax(1).sum(), wanted)
    weights = gradient.mean((2, 3), keepdim=True)
    return torch.relu((weights * features).sum(1))


class _Traced(nn.Module):
    def __init__(self, traced: Any) -> None:
        super().__init__()
        self.traced = traced  # a name like `graph` confuses the exporter

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        heat: torch.Tensor = self.traced(features)
        return heat


def _traced_head(pool: nn.Module) -> tuple[_Head, _Traced, torch.Tensor]:
    torch.manual_seed(RNG_SEED)
    head = _Head(pool).eval()
    features = torch.randn(1, 4, 7, 7)
    traced = make_fx(_gradient_map(head), tracing_mode="real")(features)
    return head, _Traced(traced), torch.randn(1, 4, 7, 7)


@pytest.mark.hazard("torch-adaptive-pool-backward")
def test_an_identity_pooling_cannot_be_exported_backwards(reproduces, tmp_path):
    _, module, features = _traced_head(nn.AdaptiveAvgPool2d(7))
    try:
        _exported(module, features, tmp_path / "model.onnx", external_data=False)
    except Exception as error:  # noqa: BLE001 - whatever the exporter raises
        reproduces("adaptive_avg_pool2d_backward" in str(error), type(error).__name__)
    else:
        reproduces(False, "it is exported")


@pytest.mark.hazard("torch-static-heat-map")
def test_without_it_the_map_is_autograds_for_one_batch_size(reproduces, tmp_path):
    head, module, features = _traced_head(nn.Identity())
    path = tmp_path / "model.onnx"
    _exported(module, features, path, external_data=False)
    graph = onnx.load(path)
    assert {item.domain for item in graph.graph.node} <= {""}
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    (heat,) = session.run(None, {session.get_inputs()[0].name: features.numpy()})
    expected = _by_autograd(head, features).detach().numpy()
    far = float(np.abs(heat - expected).max())
    assert expected.max() > 1e-3
    assert far < 1e-5, f"{far:.2g} from autograd"
    try:
        module(torch.randn(2, 4, 7, 7))
    except RuntimeError:
        reproduces(True, f"another batch is refused; {far:.1g} from autograd")
    else:
        reproduces(False, "another batch runs")
