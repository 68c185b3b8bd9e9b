"""Runs `verify` and a load on a bundle or a wrapped runtime, and gives their alarms."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import medsdk
from medsdk.bundle import Bundle
from medsdk.errors import BundleUnreadableError, MedsdkError
from medsdk.parity.verification import verify
from tests.planted_faults.plant import Alarm, Check
from tests.planted_faults.workshop import Change, Workshop

RUNTIME = "onnxruntime"


def verified(
    bundle: str,
    change: Change | None = None,
    variant: str = "fp32",
    wrapped: AbstractContextManager[object] | None = None,
    *,
    load: bool = True,
) -> Check:
    """A check of a small bundle: `verify`, and that a load of the variant refuses as it does.

    Both open the bundle first: a manifest that is refused is refused for both.

    Args:
        bundle: `colour` or `window`.
        change: The fault, in the bundle; it is signed again.
        variant: Which variant has it; alarms of the others show that it is somewhere else.
        wrapped: The fault, in the runtime.
        load: Whether a load must notice it; False of what was measured, which `verify` alone reads.
    """

    def check(workshop: Workshop, planted: bool) -> tuple[Alarm, ...]:
        sound: Path = getattr(workshop, bundle)
        fault = wrapped if planted and wrapped is not None else nullcontext()
        try:
            with workshop.copy(sound, change if planted else None) as opened, fault:
                found = _of_verify(opened, variant)
                return both(found, _of_load(opened, variant)) if load else tuple(found)
        except BundleUnreadableError as error:
            return (Alarm("manifest", f"{error.got}"),)

    return check


def both(of_verify: Sequence[Alarm], of_load: Sequence[Alarm]) -> tuple[Alarm, ...]:
    """The alarms of `verify` and of a load: both must refuse.

    Where one of them lets a fault pass, that is an alarm at a stage that no fault is expected at.
    """
    if of_verify and not of_load:
        return (*of_verify, Alarm("load", "it serves"))
    if of_load and not of_verify:
        return (*of_load, Alarm("verify", "it passes"))
    return (*of_verify, *of_load)


def _of_verify(bundle: Bundle, variant: str) -> list[Alarm]:
    found = verify(bundle, (RUNTIME,))
    alarms = [Alarm("bundle", reason) for reason in found.reasons]
    for item in found.candidates:
        if item.verdict == "advisory":
            continue
        for choice in item.candidate.networks.values():
            alarms += [_alarm(reason, choice.variant, variant) for reason in item.reasons]
    if (found.verdict == "fail") != bool(alarms):
        alarms.append(Alarm("verify", f"the verdict is {found.verdict}"))
    return alarms


def _alarm(reason: str, variant: str, expected: str) -> Alarm:
    """`ka-001: network: ...`, `decision probes: decide: ...` or `open: code: ...`."""
    first, _, rest = reason.partition(": ")
    stage, message = (first, rest) if first == "open" else rest.split(": ", 1)
    if variant != expected and stage in ("open", "network"):
        return Alarm(f"{stage} of {variant}", message)
    return Alarm(stage, message)


def _of_load(bundle: Bundle, variant: str) -> list[Alarm]:
    """A load refuses at the same stage; another way to fail is an alarm of its own."""
    try:
        medsdk.load(bundle.storage.path, runtime=RUNTIME, variant=variant).close()
    except MedsdkError as error:
        if error.code != "known-answer-failed":
            return [Alarm("open", f"{error.code}: {error}")]
        stage, _, message = error.got.partition(": ")
        return [Alarm(stage, message)]
    return []
