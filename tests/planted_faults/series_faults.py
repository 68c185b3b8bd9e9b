"""Faults of a whole made of members: the order of slices, the folds of an ensemble, a mask."""

from __future__ import annotations

from tests.planted_faults.members import (
    Slice,
    held_to_references,
    logits,
    network,
    positive,
    series,
)
from tests.planted_faults.plant import Alarm, Plant
from tests.planted_faults.workshop import Workshop

FOLDS = ("fold-1", "fold-2", "fold-3")


def _by_position(slices: tuple[Slice, ...], *, descending: bool) -> list[Slice]:
    return sorted(slices, key=lambda one: one.position_mm, reverse=descending)


def slices_reversed(workshop: Workshop, planted: bool) -> tuple[Alarm, ...]:
    """Sorted from the wrong end; the answer of the study, their largest, is what it was."""
    data, slices = network(workshop.constants), series(workshop)
    reference = _by_position(slices, descending=False)
    want = [logits(data, one.tensor, reference=True) for one in reference]
    walked = _by_position(slices, descending=planted)
    got = [logits(data, one.tensor, reference=False) for one in walked]
    names = [f"slice {number}" for number in range(1, len(slices) + 1)]
    alarms = held_to_references("slices", got, want, names)
    study = max(map(positive, want)), max(map(positive, got))
    if abs(study[0] - study[1]) > 1e-4:
        alarms.append(Alarm("decide", "the answer of the study moved"))
    return tuple(alarms)


def fold_replaced(workshop: Workshop, planted: bool) -> tuple[Alarm, ...]:
    """The second fold's file is the first one's; the mean still decides as it did."""
    made = {name: network(workshop.constants, seed) for seed, name in enumerate(FOLDS)}
    shipped = {**made, "fold-2": made["fold-1"]} if planted else made
    tensor = series(workshop)[0].tensor
    want = [logits(made[name], tensor, reference=True) for name in FOLDS]
    got = [logits(shipped[name], tensor, reference=False) for name in FOLDS]
    alarms = held_to_references("folds", got, want, FOLDS)
    means = [sum(map(positive, members)) / len(FOLDS) for members in (want, got)]
    if (means[0] >= 0.5) != (means[1] >= 0.5):
        alarms.append(Alarm("decide", "the decision of the ensemble moved"))
    return tuple(alarms)


PLANTS = (
    Plant(
        "slices reversed",
        "synthetic series: sorted from the wrong end, the study's answer stays",
        "series",
        r"the slices are in another order: reversed, all 6 agree",
        slices_reversed,
    ),
    Plant(
        "one fold replaced",
        "synthetic ensemble: the second fold is the first one's file, its decision stays",
        "network",
        r"fold-2: output 'logits' differs by .*fold-2 gives what fold-1 should give",
        fold_replaced,
    ),
)
