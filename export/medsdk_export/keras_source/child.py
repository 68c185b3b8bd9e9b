"""The process that loads Keras: `python -m medsdk_export.keras_source.child`.

It answers requests on its standard input until that closes. A file is looked over before
TensorFlow is imported; a file that is refused costs no start of TensorFlow.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from medsdk.tasks import Network
from medsdk_export.errors import SourceUnreadableError
from medsdk_export.keras_source import files
from medsdk_export.keras_source.obstacles import refuse_obstacles
from medsdk_runtimes import framing
from medsdk_runtimes.contract import Array
from medsdk_runtimes.errors import MedsdkError
from medsdk_runtimes.operating_system import limit_new_memory

SCAN_BYTES = 768 * 1024**2
"""Memory beyond what is taken already that looking a file over may take."""

LOAD_FACTOR = 10
"""Memory that loading and converting may take for each byte of the weights in float32."""

LOAD_BYTES = 1024**3
"""On top of it."""

_FORBIDDEN = (
    "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn",
    "subprocess.Popen", "socket.__new__", "socket.connect", "socket.bind", "socket.sendto",
    "socket.getaddrinfo", "pickle.find_class", "webbrowser.open",
)  # fmt: skip
"""Events that a model never has a reason for once everything is imported."""

Reply = tuple[dict[str, Any], dict[str, Array]]


class _Child:
    """The models that this process holds, by number."""

    def __init__(self) -> None:
        self.models: dict[int, Any] = {}
        self.guarded = False

    def answer(self, request: dict[str, Any], arrays: dict[str, Array]) -> Reply:
        match request["do"]:
            case "start":
                return {}, {}
            case "scan":
                limit_new_memory(SCAN_BYTES)
                with files.opened(Path(request["path"])) as (facts, _):
                    return facts.document(), {}
            case "open":
                return self.open(Path(request["path"]), request["network"])
            case "run":
                outputs = self.models[request["model"]](arrays["tensor"])
                return {}, {str(number): array for number, array in enumerate(outputs)}
            case "drop":
                self.models.pop(request["model"], None)
                return {}, {}
            case other:
                raise ValueError(other)

    def open(self, path: Path, described: str) -> Reply:
        network = Network.model_validate_json(described)
        limit_new_memory(SCAN_BYTES)
        with files.opened(path) as (facts, weights):
            refuse_obstacles(facts)
            limit_new_memory(None)
            from medsdk_export.keras_source import cutting, loading

            self.guard()
            limit_new_memory(LOAD_BYTES + LOAD_FACTOR * facts.weight_bytes)
            loaded = loading.load(facts, path, weights, network)
            cut = cutting.cut_activation(loaded.model, network)
            run, onnx, opset = loading.converter(loaded.model, network)
        limit_new_memory(None)
        number = len(self.models)
        self.models[number] = run
        header = {
            "model": number,
            "document": facts.document(),
            "parameters": loaded.parameters,
            "cut": cut,
            "opset": opset,
            "versions": loading.versions(),
            "inputs": [list(item.shape) for item in loaded.model.inputs],
            "outputs": [list(item.shape) for item in loaded.model.outputs],
        }
        return header, {"onnx": np.frombuffer(onnx, np.uint8)}

    def guard(self) -> None:
        """From now on no process is started and no connection made."""
        if self.guarded:
            return
        self.guarded = True

        def forbid(event: str, _: object) -> None:
            if event in _FORBIDDEN:
                raise PermissionError(f"a model asked for {event}")

        sys.addaudithook(forbid)


def _answer(child: _Child, request: dict[str, Any], arrays: dict[str, Array]) -> Reply:
    try:
        return child.answer(request, arrays)
    except MedsdkError as error:
        return framing.error_header(error), {}
    except MemoryError:
        return framing.error_header(
            SourceUnreadableError(
                "the model needs more memory than its weights can explain",
                got="sizes in the configuration that the file's weights do not have",
                expected="a configuration that fits the weights",
                remedy="save the model again with Keras",
            )
        ), {}
    # A child that ends with a traceback tells nobody anything; the class says enough.
    except Exception as error:  # noqa: BLE001
        return framing.error_header(
            SourceUnreadableError(
                "the Keras file cannot be read",
                got=type(error).__name__,
                expected="a model that Keras 3 loads with safe_mode on",
                remedy="save the model again with Keras, or export it to ONNX",
            )
        ), {}
    finally:
        limit_new_memory(None)


def serve() -> None:
    """Answer until the pipe closes."""
    requests = os.fdopen(os.dup(sys.stdin.fileno()), "rb")
    # Whatever a library prints must not end up between our messages.
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    child = _Child()
    while requests.peek(1):
        header, arrays = _answer(child, *framing.receive(requests))
        framing.send(replies, header, arrays)


if __name__ == "__main__":
    serve()
