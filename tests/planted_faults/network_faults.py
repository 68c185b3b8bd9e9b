"""Faults in a graph or in what executes it: each breaks the network's outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from medsdk.parity.explaining_outputs import to_bfloat16
from medsdk_runtimes import Array, Session, Settings
from medsdk_runtimes.onnxruntime_rt import OnnxRuntime
from tests.conformance.planted import Outputs, Wrapped
from tests.planted_faults.checking import verified
from tests.planted_faults.plant import Plant
from tests.planted_faults.workshop import ROLE, Change

FP32 = f"networks/{ROLE}/fp32.onnx"
INT8 = f"networks/{ROLE}/int8-cpu.onnx"


def _rewrite(model: onnx.ModelProto, name: str, array: NDArray[Any]) -> None:
    tensor = next(item for item in model.graph.initializer if item.name == name)
    tensor.CopyFrom(
        numpy_helper.from_array(array.astype(numpy_helper.to_array(tensor).dtype), name)
    )


def _constant(model: onnx.ModelProto, name: str) -> NDArray[Any]:
    tensor = next(item for item in model.graph.initializer if item.name == name)
    return numpy_helper.to_array(tensor).copy()


def _in_graph(file: str, change: Callable[[onnx.ModelProto], None]) -> Change:
    def plant(folder: Path, _: dict[str, Any]) -> None:
        model = onnx.load(folder / file)
        change(model)
        onnx.save(model, folder / file)

    return plant


def zeroed_channel(model: onnx.ModelProto) -> None:
    """The filter that moves the logits most loses its weights."""
    dense = next(node for node in model.graph.node if node.op_type == "Gemm")
    heaviest = int(np.abs(_constant(model, dense.input[1])).max(0).argmax())
    convolution = next(node for node in model.graph.node if node.op_type == "Conv")
    weights = _constant(model, convolution.input[1])
    weights[heaviest] = 0
    _rewrite(model, convolution.input[1], weights)


def nan_weight(model: onnx.ModelProto) -> None:
    """One bias of the last layer."""
    dense = next(node for node in model.graph.node if node.op_type == "Gemm")
    bias = _constant(model, dense.input[2])
    bias[1] = np.nan
    _rewrite(model, dense.input[2], bias)


def dropped_output(model: onnx.ModelProto) -> None:
    """The graph still computes it, and no longer gives it."""
    kept = [item for item in model.graph.output if item.name != "features"]
    del model.graph.output[:]
    model.graph.output.extend(kept)


def halved_scale(model: onnx.ModelProto) -> None:
    """The weights of the convolution are read back at half their size."""
    weights = {node.output[0]: node for node in model.graph.node}
    convolution = next(node for node in model.graph.node if node.op_type == "Conv")
    scale = weights[convolution.input[1]].input[1]
    _rewrite(model, scale, _constant(model, scale) / 2)


class NanElement(Wrapped):
    """Gives one value that is none."""

    def _run(self, tensors: Mapping[str, Array]) -> Outputs:
        outputs = super()._run(tensors)
        outputs["features"][0, 3] = np.nan
        return outputs


class Bfloat16(Wrapped):
    """Rounds what goes in and what comes out to bfloat16, and says float32."""

    def _run(self, tensors: Mapping[str, Array]) -> Outputs:
        given = {name: to_bfloat16(array) for name, array in tensors.items()}
        return {name: to_bfloat16(array) for name, array in super()._run(given).items()}


class SaysBfloat16(Wrapped):
    """Reads bfloat16 back, and serves."""

    def __init__(self, inner: Session) -> None:
        super().__init__(inner)
        self.effective = replace(
            inner.effective, precision="bf16", evidence="read from the executed layers (simulated)"
        )


def _bfloat16_weights(data: bytes) -> bytes:
    model = onnx.load_model_from_string(data)
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype == np.float32:
            tensor.CopyFrom(numpy_helper.from_array(to_bfloat16(array), tensor.name))
    rounded: bytes = model.SerializeToString()
    return rounded


class _InRuntime(AbstractContextManager[None]):
    """ONNX Runtime with its sessions wrapped, of float32 graphs alone; may be entered again."""

    def __init__(
        self, wrap: Callable[[Session], Session], before: Callable[[bytes], bytes] = bytes
    ) -> None:
        self._wrap, self._before = wrap, before
        self._entered: list[Any] = []

    def __enter__(self) -> None:
        sound = OnnxRuntime.open

        def opened(runtime: OnnxRuntime, data: bytes, settings: Settings) -> Session:
            if settings.precision != "fp32":
                return sound(runtime, data, settings)
            return self._wrap(sound(runtime, self._before(data), settings))

        self._entered.append(patch.object(OnnxRuntime, "open", opened))
        self._entered[-1].start()

    def __exit__(self, *_: object) -> None:
        self._entered.pop().stop()


PLANTS = (
    Plant(
        "one weight channel zeroed",
        "FP32 graph: a filter of the convolution",
        "network",
        r"output 'features' differs by .*only value \d is off",
        verified("colour", _in_graph(FP32, zeroed_channel)),
    ),
    Plant(
        "a layer's scale halved",
        "INT8 graph: the scale of the convolution's weights",
        "network",
        r"output 'features' differs by .* about 0\.5 times what they should be: a scale .* is off",
        verified("colour", _in_graph(INT8, halved_scale), "int8-cpu"),
    ),
    Plant(
        "an output dropped",
        "FP32 graph: `features` is no output any more",
        "network",
        r"output 'features' is missing; the graph was cut: it still gives logits",
        verified("colour", _in_graph(FP32, dropped_output)),
    ),
    Plant(
        "NaN in one element",
        "FP32 graph: one bias of the last layer",
        "network",
        r"output 'logits' holds NaN or infinity; 1 of 2 values not finite, the first at \[0, 1\]",
        verified("colour", _in_graph(FP32, nan_weight)),
    ),
    Plant(
        "NaN in one element",
        "runtime: one value of an output that decides nothing",
        "network",
        r"output 'features' holds NaN or infinity; 1 of 8 values .* the first at \[0, 3\]",
        verified("colour", wrapped=_InRuntime(NanElement)),
    ),
    Plant(
        "bf16 in place of f32 (simulated)",
        "runtime: reads back bfloat16, and serves",
        "open",
        r"precision-mismatch: .*another precision .*bf16",
        verified("colour", wrapped=_InRuntime(SaysBfloat16)),
    ),
    Plant(
        "bf16 in place of f32 (simulated)",
        "runtime: rounds weights, input and outputs to bfloat16, and says float32",
        "network",
        r"the numbers look like bfloat16",
        verified("colour", wrapped=_InRuntime(Bfloat16, _bfloat16_weights)),
    ),
)
