"""B-mode physics: scatterers, a point-spread function, attenuation, compression.

One scatterer of random complex strength sits on each sample of the beam grid, many to a
resolution cell, which is fully developed speckle: the magnitude of its sum is Rayleigh
distributed (Burckhardt, "Speckle in ultrasound B-mode scans", IEEE Trans. Sonics Ultrason.
25:1, 1978; Wagner, Smith, Sandrik and Lopez, "Statistics of speckle in ultrasound B-scans", IEEE
Trans. Sonics Ultrason. 30:156, 1983). Everything is complex baseband, so that detection is a
magnitude, and everything is numpy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Beams",
    "FloatImage",
    "Probe",
    "compressed",
    "envelope",
    "round_trip_loss_db",
    "scatterers",
    "transmitted",
]

FloatImage: TypeAlias = NDArray[np.float32]
"""lines x samples float32: one row a beam, samples from the skin downwards."""

SAMPLES = 512
"""Samples of a line, whatever the depth."""


_NEPER_DB = math.log(10.0) / 20.0
_SOUND_MM_PER_US = 1.54


@dataclass(frozen=True)
class Probe:
    """A transducer and its beams.

    Attributes:
        radius_mm: Radius of a convex array's surface; 0 for a linear array.
        half_aperture: Half the field of view: radians for a convex array, mm for a linear one.
        lines: Number of beams.
        frequency_mhz: Centre frequency.
        cycles: Length of the pulse in periods.
        f_number: Focal distance over aperture, transmit and receive together.
        focus_mm: Depth of the focus.
    """

    radius_mm: float
    half_aperture: float
    lines: int
    frequency_mhz: float
    cycles: float
    f_number: float
    focus_mm: float

    @property
    def wavelength_mm(self) -> float:
        """In soft tissue, 1540 m/s."""
        return _SOUND_MM_PER_US / self.frequency_mhz

    def place(self, line: float, depth_mm: float) -> tuple[float, float]:
        """Where a point of a beam is: (x, z) in mm.

        Args:
            line: -1 for the first beam, 0 for the middle, 1 for the last.
            depth_mm: Along the beam, from the skin.
        """
        across = line * self.half_aperture
        if self.radius_mm == 0.0:
            return across, depth_mm
        reach = self.radius_mm + depth_mm
        return reach * math.sin(across), reach * math.cos(across) - self.radius_mm


@dataclass(frozen=True)
class Beams:
    """The grid of a probe at one depth setting: every array is lines x samples float32.

    Attributes:
        probe: Whose beams.
        depth_mm: Of the last sample.
        step_mm: Between samples.
        x_mm: To the right of the probe's middle.
        z_mm: Below the middle of the skin line; negative beside a convex probe.
        r_mm: Along the beam, one row that all lines share (1 x samples).
        pitch_mm: Between neighbouring beams, one row.
        axial: Frequency response along a beam.
        lateral: Frequency response across beams, a depth a column.
    """

    probe: Probe
    depth_mm: float
    step_mm: float
    x_mm: FloatImage
    z_mm: FloatImage
    r_mm: FloatImage
    pitch_mm: FloatImage
    axial: FloatImage
    lateral: FloatImage

    @staticmethod
    @lru_cache(maxsize=32)
    def of(probe: Probe, depth_mm: float) -> Beams:
        """Lay out a probe's beams; the arrays are shared and read-only.

        The lateral width is that of a focused aperture, wavelength times f-number at the focus
        and wider away from it; both axes are Gaussian, and each is normalised so that speckle
        has the same power at every depth.
        """
        step_mm = depth_mm / SAMPLES
        r = (np.arange(SAMPLES, dtype=np.float64) + 0.5) * step_mm
        across = np.linspace(-1.0, 1.0, probe.lines) * probe.half_aperture
        pitch = np.full(SAMPLES, 2.0 * probe.half_aperture / (probe.lines - 1))
        if probe.radius_mm == 0.0:
            x, z = np.broadcast_arrays(across[:, None], r[None, :])
        else:
            reach = probe.radius_mm + r
            x = reach[None, :] * np.sin(across)[:, None]
            z = reach[None, :] * np.cos(across)[:, None] - probe.radius_mm
            pitch = pitch * reach

        # Full widths at half maximum become standard deviations by 2.355.
        pulse_mm = 0.5 * probe.cycles * probe.wavelength_mm / 2.355
        focal_mm = probe.wavelength_mm * probe.f_number / 2.355
        away = (r - probe.focus_mm) / probe.focus_mm
        width_mm = focal_mm * np.sqrt(1.0 + (1.4 * away) ** 2)
        axial = _gaussian_response(_padded(SAMPLES), np.array([pulse_mm / step_mm]))[:, 0]
        lateral = _gaussian_response(_padded(probe.lines), width_mm / pitch)

        def kept(array: NDArray[np.float64]) -> FloatImage:
            result = np.ascontiguousarray(array, dtype=np.float32)
            result.setflags(write=False)
            return result

        return Beams(
            probe,
            depth_mm,
            step_mm,
            kept(x),
            kept(z),
            kept(r[None, :]),
            kept(pitch[None, :]),
            kept(axial),
            kept(lateral),
        )


def _padded(length: int) -> int:
    """A length that transforms quickly, with zeros enough that no echo wraps around."""
    longer = length + 12
    while 2**4 * 3**3 * 5**2 * 2**4 % longer:
        longer += 1
    return longer


def _gaussian_response(length: int, sigma: NDArray[np.float64]) -> NDArray[np.float64]:
    """Length x len(sigma) Fourier transforms of sampled Gaussians, each of unit power.

    They are sampled before the transform: a Gaussian cut off in the frequency domain has
    tails, and a strong echo is 100 dB above a weak one.
    """
    distance = np.fft.fftfreq(length, 1.0 / length)[:, None]
    kernel = np.exp(-0.5 * (distance / sigma[None, :]) ** 2)
    kernel /= np.sqrt(np.sum(kernel**2, axis=0))
    return np.asarray(np.fft.fft(kernel, axis=0).real)


def scatterers(rng: np.random.Generator, beams: Beams) -> NDArray[np.complex64]:
    """Draw a scatterer for each sample: lines x samples, mean square 1."""
    parts = rng.standard_normal((beams.probe.lines, SAMPLES, 2), dtype=np.float32)
    parts *= np.float32(math.sqrt(0.5))
    return parts.view(np.complex64)[..., 0]


def round_trip_loss_db(attenuation: FloatImage, beams: Beams) -> FloatImage:
    """What the tissue takes away on the way down and back, lines x samples float32 in dB.

    Args:
        attenuation: Of each sample in dB/cm/MHz, one way.
        beams: The grid.
    """
    loss = np.cumsum(attenuation, axis=1, dtype=np.float32)
    loss *= np.float32(2.0 * beams.probe.frequency_mhz * beams.step_mm / 10.0)
    return loss


def transmitted(level_db: FloatImage) -> FloatImage:
    """Amplitudes of levels in dB; overwrites and returns its argument."""
    level_db *= np.float32(_NEPER_DB)
    return np.exp(level_db, out=level_db)


def envelope(
    field: NDArray[np.complex64],
    beams: Beams,
    noise: NDArray[np.complex64] | None = None,
) -> FloatImage:
    """Blur scatterers by the point-spread function and detect.

    Nothing scatters outside the grid, so the outermost beams are a little darker.

    Args:
        field: lines x samples complex64, the strength of each scatterer after attenuation.
        beams: The grid.
        noise: Electronic noise, lines x samples complex64, which the receiver filters along
            the beam; None for none.

    Returns:
        lines x samples float32 >= 0. Scatterers of mean square 1 give a mean square of 1.
    """
    lines = len(field)
    across = np.fft.fft(field, n=len(beams.lateral), axis=0)
    across *= beams.lateral
    received = np.fft.ifft(across, axis=0)[:lines]
    if noise is not None:
        received += noise
    along = np.fft.fft(received, n=len(beams.axial), axis=1)
    along *= beams.axial
    detected = np.abs(np.fft.ifft(along, axis=1)[:, :SAMPLES])
    return detected.astype(np.float32, copy=False)


def compressed(
    detected: FloatImage, gain_db: FloatImage | float, range_db: float, middle: float
) -> FloatImage:
    """Compress an envelope logarithmically; overwrites and returns its first argument.

    Args:
        detected: lines x samples, >= 0.
        gain_db: Amplification, time gain included.
        range_db: Dynamic range: the levels between black and white.
        middle: Grey of an amplitude of 1 at no gain, 0..1.

    Returns:
        lines x samples float32, 0 for black and 1 for white, not clipped.
    """
    np.maximum(detected, np.float32(1e-6), out=detected)
    np.log10(detected, out=detected)
    detected *= np.float32(20.0)
    detected += np.asarray(gain_db, dtype=np.float32)
    detected *= np.float32(1.0 / range_db)
    detected += np.float32(middle)
    return detected
