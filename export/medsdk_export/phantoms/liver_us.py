"""Seeded B-mode frames and clips of focal liver lesions for the liver ultrasound tasks.

The pictures stand in for patients: they let a pipeline be built, trained and measured where
no clinical image may be used. They prove nothing about patients, and a network that was
trained on them is not for clinical use.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from medsdk_export.phantoms._bmode import (
    compressed,
    envelope,
    round_trip_loss_db,
    scatterers,
    transmitted,
)
from medsdk_export.phantoms._liver import Liver, LiverState, View, paint_liver, paint_shadows
from medsdk_export.phantoms._liver_lesions import KINDS, Kind, Lesion
from medsdk_export.phantoms._us_scanner import DEVICES, Device, Screen

__all__ = [
    "FRAMES_PER_PATIENT",
    "KINDS",
    "MALIGNANT",
    "Phantom",
    "clip_at",
    "frame_at",
    "frames",
]

Roi: TypeAlias = tuple[int, int, int, int]
"""(x0, y0, x1, y1) in pixels of the stored frame, outer corners."""

MALIGNANT: frozenset[Kind] = frozenset({"HCC", "metastasis"})

FRAMES_PER_PATIENT = 3

# Keeps these streams apart from any other user of the same seed.
_DOMAIN = 0x6C697665

_STATES: tuple[LiverState, ...] = ("normal", "fatty", "cirrhotic")
_STATE_CHANCES: dict[Kind, tuple[float, float, float]] = {
    "cyst": (0.65, 0.2, 0.15),
    "hemangioma": (0.6, 0.25, 0.15),
    "HCC": (0.25, 0.15, 0.6),
    "metastasis": (0.65, 0.22, 0.13),
}
_DEVICE_CHANCES = (0.3, 0.3, 0.2, 0.2)
_MIN_ROI_PX = 48


@dataclass(frozen=True)
class Phantom:
    """One frame, or one clip, and what is known about it.

    Attributes:
        pixels: rows x columns x 3 uint8 RGB, or frames x rows x columns x 3 of a clip. Owned by
            the phantom and marked read-only.
        kind: Which lesion it shows.
        appearance: How the lesion looks, for instance ``HCC-mosaic``.
        patient: Name of the made-up patient, from the seed and a running number; not an
            identity.
        stratum: The device model.
        roi: The square that the operator placed around the lesion.
        region: (x0, y0, x1, y1) of the scanned area in pixels, outer corners.
        origin_px: (x, y) of the middle of the skin line, in pixels from the outer corner of the
            first pixel.
        mm_per_pixel: Size of a pixel.
        depth_mm: Depth setting.
        frequency_mhz: Centre frequency.
        lesion_px: (x, y, radius) of the lesion in the (first) frame, in pixels.
        seed: The seed that was given.
        index: Position in the sequence, from 0.
        frame_time_ms: Between frames of a clip, 0.0 for a still.
    """

    pixels: NDArray[np.uint8] = field(repr=False)
    kind: Kind
    appearance: str
    patient: str
    stratum: str
    roi: Roi
    region: tuple[int, int, int, int]
    origin_px: tuple[float, float]
    mm_per_pixel: float
    depth_mm: float
    frequency_mhz: float
    lesion_px: tuple[float, float, float]
    seed: int
    index: int
    frame_time_ms: float = 0.0

    @property
    def malignant(self) -> bool:
        """Whether the lesion is malignant."""
        return self.kind in MALIGNANT


@dataclass(frozen=True)
class _Exam:
    """What the frames of a patient share."""

    device: Device
    liver: Liver
    lesion: Lesion
    gain_db: float


@dataclass(frozen=True)
class _Aim:
    """How the operator aims at the lesion in one frame or clip."""

    screen: Screen
    view: View
    centre_mm: tuple[float, float]
    gain_db: float
    roi: Roi
    seed: int


def frames(count: int, seed: int) -> Iterator[Phantom]:
    """Generate stills; each kind of lesion is a quarter of the patients.

    Frame ``i`` depends on ``seed`` and ``i`` only, so a longer run begins with the shorter one.
    Grey levels may differ by one between processors or numpy versions, because they are
    rounded from float32 arithmetic.

    Args:
        count: How many, >= 0.
        seed: >= 0. Different seeds share no patient.

    Yields:
        Phantoms in order of ``index``; ``FRAMES_PER_PATIENT`` neighbours show one lesion.

    Raises:
        ValueError: An argument is out of range.
    """
    if count < 0:
        raise ValueError(f"count must be 0 or more; got {count}")
    for index in range(count):
        yield frame_at(index, seed)


def frame_at(index: int, seed: int) -> Phantom:
    """Generate one still of the sequence that :func:`frames` describes.

    Raises:
        ValueError: An argument is out of range.
    """
    exam, aim = _exam_and_aim(index, seed)
    pixels = _image(exam, aim, sunk_mm=0.0)
    return _phantom(index, seed, exam, aim, pixels, 0.0)


def clip_at(index: int, seed: int, *, frame_count: int = 8, frame_time_ms: float = 50.0) -> Phantom:
    """Generate a clip: the still of the same index, breathing.

    The liver slides under the wall along the beams by some millimetres in a cycle of four
    seconds; its scatterers move with it. The square stays where the operator put it.

    Args:
        index: Position in the sequence, >= 0.
        seed: As in :func:`frames`.
        frame_count: How many frames, >= 1.
        frame_time_ms: Time between frames, > 0.

    Returns:
        A phantom whose pixels have a leading frame axis; the first frame is the still.

    Raises:
        ValueError: An argument is out of range.
    """
    if frame_count < 1 or frame_time_ms <= 0:
        raise ValueError(
            "frame_count must be 1 or more and frame_time_ms above 0; "
            f"got {frame_count}, {frame_time_ms}"
        )
    exam, aim = _exam_and_aim(index, seed)
    swing_mm = min(4.0, 0.5 * exam.lesion.radius_mm)
    sunk = [
        swing_mm * math.sin(2.0 * math.pi * number * frame_time_ms / 4000.0)
        for number in range(frame_count)
    ]
    pixels = np.stack([_image(exam, aim, sunk_mm=sunk_mm) for sunk_mm in sunk])
    return _phantom(index, seed, exam, aim, pixels, frame_time_ms)


def _exam_and_aim(index: int, seed: int) -> tuple[_Exam, _Aim]:
    if index < 0 or seed < 0:
        raise ValueError(f"index and seed must be 0 or more; got {index}, {seed}")
    patient_index, frame_index = divmod(index, FRAMES_PER_PATIENT)
    exam = _draw_exam(np.random.default_rng((_DOMAIN, seed, patient_index)))
    # 1 + frame_index: SeedSequence need not tell a trailing zero from its absence.
    rng = np.random.default_rng((_DOMAIN, seed, patient_index, 1 + frame_index))
    return exam, _draw_aim(rng, exam)


def _draw_exam(rng: np.random.Generator) -> _Exam:
    kind = KINDS[int(rng.integers(len(KINDS)))]
    device = DEVICES[int(rng.choice(len(DEVICES), p=_DEVICE_CHANCES))]
    superficial = device.probe.radius_mm == 0.0
    state = _STATES[int(rng.choice(3, p=_STATE_CHANCES[kind]))]
    liver = Liver.draw(rng, state, superficial=superficial)
    low, high = (3.5, 10.0) if superficial else (6.0, 24.0)
    radius_mm = float(np.exp(rng.uniform(math.log(low), math.log(high))))
    lesion = Lesion.draw(rng, kind, radius_mm, liver.attenuation)
    return _Exam(device, liver, lesion, float(rng.normal(0.0, 2.5)))


def _draw_aim(rng: np.random.Generator, exam: _Exam) -> _Aim:
    device, radius_mm = exam.device, exam.lesion.radius_mm
    probe = device.probe
    reach_mm = 1.15 * radius_mm
    nearest_mm = exam.liver.wall_mm + reach_mm + (2.0 if probe.radius_mm == 0.0 else 5.0)
    depths = [d for d in device.depths_mm if d >= nearest_mm + 1.4 * reach_mm]
    depth_mm = float(rng.choice(depths or device.depths_mm[-1:]))
    screen = Screen.of(device, depth_mm)
    deepest_mm = max(nearest_mm + 0.1, min(depth_mm - 1.3 * reach_mm, 0.72 * depth_mm))
    at_mm = float(rng.uniform(nearest_mm, deepest_mm))
    width_mm = probe.place(1.0, at_mm)[0]
    half_width = min(1.2 * radius_mm / width_mm, 0.9)
    room = max(0.0, min(0.6, 0.95 - half_width))
    line = float(rng.uniform(-room, room))
    centre_mm = probe.place(line, at_mm)
    return _Aim(
        screen,
        View(screen.beams(), line, half_width),
        centre_mm,
        exam.gain_db + float(rng.normal(0.0, 1.5)),
        _square(rng, screen, centre_mm, radius_mm),
        int(rng.integers(2**31)),
    )


def _square(
    rng: np.random.Generator, screen: Screen, centre_mm: tuple[float, float], radius_mm: float
) -> Roi:
    """The operator's square: loose, not quite centred, inside the scanned area."""
    left, top, right, bottom = screen.region
    radius_px = radius_mm / screen.mm_per_pixel
    x, y = screen.to_pixels(*centre_mm)
    side = round(2.0 * radius_px * float(rng.uniform(1.35, 1.9)))
    side = min(max(side, _MIN_ROI_PX), right - left, bottom - top)
    x0 = round(x + radius_px * float(rng.uniform(-0.2, 0.2)) - side / 2)
    y0 = round(y + radius_px * float(rng.uniform(-0.2, 0.2)) - side / 2)
    x0 = min(max(x0, left), right - side)
    y0 = min(max(y0, top), bottom - side)
    return x0, y0, x0 + side, y0 + side


def _image(exam: _Exam, aim: _Aim, sunk_mm: float) -> NDArray[np.uint8]:
    """One frame; the same aim gives the same scatterers, moved by the breathing."""
    beams, device = aim.view.beams, exam.device
    draw = partial(np.random.default_rng, (_DOMAIN, aim.seed))
    rng = draw()
    view = View(beams, aim.view.line, aim.view.half_width, sunk_mm)
    tissue = paint_liver(rng, exam.liver, view)
    exam.lesion.paint(tissue, aim.centre_mm)
    paint_shadows(rng, tissue, exam.liver, view)

    level_db = tissue.level_db
    level_db -= round_trip_loss_db(tissue.attenuation, beams)
    field = scatterers(rng, beams)
    if sunk_mm:
        field = np.roll(field, round(sunk_mm / beams.step_mm), axis=1)
        # Electronic noise is new in every frame.
        rng = np.random.default_rng((_DOMAIN, aim.seed, round(1000 * sunk_mm) + 10**6))
    noise = scatterers(rng, beams)
    noise *= np.float32(10.0 ** (device.noise_db / 20.0))
    field *= transmitted(level_db)
    detected = envelope(field, beams, noise)
    time_gain = (device.nominal_db * device.probe.frequency_mhz * 2.0 / 10.0) * beams.r_mm
    grey = compressed(detected, time_gain + aim.gain_db, device.range_db, device.middle)
    return aim.screen.show(grey)


def _phantom(
    index: int,
    seed: int,
    exam: _Exam,
    aim: _Aim,
    pixels: NDArray[np.uint8],
    frame_time_ms: float,
) -> Phantom:
    pixels.setflags(write=False)
    screen, lesion = aim.screen, exam.lesion
    x, y = screen.to_pixels(*aim.centre_mm)
    return Phantom(
        pixels=pixels,
        kind=lesion.kind,
        appearance=f"{lesion.kind}-{lesion.appearance}",
        patient=f"{seed}-{index // FRAMES_PER_PATIENT:05d}",
        stratum=exam.device.name,
        roi=aim.roi,
        region=screen.region,
        origin_px=screen.origin_px,
        mm_per_pixel=screen.mm_per_pixel,
        depth_mm=aim.screen.depth_mm,
        frequency_mhz=exam.device.probe.frequency_mhz,
        lesion_px=(x, y, lesion.radius_mm / screen.mm_per_pixel),
        seed=seed,
        index=index,
        frame_time_ms=frame_time_ms,
    )
