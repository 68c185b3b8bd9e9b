"""What a compressed frame says of itself, read before a decoder in C sees it.

JPEG (ITU-T T.81), JPEG-LS (T.87) and JPEG 2000 (T.800, T.814). Only the headers are walked: no
size that is found here is allocated.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from medsdk.pixels.errors import PixelInputUnreadableError

JPEG_SEQUENTIAL = (0xC0, 0xC1)
"""SOF markers of baseline and extended sequential JPEG with Huffman coding."""

JPEG_LOSSLESS = (0xC3,)
"""SOF marker of lossless JPEG with Huffman coding."""

JPEG_LS = (0xF7,)
"""SOF marker of JPEG-LS."""

LARGEST_TILE_COUNT = 8192
"""Most tiles of a JPEG 2000 frame. A decoder keeps about 10 kB a tile before it decodes."""

LARGEST_PRECINCT_COUNT = 1 << 17
"""Most precincts of a JPEG 2000 frame, all components together: 1.6 kB each in OpenJPEG, so that
160 bytes could ask for gigabytes."""

LARGEST_BLOCK_COUNT = 1 << 18
"""Most code-blocks of a JPEG 2000 frame, all components together."""

LARGEST_PACKET_COUNT = 1 << 20
"""Most packets of a JPEG 2000 frame, layers x precincts, each of which OpenJPEG visits."""

_SOS, _EOI = 0xDA, 0xD9

_WITH_LENGTH = (
    *range(0xC0, 0xC8),
    *range(0xC9, 0xD0),
    *range(0xDA, 0xDE),
    *range(0xE0, 0xF0),
    *range(0xF7, 0xF9),
    0xFE,
)
"""JPEG markers with a length: SOF, DHT, DAC, SOS, DQT, DNL, DRI, APP, SOF55, LSE, COM."""

_MARKER = re.compile(rb"\xff(?![\x00-\x7f\xd0-\xd7\xff])")
"""A marker other than RST, inside coded data. JPEG stuffs 0 behind 0xFF, JPEG-LS one bit."""

_CODESTREAM = b"\xff\x4f\xff\x51"
"""SOC and SIZ, which every JPEG 2000 codestream starts with."""


@dataclass(frozen=True)
class Codestream:
    """The header of one compressed frame.

    Attributes:
        rows: Rows.
        columns: Columns.
        components: Components, none of them missing.
        bits: Bits of a sample, the same in every component.
        signed: Samples are signed (JPEG 2000 alone says it).
        subsampled: A component has fewer samples than another.
        lossless: Its coding loses nothing: lossless JPEG, JPEG-LS with NEAR 0, the reversible
            transform of JPEG 2000 (whose last bit planes may have been cut off all the same).
        says: What the codestream itself says of its colour: an Adobe or JFIF marker or the
            component identifiers R, G, B; None where it leaves that to the object.
        assumed: What libjpeg takes it for when nobody tells it.
        start: Where the codestream begins: behind the boxes of a JP2 file, which do not belong
            into a DICOM object.
    """

    rows: int
    columns: int
    components: int
    bits: int
    signed: bool = False
    subsampled: bool = False
    lossless: bool = False
    says: Literal["RGB", "YBR"] | None = None
    assumed: Literal["RGB", "YBR"] = "YBR"
    start: int = 0


def jpeg_header(data: bytes, allowed: tuple[int, ...]) -> Codestream:
    """Read the header of a JPEG or JPEG-LS frame.

    Args:
        data: The frame.
        allowed: SOF markers of the transfer syntax.

    Returns:
        What it says.

    Raises:
        PixelInputUnreadableError: It is no such codestream, or ends within its header.
    """
    adobe: int | None = None
    jfif = False
    frame: tuple[int, bytes] | None = None
    near = 0
    for marker, body in _segments(data):
        if marker == 0xEE and len(body) >= 12 and body.startswith(b"Adobe"):
            adobe = body[11]
        elif marker == 0xE0 and body.startswith(b"JFIF\0"):
            jfif = True
        elif (marker in range(0xC0, 0xD0) and marker not in (0xC4, 0xC8, 0xCC)) or marker == 0xF7:
            if frame is not None or marker not in allowed:
                raise _malformed()
            frame = marker, body
        elif marker == _SOS:  # in JPEG-LS, NEAR follows the components and their tables
            near = int.from_bytes(body[1 + 2 * body[0] :][:1], "big") if body else 0
    if frame is None:
        raise _malformed()
    marker, body = frame
    count = body[5] if len(body) > 5 else 0
    if count == 0 or len(body) != 6 + 3 * count:
        raise _malformed()
    bits, rows, columns = struct.unpack(">BHH", body[:5])
    identifiers = bytes(body[6::3])
    samplings = set(body[7::3])
    named = identifiers in (b"RGB", b"rgb")
    says: Literal["RGB", "YBR"] | None = None
    assumed: Literal["RGB", "YBR"] = "YBR"
    # Order as in libjpeg: JFIF, Adobe, identifiers (which it takes in capitals alone).
    if jfif:
        says = "YBR"
    elif adobe is not None:
        says = assumed = "RGB" if adobe == 0 else "YBR"
    elif named:
        says = "RGB"
        assumed = "RGB" if identifiers == b"RGB" else "YBR"
    return Codestream(
        rows,
        columns,
        count,
        bits,
        subsampled=len(samplings) > 1,
        lossless=marker in JPEG_LOSSLESS or (marker in JPEG_LS and near == 0),
        says=says,
        assumed=assumed,
    )


def _segments(data: bytes) -> list[tuple[int, bytes]]:
    """Markers with their bodies, from SOI to the first SOS, which is the last of them."""
    if data[:2] != b"\xff\xd8":
        raise _malformed()
    found, _ = _segments_from(data, 2)
    return found


def _segments_from(data: bytes, position: int) -> tuple[list[tuple[int, bytes]], int]:
    """Markers with their bodies up to a SOS or EOI, and where what follows begins."""
    found: list[tuple[int, bytes]] = []
    while position + 2 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        if marker == _EOI:
            return [*found, (marker, b"")], position + 2
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        body = data[position + 4 : position + 2 + length]
        if marker not in _WITH_LENGTH or length < 2 or len(body) != length - 2:
            break
        found.append((marker, body))
        position += 2 + length
        if marker == _SOS:
            return found, position
    raise _malformed()


def check_scans(data: bytes, components: int) -> None:
    """Walk a JPEG or JPEG-LS frame to its end.

    GDCM ends the whole process on some streams whose markers make no sense, and CharLS reads
    on for seconds where the last marker is missing.

    Args:
        data: A frame whose header `jpeg_header` has read.
        components: Its components: it has at most one scan for each.

    Raises:
        PixelInputUnreadableError: A marker is none that belongs there, or EOI is missing.
    """
    position, scans = 2, 0
    while True:
        found, position = _segments_from(data, position)
        if found[-1][0] == _EOI:
            if scans == 0:
                raise _malformed()
            return
        scans += 1
        following = _MARKER.search(data, position)
        if scans > components or following is None:
            raise _malformed()
        position = following.start()


def jpeg_2000_header(data: bytes) -> Codestream:
    """Read SIZ and COD of a JPEG 2000 frame, of HTJ2K too.

    Args:
        data: The frame, a codestream or a JP2 file.

    Returns:
        What it says.

    Raises:
        PixelInputUnreadableError: It is no such codestream, or its tiles and packets are made
            to exhaust a decoder.
    """
    start = 0 if data.startswith(_CODESTREAM) else _in_boxes(data)
    size = int.from_bytes(data[start + 4 : start + 6], "big")
    body = data[start + 6 : start + 4 + size]
    if len(body) < 36 or len(body) != size - 2:
        raise _malformed()
    _, x1, y1, x0, y0, tile_x, tile_y, tile_x0, tile_y0, count = struct.unpack(
        ">HIIIIIIIIH", body[:36]
    )
    parts = body[36:]
    if not (
        count > 0
        and len(parts) == 3 * count
        and x0 < x1
        and y0 < y1
        and tile_x
        and tile_y
        and tile_x0 <= x0 < tile_x0 + tile_x
        and tile_y0 <= y0 < tile_y0 + tile_y
    ):
        raise _malformed()
    tiles = -(-(x1 - tile_x0) // tile_x) * -(-(y1 - tile_y0) // tile_y)
    if tiles > LARGEST_TILE_COUNT:
        raise PixelInputUnreadableError.sizes(
            f"{tiles} tiles in a frame", f"at most {LARGEST_TILE_COUNT}"
        )
    reversible = _check_packets(data, start + 4 + size, (x1 - x0) * (y1 - y0), count, tiles)
    depths = set(parts[0::3])
    if len(depths) != 1:
        raise _malformed()
    depth = depths.pop()
    return Codestream(
        y1 - y0,
        x1 - x0,
        count,
        (depth & 0x7F) + 1,
        signed=bool(depth & 0x80),
        subsampled=set(parts[1::3]) | set(parts[2::3]) != {1},
        lossless=reversible,
        says=None,
        start=start,
    )


def _check_packets(data: bytes, position: int, area: int, components: int, tiles: int) -> bool:
    """Bound what COD and COC ask a decoder to keep, those in the headers of tiles included.

    Returns:
        Whether all of them name the reversible transform.
    """
    layers = precincts = blocks = 0
    reversible = True
    for marker, body in _jpeg_2000_segments(data, position):
        # COD: Scod, progression, 2 bytes of layers, transform, SPcod.
        # COC: the component in 1 or 2 bytes, Scoc, SPcoc.
        at = 5 if marker == 0x52 else 2 if components < 257 else 3
        if len(body) < at + 5:
            raise _malformed()
        if marker == 0x52:
            layers = max(layers, int.from_bytes(body[2:4], "big"))
        own = body[0] & 1 if marker == 0x52 else body[at - 1] & 1
        levels = body[at]
        reversible &= body[at + 4] == 1
        if own:
            # A precinct of 2**x by 2**y samples; each level halves the picture.
            sizes = [(size & 15) + (size >> 4) for size in body[at + 5 : at + 6 + levels]]
            count = sum(
                (area >> min(2 * (levels - level), 60) >> size) + tiles
                for level, size in enumerate(sizes)
            )
        else:
            count = (levels + 1) * (tiles + (area >> 30))
        precincts = max(precincts, count * components)
        sides = (body[at + 1] & 15) + (body[at + 2] & 15) + 4
        blocks = max(blocks, (area >> sides) * components)
    if layers == 0:
        raise _malformed()
    for what, count, limit in (
        ("precincts", precincts, LARGEST_PRECINCT_COUNT),
        ("packets", precincts * layers, LARGEST_PACKET_COUNT),
        ("code-blocks", blocks, LARGEST_BLOCK_COUNT),
    ):
        if count > limit:
            raise PixelInputUnreadableError.sizes(
                f"{count} {what} in a compressed frame", f"at most {limit}"
            )
    return reversible


def _jpeg_2000_segments(data: bytes, position: int) -> Iterator[tuple[int, bytes]]:
    """COD and COC of the main header and of every tile-part's (T.800 annex A)."""
    part: int | None = None  # where the tile-part that is being read begins
    length = 0
    while position + 2 <= len(data):
        marker = data[position + 1]
        if data[position] != 0xFF:
            raise _malformed()
        if marker == 0xD9:  # EOC
            return
        if marker == 0x93:  # SOD: the tile-part's data, up to the next one
            if part is None or length == 0:
                return
            position, part = part + length, None
            continue
        size = int.from_bytes(data[position + 2 : position + 4], "big")
        body = data[position + 4 : position + 2 + size]
        if size < 2 or len(body) != size - 2:
            raise _malformed()
        if marker == 0x90:  # SOT
            if len(body) != 8:
                raise _malformed()
            part, length = position, int.from_bytes(body[2:6], "big")
            if 0 < length < 14:
                raise _malformed()
        elif marker in (0x52, 0x53):
            yield marker, body
        position += 2 + size


def _malformed() -> PixelInputUnreadableError:
    return PixelInputUnreadableError.malformed("the header of a compressed frame")


def _in_boxes(data: bytes) -> int:
    """Where the codestream of a JP2 file starts (T.800 annex I)."""
    position = 0
    while position + 8 <= len(data):
        length, kind = struct.unpack(">I4s", data[position : position + 8])
        head = 8
        if length == 1:
            length, head = int.from_bytes(data[position + 8 : position + 16], "big"), 16
        if kind == b"jp2c" and data[position + head :].startswith(_CODESTREAM):
            return position + head
        if length < head:
            break
        position += length
    raise _malformed()
