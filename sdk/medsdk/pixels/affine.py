"""Where a pixel went: boxes, and the invertible 2x3 affine of a geometric step.

Coordinates are those of `docs/conventions.md`: x = column, y = row, floats, origin at the outer
corner of the top-left pixel, whose centre is (0.5, 0.5).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real

from medsdk.pixels.errors import PixelInputRefusedError


@dataclass(frozen=True)
class Affine:
    """`x' = a x + b y + c`, `y' = d x + e y + f`, from the stored frame to the step's output.

    Attributes:
        matrix: (a, b, c, d, e, f), in pixels.
    """

    matrix: tuple[float, float, float, float, float, float] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)

    @classmethod
    def scale(cls, x: float, y: float) -> Affine:
        """Stretch about the origin, the outer corner of the top-left pixel."""
        return cls((x, 0.0, 0.0, 0.0, y, 0.0))

    @classmethod
    def translation(cls, x: float, y: float) -> Affine:
        """Move by x columns and y rows."""
        return cls((1.0, 0.0, x, 0.0, 1.0, y))

    def then(self, later: Affine) -> Affine:
        """This step followed by `later`."""
        a, b, c, d, e, f = self.matrix
        p, q, r, s, t, u = later.matrix
        return Affine(
            (
                p * a + q * d,
                p * b + q * e,
                p * c + q * f + r,
                s * a + t * d,
                s * b + t * e,
                s * c + t * f + u,
            )
        )

    def inverse(self) -> Affine:
        """The way back.

        Raises:
            ZeroDivisionError: The affine collapses the plane (no step of a contract does).
        """
        a, b, c, d, e, f = self.matrix
        determinant = a * e - b * d
        p, q, s, t = e / determinant, -b / determinant, -d / determinant, a / determinant
        return Affine((p, q, -(p * c + q * f), s, t, -(s * c + t * f)))

    def apply(self, x: float, y: float) -> tuple[float, float]:
        """Map one point."""
        a, b, c, d, e, f = self.matrix
        return a * x + b * y + c, d * x + e * y + f


@dataclass(frozen=True)
class Box:
    """A half-open rectangle, by its outer corners.

    Attributes:
        x0: Left edge, in columns.
        y0: Top edge, in rows.
        x1: Right edge, above x0.
        y1: Bottom edge, above y0.

    Raises:
        PixelInputRefusedError: A corner is no finite number, or the box is empty or turned over.
    """

    x0: float
    y0: float
    x1: float
    y1: float

    def __post_init__(self) -> None:
        for value in self.corners:
            if not isinstance(value, Real):
                raise PixelInputRefusedError.roi(
                    f"a corner of type {type(value).__name__}", "finite numbers"
                )
            if not _is_finite(value):
                raise PixelInputRefusedError.roi("a corner that is not finite", "finite numbers")
        if self.x0 >= self.x1 or self.y0 >= self.y1:
            raise PixelInputRefusedError.roi(
                f"an empty box ({self})", "x0 below x1 and y0 below y1"
            )

    def __str__(self) -> str:
        return ",".join(f"{value:g}" for value in self.corners)

    @classmethod
    def parse(cls, text: str) -> Box:
        """Read `x0,y0,x1,y1`, as the command line takes it.

        Args:
            text: Four decimal numbers, joined by commas.

        Returns:
            The box.

        Raises:
            PixelInputRefusedError: The text is no box.
        """
        parts = text.split(",")
        if len(parts) != 4:
            raise PixelInputRefusedError.roi(f"{len(parts)} values", "4 values: x0,y0,x1,y1")
        try:
            x0, y0, x1, y1 = (float(part) for part in parts)
        except ValueError:
            raise PixelInputRefusedError.roi(
                "a value that is no number", "4 numbers: x0,y0,x1,y1"
            ) from None
        return cls(x0, y0, x1, y1)

    @property
    def corners(self) -> tuple[float, float, float, float]:
        """x0, y0, x1, y1."""
        return self.x0, self.y0, self.x1, self.y1

    @property
    def width(self) -> float:
        """Columns from the left to the right edge."""
        return self.x1 - self.x0

    @property
    def height(self) -> float:
        """Rows from the top to the bottom edge."""
        return self.y1 - self.y0


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond any float
        return False


def check_roi(roi: object) -> None:
    """Refuse what is given in place of a region of interest.

    Raises:
        PixelInputRefusedError: It is neither a `Box` nor None.
    """
    if not (roi is None or isinstance(roi, Box)):
        raise PixelInputRefusedError.roi(type(roi).__name__, "a medsdk.Box, or None")
