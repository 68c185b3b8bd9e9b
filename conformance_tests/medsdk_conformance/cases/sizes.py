"""Layers as large as those of networks: tiles, blocks and offsets that small ones never reach.

Inputs and weights are scaled so that outputs have a standard deviation of about 1, and the
tolerance is absolute. What float32 owes there was computed with numpy for `sized-conv`, as the
largest difference from float64: convolved directly 3e-6, by Winograd's F(4x4, 3x3) 3e-5 and by
F(6x6, 3x3) 5e-5; with inputs and weights rounded to TF32's 10 bits 1.5e-3, to bfloat16's 7 1.2e-2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from medsdk_conformance.case import Case, Problem, normal, one_to_one
from medsdk_conformance.graphs import node
from medsdk_conformance.oracles import convolve, pool

ATOL = 5e-4
"""More than an honest float32 layer is off, less than one in 16 bits or TF32 (see above)."""


def _convolution(
    axes: tuple[int, ...],
    weights: tuple[int, ...],
    *,
    batches: tuple[int, ...] = (1,),
    **attributes: Any,  # noqa: ANN401 - attributes of the operator
) -> Callable[[], Problem]:
    """A 3x3 convolution that keeps the size, but for its stride."""

    def build() -> Problem:
        products = int(np.prod(weights[1:]))
        kernel = normal(90, *weights) / np.float32(np.sqrt(products))
        return one_to_one(
            [node("Conv", ["x", "w"], "y", pads=[1] * 4, **attributes)],
            lambda x: convolve(
                x,
                kernel.astype(np.float64),
                strides=attributes.get("strides", ()),
                groups=attributes.get("group", 1),
            ),
            axes,
            batches=batches,
            w=kernel,
        )

    return build


def _max_pool() -> Problem:
    return one_to_one(
        [node("MaxPool", ["x"], "y", kernel_shape=[2, 2], strides=[2, 2])],
        lambda x: pool(x, (2, 2), (2, 2), (0,) * 4, "max"),
        (4, 300, 300),
        batches=(1,),
    )


def _matmul() -> Problem:
    weights = normal(91, 1024, 1024) / np.float32(32)
    return one_to_one(
        [node("MatMul", ["x", "w"], "y")],
        lambda x: x @ weights.astype(np.float64),
        (1024,),
        batches=(1, 9, 100),
        w=weights,
    )


def _case(identifier: str, asks: str, build: Callable[[], Problem], atol: float = ATOL) -> Case:
    return Case(identifier, "fp32", asks, build, atol=atol, rtol=0)


CASES: tuple[Case, ...] = (
    _case(
        "sized-conv", "Conv 3x3, 64 to 64, at 56 x 56", _convolution((64, 56, 56), (64, 64, 3, 3))
    ),
    _case(
        "sized-conv-first",
        "Conv 3x3, stride 2, 3 to 32, at 224 x 224",
        _convolution((3, 224, 224), (32, 3, 3, 3), strides=[2, 2]),
    ),
    _case(
        "sized-conv-depthwise",
        "Conv 3x3, 96 groups, at 56 x 56",
        _convolution((96, 56, 56), (96, 1, 3, 3), group=96),
    ),
    _case("sized-max-pool", "MaxPool 2x2 at 300 x 300", _max_pool, atol=0),
    _case("sized-matmul", "MatMul by 1024 x 1024, of 1, 9 and 100 rows", _matmul),
    _case(
        "conv-batches",
        "Conv 3x3 of 1 to 9, then of 16 and 64 images",
        _convolution((8, 7, 7), (8, 8, 3, 3), batches=(*range(1, 10), 16, 64)),
    ),
)
"""Every large layer, and many batch sizes."""
