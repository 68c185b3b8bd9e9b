"""Crops and fits in whole pixels, and the affine of each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from medsdk.pixels import ultrasound_regions
from medsdk.pixels.affine import Affine, Box, check_roi
from medsdk.pixels.errors import PixelInputRefusedError
from medsdk.tasks.pixel_contract import (
    CentreSquare,
    Crop,
    RegionOfInterest,
    UltrasoundRegion,
    WholeFrame,
)

Fit = Literal["stretch", "letterbox", "cover"]

LARGEST_RESIZED = 1 << 26
"""Most pixels of an image between `resize` and the crop of `cover` (a thin strip would grow)."""


@dataclass(frozen=True)
class Region:
    """A part of a frame in whole pixels, half-open."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """Columns."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """Rows."""
        return self.bottom - self.top

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns of an array."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    @property
    def box(self) -> Box:
        """The same in the frame's coordinates."""
        return Box(float(self.left), float(self.top), float(self.right), float(self.bottom))


def check_crop(crop: Crop) -> None:
    """Refuse the crops that this release does not execute.

    Raises:
        PixelInputRefusedError: It is one of them.
    """
    if not isinstance(crop, WholeFrame | CentreSquare | RegionOfInterest | UltrasoundRegion):
        raise PixelInputRefusedError.not_offered(
            f"crop {crop.kind!r}", crop.kind, "none, centre-square, roi or ultrasound-region"
        )


def region_of(
    crop: Crop,
    height: int,
    width: int,
    roi: Box | None,
    regions: tuple[ultrasound_regions.UltrasoundRegion, ...] = (),
) -> Region:
    """The part of a frame that a contract uses.

    Args:
        crop: The contract's crop, one that `check_crop` lets through.
        height: Rows of the frame.
        width: Columns of the frame.
        roi: What the operator gave.
        regions: The frame's ultrasound regions.

    Returns:
        The part, inside the frame and not empty. Edges of `roi` move to the nearest edge of a
        pixel, half a pixel to the right or down. With `square` the short side grows about its
        centre, a spare odd pixel on the right or bottom, and the square moves back into the
        frame where it stands over.

    Raises:
        PixelInputRefusedError: `roi` is missing, not taken, no `Box`, outside the frame, smaller
            than a pixel, or its square is larger than the frame; or there is not exactly one B-mode
            region inside the frame where the contract crops to it.
    """
    check_roi(roi)
    whole = Region(0, 0, width, height)
    if isinstance(crop, RegionOfInterest):
        if roi is not None:
            return _region_of_interest(crop, height, width, roi)
        if crop.required:
            raise PixelInputRefusedError.roi("none", "a region of interest, which the task needs")
        return whole
    if roi is not None:
        raise PixelInputRefusedError.roi(
            f"one, for crop {crop.kind!r}",
            "none: this task chooses its part of the frame itself",
            "leave roi out",
        )
    if isinstance(crop, CentreSquare):
        side = min(height, width)
        left, top = (width - side) // 2, (height - side) // 2
        return Region(left, top, left + side, top + side)
    if isinstance(crop, UltrasoundRegion):
        return _ultrasound_region(height, width, regions)
    return whole


def _ultrasound_region(
    height: int, width: int, regions: tuple[ultrasound_regions.UltrasoundRegion, ...]
) -> Region:
    box = ultrasound_regions.b_mode_region(regions).box
    # Regions were checked against the frame when they were read, those of a bare Frame never.
    if box is None or not (0 <= box.x0 < box.x1 <= width and 0 <= box.y0 < box.y1 <= height):
        raise PixelInputRefusedError.region("one, but it lies outside the frame")
    return Region(int(box.x0), int(box.y0), int(box.x1), int(box.y1))


def _region_of_interest(crop: RegionOfInterest, height: int, width: int, roi: Box) -> Region:
    left, top, right, bottom = (
        math.floor(value + 0.5) for value in (roi.x0, roi.y0, roi.x1, roi.y1)
    )
    if left < 0 or top < 0 or right > width or bottom > height:
        raise PixelInputRefusedError.roi(
            f"{roi}, outside the frame", f"a box within 0,0,{width},{height}"
        )
    if left == right or top == bottom:
        raise PixelInputRefusedError.roi(f"{roi}, less than a pixel", "at least one whole pixel")
    region = Region(left, top, right, bottom)
    if not crop.square:
        return region
    side = max(region.width, region.height)
    if side > min(height, width):
        raise PixelInputRefusedError.roi(
            f"{roi}, whose square has a side of {side}", f"a side of at most {min(height, width)}"
        )
    left = min(max(left - (side - region.width) // 2, 0), width - side)
    top = min(max(top - (side - region.height) // 2, 0), height - side)
    return Region(left, top, left + side, top + side)


def resized_size(fit: Fit, height: int, width: int, target: tuple[int, int]) -> tuple[int, int]:
    """What the kernel resizes an image to.

    Args:
        fit: The contract's fit.
        height: Rows of the image.
        width: Columns of the image.
        target: Rows and columns of the network's input.

    Returns:
        Rows and columns: the target for `stretch`; for `letterbox` the largest size of the
        image's shape inside it, for `cover` the smallest around it, the free side rounded half
        up and at least 1.

    Raises:
        PixelInputRefusedError: The image is so thin that `cover` would make it huge.
    """
    rows, columns = target
    if fit == "stretch":
        return target
    by_width = columns * height <= rows * width  # the width reaches the target first
    if by_width == (fit == "letterbox"):
        # Exact in integers; rounding cannot pass the target, nor fall below it for `cover`.
        size = max(1, (2 * height * columns + width) // (2 * width)), columns
    else:
        size = rows, max(1, (2 * width * rows + height) // (2 * height))
    if size[0] * size[1] > LARGEST_RESIZED:
        raise PixelInputRefusedError.frame(
            f"{height} x {width} pixels, which cover {rows} x {columns} as {size[0]} x {size[1]}",
            f"at most {LARGEST_RESIZED} pixels in between",
            "crop the frame",
        )
    return size


def offset(
    fit: Fit, size: tuple[int, int], target: tuple[int, int], anchor: str
) -> tuple[int, int]:
    """Where the resized image's top-left corner lies in the network's input.

    Args:
        fit: The contract's fit.
        size: Rows and columns of the resized image.
        target: Rows and columns of the network's input.
        anchor: Of the padding: `centre` or `top-left`.

    Returns:
        Rows and columns, negative where `cover` cuts. An odd spare pixel is padded, or cut, on
        the right or bottom.
    """
    spare = target[0] - size[0], target[1] - size[1]
    if fit == "cover":
        return -(-spare[0] // 2), -(-spare[1] // 2)
    return (spare[0] // 2, spare[1] // 2) if anchor == "centre" else (0, 0)


def affine_of(region: Region, size: tuple[int, int], at: tuple[int, int]) -> Affine:
    """From the stored frame to the network's input.

    Args:
        region: The part that was cropped.
        size: Rows and columns it was resized to.
        at: Rows and columns of its corner in the network's input.
    """
    crop = Affine.translation(-float(region.left), -float(region.top))
    scale = Affine.scale(size[1] / region.width, size[0] / region.height)
    return crop.then(scale).then(Affine.translation(float(at[1]), float(at[0])))
