"""Quantized graphs, with integers all the way: form A (`int8-cpu`) and form B (`int8-gpu`).

Weights have 7 bits, so that no 8-bit kernel saturates in between, but for the cases that ask for
`int8-full-range`: there they have 8, and a processor without an 8-bit dot product gets other
values. A half may be rounded either way where a library adds in float, so the tolerance is one
step of the output.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medsdk_conformance.case import Case, Problem, float32, problem
from medsdk_conformance.graphs import FOREIGN_OPSETS, OPSET, node
from medsdk_conformance.oracles import convolve
from medsdk_runtimes import Capability

Form = Literal["A", "B"]
Operator = Literal["Conv", "Gemm"]
Values = NDArray[Any]

_SCALE_X = np.float32(0.05)
_SCALE_Y = np.float32(0.4)
_ZERO_X: dict[Form, int] = {"A": 117, "B": 0}
_ZERO_Y: dict[Form, int] = {"A": 9, "B": 0}
_RANGE: dict[Form, tuple[int, int]] = {"A": (0, 255), "B": (-128, 127)}
_DTYPE: dict[Form, type[np.generic]] = {"A": np.uint8, "B": np.int8}

_SEVEN_BITS = 63
_EIGHT_BITS = 127

STEP = 0.401
"""One step of the outputs here, and a little."""


def _pair(source: str, target: str, name: str) -> list[Any]:
    """QuantizeLinear and DequantizeLinear."""
    constants = [f"scale_{name}", f"zero_{name}"]
    return [
        node("QuantizeLinear", [source, *constants], f"{target}_q"),
        node("DequantizeLinear", [f"{target}_q", *constants], target),
    ]


def _constants(form: Form, channels: int, largest: int) -> dict[str, Any]:
    """Scales, zero points and a bias; INT32 in form A, float in form B."""
    rng = np.random.default_rng(71)
    levels = rng.integers(-2000, 2000, channels)
    # Larger weights have smaller steps, so that the results stay in range.
    scales = (np.linspace(0.01, 0.02, channels) * _SEVEN_BITS / largest).astype(np.float32)
    found: dict[str, Any] = {
        "scale_x": np.array(_SCALE_X),
        "zero_x": np.array(_ZERO_X[form], _DTYPE[form]),
        "scale_y": np.array(_SCALE_Y),
        "scale_w": scales,
        "zero_w": np.zeros(channels, np.int8),
    }
    if form == "A":
        found["bias"] = levels.astype(np.int32)
        found["scale_bias"] = scales * _SCALE_X
        found["zero_bias"] = np.zeros(channels, np.int32)
    else:
        found["bias_d"] = float32(levels * scales.astype(np.float64) * _SCALE_X)
    return found


def _layer(
    form: Form,
    operator: Operator,
    shape: tuple[int, ...],
    axes: tuple[int, ...],
    *,
    relu: bool = False,
    residual: bool = False,
    largest: int = _SEVEN_BITS,
    opset: int = OPSET,
    **attributes: Any,  # noqa: ANN401 - attributes of the operator
) -> Callable[[], Problem]:
    """A case's builder: one quantized layer, with a ReLU or a residual addition after it."""

    def real(levels: Values, weights: Values, constants: dict[str, Any]) -> Values:
        given = levels - _ZERO_X[form]
        if operator == "Gemm":
            sums: Values = given @ weights.T.astype(np.int64)
        else:
            sums = convolve(
                given,
                weights.astype(np.int64),
                strides=attributes.get("strides", ()),
                groups=attributes.get("group", 1),
            )
        after = (1,) * (len(axes) - 1)
        scales = constants["scale_w"].astype(np.float64).reshape(-1, *after)
        if form == "A":
            whole = sums + constants["bias"].reshape(-1, *after)
            return np.asarray(whole * np.float64(_SCALE_X) * scales)
        bias = constants["bias_d"].astype(np.float64).reshape(-1, *after)
        return np.asarray(sums * np.float64(_SCALE_X) * scales + bias)

    # What follows a ReLU has no negative values, so its zero point is the lowest level.
    zero_y = 0 if relu else _ZERO_Y[form]

    def rounded(values: Values) -> Values:
        """To the output's steps and back."""
        steps = np.clip(np.rint(values / np.float64(_SCALE_Y)) + zero_y, *_RANGE[form])
        return np.asarray((steps - zero_y) * np.float64(_SCALE_Y))

    def build() -> Problem:
        rng = np.random.default_rng(70)
        weights = rng.integers(-largest, largest + 1, shape).astype(np.int8)
        constants = _constants(form, shape[0], largest)
        constants["zero_y"] = np.array(zero_y, _DTYPE[form])
        low, high = _RANGE[form]
        calls = []
        for batch in (1, 2):
            levels = rng.integers(low, high + 1, (batch, *axes))
            x = float32((levels - _ZERO_X[form]) * np.float64(_SCALE_X))
            y = real(levels, weights, constants)
            y = rounded(np.maximum(y, 0) if relu else y)
            inputs = {"x": x}
            if residual:
                other = rng.integers(low, high + 1, (batch, *axes)) if form == "B" else levels
                added = (other - _ZERO_X[form]) * np.float64(_SCALE_X)
                y = rounded(y + added)
                if form == "B":
                    inputs["r"] = float32(added)
            calls.append((inputs, {"y": float32(y)}))
        bias = (
            [node("DequantizeLinear", ["bias", "scale_bias", "zero_bias"], "bias_d", axis=0)]
            if form == "A"
            else []
        )
        shown = {"transB": 1} if operator == "Gemm" else {"pads": [shape[2] // 2] * 4, **attributes}
        layer = [
            *_pair("x", "x_d", "x"),
            node("DequantizeLinear", ["w", "scale_w", "zero_w"], "w_d", axis=0),
            *bias,
            node(operator, ["x_d", "w_d", "bias_d"], "c", **shown),
        ]
        last = "c"
        if relu and form == "A":
            layer.append(node("Relu", ["c"], "r"))
            last = "r"
        elif relu:
            # S8 has negative levels, so the ReLU stays a node of its own, between two pairs.
            layer += [*_pair("c", "c_d", "y"), node("Relu", ["c_d"], "r")]
            last = "r"
        if residual:
            # Form A adds its input, as MobileNetV2 does, form B another one: ONNX Runtime 1.31
            # leaves a layer with a float bias in float32 where its DequantizeLinear is shared.
            other_d = "x_d" if form == "A" else "r_d"
            layer += [
                *_pair("c", "c_d", "y"),
                *(_pair("r", "r_d", "x") if form == "B" else []),
                node("Add", [other_d, "c_d"], "sum"),
            ]
            last = "sum"
        return problem([*layer, *_pair(last, "y", "y")], calls, opset=opset, w=weights, **constants)

    return build


def _case(
    identifier: str,
    form: Form,
    asks: str,
    build: Callable[[], Problem],
    steps: int = 1,
    *,
    full_range: bool = False,
) -> Case:
    runs: Capability = "int8-asymmetric" if form == "A" else "int8"
    return Case(
        identifier,
        "int8-full-range" if full_range else runs,
        f"Form {form}: {asks}",
        build,
        besides=runs if full_range else None,
        precision="int8",
        atol=STEP * steps,
        rtol=0,
    )


_FORMS: tuple[Form, ...] = ("A", "B")
_FULL_RANGE: tuple[
    tuple[str, str, Operator, tuple[int, ...], tuple[int, ...], dict[str, Any]], ...
] = (
    ("conv", "Conv 3x3", "Conv", (16, 16, 3, 3), (16, 9, 9), {}),
    ("pointwise", "Conv 1x1", "Conv", (24, 64, 1, 1), (64, 7, 5), {}),
    ("gemm", "Gemm", "Gemm", (10, 64), (64,), {}),
)

CASES: tuple[Case, ...] = (
    _case("quantized-conv", "A", "Conv 3x3", _layer("A", "Conv", (16, 16, 3, 3), (16, 9, 9))),
    _case(
        "quantized-conv-relu",
        "A",
        "Conv 3x3, stride 2, Relu",
        _layer("A", "Conv", (16, 16, 3, 3), (16, 9, 9), relu=True, strides=[2, 2]),
    ),
    _case("quantized-pointwise", "A", "Conv 1x1", _layer("A", "Conv", (24, 16, 1, 1), (16, 7, 5))),
    _case(
        "quantized-depthwise",
        "A",
        "Conv 3x3, one group a channel",
        _layer("A", "Conv", (16, 1, 3, 3), (16, 8, 8), group=16),
    ),
    _case("quantized-gemm", "A", "Gemm", _layer("A", "Gemm", (10, 64), (64,))),
    _case(
        "quantized-residual",
        "A",
        "Conv 3x3 and the addition of its input",
        _layer("A", "Conv", (16, 16, 3, 3), (16, 9, 9), residual=True),
        steps=2,
    ),
    _case(
        "quantized-conv-symmetric",
        "B",
        "Conv 3x3, float bias",
        _layer("B", "Conv", (16, 16, 3, 3), (16, 9, 9)),
    ),
    _case(
        "quantized-conv-relu-symmetric",
        "B",
        "Conv 3x3, stride 2, float bias, Relu",
        _layer("B", "Conv", (16, 16, 3, 3), (16, 9, 9), relu=True, strides=[2, 2]),
    ),
    _case(
        "quantized-depthwise-symmetric",
        "B",
        "Conv 3x3, one group a channel, float bias",
        _layer("B", "Conv", (16, 1, 3, 3), (16, 8, 8), group=16),
    ),
    _case(
        "quantized-gemm-symmetric",
        "B",
        "Gemm, float bias",
        _layer("B", "Gemm", (10, 64), (64,)),
    ),
    _case(
        "quantized-residual-symmetric",
        "B",
        "Conv 3x3, float bias, and the addition of another tensor",
        _layer("B", "Conv", (16, 16, 3, 3), (16, 9, 9), residual=True),
        steps=2,
    ),
    *(
        _case(
            f"quantized-conv-opset-{opset}",
            "A",
            f"Conv 3x3, Relu; opset {opset}",
            _layer("A", "Conv", (16, 16, 3, 3), (16, 9, 9), relu=True, opset=opset),
        )
        for opset in FOREIGN_OPSETS
    ),
    *(
        _case(
            f"quantized-conv-symmetric-opset-{opset}",
            "B",
            f"Conv 3x3, float bias; opset {opset}",
            _layer("B", "Conv", (16, 16, 3, 3), (16, 9, 9), opset=opset),
        )
        for opset in FOREIGN_OPSETS
    ),
    *(
        _case(
            f"quantized-{name}-full-range{'' if form == 'A' else '-symmetric'}",
            form,
            f"{asks} with 8-bit weights",
            _layer(form, operator, shape, axes, largest=_EIGHT_BITS, **attributes),
            full_range=True,
        )
        for form in _FORMS
        for name, asks, operator, shape, axes, attributes in _FULL_RANGE
    ),
)
"""Every quantized graph."""
