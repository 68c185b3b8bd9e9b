"""What every runtime does before its library sees a byte, and with what its library says."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType

from medsdk_runtimes.contract import (
    PRECISIONS,
    Availability,
    Device,
    Precision,
    Settings,
    TensorSpec,
)
from medsdk_runtimes.errors import (
    DeviceUnavailableError,
    GraphRefusedError,
    PrecisionMismatchError,
    RuntimeUnavailableError,
    SettingRefusedError,
)
from medsdk_runtimes.graph import GraphFacts, scan

# Names of nodes look like paths too; losing them is the price of never showing a path.
_PATH = re.compile(r"\S*[/\\]\S*")
_LONGEST = 300

# A list and not `numpy.dtype(name)`: other packages register bfloat16 and the like with numpy.
_ELEMENT_TYPES = frozenset(
    {
        *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
        *("float16", "float32", "float64"),
    }
)


# Packages by which a library reports its use over the network as soon as it is imported.
_SENDERS: Mapping[str, str] = {"openvino": "openvino_telemetry"}


def _import(library: str) -> ModuleType:
    """Import a library as if its sender of telemetry were not installed.

    The wheel of OpenVINO 2026.4.1 otherwise writes a client id below the user's home and sends an
    event to a service, with no question asked. Without the sender it takes an empty one of its own.
    An application that wants it imports OpenVINO first.
    """
    sender = _SENDERS.get(library)
    if sender is None or library in sys.modules or sender in sys.modules:
        return import_module(library)
    sys.modules[sender] = None  # type: ignore[assignment]  # an import of it raises ImportError
    try:
        return import_module(library)
    finally:
        sys.modules.pop(sender, None)


def look(library: str, extra: str) -> Availability:
    """Whether a library imports; never raises."""
    try:
        module = _import(library)
        version = release(str(module.__version__))
    # Whatever goes wrong inside a foreign import is the reason why it is not available.
    except Exception as error:  # noqa: BLE001
        return Availability(False, "", library_words(error), extra)
    return Availability(True, version, "", extra)


def release(version: str) -> str:
    """`2026.4.1` of `2026.4.1-22982-e213a147257-releases/2026/4`."""
    return version.partition("-")[0]


def load(runtime: str, library: str, extra: str) -> ModuleType:
    """Import a library.

    Raises:
        RuntimeUnavailableError: It does not import.
    """
    here = look(library, extra)
    if not here.available:
        raise RuntimeUnavailableError.missing(runtime, extra, (), here.reason)
    return _import(library)


def admit(
    runtime: str, onnx: bytes, settings: Settings, devices: Callable[[], tuple[Device, ...]]
) -> GraphFacts:
    """Check the settings that every runtime has, then the graph.

    Args:
        runtime: Name of the runtime.
        onnx: The graph.
        settings: What is asked.
        devices: The devices of the runtime.

    Returns:
        What the graph holds.

    Raises:
        DeviceUnavailableError: The device is not here.
        SettingRefusedError: Threads below 1 or an unknown precision.
        GraphRefusedError: As `graph.scan` says, or an input or output of
            another element type than numpy's numbers and bool.
    """
    names = tuple(device.name for device in devices())
    if settings.device not in names:
        raise DeviceUnavailableError.missing(runtime, settings.device, names)
    if settings.threads < 1:
        raise SettingRefusedError(
            "a session needs at least one thread", got=str(settings.threads), expected="1 or more"
        )
    if settings.precision not in PRECISIONS:
        raise SettingRefusedError(
            "there is no such precision",
            got=repr(settings.precision),
            expected=f"one of {', '.join(PRECISIONS)}",
        )
    if not isinstance(onnx, bytes):
        raise GraphRefusedError(
            "a graph is opened from its bytes",
            got=type(onnx).__name__,
            expected="bytes",
            remedy="read the file first; a path is never opened, so nothing can be swapped",
        )
    facts = scan(onnx)
    for spec in (*facts.inputs, *facts.outputs):
        if spec.dtype not in _ELEMENT_TYPES:
            raise GraphRefusedError(
                f"the tensor {spec.name!r} has an element type that medsdk does not pass",
                got=spec.dtype,
                expected=f"one of {', '.join(sorted(_ELEMENT_TYPES))}",
                remedy="cast it inside the graph when exporting",
            )
    return facts


def same_names(kind: str, specs: tuple[TensorSpec, ...], found: list[str]) -> None:
    """The library must see the tensors that the scan saw, in the same order.

    Raises:
        GraphRefusedError: It does not.
    """
    expected = [spec.name for spec in specs]
    if found != expected:
        raise GraphRefusedError(
            f"the library reads other {kind}s from this graph than medsdk",
            got=", ".join(found) or "none",
            expected=", ".join(expected) or "none",
            remedy="export the graph again with distinct names",
        )


def require_precision(runtime: str, asked: Precision, found: Precision, evidence: str) -> None:
    """What runs must be what was asked.

    Raises:
        PrecisionMismatchError: It is not.
    """
    if asked != found:
        raise PrecisionMismatchError(
            f"{runtime} runs the graph in another precision than was asked for",
            got=f"{found}: {evidence}",
            expected=asked,
            remedy=f"ask for {found}, or take another variant or runtime",
        )


def library_words(said: BaseException | str) -> str:
    """What a library said, in one short printable line without anything that looks like a path.

    Args:
        said: An exception, whose type is named first, or a text.
    """
    if isinstance(said, str):
        return _short(said)
    kind = type(said).__name__
    try:
        text = _short(str(said))
    # Even asking a foreign exception for its text may raise.
    except Exception:  # noqa: BLE001
        text = ""
    return f"{kind}: {text}" if text else kind


def _short(text: str) -> str:
    # Cut first: a library may say megabytes.
    shown = " ".join(_PATH.sub("(path)", text[: 4 * _LONGEST]).split())
    shown = "".join(letter if letter.isprintable() else "?" for letter in shown)
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}..."
