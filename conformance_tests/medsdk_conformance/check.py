"""What a check of behaviour is, and what checks are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medsdk_conformance.graphs import affine
from medsdk_conformance.wording import holds_path, words
from medsdk_runtimes import Array, Capability, Runtime, Session, Settings
from medsdk_runtimes.errors import MedsdkError


class RuleBrokenError(AssertionError):
    """The runtime does not keep the rule; the message says what was seen."""


class NotTestableError(Exception):
    """This machine cannot tell; the message says why."""


@dataclass(frozen=True)
class Subject:
    """A runtime on one of its devices.

    Attributes:
        runtime: What is asked.
        asked_device: On which device; None is the first that it lists.
        capabilities: What it declares.
    """

    runtime: Runtime
    asked_device: str | None
    capabilities: frozenset[Capability]

    @property
    def device(self) -> str:
        """The device that everything runs on, asked for when it is needed.

        Raises:
            RuleBrokenError: The runtime lists none.
        """
        if self.asked_device:
            return self.asked_device
        try:
            devices = self.runtime.devices()
            return devices[0].name
        # So that nobody looks for the fault in what was asked for.
        except Exception as error:
            said = "it lists none" if isinstance(error, IndexError) else words(error)
            raise RuleBrokenError(f"devices() gives no device to open it on: {said}") from error

    def open(self, onnx: bytes | None = None, **settings: Any) -> Session:  # noqa: ANN401
        """A session; by default of `affine()`.

        Raises:
            RuleBrokenError: `open` returned something else.
        """
        graph = affine() if onnx is None else onnx
        session = self.runtime.open(graph, Settings(**{"device": self.device, **settings}))
        if not isinstance(session, Session):
            raise RuleBrokenError(
                f"open() returned {type(session).__name__}, expected a medsdk_runtimes.Session"
            )
        return session


@dataclass(frozen=True)
class Check:
    """One rule of the contract.

    Attributes:
        id: Stable name.
        capability: What a runtime needs to be asked, or None for every runtime.
        asks: The rule in one sentence.
        run: Raises `RuleBrokenError` where the rule is broken, `NotTestableError` where this
            machine cannot tell.
    """

    id: str
    capability: Capability | None
    asks: str
    run: Callable[[Subject], None]


def counted(batch: int = 1, channels: int = 4) -> NDArray[np.float32]:
    """0, 1, 2 ... as (batch, channels): what `affine()` takes."""
    return np.arange(batch * channels, dtype=np.float32).reshape(batch, channels)


@contextmanager
def raises(*kinds: type[MedsdkError]) -> Iterator[list[MedsdkError]]:
    """The block must raise one of `kinds`; the list holds it afterwards."""
    caught: list[MedsdkError] = []
    try:
        yield caught
    except kinds as error:
        caught.append(error)
        return
    except (RuleBrokenError, NotTestableError):
        raise
    except Exception as error:
        raise RuleBrokenError(f"expected {_names(kinds)}, and it {words(error)}") from error
    raise RuleBrokenError(f"expected {_names(kinds)}, and nothing was raised")


def _names(kinds: tuple[type[MedsdkError], ...]) -> str:
    return " or ".join(kind.__name__ for kind in kinds)


def without_path(error: MedsdkError) -> None:
    """An error must not tell where a file is."""
    require(not holds_path(str(error)), f"a path in the error: {error}")


def equal(found: Array, expected: Array) -> None:
    """Two arrays must hold the same values."""
    if not np.array_equal(found, expected):
        raise RuleBrokenError(f"expected {expected.tolist()!s:.200}, got {found.tolist()!s:.200}")


def require(condition: bool, otherwise: str) -> None:
    """`condition` must hold."""
    if not condition:
        raise RuleBrokenError(otherwise)
