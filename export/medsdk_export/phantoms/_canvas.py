"""A pixel grid in millimetres on which soft-edged ellipses are painted.

Everything is numpy: the phantoms must run where scipy is not installed. Shapes are painted
inside their bounding box only, which is what keeps a slice within a few milliseconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Canvas", "Ellipse", "FloatImage", "Region", "smooth_field"]

FloatImage: TypeAlias = NDArray[np.float32]
"""rows x columns float32."""

Region: TypeAlias = tuple[slice, slice]
"""Row and column ranges of a bounding box."""


@dataclass(frozen=True)
class Ellipse:
    """An ellipse in patient millimetres: x to the patient's left, y towards the back.

    Attributes:
        x_mm, y_mm: Centre.
        a_mm, b_mm: Semi-axes, both > 0.
        angle_rad: Direction of the first semi-axis, from x towards y.
    """

    x_mm: float
    y_mm: float
    a_mm: float
    b_mm: float
    angle_rad: float = 0.0

    def scaled(self, factor: float) -> Ellipse:
        """Return the ellipse with both semi-axes times ``factor``."""
        return Ellipse(self.x_mm, self.y_mm, self.a_mm * factor, self.b_mm * factor, self.angle_rad)

    def point(self, radius: float, theta_rad: float) -> tuple[float, float]:
        """Return the point at ``radius`` (1 is the outline) in direction ``theta_rad``."""
        u = self.a_mm * radius * math.cos(theta_rad)
        v = self.b_mm * radius * math.sin(theta_rad)
        c, s = math.cos(self.angle_rad), math.sin(self.angle_rad)
        return self.x_mm + c * u - s * v, self.y_mm + s * u + c * v


def smooth_field(
    rng: np.random.Generator, shape: tuple[int, int], spacing_mm: float, scale_mm: float
) -> FloatImage:
    """Draw a Gaussian random field with a correlation length.

    White noise on a coarse lattice is interpolated with Gaussian weights along each axis:
    two small matrix products instead of a filter over the whole image.

    Args:
        rng: Source of the lattice values. How many are drawn depends on ``shape``.
        shape: (rows, columns).
        spacing_mm: Pixel spacing, the same along both axes.
        scale_mm: Standard deviation of the interpolation kernel in mm.

    Returns:
        rows x columns float32, mean 0 and variance about 1 over many draws.
    """
    weights = [_lattice_weights(length, spacing_mm, scale_mm) for length in shape]
    coarse = rng.standard_normal((weights[0].shape[1], weights[1].shape[1]), dtype=np.float32)
    return (weights[0] @ coarse @ weights[1].T).astype(np.float32, copy=False)


def _lattice_weights(length: int, spacing_mm: float, scale_mm: float) -> FloatImage:
    extent_mm = length * spacing_mm
    pitch_mm = 1.5 * scale_mm
    nodes = np.arange(-2, int(extent_mm / pitch_mm) + 4, dtype=np.float32) * pitch_mm
    positions = np.arange(length, dtype=np.float32) * spacing_mm
    weights = np.exp(-0.5 * ((positions[:, None] - nodes[None, :]) / scale_mm) ** 2)
    weights /= np.sqrt(np.sum(weights * weights, axis=1, keepdims=True))
    return weights.astype(np.float32)


class Canvas:
    """An image being painted.

    Attributes:
        image: rows x columns float32, relative signal, 0 where nothing was painted.
        x_mm, y_mm: rows x columns float32, the coordinates shapes are evaluated at. They
            carry the warp, so that no outline is an exact ellipse.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        spacing_mm: float,
        centre_mm: tuple[float, float],
        warp_mm: tuple[FloatImage, FloatImage],
    ) -> None:
        rows, columns = shape
        self.image: FloatImage = np.zeros(shape, dtype=np.float32)
        self._spacing_mm = spacing_mm
        self._left_mm = centre_mm[0] - 0.5 * (columns - 1) * spacing_mm
        self._top_mm = centre_mm[1] - 0.5 * (rows - 1) * spacing_mm
        x = self._left_mm + np.arange(columns, dtype=np.float32) * spacing_mm
        y = self._top_mm + np.arange(rows, dtype=np.float32) * spacing_mm
        self.x_mm: FloatImage = (x[None, :] + warp_mm[0]).astype(np.float32)
        self.y_mm: FloatImage = (y[:, None] + warp_mm[1]).astype(np.float32)
        self._margin_mm = float(max(np.abs(warp_mm[0]).max(), np.abs(warp_mm[1]).max()))

    @property
    def origin_mm(self) -> tuple[float, float]:
        """(x, y) of the centre of the first pixel, before the warp."""
        return self._left_mm, self._top_mm

    def painted_at(self, x_mm: float, y_mm: float) -> tuple[float, float]:
        """Return where in the picture, in mm, the warp puts a point of a shape.

        A point outside the picture is treated like the nearest one inside.
        """
        rows, columns = self.image.shape
        px, py = x_mm, y_mm
        # The warp is smooth and a few mm strong, so the fixed point is reached quickly.
        for _ in range(4):
            row = min(max(round((py - self._top_mm) / self._spacing_mm), 0), rows - 1)
            column = min(max(round((px - self._left_mm) / self._spacing_mm), 0), columns - 1)
            here_x = self._left_mm + column * self._spacing_mm
            here_y = self._top_mm + row * self._spacing_mm
            px = x_mm - (float(self.x_mm[row, column]) - here_x)
            py = y_mm - (float(self.y_mm[row, column]) - here_y)
        return px, py

    def region(self, ellipse: Ellipse, margin_mm: float = 0.0) -> Region:
        """Return the bounding box of an ellipse; it may be empty."""
        c, s = math.cos(ellipse.angle_rad), math.sin(ellipse.angle_rad)
        margin = margin_mm + self._margin_mm
        half_x = math.hypot(ellipse.a_mm * c, ellipse.b_mm * s) + margin
        half_y = math.hypot(ellipse.a_mm * s, ellipse.b_mm * c) + margin
        return (
            _pixel_range(ellipse.y_mm - self._top_mm, half_y, self._spacing_mm, 0, self.image),
            _pixel_range(ellipse.x_mm - self._left_mm, half_x, self._spacing_mm, 1, self.image),
        )

    def coverage(self, ellipse: Ellipse, region: Region, edge_mm: float) -> FloatImage:
        """Return how far each pixel of ``region`` belongs to the ellipse, 0 to 1.

        Args:
            ellipse: The shape.
            region: Where to evaluate.
            edge_mm: Width of the linear transition across the outline, > 0.

        Returns:
            region-sized float32 in 0..1.
        """
        c, s = math.cos(ellipse.angle_rad), math.sin(ellipse.angle_rad)
        dx = self.x_mm[region] - np.float32(ellipse.x_mm)
        dy = self.y_mm[region] - np.float32(ellipse.y_mm)
        u = dx * np.float32(c / ellipse.a_mm) + dy * np.float32(s / ellipse.a_mm)
        v = dy * np.float32(c / ellipse.b_mm) - dx * np.float32(s / ellipse.b_mm)
        u *= u
        v *= v
        u += v
        np.sqrt(u, out=u)
        # Distance to the outline in mm, exact along the short axis and close elsewhere.
        u -= np.float32(1.0)
        u *= np.float32(-min(ellipse.a_mm, ellipse.b_mm) / edge_mm)
        u += np.float32(0.5)
        return np.clip(u, 0.0, 1.0, out=u)

    def paint(
        self,
        ellipse: Ellipse,
        value: float | FloatImage,
        *,
        edge_mm: float = 1.0,
        opacity: float = 1.0,
    ) -> None:
        """Blend a value into the ellipse.

        Args:
            ellipse: Where.
            value: Relative signal; an array is rows x columns, the size of the canvas.
            edge_mm: Width of the outline's transition.
            opacity: 0..1, how much of the old image is replaced inside.
        """
        region = self.region(ellipse, edge_mm)
        patch = self.image[region]
        if patch.size == 0:
            return
        mask = self.coverage(ellipse, region, edge_mm)
        if opacity != 1.0:
            mask *= np.float32(opacity)
        target = value[region] if isinstance(value, np.ndarray) else np.float32(value)
        patch += mask * (target - patch)

    def darken(self, ellipse: Ellipse, contrast: float, *, edge_mm: float) -> None:
        """Multiply the signal inside by ``1 - contrast``; a negative contrast brightens."""
        region = self.region(ellipse, edge_mm)
        patch = self.image[region]
        if patch.size:
            patch *= 1.0 - np.float32(contrast) * self.coverage(ellipse, region, edge_mm)


def _pixel_range(
    centre_mm: float, half_mm: float, spacing_mm: float, axis: int, image: FloatImage
) -> slice:
    length = image.shape[axis]
    start = min(max(math.floor((centre_mm - half_mm) / spacing_mm), 0), length)
    stop = min(max(math.ceil((centre_mm + half_mm) / spacing_mm) + 1, start), length)
    return slice(start, stop)
