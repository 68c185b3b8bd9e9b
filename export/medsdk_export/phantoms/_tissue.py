"""Tissue on a beam grid: how strongly it scatters and how much it attenuates."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medsdk_export.phantoms._bmode import Beams, FloatImage

__all__ = ["Outline", "Tissue", "Window", "waves"]

Window = tuple[slice, slice]
"""Lines and samples of a bounding box."""


@dataclass(frozen=True)
class Outline:
    """A closed outline around a centre, nearly an ellipse.

    Attributes:
        x_mm, z_mm: Centre.
        radius_mm: Mean radius.
        roundness: Short over long axis, 0 to 1.
        angle_rad: Direction of the long axis, from x towards z.
        lobes: (waves around the outline, relative amplitude, phase) of each irregularity.
    """

    x_mm: float
    z_mm: float
    radius_mm: float
    roundness: float = 1.0
    angle_rad: float = 0.0
    lobes: tuple[tuple[int, float, float], ...] = ()

    @property
    def reach_mm(self) -> float:
        """No point of the outline is further from the centre."""
        bulge = 1.0 + sum(abs(amplitude) for _, amplitude, _ in self.lobes)
        return self.radius_mm * bulge / math.sqrt(self.roundness)

    def depth_inside(self, x_mm: FloatImage, z_mm: FloatImage) -> FloatImage:
        """Distance to the outline in mm, positive inside; exact for a circle."""
        dx, dz = x_mm - np.float32(self.x_mm), z_mm - np.float32(self.z_mm)
        c, s = math.cos(self.angle_rad), math.sin(self.angle_rad)
        stretch = math.sqrt(self.roundness)
        u = dx * np.float32(c * stretch) + dz * np.float32(s * stretch)
        v = dz * np.float32(c / stretch) - dx * np.float32(s / stretch)
        distance = np.hypot(u, v)
        edge = np.full_like(distance, self.radius_mm)
        if self.lobes:
            around = np.arctan2(v, u)
            for number, amplitude, phase in self.lobes:
                edge += np.float32(self.radius_mm * amplitude) * np.cos(
                    np.float32(number) * around + np.float32(phase)
                )
        return edge - distance


class Tissue:
    """What the beams meet, painted from the back to the front.

    Attributes:
        beams: The grid.
        x_mm, z_mm: lines x samples float32, the coordinates of tissue that breathing moves.
        level_db: lines x samples float32, echo level; liver is 0.
        attenuation: lines x samples float32, dB/cm/MHz one way.
    """

    def __init__(
        self, beams: Beams, level_db: FloatImage, attenuation: float, sunk_mm: float
    ) -> None:
        self.beams = beams
        self.x_mm = beams.x_mm
        self.z_mm = beams.z_mm - np.float32(sunk_mm) if sunk_mm else beams.z_mm
        self.level_db = level_db
        self.attenuation: FloatImage = np.full_like(level_db, attenuation)

    def window(self, x_mm: float, z_mm: float, reach_mm: float) -> Window | None:
        """The bounding box, in lines and samples, of what is near a point; None if nothing is."""
        near = np.abs(self.x_mm - np.float32(x_mm)) < reach_mm
        near &= np.abs(self.z_mm - np.float32(z_mm)) < reach_mm
        lines, samples = np.flatnonzero(near.any(axis=1)), np.flatnonzero(near.any(axis=0))
        if not len(lines):
            return None
        return slice(lines[0], lines[-1] + 1), slice(samples[0], samples[-1] + 1)

    def blend(
        self,
        window: Window,
        share: NDArray[np.float32],
        level_db: float | FloatImage,
        attenuation: float | None = None,
    ) -> None:
        """Replace what is in a window to a share of 0..1, each sample its own."""
        patch = self.level_db[window]
        patch += share * (np.asarray(level_db, dtype=np.float32) - patch)
        if attenuation is not None:
            patch = self.attenuation[window]
            patch += share * (np.float32(attenuation) - patch)

    def add_wall(
        self, window: Window, inside: FloatImage, thickness_mm: float, level_db: float
    ) -> None:
        """A bright interface that is seen where the beam meets it head on.

        Args:
            window: Where ``inside`` is.
            inside: Distance to the outline, positive inside, in mm.
            thickness_mm: Of the interface.
            level_db: Where it lies across the beam.
        """
        shell = np.exp(-((inside / np.float32(thickness_mm)) ** 2))
        along = np.gradient(inside, self.beams.step_mm, axis=1).astype(np.float32)
        head_on = np.clip(np.abs(along), 0.0, 1.0) ** 4
        shell *= head_on
        patch = self.level_db[window]
        patch += shell * np.maximum(np.float32(level_db) - patch, 0.0)


def waves(
    rng: np.random.Generator, x_mm: FloatImage, z_mm: FloatImage, period_mm: float, count: int
) -> FloatImage:
    """Draw a texture of plane waves: mean 0, variance about 1, fixed to the tissue.

    Args:
        rng: Draws directions, periods and phases.
        x_mm: Where to evaluate.
        z_mm: Where to evaluate.
        period_mm: Mean period.
        count: Number of waves.

    Returns:
        float32 of the shape of ``x_mm``.
    """
    total = np.zeros_like(x_mm)
    for _ in range(count):
        angle, phase = rng.uniform(0.0, 2.0 * math.pi, 2)
        wave = 2.0 * math.pi / (period_mm * rng.uniform(0.6, 1.6))
        total += np.cos(
            x_mm * np.float32(wave * math.cos(angle))
            + (z_mm * np.float32(wave * math.sin(angle)) + np.float32(phase))
        )
    total *= np.float32(math.sqrt(2.0 / count))
    return total
