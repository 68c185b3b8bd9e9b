"""The anatomy of one patient: an axial, T2-weighted female pelvis made of warped ellipses.

Relative signal: urine 1, fat 0.8, endometrium 0.85, myometrium 0.45, muscle 0.2. The values
are typical of fast spin-echo T2 weighting and make no claim to be measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from medsdk_export.phantoms._canvas import Canvas, Ellipse, FloatImage

__all__ = ["Pelvis", "Textures", "paint_bladder", "paint_surroundings", "paint_uterus"]


@dataclass(frozen=True)
class Textures:
    """Unit-variance random fields, rows x columns float32, shared by all organs of a slice.

    Attributes:
        fine: Correlation length about 1.2 mm.
        medium: About 3 mm.
        coarse: About 9 mm.
    """

    fine: FloatImage
    medium: FloatImage
    coarse: FloatImage


@dataclass(frozen=True)
class Pelvis:
    """Sizes, places and relative signals of one patient at the middle slice.

    Attributes:
        body: Skin outline.
        bladder: Bladder outline; its size is the filling.
        uterus: Outer outline of the uterine body.
        junctional_mm: Thickness of the junctional zone, mm.
        stripe_mm: Half thickness of the endometrium, mm.
        stripe_share: Length of the endometrium relative to the uterus, 0 to 1.
        drift_mm: (x, y) shift of the uterus from the first slice to the last.
        fat, muscle, myometrium, junctional, endometrium, urine: Relative signals.
        mottling: Strength of the myometrium's texture.
        seed: Seeds the small organs, so that every slice meets the same ones.
    """

    body: Ellipse
    bladder: Ellipse
    uterus: Ellipse
    junctional_mm: float
    stripe_mm: float
    stripe_share: float
    drift_mm: tuple[float, float]
    fat: float
    muscle: float
    myometrium: float
    junctional: float
    endometrium: float
    urine: float
    mottling: float
    seed: int

    @staticmethod
    def draw(rng: np.random.Generator, *, fat_suppressed: bool) -> Pelvis:
        """Draw one patient."""

        def between(low: float, high: float) -> float:
            return float(rng.uniform(low, high))

        filling = between(0.45, 1.15)
        uterus = Ellipse(
            between(-12, 12),
            between(-4, 14),
            between(30, 46),
            between(21, 31),
            between(-0.8, 0.8) + (math.pi / 2 if rng.random() < 0.3 else 0.0),
        )
        myometrium = between(0.38, 0.56)
        return Pelvis(
            body=Ellipse(0, 0, between(150, 190), between(100, 128)),
            bladder=Ellipse(
                between(-8, 8), between(-58, -44), 40 * filling, 23 * filling, between(-0.15, 0.15)
            ),
            uterus=uterus,
            junctional_mm=between(3.5, 7.5),
            stripe_mm=between(1.5, 5.5),
            stripe_share=between(0.45, 0.7),
            drift_mm=(between(-10, 10), between(-8, 8)),
            fat=between(0.16, 0.3) if fat_suppressed else between(0.65, 0.95),
            muscle=between(0.15, 0.24),
            myometrium=myometrium,
            junctional=myometrium * between(0.5, 0.75),
            endometrium=between(0.7, 0.95),
            urine=between(0.95, 1.15),
            mottling=between(0.05, 0.13),
            seed=int(rng.integers(2**63)),
        )

    def uterus_at(self, z: float) -> Ellipse:
        """Return the uterus at slice height ``z`` (-1 foot end, 1 head end)."""
        factor = math.sqrt(1.0 - 0.4 * z * z)
        return Ellipse(
            self.uterus.x_mm + 0.5 * z * self.drift_mm[0],
            self.uterus.y_mm + 0.5 * z * self.drift_mm[1],
            self.uterus.a_mm * factor,
            self.uterus.b_mm * factor,
            self.uterus.angle_rad + 0.15 * z,
        )


def paint_surroundings(canvas: Canvas, pelvis: Pelvis, textures: Textures, z: float) -> None:
    """Paint everything but the uterus: fat, muscle, bone, bowel, vessels, ovaries, bladder."""
    fat = _fat(pelvis, textures)
    muscle = np.float32(pelvis.muscle) * (1.0 + 0.16 * textures.medium)
    canvas.paint(pelvis.body, 0.9 * pelvis.fat, edge_mm=1.5)
    canvas.paint(pelvis.body.scaled(0.975), fat)
    canvas.paint(Ellipse(0, -2, pelvis.body.a_mm * 0.83, pelvis.body.b_mm * 0.8), muscle)
    canvas.paint(Ellipse(0, -4, pelvis.body.a_mm * 0.76, pelvis.body.b_mm * 0.72), fat)
    for side in (-1.0, 1.0):
        _paint_wall(canvas, pelvis, textures, muscle, side, z)
    _paint_bone(canvas, pelvis, textures, Ellipse(0, 84 + 4 * z, 38, 15))
    _paint_bowel(canvas, pelvis, textures, z)
    _paint_rectum(canvas, pelvis, textures, z)
    _paint_ovaries(canvas, pelvis, z)


def paint_bladder(canvas: Canvas, pelvis: Pelvis, z: float) -> None:
    """Paint the bladder; the uterus is painted later and presses on its dome."""
    bladder = pelvis.bladder.scaled(max(0.25, 1.0 - 0.3 * (z + 0.3) ** 2))
    canvas.paint(bladder.scaled(1.0 + 2.5 / bladder.b_mm), pelvis.muscle * 1.2)
    canvas.paint(bladder, pelvis.urine)


def paint_uterus(
    canvas: Canvas,
    pelvis: Pelvis,
    textures: Textures,
    z: float,
    *,
    junctional_extra_mm: float,
    stripe_shift_mm: tuple[float, float],
) -> Ellipse:
    """Paint myometrium, junctional zone and endometrium.

    Args:
        canvas: Where.
        pelvis: Whose.
        textures: The slice's random fields.
        z: Slice height, -1 to 1.
        junctional_extra_mm: Added thickness of the junctional zone.
        stripe_shift_mm: (x, y) displacement of the cavity, as a mass effect or a
            contraction causes it.

    Returns:
        The outer outline that was painted.
    """
    uterus = pelvis.uterus_at(z)
    texture = textures.medium + 0.7 * textures.coarse + 0.5 * textures.fine
    texture *= np.float32(pelvis.mottling)
    texture += 1.0
    canvas.paint(uterus, np.float32(pelvis.myometrium) * texture, edge_mm=1.2)
    canvas.paint(uterus.scaled(0.97), np.float32(pelvis.myometrium) * texture, edge_mm=3.0)
    stripe = Ellipse(
        uterus.x_mm + stripe_shift_mm[0],
        uterus.y_mm + stripe_shift_mm[1],
        uterus.a_mm * pelvis.stripe_share,
        min(pelvis.stripe_mm, uterus.b_mm * 0.3),
        uterus.angle_rad,
    )
    thickness_mm = pelvis.junctional_mm + junctional_extra_mm
    zone = Ellipse(
        stripe.x_mm,
        stripe.y_mm,
        min(stripe.a_mm + thickness_mm, uterus.a_mm * 0.92),
        min(stripe.b_mm + thickness_mm, uterus.b_mm * 0.9),
        stripe.angle_rad,
    )
    canvas.paint(zone, np.float32(pelvis.junctional) * texture, edge_mm=3.5)
    canvas.paint(stripe, np.float32(pelvis.endometrium) * (1.0 + 0.06 * textures.fine), edge_mm=1.6)
    return uterus


def _fat(pelvis: Pelvis, textures: Textures) -> FloatImage:
    # Septa run where the coarse field crosses zero: thin curved dark lines, broken up by the
    # medium field so that they do not close into contour lines.
    septa = np.clip(1.0 - np.abs(textures.coarse + 0.35 * textures.medium) * 5.0, 0.0, 1.0)
    septa *= np.clip(0.15 + 0.25 * textures.medium, 0.0, 0.4)
    fat = 1.0 - septa
    fat += 0.05 * textures.medium
    return (np.float32(pelvis.fat) * fat).astype(np.float32, copy=False)


def _paint_wall(
    canvas: Canvas, pelvis: Pelvis, textures: Textures, muscle: FloatImage, side: float, z: float
) -> None:
    rng = np.random.default_rng((pelvis.seed, 1))
    jitter = rng.uniform(-4.0, 4.0, 8)
    x = pelvis.body.a_mm * 0.56
    gluteus = Ellipse(side * (x - 8 + jitter[0]), 82 + jitter[1], 52, 22, -0.5 * side)
    canvas.paint(gluteus, muscle, edge_mm=1.5)
    iliopsoas = Ellipse(side * (x - 4), -42 + jitter[2] + 4 * z, 20, 15, 0.4 * side)
    canvas.paint(iliopsoas, muscle, edge_mm=1.5)
    obturator = Ellipse(side * (x - 22 + jitter[3]), 12, 9, 36, 0.12 * side)
    canvas.paint(obturator, muscle, edge_mm=1.2)
    _paint_bone(
        canvas, pelvis, textures, Ellipse(side * (x - 6), 18 + jitter[4], 11, 34, 0.2 * side)
    )
    _paint_bone(canvas, pelvis, textures, Ellipse(side * (x + 14), 4 + 8 * z, 23, 23))
    for offset_y in (-22.0, 0.0, 9.0):
        radius = 3.5 + 0.5 * abs(float(jitter[5]))
        vessel = Ellipse(
            side * (x - 30 + float(jitter[6])) + 3 * z, offset_y + float(jitter[7]), radius, radius
        )
        canvas.paint(vessel, 0.06 if offset_y < 5 else 0.5, edge_mm=1.4)


def _paint_bone(canvas: Canvas, pelvis: Pelvis, textures: Textures, outline: Ellipse) -> None:
    marrow = np.float32(0.62 * pelvis.fat + 0.05) * (1.0 + 0.12 * textures.medium)
    canvas.paint(outline, 0.05, edge_mm=1.2)
    inner = Ellipse(
        outline.x_mm, outline.y_mm, outline.a_mm - 2.2, outline.b_mm - 2.2, outline.angle_rad
    )
    canvas.paint(inner, marrow, edge_mm=1.5)


def _paint_bowel(canvas: Canvas, pelvis: Pelvis, textures: Textures, z: float) -> None:
    rng = np.random.default_rng((pelvis.seed, 2))
    for _ in range(int(rng.integers(5, 11))):
        x, y = rng.uniform(-72, 72), rng.uniform(-62, 30)
        content = float(rng.choice([0.04, 0.3, 0.45, 0.75, 0.95]))
        a, b, angle = rng.uniform(9, 20), rng.uniform(7, 13), rng.uniform(0, math.pi)
        loop = Ellipse(x + rng.uniform(-9, 9) * z, y + rng.uniform(-9, 9) * z, a, b, angle)
        canvas.paint(loop, 0.33, edge_mm=1.2)
        inner = Ellipse(loop.x_mm, loop.y_mm, a - 2.4, b - 2.4, angle)
        canvas.paint(inner, np.float32(content) * (1.0 + 0.18 * textures.medium), edge_mm=1.6)


def _paint_rectum(canvas: Canvas, pelvis: Pelvis, textures: Textures, z: float) -> None:
    rng = np.random.default_rng((pelvis.seed, 3))
    radius = float(rng.uniform(11, 18))
    rectum = Ellipse(float(rng.uniform(-8, 8)) + 3 * z, 56, radius * 1.15, radius)
    content = float(rng.choice([0.04, 0.25, 0.5]))
    canvas.paint(rectum, 0.3, edge_mm=1.2)
    canvas.paint(rectum.scaled(0.72), np.float32(content) * (1.0 + 0.3 * textures.medium))


def _paint_ovaries(canvas: Canvas, pelvis: Pelvis, z: float) -> None:
    rng = np.random.default_rng((pelvis.seed, 4))
    for side in (-1.0, 1.0):
        x = pelvis.uterus.x_mm + side * (pelvis.uterus.a_mm + float(rng.uniform(8, 20)))
        ovary = Ellipse(
            x,
            float(rng.uniform(-8, 22)) + 3 * z,
            float(rng.uniform(11, 16)),
            float(rng.uniform(8, 11)),
            float(rng.uniform(-0.6, 0.6)),
        )
        canvas.paint(ovary, 0.42, edge_mm=1.4)
        for _ in range(int(rng.integers(2, 6))):
            radius = float(rng.uniform(1.5, 4.0))
            fx, fy = ovary.point(float(rng.uniform(0.2, 0.7)), float(rng.uniform(0, 2 * math.pi)))
            canvas.paint(Ellipse(fx, fy, radius, radius), 0.98, edge_mm=1.2)
