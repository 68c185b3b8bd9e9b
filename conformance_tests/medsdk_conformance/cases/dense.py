"""Dense layers, matrix products, normalisation and what stands around them in a head."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from medsdk_conformance.case import Case, Problem, float32, normal, one_to_one, problem
from medsdk_conformance.graphs import node
from medsdk_conformance.oracles import per_channel, softmax


def _gemm() -> Problem:
    weights, bias = normal(13, 5, 32), normal(14, 5)
    return one_to_one(
        [node("Gemm", ["x", "w", "b"], "y", transB=1)],
        lambda x: x @ weights.T.astype(np.float64) + bias,
        (32,),
        w=weights,
        b=bias,
    )


def _gemm_scaled() -> Problem:
    weights, bias = normal(21, 12, 5), normal(22, 1, 5)
    return one_to_one(
        [node("Gemm", ["x", "w", "b"], "y", alpha=0.5, beta=2.0)],
        lambda x: 0.5 * (x @ weights.astype(np.float64)) + 2 * bias.astype(np.float64),
        (12,),
        w=weights,
        b=bias,
    )


def _matmul() -> Problem:
    weights = normal(15, 16, 7)
    return one_to_one(
        [node("MatMul", ["x", "w"], "y")],
        lambda x: x @ weights.astype(np.float64),
        (4, 16),
        w=weights,
    )


def _matmul_of_inputs() -> Problem:
    calls = []
    for batch in (1, 3):
        left, right = normal(23, batch, 2, 5, 8), normal(24, batch, 2, 8, 3)
        product = left.astype(np.float64) @ right
        calls.append(({"a": left, "b": right}, {"y": float32(product)}))
    return problem([node("MatMul", ["a", "b"], "y")], calls)


def _batch_normalization(relu_first: bool) -> Callable[[], Problem]:
    def build() -> Problem:
        scale, shift, mean = normal(25, 6), normal(26, 6), normal(27, 6)
        variance = np.abs(normal(28, 6)) + np.float32(0.5)
        nodes = [node("BatchNormalization", ["r", "s", "b", "m", "v"], "y", epsilon=1e-3)]
        nodes.insert(0, node("Relu" if relu_first else "Identity", ["x"], "r"))
        spread = np.sqrt(per_channel(variance).astype(np.float64) + 1e-3)
        return one_to_one(
            nodes,
            lambda x: (
                ((np.maximum(x, 0) if relu_first else x) - per_channel(mean))
                / spread
                * per_channel(scale)
                + per_channel(shift)
            ),
            (6, 5, 4),
            s=scale,
            b=shift,
            m=mean,
            v=variance,
        )

    return build


def _head() -> Problem:
    """VGG's head as the mammography task has it."""
    first, last = normal(29, 4 * 3 * 2, 16) / np.float32(5), normal(30, 16, 3)
    scale, shift, mean = normal(31, 16), normal(32, 16), np.abs(normal(33, 16))
    variance = np.abs(normal(34, 16)) + np.float32(0.5)
    deviation = np.sqrt(variance.astype(np.float64) + 1e-3)

    def formula(x: np.ndarray) -> np.ndarray:
        hidden = np.maximum(x.reshape(len(x), -1) @ first.astype(np.float64), 0)
        normalized = (hidden - mean) / deviation * scale + shift
        return softmax(normalized @ last.astype(np.float64))

    return one_to_one(
        [
            node("Flatten", ["x"], "flat"),
            node("Gemm", ["flat", "first"], "dense"),
            node("Relu", ["dense"], "relu"),
            node("BatchNormalization", ["relu", "s", "b", "m", "v"], "bn", epsilon=1e-3),
            node("Dropout", ["bn"], "kept"),
            node("Gemm", ["kept", "last"], "logits"),
            node("Softmax", ["logits"], "y", axis=1),
        ],
        formula,
        (4, 3, 2),
        first=first,
        last=last,
        s=scale,
        b=shift,
        m=mean,
        v=variance,
    )


CASES: tuple[Case, ...] = (
    Case("gemm", "fp32", "Gemm, weights transposed", _gemm),
    Case("gemm-scaled", "fp32", "Gemm with alpha and beta", _gemm_scaled),
    Case("matmul", "fp32", "MatMul with a constant", _matmul),
    Case("matmul-of-inputs", "fp32", "MatMul of two inputs, batched", _matmul_of_inputs),
    Case("batch-normalization", "fp32", "BatchNormalization", _batch_normalization(False)),
    Case(
        "batch-normalization-after-relu",
        "fp32",
        "Relu, BatchNormalization: cannot be folded backwards",
        _batch_normalization(True),
    ),
    Case("head", "fp32", "Flatten, Gemm, Relu, BatchNormalization, Dropout, Softmax", _head),
)
"""Every dense layer in float32."""
