"""The behaviour that the runtime contract asks for, one check a rule."""

from __future__ import annotations

from medsdk_conformance.check import Check
from medsdk_conformance.checks import (
    calls,
    description,
    effective,
    leaks,
    lifetime,
    memory,
    refusals,
    threads,
    weights,
)

__all__ = ["CHECKS", "SILENT", "Check"]

CHECKS: tuple[Check, ...] = (
    *description.CHECKS,
    *effective.CHECKS,
    *calls.CHECKS,
    *memory.CHECKS,
    *weights.CHECKS,
    *threads.CHECKS,
    *lifetime.CHECKS,
    *leaks.CHECKS,
    *refusals.CHECKS,
)
"""Every rule."""

SILENT: frozenset[str] = frozenset(
    {check.id for check in (*memory.CHECKS, *weights.CHECKS)}
    | {"threads", "threads-batches", "threads-two-sessions", "threads-open", "close-while-running"}
    | {"device-used", "device-absent", "effective"}
)
"""Rules whose breach nobody notices: other values, or another device, without an error."""
