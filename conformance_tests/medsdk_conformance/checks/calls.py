"""What a call must look like: anything else is refused, and the session goes on working."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any, cast

import numpy as np

from medsdk_conformance.check import Check, Subject, counted, equal, raises, without_path
from medsdk_conformance.graphs import node, serialized
from medsdk_runtimes import Array
from medsdk_runtimes.errors import GraphRefusedError, InferenceFailedError, TensorMismatchError


def _refuses(inputs: Callable[[], Any]) -> Callable[[Subject], None]:
    def run(subject: Subject) -> None:
        with closing(subject.open()) as session:
            with raises(TensorMismatchError):
                session.run(cast("Mapping[str, Array]", inputs()))
            equal(session.run({"x": counted()})["y"], 2 * counted() + 1)

    return run


def _sliced() -> dict[str, Any]:
    return {"x": np.zeros((1, 8), np.float32)[:, ::2]}


def _transposed() -> dict[str, Any]:
    return {"x": np.zeros((4, 4), np.float32).T}


def _fails_while_it_runs(subject: Subject) -> None:
    """Shapes that the graph's inputs allow and its operators do not."""
    onnx = serialized(
        [node("MatMul", ["a", "b"], "y")],
        [("a", "float32", ("m", "k")), ("b", "float32", ("k2", "n"))],
        [("y", "float32", ("m", "n"))],
    )
    good = {"a": np.ones((2, 3), np.float32), "b": np.ones((3, 2), np.float32)}
    with closing(subject.open(onnx)) as session:
        with raises(InferenceFailedError) as caught:
            session.run({"a": good["a"], "b": np.ones((5, 2), np.float32)})
        without_path(caught[0])
        equal(session.run(good)["y"], np.full((2, 2), 3, np.float32))


def _wide_integers(subject: Subject) -> None:
    """A library may compute int64 in 32 bits, but not return another number for it."""
    given = np.array([[2**40, -(2**35), 7]], np.int64)
    onnx = serialized(
        [node("Add", ["x", "one"], "y")],
        [("x", "int64", (1, 3))],
        [("y", "int64", (1, 3))],
        one=np.ones(3, np.int64),
    )
    with closing(subject.open(onnx)) as session:
        try:
            result = session.run({"x": given})["y"]
        except InferenceFailedError:
            return
        equal(result, given + 1)


def _fails_by_its_values(subject: Subject) -> None:
    """Inputs of one fixed shape whose values cannot be computed with."""
    onnx = serialized(
        [node("Reshape", ["x", "shape"], "y")],
        [("x", "float32", (1, 4)), ("shape", "int64", (2,))],
        [("y", "float32", ("rows", "columns"))],
    )
    x = counted()
    try:
        session = subject.open(onnx)
    except GraphRefusedError:  # no library needs to have shapes that are computed
        return
    with closing(session):
        with raises(InferenceFailedError):
            session.run({"x": x, "shape": np.array([3, 3])})
        equal(session.run({"x": x, "shape": np.array([2, 2])})["y"], x.reshape(2, 2))


def _input(identifier: str, asks: str, inputs: Callable[[], Any]) -> Check:
    return Check(f"input-{identifier}", None, f"Refused: {asks}.", _refuses(inputs))


CHECKS: tuple[Check, ...] = (
    _input("missing", "a call without an input", dict),
    _input(
        "unknown", "an input that the graph does not have", lambda: {"x": counted(), "z": counted()}
    ),
    _input("misnamed", "a name in other letters", lambda: {"X": counted()}),
    _input("no-mapping", "an array where a mapping is due", counted),
    _input("float64", "float64 for float32", lambda: {"x": counted().astype(np.float64)}),
    _input("uint8", "uint8 for float32", lambda: {"x": counted().astype(np.uint8)}),
    _input("big-endian", "float32 in the other byte order", lambda: {"x": counted().astype(">f4")}),
    _input("other-shape", "five values for four", lambda: {"x": counted(1, 5)}),
    _input("other-rank", "an axis too few", lambda: {"x": np.ones(4, np.float32)}),
    _input("list", "a list for an array", lambda: {"x": [[0.0, 1.0, 2.0, 3.0]]}),
    _input("sliced", "every other value of an array", _sliced),
    _input("transposed", "a transposed array", _transposed),
    Check(
        "wide-integers",
        "integer-edges",
        "An int64 beyond 32 bits comes through, or is refused.",
        _wide_integers,
    ),
    Check(
        "fails-while-it-runs",
        "dynamic-batch",
        "Shapes that do not fit together fail, and the next call is right.",
        _fails_while_it_runs,
    ),
    Check(
        "fails-by-its-values",
        "integer-edges",
        "Four values for nine fail, and the next call is right; or the graph is refused.",
        _fails_by_its_values,
    ),
)
"""Every rule about a call."""
