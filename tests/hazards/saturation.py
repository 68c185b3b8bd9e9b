"""A quantized layer whose 16-bit sums of products saturate where weights have 8 bits.

AVX2 and AVX-512 without VNNI multiply unsigned by signed bytes and add neighbours in 16 bits with
saturation (`vpmaddubsw`): 2 * 255 * 127 does not fit, 2 * 255 * 64 does.
"""

from __future__ import annotations

import json
import sys

import numpy as np
from numpy.typing import NDArray

from medsdk_conformance.graphs import node, serialized
from medsdk_runtimes._opening import load

CHANNELS, OUTPUTS, SIDE = 64, 32, 8
BRIGHTEST = 255


def layer(weight: int) -> bytes:
    """A 1 x 1 convolution of uint8 by int8, every weight the same; outputs stay in range."""
    dequantized = [
        node("QuantizeLinear", ["x", "one", "zero"], "xq"),
        node("DequantizeLinear", ["xq", "one", "zero"], "xd"),
        node("DequantizeLinear", ["w", "one", "none"], "wd"),
        node("Conv", ["xd", "wd"], "sum"),
        node("QuantizeLinear", ["sum", "step", "zero"], "yq"),
        node("DequantizeLinear", ["yq", "step", "zero"], "y"),
    ]
    return serialized(
        dequantized,
        [("x", "float32", (1, CHANNELS, SIDE, SIDE))],
        [("y", "float32", (1, OUTPUTS, SIDE, SIDE))],
        w=np.full((OUTPUTS, CHANNELS, 1, 1), weight, np.int8),
        one=np.ones((), np.float32),
        zero=np.zeros((), np.uint8),
        none=np.zeros((), np.int8),
        step=np.array(exact(weight) / 250, np.float32),
    )


def exact(weight: int) -> int:
    """Each output, by arithmetic."""
    return CHANNELS * BRIGHTEST * weight


def input_tensor() -> NDArray[np.float32]:
    """Every pixel as bright as can be."""
    return np.full((1, CHANNELS, SIDE, SIDE), BRIGHTEST, np.float32)


def share_in_openvino(weight: int) -> float:
    """What OpenVINO gives, as a share of the exact sum."""
    core = load("openvino", "openvino", "openvino").Core()
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(layer(weight)), "CPU", options)
    return float(np.array(compiled(input_tensor())[0]).max()) / exact(weight)


def share_in_onnxruntime(weight: int) -> float:
    """What ONNX Runtime gives, as a share of the exact sum."""
    import onnxruntime as ort

    session = ort.InferenceSession(layer(weight), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": input_tensor()})
    return float(found.max()) / exact(weight)


if __name__ == "__main__":
    share = {"openvino": share_in_openvino, "onnxruntime": share_in_onnxruntime}[sys.argv[1]]
    print(json.dumps([share(127), share(64)]))  # noqa: T201 - read by the tests
