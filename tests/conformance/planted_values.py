"""Runtimes that give wrong values, or refuse, only for what the smallest graphs do not show."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from medsdk_runtimes import CAPABILITIES, Array, Capability, Session, Settings
from medsdk_runtimes.errors import GraphRefusedError, TensorMismatchError
from tests.conformance.planted import Fault, Outputs, Wrapped
from tests.conformance.planted_outputs import Hiding, Nudged


class Dated(Fault):
    """Built with a parser of 2023: no graph of IR 10, so no bundle of medsdk's."""

    def open(self, onnx_bytes: bytes, settings: Settings) -> Session:
        if onnx.load_from_string(onnx_bytes).ir_version >= 10:
            raise GraphRefusedError("a graph of a version that is too new")
        return super().open(onnx_bytes, settings)


class OnlyOwn(Fault):
    """Opens graphs of medsdk's opset and of no other."""

    def open(self, onnx_bytes: bytes, settings: Settings) -> Session:
        if onnx.load_from_string(onnx_bytes).opset_import[0].version != 20:
            raise GraphRefusedError("a graph of another opset")
        return super().open(onnx_bytes, settings)


@dataclass(frozen=True)
class Without(Fault):
    """Declares everything but some capabilities, `lacking`; does not refuse what needs them."""

    lacking: frozenset[Capability] = frozenset()

    @property
    def capabilities(self) -> Any:
        return self.inner.capabilities - self.lacking  # type: ignore[attr-defined]


class Refusing(Without):
    """The same with the refusals that the rule asks for."""

    def open(self, onnx_bytes: bytes, settings: Settings) -> Session:
        if settings.precision == "int8" or b"linear" in onnx_bytes:
            raise GraphRefusedError("not with this library")
        return super().open(onnx_bytes, settings)


class NoDotProduct(Fault):
    """Declares full range, and adds one where weights have more than 7 bits: they saturated."""

    @property
    def capabilities(self) -> Any:
        return frozenset(CAPABILITIES)

    def open(self, onnx_bytes: bytes, settings: Settings) -> Session:
        session = super().open(onnx_bytes, settings)
        weights = [
            numpy_helper.to_array(tensor).astype(np.int64)
            for tensor in onnx.load_from_string(onnx_bytes).graph.initializer
            if tensor.data_type == onnx.TensorProto.INT8 and tensor.name == "w"
        ]
        return Nudged(session) if any(np.abs(item).max() > 64 for item in weights) else session


class Zeroed(Wrapped):
    """Gives zeros."""

    def _run(self, tensors: Mapping[str, Array]) -> Outputs:
        return {name: np.zeros_like(array) for name, array in super()._run(tensors).items()}


@dataclass(frozen=True)
class HidesIn(Fault):
    """Gives 0 for NaN where the graph has an operator."""

    operator: bytes = b"Conv"

    def open(self, onnx_bytes: bytes, settings: Settings) -> Session:
        session = super().open(onnx_bytes, settings)
        return Hiding(session) if self.operator in onnx_bytes else session


class LargeInBfloat16(Wrapped):
    """Takes bfloat16 where there are 32 channels or more."""

    def _run(self, tensors: Mapping[str, Array]) -> Outputs:
        found = super()._run(tensors)
        if not any(array.ndim == 4 and array.shape[1] >= 32 for array in tensors.values()):
            return found
        return {
            name: (np.asarray(array, np.float32).view(np.uint32) & np.uint32(0xFFFF0000)).view(
                np.float32
            )
            for name, array in found.items()
        }


class ShortOffsets(Wrapped):
    """Counts values with 16 bits, and leaves what is beyond at 0."""

    def _run(self, tensors: Mapping[str, Array]) -> Outputs:
        found = super()._run(tensors)
        for array in found.values():
            array.reshape(-1)[65536:] = 0
        return found


class WrongAtBatch(Wrapped):
    """Has a kernel for one batch size that is wrong."""

    batch = 8

    def _run(self, tensors: Mapping[str, Array]) -> Outputs:
        found = super()._run(tensors)
        if any(array.ndim > 2 and len(array) == self.batch for array in tensors.values()):
            return {name: np.zeros_like(array) for name, array in found.items()}
        return found


class WrongAtMany(WrongAtBatch):
    """The same for one of vectors' usual sizes."""

    batch = 64


@dataclass(frozen=True)
class CachesByPart(Fault):
    """Takes a graph of the same length and the same digest of a part of it for the same graph."""

    part: tuple[int | None, ...] = (0, 4096)
    cache: dict[tuple[int, bytes, Settings], bytes] = field(default_factory=dict)

    def open(self, onnx_bytes: bytes, settings: Settings) -> Session:
        digest = hashlib.sha256(onnx_bytes[slice(*self.part)]).digest()
        kept = self.cache.setdefault((len(onnx_bytes), digest, settings), onnx_bytes)
        return super().open(kept, settings)


class SaysFloat(Wrapped):
    """Runs a quantized graph and says that it is float32."""

    def __init__(self, inner: Session) -> None:
        super().__init__(inner)
        self.effective = replace(self.effective, precision="fp32")


class OneImage(Wrapped):
    """Takes a batch of 1 where the batch is dynamic, and refuses others: no fault."""

    def _run(self, tensors: Mapping[str, Array]) -> Outputs:
        for spec in self.inputs:
            if spec.shape and spec.shape[0] is None and len(tensors[spec.name]) != 1:
                raise TensorMismatchError("this engine was built for one image")
        return super()._run(tensors)
