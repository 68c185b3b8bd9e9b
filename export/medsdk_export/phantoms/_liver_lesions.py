"""Four kinds of focal liver lesion as B-mode shows them, each with its look-alikes.

Appearances follow the usual descriptions: a simple cyst is anechoic, sharply walled and bright
behind; a hemangioma is bright, even and sharp; HCC is a mosaic with a thin dark halo in a liver
that is often cirrhotic; a metastasis is a target with a broad dark rim, and seldom alone. Each
kind also comes in forms that resemble another, as in patients.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from medsdk_export.phantoms._bmode import FloatImage
from medsdk_export.phantoms._tissue import Outline, Tissue, Window, waves

__all__ = ["KINDS", "Kind", "Lesion"]

Kind: TypeAlias = Literal["cyst", "hemangioma", "HCC", "metastasis"]

KINDS: tuple[Kind, ...] = ("cyst", "hemangioma", "HCC", "metastasis")

# Kind to its appearances and how often each is drawn.
_APPEARANCES: dict[Kind, tuple[tuple[str, ...], tuple[float, ...]]] = {
    "cyst": (("simple", "debris"), (0.8, 0.2)),
    "hemangioma": (("bright", "rimmed", "faint"), (0.62, 0.2, 0.18)),
    "HCC": (("mosaic", "dark", "fatty"), (0.5, 0.3, 0.2)),
    "metastasis": (("target", "dark", "bright", "necrotic"), (0.5, 0.24, 0.14, 0.12)),
}
_Range: TypeAlias = tuple[float, float]

# Level in dB against liver, texture in dB, rim as a share of the radius, its level in dB.
_LOOKS: dict[str, tuple[_Range, _Range, _Range, _Range]] = {
    "cyst-simple": ((-42.0, -34.0), (0.3, 0.6), (0.0, 0.0), (0.0, 0.0)),
    "cyst-debris": ((-20.0, -11.0), (0.8, 2.0), (0.0, 0.0), (0.0, 0.0)),
    "hemangioma-bright": ((4.0, 9.5), (0.4, 1.2), (0.0, 0.0), (0.0, 0.0)),
    "hemangioma-rimmed": ((-5.0, -0.5), (0.4, 1.2), (0.08, 0.16), (4.0, 8.0)),
    "hemangioma-faint": ((1.5, 4.0), (0.4, 1.4), (0.0, 0.0), (0.0, 0.0)),
    "HCC-mosaic": ((-2.0, 2.0), (0.8, 1.6), (0.0, 0.0), (0.0, 0.0)),
    "HCC-dark": ((-8.5, -3.0), (0.6, 1.8), (0.0, 0.0), (0.0, 0.0)),
    "HCC-fatty": ((3.0, 8.0), (0.8, 2.2), (0.0, 0.0), (0.0, 0.0)),
    "metastasis-target": ((-1.5, 5.0), (0.6, 1.8), (0.22, 0.45), (-13.0, -7.0)),
    "metastasis-dark": ((-10.0, -4.0), (0.6, 1.8), (0.0, 0.0), (0.0, 0.0)),
    "metastasis-bright": ((3.5, 8.0), (1.0, 2.6), (0.0, 0.12), (-8.0, -5.0)),
    "metastasis-necrotic": ((-26.0, -15.0), (1.0, 2.5), (0.25, 0.45), (-8.0, -2.0)),
}
# How often a thin dark line surrounds it.
_HALO: dict[str, float] = {
    "HCC-mosaic": 0.85,
    "HCC-dark": 0.5,
    "HCC-fatty": 0.5,
    "metastasis-bright": 0.25,
    "hemangioma-faint": 0.05,
}
# Mean irregularity of the outline.
_ROUGHNESS: dict[Kind, float] = {
    "cyst": 0.015, "hemangioma": 0.045, "HCC": 0.035, "metastasis": 0.05,
}  # fmt: skip
_FLUID_ATTENUATION = 0.02


@dataclass(frozen=True)
class Lesion:
    """A patient's lesion.

    Attributes:
        kind: The truth.
        appearance: How this one looks; ``kind-appearance`` names it.
        radius_mm: Mean radius.
        level_db: Echo level of its main part against liver.
        rim: Thickness of the dark rim, a share of the radius; 0 without one.
        rim_db: Level of the rim.
        halo: Whether a thin dark line surrounds it.
        edge_mm: Width of the transition to liver.
        uneven_db: Strength of the texture inside.
        attenuation: Inside, dB/cm/MHz.
        roughness: Relative irregularity of the outline.
        more: Further lesions of the same kind, as (distance, direction, size): distance in
            radii of the main one, direction in radians, size relative to it.
        seed: Of the drawing of details, so that all views show the same lesion.
    """

    kind: Kind
    appearance: str
    radius_mm: float
    level_db: float
    rim: float
    rim_db: float
    halo: bool
    edge_mm: float
    uneven_db: float
    attenuation: float
    roughness: float
    more: tuple[tuple[float, float, float], ...]
    seed: int

    @staticmethod
    def draw(
        rng: np.random.Generator, kind: Kind, radius_mm: float, liver_attenuation: float
    ) -> Lesion:
        """Draw a lesion of a kind."""
        names, chances = _APPEARANCES[kind]
        appearance = str(rng.choice(names, p=chances))

        level_db, uneven_db, rim, rim_db = _look(rng, f"{kind}-{appearance}")
        halo = bool(rng.random() < _HALO.get(f"{kind}-{appearance}", 0.0))

        def between(low: float, high: float) -> float:
            return float(rng.uniform(low, high))

        share = {"cyst": 0.0, "hemangioma": between(0.45, 0.9), "HCC": between(0.65, 1.05)}
        attenuation = liver_attenuation * share.get(kind, between(0.85, 1.35))
        if kind == "cyst":
            attenuation = _FLUID_ATTENUATION + (0.12 if appearance == "debris" else 0.0)
        elif appearance == "necrotic":
            attenuation = 0.5 * liver_attenuation
        chance_of_more = {"cyst": 0.2, "hemangioma": 0.1, "HCC": 0.15, "metastasis": 0.6}[kind]
        number = int(rng.integers(1, 4)) if rng.random() < chance_of_more else 0
        more = tuple(
            (between(1.9, 3.2), between(0.0, 2.0 * math.pi), between(0.35, 0.8))
            for _ in range(number)
        )
        return Lesion(
            kind=kind,
            appearance=appearance,
            radius_mm=radius_mm,
            level_db=level_db,
            rim=rim,
            rim_db=rim_db,
            halo=halo,
            edge_mm=between(0.3, 0.8) if kind in ("cyst", "hemangioma") else between(0.5, 2.2),
            uneven_db=uneven_db,
            attenuation=attenuation,
            roughness=_ROUGHNESS[kind] * between(0.5, 1.7),
            more=more,
            seed=int(rng.integers(2**31)),
        )

    def outlines(self, centre_mm: tuple[float, float]) -> tuple[Outline, ...]:
        """The main outline, then those of the further lesions."""
        rng = np.random.default_rng((self.seed, 1))
        places = [(centre_mm, self.radius_mm)]
        for distance, direction, size in self.more:
            reach = distance * self.radius_mm
            place = (
                centre_mm[0] + reach * math.cos(direction),
                centre_mm[1] + reach * math.sin(direction),
            )
            places.append((place, self.radius_mm * size))
        found = []
        for place, radius_mm in places:
            lobes = tuple(
                (n, float(rng.normal(0.0, 2.0 * self.roughness / n)), float(rng.uniform(0, 6.28)))
                for n in (2, 3, 4, 5, 7)
            )
            roundness, angle = float(rng.uniform(0.72, 1.0)), float(rng.uniform(-0.6, 0.6))
            found.append(Outline(*place, radius_mm, roundness, angle, lobes))
        return tuple(found)

    def paint(self, tissue: Tissue, centre_mm: tuple[float, float]) -> None:
        """Paint the lesion and its fellows into the tissue."""
        for number, outline in enumerate(self.outlines(centre_mm)):
            rng = np.random.default_rng((self.seed, 2 + number))
            self._paint_one(rng, tissue, outline)

    def _paint_one(self, rng: np.random.Generator, tissue: Tissue, outline: Outline) -> None:
        window = tissue.window(outline.x_mm, outline.z_mm, outline.reach_mm + 5.0)
        if window is None:
            return
        x_mm, z_mm = tissue.x_mm[window], tissue.z_mm[window]
        inside = outline.depth_inside(x_mm, z_mm)
        body = np.clip(inside / np.float32(self.edge_mm) + 0.5, 0.0, 1.0)
        level = self._level(rng, outline, x_mm, z_mm, inside)
        tissue.blend(window, body, level, self.attenuation)
        if self.halo:
            width_mm = 0.35 + 0.05 * outline.radius_mm
            ring = np.exp(-(((inside - width_mm) / np.float32(width_mm)) ** 2))
            tissue.blend(window, ring, -9.0)
        if self.kind == "cyst":
            self._paint_cyst_wall(rng, tissue, window, outline, inside)
        elif self.kind == "HCC" and self.halo:
            # A capsule deflects beams that graze it: shadows from the edges.
            capsule = np.exp(-((inside / np.float32(0.7)) ** 2))
            tissue.attenuation[window] += np.float32(0.9) * capsule
        if self.appearance == "bright" and self.kind == "metastasis" and self.uneven_db > 1.6:
            # Calcified: absorbs what it does not scatter.
            tissue.attenuation[window] += np.float32(1.4) * body

    def _level(
        self,
        rng: np.random.Generator,
        outline: Outline,
        x_mm: FloatImage,
        z_mm: FloatImage,
        inside: FloatImage,
    ) -> FloatImage:
        level = waves(rng, x_mm, z_mm, max(2.5, 0.6 * outline.radius_mm), 4)
        level *= np.float32(self.uneven_db)
        level += np.float32(self.level_db)
        if self.appearance == "mosaic":
            level += _mosaic(rng, outline, x_mm, z_mm)
        if self.rim:
            rim_mm = self.rim * outline.radius_mm
            soft_mm = max(0.6, 0.35 * rim_mm)
            share = np.clip((np.float32(rim_mm) - inside) / np.float32(soft_mm) + 0.5, 0.0, 1.0)
            level += share * (np.float32(self.rim_db) - level)
        return level

    def _paint_cyst_wall(
        self,
        rng: np.random.Generator,
        tissue: Tissue,
        window: Window,
        outline: Outline,
        inside: FloatImage,
    ) -> None:
        tissue.add_wall(window, inside, 0.5, 9.0)
        # Beams that graze the wall are bent away.
        shell = np.exp(-((inside / np.float32(0.6)) ** 2))
        tissue.attenuation[window] += np.float32(1.1) * shell
        # Echoes from the wall above repeat just inside the near wall.
        near = tissue.z_mm[window] < outline.z_mm
        haze = near * np.exp(-np.maximum(inside, 0.0) / np.float32(1.6)) * (inside > 0)
        tissue.blend(window, haze.astype(np.float32) * np.float32(0.5), -14.0)
        if rng.random() < 0.08:
            across = tissue.x_mm[window] - outline.x_mm + 0.4 * (tissue.z_mm[window] - outline.z_mm)
            septum = np.exp(-((across / np.float32(0.5)) ** 2)) * (inside > 0)
            tissue.blend(window, septum.astype(np.float32), -3.0)


def _look(rng: np.random.Generator, appearance: str) -> tuple[float, float, float, float]:
    """Ranges by appearance: level, strength of the texture, thickness and level of the rim."""
    level_db, uneven_db, rim, rim_db = _LOOKS[appearance]
    return (
        float(rng.uniform(*level_db)),
        float(rng.uniform(*uneven_db)),
        float(rng.uniform(*rim)),
        float(rng.uniform(*rim_db)),
    )


def _mosaic(
    rng: np.random.Generator, outline: Outline, x_mm: FloatImage, z_mm: FloatImage
) -> FloatImage:
    """Nodules of different levels with thin dark septa: cells nearest to random centres."""
    count = int(rng.integers(6, 14))
    around = rng.uniform(0.0, 2.0 * math.pi, count)
    out = outline.radius_mm * np.sqrt(rng.uniform(0.0, 1.1, count))
    levels = rng.uniform(-6.0, 6.0, count)
    nearest = np.full(x_mm.shape, np.inf, dtype=np.float32)
    second = nearest.copy()
    level = np.zeros_like(nearest)
    for index in range(count):
        x = np.float32(outline.x_mm + out[index] * math.cos(around[index]))
        z = np.float32(outline.z_mm + out[index] * math.sin(around[index]))
        distance = np.hypot(x_mm - x, z_mm - z)
        closer = distance < nearest
        second = np.where(closer, nearest, np.minimum(second, distance))
        nearest = np.where(closer, distance, nearest)
        level = np.where(closer, np.float32(levels[index]), level)
    septum = np.exp(-(((second - nearest) / np.float32(0.9)) ** 2))
    result: FloatImage = level + septum * (np.float32(-6.0) - level)
    return result
