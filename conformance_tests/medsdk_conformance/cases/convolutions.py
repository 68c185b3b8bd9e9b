"""Convolutions: MobileNetV2's, VGG's, YOLOv3's, DeepLabV3+'s, and those of clips."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from medsdk_conformance.case import Case, Problem, normal, one_to_one
from medsdk_conformance.graphs import node
from medsdk_conformance.oracles import convolve, per_channel, transposed_convolution


def _convolution(
    axes: tuple[int, ...],
    weights: tuple[int, ...],
    *,
    bias: bool = False,
    batches: tuple[int, ...] = (1, 3),
    pads: Sequence[int] = (),
    auto_pad: str = "",
    **attributes: Any,  # noqa: ANN401 - attributes of the operator
) -> Callable[[], Problem]:
    """A case's builder: one Conv; without `pads` the size is kept."""

    def build() -> Problem:
        kernel, shift = normal(10, *weights), normal(11, weights[0])
        spatial = len(weights) - 2
        dilations = attributes.get("dilations", (1,) * spatial)
        same = [d * (k - 1) // 2 for d, k in zip(dilations, weights[2:], strict=True)] * 2
        around = list(pads) or same
        shown = {"auto_pad": auto_pad} if auto_pad else {"pads": around}
        extra: dict[str, Any] = {"b": shift} if bias else {}
        return one_to_one(
            [node("Conv", ["x", "w", *extra], "y", **shown, **attributes)],
            lambda x: (
                convolve(
                    x,
                    kernel.astype(np.float64),
                    strides=attributes.get("strides", ()),
                    pads=around,
                    dilations=dilations,
                    groups=attributes.get("group", 1),
                )
                + (per_channel(shift, spatial) if bias else 0)
            ),
            axes,
            batches=batches,
            w=kernel,
            **extra,
        )

    return build


def _transposed() -> Problem:
    weights = normal(18, 3, 4, 2, 2)
    return one_to_one(
        [node("ConvTranspose", ["x", "w"], "y", strides=[2, 2])],
        lambda x: transposed_convolution(x, weights.astype(np.float64), 2),
        (3, 5, 4),
        w=weights,
    )


def _two_plus_one() -> Problem:
    space, time = normal(19, 6, 3, 1, 3, 3), normal(20, 4, 6, 3, 1, 1)
    return one_to_one(
        [
            node("Conv", ["x", "space"], "s", pads=[0, 1, 1, 0, 1, 1], strides=[1, 2, 2]),
            node("Relu", ["s"], "r"),
            node("Conv", ["r", "time"], "y", pads=[1, 0, 0, 1, 0, 0]),
        ],
        lambda x: convolve(
            np.maximum(convolve(x, space.astype(np.float64), strides=(1, 2, 2)), 0),
            time.astype(np.float64),
        ),
        (3, 4, 8, 6),
        batches=(1, 2),
        space=space,
        time=time,
    )


CASES: tuple[Case, ...] = (
    Case(
        "conv",
        "fp32",
        "Conv 3x3, stride 2, bias",
        _convolution((3, 16, 12), (8, 3, 3, 3), bias=True, strides=[2, 2], pads=[1] * 4),
    ),
    Case("conv-1x1", "fp32", "Conv 1x1", _convolution((16, 6, 7), (5, 16, 1, 1), bias=True)),
    Case(
        "conv-odd-sizes",
        "fp32",
        "Conv 3x3, stride 2, of 17 x 13",
        _convolution((3, 17, 13), (4, 3, 3, 3), strides=[2, 2], pads=[1] * 4),
    ),
    Case(
        "conv-one-pixel",
        "fp32",
        "Conv 3x3 of a single pixel",
        _convolution((4, 1, 1), (6, 4, 3, 3), bias=True),
    ),
    Case(
        "conv-large-batch",
        "fp32",
        "Conv 3x3 of 1, then 33 images",
        _convolution((2, 5, 5), (3, 2, 3, 3), batches=(1, 33)),
    ),
    Case(
        "conv-uneven-pads",
        "fp32",
        "Conv 3x3 with other pads on every side",
        _convolution((3, 9, 8), (4, 3, 3, 3), pads=[0, 1, 2, 0]),
    ),
    Case(
        "conv-same-upper",
        "fp32",
        "Conv 3x3, stride 2, auto_pad SAME_UPPER, as Keras pads",
        _convolution(
            (3, 8, 10), (4, 3, 3, 3), strides=[2, 2], pads=[0, 0, 1, 1], auto_pad="SAME_UPPER"
        ),
    ),
    Case(
        "conv-rectangular",
        "fp32",
        "Conv 1x7",
        _convolution((3, 6, 11), (4, 3, 1, 7)),
    ),
    Case(
        "conv-dilated",
        "fp32",
        "Conv 3x3, dilation 2",
        _convolution((4, 12, 11), (5, 4, 3, 3), dilations=[2, 2]),
    ),
    Case(
        "conv-dilated-wide",
        "fp32",
        "Conv 3x3, dilation 12, of an image no larger than that",
        _convolution((4, 10, 13), (5, 4, 3, 3), dilations=[12, 12]),
    ),
    Case(
        "conv-grouped",
        "fp32",
        "Conv 3x3 in 2 groups",
        _convolution((6, 7, 7), (8, 3, 3, 3), group=2, bias=True),
    ),
    Case(
        "conv-depthwise",
        "fp32",
        "Conv 3x3, one group a channel",
        _convolution((8, 10, 10), (8, 1, 3, 3), group=8),
    ),
    Case(
        "conv-depthwise-strided",
        "fp32",
        "Conv 3x3, one group a channel, stride 2, bias",
        _convolution(
            (8, 11, 9), (8, 1, 3, 3), group=8, bias=True, strides=[2, 2], pads=[0, 0, 1, 1]
        ),
    ),
    Case(
        "conv-depthwise-dilated",
        "fp32",
        "Conv 3x3, one group a channel, dilation 4",
        _convolution((6, 12, 12), (6, 1, 3, 3), group=6, dilations=[4, 4]),
    ),
    Case("conv-transposed", "fp32", "ConvTranspose 2x2, stride 2", _transposed),
    Case(
        "conv-3d",
        "three-axes",
        "Conv 3x3x3",
        _convolution((2, 5, 7, 6), (4, 2, 3, 3, 3), bias=True),
    ),
    Case(
        "conv-3d-strided",
        "three-axes",
        "Conv 3x3x3, stride 1 x 2 x 2",
        _convolution((3, 4, 8, 7), (4, 3, 3, 3, 3), strides=[1, 2, 2], pads=[1] * 6),
    ),
    Case("conv-2-plus-1-d", "three-axes", "Conv 1x3x3, Relu, Conv 3x1x1", _two_plus_one),
)
"""Every convolution in float32."""
