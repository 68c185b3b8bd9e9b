"""Regions of an ultrasound image (PS3.3 C.8.5.5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from medsdk.pixels.affine import Box
from medsdk.pixels.errors import PixelInputRefusedError

RegionKind = Literal["b-mode", "colour-flow", "m-mode", "spectral", "waveform", "other"]
"""What a region shows, by RegionSpatialFormat and RegionDataType."""


@dataclass(frozen=True)
class UltrasoundRegion:
    """One region.

    Attributes:
        kind: What it shows. `b-mode` is RegionSpatialFormat 1 (2D) with RegionDataType 1
            (tissue).
        box: Its part of the stored frame, or None where the object does not say one.
        spacing_mm: Distance of pixel centres (between rows, between columns) by PhysicalDeltaY
            and PhysicalDeltaX, or None where those are not lengths in centimetres or are zero.
        problem: Why the region cannot be used, or None: corners that are missing, reversed, or
            outside the frame.
    """

    kind: RegionKind
    box: Box | None
    spacing_mm: tuple[float, float] | None
    problem: str | None = None


def b_mode_region(regions: tuple[UltrasoundRegion, ...]) -> UltrasoundRegion:
    """The one B-mode region.

    Args:
        regions: All regions of the object.

    Returns:
        It, with a box inside the frame.

    Raises:
        PixelInputRefusedError: There is none, there are several, or it is not valid.
    """
    found = [region for region in regions if region.kind == "b-mode"]
    if len(found) != 1:
        kinds = ", ".join(sorted({region.kind for region in regions})) or "no regions at all"
        raise PixelInputRefusedError.region(
            f"{len(found)} B-mode regions" if found else f"no B-mode region ({kinds})"
        )
    if found[0].problem is not None:
        raise PixelInputRefusedError.region(f"one, but {found[0].problem}")
    return found[0]


def lone_b_mode_region(regions: tuple[UltrasoundRegion, ...]) -> UltrasoundRegion | None:
    """The one B-mode region where there is exactly one and it is valid, else None.

    Args:
        regions: All regions of the object.
    """
    found = [region for region in regions if region.kind == "b-mode"]
    return found[0] if len(found) == 1 and found[0].problem is None else None
