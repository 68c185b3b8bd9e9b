"""What the scanner does to the anatomy: coil shading, limited k-space, noise, scaling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medsdk_export.phantoms._canvas import FloatImage, smooth_field

__all__ = ["Acquisition", "acquire"]

_FULL_SCALE = 4095  # 12 bits stored


@dataclass(frozen=True)
class Acquisition:
    """One series' scan settings; every slice of a patient shares them.

    Attributes:
        rows, columns: Matrix size in pixels.
        spacing_mm: Pixel spacing, the same along both axes.
        fat_suppressed: Whether fat is dark.
        shading: Strength of the smooth coil bias, 0 for none; about 0.1 to 0.35.
        surface_gain: Extra signal near the front and back coil elements, relative.
        acquired: (phase, read) share of k-space that was measured, 0 to 1.
        noise: Standard deviation of each noise channel, in relative signal.
        gain: Stored value of relative signal 1.
    """

    rows: int
    columns: int
    spacing_mm: float
    fat_suppressed: bool
    shading: float
    surface_gain: float
    acquired: tuple[float, float]
    noise: float
    gain: float

    @staticmethod
    def draw(rng: np.random.Generator) -> Acquisition:
        """Draw settings as a clinic's mixture of scanners and protocols would give them."""
        columns = int(rng.choice([224, 256, 288, 320, 384]))
        rows = columns
        if rng.random() < 0.4:
            rows = int(columns * rng.choice([0.75, 0.875]) / 16 + 0.5) * 16
        rows = max(rows, 224)
        # The field of view must hold the uterus with room and need not hold the skin.
        spacing_mm = float(np.clip(rng.uniform(190.0, 320.0) / columns, 0.6, 1.0))
        return Acquisition(
            rows=rows,
            columns=columns,
            spacing_mm=round(spacing_mm, 4),
            fat_suppressed=bool(rng.random() < 0.2),
            shading=float(rng.uniform(0.08, 0.3)),
            surface_gain=float(rng.uniform(0.0, 0.9)),
            acquired=(float(rng.uniform(0.6, 0.95)), float(rng.uniform(0.75, 1.0))),
            noise=float(0.45 / rng.uniform(9.0, 30.0)),
            gain=float(rng.uniform(500.0, 2200.0)),
        )


def acquire(
    signal: FloatImage,
    settings: Acquisition,
    patient_rng: np.random.Generator,
    slice_rng: np.random.Generator,
) -> NDArray[np.uint16]:
    """Turn relative signal into stored values.

    Noise is complex and enters before the k-space filter, so the magnitude is Rician and
    correlated like the image (Gudbjartsson and Patz, Magn. Reson. Med. 34:910, 1995).

    Args:
        signal: rows x columns float32, relative signal >= 0.
        settings: Scan settings; rows and columns match ``signal``.
        patient_rng: Draws the coil shading, which a patient's slices share.
        slice_rng: Draws the noise.

    Returns:
        rows x columns uint16 in 0..4095.
    """
    shape = (settings.rows, settings.columns)
    shading = smooth_field(patient_rng, shape, settings.spacing_mm, 90.0)
    shading *= np.float32(settings.shading)
    np.exp(shading, out=shading)
    depth = np.abs(np.linspace(-1.0, 1.0, settings.rows, dtype=np.float32)) ** 3
    shading *= 1.0 + np.float32(settings.surface_gain) * depth[:, None]

    noise = slice_rng.standard_normal((2, *shape), dtype=np.float32)
    noise *= np.float32(settings.noise)
    complex_image = np.empty(shape, dtype=np.complex64)
    complex_image.real = signal * shading + noise[0]
    complex_image.imag = noise[1]

    k_space = np.fft.fft2(complex_image)
    k_space *= _window(settings.rows, settings.acquired[0])[:, None]
    k_space *= _window(settings.columns, settings.acquired[1])[None, :]
    magnitude = np.abs(np.fft.ifft2(k_space))
    stored = np.rint(magnitude * np.float32(settings.gain))
    return np.clip(stored, 0, _FULL_SCALE).astype(np.uint16)


def _window(length: int, acquired: float) -> FloatImage:
    """Tukey window over the measured band; the band's edge leaves a trace of ringing."""
    frequency = np.abs(np.fft.fftfreq(length)).astype(np.float32) * 2.0 / acquired
    taper = np.clip((frequency - 0.6) / 0.4, 0.0, 1.0)
    window = 0.15 + 0.85 * (0.5 + 0.5 * np.cos(np.pi * taper))
    return np.where(frequency > 1.0, 0.0, window).astype(np.float32)
