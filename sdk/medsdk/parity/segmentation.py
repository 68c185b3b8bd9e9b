"""Parity of masks: Dice and surface distance, by the size of the lesion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from medsdk.parity.change_charts import bland_altman, histogram
from medsdk.parity.components import Connectivity, label_components
from medsdk.parity.evidence import Chart, Claim, Evidence, Measure, Scope, WorstCase
from medsdk.parity.judging import (
    SHOWN_WORST,
    Limit,
    Subject,
    counted,
    fewest_for_percentile,
    flips,
    mean,
    percentile,
)
from medsdk.parity.surfaces import SurfaceDistance, bounding_box, surface_distance
from medsdk.tasks.gates import SegmentationGate

Mask = NDArray[np.bool_]

SIZE = "lesion-size"
"""The stratum of the quartiles."""

NO_LESION = "no lesion"
"""The cases of that stratum whose truth is empty."""


@dataclass(frozen=True)
class MaskCase:
    """The masks of one label in one picture, series or lesion.

    Attributes:
        subject: Whose.
        truth: H x W, or slices x H x W.
        reference: The reference's mask, the same shape.
        variant: The variant's.
        spacing_mm: Distance of neighbours along each axis of the arrays, in their order: rows
            apart, columns apart; in a series the slices come first.
    """

    subject: Subject
    truth: Mask
    reference: Mask
    variant: Mask
    spacing_mm: tuple[float, ...]

    def __post_init__(self) -> None:
        shapes = {mask.shape for mask in (self.truth, self.reference, self.variant)}
        if len(shapes) > 1 or self.truth.ndim != len(self.spacing_mm):
            raise ValueError(f"masks of {sorted(shapes)} with a spacing of {self.spacing_mm}")


@dataclass(frozen=True)
class MaskMeasures:
    """What the masks of one case show; the masks are needed no longer.

    Attributes:
        subject: Whose.
        size: Of the truth, in `size_unit`.
        size_unit: mm3; of a single slice, whose masks have two axes, mm2.
        empty: Whether truth, reference and variant are empty.
        dice_reference: Dice of the reference's mask with the truth.
        dice_variant: Of the variant's mask with the truth.
        dice_between: Of the two masks.
        from_truth: Surface distance of the variant's mask from the truth; None if undefined.
        between: Of the two masks.
    """

    subject: Subject
    size: float
    size_unit: str
    empty: tuple[bool, bool, bool]
    dice_reference: float
    dice_variant: float
    dice_between: float
    from_truth: SurfaceDistance | None
    between: SurfaceDistance | None

    @property
    def dice_change(self) -> float:
        """Dice with the truth, variant minus reference."""
        return self.dice_variant - self.dice_reference


def dice(first: Mask, second: Mask) -> float:
    """Twice the shared elements over all elements of both (Dice, Ecology 26, 1945).

    Args:
        first: Any shape.
        second: The same.

    Returns:
        0..1; 1 where both are empty: they agree. 0 where one is.
    """
    total = int(np.count_nonzero(first)) + int(np.count_nonzero(second))
    return 2 * int(np.count_nonzero(first & second)) / total if total else 1.0


def measure_masks(case: MaskCase) -> MaskMeasures:
    """Reduce a case to its numbers.

    Args:
        case: Its masks.

    Returns:
        The numbers; cases can be measured one by one, so that one case's masks are in memory.
    """
    return MaskMeasures(
        subject=case.subject,
        size=float(np.count_nonzero(case.truth) * np.prod(case.spacing_mm)),
        size_unit=f"mm{case.truth.ndim}",
        empty=(not case.truth.any(), not case.reference.any(), not case.variant.any()),
        dice_reference=dice(case.truth, case.reference),
        dice_variant=dice(case.truth, case.variant),
        dice_between=dice(case.reference, case.variant),
        from_truth=surface_distance(case.truth, case.variant, case.spacing_mm),
        between=surface_distance(case.reference, case.variant, case.spacing_mm),
    )


def lesions_of(case: MaskCase, connectivity: Connectivity) -> tuple[MaskCase, ...]:
    """One case a true lesion: itself, and what each side found that touches it.

    A component that touches two lesions belongs to both and costs both; one that touches none
    belongs to no lesion (`extra_components`).

    Args:
        case: A picture or a series.
        connectivity: Which neighbours make a component, the task's.

    Returns:
        In the order of the lesions' first elements; cropped to what they hold.
    """
    lesions, count = label_components(case.truth, connectivity)
    sides = [label_components(mask, connectivity)[0] for mask in (case.reference, case.variant)]
    found = []
    for lesion in range(1, count + 1):
        truth = lesions == lesion
        masks = [np.isin(parts, _touching(parts, truth)) for parts in sides]
        box = bounding_box(truth | masks[0] | masks[1])
        found.append(
            replace(case, truth=truth[box], reference=masks[0][box], variant=masks[1][box])
        )
    return tuple(found)


def extra_components(truth: Mask, found: Mask, connectivity: Connectivity) -> int:
    """How many components touch no true lesion.

    Args:
        truth: What is there.
        found: What was found, the same shape.
        connectivity: Which neighbours make a component.
    """
    parts, count = label_components(found, connectivity)
    return count - len(_touching(parts, truth))


def _touching(parts: NDArray[np.int32], truth: Mask) -> NDArray[np.int32]:
    """Numbers of the components that share an element with the truth."""
    numbers = np.unique(parts[truth])
    return numbers[numbers > 0]


def change_evidence(
    gate: SegmentationGate, cases: Sequence[MaskMeasures], scope: Scope
) -> Evidence:
    """Hold a variant's masks against the reference's, by the task's gate.

    Judged: mean and 5th percentile of the change of Dice with the truth, the median Dice of the
    two masks, and each direction of a flip by what could flip that way: masks that are emptied,
    of those that the reference does not leave empty, and masks that are filled, of those that it
    does. The second is judged where a case is without a lesion. Reported: all flips together,
    the surface distance of the two masks, and all of it by quartile of the true lesion's size.
    Cases in which truth and both masks are empty count among the masks that could be filled and
    as cases without a lesion; they are left out of the change of Dice, which most slices of a
    series, being empty, would otherwise hold near 0 whatever happens to the lesions.

    Args:
        gate: The task's gate.
        cases: Any number.
        scope: Whose evidence.

    Returns:
        Claims, the histogram of changes, a Bland-Altman plot, the cases that lost most.
    """
    everybody = [case.subject.patient for case in cases]
    marked = [case for case in cases if not all(case.empty)]
    people = [case.subject.patient for case in marked]
    changes = [case.dice_change for case in marked]
    masked = [case for case in cases if not (case.empty[1] and case.empty[2])]
    claims = [
        mean(
            "dice-change-mean",
            scope,
            changes,
            people,
            limit=Limit(gate.min_mean_dice_change, least=True, needed=1),
        ),
        percentile(
            "dice-change-5th-percentile",
            scope,
            changes,
            people,
            5,
            limit=Limit(
                gate.min_5th_percentile_dice_change,
                least=True,
                needed=fewest_for_percentile(5),
            ),
        ),
        percentile(
            "dice-to-reference-median",
            scope,
            [case.dice_between for case in masked],
            [case.subject.patient for case in masked],
            50,
            limit=Limit(gate.min_median_dice_to_fp32, least=True, needed=1),
        ),
        *flips(
            scope,
            [case.empty[1] != case.empty[2] for case in cases],
            everybody,
            None,
            gate.confidence,
        ),
        *_flips_each_way(gate, cases, scope),
        *_distances(scope, cases, [case.between for case in cases]),
    ]
    for where, part in by_size(cases, scope):
        owners = [case.subject.patient for case in part]
        claims.append(mean("dice-change-mean", where, [c.dice_change for c in part], owners))
        claims += _distances(where, part, [case.between for case in part])
    charts: tuple[Chart, ...] = ()
    if marked:
        charts = (
            histogram("dice-change-mean", scope, np.array(changes), "fraction"),
            bland_altman(
                "dice-change-mean",
                scope,
                np.array([case.dice_reference for case in marked]),
                np.array([case.dice_variant for case in marked]),
                "fraction",
            ),
        )
    return Evidence(claims=tuple(claims), charts=charts, worst=_worst(cases, scope))


def _flips_each_way(
    gate: SegmentationGate, cases: Sequence[MaskMeasures], scope: Scope
) -> list[Claim]:
    found = [case for case in cases if not case.empty[1]]
    nothing = [case for case in cases if case.empty[1]]
    healthy = any(case.empty[0] for case in cases)
    emptied = counted(
        "emptied-masks",
        scope,
        [case.empty[2] for case in found],
        [case.subject.patient for case in found],
        gate.max_flip_rate,
        gate.confidence,
    )
    filled = counted(
        "filled-masks",
        scope,
        [not case.empty[2] for case in nothing],
        [case.subject.patient for case in nothing],
        # An organ is in every picture: what cannot be collected cannot be asked for.
        gate.max_flip_rate if healthy else None,
        gate.confidence,
    )
    if not healthy:
        why = "no case is without a lesion: nothing is shown of filled masks"
        filled = filled.model_copy(update={"reason": why})
    return [emptied, filled]


def metric_evidence(cases: Sequence[MaskMeasures], scope: Scope) -> Evidence:
    """A variant's masks against the truth: Dice and surface distance, all and by size; no gate.

    Args:
        cases: Any number.
        scope: Whose evidence.

    Returns:
        `advisory` claims.
    """
    claims: list[Claim] = []
    marked = [case for case in cases if not (case.empty[0] and case.empty[2])]
    for where, part in ((scope, marked), *by_size(cases, scope)):
        owners = [case.subject.patient for case in part]
        claims.append(mean("dice", where, [case.dice_variant for case in part], owners))
        claims += _distances(where, part, [case.from_truth for case in part])
    return Evidence(claims=tuple(claims))


def by_size(
    cases: Sequence[MaskMeasures], scope: Scope
) -> tuple[tuple[Scope, list[MaskMeasures]], ...]:
    """The cases by quartile of the true lesion's size, and those without a lesion.

    Args:
        cases: Any number.
        scope: Whose evidence.

    Returns:
        For each group a scope that names it with its edges, and its cases, which may be few; a
        group that has none, where sizes tie, is absent. A size on an edge belongs to the lower
        group.
    """
    sizes = np.array([case.size for case in cases if not case.empty[0]], np.float64)
    units = "/".join(sorted({case.size_unit for case in cases}))
    groups = []
    if len(sizes):
        edges = np.quantile(sizes, (0.0, 0.25, 0.5, 0.75, 1.0))
        for number in range(4):
            low, high = edges[number], edges[number + 1]
            name = f"quartile {number + 1}: {low:.6g} to {high:.6g} {units}"
            part = [
                case
                for case in cases
                if not case.empty[0] and case.size <= high and (case.size > low or number == 0)
            ]
            if part:
                groups.append((scope.model_copy(update={"stratum": SIZE, "value": name}), part))
    without = [case for case in cases if case.empty[0]]
    if without:
        where = scope.model_copy(update={"stratum": SIZE, "value": NO_LESION})
        groups.append((where, without))
    return tuple(groups)


def _distances(
    scope: Scope, cases: Sequence[MaskMeasures], distances: Sequence[SurfaceDistance | None]
) -> list[Claim]:
    """Of the masks that have one; those that have none are counted."""
    people = [case.subject.patient for case in cases]
    known = [(one, who) for one, who in zip(distances, people, strict=True) if one is not None]
    owners = [who for _, who in known]
    return [
        mean("surface-distance-mean", scope, [one.mean for one, _ in known], owners, "mm"),
        mean(
            "surface-distance-95th-percentile",
            scope,
            [one.percentile_95 for one, _ in known],
            owners,
            "mm",
        ),
        counted("surface-distance-undefined", scope, [one is None for one in distances], people),
    ]


def _worst(cases: Sequence[MaskMeasures], scope: Scope) -> tuple[WorstCase, ...]:
    """First the flips, then the largest losses of Dice."""
    flipped = [case for case in cases if case.empty[1] != case.empty[2]]
    losing = sorted(
        (case for case in cases if case.dice_change < 0 and case.empty[1] == case.empty[2]),
        key=lambda case: (case.dice_change, case.subject.case),
    )
    return tuple(
        [
            _named(case, scope, "emptied-masks" if case.empty[2] else "filled-masks", 1, "count")
            for case in flipped[:SHOWN_WORST]
        ]
        + [
            _named(case, scope, "dice-change-mean", -case.dice_change, "fraction")
            for case in losing[:SHOWN_WORST]
        ]
    )


def _named(case: MaskMeasures, scope: Scope, measure: Measure, size: float, unit: str) -> WorstCase:
    return WorstCase(
        scope=scope,
        case=case.subject.case,
        number=case.subject.number,
        measure=measure,
        size=size,
        unit=unit,
        truth="empty" if case.empty[0] else f"{case.size:.6g} {case.size_unit}",
        reference="empty" if case.empty[1] else f"Dice {case.dice_reference:.4f}",
        variant="empty" if case.empty[2] else f"Dice {case.dice_variant:.4f}",
    )
