"""The numeric cases of the runtime contract, as data.

What a graph has to give is computed with numpy in float64, or with integers, never by a runtime.
"""

from __future__ import annotations

from medsdk_conformance.case import Call, Case, Problem, Tensors
from medsdk_conformance.cases import (
    convolutions,
    dense,
    edges,
    elementwise,
    foreign,
    networks,
    pooling,
    quantized,
    resizing,
    shapes,
    sizes,
)

__all__ = ["CASES", "Call", "Case", "Problem", "Tensors"]

CASES: tuple[Case, ...] = (
    *convolutions.CASES,
    *dense.CASES,
    *pooling.CASES,
    *elementwise.CASES,
    *resizing.CASES,
    *shapes.CASES,
    *edges.CASES,
    *networks.CASES,
    *quantized.CASES,
    *foreign.CASES,
    *sizes.CASES,
)
"""Every numeric case."""
