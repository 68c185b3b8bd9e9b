"""Parity of heat maps: each against the reference's, and all of them against each other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from medsdk.parity.evidence import Claim, Evidence, Measure, Scope, WorstCase
from medsdk.parity.judging import SHOWN_WORST, Limit, Subject, counted, listed, worst
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
    """What is kept of the maps that were looked at; not the maps."""

    patients: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    undefined: list[bool] = field(default_factory=list)
    one_sided: list[str] = field(default_factory=list)
    subjects: list[Subject] = field(default_factory=list)
    correlations: list[float] = field(default_factory=list)
    peaks: list[float] = field(default_factory=list)
    pictures: set[str] = field(default_factory=set)
    varying: int = 0
    total: NDArray[np.float64] | None = None


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
    if seen.total is not None and seen.total.shape != want:
        seen.faults.append(f"{name}: a map of {want}, others of {seen.total.shape}")
        return
    direction = _direction(case.variant)
    if seen.total is None:
        seen.total = np.zeros(want)
    if case.subject.case not in seen.pictures:
        seen.pictures.add(case.subject.case)
        if direction is not None:
            seen.varying += 1
            seen.total += direction
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
    value = None
    if seen.varying >= 2 and seen.total is not None:
        pairs = seen.varying * (seen.varying - 1)
        value = 1.0 - (float((seen.total**2).sum()) - seen.varying) / pairs
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
        reason = f"heat map variation: {seen.varying} maps that are not constant, 2 are needed"
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
            "bound": None,
            "needed": 2,
            "verdict": verdict,
            "reason": reason,
        }
    )


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
