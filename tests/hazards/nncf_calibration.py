"""What NNCF makes of a network and its inputs; runs in an environment that has NNCF.

    python -m tests.hazards.nncf_calibration MODEL.onnx INPUTS.npy

Prints the range of the tensor `x`, by default and with MINMAX, and how many initializers differ
between a run with bias correction and one without, as JSON.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from importlib.metadata import version
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper


def quantized(source: str, inputs: Any, **parameters: Any) -> dict[str, Any]:
    """Initializers of the quantized graph, by name, and its QuantizeLinear of `x`."""
    nncf: Any = import_module("nncf")
    advanced: Any = import_module("nncf.quantization.advanced_parameters")
    dataset = nncf.Dataset(list(inputs), lambda tensor: {"x": tensor[None]})
    made = nncf.quantize(
        onnx.load(source),
        dataset,
        subset_size=len(inputs),
        advanced_parameters=advanced.AdvancedQuantizationParameters(**parameters),
    )
    tensors = {item.name: numpy_helper.to_array(item) for item in made.graph.initializer}
    (first,) = (
        item
        for item in made.graph.node
        if item.op_type == "QuantizeLinear" and item.input[0] == "x"
    )
    zero, step = tensors[first.input[2]], float(tensors[first.input[1]])
    limits = np.iinfo(zero.dtype)
    bounds = [(bound - int(zero)) * step for bound in (limits.min, limits.max)]
    return {"tensors": tensors, "range": bounds}


def main() -> None:
    """Print the document."""
    source, inputs = sys.argv[1], np.load(sys.argv[2])
    estimators: Any = import_module("nncf.quantization.range_estimator")
    minmax = estimators.RangeEstimatorParametersSet.MINMAX
    default = quantized(source, inputs)
    plain = quantized(source, inputs, disable_bias_correction=True)
    changes = sum(
        not np.array_equal(array, plain["tensors"][name])
        for name, array in default["tensors"].items()
    )
    document = {
        "version": version("nncf"),
        "default": default["range"],
        "minmax": quantized(source, inputs, activations_range_estimator_params=minmax)["range"],
        "bias_correction_changes": changes,
    }
    print(json.dumps(document))  # noqa: T201 - read by the test


if __name__ == "__main__":
    main()
