"""Runtimes whose outputs are wrong, whatever they are asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from medsdk_runtimes import Array, Session
from tests.conformance.planted import Outputs, Wrapped


class Nudged(Wrapped):
    """Every value is a little wrong."""

    def _run(self, tensors: Mapping[str, Array]) -> Outputs:
        return {name: _nudged(array) for name, array in super()._run(tensors).items()}


def _nudged(array: Any) -> Array:
    if array.dtype == np.bool_:
        return np.asarray(np.logical_not(array))
    if array.dtype.kind in "iu":
        return np.asarray(np.bitwise_xor(array, 1))
    # Beyond a step of the quantized graphs, two of them for the addition.
    return np.asarray(array + np.asarray(1.0, array.dtype))


class Wide(Wrapped):
    """Returns and declares float64 where the graph says float32."""

    def __init__(self, inner: Session) -> None:
        super().__init__(inner, tuple(replace(spec, dtype="float64") for spec in inner.outputs))

    def _run(self, tensors: Mapping[str, Array]) -> Outputs:
        return {name: array.astype(np.float64) for name, array in super()._run(tensors).items()}


class Swapped(Wrapped):
    """Gives each output the values of another."""

    def _run(self, tensors: Mapping[str, Array]) -> Outputs:
        outputs = super()._run(tensors)
        return dict(zip(outputs, reversed(list(outputs.values())), strict=True))


class Reordered(Wrapped):
    """Returns the right outputs in the order of the alphabet, and says that it is so."""

    def __init__(self, inner: Session) -> None:
        by_name = sorted(inner.outputs, key=lambda spec: spec.name)
        super().__init__(inner, tuple(by_name))

    def _run(self, tensors: Mapping[str, Array]) -> Outputs:
        return dict(sorted(super()._run(tensors).items()))


class Flattened(Wrapped):
    """Knows bool as uint8 and dynamic axes as 1."""

    def __init__(self, inner: Session) -> None:
        super().__init__(inner)
        self.outputs = tuple(
            replace(
                spec,
                dtype="uint8" if spec.dtype == "bool" else spec.dtype,
                shape=tuple(axis or 1 for axis in spec.shape),
            )
            for spec in inner.outputs
        )


class Hiding(Wrapped):
    """Replaces NaN by 0."""

    def _run(self, tensors: Mapping[str, Array]) -> Outputs:
        return {name: np.nan_to_num(array) for name, array in super()._run(tensors).items()}


class Saturating(Wrapped):
    """Replaces infinity by the largest number."""

    def _run(self, tensors: Mapping[str, Array]) -> Outputs:
        return {
            name: np.nan_to_num(array, nan=np.nan) for name, array in super()._run(tensors).items()
        }


class Bfloat16(Wrapped):
    """Computes in bfloat16 and says float32."""

    def _run(self, tensors: Mapping[str, Array]) -> Outputs:
        return {name: _bfloat16(array) for name, array in super()._run(tensors).items()}


def _bfloat16(array: Array) -> Array:
    if array.dtype != np.float32:
        return array
    return (array.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)


class Narrow(Wrapped):
    """Computes int64 in 32 bits."""

    def _run(self, tensors: Mapping[str, Array]) -> Outputs:
        return {
            name: array.astype(np.int32).astype(array.dtype) if array.dtype == np.int64 else array
            for name, array in super()._run(tensors).items()
        }


class FixedBatch(Wrapped):
    """Computes the first of a batch, and repeats it."""

    def _run(self, tensors: Mapping[str, Array]) -> Outputs:
        first = super()._run({name: array[:1] for name, array in tensors.items()})
        batch = len(next(iter(tensors.values())))
        return {name: array.repeat(batch, axis=0) for name, array in first.items()}
