"""The upper abdomen around a liver lesion: wall, parenchyma, vessels, diaphragm, shadows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from medsdk_export.phantoms._bmode import Beams
from medsdk_export.phantoms._tissue import Tissue, waves

__all__ = ["Liver", "LiverState", "View", "paint_liver", "paint_shadows"]

LiverState: TypeAlias = Literal["normal", "fatty", "cirrhotic"]

_BLOOD_DB = -34.0
_BLOOD_ATTENUATION = 0.15
_BONE_ATTENUATION = 14.0


@dataclass(frozen=True)
class Liver:
    """What all frames of a patient share.

    Attributes:
        state: Kind of parenchyma.
        wall_mm: From the skin to the liver's capsule.
        attenuation: Of the parenchyma, dB/cm/MHz.
        grain_mm: Period of its coarse texture.
        grain_db: Strength of that texture.
        vessels: Mean number of vessels in a view.
    """

    state: LiverState
    wall_mm: float
    attenuation: float
    grain_mm: float
    grain_db: float
    vessels: float

    @staticmethod
    def draw(rng: np.random.Generator, state: LiverState, *, superficial: bool) -> Liver:
        """Draw a patient.

        Args:
            rng: The patient's.
            state: Kind of parenchyma.
            superficial: Whether a linear probe must reach it: a thin wall.
        """
        wall_mm = float(rng.uniform(6.0, 10.0) if superficial else rng.uniform(12.0, 24.0))
        attenuation, grain_mm, grain_db, vessels = {
            "normal": (rng.uniform(0.42, 0.55), rng.uniform(14.0, 26.0), 0.8, 3.5),
            "fatty": (rng.uniform(0.6, 0.8), rng.uniform(16.0, 30.0), 0.7, 2.0),
            "cirrhotic": (rng.uniform(0.48, 0.65), rng.uniform(5.0, 9.0), 1.5, 2.0),
        }[state]
        return Liver(state, wall_mm, float(attenuation), float(grain_mm), grain_db, vessels)


@dataclass(frozen=True)
class View:
    """How the probe stands in one frame.

    Attributes:
        beams: The grid.
        line: Beam through the lesion's middle, -1 to 1.
        half_width: Half the lesion's width in the same unit: nothing may shadow it.
        sunk_mm: How far breathing has moved the liver downwards.
    """

    beams: Beams
    line: float
    half_width: float
    sunk_mm: float = 0.0


def paint_liver(rng: np.random.Generator, liver: Liver, view: View) -> Tissue:
    """Paint everything behind the lesion.

    Args:
        rng: Draws what differs between views; the same state gives the same view.
        liver: The patient.
        view: The frame.

    Returns:
        The tissue, without the lesion and without shadows.
    """
    beams = view.beams
    texture = waves(rng, beams.x_mm, beams.z_mm - np.float32(view.sunk_mm), liver.grain_mm, 6)
    texture *= np.float32(liver.grain_db)
    tissue = Tissue(beams, texture, liver.attenuation, view.sunk_mm)
    _paint_diaphragm(rng, tissue)
    for _ in range(int(rng.integers(6, 14))):
        _paint_triad(rng, tissue, liver.wall_mm)
    for _ in range(int(rng.poisson(liver.vessels))):
        _paint_vessel(rng, tissue, liver.wall_mm)
    _paint_wall(rng, tissue, liver.wall_mm)
    return tissue


def _paint_diaphragm(rng: np.random.Generator, tissue: Tissue) -> None:
    depth_mm = tissue.beams.depth_mm
    seen, shift, tilt = rng.random(), rng.uniform(-30.0, 30.0), rng.uniform(0.86, 1.0)
    if depth_mm < 100.0 or seen > 0.55:
        return
    # A dome of 150 mm radius; behind it the lung mirrors the liver, fainter.
    bottom_mm, radius_mm = depth_mm * float(tilt), 150.0
    above = np.hypot(tissue.x_mm - np.float32(shift), tissue.z_mm - (bottom_mm - radius_mm))
    above = (np.float32(radius_mm) - above).astype(np.float32)
    everything = (slice(None), slice(None))
    beyond = np.clip(-above / np.float32(3.0), 0.0, 1.0)
    tissue.blend(everything, beyond, -9.0)
    tissue.add_wall(everything, above, 1.4, 15.0)


def _paint_vessel(rng: np.random.Generator, tissue: Tissue, wall_mm: float) -> None:
    beams = tissue.beams
    depth_mm = float(rng.uniform(wall_mm + 12.0, beams.depth_mm * 0.9))
    x_mm, z_mm = beams.probe.place(float(rng.uniform(-0.9, 0.9)), depth_mm)
    scale = 0.5 if beams.depth_mm < 80.0 else 1.0
    half_mm = scale * float(rng.uniform(1.2, 3.6))
    length_mm = scale * float(rng.choice([0.0, 20.0, 45.0, 80.0]) * rng.uniform(0.7, 1.3))
    angle = float(rng.uniform(-0.9, 0.9))
    bend = float(rng.uniform(-0.008, 0.008)) / scale
    portal = bool(rng.random() < 0.5)
    window = tissue.window(x_mm, z_mm, 0.5 * length_mm + 2.0 * half_mm + 2.0)
    if window is None:
        return
    dx = tissue.x_mm[window] - np.float32(x_mm)
    dz = tissue.z_mm[window] - np.float32(z_mm)
    c, s = np.float32(math.cos(angle)), np.float32(math.sin(angle))
    along = dx * c + dz * s
    beyond = np.maximum(np.abs(along) - np.float32(0.5 * length_mm), 0.0)
    # A vessel tapers and bends along its way.
    bent = dz * c - dx * s + np.float32(bend) * along * along
    taper = np.float32(half_mm) * (1.0 + along * np.float32(1.3 / (length_mm + 10.0)))
    inside = taper - np.hypot(bent, beyond)
    if portal:
        rim = np.exp(-(((inside + 0.6) / np.float32(0.8)) ** 2))
        tissue.blend(window, rim, 5.0)
    lumen = np.clip(inside / np.float32(1.2) + 0.5, 0.0, 1.0)
    tissue.blend(window, lumen, _BLOOD_DB, _BLOOD_ATTENUATION)


def _paint_triad(rng: np.random.Generator, tissue: Tissue, wall_mm: float) -> None:
    """A portal triad too small to resolve: a short bright dash."""
    beams = tissue.beams
    depth_mm = float(rng.uniform(wall_mm + 4.0, beams.depth_mm))
    x_mm, z_mm = beams.probe.place(float(rng.uniform(-0.95, 0.95)), depth_mm)
    half_mm, angle = float(rng.uniform(0.8, 3.0)), float(rng.uniform(-0.8, 0.8))
    level_db = float(rng.uniform(3.0, 8.0))
    window = tissue.window(x_mm, z_mm, half_mm + 2.0)
    if window is None:
        return
    dx = tissue.x_mm[window] - np.float32(x_mm)
    dz = tissue.z_mm[window] - np.float32(z_mm)
    c, s = np.float32(math.cos(angle)), np.float32(math.sin(angle))
    share = np.exp(-(((dx * c + dz * s) / np.float32(half_mm)) ** 2))
    share *= np.exp(-(((dz * c - dx * s) / np.float32(0.7)) ** 2))
    tissue.blend(window, share, level_db)


def _paint_wall(rng: np.random.Generator, tissue: Tissue, wall_mm: float) -> None:
    beams = tissue.beams
    samples = min(int((wall_mm + 6.0) / beams.step_mm) + 1, beams.x_mm.shape[1])
    window = (slice(None), slice(0, samples))
    x_mm, r_mm = beams.x_mm[window], beams.r_mm[:, :samples]
    waviness = [float(v) for v in rng.uniform(0.0, 6.28, 3)]
    fat_share, muscle_share = float(rng.uniform(0.35, 0.6)), float(rng.uniform(0.85, 0.95))
    # Wall layers follow the probe and bulge a little.
    depth = r_mm + np.float32(0.05 * wall_mm) * np.cos(x_mm / np.float32(17.0) + waviness[0])
    streak = np.cos(depth * np.float32(3.1) + 1.5 * np.cos(x_mm / np.float32(9.0) + waviness[1]))
    fat_mm, muscle_mm = wall_mm * fat_share, wall_mm * muscle_share
    inside = np.clip((np.float32(wall_mm) - depth) / np.float32(0.8) + 0.5, 0.0, 1.0)
    in_muscle = np.clip((depth - np.float32(fat_mm)) / np.float32(0.8) + 0.5, 0.0, 1.0)
    level = (1.0 - in_muscle) * (3.0 * streak - 5.0) + in_muscle * (4.0 * streak - 3.0)
    tissue.blend(window, inside, level.astype(np.float32), 0.55)
    patch = tissue.level_db[window]
    for at_mm, thickness_mm, level_db in (
        (1.2, 1.2, 13.0),
        (fat_mm, 0.6, 10.0),
        (muscle_mm, 0.5, 9.0),
        (wall_mm, 0.6, 9.0),
    ):
        line = np.exp(-(((depth - np.float32(at_mm)) / np.float32(thickness_mm)) ** 2))
        patch += line * np.maximum(np.float32(level_db) - patch, 0.0)


def paint_shadows(rng: np.random.Generator, tissue: Tissue, liver: Liver, view: View) -> None:
    """Ribs, gas and calcifications, each with its shadow and each beside the lesion."""
    beams = tissue.beams
    lines = np.linspace(-1.0, 1.0, beams.probe.lines, dtype=np.float32)
    for side in (-1.0, 1.0):
        rib, gas, calcified = (float(v) for v in rng.random(3))
        centre = side * float(rng.uniform(0.6, 0.95))
        half = float(rng.uniform(0.07, 0.16))
        small = float(rng.uniform(0.012, 0.03))
        calcified_depth = float(rng.uniform(0.35, 0.8)) * beams.depth_mm
        dirt = float(rng.uniform(1.2, 2.4))
        if abs(centre - view.line) < half + view.half_width + 0.08:
            continue
        if rib < 0.2 and beams.probe.radius_mm:
            _block(tissue, lines, centre, half, 0.7 * liver.wall_mm, 2.4, 17.0)
        elif gas < 0.2:
            # From here to the edge the probe has no contact: its beams ring in the gel.
            across = np.clip((half - side * (centre - lines)) / 0.05 + 0.5, 0.0, 1.0)[:, None]
            tissue.attenuation[:, :24] += across * np.float32(_BONE_ATTENUATION)
            ringing = np.cos(beams.r_mm * np.float32(dirt)) * 4.0 - beams.r_mm * np.float32(0.5)
            share = across * np.exp(-beams.r_mm / np.float32(30.0))
            tissue.blend((slice(None), slice(None)), share, ringing + np.float32(14.0))
        elif calcified < 0.2:
            _block(tissue, lines, centre, small, calcified_depth, 1.6, 16.0)


def _block(
    tissue: Tissue,
    lines: np.ndarray[tuple[int], np.dtype[np.float32]],
    centre: float,
    half: float,
    depth_mm: float,
    thickness_mm: float,
    level_db: float,
) -> None:
    across = np.clip((half - np.abs(lines - centre)) / 0.02 + 0.5, 0.0, 1.0)
    bow = np.float32(0.25 * depth_mm) * ((lines - centre) ** 2)
    behind = tissue.beams.r_mm - np.float32(depth_mm) - bow[:, None]
    face = np.exp(-((behind / np.float32(thickness_mm / 2)) ** 2))
    everything = (slice(None), slice(None))
    tissue.blend(everything, across[:, None] * face, level_db)
    solid = (behind > thickness_mm / 2) & (behind < np.float32(thickness_mm * 2.5))
    tissue.attenuation += across[:, None] * solid * np.float32(_BONE_ATTENUATION)
