"""The four inputs around each output of a resize that looks at two by two pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

_CACHED = 1 << 14
"""Values of a part of the result: with twice as many inputs it fits a core's own cache."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Two inputs of each output along one axis.

    Attributes:
        low: The first one's index.
        high: The second one's index.
        share: The second one's share, float32, 0 to 1.
    """

    low: NDArray[np.intp]
    high: NDArray[np.intp]
    share: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Corners:
    """Where the inputs of some output rows lie. Image rows that none of them sees are left out.

    Attributes:
        rows: The output rows.
        needed: Rows of the image that some output sees.
        top: Of each output row, the first one's place in `needed`.
        bottom: The second one's.
        left: Of each value of an output row (columns x channels), its place in an image row.
        right: The second one's.
        across: The right one's share, one a value of an output row.
        down: The bottom one's share, rows x 1.
    """

    rows: slice
    needed: NDArray[np.intp]
    top: NDArray[np.intp]
    bottom: NDArray[np.intp]
    left: NDArray[np.intp]
    right: NDArray[np.intp]
    across: NDArray[np.float32]
    down: NDArray[np.float32]

    def sides(self, image: NDArray[Any], dtype: DTypeLike) -> tuple[NDArray[Any], NDArray[Any]]:
        """Left and right inputs of every needed row: rows x (columns x channels), fresh."""
        rows = image.take(self.needed, axis=0).reshape(len(self.needed), -1)
        left, right = (
            rows.take(at, axis=1, mode="clip").astype(dtype) for at in (self.left, self.right)
        )
        return left, right

    def ends(self, across: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Top and bottom inputs of every output, from what the columns gave; fresh."""
        top, bottom = (across.take(at, axis=0, mode="clip") for at in (self.top, self.bottom))
        return top, bottom


def corners_of(rows: Pairs, columns: Pairs, channels: int) -> tuple[Corners, ...]:
    """Put two axes together, a few output rows at a time so that they stay in the cache.

    Args:
        rows: Along the height.
        columns: Along the width.
        channels: Of the image.
    """
    channel = np.arange(channels)
    left, right = (
        (at[:, np.newaxis] * channels + channel).ravel() for at in (columns.low, columns.high)
    )
    across = np.repeat(columns.share, channels)
    step = max(1, _CACHED // len(left))
    parts = []
    for start in range(0, len(rows.low), step):
        part = slice(start, min(start + step, len(rows.low)))
        ends = np.concatenate([rows.low[part], rows.high[part]])
        needed, place = np.unique(ends, return_inverse=True)
        top, bottom = np.split(place, 2)
        down = rows.share[part, np.newaxis]
        for array in (needed, top, bottom, left, right, across, down):
            array.flags.writeable = False
        parts.append(Corners(part, needed, top, bottom, left, right, across, down))
    return tuple(parts)


def interpolated(
    image: NDArray[Any],
    height: int,
    width: int,
    parts: tuple[Corners, ...],
    arithmetic: Callable[[NDArray[Any], Corners], NDArray[Any]],
    dtype: DTypeLike,
) -> NDArray[Any]:
    """Resize an image part by part.

    Args:
        image: rows x columns (x channels).
        height: Rows of the result.
        width: Columns of the result.
        parts: As `corners_of` gave them for these sizes.
        arithmetic: What some output rows become: rows x (columns x channels).
        dtype: Of the result.
    """
    result = np.empty((height, width, *image.shape[2:]), dtype)
    flat = result.reshape(height, -1)
    for corners in parts:
        flat[corners.rows] = arithmetic(image, corners)
    return result


def weighed_sum(image: NDArray[Any], corners: Corners) -> NDArray[np.float32]:
    """Two products and their sum along the rows, then down, in float32 with nothing fused."""
    left, right = corners.sides(image, np.float32)
    left *= 1 - corners.across
    right *= corners.across
    left += right
    top, bottom = corners.ends(left)
    top *= 1 - corners.down
    bottom *= corners.down
    top += bottom
    return np.asarray(top, np.float32)
