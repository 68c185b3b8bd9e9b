"""JPEG codestreams written from ITU-T T.81 alone, to hold decoders against.

Not for any other use: images in whole blocks, one fixed Huffman table, no speed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

_SIDE = 8
_ZIGZAG = sorted(
    ((row, column) for row in range(_SIDE) for column in range(_SIDE)),
    key=lambda at: (sum(at), at[0] if sum(at) % 2 else at[1]),
)


def segment(marker: int, body: bytes) -> bytes:
    """A marker with its length and body."""
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def flat_huffman_table(kind: int, symbols: list[int]) -> tuple[bytes, dict[int, tuple[int, int]]]:
    """A DHT segment in which every symbol has 8 bits, and the code of each symbol."""
    assert len(symbols) < 255  # the code of ones alone is not allowed
    lengths = bytes(len(symbols) if length == 8 else 0 for length in range(1, 17))
    codes = {symbol: (code, 8) for code, symbol in enumerate(symbols)}
    return segment(0xC4, bytes([kind]) + lengths + bytes(symbols)), codes


def packed(codes: Iterable[tuple[int, int]]) -> bytes:
    """Codes with their lengths as bytes, padded by ones, a zero stuffed behind each 0xFF."""
    bits = "".join(f"{code:0{length}b}" for code, length in codes if length)
    bits += "1" * (-len(bits) % 8)
    data = int(bits, 2).to_bytes(len(bits) // 8, "big")
    return data.replace(b"\xff", b"\xff\x00")


def _signed_bits(value: int) -> tuple[int, tuple[int, int]]:
    """Category and additional bits of a difference (T.81 F.1.2.1)."""
    size = abs(value).bit_length()
    return size, (value if value > 0 else value + (1 << size) - 1, size)


def lossless(planes: list[NDArray[np.uint16]], bits: int, predictor: int, sof: int = 0xC3) -> bytes:
    """Lossless JPEG (T.81 annex H), components interleaved.

    Args:
        planes: rows x columns each.
        bits: Bits of a sample.
        predictor: 1 to 7.
        sof: Marker of the frame header.
    """
    rows, columns = planes[0].shape
    header, codes = flat_huffman_table(0, list(range(17)))
    differences = [_differences(plane.astype(np.int64), bits, predictor) for plane in planes]
    stream: list[tuple[int, int]] = []
    for row in range(rows):
        for column in range(columns):
            for difference in differences:
                value = int(difference[row, column])
                if value == 32768:  # T.81 H.1.2.2: category 16 has no additional bits
                    stream.append(codes[16])
                    continue
                size, extra = _signed_bits(value)
                stream += [codes[size], extra]
    count = len(planes)
    parts = b"".join(bytes([number + 1, 0x11, 0]) for number in range(count))
    scans = b"".join(bytes([number + 1, 0]) for number in range(count))
    return (
        b"\xff\xd8"
        + segment(sof, struct.pack(">BHHB", bits, rows, columns, count) + parts)
        + header
        + segment(0xDA, bytes([count]) + scans + bytes([predictor, 0, 0]))
        + packed(stream)
        + b"\xff\xd9"
    )


def _differences(plane: NDArray[np.int64], bits: int, predictor: int) -> NDArray[np.int64]:
    above = np.roll(plane, 1, axis=0)
    left = np.roll(plane, 1, axis=1)
    corner = np.roll(left, 1, axis=0)
    prediction = {
        1: left,
        2: above,
        3: corner,
        4: left + above - corner,
        5: left + ((above - corner) >> 1),
        6: above + ((left - corner) >> 1),
        7: (left + above) >> 1,
    }[predictor].copy()
    prediction[0] = left[0]
    prediction[:, 0] = above[:, 0]
    prediction[0, 0] = 1 << (bits - 1)
    modulo = (plane - prediction) & 0xFFFF
    return np.asarray(np.where(modulo > 32768, modulo - 65536, modulo))


def sequential(plane: NDArray[np.generic], bits: int, sof: int = 0xC1) -> bytes:
    """Extended sequential JPEG (T.81 annex F) of one component, quantized by 1."""
    rows, columns = plane.shape
    assert rows % _SIDE == columns % _SIDE == 0
    dc_header, dc_codes = flat_huffman_table(0x00, list(range(16)))
    ac_symbols = [0x00, 0xF0] + [run << 4 | size for run in range(16) for size in range(1, 15)]
    ac_header, ac_codes = flat_huffman_table(0x10, ac_symbols)
    steps = np.arange(_SIDE)
    basis = np.cos((2 * steps[np.newaxis] + 1) * steps[:, np.newaxis] * np.pi / 16) / 2
    basis[0] /= np.sqrt(2)
    samples = plane.astype(np.float64) - float(1 << (bits - 1))
    stream: list[tuple[int, int]] = []
    before = 0
    for top in range(0, rows, _SIDE):
        for left in range(0, columns, _SIDE):
            block = samples[top : top + _SIDE, left : left + _SIDE]
            coefficients = np.rint(basis @ block @ basis.T).astype(int)
            values = [int(coefficients[at]) for at in _ZIGZAG]
            size, extra = _signed_bits(values[0] - before)
            before = values[0]
            stream += [dc_codes[size], extra]
            last = max((at for at in range(1, 64) if values[at]), default=0)
            run = 0
            for value in values[1 : last + 1]:
                if value == 0:
                    run += 1
                    continue
                stream += [ac_codes[0xF0]] * (run // 16)
                size, extra = _signed_bits(value)
                stream += [ac_codes[run % 16 << 4 | size], extra]
                run = 0
            if last < 63:
                stream.append(ac_codes[0x00])
    return (
        b"\xff\xd8"
        + segment(0xDB, b"\0" + b"\1" * 64)
        + segment(sof, struct.pack(">BHHB", bits, rows, columns, 1) + b"\1\x11\0")
        + dc_header
        + ac_header
        + segment(0xDA, b"\1\1\0\0\x3f\0")
        + packed(stream)
        + b"\xff\xd9"
    )
