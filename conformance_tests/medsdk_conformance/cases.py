"""The numeric cases of the runtime contract, as data.

What a graph has to give is computed here with numpy in float64, or with integers, never by a
runtime.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medsdk_conformance.graphs import node, product, serialized
from medsdk_runtimes import Array, Capability, Precision

Tensors = Mapping[str, Array]


@dataclass(frozen=True)
class Call:
    """One call of a session.

    Attributes:
        inputs: What is given, by name.
        expected: What has to come back, by name, in the graph's order.
    """

    inputs: Tensors
    expected: Tensors


@dataclass(frozen=True)
class Problem:
    """A graph and what it has to give."""

    onnx: bytes
    calls: tuple[Call, ...]


@dataclass(frozen=True)
class Case:
    """One numeric case.

    Attributes:
        id: Stable name.
        capability: What a runtime needs to be asked.
        build: Makes the graph, the inputs and the expected outputs.
        precision: What the graph is opened in.
        atol: Absolute tolerance.
        rtol: Relative tolerance.
    """

    id: str
    capability: Capability
    build: Callable[[], Problem]
    precision: Precision = "fp32"
    atol: float = 2e-5
    rtol: float = 1e-5


def _normal(seed: int, *shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def _float32(values: NDArray[Any]) -> NDArray[np.float32]:
    return values.astype(np.float32)


def _convolve(
    images: NDArray[Any], weights: NDArray[Any], stride: int = 1, groups: int = 1
) -> NDArray[Any]:
    """2-D cross-correlation with a padding of half the kernel, N x C x H x W."""
    half = weights.shape[2] // 2
    padded = np.pad(images, ((0, 0), (0, 0), (half, half), (half, half)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, weights.shape[2:], axis=(2, 3))
    windows = windows[:, :, ::stride, ::stride]
    parts = zip(np.split(windows, groups, axis=1), np.split(weights, groups, axis=0), strict=True)
    return np.concatenate([np.einsum("nchwij,ocij->nohw", w, k) for w, k in parts], axis=1)


def _one_to_one(
    nodes: list[Any],
    formula: Callable[[NDArray[np.float64]], NDArray[Any]],
    axes: tuple[int, ...],
    batches: tuple[int, ...] = (1, 3),
    **tensors: NDArray[Any],
) -> Problem:
    """A graph from `x` to `y`, called with several batch sizes."""
    calls = []
    for batch in batches:
        given = _normal(batch, batch, *axes)
        calls.append(Call({"x": given}, {"y": _float32(formula(given.astype(np.float64)))}))
    shape = calls[0].expected["y"].shape[1:]
    return Problem(
        serialized(
            nodes,
            [("x", "float32", ("batch", *axes))],
            [("y", "float32", ("batch", *shape))],
            **tensors,
        ),
        tuple(calls),
    )


def _conv() -> Problem:
    weights, bias = _normal(10, 8, 3, 3, 3), _normal(11, 8)
    return _one_to_one(
        [node("Conv", ["x", "w", "b"], "y", pads=[1] * 4, strides=[2, 2])],
        lambda x: _convolve(x, weights.astype(np.float64), 2) + bias[:, None, None],
        (3, 16, 12),
        w=weights,
        b=bias,
    )


def _depthwise() -> Problem:
    weights = _normal(12, 8, 1, 3, 3)
    return _one_to_one(
        [node("Conv", ["x", "w"], "y", pads=[1] * 4, group=8)],
        lambda x: _convolve(x, weights.astype(np.float64), groups=8),
        (8, 10, 10),
        w=weights,
    )


def _gemm() -> Problem:
    weights, bias = _normal(13, 5, 32), _normal(14, 5)
    return _one_to_one(
        [node("Gemm", ["x", "w", "b"], "y", transB=1)],
        lambda x: x @ weights.T.astype(np.float64) + bias,
        (32,),
        w=weights,
        b=bias,
    )


def _matmul() -> Problem:
    weights = _normal(15, 16, 7)
    return _one_to_one(
        [node("MatMul", ["x", "w"], "y")],
        lambda x: x @ weights.astype(np.float64),
        (4, 16),
        w=weights,
    )


def _add_mul() -> Problem:
    scale, shift = _normal(16, 6, 1, 1), _normal(17, 6, 1, 1)
    return _one_to_one(
        [node("Mul", ["x", "scale"], "scaled"), node("Add", ["scaled", "shift"], "y")],
        lambda x: x * scale + shift,
        (6, 5, 5),
        scale=scale,
        shift=shift,
    )


def _relu_clip() -> Problem:
    return _one_to_one(
        [node("Relu", ["x"], "positive"), node("Clip", ["positive", "low", "high"], "y")],
        lambda x: np.clip(np.maximum(x, 0), 0.25, 1.5),
        (4, 6, 6),
        low=np.array(0.25, np.float32),
        high=np.array(1.5, np.float32),
    )


def _pool() -> Problem:
    return _one_to_one(
        [node("GlobalAveragePool", ["x"], "y")],
        lambda x: x.mean(axis=(2, 3), keepdims=True),
        (5, 7, 9),
    )


def _softmax() -> Problem:
    def formula(x: NDArray[np.float64]) -> NDArray[Any]:
        powers: NDArray[np.float64] = np.exp(x - x.max(axis=-1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=-1, keepdims=True))

    return _one_to_one([node("Softmax", ["x"], "y", axis=-1)], formula, (6,))


def _resize() -> Problem:
    return _one_to_one(
        [
            node(
                "Resize",
                ["x", "", "scales"],
                "y",
                mode="nearest",
                coordinate_transformation_mode="asymmetric",
                nearest_mode="floor",
            )
        ],
        lambda x: x.repeat(2, axis=2).repeat(2, axis=3),
        (2, 4, 5),
        scales=np.array([1, 1, 2, 2], np.float32),
    )


def _several() -> Problem:
    """Names that neither alphabet nor use puts in the graph's order; sums tell them apart."""
    left, right = _normal(18, 2, 3), _normal(19, 2, 3)
    edges = [(name, "float32", ("batch", 3)) for name in ("zeta", "alpha")]
    return Problem(
        serialized(
            [
                node("Add", ["alpha", "zeta"], "m_sum"),
                node("Sub", ["zeta", "alpha"], "a_difference"),
            ],
            edges,
            [("m_sum", "float32", ("batch", 3)), ("a_difference", "float32", ("batch", 3))],
        ),
        (
            Call(
                {"zeta": left, "alpha": right},
                {"m_sum": left + right, "a_difference": left - right},
            ),
        ),
    )


def _integers() -> Problem:
    given = np.array([[3, -5, 2**31 - 2]], np.int64)
    return Problem(
        serialized(
            [node("Add", ["x", "one"], "y")],
            [("x", "int64", (1, 3))],
            [("y", "int64", (1, 3))],
            one=np.array([1, 1, 1], np.int64),
        ),
        (Call({"x": given}, {"y": given + 1}),),
    )


def _exact() -> Problem:
    """Values with 13 bits: exact in float32, rounded in bfloat16, float16 and TF32."""
    given = (1 + np.arange(1, 65, dtype=np.float32)[None] / 4096).astype(np.float32)
    weights = np.eye(64, dtype=np.float32)[:, ::-1].copy()
    return Problem(product(weights), (Call({"x": given}, {"y": given[:, ::-1].copy()}),))


def _not_a_number() -> Problem:
    """Through arithmetic only: what ReLU and Clip make of NaN differs between libraries."""
    given = np.array([[np.nan, 1, np.inf, -np.inf]], np.float32)
    return Problem(
        serialized(
            [node("Add", ["x", "one"], "y")],
            [("x", "float32", ("batch", 4))],
            [("y", "float32", ("batch", 4))],
            one=np.ones(4, np.float32),
        ),
        (Call({"x": given}, {"y": given + 1}),),
    )


def _quantized() -> Problem:
    """A QDQ convolution in form A: U8 asymmetric activations, S8 weights a channel, INT32 bias.

    Weights have 7 bits, so that no 8-bit kernel saturates in between.
    """
    rng = np.random.default_rng(20)
    weights = rng.integers(-63, 64, (16, 16, 3, 3)).astype(np.int8)
    bias = rng.integers(-2000, 2000, 16).astype(np.int32)
    scale_x, zero_x, scale_y, zero_y = np.float32(0.05), np.uint8(117), np.float32(0.4), np.uint8(9)
    scales_w = np.linspace(0.01, 0.02, 16).astype(np.float32)
    calls = []
    for batch in (1, 2):
        levels = rng.integers(0, 256, (batch, 16, 9, 9))
        sums = _convolve(levels - int(zero_x), weights.astype(np.int64)) + bias[:, None, None]
        real = sums * np.float64(scale_x) * scales_w[:, None, None]
        out = np.clip(np.rint(real / scale_y) + int(zero_y), 0, 255)
        calls.append(
            Call(
                {"x": _float32((levels - int(zero_x)) * scale_x)},
                {"y": _float32((out - int(zero_y)) * scale_y)},
            )
        )
    onnx = serialized(
        [
            node("QuantizeLinear", ["x", "sx", "zx"], "xq"),
            node("DequantizeLinear", ["xq", "sx", "zx"], "xd"),
            node("DequantizeLinear", ["w", "sw", "zw"], "wd", axis=0),
            node("DequantizeLinear", ["b", "sb", "zb"], "bd", axis=0),
            node("Conv", ["xd", "wd", "bd"], "c", pads=[1] * 4),
            node("QuantizeLinear", ["c", "sy", "zy"], "cq"),
            node("DequantizeLinear", ["cq", "sy", "zy"], "y"),
        ],
        [("x", "float32", ("batch", 16, 9, 9))],
        [("y", "float32", ("batch", 16, 9, 9))],
        w=weights,
        b=bias,
        sx=np.array(scale_x),
        zx=np.array(zero_x),
        sy=np.array(scale_y),
        zy=np.array(zero_y),
        sw=scales_w,
        zw=np.zeros(16, np.int8),
        sb=scales_w * scale_x,
        zb=np.zeros(16, np.int32),
    )
    return Problem(onnx, tuple(calls))


CASES: tuple[Case, ...] = (
    Case("conv", "fp32", _conv),
    Case("conv-depthwise", "fp32", _depthwise),
    Case("gemm", "fp32", _gemm),
    Case("matmul", "fp32", _matmul),
    Case("add-mul", "fp32", _add_mul),
    Case("relu-clip", "fp32", _relu_clip),
    Case("global-average-pool", "fp32", _pool),
    Case("softmax", "fp32", _softmax),
    Case("resize-nearest", "fp32", _resize),
    Case("several-inputs-and-outputs", "fp32", _several),
    Case("int64", "fp32", _integers, atol=0, rtol=0),
    Case("float32-to-the-last-bit", "fp32", _exact, atol=0, rtol=0),
    Case("not-a-number", "fp32", _not_a_number, atol=0, rtol=0),
    # One step of the output's quantization: a half may be rounded either way.
    Case("quantized-conv", "int8", _quantized, precision="int8", atol=0.401, rtol=0),
)
"""Every numeric case."""
