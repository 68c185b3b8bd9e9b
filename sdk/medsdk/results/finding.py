"""The answer, with where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from medsdk.decide.rules import FindingStatus
from medsdk.pixels.affine import Affine, Box


@dataclass(frozen=True)
class Provenance:
    """Where the findings of one engine come from; shared by all of them.

    Attributes:
        bundle: Name, version and sha256 of the bundle.
        task: Id and version of the task.
        notice: What must be shown with every result.
        networks: For each role: runtime, its version, device, variant, precision as read from
            the executed graph, threads, preprocessing contract digest and implementation.
        thresholds: Name to value.
        medsdk: Version of the SDK.
    """

    bundle: Mapping[str, str]
    task: Mapping[str, str]
    notice: str
    networks: Mapping[str, Mapping[str, str | int]]
    thresholds: Mapping[str, float]
    medsdk: str


@dataclass(frozen=True)
class Finding:
    """One answer, or "no result" and the reason.

    Attributes:
        kind: What kind of answer it is.
        status: `ok`, `indeterminate`, or `no-result`.
        label: The decision; None unless `status` is `ok`.
        probabilities: Label to probability, 0..1; empty where the network did not run.
        reason: Why there is no answer; empty where there is.
        source_uid: Hash of the SOP Instance UID (`medsdk.canonical.uid_hash`), or `array`.
        frame_number: 1-based.
        affine: From the stored frame to the network's input.
        region: What the network saw, in pixels of the stored frame.
        decoder: What decoded the frame, with its version (`Frame.decoder`), or None where it
            came as an array.
        provenance: Where it came from.
    """

    kind: str
    status: FindingStatus
    label: str | None
    probabilities: Mapping[str, float]
    reason: str
    source_uid: str
    frame_number: int
    affine: Affine
    region: Box
    decoder: str | None
    provenance: Provenance = field(repr=False)

    @property
    def probability(self) -> float | None:
        """Probability of `label`; None where there is no label."""
        return None if self.label is None else self.probabilities[self.label]
