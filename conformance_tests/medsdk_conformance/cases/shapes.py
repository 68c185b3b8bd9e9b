"""Operators that move, join and cut tensors, and shapes that the graph computes itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medsdk_conformance.case import Case, Formula, Problem, float32, normal, one_to_one, problem
from medsdk_conformance.graphs import node

_END = np.iinfo(np.int64).max


def _one(
    operator: str,
    formula: Formula,
    axes: tuple[int, ...],
    constants: Sequence[NDArray[Any]] = (),
    **attributes: Any,  # noqa: ANN401 - attributes of the operator
) -> Callable[[], Problem]:
    """One operator over `x` and constants."""
    tensors: dict[str, Any] = {f"c{number}": item for number, item in enumerate(constants)}
    return lambda: one_to_one(
        [node(operator, ["x", *tensors], "y", **attributes)], formula, axes, **tensors
    )


def _concat(axis: int, first: tuple[int, ...], second: tuple[int, ...]) -> Callable[[], Problem]:
    def build() -> Problem:
        calls = []
        for batch in (1, 3):
            a, b = normal(40, batch, *first), normal(41, batch, *second)
            calls.append(({"a": a, "b": b}, {"y": np.concatenate([a, b, a], axis)}))
        return problem([node("Concat", ["a", "b", "a"], "y", axis=axis)], calls)

    return build


def _split(sizes: list[int] | None) -> Callable[[], Problem]:
    def build() -> Problem:
        calls = []
        for batch in (1, 3):
            x = normal(42, batch, 6, 4)
            at = np.cumsum(sizes)[:-1] if sizes else 2
            first, second = (np.ascontiguousarray(part) for part in np.split(x, at, axis=1))
            calls.append(({"x": x}, {"first": first, "second": second}))
        if sizes:
            nodes = [node("Split", ["x", "sizes"], "first second", axis=1)]
            return problem(nodes, calls, sizes=np.array(sizes))
        nodes = [node("Split", ["x"], "first second", axis=1, num_outputs=2)]
        return problem(nodes, calls)

    return build


def _shape_driven() -> Problem:
    """What exporters write for `x.reshape(len(x), -1)`."""
    return one_to_one(
        [
            node("Shape", ["x"], "shape"),
            node("Gather", ["shape", "zero"], "batch", axis=0),
            node("Unsqueeze", ["batch", "axis"], "batch1"),
            node("Concat", ["batch1", "rest"], "to", axis=0),
            node("Reshape", ["x", "to"], "y"),
        ],
        lambda x: x.reshape(len(x), -1),
        (4, 3, 2),
        zero=np.array(0),
        axis=np.array([0]),
        rest=np.array([-1]),
    )


def _expand() -> Problem:
    """A constant repeated for every image of the batch."""
    anchors = normal(43, 1, 3, 2)
    return one_to_one(
        [
            node("Shape", ["x"], "shape"),
            node("Slice", ["shape", "start", "end"], "batch"),
            node("Concat", ["batch", "rest"], "to", axis=0),
            node("Expand", ["anchors", "to"], "wide"),
            node("Mul", ["x", "wide"], "y"),
        ],
        lambda x: x * anchors,
        (3, 2),
        start=np.array([0]),
        end=np.array([1]),
        rest=np.array([3, 2]),
        anchors=anchors,
    )


def _constant_of_shape() -> Problem:
    from onnx import numpy_helper

    value = numpy_helper.from_array(np.array([0.5], np.float32))
    return one_to_one(
        [
            node("Shape", ["x"], "shape"),
            node("ConstantOfShape", ["shape"], "half", value=value),
            node("Add", ["x", "half"], "y"),
        ],
        lambda x: x + 0.5,
        (3, 4),
    )


def _squeeze() -> Problem:
    return one_to_one(
        [node("Unsqueeze", ["x", "two"], "wide"), node("Squeeze", ["wide", "one"], "y")],
        lambda x: x[:, 0, None, :],
        (1, 5),
        two=np.array([2]),
        one=np.array([1]),
    )


def _scalar() -> Problem:
    """An output without an axis."""
    x = normal(44, 2, 3)
    expected = np.asarray(float32(x.astype(np.float64).mean()))
    return problem(
        [node("ReduceMean", ["x"], "y", keepdims=0)], [({"x": x}, {"y": expected})], dynamic=False
    )


def _keras_layout() -> Problem:
    """Channels last at the edges, first inside, as tf2onnx leaves it."""
    weights = normal(45, 4, 3, 1, 1)
    return one_to_one(
        [
            node("Transpose", ["x"], "first", perm=[0, 3, 1, 2]),
            node("Conv", ["first", "w"], "c"),
            node("Transpose", ["c"], "y", perm=[0, 2, 3, 1]),
        ],
        lambda x: x @ weights[:, :, 0, 0].T.astype(np.float64),
        (5, 6, 3),
        w=weights,
    )


def _yolo_grid() -> Problem:
    """Boxes of one scale: (batch, 3 * 7, 4, 5) to (batch, 3 * 4 * 5, 7)."""
    return one_to_one(
        [
            node("Reshape", ["x", "parts"], "p"),
            node("Transpose", ["p"], "t", perm=[0, 1, 3, 4, 2]),
            node("Reshape", ["t", "rows"], "y"),
        ],
        lambda x: x.reshape(-1, 3, 7, 4, 5).transpose(0, 1, 3, 4, 2).reshape(-1, 60, 7),
        (21, 4, 5),
        parts=np.array([0, 3, 7, 4, 5]),
        rows=np.array([-1, 60, 7]),
    )


def _padded(mode: str, numpy_mode: Any) -> Callable[[], Problem]:  # noqa: ANN401 - a literal of numpy
    around = ((0, 0), (0, 0), (1, 2), (2, 1))
    return _one(
        "Pad",
        lambda x: np.asarray(np.pad(x, around, mode=numpy_mode)),
        (2, 4, 5),
        [np.array([0, 0, 1, 2, 0, 0, 2, 1])],
        mode=mode,
    )


CASES: tuple[Case, ...] = (
    Case(
        "concat-channels",
        "fp32",
        "Concat over channels, one input twice",
        _concat(1, (2, 4, 3), (3, 4, 3)),
    ),
    Case("concat-last", "fp32", "Concat over the last axis", _concat(-1, (4, 2), (4, 3))),
    Case("split", "fp32", "Split in two, num_outputs", _split(None)),
    Case("split-sizes", "fp32", "Split in 2 and 4", _split([2, 4])),
    Case(
        "slice",
        "fp32",
        "Slice of a range of channels",
        _one("Slice", lambda x: x[:, 2:5], (6, 4), [np.array([2]), np.array([5]), np.array([1])]),
    ),
    Case(
        "slice-steps",
        "fp32",
        "Slice with step 2 and from the end, as Focus layers have it",
        _one(
            "Slice",
            lambda x: x[:, :, 1::2, -3:],
            (2, 6, 5),
            [np.array([1, -3]), np.array([_END, _END]), np.array([2, 3]), np.array([2, 1])],
        ),
    ),
    Case(
        "slice-backwards",
        "fp32",
        "Slice with step -1",
        _one(
            "Slice",
            lambda x: x[:, :, ::-1],
            (2, 5),
            [np.array([-1]), np.array([-_END]), np.array([2]), np.array([-1])],
        ),
    ),
    Case(
        "transpose",
        "fp32",
        "Transpose of channels to the end",
        _one("Transpose", lambda x: x.transpose(0, 2, 3, 1), (3, 4, 5), perm=[0, 2, 3, 1]),
    ),
    Case("flatten", "fp32", "Flatten", _one("Flatten", lambda x: x.reshape(len(x), -1), (3, 4, 2))),
    Case(
        "reshape",
        "fp32",
        "Reshape with 0 and -1",
        _one("Reshape", lambda x: x.reshape(len(x), 6, -1), (3, 4, 2), [np.array([0, 6, -1])]),
    ),
    Case("reshape-by-shape", "fp32", "Shape, Gather, Concat, Reshape", _shape_driven),
    Case("expand", "fp32", "Shape, Expand of a constant", _expand),
    Case("constant-of-shape", "fp32", "Shape, ConstantOfShape", _constant_of_shape),
    Case("squeeze", "fp32", "Unsqueeze, Squeeze", _squeeze),
    Case(
        "gather",
        "fp32",
        "Gather of channels, one of them from the end",
        _one("Gather", lambda x: x[:, [2, 0, -1]], (4, 5), [np.array([2, 0, -1])], axis=1),
    ),
    Case(
        "gather-one",
        "fp32",
        "Gather of one channel, without its axis",
        _one("Gather", lambda x: x[:, 1], (4, 5), [np.array(1)], axis=1),
    ),
    Case(
        "tile",
        "fp32",
        "Tile over the last axis",
        _one("Tile", lambda x: np.tile(x, (1, 1, 3)), (2, 4), [np.array([1, 1, 3])]),
    ),
    Case(
        "pad", "fp32", "Pad with zeros, other widths on every side", _padded("constant", "constant")
    ),
    Case("pad-reflect", "fp32", "Pad by reflection", _padded("reflect", "reflect")),
    Case("pad-edge", "fp32", "Pad with the edge", _padded("edge", "edge")),
    Case("scalar-output", "fp32", "An output without an axis", _scalar),
    Case("channels-last", "fp32", "Transpose, Conv, Transpose, as Keras exports", _keras_layout),
    Case("yolo-grid", "fp32", "Reshape, Transpose, Reshape to rows of boxes", _yolo_grid),
)
"""Every operator on shapes in float32."""
