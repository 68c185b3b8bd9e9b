"""A small series and a small ensemble, with what the reference gave for every member.

The SDK does not run series and ensembles yet, so they are walked here as it will: each member by a
session of a runtime, held to its own stored reference, the whole to its stored answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medsdk.parity.members import check_members
from medsdk_runtimes import Array, Settings, runtime
from tests.planted_faults.plant import Alarm
from tests.planted_faults.workshop import Workshop, dicom, graph, prepared

TOLERANCE = 1e-4
SLICES = 6
SPACING_MM = 5.0


@dataclass(frozen=True)
class Slice:
    """One slice as it comes: where it lies along the patient, and the network's input."""

    position_mm: float
    tensor: NDArray[np.float32]


def series(workshop: Workshop) -> tuple[Slice, ...]:
    """Slices in the order in which they arrive, which is not that of their positions.

    A lesion stands in the lower three, so that the answers move along the patient.
    """
    from medsdk.bundle import Bundle
    from tests.planted_faults.workshop import colour_image

    task = Bundle.open(workshop.colour).manifest.task
    objects = [dicom(colour_image(5000 + n, n < SLICES // 2), "US", n) for n in range(SLICES)]
    tensors = prepared(task, objects)
    arriving = np.random.default_rng(3).permutation(SLICES)
    return tuple(Slice(SPACING_MM * int(n), tensors[int(n)]) for n in arriving)


def logits(data: bytes, tensor: NDArray[np.float32], *, reference: bool) -> Array:
    """One member, by ONNX Runtime; the reference with every optimisation off."""
    settings = Settings(threads=1, optimise=not reference)
    session = runtime("onnxruntime").open(data, settings)
    try:
        return session.run({"image": tensor})["logits"]
    finally:
        session.close()


def network(constants: Mapping[str, NDArray[np.float32]], seed: int | None = None) -> bytes:
    """The colour bundle's network, or a fold of it: the same with its head a little moved."""
    made = dict(constants)
    if seed is not None:
        rng = np.random.default_rng(seed)
        for name in ("hw", "hb"):
            moved = made[name] * (1 + 0.02 * rng.standard_normal(made[name].shape))
            made[name] = moved.astype(np.float32)
    found: bytes = graph(made, ("logits",)).SerializeToString()
    return found


def positive(array: Array) -> float:
    """Probability of the second label."""
    powers = np.exp(array[0].astype(np.float64) - array.max())
    return float(powers[1] / powers.sum())


def held_to_references(
    what: str, got: Sequence[Array], want: Sequence[Array], names: Sequence[str]
) -> list[Alarm]:
    """Every member against its own reference: `medsdk.parity.members` judges."""
    given, stored = (
        {name: {"logits": array} for name, array in zip(names, side, strict=True)}
        for side in (got, want)
    )
    found = check_members(what, given, stored, {"logits": TOLERANCE})
    if found.order is not None:
        return [Alarm("series", found.order)]
    return [Alarm("network", text) for text in found.problems]
