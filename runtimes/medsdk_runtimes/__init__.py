"""Runtimes: the libraries that execute a network, behind one small contract.

Importing this package imports no framework; a runtime does that when it is asked for something.
A third party adds a runtime by the entry-point group `medsdk.runtimes`: the entry's name is the
runtime's, its value an object that satisfies `Runtime`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points
from itertools import chain
from typing import Final

from medsdk_runtimes._opening import admit, library_words
from medsdk_runtimes.contract import (
    CAPABILITIES,
    PRECISIONS,
    Array,
    Availability,
    Capability,
    Device,
    Effective,
    Precision,
    Runtime,
    Session,
    Settings,
    TensorSpec,
)
from medsdk_runtimes.errors import RuntimeUnavailableError
from medsdk_runtimes.onnxruntime_rt import OnnxRuntime
from medsdk_runtimes.openvino_rt import OpenVino

__all__ = [
    "CAPABILITIES",
    "ENTRY_POINT_GROUP",
    "PRECISIONS",
    "RUNTIMES",
    "Array",
    "Availability",
    "Capability",
    "Device",
    "Effective",
    "Precision",
    "Runtime",
    "Session",
    "Settings",
    "TensorSpec",
    "admit",
    "available",
    "known",
    "known_names",
    "library_words",
    "require",
    "runtime",
]

# Before anything imports onnxruntime: its Linux wheel (1.31) otherwise writes a device id and a
# database into the user's cache on import, for a service of its vendor (docs/decisions/0008).
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

RUNTIMES: Final[tuple[Runtime, ...]] = (OnnxRuntime(), OpenVino())
"""The runtimes that come with medsdk, the default first."""

ENTRY_POINT_GROUP: Final = "medsdk.runtimes"

_MEMBERS: Final = ("name", "availability", "devices", "open")
"""What `Runtime` asks for."""


def known_names() -> tuple[str, ...]:
    """Names of `known()`, read without running a line of anybody's package."""
    own = tuple(item.name for item in RUNTIMES)
    entries = sorted(entry.name for entry in entry_points(group=ENTRY_POINT_GROUP))
    return tuple(dict.fromkeys((*own, *entries)))


def known() -> tuple[Runtime, ...]:
    """Every runtime, installed or not: medsdk's own first, then those of third parties.

    A third party's runtime that does not load is there too, and says why it is not available.
    """
    return (*RUNTIMES, *_third_parties())


def available() -> tuple[Runtime, ...]:
    """The runtimes whose library is installed here and imports."""
    return tuple(runtime for runtime in known() if runtime.availability().available)


def runtime(name: str) -> Runtime:
    """The runtime of that name, whether its library is installed or not.

    Raises:
        RuntimeUnavailableError: There is no runtime of that name.
    """
    for candidate in chain(RUNTIMES, _third_parties(name)):
        if candidate.name == name:
            return candidate
    raise RuntimeUnavailableError.unknown(name, tuple(item.name for item in available()))


def require(name: str) -> Runtime:
    """The runtime of that name, with its library installed.

    Raises:
        RuntimeUnavailableError: There is no such runtime, or its library does not import.
    """
    found = runtime(name)
    here = found.availability()
    if not here.available:
        raise RuntimeUnavailableError.missing(
            name, here.extra, tuple(item.name for item in available()), here.reason
        )
    return found


def _third_parties(only: str | None = None) -> Iterator[Runtime]:
    """Runtimes of other packages; looks at all that is installed, but only when iterated.

    With `only` no other package is imported: what it does on import is nobody else's trouble.
    """
    own = {item.name for item in RUNTIMES}
    for entry in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda entry: entry.name):
        # medsdk's own names cannot be taken over.
        if entry.name not in own and only in {None, entry.name}:
            yield _load(entry)


class _Unloadable:
    """A third party's runtime that could not be loaded."""

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self._reason = reason

    def availability(self) -> Availability:
        return Availability(available=False, version="", reason=self._reason, extra=self.name)

    def devices(self) -> tuple[Device, ...]:
        raise self._error()

    def open(self, onnx: bytes, settings: Settings) -> Session:
        raise self._error()

    def _error(self) -> RuntimeUnavailableError:
        return RuntimeUnavailableError(
            f"the runtime {self.name!r} of another package does not load",
            got=self._reason,
            expected=f"an object that satisfies Runtime, in the group {ENTRY_POINT_GROUP}",
            remedy="update or remove the package that declares it",
        )


def _load(entry: EntryPoint) -> Runtime:
    try:
        found = entry.load()
    # A foreign package may raise anything; the reason is kept where `doctor` shows it.
    except Exception as error:  # noqa: BLE001
        return _Unloadable(entry.name, library_words(error))
    problem = _entry_problem(entry.name, found)
    return _Unloadable(entry.name, problem) if problem else found


def _entry_problem(name: str, found: object) -> str:
    """Why what an entry point gives is no runtime of that name; empty where it is one."""
    if isinstance(found, type):
        return f"its entry names the class {found.__name__}, expected an object: {found.__name__}()"
    try:
        absent = [member for member in _MEMBERS if not hasattr(found, member)]
        if absent:
            return f"it is a {type(found).__name__} without {', '.join(absent)}, so no runtime"
        own = found.name  # type: ignore[attr-defined]  # it is one of the members
    # A foreign property may raise anything.
    except Exception as error:  # noqa: BLE001
        return f"its members cannot be read: {library_words(error)}"
    if own != name:
        return f"its name is {library_words(repr(own))}, and its entry is called {name!r}"
    return ""
