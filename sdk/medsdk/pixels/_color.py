"""Colour by the arithmetic of PS3.3 C.7.6.3.1.2, which is that of JFIF and ITU-R BT.601."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.uint8]

_BLOCK_PIXELS = 1 << 18
"""Pixels that are converted at a time, so that what lies between stays small and in the cache."""


def row_blocks(rows: int, columns: int) -> Iterator[slice]:
    """Blocks of rows that together are a frame.

    Args:
        rows: Rows of the frame.
        columns: Its columns, at least 1.

    Returns:
        The blocks from top to bottom.
    """
    step = max(1, _BLOCK_PIXELS // columns)
    return (slice(top, top + step) for top in range(0, rows, step))


@cache
def _chroma_tables() -> tuple[NDArray[np.int16], NDArray[np.int16], NDArray[np.int16]]:
    """What CR adds to red, CB and CR to green (indexed CB x 256 + CR), CB to blue; rounded.

    Y is a whole number, so rounding the rest alone is rounding the sum. Halves go up.
    """
    chroma = np.arange(256, dtype=np.float64) - 128.0
    red, blue, green = 0.299, 0.114, 0.587
    cr, cb = 2.0 * (1.0 - red) * chroma, 2.0 * (1.0 - blue) * chroma
    both = -(cb * blue / green)[:, np.newaxis] - (cr * red / green)[np.newaxis, :]
    tables = tuple(np.floor(table + 0.5).astype(np.int16) for table in (cr, both.ravel(), cb))
    return tables[0], tables[1], tables[2]


def rgb_from_ybr(pixels: Plane) -> Plane:
    """YBR_FULL to RGB.

    Args:
        pixels: rows x columns x 3, uint8: Y, CB, CR.

    Returns:
        rows x columns x 3, uint8, C-contiguous: the exact real numbers rounded to the nearest
        integer and clipped to 0..255.
    """
    to_red, to_green, to_blue = _chroma_tables()
    result = np.empty(pixels.shape, np.uint8)
    for part in row_blocks(pixels.shape[0], pixels.shape[1]):
        y = pixels[part, :, 0].astype(np.int16)
        cb, cr = pixels[part, :, 1], pixels[part, :, 2]
        pair = (cb.astype(np.uint16) << 8) | cr
        for channel, added in enumerate((to_red[cr], to_green[pair], to_blue[cb])):
            added += y
            np.clip(added, 0, 255, out=added)
            result[part, :, channel] = added
    return result


def ybr_from_422(pairs: Plane, rows: int, columns: int) -> Plane:
    """YBR_FULL_422 as it lies uncompressed (Y1 Y2 CB CR for two pixels) to YBR_FULL.

    Args:
        pairs: rows * columns * 2 samples.
        rows: Rows.
        columns: Columns, even.

    Returns:
        rows x columns x 3; both pixels of a pair have its CB and CR.
    """
    groups = pairs.reshape(rows, columns // 2, 4)
    result = np.empty((rows, columns // 2, 2, 3), np.uint8)
    result[..., 0] = groups[..., :2]
    result[..., 1] = groups[..., 2:3]
    result[..., 2] = groups[..., 3:4]
    return result.reshape(rows, columns, 3)


@cache
def _luma_tables() -> tuple[NDArray[np.float64], ...]:
    values = np.arange(256, dtype=np.float64)
    return tuple(weight * values for weight in (0.299, 0.587, 0.114))


def luma(pixels: Plane) -> Plane:
    """RGB to grey by ITU-R BT.601.

    Args:
        pixels: rows x columns x 3, uint8.

    Returns:
        rows x columns, uint8: `0.299 R + 0.587 G + 0.114 B` in float64, from left to right,
        rounded half to even.
    """
    red, green, blue = _luma_tables()
    result = np.empty(pixels.shape[:2], np.uint8)
    for part in row_blocks(pixels.shape[0], pixels.shape[1]):
        total = red[pixels[part, :, 0]]
        total += green[pixels[part, :, 1]]
        total += blue[pixels[part, :, 2]]
        result[part] = np.rint(total)
    return result
