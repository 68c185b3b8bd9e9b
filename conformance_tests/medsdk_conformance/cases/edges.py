"""The edges of a graph: names, types, order, and values that must come through unchanged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medsdk_conformance.case import Call, Case, Problem, float32, normal, problem
from medsdk_conformance.graphs import node, product
from medsdk_conformance.oracles import convolve


def _several() -> Problem:
    """Names that neither alphabet nor use puts in the graph's order; sums tell them apart."""
    left, right = normal(18, 1, 3), normal(19, 1, 3)
    return problem(
        [
            node("Add", ["alpha", "zeta"], "m_sum"),
            node("Sub", ["zeta", "alpha"], "a_difference"),
        ],
        [
            (
                {"zeta": left, "alpha": right},
                {"m_sum": left + right, "a_difference": left - right},
            )
        ],
    )


def _inner_output() -> Problem:
    """An output that the graph goes on with, as heat maps need it."""
    x = normal(46, 2, 5)
    features = np.maximum(x, 0)
    return problem(
        [node("Relu", ["x"], "features"), node("ReduceSum", ["features", "axes"], "logit")],
        [({"x": x}, {"logit": float32(features.sum(1, keepdims=True)), "features": features})],
        dynamic=False,
        axes=np.array([1]),
    )


def _names() -> Problem:
    """As TensorFlow names things, and as nobody should."""
    x = normal(47, 1, 3)
    return problem(
        [node("Neg", ["serving_default_x:0"], "model/Größe/BiasAdd:0")],
        [({"serving_default_x:0": x}, {"model/Größe/BiasAdd:0": -x})],
    )


def _twice() -> Problem:
    """One value as two outputs."""
    x = normal(48, 1, 3)
    return problem(
        [
            node("Neg", ["x"], "n"),
            node("Identity", ["n"], "first"),
            node("Identity", ["n"], "second"),
        ],
        [({"x": x}, {"first": -x, "second": -x})],
    )


def _integers(dtype: str, values: list[int]) -> Callable[[], Problem]:
    def build() -> Problem:
        given = np.array([values], dtype)
        one = np.ones(1, dtype)
        return problem(
            [node("Add", ["x", "one"], "y")],
            [({"x": given}, {"y": given + one})],
            dynamic=False,
            one=one,
        )

    return build


def _bytes_to_float() -> Problem:
    """Pixels as a camera gives them, scaled inside the graph."""
    levels = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    return problem(
        [node("Cast", ["x"], "f", to=1), node("Mul", ["f", "share"], "y")],
        [({"x": levels}, {"y": levels.astype(np.float32) * np.float32(0.25)})],
        share=np.array(0.25, np.float32),
    )


def _float_to_bytes() -> Problem:
    """Towards zero, within the range: beyond it ONNX leaves the result open."""
    x = np.array([[0.0, 0.99, 1.0, 254.5, 255.0]], np.float32)
    return problem(
        [node("Cast", ["x"], "y", to=2)], [({"x": x}, {"y": x.astype(np.uint8)})], dynamic=False
    )


def _bools() -> Problem:
    a = np.array([[True, True, False, False]])
    b = np.array([[True, False, True, False]])
    return problem(
        [node("And", ["a", "b"], "both"), node("Or", ["a", "b"], "any")],
        [({"a": a, "b": b}, {"both": a & b, "any": a | b})],
        dynamic=False,
    )


def _compared() -> Problem:
    x = np.array([[-1.0, 0.0, 0.5, 2.0]], np.float32)
    return problem(
        [node("Greater", ["x", "half"], "above"), node("Equal", ["x", "half"], "equal")],
        [({"x": x}, {"above": x > 0.5, "equal": x == 0.5})],
        dynamic=False,
        half=np.array(0.5, np.float32),
    )


def _indices() -> Problem:
    """Which row, as an input."""
    table = normal(49, 6, 4)
    rows = np.array([5, 0, 3], np.int64)
    return problem(
        [node("Gather", ["table", "rows"], "y", axis=0)],
        [({"rows": rows}, {"y": table[rows]})],
        dynamic=False,
        table=table,
    )


def _exact() -> Problem:
    """Values with 13 bits: exact in float32, rounded in bfloat16, float16 and TF32."""
    given = (1 + np.arange(1, 65, dtype=np.float32)[None] / 4096).astype(np.float32)
    weights = np.eye(64, dtype=np.float32)[:, ::-1].copy()
    return Problem(product(weights), (Call({"x": given}, {"y": given[:, ::-1].copy()}),))


def _exact_conv() -> Problem:
    """The same through a convolution, which takes another way in every library."""
    given = (1 + np.arange(1, 129, dtype=np.float32) / 4096).reshape(1, 8, 4, 4).astype(np.float32)
    weights = np.eye(8, dtype=np.float32)[::-1].copy().reshape(8, 8, 1, 1)
    return problem(
        [node("Conv", ["x", "w"], "y")], [({"x": given}, {"y": given[:, ::-1].copy()})], w=weights
    )


def _not_a_number() -> Problem:
    """Through arithmetic only: what ReLU and Clip make of NaN differs between libraries."""
    given = np.array([[np.nan, 1, np.inf, -np.inf]], np.float32)
    return problem(
        [node("Add", ["x", "one"], "y")],
        [({"x": given}, {"y": given + 1})],
        one=np.ones(4, np.float32),
    )


def _not_a_number_layers() -> Problem:
    """One NaN spoils every sum that it is part of, and no other."""
    weights = np.array([[1, 2]] * 4, np.float32)
    given = np.array([[1, 2, 3, 4], [1, np.nan, 3, 4], [np.inf, 2, 3, 4]], np.float32)
    sums: NDArray[Any] = given.sum(axis=1, keepdims=True) * np.array([1, 2])
    return problem(
        [node("MatMul", ["x", "w"], "y")],
        [
            ({"x": given[:1]}, {"y": float32(sums[:1])}),
            ({"x": given[1:]}, {"y": float32(sums[1:])}),
            ({"x": given}, {"y": float32(sums)}),
        ],
        w=weights,
    )


def _not_a_number_matmul() -> Problem:
    """Spoils the row that it is in."""
    weights = normal(92, 4, 3)
    given = np.array([[[1, np.nan, 3, 4], [1, 2, 3, 4], [np.inf, 0, 0, 0]]], np.float32)
    sums = np.zeros((1, 3, 3))
    sums[0, 0] = np.nan
    sums[0, 1] = given[0, 1].astype(np.float64) @ weights
    sums[0, 2] = np.sign(weights[0]) * np.inf
    return problem(
        [node("MatMul", ["x", "w"], "y")], [({"x": given}, {"y": float32(sums)})], w=weights
    )


def _not_a_number_conv(kernel: int, groups: int, strides: list[int]) -> Callable[[], Problem]:
    """Spoils the outputs whose window it is in, and no other.

    Not with stride 1 where channels are mixed: Winograd's tiles spread it, and are honest.
    """

    def build() -> Problem:
        given, weights = normal(93, 1, 8, 9, 9), normal(94, 8, 8 // groups, kernel, kernel)
        given[0, 3, 4, 4] = np.nan
        spoilt = np.zeros_like(given, np.float64)
        spoilt[0, 3, 4, 4] = 1
        clean = np.nan_to_num(given).astype(np.float64)
        ones = np.ones_like(weights, np.float64)
        reached = convolve(spoilt, ones, strides=strides, groups=groups) > 0
        y = convolve(clean, weights.astype(np.float64), strides=strides, groups=groups)
        return problem(
            [
                node(
                    "Conv",
                    ["x", "w"],
                    "y",
                    pads=[kernel // 2] * 4,
                    strides=strides,
                    group=groups,
                )
            ],
            [({"x": given}, {"y": float32(np.where(reached, np.nan, y))})],
            w=weights,
        )

    return build


CASES: tuple[Case, ...] = (
    Case(
        "several-inputs-and-outputs",
        "fp32",
        "Two inputs, two outputs, none in alphabetical order",
        _several,
    ),
    Case("inner-output", "fp32", "An output that is used inside the graph as well", _inner_output),
    Case("output-twice", "fp32", "One value as two outputs", _twice),
    Case("names", "fp32", "Names with colons, slashes and umlauts", _names),
    Case(
        "float32-to-the-last-bit",
        "fp32",
        "MatMul of values with 13 bits, exactly",
        _exact,
        atol=0,
        rtol=0,
    ),
    Case(
        "float32-to-the-last-bit-conv",
        "fp32",
        "Conv of values with 13 bits, exactly",
        _exact_conv,
        atol=0,
        rtol=0,
    ),
    Case("not-a-number", "fp32", "NaN and infinities through Add", _not_a_number, atol=0, rtol=0),
    Case(
        "not-a-number-matmul",
        "fp32",
        "NaN and infinity through MatMul, other rows unharmed",
        _not_a_number_matmul,
    ),
    Case(
        "not-a-number-conv",
        "fp32",
        "NaN through Conv 3x3, stride 2, where its window reaches",
        _not_a_number_conv(3, 1, [2, 2]),
    ),
    Case(
        "not-a-number-pointwise",
        "fp32",
        "NaN through Conv 1x1, other pixels unharmed",
        _not_a_number_conv(1, 1, [1, 1]),
    ),
    Case(
        "not-a-number-depthwise",
        "fp32",
        "NaN through Conv 3x3, one group a channel, other channels unharmed",
        _not_a_number_conv(3, 8, [1, 1]),
    ),
    Case(
        "not-a-number-layers",
        "dynamic-batch",
        "NaN and infinity through MatMul, other rows unharmed, of several batch sizes",
        _not_a_number_layers,
    ),
    Case(
        "int64",
        "integer-edges",
        "int64 in and out",
        _integers("int64", [3, -5, 2**31 - 2]),
        atol=0,
        rtol=0,
    ),
    Case(
        "int32",
        "integer-edges",
        "int32 in and out, its ends too",
        _integers("int32", [-(2**31), 2**31 - 2, 7]),
        atol=0,
        rtol=0,
    ),
    Case(
        "uint8-to-float",
        "integer-edges",
        "uint8 in, every level, scaled to float32",
        _bytes_to_float,
        atol=0,
        rtol=0,
    ),
    Case(
        "float-to-uint8",
        "integer-edges",
        "float32 in, uint8 out, cut towards zero",
        _float_to_bytes,
        atol=0,
        rtol=0,
    ),
    Case("bool", "integer-edges", "bool in and out", _bools, atol=0, rtol=0),
    Case("compared", "integer-edges", "float32 in, bool out", _compared, atol=0, rtol=0),
    Case("indices", "integer-edges", "Gather by an int64 input", _indices, atol=0, rtol=0),
)
"""Every case about edges and exact values."""
