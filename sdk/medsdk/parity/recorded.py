"""Whether what a bundle holds of its measurement is one account: protocol, parity and manifest."""

from __future__ import annotations

from typing import Any

from medsdk.bundle.manifest import PARITY, PROTOCOL, ParityRecord, Variant
from medsdk.bundle.reading import Bundle
from medsdk.canonical import parse_json
from medsdk.parity.protocol import gates_digest


def evidence_faults(bundle: Bundle) -> tuple[str, ...]:
    """Where the evidence of a bundle contradicts itself, its protocol or its manifest.

    What was edited in one place is seen; who writes all places anew and signs them again is not:
    that takes a signature.

    Args:
        bundle: An opened bundle; reading it has made sure that the documents are there.

    Returns:
        One sentence a problem; empty where all agree, and for a bundle that has no evidence.
    """
    files = bundle.manifest.files
    if PARITY not in files or PROTOCOL not in files:
        return ()
    try:
        parity: Any = parse_json(bundle.read(PARITY))
        found = []
        if parity["protocol_sha256"] != files[PROTOCOL].sha256:
            found.append(f"{PARITY} was judged by another protocol than {PROTOCOL}")
        if parity["gates_sha256"] != gates_digest(bundle.manifest.task):
            found.append(f"{PARITY} was judged by other gates than those of the task")
        attempts = [(item["variant"], item) for item in parity["attempts"]]
        for network in bundle.manifest.networks.values():
            for name, variant in network.variants.items():
                mine = [item for title, item in attempts if title == name]
                if not any(_agrees(variant, item) for item in mine):
                    found.append(f"{name}: {PARITY} and the manifest do not tell the same of it")
    except (KeyError, TypeError, ValueError):
        return (f"{PARITY} is not what docs/bundle.md describes",)
    return tuple(found)


def _agrees(variant: Variant, attempt: dict[str, Any]) -> bool:
    """Whether an attempt has on each executor the variant's flips, and ships where that does.

    An attempt that passed may still be left out: where no known answer stays clear of it.
    """
    if variant.status == "shipped" and attempt["status"] != "shipped":
        return False
    told = {(item["runtime"], item["isa"]): item["evidence"] for item in attempt["executors"]}
    return all(_flips(told[record.runtime, record.isa], record) for record in variant.parity)


def _flips(evidence: dict[str, Any], record: ParityRecord) -> bool:
    """Whether the evidence of an executor has the record's flips."""
    return any(
        claim["measure"] == "flips" and claim["events"] == record.flips
        for claim in evidence["claims"]
    )
