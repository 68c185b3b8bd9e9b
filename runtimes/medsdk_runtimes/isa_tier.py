"""A session on a lower instruction set of this processor.

oneDNN reads `ONEDNN_MAX_CPU_ISA` once, when its library loads, so the lower tier needs a process
of its own. `open_at_tier` starts one and speaks to it over its standard input and output; to
the caller it is a `Session` like any other. It exists to verify, not to serve: the same INT8
file gives other values on AVX2 than on AVX512-VNNI.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import IO, Any, Literal

import numpy as np

import medsdk_runtimes
from medsdk_runtimes import errors, framing
from medsdk_runtimes.contract import Array, Effective, Session, Settings, TensorSpec
from medsdk_runtimes.errors import InferenceFailedError, MedsdkError, SettingRefusedError
from medsdk_runtimes.operating_system import cpu_flags

Tier = Literal["avx2"]

TIER_VARIABLE = "ONEDNN_MAX_CPU_ISA"
RUNTIMES_WITH_TIERS: Mapping[str, tuple[Tier, ...]] = {"openvino": ("avx2",)}
"""Runtimes whose instruction set can be limited. ONNX Runtime ignores the variable."""


def lower_tiers(runtime: str) -> tuple[Tier, ...]:
    """Instruction sets at or below this processor's own that a runtime can be limited to here.

    Args:
        runtime: Name of a runtime.

    Returns:
        Tiers; empty where the runtime has none or the processor lacks them. AVX2 is tried
        even where nothing better is seen: AVX-VNNI multiplies 8-bit integers otherwise
        than AVX2 does, and not every system tells of it.
    """
    flags = cpu_flags()
    return tuple(tier for tier in RUNTIMES_WITH_TIERS.get(runtime, ()) if tier in flags)


class TierSession(Session):
    """A session whose work is done by a child process."""

    def __init__(
        self,
        child: subprocess.Popen[bytes],
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        effective: Effective,
    ) -> None:
        super().__init__(inputs, outputs, effective)
        self._child = child
        self._lock = threading.Lock()

    def _run(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        with self._lock:
            if self._child.returncode is not None:  # by close() or by a call that was stopped
                raise _died()
            try:
                _send(_pipe(self._child.stdin), {}, tensors)
                _, results = _receive(_pipe(self._child.stdout))
            except MedsdkError:
                raise
            except BaseException:
                # The next call would read the reply to this one.
                _end(self._child)
                raise
        return results

    def _close(self) -> None:
        with self._lock:
            _end(self._child)


def open_at_tier(runtime: str, onnx: bytes, settings: Settings, tier: Tier) -> Session:
    """Open a graph in a child process that is limited to `tier`.

    Args:
        runtime: A name in `RUNTIMES_WITH_TIERS`.
        onnx: The graph.
        settings: As for `Runtime.open`.
        tier: The highest instruction set that may be used.

    Returns:
        The session; closing it ends the child.

    Raises:
        SettingRefusedError: The runtime's instruction set cannot be limited.
        InferenceFailedError: The child does not start or died.
        MedsdkError: What `Runtime.open` raised in the child.
    """
    if tier not in RUNTIMES_WITH_TIERS.get(runtime, ()):
        raise SettingRefusedError(
            f"the instruction set of {runtime} cannot be limited to {tier!r}",
            got=repr(runtime),
            expected=f"one of {', '.join(RUNTIMES_WITH_TIERS)}",
        )
    # The child sees the parent's import path, so that both run the same code.
    environment = {
        **os.environ,
        TIER_VARIABLE: tier.upper(),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    try:
        child = subprocess.Popen(
            # Without -P a file in the current directory could stand in for a library.
            [sys.executable, "-P", "-m", "medsdk_runtimes.isa_tier", runtime],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
    except OSError as error:
        raise InferenceFailedError(
            "the process of the lower instruction-set tier does not start",
            got=error.strerror or type(error).__name__,
            expected="a Python interpreter at sys.executable",
        ) from None
    try:
        graph = {"onnx": np.frombuffer(onnx, np.uint8)}
        _send(_pipe(child.stdin), dataclasses.asdict(settings), graph)
        header, _ = _receive(_pipe(child.stdout))
    except BaseException:
        _end(child)
        raise
    inputs, outputs = (
        tuple(
            TensorSpec(item["name"], item["dtype"], tuple(item["shape"])) for item in header[name]
        )
        for name in ("inputs", "outputs")
    )
    return TierSession(child, inputs, outputs, Effective(**header["effective"]))


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise InferenceFailedError("the process of the lower tier has no pipe")
    return stream


def _end(child: subprocess.Popen[bytes]) -> None:
    for stream in (child.stdin, child.stdout):
        if stream is not None:
            try:
                stream.close()
            except OSError:  # the child died first; there is nothing left to flush to
                continue
    try:
        child.wait(timeout=5)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _send(stream: IO[bytes], header: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    try:
        framing.send(stream, header, arrays)
    except OSError as error:
        raise _died() from error


def _receive(stream: IO[bytes]) -> tuple[dict[str, Any], dict[str, Array]]:
    try:
        header, arrays = framing.receive(stream)
    except EOFError as error:
        raise _died() from error
    framing.raise_error(header, errors, InferenceFailedError)
    return header, arrays


def _died() -> InferenceFailedError:
    return InferenceFailedError(
        "the process of the lower instruction-set tier ended",
        got="a closed pipe",
        expected="a process that answers until its session is closed",
        remedy="run with more memory, or verify without the lower tier",
    )


def _serve(runtime_name: str) -> None:
    """The child: open the graph that comes in, then answer until the pipe closes."""
    requests = os.fdopen(os.dup(sys.stdin.fileno()), "rb")
    # Whatever a library prints must not end up between our messages.
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    header, graph = _receive(requests)
    try:
        session = medsdk_runtimes.runtime(runtime_name).open(
            graph["onnx"].tobytes(), Settings(**header)
        )
    except MedsdkError as error:
        _send(replies, framing.error_header(error), {})
        return
    described = {
        "inputs": [dataclasses.asdict(spec) for spec in session.inputs],
        "outputs": [dataclasses.asdict(spec) for spec in session.outputs],
        "effective": {
            **dataclasses.asdict(session.effective),
            "operators": dict(session.effective.operators),
        },
    }
    _send(replies, described, {})
    while requests.peek(1):
        _, tensors = _receive(requests)
        try:
            results = session.run(tensors)
        except MedsdkError as error:
            _send(replies, framing.error_header(error), {})
        else:
            _send(replies, {}, results)
    session.close()


if __name__ == "__main__":
    _serve(sys.argv[1])
