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

__all__ = ["CHECKS", "Check"]

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
