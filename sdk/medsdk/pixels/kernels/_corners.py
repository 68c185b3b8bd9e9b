"""The four inputs around each output of a resize that looks at two by two pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


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
    """Where the inputs of a whole image lie. Rows that no output sees are never looked at.

    Attributes:
        needed: Rows of the image that some output sees.
        top: Of each output row, the first one's place in `needed`.
        bottom: The second one's.
        left: Of each value of an output row (columns x channels), its place in an image row.
        right: The second one's.
        across: The right one's share, one a value of an output row.
        down: The bottom one's share, rows x 1.
        shape: Of the result.
    """

    needed: NDArray[np.intp]
    top: NDArray[np.intp]
    bottom: NDArray[np.intp]
    left: NDArray[np.intp]
    right: NDArray[np.intp]
    across: NDArray[np.float32]
    down: NDArray[np.float32]
    shape: tuple[int, ...]

    @classmethod
    def of(cls, rows: Pairs, columns: Pairs, channels: tuple[int, ...]) -> Corners:
        """Put two axes together.

        Args:
            rows: Along the height.
            columns: Along the width.
            channels: `(3,)` for rows x columns x 3, `()` for rows x columns.
        """
        height, width = len(rows.low), len(columns.low)
        needed, place = np.unique(np.concatenate([rows.low, rows.high]), return_inverse=True)
        count = channels[0] if channels else 1
        channel = np.arange(count)
        corners = cls(
            needed=needed,
            top=place[:height],
            bottom=place[height:],
            left=(columns.low[:, np.newaxis] * count + channel).ravel(),
            right=(columns.high[:, np.newaxis] * count + channel).ravel(),
            across=np.repeat(columns.share, count),
            down=rows.share[:, np.newaxis],
            shape=(height, width, *channels),
        )
        for array in vars(corners).values():
            if isinstance(array, np.ndarray):
                array.flags.writeable = False
        return corners

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
