"""How much later a variant first finds a lesion in a clip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from medsdk.parity.boxes import LabelledBox, ScoredBox, overlaps
from medsdk.parity.detection import TRUTH_IOU
from medsdk.parity.evidence import Bound, Claim, Evidence, Histogram, Measure, Scope, WorstCase
from medsdk.parity.judging import SHOWN_WORST, Subject, counted, mean


@dataclass(frozen=True)
class LesionTrack:
    """One lesion through a clip.

    Attributes:
        subject: Whose; the case is the clip's.
        lesion: Name of the lesion within the clip.
        frames: Frame number, 1-based, to the lesion's box; frames without it are absent.
        reference: Frame number to the reference's boxes; a frame without boxes may be absent.
        variant: The same of the variant.
    """

    subject: Subject
    lesion: str
    frames: Mapping[int, LabelledBox]
    reference: Mapping[int, tuple[ScoredBox, ...]]
    variant: Mapping[int, tuple[ScoredBox, ...]]


def first_detection(
    frames: Mapping[int, LabelledBox],
    found: Mapping[int, tuple[ScoredBox, ...]],
    threshold: float,
    truth_iou: float = TRUTH_IOU,
) -> int | None:
    """The first frame in which a lesion is found.

    Args:
        frames: Frame number to the lesion's box.
        found: Frame number to what was found.
        threshold: Score from which on a box counts.
        truth_iou: Overlap, at least, with a box of the lesion's label.

    Returns:
        The frame number; None where the lesion is never found.
    """
    for number in sorted(frames):
        true = frames[number]
        boxes = [
            box.box
            for box in found.get(number, ())
            if box.label == true.label and box.score >= threshold
        ]
        if boxes and float(overlaps([true.box], boxes).max()) >= truth_iou:
            return number
    return None


def delay_evidence(
    threshold: float, tracks: Sequence[LesionTrack], scope: Scope, truth_iou: float = TRUTH_IOU
) -> Evidence:
    """The first frame of a variant minus the reference's, lesion by lesion; no gate.

    A lesion that one side never finds has no delay: it is counted as lost (the reference alone
    finds it) or gained, never dropped. One that neither finds counts in n of both.

    Args:
        threshold: Score from which on a box counts, the task's.
        tracks: Any number.
        scope: Whose evidence.
        truth_iou: Overlap with the lesion's box, at least.

    Returns:
        `advisory` claims in frames, the delays' histogram, the lesions lost or found latest.
    """
    by_lesion = scope.model_copy(update={"level": "lesion"})
    firsts = [
        (
            track,
            first_detection(track.frames, track.reference, threshold, truth_iou),
            first_detection(track.frames, track.variant, threshold, truth_iou),
        )
        for track in tracks
    ]
    both = [(track, was, now) for track, was, now in firsts if was is not None and now is not None]
    delays = [now - was for _, was, now in both]
    everybody = [track.subject.patient for track in tracks]
    late = mean(
        "first-detection-delay",
        by_lesion,
        [float(delay) for delay in delays],
        [track.subject.patient for track, _, _ in both],
        "frame",
    )
    claims = (
        late,
        _range(late, delays),
        counted(
            "lesions-lost",
            by_lesion,
            [was is not None and now is None for _, was, now in firsts],
            everybody,
        ),
        counted(
            "lesions-gained",
            by_lesion,
            [was is None and now is not None for _, was, now in firsts],
            everybody,
        ),
    )
    lost = [
        _named("lesions-lost", by_lesion, track, was, None)
        for track, was, now in firsts
        if was is not None and now is None
    ]
    slow = [
        _named("first-detection-delay", by_lesion, track, was, now)
        for track, was, now in sorted(both, key=lambda item: item[1] - item[2])
        if now > was
    ]
    charts = (_histogram(by_lesion, delays),) if delays else ()
    return Evidence(claims=claims, charts=charts, worst=(*lost[:SHOWN_WORST], *slow[:SHOWN_WORST]))


def _range(late: Claim, delays: Sequence[int]) -> Claim:
    """The latest, with the range that was seen; how many are late at all."""
    bound = None
    if delays:
        bound = Bound(low=min(delays), high=max(delays), method="extremes")
    return late.model_copy(
        update={
            "events": sum(delay > 0 for delay in delays),
            "value": float(max(delays)) if delays else None,
            "bound": bound,
        }
    )


def _histogram(scope: Scope, delays: Sequence[int]) -> Histogram:
    """One bin a frame where there are few, otherwise wider ones of whole frames."""
    low, high = min(delays), max(delays)
    width = -(-(high - low + 1) // 50)
    edges = np.arange(low, high + width + 1, width) - 0.5
    counts, _ = np.histogram(delays, edges)
    return Histogram(
        measure="first-detection-delay",
        scope=scope,
        unit="frame",
        edges=tuple(edges.tolist()),
        counts=tuple(counts.tolist()),
    )


def _named(
    measure: Measure, scope: Scope, track: LesionTrack, was: int | None, now: int | None
) -> WorstCase:
    late = 0 if was is None or now is None else now - was
    return WorstCase(
        scope=scope,
        case=track.subject.case,
        number=track.subject.number,
        measure=measure,
        size=late if now is not None else 1,
        unit="frame" if now is not None else "count",
        truth=f"lesion {track.lesion}",
        reference=f"frame {was}",
        variant="never" if now is None else f"frame {now}",
    )
