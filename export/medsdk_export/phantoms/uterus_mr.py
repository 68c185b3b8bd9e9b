"""Seeded axial T2-weighted pelvic slices for the task ``uterus-mr/tumor-filter``.

The pictures stand in for patients: they let a pipeline be built, trained and measured where
no clinical image may be used. They prove nothing about patients, and a network that was
trained on them is not for clinical use.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from medsdk_export.phantoms._acquisition import Acquisition, acquire
from medsdk_export.phantoms._canvas import Canvas, smooth_field
from medsdk_export.phantoms._findings import Confounder, Tumour, paint_confounder
from medsdk_export.phantoms._pelvis import (
    Pelvis,
    Textures,
    paint_bladder,
    paint_surroundings,
    paint_uterus,
)

__all__ = ["LABELS", "SLICE_PITCH_MM", "Phantom", "slice_at", "slices"]

LABELS: tuple[str, str] = ("none", "tumour")
"""Label strings by class index."""

SLICE_PITCH_MM = 6.0
"""Distance between the centres of neighbouring slices in mm."""

# Keeps these streams apart from any other user of the same seed.
_DOMAIN = 0x75746572


@dataclass(frozen=True)
class Phantom:
    """One slice and what is known about it.

    Attributes:
        pixels: rows x columns uint16, stored values 0..4095 without unit. Owned by the
            phantom and marked read-only.
        spacing_mm: (row, column) pixel spacing in mm.
        tumour: Whether the slice shows a tumour.
        patient: Name of the made-up patient, from the seed, the slices per patient and a
            running number; not an identity.
        stratum: Difficulty and subtype: ``leiomyoma``, ``leiomyoma-borderline``,
            ``heterogeneous`` or ``heterogeneous-borderline`` with a tumour; else the benign
            finding: ``plain``, ``contraction``, ``junctional``, ``cyst`` or ``vessels``. It may
            differ between slices of one patient.
        tumour_kind: ``leiomyoma`` or ``heterogeneous``, of the patient's tumour, whether or not
            this slice shows it; the same for all slices of one patient.
        seed: The seed that was given to :func:`slices`.
        index: Position in the sequence, from 0.
        slice_index: Position within the patient, from 0 at the foot end.
        origin_mm: (x, y, z) patient position of the first pixel's centre in mm.
        centre_mm: (x, y) patient position of the tumour's middle in mm, None without one.
        diameter_mm: Diameter of the tumour in this slice in mm, 0.0 without one.
        contrast: Relative signal difference between tumour and myometrium; negative is
            darker, 0.0 without one.
        fat_suppressed: Whether fat is dark.
    """

    pixels: NDArray[np.uint16] = field(repr=False)
    spacing_mm: tuple[float, float]
    tumour: bool
    patient: str
    stratum: str
    tumour_kind: str
    seed: int
    index: int
    slice_index: int
    origin_mm: tuple[float, float, float]
    centre_mm: tuple[float, float] | None
    diameter_mm: float
    contrast: float
    fat_suppressed: bool

    @property
    def label(self) -> str:
        """The class as a string of :data:`LABELS`."""
        return LABELS[int(self.tumour)]


def slices(count: int, seed: int, *, slices_per_patient: int = 4) -> Iterator[Phantom]:
    """Generate slices; about half show a tumour.

    Slice ``i`` depends on ``seed``, ``slices_per_patient`` and ``i`` only, so a longer run
    begins with the shorter one. Stored values may differ by one between processors or numpy
    versions, because they are rounded from float32 arithmetic.

    Args:
        count: How many, >= 0.
        seed: >= 0. Different seeds share no patient.
        slices_per_patient: How many neighbouring slices share one anatomy, >= 1.

    Yields:
        Phantoms in order of ``index``.

    Raises:
        ValueError: An argument is out of range.
    """
    if count < 0:
        raise ValueError(f"count must be 0 or more; got {count}")
    for index in range(count):
        yield slice_at(index, seed, slices_per_patient=slices_per_patient)


def slice_at(index: int, seed: int, *, slices_per_patient: int = 4) -> Phantom:
    """Generate one slice of the sequence that :func:`slices` describes.

    Args:
        index: Position in the sequence, >= 0.
        seed: >= 0.
        slices_per_patient: As in :func:`slices`.

    Returns:
        The slice at ``index``.

    Raises:
        ValueError: An argument is out of range.
    """
    if index < 0 or seed < 0 or slices_per_patient < 1:
        raise ValueError(
            "index and seed must be 0 or more and slices_per_patient 1 or more; "
            f"got {index}, {seed}, {slices_per_patient}"
        )
    patient_index, slice_index = divmod(index, slices_per_patient)
    patient_rng = np.random.default_rng((_DOMAIN, seed, slices_per_patient, patient_index))
    # 1 + slice_index: SeedSequence need not tell a trailing zero from its absence.
    slice_rng = np.random.default_rng(
        (_DOMAIN, seed, slices_per_patient, patient_index, 1 + slice_index)
    )
    # Slices fill the uterus, -1 at its foot end and 1 at its head end.
    z = (2.0 * slice_index + 1.0) / slices_per_patient - 1.0

    settings = Acquisition.draw(patient_rng)
    pelvis = Pelvis.draw(patient_rng, fat_suppressed=settings.fat_suppressed)
    finding = Confounder.draw(patient_rng)
    tumour = Tumour.draw(patient_rng)
    canvas = _canvas(settings, pelvis, patient_rng, slice_rng)
    textures = _textures(settings, patient_rng, slice_rng)

    paint_surroundings(canvas, pelvis, textures, z)
    # Before the uterus: whatever is in the uterus stays visible, so the truth is in the picture.
    paint_bladder(canvas, pelvis, z)
    uterus = paint_uterus(
        canvas,
        pelvis,
        textures,
        z,
        junctional_extra_mm=finding.junctional_extra_mm,
        stripe_shift_mm=(float(slice_rng.uniform(-3, 3)), float(slice_rng.uniform(-3, 3))),
    )
    paint_confounder(canvas, finding, pelvis, uterus, z)
    tumour.paint(canvas, pelvis, textures, uterus, z)
    pixels = acquire(canvas.image, settings, patient_rng, slice_rng)
    pixels.setflags(write=False)

    diameter_mm = tumour.diameter_at_mm(z)
    present = diameter_mm > 0.0
    stratum: str = finding.kind
    if present:
        stratum = f"{tumour.kind}-borderline" if tumour.is_borderline_at(z) else tumour.kind
    sign = -1.0 if tumour.kind == "leiomyoma" else 1.0
    return Phantom(
        pixels=pixels,
        spacing_mm=(settings.spacing_mm, settings.spacing_mm),
        tumour=present,
        patient=f"{seed}-{slices_per_patient}-{patient_index:05d}",
        stratum=stratum,
        tumour_kind=tumour.kind,
        seed=seed,
        index=index,
        slice_index=slice_index,
        origin_mm=(*canvas.origin_mm, slice_index * SLICE_PITCH_MM),
        centre_mm=canvas.painted_at(*tumour.centre_mm(uterus)) if present else None,
        diameter_mm=diameter_mm,
        contrast=sign * tumour.contrast if present else 0.0,
        fat_suppressed=settings.fat_suppressed,
    )


def _canvas(
    settings: Acquisition,
    pelvis: Pelvis,
    patient_rng: np.random.Generator,
    slice_rng: np.random.Generator,
) -> Canvas:
    shape = (settings.rows, settings.columns)
    centre_mm = (
        0.5 * pelvis.uterus.x_mm + float(patient_rng.uniform(-10, 10)),
        0.5 * pelvis.uterus.y_mm + float(patient_rng.uniform(-10, 10)) - 5.0,
    )
    warps = []
    for _ in range(2):
        warp = 3.2 * smooth_field(patient_rng, shape, settings.spacing_mm, 16.0)
        warp += 0.8 * smooth_field(slice_rng, shape, settings.spacing_mm, 7.0)
        warps.append(warp)
    return Canvas(shape, settings.spacing_mm, centre_mm, (warps[0], warps[1]))


def _textures(
    settings: Acquisition, patient_rng: np.random.Generator, slice_rng: np.random.Generator
) -> Textures:
    shape, spacing_mm = (settings.rows, settings.columns), settings.spacing_mm
    # Slices are 6 mm apart: coarse structure partly persists, fine structure does not.
    coarse = 0.8 * smooth_field(patient_rng, shape, spacing_mm, 5.0)
    coarse += 0.6 * smooth_field(slice_rng, shape, spacing_mm, 5.0)
    return Textures(
        fine=smooth_field(slice_rng, shape, spacing_mm, 0.8),
        medium=smooth_field(slice_rng, shape, spacing_mm, 2.0),
        coarse=coarse,
    )
