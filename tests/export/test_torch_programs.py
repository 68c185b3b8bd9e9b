"""`.pt2` archives in, graphs out; archives that want to run code, or are damaged, refused."""

from __future__ import annotations

import io
import json
import os
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from medsdk_export._pt2_archive import judge_archive
from medsdk_export.architectures import build
from medsdk_export.errors import (
    GraphMismatchError,
    PickleRefusedError,
    SourceUnreadableError,
    WeightsMismatchError,
)
from medsdk_export.explaining import explain
from medsdk_export.from_torch_program import load_program
from medsdk_export.sources import read_source
from medsdk_runtimes.errors import MedsdkError

SIDE = 32
CATALOGUE = [
    ('name = "onnx"', 'name = "vgg10"'),
    ("parameters = {}", "parameters = { classes = 2, width = 0.1 }"),
]
OWN = [('name = "onnx"', 'name = "torch"')]


class Own(torch.nn.Module):
    """A topology that no catalogue has."""

    def __init__(self, end: Callable[[torch.Tensor], torch.Tensor] | None = None) -> None:
        super().__init__()
        self.first = torch.nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = torch.nn.BatchNorm2d(8)
        self.drop = torch.nn.Dropout(0.5)
        self.head = torch.nn.Linear(8, 2)
        self.end = end

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.norm(self.first(x))).mean((2, 3))
        y = self.head(self.drop(y))
        return y if self.end is None else self.end(y)


def saved(module: torch.nn.Module, path: Path, *, dynamic: bool = True, batch: int = 2) -> Path:
    image = torch.zeros(batch, 3, SIDE, SIDE)
    shapes = ({0: torch.export.Dim("batch")},) if dynamic else None
    torch.export.save(torch.export.export(module, (image,), dynamic_shapes=shapes), path)
    return path


@pytest.fixture(scope="module")
def own() -> Own:
    torch.manual_seed(3)
    return Own().eval()


@pytest.fixture(scope="module")
def program(own: Own, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(own, tmp_path_factory.mktemp("pt2") / "own.pt2")


def network(make_task: Any, *replacements: tuple[str, str]) -> Any:
    return make_task(*replacements).networks["filter"]


def images(count: int) -> Any:
    return np.random.default_rng(count).normal(0, 1, (count, 3, SIDE, SIDE)).astype(np.float32)


def run_graph(source: Any, tensor: Any) -> Any:
    session = onnxruntime.InferenceSession(source.model.SerializeToString())
    (got,) = session.run(["logits"], {"image": tensor})
    return got


@pytest.mark.slow
def test_a_program_of_the_catalogue(make_task, tmp_path):
    torch.manual_seed(5)
    module = build("vgg10", {"width": 0.1, "classes": 2}).eval()
    source = read_source(saved(module, tmp_path / "m.pt2"), network(make_task, *CATALOGUE))
    assert source.parameters == {"classes": 2, "width": 0.1}
    assert source.facts["format"] == "pt2"
    assert source.facts["written_by"] == torch.__version__
    assert source.fixed_batch is None
    with torch.inference_mode():
        want = module(torch.from_numpy(images(3))).numpy()
    np.testing.assert_array_equal(source.reference(images(3))["logits"], want)
    np.testing.assert_allclose(run_graph(source, images(3)), want, rtol=1e-4, atol=1e-6)


def test_a_topology_of_its_own(make_task, own, program):
    source = read_source(program, network(make_task, *OWN))
    with torch.inference_mode():
        want = own(torch.from_numpy(images(5))).numpy()
    np.testing.assert_allclose(source.reference(images(5))["logits"], want, atol=1e-6)
    np.testing.assert_allclose(run_graph(source, images(5)), want, rtol=1e-4, atol=1e-6)
    assert "BatchNormalization" not in {node.op_type for node in source.model.graph.node}


ONE = ('batch = "dynamic"', "batch = 1")
NO_ACTIVATION = ('activation = "softmax"', 'activation = "none"')


def test_a_fixed_batch_must_be_declared(make_task, own, tmp_path):
    path = saved(own, tmp_path / "m.pt2", dynamic=False, batch=1)
    with pytest.raises(GraphMismatchError, match="batch is not what the task says; got: 1"):
        read_source(path, network(make_task, *OWN))
    two = saved(own, tmp_path / "two.pt2", dynamic=False, batch=2)
    source = read_source(two, network(make_task, *OWN, ('batch = "dynamic"', "batch = 2")))
    assert source.fixed_batch == 2
    both = source.reference(images(2))["logits"]
    np.testing.assert_allclose(own(torch.from_numpy(images(2))).detach(), both, atol=1e-6)
    one = source.reference(images(2)[1:])["logits"]
    np.testing.assert_allclose(one, both[1:], atol=1e-6)


def test_a_softmax_inside_must_be_declared(make_task, program, tmp_path):
    path = saved(Own(lambda y: torch.softmax(y, 1)).eval(), tmp_path / "m.pt2")
    with pytest.raises(GraphMismatchError, match="softmax inside the graph"):
        read_source(path, network(make_task, *OWN))
    behind = Own(lambda y: torch.softmax(y, 1).reshape(-1, 2, 1).flatten(1)).eval()
    path = saved(behind, tmp_path / "behind.pt2")
    with pytest.raises(GraphMismatchError, match="softmax inside the graph"):
        read_source(path, network(make_task, *OWN))
    assert explain(path).activation == "softmax"
    assert read_source(path, network(make_task, *OWN, NO_ACTIVATION)).fixed_batch is None


@pytest.mark.slow
def test_a_program_keeps_its_batch_and_its_softmax(make_task, tmp_path):
    module = Own(lambda y: torch.softmax(y, 1)).eval()
    path = saved(module, tmp_path / "m.pt2", dynamic=False, batch=1)
    source = read_source(path, network(make_task, *OWN, ONE, NO_ACTIVATION))
    assert source.fixed_batch == 1
    np.testing.assert_allclose(run_graph(source, images(1)).sum(1), 1, rtol=1e-5)


def test_training_mode_is_refused(make_task, tmp_path):
    with pytest.raises(GraphMismatchError, match="training mode") as caught:
        read_source(saved(Own().train(), tmp_path / "m.pt2"), network(make_task, *OWN))
    assert "model.eval()" in caught.value.remedy


@pytest.mark.parametrize(
    ("replacement", "message"),
    [
        (("axes = [2]", "axes = [3]"), "N x 2; expected: N x 3"),
        (("height = 32, width = 32", "height = 64, width = 64"), "N x 3 x 32 x 32"),
    ],
)
def test_another_shape_is_named(replacement, message, make_task, program):
    labels = ('["none", "tumour"]', '["none", "tumour", "c"]')
    more = [labels, *_argmax()] if "axes" in replacement[0] else []
    with pytest.raises(GraphMismatchError, match=message):
        read_source(program, network(make_task, *OWN, replacement, *more))


def _argmax() -> list[tuple[str, str]]:
    old = (
        'rule = { kind = "threshold", role = "filter", label = "tumour", otherwise = "none", '
        'threshold = "tumour-probability" }'
    )
    return [
        (old, 'rule = { kind = "argmax", role = "filter" }'),
        ("[thresholds.tumour-probability]\nvalue = 0.5\nmeaning = \"A slice shows a tumour "
         'where the softmax probability is at least this"\n', ""),
        ('    "thresholds.tumour-probability",\n', ""),
        ("mean-of-sensitivity-and-specificity", "accuracy"),
    ]  # fmt: skip


def test_another_architecture_is_refused(make_task, program):
    with pytest.raises(WeightsMismatchError, match="vgg10"):
        read_source(program, network(make_task, *CATALOGUE))


def changed(program: Path, target: Path, change: Callable[[str, bytes], bytes | None]) -> Path:
    """The archive with members changed, left out (None), or as they are."""
    with zipfile.ZipFile(program) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = change(name, old.read(name))
            if data is not None:
                new.writestr(name, data)
    return target


class _Runs:
    """A pickle of it runs a command when it is loaded without care."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch '{self.canary}'",)


def _pickled(canary: Path) -> bytes:
    stream = io.BytesIO()
    torch.save(((_Runs(canary),), {}), stream)
    return stream.getvalue()


def _in_program(edit: Callable[[Any], None]) -> Callable[[str, bytes], bytes]:
    def change(name: str, data: bytes) -> bytes:
        if "/models/" not in name:
            return data
        document = json.loads(data)
        edit(document)
        return json.dumps(document).encode()

    return change


def _evil(canary: Path) -> dict[str, Callable[[str, bytes], bytes]]:
    code = f"__import__('os').system('touch {canary}')"

    def nodes(document: Any) -> Any:
        return document["graph_module"]["graph"]["nodes"]

    def batch(document: Any) -> Any:
        value = document["graph_module"]["graph"]["tensor_values"]["x"]["sizes"][0]
        return value["as_expr"]

    def payload(name: str, data: bytes) -> bytes:
        if name.endswith("weights_config.json"):
            return data.replace(b'"use_pickle": false', b'"use_pickle": true', 1)
        return _pickled(canary) if name.endswith("weight_0") else data

    def constant(name: str, data: bytes) -> bytes:
        if not name.endswith("constants_config.json"):
            return data
        entry = {"path_name": "custom_obj_0", "is_param": False, "use_pickle": False}
        return json.dumps({"config": {"x": entry}}).encode()

    return {
        "samples": lambda name, data: _pickled(canary) if "sample_inputs" in name else data,
        "weights": payload,
        "constants": constant,
        "target": _in_program(lambda d: nodes(d)[0].update(target="torch.hub.load")),
        "target-os": _in_program(lambda d: nodes(d)[0].update(target="torch.os.system")),
        "target-file": _in_program(
            lambda d: nodes(d)[0].update(target="torch.ops.aten.from_file.default")
        ),
        "target-dunder": _in_program(
            lambda d: nodes(d)[0].update(target="torch.__builtins__.eval")
        ),
        "size": _in_program(lambda d: batch(d).update(expr_str=code)),
        "size-call": _in_program(lambda d: batch(d).update(expr_str="s77.__class__")),
        "size-power": _in_program(lambda d: batch(d).update(expr_str="9**9**9")),
        "arguments": _in_program(
            lambda d: d["graph_module"]["module_call_graph"][0]["signature"].update(
                in_spec='[1, {"type": "os.system", "context": "null", "children_spec": []}]'
            )
        ),
    }


@pytest.mark.parametrize("kind", list(_evil(Path("x"))))
def test_an_archive_that_wants_to_run_code_is_refused(kind, make_task, program, tmp_path):
    canary = tmp_path / "canary"
    path = changed(program, tmp_path / "evil.pt2", _evil(canary)[kind])
    with pytest.raises(PickleRefusedError) as caught:
        read_source(path, network(make_task, *OWN))
    assert caught.value.exit_status == 4
    assert not canary.exists()


def test_the_canary_does_sing_where_nobody_is_careful(program, tmp_path):
    """torch.export.load unpickles sample inputs without care: the reason for judging first."""
    canary = tmp_path / "canary"
    path = changed(program, tmp_path / "evil.pt2", _evil(canary)["samples"])
    load_program(path)
    assert canary.exists()


def test_guards_are_never_compiled(program, tmp_path):
    canary = tmp_path / "canary"
    guard = f"open({str(canary)!r}, 'w') is not None"
    edit = _in_program(lambda document: document.update(guards_code=[guard]))
    path = changed(program, tmp_path / "m.pt2", edit)
    judge_archive(path)
    module = load_program(path).module()
    module(torch.from_numpy(images(1)))
    assert not canary.exists()


@pytest.mark.parametrize(
    ("name", "data"),
    [("own/evil.so", b"x"), ("../own/x", b"x"), ("own/data/aotinductor/model/x.cpp", b"x")],
)
def test_a_member_of_another_kind_is_refused(name, data, make_task, program, tmp_path):
    path = changed(program, tmp_path / "x.pt2", lambda _, data: data)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, data)
    with pytest.raises(SourceUnreadableError, match="does not write"):
        read_source(path, network(make_task, *OWN))


def test_sizes_that_are_not_there(make_task, program, tmp_path):
    def huge(document: Any) -> None:
        document["graph_module"]["graph"]["tensor_values"]["x"]["sizes"][1] = {"as_int": 10**15}

    path = changed(program, tmp_path / "x.pt2", _in_program(huge))
    with pytest.raises(SourceUnreadableError, match="elements"):
        read_source(path, network(make_task, *OWN))
    with zipfile.ZipFile(tmp_path / "bomb.pt2", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("own/models/model.json", bytes(10**7))
    with pytest.raises(SourceUnreadableError, match="compressed"):
        read_source(tmp_path / "bomb.pt2", network(make_task, *OWN))


@pytest.mark.parametrize("data", [b"", b"PK\3\4" + bytes(99), b"a text\n" * 99])
def test_what_is_no_archive_is_unreadable(data, make_task, tmp_path):
    (tmp_path / "m.pt2").write_bytes(data)
    with pytest.raises(SourceUnreadableError):
        read_source(tmp_path / "m.pt2", network(make_task, *OWN))


@pytest.mark.filterwarnings("ignore")
def test_damaged_archives_are_read_safely(program, tmp_path):
    rng, refused, whole = random.Random(20_261_125), 0, program.read_bytes()
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 2, 8))):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        if rng.random() < 0.2:
            data = data[: rng.randrange(len(data))]
        (tmp_path / "x.pt2").write_bytes(bytes(data))
        try:
            judge_archive(tmp_path / "x.pt2")
            load_program(tmp_path / "x.pt2")
        except MedsdkError:
            refused += 1
    assert refused > 20
