"""RLE Lossless (PS3.5 annex G), for where no faster decoder is installed."""

from __future__ import annotations

import struct
from itertools import pairwise


def rle_segments(data: bytes, count: int) -> list[bytes]:
    """The segments of a frame.

    Args:
        data: The frame: a header of 16 little-endian numbers, then the segments.
        count: How many segments there must be.

    Returns:
        Their compressed bytes.

    Raises:
        ValueError: Another number of segments, or offsets that do not ascend within the frame.
    """
    found, *offsets = struct.unpack("<16I", data[:64])
    starts = [*offsets[:count], len(data)]
    if found != count or starts[0] != 64 or any(a >= b for a, b in pairwise(starts)):
        raise ValueError("RLE header")
    return [data[a:b] for a, b in pairwise(starts)]


def decode_rle(data: bytes, size: int, count: int) -> bytes:
    """Unpack a frame.

    Args:
        data: The frame.
        size: Bytes of each segment, unpacked.
        count: Segments.

    Returns:
        The segments, one after the other.

    Raises:
        ValueError: The header is wrong, or a segment is too short.
    """
    return b"".join(_unpacked(segment, size) for segment in rle_segments(data, count))


def _unpacked(segment: bytes, size: int) -> bytes:
    """PackBits: n below 128, then n + 1 bytes as they are; above, one byte 257 - n times."""
    result = bytearray()
    position = 0
    while len(result) < size:
        if position + 1 >= len(segment):
            raise ValueError("RLE segment")
        head = segment[position]
        if head < 128:
            result += segment[position + 1 : position + 2 + head]
            position += 2 + head
        else:
            if head > 128:
                result += segment[position + 1 : position + 2] * (257 - head)
                position += 2
            else:
                position += 1  # says nothing
    return bytes(result[:size])
