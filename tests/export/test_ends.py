"""A softmax that is inside a graph is neither applied again nor forgotten."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from medsdk.tasks import Task
from medsdk_export.build import export_bundle
from medsdk_export.ends import check_scores, end_of
from medsdk_export.errors import GraphMismatchError
from medsdk_export.sources import read_source

INSIDE = ('activation = "softmax"', 'activation = "none"')


@pytest.fixture
def model(few: Any, tmp_path: Path) -> Callable[[Sequence[onnx.NodeProto]], Path]:
    """The vendor's network with other nodes behind what were its logits, now `scores`."""

    def make(nodes: Sequence[onnx.NodeProto]) -> Path:
        made = onnx.load_model_from_string(few.model.read_bytes())
        made.graph.node[-1].output[0] = "scores"
        made.graph.node.extend(nodes)
        onnx.checker.check_model(made)
        path = tmp_path / "model.onnx"
        path.write_bytes(made.SerializeToString())
        return path

    return make


def node(operator: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, inputs.split(), [output], **attributes)


SOFTMAX = [node("Softmax", "scores", "logits", axis=1)]
BEHIND = [
    node("Softmax", "scores", "soft", axis=1),
    node("Identity", "soft", "same"),
    node("Flatten", "same", "logits", axis=1),
]
MEAN_OF_TWO = [
    node("Softmax", "scores", "one", axis=1),
    node("Neg", "scores", "other scores"),
    helper.make_node("Softmax", ["other scores"], ["other"], axis=1),
    node("Mean", "one other", "logits"),
]
LOGITS = [node("Identity", "scores", "logits")]


@pytest.mark.parametrize("nodes", [SOFTMAX, BEHIND], ids=["at the end", "behind others"])
def test_it_is_refused_where_the_task_applies_one(
    nodes: list[onnx.NodeProto],
    model: Callable[..., Path],
    make_task: Callable[..., Task],
) -> None:
    path = model(nodes)
    with pytest.raises(GraphMismatchError, match=r"softmax inside.*applied twice") as caught:
        read_source(path, make_task().networks["filter"])
    assert "activation = 'none'" in caught.value.remedy
    read_source(path, make_task(INSIDE).networks["filter"])


def test_the_numbers_show_what_the_operators_do_not(
    few: Any, model: Callable[..., Path], tmp_path: Path
) -> None:
    path = model(MEAN_OF_TWO)
    graph = onnx.load(path).graph
    assert end_of(graph, "logits") == "none"
    with pytest.raises(GraphMismatchError, match=r"sum up to 1.*applied twice"):
        export_bundle(few.request(tmp_path / "out", models={"filter": path}))


def test_logits_that_are_taken_for_probabilities_are_refused(
    few: Any, model: Callable[..., Path], make_task: Callable[..., Task], tmp_path: Path
) -> None:
    request = few.request(
        tmp_path / "out", task=make_task(INSIDE), models={"filter": model(LOGITS)}
    )
    with pytest.raises(GraphMismatchError, match="gives no probabilities") as caught:
        export_bundle(request)
    assert "'softmax' or 'sigmoid'" in caught.value.remedy


def test_logits_that_look_like_nothing_else_are_taken(make_task: Callable[..., Task]) -> None:
    network = make_task().networks["filter"]
    rows = [{"logits": np.array([row], np.float32)} for row in ([0.4, 0.6], [0.2, 0.9])]
    check_scores(rows, network)  # one row sums up to 1 by chance, not both
    with pytest.raises(GraphMismatchError):
        check_scores(rows[:1], network)


@pytest.mark.parametrize(("operator", "end"), [("Sigmoid", "sigmoid"), ("Relu", "none")])
def test_other_ends(operator: str, end: str) -> None:
    tensor = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])
    graph = helper.make_graph([node(operator, "x", "y")], "g", [], [tensor])
    assert end_of(graph, "y") == end
