"""What a runtime says it can do, and so what the conformance tests ask of it.

A runtime declares its capabilities in an attribute `capabilities`, a set of
`medsdk_runtimes.Capability`. A case names the capability it needs and never a runtime. A runtime
that declares nothing is asked for everything.
"""

from __future__ import annotations

from typing import Protocol, get_args, runtime_checkable

from medsdk_runtimes import Capability, Runtime

ALL: frozenset[Capability] = frozenset(get_args(Capability))


@runtime_checkable
class DeclaresCapabilities(Protocol):
    """A runtime that says what it can do."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Its capabilities."""


def capabilities_of(runtime: Runtime) -> frozenset[Capability]:
    """What `runtime` declares, or everything where it declares nothing."""
    if isinstance(runtime, DeclaresCapabilities):
        return runtime.capabilities
    return ALL
