"""Whose memory an array is."""

from __future__ import annotations

import time
from contextlib import closing

import numpy as np

from medsdk_conformance.check import Check, Subject, counted, equal, require
from medsdk_conformance.graphs import node, serialized

KEPT_OUTPUTS = 100
LATER_SECONDS = 0.1
"""When a library that goes on after a call has done its harm."""


def _outputs_are_kept(subject: Subject) -> None:
    """A caller may keep every output: buffers that are used again in turn would show."""
    with closing(subject.open()) as session:
        kept = [session.run({"x": counted() + turn})["y"] for turn in range(KEPT_OUTPUTS)]
        for turn, output in enumerate(kept):
            expected = 2 * (counted() + turn) + 1
            require(
                np.array_equal(output, expected),
                f"output {turn + 1} of {KEPT_OUTPUTS} that were kept has changed: "
                f"expected {expected.tolist()}, got {output.tolist()}",
            )


def _outputs_are_fresh(subject: Subject) -> None:
    with closing(subject.open()) as session:
        given = counted()
        first = session.run({"x": given})["y"]
        kept = first.copy()
        second = session.run({"x": given + 5})["y"]
        require(not np.shares_memory(first, second), "two calls share their output's memory")
        for flag in ("c_contiguous", "writeable", "aligned"):
            require(bool(getattr(first.flags, flag)), f"an output is not {flag}")
        equal(first, kept)
        first[:] = -1
        time.sleep(LATER_SECONDS)
        equal(first, np.full_like(first, -1))
        equal(session.run({"x": given})["y"], kept)
        equal(second, 2 * (given + 5) + 1)


def _outputs_are_no_inputs(subject: Subject) -> None:
    """An output that is an input, and one that is a constant, are copies as well."""
    constant = np.arange(4, dtype=np.float32)
    onnx = serialized(
        [node("Identity", ["x"], "y"), node("Identity", ["c"], "k")],
        [("x", "float32", (1, 4))],
        [("y", "float32", (1, 4)), ("k", "float32", (4,))],
        c=constant,
    )
    with closing(subject.open(onnx)) as session:
        given = counted()
        result = session.run({"x": given})
        require(not np.shares_memory(given, result["y"]), "an output shares an input's memory")
        result["y"][:] = 77
        result["k"][:] = 77
        equal(given, counted())
        equal(session.run({"x": given})["k"], constant)


def _outputs_share_nothing(subject: Subject) -> None:
    """Two outputs of one value are two arrays."""
    onnx = serialized(
        [
            node("Neg", ["x"], "n"),
            node("Identity", ["n"], "first"),
            node("Reshape", ["n", "flat"], "second"),
        ],
        [("x", "float32", (1, 4))],
        [("first", "float32", (1, 4)), ("second", "float32", (4,))],
        flat=np.array([4]),
    )
    with closing(subject.open(onnx)) as session:
        result = session.run({"x": counted()})
        require(not np.shares_memory(result["first"], result["second"]), "two outputs share memory")


def _inputs_are_left_alone(subject: Subject) -> None:
    with closing(subject.open()) as session:
        given = counted()
        given.flags.writeable = False
        result = session.run({"x": given})["y"]
        equal(given, counted())
        given = counted()
        result = session.run({"x": given})["y"]
        equal(given, counted())
        time.sleep(LATER_SECONDS)
        equal(given, counted())
        given[:] = -1
        equal(result, 2 * counted() + 1)


def _outputs_outlive_the_session(subject: Subject) -> None:
    session = subject.open()
    result = session.run({"x": counted()})["y"]
    session.close()
    del session
    equal(result, 2 * counted() + 1)
    result[:] = 5
    equal(result, np.full((1, 4), 5, np.float32))


CHECKS: tuple[Check, ...] = (
    Check(
        "outputs-fresh",
        None,
        "An output is its caller's: contiguous, writeable, aligned, and nobody else writes to it.",
        _outputs_are_fresh,
    ),
    Check(
        "outputs-kept",
        None,
        f"{KEPT_OUTPUTS} outputs that are kept still have their values after the last call.",
        _outputs_are_kept,
    ),
    Check(
        "outputs-no-inputs",
        None,
        "No output is an input's memory, nor a constant's.",
        _outputs_are_no_inputs,
    ),
    Check(
        "outputs-apart", None, "Two outputs of one value are two arrays.", _outputs_share_nothing
    ),
    Check(
        "inputs-left-alone",
        None,
        "Inputs are read only, and not after the call.",
        _inputs_are_left_alone,
    ),
    Check(
        "outputs-outlive-session",
        None,
        "An output is whole after close().",
        _outputs_outlive_the_session,
    ),
)
"""Every rule about memory."""
