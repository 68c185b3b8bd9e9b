"""Candidates: the ways in which a bundle could run on this machine."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import medsdk_runtimes
from medsdk._refusals import VariantUnavailableError
from medsdk.bundle.manifest import Manifest
from medsdk_runtimes.contract import Effective, Precision, Settings
from medsdk_runtimes.errors import SettingRefusedError
from medsdk_runtimes.isa_tier import lower_tiers
from medsdk_runtimes.threads import ThreadBudget

DEFAULT_RUNTIME = "onnxruntime"
DEFAULT_VARIANT = "fp32"
DEFAULT_DEVICE = "CPU"

_FOR_A_GPU = "it is for a GPU; take another variant here (`medsdk verify` says what a CPU gives)"


@dataclass(frozen=True)
class Choice:
    """Which variant of one network, and what it must run in."""

    variant: str
    precision: Precision


@dataclass(frozen=True)
class Candidate:
    """One way to run a bundle.

    Attributes:
        runtime: Name of the runtime.
        device: Name of the device.
        networks: For each role, variant and precision.
        threads: Worker threads, at least 1.
        isa: Limit on the instruction set, `native` for none; anything else runs in a process
            of its own, for verification only.
    """

    runtime: str
    device: str
    networks: Mapping[str, Choice]
    threads: int
    isa: Literal["native", "avx2"] = "native"

    def settings(self, role: str) -> Settings:
        """What is asked of the runtime for one network."""
        return Settings(
            device=self.device, threads=self.threads, precision=self.networks[role].precision
        )

    def __str__(self) -> str:
        variants = ", ".join(f"{role}: {choice.variant}" for role, choice in self.networks.items())
        tier = "" if self.isa == "native" else f" limited to {self.isa}"
        return f"{self.runtime} on {self.device}{tier} ({variants})"


@dataclass(frozen=True)
class Plan:
    """What runs, where, and why.

    Attributes:
        candidate: What was asked for.
        source: `default`: nobody chose, so ONNX Runtime in FP32. `pinned`: the caller chose.
        reason: In a sentence.
        effective: For each role, what the runtime really uses, read back.
        known_answers_checked: How many were run when the bundle was loaded.
    """

    candidate: Candidate
    source: Literal["default", "pinned"]
    reason: str
    effective: Mapping[str, Effective] = field(default_factory=dict)
    known_answers_checked: int = 0

    def __str__(self) -> str:
        return f"{self.candidate}; {self.source}: {self.reason}"


def pick(
    manifest: Manifest,
    runtime: str,
    variant: str,
    device: str = DEFAULT_DEVICE,
    threads: int | None = None,
) -> Candidate:
    """The candidate with one variant for every network.

    Args:
        manifest: The bundle's.
        runtime: Name of a runtime.
        variant: Id of a variant, for instance `int8-cpu`.
        device: Name of a device of the runtime.
        threads: Worker threads; None takes the process's whole budget.

    Returns:
        The candidate. Whether runtime and device are here shows when it is opened.

    Raises:
        VariantUnavailableError: A network has no such variant, it was not shipped, or it is
            not meant for the runtime.
        SettingRefusedError: More threads than the process's budget.
    """
    networks = {}
    for role, network in manifest.networks.items():
        shipped = [name for name, item in network.variants.items() if item.status == "shipped"]
        item = network.variants.get(variant)
        if item is None or item.status != "shipped":
            raise VariantUnavailableError(
                f"the bundle has no variant {variant!r} of {role!r} to run",
                got="no such variant" if item is None else f"{item.status}: {item.reason}",
                expected=f"one of {', '.join(shipped)}",
            )
        if runtime not in item.targets:
            raise VariantUnavailableError(
                f"variant {variant!r} of {role!r} is not meant for {runtime}",
                got=runtime,
                expected=f"one of {', '.join(item.targets)}",
                remedy=_FOR_A_GPU if item.form == "gpu" else "",
            )
        networks[role] = Choice(variant, item.precision)
    return Candidate(runtime, device, networks, _allowed(threads))


def _allowed(threads: int | None) -> int:
    """Worker threads: those that were asked for, within the process's budget."""
    budget = ThreadBudget.process()
    count = budget.share() if threads is None else threads
    if not 1 <= count <= budget.total:
        raise SettingRefusedError(
            "more threads were asked for than the process has",
            got=f"{count} threads",
            expected=f"1 to {budget.total}, the thread budget of this process",
            remedy="choose --threads in that range; a program that means more calls "
            "ThreadBudget.process().set(n) before the first load",
        )
    return count


def default_candidate(
    manifest: Manifest,
    runtime: str | None = None,
    variant: str | None = None,
    device: str | None = None,
    threads: int | None = None,
) -> Plan:
    """What runs where the caller leaves something open: ONNX Runtime, FP32, CPU.

    Args:
        manifest: The bundle's.
        runtime: Pinned runtime, or None.
        variant: Pinned variant, or None.
        device: Pinned device, or None.
        threads: Worker threads; None takes the process's whole budget.

    Returns:
        The plan, not opened yet.

    Raises:
        VariantUnavailableError: As `pick` says.
        RuntimeUnavailableError: No runtime of that name, or it is not installed.
    """
    asked = {"runtime": runtime, "variant": variant, "device": device, "threads": threads}
    pinned = [f"{name} {value}" for name, value in asked.items() if value is not None]
    chosen = medsdk_runtimes.require(DEFAULT_RUNTIME if runtime is None else runtime)
    candidate = pick(
        manifest,
        chosen.name,
        DEFAULT_VARIANT if variant is None else variant,
        DEFAULT_DEVICE if device is None else device,
        threads,
    )
    if pinned:
        return Plan(candidate, "pinned", f"the caller asked for {', '.join(pinned)}")
    return Plan(candidate, "default", "ONNX Runtime in FP32; nothing was measured here")


def candidates_of(
    manifest: Manifest,
    runtimes: tuple[str, ...],
    threads: int | None = None,
    *,
    tiers: bool = False,
) -> list[Candidate]:
    """Every candidate with the same variant for all networks, on the CPU.

    Args:
        manifest: The bundle's.
        runtimes: Names of the runtimes to consider.
        threads: Worker threads; None takes the process's whole budget.
        tiers: Whether to add each candidate once more on every lower instruction set that its
            runtime can be limited to, since INT8 values move with it.

    Returns:
        One candidate a runtime and shipped variant that targets it.
    """
    shared = _shipped_everywhere(manifest)
    found = []
    for runtime in runtimes:
        for variant in sorted(shared):
            if all(
                runtime in network.variants[variant].targets
                for network in manifest.networks.values()
            ):
                native = pick(manifest, runtime, variant, threads=threads)
                found.append(native)
                if tiers:
                    lower = lower_tiers(runtime)
                    found += [dataclasses.replace(native, isa=tier) for tier in lower]
    return found


def advisory_candidates(
    manifest: Manifest, runtimes: tuple[str, ...], threads: int | None = None
) -> list[Candidate]:
    """Variants for a GPU on runtimes of the CPU: what they give is advice and decides nothing.

    Args:
        manifest: The bundle's.
        runtimes: Names of runtimes that execute quantized graphs on the CPU.
        threads: Worker threads; None takes the process's whole budget.

    Returns:
        One candidate a runtime and shipped variant of form `gpu` that does not target it; never
        on a lower instruction set.
    """
    return [
        Candidate(
            runtime,
            DEFAULT_DEVICE,
            {
                role: Choice(variant, network.variants[variant].precision)
                for role, network in manifest.networks.items()
            },
            _allowed(threads),
        )
        for runtime in runtimes
        for variant in sorted(_shipped_everywhere(manifest))
        if all(
            network.variants[variant].form == "gpu"
            and runtime not in network.variants[variant].targets
            for network in manifest.networks.values()
        )
    ]


def _shipped_everywhere(manifest: Manifest) -> set[str]:
    """Variants that every network of a bundle ships."""
    return set.intersection(
        *(
            {name for name, item in network.variants.items() if item.status == "shipped"}
            for network in manifest.networks.values()
        )
    )
