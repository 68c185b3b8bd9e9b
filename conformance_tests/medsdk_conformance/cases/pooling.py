"""Pooling and reductions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from medsdk_conformance.case import Case, Formula, Problem, one_to_one
from medsdk_conformance.graphs import node
from medsdk_conformance.oracles import pool


def _window(
    operator: Literal["MaxPool", "AveragePool"],
    axes: tuple[int, ...],
    kernel: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[int] = (),
    *,
    crop: int = 0,
    **attributes: Any,  # noqa: ANN401 - attributes of the operator
) -> Callable[[], Problem]:
    """A case's builder; `crop` is how much of `pads` at the end only ceil_mode adds."""

    def build() -> Problem:
        around = list(pads) or [0] * (2 * len(kernel))
        how: Literal["max", "mean", "mean-with-padding"] = "max"
        if operator == "AveragePool":
            how = "mean-with-padding" if attributes.get("count_include_pad") else "mean"
        grown = [*around[: len(kernel)], *(end + crop for end in around[len(kernel) :])]
        shown = {"kernel_shape": kernel, "strides": strides, "pads": around, **attributes}
        return one_to_one(
            [node(operator, ["x"], "y", **shown)],
            lambda x: pool(x, kernel, strides, grown, how),
            axes,
        )

    return build


def _whole(operator: str, formula: Formula, axes: tuple[int, ...]) -> Callable[[], Problem]:
    return lambda: one_to_one([node(operator, ["x"], "y")], formula, axes)


def _reduce(operator: str, formula: Formula, axes: list[int], keep: int) -> Callable[[], Problem]:
    return lambda: one_to_one(
        [node(operator, ["x", "over"], "y", keepdims=keep)],
        formula,
        (4, 5, 6),
        over=np.array(axes),
    )


def _arg_max(axis: int, keep: int) -> Callable[[], Problem]:
    def formula(x: np.ndarray) -> np.ndarray:
        found = x.argmax(axis=axis).astype(np.int64)
        return np.expand_dims(found, axis) if keep else found

    return lambda: one_to_one(
        [node("ArgMax", ["x"], "y", axis=axis, keepdims=keep)], formula, (5, 4, 6)
    )


CASES: tuple[Case, ...] = (
    Case(
        "max-pool", "fp32", "MaxPool 2x2, stride 2", _window("MaxPool", (3, 8, 6), [2, 2], [2, 2])
    ),
    Case(
        "max-pool-odd",
        "fp32",
        "MaxPool 2x2, stride 2, of 7 x 9: a row and a column are left over",
        _window("MaxPool", (3, 7, 9), [2, 2], [2, 2]),
    ),
    Case(
        "max-pool-padded",
        "fp32",
        "MaxPool 3x3, stride 2, padded: padding never wins",
        _window("MaxPool", (3, 9, 8), [3, 3], [2, 2], [1, 1, 1, 1]),
    ),
    Case(
        "max-pool-stride-1",
        "fp32",
        "MaxPool 2x2, stride 1, padded at the end, as tiny YOLOv3 has it",
        _window("MaxPool", (3, 6, 6), [2, 2], [1, 1], [0, 0, 1, 1]),
    ),
    Case(
        "max-pool-ceil",
        "fp32",
        "MaxPool 2x2, stride 2, ceil_mode, of 7 x 5",
        _window("MaxPool", (3, 7, 5), [2, 2], [2, 2], crop=1, ceil_mode=1),
    ),
    Case(
        "average-pool",
        "fp32",
        "AveragePool 3x3, padded; padding does not count",
        _window("AveragePool", (3, 7, 8), [3, 3], [1, 1], [1, 1, 1, 1]),
    ),
    Case(
        "average-pool-with-padding",
        "fp32",
        "AveragePool 3x3, padded; padding counts",
        _window("AveragePool", (3, 7, 8), [3, 3], [2, 2], [1, 1, 1, 1], count_include_pad=1),
    ),
    Case(
        "global-average-pool",
        "fp32",
        "GlobalAveragePool of 7 x 9",
        _whole("GlobalAveragePool", lambda x: x.mean(axis=(2, 3), keepdims=True), (5, 7, 9)),
    ),
    Case(
        "global-max-pool",
        "fp32",
        "GlobalMaxPool of 7 x 9",
        _whole("GlobalMaxPool", lambda x: x.max(axis=(2, 3), keepdims=True), (5, 7, 9)),
    ),
    Case(
        "max-pool-3d",
        "three-axes",
        "MaxPool 1x2x2",
        _window("MaxPool", (2, 4, 6, 8), [1, 2, 2], [1, 2, 2]),
    ),
    Case(
        "average-pool-3d",
        "three-axes",
        "AveragePool 2x2x2",
        _window("AveragePool", (2, 4, 6, 8), [2, 2, 2], [2, 2, 2]),
    ),
    Case(
        "global-average-pool-3d",
        "three-axes",
        "GlobalAveragePool over time and space",
        _whole("GlobalAveragePool", lambda x: x.mean(axis=(2, 3, 4), keepdims=True), (3, 4, 5, 6)),
    ),
    Case(
        "reduce-mean",
        "fp32",
        "ReduceMean over the image",
        _reduce("ReduceMean", lambda x: x.mean(axis=(2, 3)), [2, 3], 0),
    ),
    Case(
        "reduce-mean-keeping",
        "fp32",
        "ReduceMean over the image, which stays as one pixel",
        _reduce("ReduceMean", lambda x: x.mean(axis=(2, 3), keepdims=True), [2, 3], 1),
    ),
    Case(
        "reduce-sum",
        "fp32",
        "ReduceSum over channels",
        _reduce("ReduceSum", lambda x: x.sum(axis=1, keepdims=True), [1], 1),
    ),
    Case(
        "reduce-max",
        "fp32",
        "ReduceMax, axes from the end",
        _reduce("ReduceMax", lambda x: x.max(axis=(-2, -1), keepdims=True), [-1, -2], 1),
    ),
    Case(
        "reduce-min",
        "fp32",
        "ReduceMin over the image",
        _reduce("ReduceMin", lambda x: x.min(axis=(2, 3)), [2, 3], 0),
    ),
    Case("arg-max", "integer-edges", "ArgMax over channels, as masks use it", _arg_max(1, 0)),
    Case("arg-max-kept", "integer-edges", "ArgMax over the last axis, kept", _arg_max(3, 1)),
)
"""Every pooling and reduction in float32."""
