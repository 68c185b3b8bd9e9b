"""A BatchNorm behind a ReLU goes into the next layer, where that is exact, and else stays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.export.test_graph_cleaning import cleaned, floats, graph, kinds

NORM = {
    "scale": floats(4),
    "shift": floats(4),
    "mean": floats(4),
    "variance": np.abs(floats(4)) + 0.3,
}
AS_NORM: list[Any] = [("BatchNormalization", ["r", *NORM], ["n"], {"epsilon": 1e-3})]
FACTOR = floats(1, 4, 1, 1)
AS_STEPS: list[Any] = [
    ("Mul", ["r", "f"], ["n1"], {}),
    ("Sub", ["n1", "t"], ["n2"], {}),
    ("Div", ["n2", "d"], ["n3"], {}),
    ("Add", ["t", "n3"], ["n"], {}),
]
STEPS = {"f": FACTOR, "t": floats(4, 1, 1), "d": np.float32(0.7)}
BEFORE: list[Any] = [("Conv", ["x", "w"], ["c"], {}), ("Relu", ["c"], ["r"], {})]


@pytest.mark.parametrize("group", [1, 2, 4])
@pytest.mark.parametrize("steps", [AS_NORM, AS_STEPS])
def test_into_the_next_convolution(steps, group):
    layers = [
        *BEFORE,
        *steps,
        ("Conv", ["n", "v", "b"], ["y"], {"group": group, "strides": [2, 2]}),
    ]
    constants = {**NORM, **STEPS, "w": floats(4, 3, 3, 3), "b": floats(8)}
    made = cleaned(graph(layers, constants | {"v": floats(8, 4 // group, 3, 3)}))
    assert kinds(made) == ["Conv", "Relu", "Conv"]


@pytest.mark.parametrize("steps", [AS_NORM, AS_STEPS])
def test_into_the_dense_layer_behind_the_mean(steps):
    layers = [
        *BEFORE,
        *steps,
        ("GlobalAveragePool", ["n"], ["g"], {}),
        ("Flatten", ["g"], ["flat"], {}),
        ("Gemm", ["flat", "v"], ["y"], {}),
    ]
    constants = {**NORM, **STEPS, "w": floats(4, 3, 3, 3), "v": floats(4, 5)}
    made = cleaned(graph(layers, constants))
    assert kinds(made) == ["Conv", "Relu", "GlobalAveragePool", "Flatten", "Gemm"]


@pytest.mark.parametrize(
    "end",
    [
        [("Conv", ["n", "v"], ["y"], {"pads": [1, 1, 1, 1]})],
        [("Conv", ["n", "v"], ["y"], {"auto_pad": "SAME_UPPER"})],
        [("MaxPool", ["n"], ["m"], {"kernel_shape": [2, 2]}), ("Conv", ["m", "v"], ["y"], {})],
        [("Conv", ["n", "v"], ["z"], {}), ("Conv", ["n", "v"], ["q"], {}),
         ("Add", ["z", "q"], ["y"], {})],
    ],
    ids=["padded", "auto-padded", "pooled", "two-users"],
)  # fmt: skip
def test_stays_where_it_would_not_be_exact(end: Any):
    """Zeros of a padding are not scaled; a negative factor makes another value the largest."""
    layers = [*BEFORE, *AS_NORM, *end]
    made = cleaned(graph(layers, {**NORM, "w": floats(4, 3, 3, 3), "v": floats(5, 4, 3, 3)}))
    assert kinds(made).count("BatchNormalization") == 1


def test_a_constant_over_the_activation_stays():
    layers = [*BEFORE, ("Div", ["f", "r1"], ["n"], {}), ("Conv", ["n", "v"], ["y"], {})]
    layers.insert(2, ("Add", ["r", "one"], ["r1"], {}))
    constants = {"w": floats(4, 3, 3, 3), "v": floats(5, 4, 3, 3), "f": FACTOR}
    made = cleaned(graph(layers, constants | {"one": np.float32(1.0)}))
    assert kinds(made) == ["Conv", "Relu", "Add", "Div", "Conv"]
