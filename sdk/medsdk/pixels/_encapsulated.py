"""Where each frame lies in encapsulated pixel data (PS3.5 A.4)."""

from __future__ import annotations

import struct
from itertools import pairwise

from medsdk.pixels.errors import PixelInputUnreadableError

Spans = tuple[tuple[int, int], ...]
"""Begin and end of each fragment of a frame."""

_ITEM = b"\xfe\xff\x00\xe0"
_DELIMITER = b"\xfe\xff\xdd\xe0"
_STARTS = (b"\xff\xd8", b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP")
"""What a JPEG, JPEG-LS or JPEG 2000 frame begins with."""


def frame_spans(
    data: bytes, frames: int, extended: tuple[bytes, bytes] | None
) -> tuple[Spans, ...]:
    """Find the frames.

    One fragment a frame is the rule. Where a frame has several, the offset table says which, or
    the first bytes of a frame do.

    Args:
        data: PixelData: the basic offset table's item, then the fragments.
        frames: NumberOfFrames.
        extended: ExtendedOffsetTable and ExtendedOffsetTableLengths, or None.

    Returns:
        The fragments of each frame.

    Raises:
        PixelInputUnreadableError: The items are malformed, or frames cannot be told apart.
    """
    table, fragments = _items(data)
    if len(fragments) < frames:
        raise PixelInputUnreadableError.sizes(
            f"{len(fragments)} fragments in PixelData", f"{frames} frames"
        )
    if len(fragments) == frames:
        return tuple((fragment,) for fragment in fragments)
    if frames == 1:
        _check_one_frame(data, table, extended, fragments)
        return (tuple(fragments),)
    starts = _table_starts(table, extended, fragments, frames)
    if starts is None:
        starts = [
            index for index, (begin, _) in enumerate(fragments) if data.startswith(_STARTS, begin)
        ]
    if len(starts) != frames or starts[0] != 0:
        raise PixelInputUnreadableError.sizes(
            f"{len(fragments)} fragments in PixelData that no offset table assigns to frames",
            f"{frames} frames",
        )
    ends = [*starts[1:], len(fragments)]
    return tuple(tuple(fragments[begin:end]) for begin, end in zip(starts, ends, strict=True))


def _check_one_frame(
    data: bytes,
    table: bytes,
    extended: tuple[bytes, bytes] | None,
    fragments: list[tuple[int, int]],
) -> None:
    """Refuse several frames where the header says one: no one would know which was taken."""
    entries = max(len(table) // 4, 0 if extended is None else len(extended[0]) // 8)
    begun = entries or sum(
        data.startswith(_STARTS, begin) or _is_rle(data, begin) for begin, _ in fragments
    )
    if begun > 1:
        raise PixelInputUnreadableError.sizes(f"{begun} frames in PixelData", "1 frame")


def _is_rle(data: bytes, begin: int) -> bool:
    """An RLE header: at most 15 segments, the first behind the header (PS3.5 G.5)."""
    return 1 <= data[begin] <= 15 and data[begin + 1 : begin + 8] == b"\0\0\0\x40\0\0\0"


def _items(data: bytes) -> tuple[bytes, list[tuple[int, int]]]:
    """The basic offset table, and begin and end of every fragment."""
    found: list[tuple[int, int]] = []
    position = 0
    while position + 8 <= len(data):
        tag = data[position : position + 4]
        length = int.from_bytes(data[position + 4 : position + 8], "little")
        if tag == _DELIMITER:
            break
        end = position + 8 + length
        if tag != _ITEM or end > len(data):
            raise PixelInputUnreadableError.malformed("an item of PixelData")
        found.append((position + 8, end))
        position = end
    if not found:
        raise PixelInputUnreadableError.malformed("an item of PixelData")
    (begin, end), *fragments = found
    return data[begin:end], fragments


def _table_starts(
    table: bytes,
    extended: tuple[bytes, bytes] | None,
    fragments: list[tuple[int, int]],
    frames: int,
) -> list[int] | None:
    """Which fragment each frame starts with, by an offset table; None without one."""
    if extended is not None and len(extended[0]) == 8 * frames:
        offsets = list(struct.unpack(f"<{frames}Q", extended[0]))
    elif len(table) == 4 * frames:
        offsets = list(struct.unpack(f"<{frames}I", table))
    else:
        return None
    first = fragments[0][0] - 8  # offsets count from the tag of the first fragment
    known = {begin - 8 - first: index for index, (begin, _) in enumerate(fragments)}
    starts = [known.get(offset, -1) for offset in offsets]
    if starts[0] != 0 or any(a >= b for a, b in pairwise(starts)):
        raise PixelInputUnreadableError.malformed("the offset table of PixelData")
    return starts
