"""What a check of behaviour is, and what checks are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medsdk_conformance.graphs import affine
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
        device: On which device.
        capabilities: What it declares.
    """

    runtime: Runtime
    device: str
    capabilities: frozenset[Capability]

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
    else:
        expected = " or ".join(kind.__name__ for kind in kinds)
        raise RuleBrokenError(f"expected {expected}, and nothing was raised")


def equal(found: Array, expected: Array) -> None:
    """Two arrays must hold the same values."""
    if not np.array_equal(found, expected):
        raise RuleBrokenError(f"expected {expected.tolist()!s:.200}, got {found.tolist()!s:.200}")


def require(condition: bool, otherwise: str) -> None:
    """`condition` must hold."""
    if not condition:
        raise RuleBrokenError(otherwise)
