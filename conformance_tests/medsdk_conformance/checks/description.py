"""What a runtime and a session say of themselves."""

from __future__ import annotations

import io
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

from medsdk_conformance.check import Check, RuleBrokenError, Subject, counted, equal, require
from medsdk_conformance.graphs import node, serialized
from medsdk_runtimes import Availability, Device, Runtime, Session, TensorSpec

_FINAL = ("run", "close", "check_usable")


def _describes_itself(subject: Subject) -> None:
    runtime = subject.runtime
    require(isinstance(runtime, Runtime), "does not satisfy medsdk_runtimes.Runtime")
    require(isinstance(runtime.name, str) and bool(runtime.name), "has no name")
    here = runtime.availability()
    require(isinstance(here, Availability), f"its availability is a {type(here).__name__}")
    require(here.available and not here.reason, f"not available: {here.reason}")
    require(bool(here.version), "has no version")
    require(replace(here) == runtime.availability(), "its availability changes")


def _lists_its_devices(subject: Subject) -> None:
    devices = subject.runtime.devices()
    require(isinstance(devices, tuple), f"devices() returned a {type(devices).__name__}")
    require(bool(devices), "no device at all")
    require(all(isinstance(item, Device) for item in devices), "not everything is a Device")
    names = [item.name for item in devices]
    require(len(set(names)) == len(names), f"a device is there twice: {', '.join(names)}")
    require(devices == subject.runtime.devices(), "its devices change")


def _uses_the_base_class(subject: Subject) -> None:
    with closing(subject.open()) as session:
        own = [
            name for name in _FINAL if getattr(type(session), name) is not getattr(Session, name)
        ]
        require(not own, f"the session overrides {', '.join(own)}, which check for everybody")


def _specifies_its_tensors(subject: Subject) -> None:
    onnx = serialized(
        [node("Cast", ["b"], "f", to=1), node("Add", ["a", "f"], "y"), node("Not", ["c"], "n")],
        [("b", "int64", ("batch", 3)), ("c", "bool", (2,)), ("a", "float32", ("batch", 3))],
        [("y", "float32", ("batch", 3)), ("n", "bool", (2,))],
    )
    inputs = (
        TensorSpec("b", "int64", (None, 3)),
        TensorSpec("c", "bool", (2,)),
        TensorSpec("a", "float32", (None, 3)),
    )
    outputs = (TensorSpec("y", "float32", (None, 3)), TensorSpec("n", "bool", (2,)))
    _require_specs(subject, onnx, inputs, outputs)


def _specifies_float_tensors(subject: Subject) -> None:
    onnx = serialized(
        [node("Add", ["b", "a"], "y"), node("Sub", ["b", "a"], "d")],
        [("b", "float32", ("batch", 3)), ("a", "float32", ("batch", 3))],
        [("y", "float32", ("batch", 3)), ("d", "float32", ("batch", 3))],
    )
    inputs = tuple(TensorSpec(name, "float32", (None, 3)) for name in "ba")
    outputs = tuple(TensorSpec(name, "float32", (None, 3)) for name in "yd")
    _require_specs(subject, onnx, inputs, outputs)


def _require_specs(
    subject: Subject,
    onnx: bytes,
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
) -> None:
    with closing(subject.open(onnx)) as session:
        for kind, found, expected in (
            ("inputs", session.inputs, inputs),
            ("outputs", session.outputs, outputs),
        ):
            require(found == expected, f"{kind} {_shown(found)}, expected {_shown(expected)}")


def _shown(specs: tuple[TensorSpec, ...]) -> str:
    return ", ".join(f"{spec.name} {spec.dtype} {spec.shape}" for spec in specs)


def _says_nothing(subject: Subject) -> None:
    with _output_caught() as caught:
        session = subject.open()
        result = session.run({"x": counted()})["y"]
        session.close()
    equal(result, 2 * counted() + 1)
    text = caught[0].decode(errors="replace")
    if text:
        raise RuleBrokenError(f"{len(text)} characters on standard output: {text[:80]!r}")


@contextmanager
def _output_caught() -> Iterator[list[bytes]]:
    """What comes out of file descriptor 1 and of `sys.stdout`, once the block has ended."""
    caught: list[bytes] = []
    python = sys.stdout
    python.flush()
    kept = os.dup(1)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 1)
        sys.stdout = io.TextIOWrapper(os.fdopen(os.dup(1), "wb"), write_through=True)
        try:
            yield caught
        finally:
            sys.stdout.close()
            sys.stdout = python
            os.dup2(kept, 1)
            os.close(kept)
            file.seek(0)
            caught.append(file.read())


CHECKS: tuple[Check, ...] = (
    Check(
        "describes-itself",
        None,
        "It has a name and a version, and is available.",
        _describes_itself,
    ),
    Check("devices", None, "It lists its devices, each once, always the same.", _lists_its_devices),
    Check(
        "base-class",
        None,
        "Its sessions derive from Session and leave run, close and check_usable alone.",
        _uses_the_base_class,
    ),
    Check(
        "tensor-specs",
        None,
        "A session has the graph's inputs and outputs, in its order, dynamic axes as None.",
        _specifies_float_tensors,
    ),
    Check(
        "tensor-specs-integers",
        "integer-edges",
        "The same for int64 and bool.",
        _specifies_its_tensors,
    ),
    Check(
        "standard-output",
        None,
        "Nothing is written to standard output, which belongs to --json.",
        _says_nothing,
    ),
)
"""Every rule about descriptions."""
