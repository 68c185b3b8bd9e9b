"""RLE Lossless (PS3.5 annex G), for where no faster decoder is installed."""

from __future__ import annotations

import struct
from itertools import pairwise

from medsdk.pixels.errors import DecoderMissingError

LARGEST_RUN_COUNT = 1 << 22
"""Most runs of a frame, all segments together: some 3 seconds here. Frames up to 4 MiB never have
more, and an encoder's runs of a larger one are longer than a byte or two."""


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
        DecoderMissingError: It has more runs than can be unpacked here in time.
    """
    parts: list[bytes] = []
    left = LARGEST_RUN_COUNT
    for segment in rle_segments(data, count):
        part, left = _unpacked(segment, size, left)
        parts.append(part)
    return b"".join(parts)


def _unpacked(segment: bytes, size: int, left: int) -> tuple[bytes, int]:
    """PackBits: n below 128, then n + 1 bytes as they are; above, one byte 257 - n times.

    Returns:
        The bytes, and how many of the `left` runs are still allowed.
    """
    result = bytearray()
    position = 0
    while len(result) < size:
        left -= 1
        if left < 0:
            raise DecoderMissingError(
                "an RLE frame has more runs than the built-in decoder unpacks in time",
                got=f"more than {LARGEST_RUN_COUNT} runs",
                expected="the decoder of pylibjpeg-rle, which is faster",
                remedy='pip install "medsdk[dicom]"',
            )
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
    return bytes(result[:size]), left
