"""Parity of heat maps: each against the reference's, and all of them against each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from medsdk.parity.bootstrap import times_drawn
from medsdk.parity.evidence import Claim, Evidence, Measure, Scope, WorstCase
from medsdk.parity.judging import SHOWN_WORST, Limit, Subject, counted, interval, listed, worst
from medsdk.parity.surfaces import nearest
from medsdk.tasks.gates import HeatMapGate
from medsdk_runtimes.contract import Array

FLAT = 1e-6
"""A map whose values differ by less, relative to its largest one, is constant: what is left is
the rounding of float32, and there is no correlation with it."""


@dataclass(frozen=True)
class MapCase:
    """The map of one label of one picture, in the cells that the graph gives.

    Attributes:
        subject: Whose; two pictures have two case ids.
        reference: The reference's map, h x w.
        variant: The variant's.
    """

    subject: Subject
    reference: Array
    variant: Array


@dataclass
class _Seen:
    """What is kept of the maps that were looked at: of the maps themselves one sum a patient.

    Attributes:
        patients: Of each map.
        faults: What is wrong with maps that cannot be compared.
        undefined: Of each map whether there is no correlation.
        one_sided: Maps of which one side alone is constant.
        subjects: Of the maps with a correlation.
        correlations: Theirs.
        peaks: How far their peaks are apart.
        pictures: Those that were seen.
        shape: Of the first map.
        varying: Patient of each picture whose map is not constant.
        totals: Patient to the sum of the directions of those maps.
    """

    patients: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    undefined: list[bool] = field(default_factory=list)
    one_sided: list[str] = field(default_factory=list)
    subjects: list[Subject] = field(default_factory=list)
    correlations: list[float] = field(default_factory=list)
    peaks: list[float] = field(default_factory=list)
    pictures: set[str] = field(default_factory=set)
    shape: tuple[int, ...] = ()
    varying: list[str] = field(default_factory=list)
    totals: dict[str, NDArray[np.float64]] = field(default_factory=dict)


def correlation(first: Array, second: Array) -> float | None:
    """Pearson's correlation of the cells of two maps.

    Args:
        first: h x w, finite.
        second: The same shape.

    Returns:
        -1..1; None where a map is constant.
    """
    a, b = _direction(first), _direction(second)
    return None if a is None or b is None else float(np.clip((a * b).sum(), -1.0, 1.0))


def peak_distance(first: Array, second: Array) -> float:
    """How far the largest values of two maps are apart, in cells, in a straight line.

    Args:
        first: h x w, finite.
        second: The same shape.

    Returns:
        0 for the same cell, 1 for a neighbour in a row or column, 1.41 for a diagonal one. Where
        several cells hold the largest value, the nearest two count.
    """
    places = np.argwhere(first == first.max())
    return float(nearest(places, second == second.max(), (1.0, 1.0)).min())


def change_evidence(gate: HeatMapGate, cases: Iterable[MapCase], scope: Scope) -> Evidence:
    """Hold heat maps against the reference's, by the task's gate.

    Judged, each map: its correlation, where its peak is, that it has the reference's shape and
    only finite values, and that it is not constant where the reference's is not, or the other way
    round. Judged, all maps: that they vary with the picture. Where they all look alike a high
    correlation proves nothing, since a map would agree as well with that of another picture: two
    pictures' maps must correlate less, in the mean of all pairs, than the gate asks of two maps
    of one picture.

    Args:
        gate: The task's gate.
        cases: Any number, looked at one by one.
        scope: Whose evidence.

    Returns:
        Claims, and the maps that are farthest off.
    """
    seen = _Seen()
    for case in cases:
        _look_at(case, seen)
    owners = [subject.patient for subject in seen.subjects]
    claims = (
        listed("outputs", scope, len(seen.patients), seen.faults, len(set(seen.patients))),
        worst(
            "heat-map-correlation",
            scope,
            seen.correlations,
            owners,
            Limit(gate.min_correlation, least=True, needed=1),
        ),
        worst(
            "heat-map-peak-distance",
            scope,
            seen.peaks,
            owners,
            Limit(gate.max_peak_distance_cells, least=False, needed=1),
            "cell",
        ),
        _undefined(scope, seen),
        _variation(gate, scope, seen),
    )
    return Evidence(claims=claims, worst=_worst_cases(gate, scope, seen))


def _look_at(case: MapCase, seen: _Seen) -> None:
    name = _name(case.subject)
    seen.patients.append(case.subject.patient)
    seen.undefined.append(False)
    want = case.reference.shape
    if case.variant.shape != want or len(want) != 2:
        seen.faults.append(f"{name}: a map of {case.variant.shape}, expected {want}, h x w")
        return
    if not (np.isfinite(case.variant).all() and np.isfinite(case.reference).all()):
        seen.faults.append(f"{name}: a map holds NaN or infinity")
        return
    seen.shape = seen.shape or want
    if seen.shape != want:
        seen.faults.append(f"{name}: a map of {want}, others of {seen.shape}")
        return
    direction = _direction(case.variant)
    if case.subject.case not in seen.pictures:
        seen.pictures.add(case.subject.case)
        if direction is not None:
            who = case.subject.patient
            seen.varying.append(who)
            seen.totals[who] = seen.totals.get(who, np.zeros(want)) + direction
    value = correlation(case.reference, case.variant)
    if value is None:
        seen.undefined[-1] = True
        if (direction is None) != (_direction(case.reference) is None):
            side = "variant" if direction is None else "reference"
            seen.one_sided.append(f"{name}: the {side}'s map alone is constant")
        return
    seen.subjects.append(case.subject)
    seen.correlations.append(value)
    seen.peaks.append(peak_distance(case.reference, case.variant))


def _undefined(scope: Scope, seen: _Seen) -> Claim:
    """Maps without a correlation, since one of the two is constant."""
    claim = counted("heat-map-undefined", scope, seen.undefined, seen.patients)
    found = listed("heat-map-undefined", scope, len(seen.patients), seen.one_sided)
    if not seen.one_sided:
        return claim
    return claim.model_copy(update={"verdict": found.verdict, "reason": found.reason})


def _variation(gate: HeatMapGate, scope: Scope, seen: _Seen) -> Claim:
    """One minus the mean correlation of the variant's maps of two pictures."""
    value, bound, unbounded = None, None, ""
    if len(seen.varying) >= 2:
        value = float(_variations(seen, np.ones((1, len(seen.totals)), np.intp))[0])
        drawn = [_variations(seen, times) for times in times_drawn(len(seen.totals))]
        bound, unbounded = interval(np.concatenate(drawn), value, seen.varying, None)
    elif len(seen.pictures) >= 2 and not seen.varying:
        value = 0.0  # all of them are constant
    claim = worst(
        "heat-map-variation",
        scope,
        [] if value is None else [value],
        [],
        Limit(max(1.0 - gate.min_correlation, FLAT), least=True, needed=1),
    )
    verdict, reason = claim.verdict, claim.reason
    if value is None:
        reason = f"heat map variation: {len(seen.varying)} maps that are not constant, 2 are needed"
    elif verdict == "fail":
        reason = (
            f"heat map variation: the maps of {len(seen.pictures)} pictures are {value:.6g} from "
            f"one another, at least {claim.limit:g} is needed: they do not follow the picture"
        )
    return claim.model_copy(
        update={
            "n": len(seen.pictures),
            "patients": len(set(seen.patients)),
            "events": None,
            "bound": bound,
            "needed": 2,
            "verdict": verdict,
            "reason": "; ".join(filter(None, (reason, unbounded))),
        }
    )


def _variations(seen: _Seen, times: NDArray[np.intp]) -> NDArray[np.float64]:
    """One minus the mean correlation of two pictures, where patients occur so many times.

    A picture that occurs twice is never held to itself: of the squared sum of all directions,
    those pairs are taken out again.

    Args:
        seen: Maps of at least one patient.
        times: Shape (resamples, patients), in the order of `seen.totals`.

    Returns:
        Shape (resamples,); NaN where a resample has no two pictures.
    """
    sums = np.stack([total.ravel() for total in seen.totals.values()])
    pictures = Counter(seen.varying)
    owned = np.array([pictures[who] for who in seen.totals])
    itself = (times**2) @ owned
    pairs = (times @ owned) ** 2 - itself
    alike = ((times @ (sums @ sums.T)) * times).sum(axis=1) - itself
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(1.0 - alike / pairs, np.float64)


def _direction(values: Array) -> NDArray[np.float64] | None:
    """A map less its mean, of length 1; None where it is constant."""
    cells = values.astype(np.float64)
    if float(np.ptp(cells)) <= FLAT * float(np.abs(cells).max(initial=0.0)):
        return None
    # Scaled first: the square of a very small or very large value is no float.
    cells = (cells - cells.mean()) / float(np.ptp(cells))
    return np.asarray(cells / np.sqrt((cells**2).sum()))


def _worst_cases(gate: HeatMapGate, scope: Scope, seen: _Seen) -> tuple[WorstCase, ...]:
    off: list[WorstCase] = []
    for subject, value, distance in zip(seen.subjects, seen.correlations, seen.peaks, strict=True):
        if value < gate.min_correlation:
            off.append(_named(scope, subject, "heat-map-correlation", 1 - value, "fraction", value))
        if distance > gate.max_peak_distance_cells:
            off.append(_named(scope, subject, "heat-map-peak-distance", distance, "cell", distance))
    off.sort(key=lambda item: (item.measure, -item.size, item.case))
    kinds: tuple[Measure, ...] = ("heat-map-correlation", "heat-map-peak-distance")
    return tuple(
        item
        for kind in kinds
        for item in [item for item in off if item.measure == kind][:SHOWN_WORST]
    )


def _named(
    scope: Scope, subject: Subject, measure: Measure, size: float, unit: str, said: float
) -> WorstCase:
    return WorstCase(
        scope=scope,
        case=subject.case,
        number=subject.number,
        measure=measure,
        size=size,
        unit=unit,
        variant=f"{said:.4g}",
    )


def _name(subject: Subject) -> str:
    return f"case {subject.number or subject.case}"
