"""What a numeric case of the contract is, and how its graph and its calls are put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medsdk_conformance.graphs import OPSET, at_opset, model
from medsdk_runtimes import Array, Capability, Precision

Tensors = Mapping[str, Array]
Formula = Callable[[NDArray[np.float64]], NDArray[Any]]


@dataclass(frozen=True)
class Call:
    """One call of a session.

    Attributes:
        inputs: What is given, by name.
        expected: What has to come back, by name, in the graph's order.
    """

    inputs: Tensors
    expected: Tensors


@dataclass(frozen=True)
class Problem:
    """A graph and what it has to give."""

    onnx: bytes
    calls: tuple[Call, ...]


@dataclass(frozen=True)
class Case:
    """One numeric case.

    Attributes:
        id: Stable name.
        capability: What a runtime needs to be asked; it is counted there.
        asks: What the graph does, in a few words.
        build: Makes the graph, the inputs and the expected outputs.
        precision: What the graph is opened in.
        atol: Absolute tolerance.
        rtol: Relative tolerance.
        besides: What it needs as well, or None.
    """

    id: str
    capability: Capability
    asks: str
    build: Callable[[], Problem]
    precision: Precision = "fp32"
    atol: float = 2e-5
    rtol: float = 1e-5
    besides: Capability | None = None


def normal(seed: int, *shape: int) -> NDArray[np.float32]:
    """Numbers of a standard normal distribution."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def float32(values: NDArray[Any]) -> NDArray[np.float32]:
    """`values`, rounded once."""
    return np.asarray(values).astype(np.float32)


def problem(
    nodes: Sequence[Any],
    calls: Sequence[tuple[Tensors, Tensors]],
    *,
    dynamic: bool = True,
    opset: int = OPSET,
    **tensors: NDArray[Any],
) -> Problem:
    """A graph whose inputs and outputs are those of its calls.

    Args:
        nodes: Of the graph.
        calls: Inputs and expected outputs.
        dynamic: Whether the first axis is a batch of any size.
        opset: Of the graph.
        **tensors: Its initializers.
    """

    def edges(arrays: Tensors) -> list[tuple[str, str, tuple[int | str, ...]]]:
        return [
            (
                name,
                array.dtype.name,
                ("batch", *array.shape[1:]) if dynamic and array.ndim else array.shape,
            )
            for name, array in arrays.items()
        ]

    inputs, outputs = calls[0]
    return Problem(
        at_opset(model(nodes, edges(inputs), edges(outputs), **tensors), opset),
        tuple(Call(given, expected) for given, expected in calls),
    )


def one_to_one(
    nodes: Sequence[Any],
    formula: Formula,
    axes: tuple[int, ...],
    *,
    batches: tuple[int, ...] = (1, 3),
    spread: float = 1,
    opset: int = OPSET,
    **tensors: NDArray[Any],
) -> Problem:
    """A graph from `x` to `y`, called with several batch sizes.

    Args:
        nodes: Of the graph.
        formula: From the input in float64 to the output; a float result is rounded to float32.
        axes: Of the input, without the batch.
        batches: One call each.
        spread: Standard deviation of the input.
        opset: Of the graph.
        **tensors: Initializers of the graph.
    """
    calls = []
    for batch in batches:
        given = normal(batch, batch, *axes) * np.float32(spread)
        result = np.asarray(formula(given.astype(np.float64)))
        calls.append(({"x": given}, {"y": float32(result) if result.dtype.kind == "f" else result}))
    return problem(nodes, calls, dynamic=True, opset=opset, **tensors)
