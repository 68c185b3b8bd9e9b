"""Tumours, and the findings that are mistaken for them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from medsdk_export.phantoms._canvas import Canvas, Ellipse, FloatImage, Region
from medsdk_export.phantoms._pelvis import Pelvis, Textures

__all__ = ["Confounder", "ConfounderKind", "Tumour", "TumourKind", "paint_confounder"]

TumourKind: TypeAlias = Literal["leiomyoma", "heterogeneous"]
"""Dark and whorled, or of mixed intermediate to bright signal."""

ConfounderKind: TypeAlias = Literal["plain", "contraction", "junctional", "cyst", "vessels"]
"""Benign findings; ``plain`` is none."""

_KINDS: tuple[ConfounderKind, ...] = ("plain", "contraction", "junctional", "cyst", "vessels")

# Below either figure a slice counts as borderline; set by looking at the pictures.
_BORDERLINE_DIAMETER_MM = 15.0
_BORDERLINE_CONTRAST = 0.35


@dataclass(frozen=True)
class Tumour:
    """A patient's tumour and the slices that it crosses.

    Attributes:
        kind: Appearance.
        diameter_mm: Largest diameter.
        contrast: Relative signal difference from the myometrium, > 0; leiomyomas are
            darker by it and heterogeneous ones brighter.
        radius, theta_rad: Place, as in :meth:`Ellipse.point` of the uterus.
        roundness: Short over long axis, 0 to 1.
        angle_rad: Direction of the long axis.
        edge_mm: Width of the outline's transition.
        whorl_mm: Period of the whorls.
        whorl_strength: Their relative amplitude.
        start, stop: Slice heights between which it is seen, -1 to 1; start >= stop means
            that no slice shows it.
    """

    kind: TumourKind
    diameter_mm: float
    contrast: float
    radius: float
    theta_rad: float
    roundness: float
    angle_rad: float
    edge_mm: float
    whorl_mm: float
    whorl_strength: float
    start: float
    stop: float

    @staticmethod
    def draw(rng: np.random.Generator) -> Tumour:
        """Draw a tumour.

        A quarter of the patients have none, a quarter in every slice, a quarter below
        some height and a quarter above it. For every height the chance is then one half,
        whatever the number of slices.
        """
        extent, cut = int(rng.integers(4)), float(rng.uniform(-1.0, 1.0))
        start = cut if extent == 3 else -1.0
        stop = (-1.0, 1.0, cut, 1.0)[extent]
        leiomyoma = bool(rng.random() < 0.65)
        diameter_mm = float(np.exp(rng.uniform(math.log(18.0), math.log(64.0))))
        contrast = float(rng.uniform(0.3, 0.65) if leiomyoma else rng.uniform(0.45, 1.0))
        return Tumour(
            kind="leiomyoma" if leiomyoma else "heterogeneous",
            diameter_mm=diameter_mm,
            contrast=contrast,
            radius=float(rng.uniform(0.55, 0.95)) if diameter_mm < 40 else 0.8,
            theta_rad=float(rng.uniform(0.0, 2.0 * math.pi)),
            roundness=float(rng.uniform(0.75, 1.0)),
            angle_rad=float(rng.uniform(0.0, math.pi)),
            edge_mm=float(rng.uniform(1.0, 2.5) if leiomyoma else rng.uniform(2.0, 5.0)),
            whorl_mm=float(rng.uniform(4.0, 7.0)),
            whorl_strength=float(rng.uniform(0.04, 0.18)),
            start=start,
            stop=stop,
        )

    def diameter_at_mm(self, z: float) -> float:
        """Return the diameter of the cross-section at ``z``; 0 where there is none."""
        if not self.start <= z < self.stop:
            return 0.0
        # It tapers towards the end that lies inside the stack, to half its size.
        length = self.stop - self.start
        taper = 0.0
        if self.stop < 1.0:
            taper = (z - self.start) / length
        elif self.start > -1.0:
            taper = (self.stop - z) / length
        return self.diameter_mm * math.sqrt(1.0 - 0.75 * taper * taper)

    def centre_mm(self, uterus: Ellipse) -> tuple[float, float]:
        """Return (x, y) of the middle, before the warp."""
        return uterus.point(self.radius, self.theta_rad)

    def is_borderline_at(self, z: float) -> bool:
        """Return whether size or contrast make this cross-section a borderline case."""
        return (
            self.diameter_at_mm(z) < _BORDERLINE_DIAMETER_MM or self.contrast < _BORDERLINE_CONTRAST
        )

    def paint(
        self, canvas: Canvas, pelvis: Pelvis, textures: Textures, uterus: Ellipse, z: float
    ) -> None:
        """Paint the cross-section at ``z``, if there is one."""
        diameter_mm = self.diameter_at_mm(z)
        if diameter_mm <= 0.0:
            return
        x_mm, y_mm = self.centre_mm(uterus)
        a_mm = 0.5 * diameter_mm
        outline = Ellipse(x_mm, y_mm, a_mm, a_mm * self.roundness, self.angle_rad)
        region = canvas.region(outline, 4.0)
        patch = canvas.image[region]
        if patch.size == 0:
            return
        if self.kind == "leiomyoma":
            content = self._whorled(canvas, pelvis, textures, outline, region)
        else:
            content = self._mixed(pelvis, textures, region)
        # Compressed bright myometrium or veins around it, not always seen.
        rim = canvas.coverage(outline.scaled(1.0 + 1.5 / a_mm), region, 2.0)
        patch += rim * (np.float32(pelvis.myometrium * (1.0 + 0.25 * self.contrast)) - patch)
        patch += canvas.coverage(outline, region, self.edge_mm) * (content - patch)

    def _whorled(
        self, canvas: Canvas, pelvis: Pelvis, textures: Textures, outline: Ellipse, region: Region
    ) -> FloatImage:
        x, y = canvas.x_mm[region], canvas.y_mm[region]
        rings: FloatImage = np.zeros_like(x)
        turns = 3 if outline.a_mm > 12 else 1
        for turn in range(turns):
            cx, cy = outline.point(
                0.0 if turns == 1 else 0.55, self.theta_rad + turn * 2.0 * math.pi / turns
            )
            distance = np.hypot(x - np.float32(cx), y - np.float32(cy))
            phase = distance * np.float32(2.0 * math.pi / self.whorl_mm)
            phase += 1.2 * textures.coarse[region]
            rings += np.sin(phase) * np.exp(-distance * np.float32(1.0 / outline.a_mm))
        texture = (
            1.0
            + np.float32(self.whorl_strength) * rings
            + pelvis.mottling * textures.medium[region]
        )
        return np.float32(pelvis.myometrium * (1.0 - self.contrast)) * texture

    def _mixed(self, pelvis: Pelvis, textures: Textures, region: Region) -> FloatImage:
        coarse, medium = textures.coarse[region], textures.medium[region]
        texture = 1.0 + 0.22 * coarse + 0.12 * medium
        # Necrosis: bright pools where the coarse field is high.
        texture += np.float32(0.9 * self.contrast) * np.clip(coarse - 0.9, 0.0, 1.0)
        return np.float32(pelvis.myometrium * (1.0 + self.contrast)) * texture


@dataclass(frozen=True)
class Confounder:
    """A benign finding, drawn alike for patients with and without a tumour.

    Attributes:
        kind: Which.
        size_mm: Its largest extent, or the added thickness of the junctional zone.
        contrast: Relative signal difference from the myometrium.
        theta_rad: Direction from the middle of the uterus.
        radius: Distance from the middle, 1 is the outline.
        slender: Short over long axis.
        edge_mm: Width of the outline's transition.
        seed: Seeds the small parts.
    """

    kind: ConfounderKind
    size_mm: float
    contrast: float
    theta_rad: float
    radius: float
    slender: float
    edge_mm: float
    seed: int

    @staticmethod
    def draw(rng: np.random.Generator) -> Confounder:
        """Draw a finding; one patient in five has none."""
        kind = _KINDS[int(rng.integers(len(_KINDS)))]
        size = {"plain": 0.0, "contraction": 1.0, "junctional": 0.25, "cyst": 0.5, "vessels": 1.0}
        return Confounder(
            kind=kind,
            size_mm=float(rng.uniform(14.0, 34.0)) * size[kind],
            contrast=float(rng.uniform(0.1, 0.3)),
            theta_rad=float(rng.uniform(0.0, 2.0 * math.pi)),
            radius=float(rng.uniform(0.5, 0.85)),
            slender=float(rng.uniform(0.3, 0.6)),
            edge_mm=float(rng.uniform(2.0, 6.0)),
            seed=int(rng.integers(2**63)),
        )

    @property
    def junctional_extra_mm(self) -> float:
        """Added thickness of the junctional zone."""
        return self.size_mm if self.kind == "junctional" else 0.0


def paint_confounder(
    canvas: Canvas, finding: Confounder, pelvis: Pelvis, uterus: Ellipse, z: float
) -> None:
    """Paint a benign finding over the uterus."""
    rng = np.random.default_rng((finding.seed, 0))
    x_mm, y_mm = uterus.point(finding.radius, finding.theta_rad + 0.2 * z)
    a_mm = 0.5 * finding.size_mm * math.sqrt(1.0 - 0.5 * z * z)
    match finding.kind:
        case "plain":
            return
        case "contraction":
            # It runs along the wall, so across the direction from the middle.
            angle = math.atan2(y_mm - uterus.y_mm, x_mm - uterus.x_mm) + math.pi / 2
            outline = Ellipse(x_mm, y_mm, a_mm, a_mm * finding.slender, angle)
            canvas.darken(outline, finding.contrast, edge_mm=finding.edge_mm)
        case "junctional":
            # Ectopic glands: bright points in the thick dark zone.
            for _ in range(int(rng.integers(2, 9))):
                radius_mm = float(rng.uniform(0.8, 1.6))
                point = uterus.point(
                    float(rng.uniform(0.15, 0.5)), float(rng.uniform(0.0, 2.0 * math.pi))
                )
                canvas.paint(Ellipse(*point, radius_mm, radius_mm), 0.8, opacity=0.8)
        case "cyst":
            canvas.paint(Ellipse(x_mm, y_mm, a_mm + 1.2, a_mm + 1.0), 0.35, edge_mm=1.5)
            canvas.paint(Ellipse(x_mm, y_mm, a_mm, a_mm * 0.92), pelvis.urine * 0.95)
        case "vessels":
            for _ in range(int(rng.integers(6, 18))):
                radius_mm = float(rng.uniform(0.9, 2.4))
                signal = 0.1 if rng.random() < 0.6 else 0.9
                angle = finding.theta_rad + float(rng.uniform(-0.8, 0.8))
                point = uterus.point(float(rng.uniform(0.75, 1.1)), angle + 0.2 * z)
                outline = Ellipse(
                    *point,
                    radius_mm * float(rng.uniform(1.0, 2.5)),
                    radius_mm,
                    float(rng.uniform(0.0, math.pi)),
                )
                canvas.paint(outline, signal, edge_mm=1.2, opacity=0.8)
