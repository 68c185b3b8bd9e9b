"""State dictionaries in, graphs out: held against torch itself and ONNX Runtime alone."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import safetensors.torch
import torch
from numpy.typing import NDArray

from medsdk.tasks import Task, catalogue_task
from medsdk_export import from_torch
from medsdk_export.architectures import build
from medsdk_export.errors import GraphMismatchError, WeightsMismatchError
from medsdk_export.sources import SourceNetwork, read_source

WIDTH = 0.35
SIDE = 64
State = dict[str, torch.Tensor]


def _save(state: object) -> bytes:
    stream = io.BytesIO()
    torch.save(state, stream)
    return stream.getvalue()


_FIXED = ("parameters = { classes = 2 }", f"parameters = {{ classes = 2, width = {WIDTH} }}")
"""A task that fixes the width, which saves looking for it."""


def _network(make_task: Callable[..., Task], *replacements: tuple[str, str]) -> Any:
    """The catalogue's network at a size that exports quickly."""
    task = make_task(
        ('name = "onnx"', 'name = "mobilenet-v2"'),
        ("parameters = {}", "parameters = { classes = 2 }"),
        ("height = 32, width = 32", f"height = {SIDE}, width = {SIDE}"),
        *replacements,
    )
    return task.networks["filter"]


@pytest.fixture(scope="session")
def module() -> torch.nn.Module:
    """Random weights whose BatchNorms do something."""
    torch.manual_seed(5)
    network = build("mobilenet-v2", {"width": WIDTH, "classes": 2})
    for name, value in network.state_dict().items():
        if name.endswith(("running_mean", ".bias")):
            value.normal_(0.0, 0.2)
        elif name.endswith("running_var"):
            value.uniform_(0.5, 1.5)
    return network.eval()


@dataclass(frozen=True)
class Exported:
    """A source that was really exported, and the graph as it would be written."""

    source: SourceNetwork
    onnx: bytes


@pytest.fixture(scope="session")
def exported(
    module: torch.nn.Module,
    make_task: Callable[..., Task],
    tmp_path_factory: pytest.TempPathFactory,
) -> Exported:
    path = tmp_path_factory.mktemp("weights") / "weights.pt"
    path.write_bytes(_save(module.state_dict()))
    source = read_source(path, _network(make_task))
    return Exported(source, source.model.SerializeToString())


def _images(count: int) -> NDArray[np.float32]:
    return np.random.default_rng(count).normal(0, 1, (count, 3, SIDE, SIDE)).astype(np.float32)


@pytest.mark.parametrize("batch", [1, 3])
def test_graph_computes_what_torch_does(
    exported: Exported, module: torch.nn.Module, batch: int
) -> None:
    images = _images(batch)
    with torch.inference_mode():
        want = module(torch.from_numpy(images)).numpy()
    session = onnxruntime.InferenceSession(exported.onnx, providers=["CPUExecutionProvider"])
    (got,) = session.run(["logits"], {"image": images})
    assert got.shape == want.shape == (batch, 2)
    assert np.abs(want).max() > 0.05  # else the comparison says nothing
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(exported.source.reference(images)["logits"], want)


def test_graph_is_what_the_conventions_ask_for(exported: Exported) -> None:
    model = onnx.load_model_from_string(exported.onnx)
    onnx.checker.check_model(model, full_check=True)
    assert [(item.domain, item.version) for item in model.opset_import] == [("", 20)]
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    assert sum(node.op_type == "Conv" for node in model.graph.node) == 52  # paper, table 2
    assert not any(
        tensor.external_data or tensor.data_location for tensor in model.graph.initializer
    )
    (entry,) = model.graph.input
    assert [d.dim_value or d.dim_param for d in entry.type.tensor_type.shape.dim] == [
        "batch",
        3,
        SIDE,
        SIDE,
    ]
    assert [item.name for item in model.graph.output] == ["logits"]


def test_graph_holds_no_path_and_no_stack_trace(exported: Exported) -> None:
    # Weights are random bytes, so only text of some length is looked at.
    words = re.findall(rb"[ -~]{12,}", exported.onnx)
    for pattern in (
        rb"\.py\b",
        rb"File \"",
        rb"Traceback",
        rb"stack_trace",
        rb"site-packages",
        rb"(/[\w.+-]{2,}){2,}",
        rb"[A-Z]:\\",
        re.escape(str(Path.cwd()).encode()),
    ):
        assert not [word for word in words if re.search(pattern, word)], pattern


def test_width_is_read_from_the_weights(exported: Exported, module: torch.nn.Module) -> None:
    assert exported.source.parameters == {"classes": 2, "width": WIDTH}
    assert exported.source.facts["framework"] == "torch"
    assert exported.source.facts["framework_version"] == torch.__version__
    for width in (0.1, 0.5, 1.0):
        with torch.device("meta"):
            state = build("mobilenet-v2", {"width": width, "classes": 2}).state_dict()
        found = from_torch.fit_parameters("mobilenet-v2", {"classes": 2}, state)
        with torch.device("meta"):
            again = build("mobilenet-v2", found).state_dict()
        assert {k: v.shape for k, v in again.items()} == {k: v.shape for k, v in state.items()}


@pytest.mark.parametrize(
    ("suffix", "form"),
    [
        *product(
            (".pt", ".pth", ".PT"),
            ("bare", "module.", "state_dict", "model_state_dict", "model"),
        ),
        (".safetensors", "bare"),  # which holds tensors alone
        (".safetensors", "module."),
    ],
)
def test_every_usual_form_of_a_state_dictionary_is_read(
    suffix: str,
    form: str,
    module: torch.nn.Module,
    make_task: Callable[..., Task],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    state: dict[str, Any] = dict(module.state_dict())
    if form == "module.":
        state = {f"module.{name}": value for name, value in state.items()}
    elif form != "bare":
        state = {form: state, "epoch": 3, "optimizer": {"lr": 0.1}}
    data = safetensors.torch.save(state) if suffix == ".safetensors" else _save(state)
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(data)
    monkeypatch.setattr(from_torch, "export_module", lambda module, network: onnx.ModelProto())
    source = read_source(path, _network(make_task, _FIXED))
    images = _images(2)
    with torch.inference_mode():
        want = module(torch.from_numpy(images)).numpy()
    np.testing.assert_array_equal(source.reference(images)["logits"], want)


def test_other_weights_are_refused_by_name_and_shape(
    module: torch.nn.Module, make_task: Callable[..., Task], tmp_path: Path
) -> None:
    def refused(state: State) -> str:
        path = tmp_path / "weights.pt"
        path.write_bytes(_save(state))
        with pytest.raises(WeightsMismatchError) as caught:
            read_source(path, _network(make_task, _FIXED))
        assert caught.value.exit_status == 2
        return caught.value.got

    state = module.state_dict()
    thousand = build("mobilenet-v2", {"width": WIDTH, "classes": 1000}).state_dict()
    got = refused(thousand)
    assert "classifier.1.weight: (1000, 1280) in the file, (2, 1280) in the architecture" in got
    assert "classifier.1.bias: (1000,) in the file, (2,) in the architecture" in got
    assert "missing" not in got
    assert "unexpected" not in got

    without = {name: value for name, value in state.items() if name != "features.0.0.weight"}
    assert refused(without) == "missing: features.0.0.weight (16, 3, 3, 3)"
    assert refused({**state, "extra": torch.zeros(2, 7)}) == "unexpected: extra (2, 7)"
    other = torch.nn.Sequential(torch.nn.Linear(3, 4)).state_dict()
    got = refused(other)
    assert "unexpected: 0.weight (4, 3), 0.bias (4,)" in got
    assert "and 256 more" in got
    assert refused({}).startswith("missing: features.0.0.weight")


def test_a_counter_that_inference_does_not_use_may_be_missing(
    module: torch.nn.Module,
) -> None:
    state = {k: v for k, v in module.state_dict().items() if "num_batches_tracked" not in k}
    found = from_torch.fit_parameters("mobilenet-v2", {"classes": 2}, state)
    assert found["width"] == WIDTH


@pytest.mark.parametrize("parameters", ["{}", "{ classes = 2, depth = 3 }", "{ classes = 0 }"])
def test_parameters_that_the_architecture_has_not_are_refused(
    parameters: str, module: torch.nn.Module, make_task: Callable[..., Task], tmp_path: Path
) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(_save(module.state_dict()))
    network = _network(make_task, ("parameters = { classes = 2 }", f"parameters = {parameters}"))
    with pytest.raises(GraphMismatchError, match=r"cannot be built.*classes"):
        read_source(path, network)


def test_a_task_that_torch_sources_cannot_fill_is_refused(
    module: torch.nn.Module, make_task: Callable[..., Task], tmp_path: Path
) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(_save(module.state_dict()))
    with pytest.raises(GraphMismatchError, match="architecture 'onnx'"):
        read_source(path, make_task().networks["filter"])
    two = _network(
        make_task,
        (
            'name = "logits"\naxes = [2]\n',
            'name = "logits"\naxes = [2]\n[[networks.filter.outputs]]\nname = "more"\naxes = [2]\n',
        ),
        ('"filter.logits" = 1e-3', '"filter.logits" = 1e-3, "filter.more" = 1.0'),
        ('"filter.logits" = 1.0', '"filter.logits" = 1.0, "filter.more" = 1.0'),
    )
    with pytest.raises(GraphMismatchError, match="one output"):
        read_source(path, two)


def test_the_catalogue_task_leaves_the_width_to_the_weights() -> None:
    task = catalogue_task("uterus-mr/tumor-filter")
    assert "width" not in task.networks["filter"].architecture.parameters


@pytest.mark.parametrize(
    ("replacement", "says"),
    [
        (('layout = "nchw"', 'layout = "nhwc"'), "layout = 'nhwc'"),
        (('batch = "dynamic"', "batch = 4"), "batch = 4"),
    ],
)
def test_a_form_that_export_does_not_make_is_refused(
    replacement: tuple[str, str],
    says: str,
    module: torch.nn.Module,
    make_task: Callable[..., Task],
    tmp_path: Path,
) -> None:
    path = tmp_path / "weights.pt"
    torch.save(module.state_dict(), path)
    with pytest.raises(GraphMismatchError, match="another form of input") as caught:
        read_source(path, _network(make_task, _FIXED, replacement))
    assert says in caught.value.got
