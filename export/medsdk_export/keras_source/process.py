"""The child process that loads Keras, seen from the exporter.

TensorFlow is large, talkative and holds threads for good, and a Keras file may be hostile: so
both live in a process of their own, which ends with the last network that needs it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from medsdk.tasks import Network
from medsdk_export import errors
from medsdk_export.errors import ExportUnavailableError, SourceUnreadableError
from medsdk_runtimes import framing
from medsdk_runtimes.contract import Array

NEEDS = ("tensorflow", "keras", "h5py", "tf2onnx")
"""Packages of the child; this process imports none of them."""

START_S = 120.0
"""For TensorFlow to load, on a slow machine."""

SCAN_S = 8.0
"""For looking a file over, once Python is there; and for each gigabyte of it once more."""

OPEN_S = 60.0
"""For loading and converting; and for each 50 MB of the file ten seconds more."""

RUN_S = 600.0
"""For one call of the network."""


LEAN_BYTES = 8 * 1024**2
"""Files from this size on are converted slower and in a fifth of the memory."""


class KerasProcess:
    """A child process; may hold several models. Ends with this object at the latest.

    Args:
        lean: Whether to convert in less memory and more time.
    """

    def __init__(self, *, lean: bool = False) -> None:
        missing = [name for name in NEEDS if find_spec(name) is None]
        if missing:
            raise ExportUnavailableError.missing("Keras files", missing, "keras")
        self._folder = tempfile.TemporaryDirectory(prefix="medsdk-keras-home-")
        self._lock = threading.Lock()
        self._started = self._loaded = False
        try:
            self._child = subprocess.Popen(
                [sys.executable, "-P", "-m", "medsdk_export.keras_source.child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=_environment(self._folder.name, lean=lean),
            )
        except OSError as error:
            raise SourceUnreadableError(
                "the process that reads Keras files does not start",
                got=error.strerror or type(error).__name__,
                expected="a Python interpreter at sys.executable",
            ) from None
        # Also where nobody calls close(): at the end of the interpreter, or of this object.
        self._end = weakref.finalize(self, _end, self._child, self._folder)

    def scan(self, path: Path) -> dict[str, Any]:
        """Look a file over, without TensorFlow.

        Args:
            path: The file.

        Returns:
            `KerasFacts.document()`.

        Raises:
            SourceUnreadableError: Damaged, hostile, or took too long.
        """
        if not self._started:
            self._ask({"do": "start"}, {}, START_S)
            self._started = True
        limit_s = SCAN_S * (1 + path.stat().st_size / 1e9)
        header, _ = self._ask({"do": "scan", "path": str(path.resolve())}, {}, limit_s)
        return header

    def open(self, path: Path, network: Network) -> tuple[dict[str, Any], bytearray]:
        """Load a file as the network that a task describes, and make a graph of it.

        Args:
            path: The file.
            network: The task's description.

        Returns:
            What was found and done, and the ONNX file.

        Raises:
            ExportRefusedError: And its subclasses.
        """
        # A damaged HDF5 file can keep its library busy for ever; that shows within seconds here.
        self.scan(path)
        start_s = 0.0 if self._loaded else START_S
        limit_s = start_s + OPEN_S + path.stat().st_size / 5e6
        request = {
            "do": "open",
            "path": str(path.resolve()),
            "network": network.model_dump_json(exclude_none=True),
        }
        header, arrays = self._ask(request, {}, limit_s)
        self._loaded = True
        return header, bytearray(arrays["onnx"].data)

    def run(self, model: int, tensor: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """What Keras itself gives.

        Args:
            model: Number of the model, from `open`.
            tensor: N x C x H x W.

        Returns:
            The outputs, in the model's order, channels first.
        """
        _, arrays = self._ask({"do": "run", "model": model}, {"tensor": tensor}, RUN_S)
        return [np.asarray(arrays[str(number)], np.float32) for number in range(len(arrays))]

    def drop(self, model: int) -> None:
        """Let go of a model."""
        self._ask({"do": "drop", "model": model}, {}, RUN_S)

    @property
    def alive(self) -> bool:
        """Whether the process still answers."""
        return self._end.alive and self._child.poll() is None

    def close(self) -> None:
        """End the process."""
        self._end()

    def _ask(
        self, request: Mapping[str, Any], arrays: Mapping[str, Array], limit_s: float
    ) -> tuple[dict[str, Any], dict[str, Array]]:
        with self._lock:
            late = threading.Event()

            def stop() -> None:
                late.set()
                self._child.kill()

            timer = threading.Timer(limit_s, stop)
            timer.daemon = True
            timer.start()
            try:
                framing.send(_pipe(self._child.stdin), request, arrays)
                header, results = framing.receive(_pipe(self._child.stdout))
            except (OSError, EOFError, ValueError) as error:
                self._end()
                raise _ended(late.is_set(), limit_s) from error
            except BaseException:
                # The next call would read the reply to this one.
                self._end()
                raise
            finally:
                timer.cancel()
        framing.raise_error(header, errors, SourceUnreadableError)
        return header, results


def _environment(folder: str, *, lean: bool) -> dict[str, str]:
    return {
        **os.environ,
        # The child sees this process's import path, so that both run the same code.
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "KERAS_BACKEND": "tensorflow",
        # Not the user's: a keras.json there changes the dtype and the layout of everything.
        "KERAS_HOME": folder,
        # Unpacked weights go where the parent tidies up, also after a child that was killed.
        **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), folder),
        "TF_USE_LEGACY_KERAS": "0",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_ENABLE_ONEDNN_OPTS": "0",
        "CUDA_VISIBLE_DEVICES": "-1",
        # The compiled one never gives back what tf2onnx lets go of: 20 times the weights.
        "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python" if lean else "upb",
        # HDF5 loads compression plugins, which are code, from wherever this says.
        "HDF5_PLUGIN_PATH": folder,
        "HDF5_PLUGIN_PRELOAD": "::",
        "HDF5_USE_FILE_LOCKING": "BEST_EFFORT",
    }


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise EOFError("no pipe")
    return stream


def _ended(late: bool, limit_s: float) -> SourceUnreadableError:
    return SourceUnreadableError(
        "the Keras file cannot be read",
        got=f"no answer within {limit_s:.0f} s" if late else "the process that reads it ended",
        expected="a model that Keras loads",
        remedy="a damaged file does this, and too little memory; save the model again, or export "
        "it to ONNX",
    )


def _end(child: subprocess.Popen[bytes], folder: tempfile.TemporaryDirectory[str]) -> None:
    child.kill()
    child.wait()
    for stream in (child.stdin, child.stdout):
        if stream is not None:
            try:
                stream.close()
            except OSError:  # the child died first; there is nothing left to flush to
                continue
    folder.cleanup()
