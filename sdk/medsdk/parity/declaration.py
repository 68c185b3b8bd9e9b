"""`evidence/protocol.json`: the gates in force and what they need, written before measuring."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, Self

from pydantic import NonNegativeInt, PositiveInt, ValidationError

from medsdk._refusals import BundleUnreadableError, UndecidableGateError
from medsdk._version import __version__
from medsdk.bundle.manifest import PARITY as PARITY
from medsdk.bundle.manifest import PROTOCOL as PROTOCOL
from medsdk.bundle.manifest import Sha256
from medsdk.bundle.reading import Bundle
from medsdk.canonical import canonical_json, parse_json, timestamp
from medsdk.parity.protocol import (
    QUANTIZED,
    Requirement,
    gate_values,
    gates_digest,
    requirements,
)
from medsdk.tasks.gates import Form
from medsdk.tasks.schema import Task
from medsdk.tasks.strict import FORMAT_VERSION, FormatVersion, Strict
from medsdk.tasks.versions import check_format_version, drop_optional


class CaseSet(Strict):
    """The cases that a protocol speaks of.

    Attributes:
        origin: Labelled cases, or phantoms whose truth judges nothing.
        labelled: Number of labelled cases.
        by_label: The same by truth.
        patients: From how many patients; None without labelled cases.
        images: How many images are run.
        sha256: Of their ids, truths and patients, in order.
    """

    origin: Literal["case", "phantom"]
    labelled: NonNegativeInt
    by_label: dict[str, NonNegativeInt]
    patients: NonNegativeInt | None
    images: NonNegativeInt
    sha256: Sha256


class Protocol(Strict):
    """What was declared before anything was measured.

    Attributes:
        task: Id and version.
        declared: When, UTC, RFC 3339; SOURCE_DATE_EPOCH where it is set.
        medsdk: Version of the SDK.
        gates: Dotted name to value, all of them.
        gates_sha256: `medsdk.parity.protocol.gates_digest`.
        requirements: What each gate needs and how much of it there is.
        cases: The cases, counted.
        unjudged: Form to why no variant of it can ship, whatever is measured.
        attempts: Form to how many graphs are tried, each of which is judged on the same cases by
            every runtime that is here; none where nobody said.
    """

    format_version: FormatVersion = FORMAT_VERSION
    kind: Literal["medsdk-protocol"] = "medsdk-protocol"
    task: dict[Literal["id", "version"], str]
    declared: str
    medsdk: str
    gates: dict[str, float | str]
    gates_sha256: Sha256
    requirements: tuple[Requirement, ...]
    cases: CaseSet
    unjudged: dict[Form, tuple[str, ...]]
    attempts: dict[Form, PositiveInt] = {}
    optional: tuple[str, ...] = ()

    @classmethod
    def declare(
        cls,
        task: Task,
        needs: Sequence[Requirement],
        cases: CaseSet,
        attempts: Mapping[Form, int],
    ) -> Self:
        """The protocol of a task and its cases, now.

        Args:
            task: Its gates are those in force.
            needs: `requirements` of the task and these cases.
            cases: The cases.
            attempts: Form to how many graphs are tried.
        """
        return cls(
            task={"id": task.id, "version": task.version},
            declared=timestamp(),
            medsdk=__version__,
            gates=gate_values(task),
            gates_sha256=gates_digest(task),
            requirements=tuple(needs),
            cases=cases,
            unjudged=unjudged_forms(task, needs),
            attempts=dict(attempts),
        )

    def to_bytes(self) -> bytes:
        """Canonical JSON, as the bundle holds it."""
        return canonical_json(self.model_dump(mode="json"))


def unjudged_forms(task: Task, needs: Sequence[Requirement]) -> dict[Form, tuple[str, ...]]:
    """Forms of which no variant can ship with these cases, and why.

    Args:
        task: The task; one for benchmarks claims no clinical gate.
        needs: What its gates need and what there is.

    Returns:
        Form to one sentence a reason; empty where every gate has what it needs.
    """
    found: dict[Form, tuple[str, ...]] = {}
    for form in QUANTIZED:
        if form not in task.gates.max_output_difference:
            found[form] = (f"the task has no max_output_difference.{form}",)
        elif task.purpose != "benchmark":
            missing = tuple(
                f"{need.title} has {need.have} of the {need.needed} {counted(need)} that it needs: "
                f"{need.missing} more"
                for need in needs
                if form in need.forms and need.missing
            )
            if missing:
                found[form] = missing
    return found


def read_protocol(bundle: Bundle) -> Protocol | None:
    """The protocol of a bundle.

    Args:
        bundle: An opened bundle.

    Returns:
        The protocol; None where the bundle has none, as those of earlier releases.

    Raises:
        BundleUnreadableError: What is there is no protocol.
        FormatVersionError: It is of a format version that this release does not read.
    """
    if PROTOCOL not in bundle.manifest.files:
        return None
    try:
        document = parse_json(bundle.read(PROTOCOL))
        if not isinstance(document, dict):
            raise ValueError("no object")
        check_format_version(document.get("format_version"), PROTOCOL)
        known = drop_optional(document, set(Protocol.model_fields))
        return Protocol.model_validate_json(json.dumps(known))
    except (ValueError, ValidationError) as error:
        raise BundleUnreadableError(
            f"{PROTOCOL} is no protocol",
            got="another document",
            expected="what docs/bundle.md describes",
            remedy="copy the bundle again, or export it again",
        ) from error


def undeclared_gates(bundle: Bundle) -> tuple[str, ...]:
    """What of a bundle's gates is not what was declared before it was measured.

    Args:
        bundle: An opened bundle.

    Returns:
        One sentence a problem; empty where all agree, and for a bundle without a protocol.
    """
    protocol = read_protocol(bundle)
    if protocol is None:
        return ()
    task = bundle.manifest.task
    now, then = gate_values(task), protocol.gates
    found = [
        f"gates.{name} is {now.get(name, 'absent')}, {then.get(name, 'absent')} was declared"
        for name in sorted({*now, *then})
        if now.get(name) != then.get(name)
    ]
    digests = {protocol.gates_sha256, bundle.manifest.provenance.get("gates_sha256")}
    if digests != {gates_digest(task)} and not found:
        found.append("the digest of the gates is not the one that was declared")
    return tuple(found)


def described_needs(bundle: Bundle) -> tuple[Protocol | None, tuple[Requirement, ...]]:
    """The protocol of a bundle, and what its gates need.

    Args:
        bundle: An opened bundle.

    Returns:
        The requirements that were declared. Without a protocol those of its task, uncounted; none
        where one of its gates can never be decided.
    """
    protocol = read_protocol(bundle)
    if protocol is not None:
        return protocol, protocol.requirements
    try:
        return None, requirements(bundle.manifest.task)
    except UndecidableGateError:  # what an earlier release made must still be shown
        return None, ()


_COUNTED: Mapping[str, str] = {
    "image": "images",
    "case": "labelled cases",
    "independent-case": "independent cases",
    "smaller-side": "cases of the rarer side",
    "mask": "masks",
    "box": "boxes",
    "value": "values",
    "map": "maps",
}


def counted(need: Requirement) -> str:
    """What a requirement counts, in words."""
    if need.unit == "positive":
        return f"cases of {need.label}"
    if need.unit == "negative":
        return f"cases without {need.label}"
    if need.unit == "box" and need.label:
        return f"boxes of {need.label}"
    return _COUNTED[need.unit]


HEADER = ("gate", "limit", "counts", "needs", "there", "may go wrong", "one from", "proof from")
"""Of `rows`."""


def rows(needs: Sequence[Requirement]) -> Iterator[tuple[str, ...]]:
    """A row a gate that counts more than images; those are held to every value of each image."""
    for need in needs:
        if need.unit == "image":
            continue
        proof = "-" if need.decides == "proved" or need.proof_from is None else need.proof_from
        yield (
            need.gate + (f" of {need.role}" if need.role else ""),
            f"{need.limit:g} {need.decides}" + (" (cannot fail)" if need.cannot_fail else ""),
            counted(need),
            str(need.needed),
            "-" if need.have is None else str(need.have),
            "-" if need.tolerated is None else str(need.tolerated),
            "never" if need.one_from is None else str(need.one_from),
            str(proof),
        )
