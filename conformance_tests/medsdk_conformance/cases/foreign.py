"""Graphs of other opsets than medsdk makes, as foreign exporters write them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medsdk_conformance.case import Case, Problem, normal, one_to_one, problem
from medsdk_conformance.graphs import FOREIGN_OPSETS, IR_VERSIONS, node
from medsdk_conformance.oracles import convolve, per_channel, pool, softmax

_AXES_ARE_INPUTS = 18
"""The opset from which ReduceMean and ReduceMax take their axes as an input."""
_NUM_OUTPUTS = 18
"""The opset from which Split into equal parts says into how many."""


def _classifier(opset: int) -> Callable[[], Problem]:
    """What most networks are made of, their normalisation folded."""
    kernel, head, shift = normal(80, 6, 3, 3, 3), normal(81, 6, 4), normal(82, 4)
    bias = normal(83, 6)

    def formula(x: NDArray[np.float64]) -> NDArray[np.float64]:
        y = convolve(x, kernel.astype(np.float64)) + per_channel(bias)
        y = pool(np.clip(y, 0, 6), (2, 2), (2, 2), (0,) * 4, "max").mean(axis=(2, 3))
        return softmax(y @ head.astype(np.float64) + shift)

    def build() -> Problem:
        over: dict[str, Any] = {}
        if opset < _AXES_ARE_INPUTS:
            mean_node = node("ReduceMean", ["p"], "g", axes=[2, 3], keepdims=0)
        else:
            mean_node = node("ReduceMean", ["p", "over"], "g", keepdims=0)
            over["over"] = np.array([2, 3])
        return one_to_one(
            [
                node("Conv", ["x", "w", "bias"], "c", pads=[1] * 4),
                node("Clip", ["c", "zero", "six"], "a"),
                node("MaxPool", ["a"], "p", kernel_shape=[2, 2], strides=[2, 2]),
                mean_node,
                node("Gemm", ["g", "head", "shift"], "logits"),
                node("Softmax", ["logits"], "y", axis=-1),
            ],
            formula,
            (3, 8, 6),
            opset=opset,
            w=kernel,
            bias=bias,
            zero=np.array(0, np.float32),
            six=np.array(6, np.float32),
            head=head,
            shift=shift,
            **over,
        )

    return build


def _split_and_padded(opset: int) -> Callable[[], Problem]:
    """Operators that changed between these opsets."""

    def build() -> Problem:
        calls = []
        for batch in (1, 3):
            x = normal(87, batch, 4, 3, 2)
            first, second = np.split(x, 2, axis=1)
            y = np.pad(first - second, ((0, 0), (0, 0), (1, 0), (0, 2)), constant_values=0.5)
            calls.append(({"x": x}, {"y": y.repeat(2, axis=2).repeat(2, axis=3)}))
        parts = {"num_outputs": 2} if opset >= _NUM_OUTPUTS else {}
        return problem(
            [
                node("Split", ["x"], "first second", axis=1, **parts),
                node("Sub", ["first", "second"], "d"),
                node("Pad", ["d", "around", "half"], "padded"),
                node(
                    "Resize",
                    ["padded", "", "twice"],
                    "y",
                    mode="nearest",
                    coordinate_transformation_mode="asymmetric",
                    nearest_mode="floor",
                ),
            ],
            calls,
            opset=opset,
            around=np.array([0, 0, 1, 0, 0, 0, 0, 2]),
            half=np.array(0.5, np.float32),
            twice=np.array([1, 1, 2, 2], np.float32),
        )

    return build


CASES: tuple[Case, ...] = tuple(
    Case(f"{name}-opset-{opset}", "fp32", f"{asks}; opset {opset}, IR {IR_VERSIONS[opset]}", build)
    for opset in FOREIGN_OPSETS
    for name, asks, build in (
        ("classifier", "Conv, Clip, MaxPool, ReduceMean, Gemm, Softmax", _classifier(opset)),
        ("split-pad-resize", "Split, Pad, Resize", _split_and_padded(opset)),
    )
)
"""Every graph of another opset in float32."""
