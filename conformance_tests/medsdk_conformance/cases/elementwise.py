"""Activations and arithmetic, value by value."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from medsdk_conformance.case import Case, Formula, Problem, normal, one_to_one, problem
from medsdk_conformance.graphs import node
from medsdk_conformance.oracles import sigmoid, softmax

_IMAGE = (4, 6, 5)


def _unary(
    operator: str,
    formula: Formula,
    axes: tuple[int, ...] = _IMAGE,
    *,
    spread: float = 3,
    **attributes: float | int,
) -> Callable[[], Problem]:
    return lambda: one_to_one(
        [node(operator, ["x"], "y", **attributes)], formula, axes, spread=spread
    )


def _add_mul() -> Problem:
    scale, shift = normal(16, 6, 1, 1), normal(17, 6, 1, 1)
    return one_to_one(
        [node("Mul", ["x", "scale"], "scaled"), node("Add", ["scaled", "shift"], "y")],
        lambda x: x * scale + shift,
        (6, 5, 5),
        scale=scale,
        shift=shift,
    )


def _sub_div() -> Problem:
    mean, deviation = normal(35, 3, 1, 1), np.abs(normal(36, 3, 1, 1)) + np.float32(0.5)
    return one_to_one(
        [node("Sub", ["x", "mean"], "centred"), node("Div", ["centred", "deviation"], "y")],
        lambda x: (x - mean) / deviation,
        (3, 5, 4),
        mean=mean,
        deviation=deviation,
    )


def _broadcast() -> Problem:
    """Both sides grow: (1, 4) and (3, 1)."""
    row, column = normal(37, 1, 4), normal(38, 3, 1)
    return problem(
        [node("Mul", ["a", "b"], "y")],
        [({"a": row, "b": column}, {"y": row * column})],
        dynamic=False,
    )


def _relu_clip() -> Problem:
    return one_to_one(
        [node("Relu", ["x"], "positive"), node("Clip", ["positive", "low", "high"], "y")],
        lambda x: np.clip(np.maximum(x, 0), 0.25, 1.5),
        (4, 6, 6),
        low=np.array(0.25, np.float32),
        high=np.array(1.5, np.float32),
    )


def _relu6() -> Problem:
    return one_to_one(
        [node("Clip", ["x", "low", "high"], "y")],
        lambda x: np.clip(x, 0, 6),
        _IMAGE,
        spread=5,
        low=np.array(0, np.float32),
        high=np.array(6, np.float32),
    )


def _clip_from_below() -> Problem:
    return one_to_one(
        [node("Clip", ["x", "low"], "y")],
        lambda x: np.maximum(x, -0.5),
        _IMAGE,
        low=np.array(-0.5, np.float32),
    )


def _silu() -> Problem:
    return one_to_one(
        [node("Sigmoid", ["x"], "s"), node("Mul", ["x", "s"], "y")],
        lambda x: x * sigmoid(x),
        _IMAGE,
        spread=3,
    )


def _log() -> Problem:
    return one_to_one(
        [node("Sigmoid", ["x"], "s"), node("Log", ["s"], "y")], lambda x: np.log(sigmoid(x)), _IMAGE
    )


def _sqrt() -> Problem:
    return one_to_one(
        [node("Mul", ["x", "x"], "square"), node("Sqrt", ["square"], "y")], np.abs, _IMAGE
    )


def _power() -> Problem:
    return one_to_one(
        [node("Pow", ["x", "two"], "y")],
        lambda x: x * x,
        _IMAGE,
        two=np.array(2, np.float32),
    )


def _extremes() -> Problem:
    other = normal(39, *_IMAGE)
    return one_to_one(
        [node("Max", ["x", "o"], "m"), node("Min", ["m", "ceiling"], "y")],
        lambda x: np.minimum(np.maximum(x, other), 0.75),
        _IMAGE,
        o=other,
        ceiling=np.array(0.75, np.float32),
    )


def _where() -> Problem:
    """A mask of ReLU, as heat-map graphs have it."""
    return one_to_one(
        [node("Greater", ["x", "zero"], "on"), node("Where", ["on", "x", "scaled"], "y")],
        lambda x: np.where(x > 0, x, 5),
        _IMAGE,
        zero=np.array(0, np.float32),
        scaled=np.full((1, 1, 1, 1), 5, np.float32),
    )


def _mask() -> Problem:
    """The same mask, cast to float and multiplied."""
    return one_to_one(
        [
            node("Less", ["x", "half"], "on"),
            node("Not", ["on"], "off"),
            node("Cast", ["off"], "share", to=1),
            node("Mul", ["x", "share"], "y"),
        ],
        lambda x: x * (x >= 0.5),
        _IMAGE,
        half=np.array(0.5, np.float32),
    )


CASES: tuple[Case, ...] = (
    Case("add-mul", "fp32", "Mul and Add, a value a channel", _add_mul),
    Case("sub-div", "fp32", "Sub and Div, a value a channel", _sub_div),
    Case("broadcast", "fp32", "Mul of a row and a column", _broadcast),
    Case("relu-clip", "fp32", "Relu, then Clip within its range", _relu_clip),
    Case("relu6", "fp32", "Clip to 0 to 6", _relu6),
    Case("clip-from-below", "fp32", "Clip without an upper bound", _clip_from_below),
    Case(
        "leaky-relu",
        "fp32",
        "LeakyRelu, slope 0.1",
        _unary("LeakyRelu", lambda x: np.where(x > 0, x, np.float32(0.1) * x), alpha=0.1),
    ),
    Case("sigmoid", "fp32", "Sigmoid, its tails too", _unary("Sigmoid", sigmoid, spread=8)),
    Case("tanh", "fp32", "Tanh", _unary("Tanh", np.tanh)),
    Case("silu", "fp32", "x times Sigmoid of x", _silu),
    Case(
        "hard-sigmoid",
        "fp32",
        "HardSigmoid",
        _unary("HardSigmoid", lambda x: np.clip(x / 6 + 0.5, 0, 1), alpha=1 / 6, beta=0.5),
    ),
    Case(
        "hard-swish",
        "fp32",
        "HardSwish",
        _unary("HardSwish", lambda x: x * np.clip(x / 6 + 0.5, 0, 1)),
    ),
    Case("exp", "fp32", "Exp, as YOLOv3's boxes use it", _unary("Exp", np.exp, spread=1)),
    Case("log", "fp32", "Log of Sigmoid", _log),
    Case("sqrt", "fp32", "Sqrt of a square", _sqrt),
    Case("abs", "fp32", "Abs", _unary("Abs", np.abs)),
    Case("neg", "fp32", "Neg", _unary("Neg", np.negative)),
    Case("power", "fp32", "Pow with 2", _power),
    Case("min-max", "fp32", "Max of two, Min of two", _extremes),
    Case("where", "fp32", "Greater, Where", _where),
    Case("mask", "fp32", "Less, Not, Cast, Mul", _mask),
    Case(
        "softmax", "fp32", "Softmax over the last axis", _unary("Softmax", softmax, (6,), axis=-1)
    ),
    Case(
        "softmax-channels",
        "fp32",
        "Softmax over the channels of an image",
        _unary("Softmax", lambda x: softmax(x, 1), axis=1),
    ),
    Case(
        "softmax-large",
        "fp32",
        "Softmax of logits up to some thousands: no overflow",
        _unary("Softmax", softmax, (6,), spread=1000, axis=1),
    ),
)
"""Every activation and arithmetic operator in float32."""
