"""Ultrasound scanners of four made-up models: probe, processing, and the screen around the image.

A frame is what the video output shows: scan-converted beams, depth ticks, a grey bar and a
caption that names nobody.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from medsdk_export.phantoms._bmode import SAMPLES, Beams, FloatImage, Probe

__all__ = ["DEVICES", "Device", "Screen"]

Colour: TypeAlias = tuple[float, float, float]
FrameArray: TypeAlias = NDArray[np.uint8]
"""rows x columns x 3 uint8, RGB."""


@dataclass(frozen=True)
class Device:
    """A model of scanner with one probe and one screen layout.

    Attributes:
        name: Model name, also the stratum.
        probe: Its transducer.
        depths_mm: Depth settings.
        range_db: Dynamic range of the display.
        middle: Grey of liver at the right gain, 0..1.
        curve: Exponent of the grey map; 1 is linear, above 1 darkens.
        noise_db: Electronic noise below the echo of liver at the skin.
        nominal_db: Attenuation that the time gain makes good, dB/cm/MHz.
        rows, columns: Frame size in pixels.
        area: (left, top, right, bottom) of the image area, outer corners in pixels.
        tint: Factors of red, green and blue.
        background: Grey of the screen, 0..255.
        bar_left: Whether the grey bar stands to the left of the image.
    """

    name: str
    probe: Probe
    depths_mm: tuple[float, ...]
    range_db: float
    middle: float
    curve: float
    noise_db: float
    nominal_db: float
    rows: int
    columns: int
    area: tuple[int, int, int, int]
    tint: Colour
    background: int
    bar_left: bool


DEVICES: tuple[Device, ...] = (
    Device(
        name="convex-a",
        probe=Probe(60.0, math.radians(32.0), 176, 3.5, 2.4, 3.4, 70.0),
        depths_mm=(110.0, 130.0, 160.0),
        range_db=60.0, middle=0.46, curve=1.0, noise_db=-78.0, nominal_db=0.50,
        rows=480, columns=640, area=(40, 44, 590, 456),
        tint=(1.0, 1.0, 1.0), background=0, bar_left=False,
    ),
    Device(
        name="convex-b",
        probe=Probe(50.0, math.radians(35.0), 192, 4.4, 2.0, 2.8, 60.0),
        depths_mm=(100.0, 120.0, 150.0),
        range_db=72.0, middle=0.48, curve=1.25, noise_db=-92.0, nominal_db=0.52,
        rows=600, columns=800, area=(70, 40, 740, 580),
        tint=(0.90, 0.97, 1.0), background=10, bar_left=True,
    ),
    Device(
        name="convex-c",
        probe=Probe(60.0, math.radians(29.0), 128, 3.0, 3.0, 4.2, 80.0),
        depths_mm=(120.0, 150.0),
        range_db=50.0, middle=0.50, curve=0.9, noise_db=-66.0, nominal_db=0.46,
        rows=576, columns=768, area=(90, 60, 690, 548),
        tint=(1.0, 0.96, 0.86), background=22, bar_left=True,
    ),
    Device(
        name="linear-d",
        probe=Probe(0.0, 26.0, 192, 7.5, 2.2, 2.6, 28.0),
        depths_mm=(45.0, 60.0),
        range_db=66.0, middle=0.45, curve=1.1, noise_db=-92.0, nominal_db=0.48,
        rows=600, columns=800, area=(120, 44, 700, 576),
        tint=(1.0, 1.0, 1.0), background=0, bar_left=False,
    ),
)  # fmt: skip
"""Every model. They differ in resolution, range, grey map, gain and layout."""

_CURVE_POINTS = 1024


@dataclass(frozen=True)
class Screen:
    """How one device at one depth setting turns beams into a frame.

    Attributes:
        device: The device.
        depth_mm: The setting.
        mm_per_pixel: Size of a pixel, the same along both axes.
        origin_px: (x, y) of the middle of the skin line, in pixels from the outer corner of the
            first pixel.
        region: (left, top, right, bottom) of the scanned area, outer corners in pixels.
        template: The frame without echoes, read-only.
        pixels: Flat index of every pixel of the scanned area.
        first: Flat index of the sample above and to the left of each.
        between: 2 x pixels float32, how far each lies towards the next line and the next sample.
    """

    device: Device
    depth_mm: float
    mm_per_pixel: float
    origin_px: tuple[float, float]
    region: tuple[int, int, int, int]
    template: FrameArray
    pixels: NDArray[np.int64]
    first: NDArray[np.int64]
    between: FloatImage

    @staticmethod
    @lru_cache(maxsize=16)
    def of(device: Device, depth_mm: float) -> Screen:
        """Lay out the screen of a device at a depth setting."""
        left, top, right, bottom = device.area
        probe = device.probe
        # A convex skin line curves upwards at its ends; the deepest point is in the middle.
        rise_mm = -probe.place(1.0, 0.0)[1] if probe.radius_mm else 0.0
        half_mm = probe.place(1.0, depth_mm)[0]
        mm_per_pixel = max(2.0 * half_mm / (right - left), (depth_mm + rise_mm) / (bottom - top))
        origin_px = (0.5 * (left + right), top + rise_mm / mm_per_pixel)

        y, x = np.mgrid[: device.rows, : device.columns]
        x_mm = (x + 0.5 - origin_px[0]) * mm_per_pixel
        z_mm = (y + 0.5 - origin_px[1]) * mm_per_pixel
        if probe.radius_mm:
            across = np.arctan2(x_mm, z_mm + probe.radius_mm)
            r_mm = np.hypot(x_mm, z_mm + probe.radius_mm) - probe.radius_mm
        else:
            across, r_mm = x_mm, z_mm
        line = (across / probe.half_aperture + 1.0) * 0.5 * (probe.lines - 1)
        sample = r_mm / depth_mm * SAMPLES - 0.5
        inside = (line >= 0) & (line < probe.lines - 1) & (sample >= 0) & (sample < SAMPLES - 1)
        rows, columns = np.nonzero(inside)
        line, sample = line[inside], sample[inside]
        whole_line, whole_sample = np.floor(line), np.floor(sample)
        screen = Screen(
            device,
            depth_mm,
            mm_per_pixel,
            origin_px,
            (int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1),
            _template(device, depth_mm, mm_per_pixel, origin_px),
            np.flatnonzero(inside),
            (whole_line * SAMPLES + whole_sample).astype(np.int64),
            np.stack([line - whole_line, sample - whole_sample]).astype(np.float32),
        )
        for array in (screen.template, screen.pixels, screen.first, screen.between):
            array.setflags(write=False)
        return screen

    def beams(self) -> Beams:
        """The beams that the screen shows."""
        return Beams.of(self.device.probe, self.depth_mm)

    def to_pixels(self, x_mm: float, z_mm: float) -> tuple[float, float]:
        """Where a point of the body is on the screen: (x, y) from the outer corner."""
        return (
            self.origin_px[0] + x_mm / self.mm_per_pixel,
            self.origin_px[1] + z_mm / self.mm_per_pixel,
        )

    def show(self, grey: FloatImage) -> FrameArray:
        """Scan-convert bilinearly and put the image on the screen.

        Args:
            grey: lines x samples float32, 0 black to 1 white; clipped here.

        Returns:
            rows x columns x 3 uint8, RGB; the caller owns it.
        """
        flat = grey.ravel()
        across, along = self.between
        upper = flat.take(self.first)
        upper += along * (flat.take(self.first + 1) - upper)
        lower = flat.take(self.first + SAMPLES)
        lower += along * (flat.take(self.first + (SAMPLES + 1)) - lower)
        upper += across * (lower - upper)
        upper *= np.float32(_CURVE_POINTS - 1)
        np.clip(upper, 0, _CURVE_POINTS - 1, out=upper)
        frame = self.template.copy()
        frame.reshape(-1, 3)[self.pixels] = _colours(self.device)[upper.astype(np.int16)]
        return frame


@lru_cache(maxsize=8)
def _colours(device: Device) -> FrameArray:
    """The grey map with its tint: points x 3 uint8."""
    level = (np.arange(_CURVE_POINTS) / (_CURVE_POINTS - 1)) ** device.curve
    colours: FrameArray = np.rint(level[:, None] * 255.0 * np.array(device.tint)).astype(np.uint8)
    return colours


def _template(
    device: Device, depth_mm: float, mm_per_pixel: float, origin_px: tuple[float, float]
) -> FrameArray:
    image = Image.new("RGB", (device.columns, device.rows), (device.background,) * 3)
    draw = ImageDraw.Draw(image)
    left, top, right, bottom = device.area
    draw.rectangle((left - 14, top - 12, right + 13, bottom + 11), fill=(0, 0, 0))
    # The fixed bitmap font: the other one depends on how Pillow was built.
    font = ImageFont.load_default_imagefont()
    probe = device.probe
    shape = "C" if probe.radius_mm else "L"
    caption = (
        f"PHANTOM {device.name}   {shape} {probe.frequency_mhz:g} MHz   "
        f"DR {device.range_db:g}   {depth_mm / 10:g} cm   2D"
    )
    draw.text((left, 10), caption, fill=(190, 190, 190), font=font)
    draw.text((left, device.rows - 14), "NOT FOR CLINICAL USE", fill=(150, 150, 150), font=font)

    for tick in range(int(depth_mm / 10) + 1):
        y = round(origin_px[1] + 10.0 * tick / mm_per_pixel)
        length = 9 if tick % 5 == 0 else 4
        draw.line((right + 2, y, right + 2 + length, y), fill=(200, 200, 120))
        if tick % 5 == 0 and tick:
            draw.text((right + 14, y - 6), str(tick), fill=(200, 200, 120), font=font)
    x = left - 36 if device.bar_left else device.columns - 20
    for row in range(128):
        level = round(255 * (1 - row / 127))
        draw.line((x, top + row, x + 11, top + row), fill=(level,) * 3)
    return np.array(image, dtype=np.uint8)
