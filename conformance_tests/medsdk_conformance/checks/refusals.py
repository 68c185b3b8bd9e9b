"""Graphs that no runtime opens: the bytes decide, never a path."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from medsdk_conformance.check import Check, Subject, raises, without_path
from medsdk_conformance.graphs import affine, model, node, serialized
from medsdk_runtimes.errors import GraphRefusedError


def _refused_graph(build: Callable[[], Any]) -> Callable[[Subject], None]:
    def run(subject: Subject) -> None:
        onnx = build()
        with raises(GraphRefusedError) as caught:
            subject.open(onnx)
        without_path(caught[0])

    return run


def _external_data() -> bytes:
    import onnx

    changed = model(
        [node("Add", ["x", "w"], "y")],
        [("x", "float32", (1, 4))],
        [("y", "float32", (1, 4))],
        w=np.ones(4, np.float32),
    )
    tensor = changed.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "secret/weights.bin"
    return bytes(changed.SerializeToString())


def _custom_domain() -> bytes:
    from onnx import helper

    changed = model(
        [helper.make_node("Anything", ["x"], ["y"], domain="com.example")],
        [("x", "float32", (1, 4))],
        [("y", "float32", (1, 4))],
    )
    changed.opset_import.append(helper.make_opsetid("com.example", 1))
    return bytes(changed.SerializeToString())


def _unknown_operator() -> bytes:
    return serialized(
        [node("NoSuchOperator", ["x"], "y")],
        [("x", "float32", (1, 4))],
        [("y", "float32", (1, 4))],
    )


def _bfloat16_edges() -> bytes:
    """An input that numpy has no type for."""
    from onnx import TensorProto, helper

    changed = model(
        [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)],
        [("x", "float32", (1, 4))],
        [("y", "float32", (1, 4))],
    )
    changed.graph.input[0].type.tensor_type.elem_type = TensorProto.BFLOAT16
    return bytes(changed.SerializeToString())


def _graph(identifier: str, asks: str, build: Callable[[], Any]) -> Check:
    return Check(identifier, None, f"Refused: {asks}.", _refused_graph(build))


CHECKS: tuple[Check, ...] = (
    _graph("external-data", "weights in another file", _external_data),
    _graph("custom-domain", "an operator of somebody's own", _custom_domain),
    _graph("unknown-operator", "an operator that ONNX does not have", _unknown_operator),
    _graph("bfloat16-edges", "an input that numpy has no type for", _bfloat16_edges),
    _graph("truncated", "a graph whose end is missing", lambda: affine()[:-7]),
    _graph("trailing-bytes", "a graph with more behind it", lambda: affine() + b"\x00\x01trailing"),
    _graph("garbage", "bytes that are no graph", lambda: bytes(range(256))),
    _graph("empty", "no bytes", lambda: b""),
    _graph("path", "a path instead of bytes", lambda: "model.onnx"),
)
"""Every rule about graphs that are refused."""
