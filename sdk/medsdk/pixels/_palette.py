"""Palettes of PALETTE COLOR objects (PS3.3 C.7.6.3.1.5 to .6 and C.7.9.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medsdk.pixels._color import row_blocks
from medsdk.pixels._quiet import reading
from medsdk.pixels.errors import PixelInputUnreadableError

if TYPE_CHECKING:
    from pydicom import Dataset

_LARGEST = 65536

_LARGEST_SEGMENTS = 1 << 20
"""Most bytes of segmented data; the longest that says anything has some 260 kB."""


class Palette:
    """Three tables, 8 bits an entry.

    Args:
        tables: entries x 3: red, green and blue.
        first: The index that the first entry belongs to.
    """

    def __init__(self, tables: NDArray[np.uint8], first: int) -> None:
        self._tables = tables
        self._first = first

    def apply(self, indices: NDArray[np.generic]) -> NDArray[np.uint8]:
        """Look indices up.

        Args:
            indices: rows x columns, integers.

        Returns:
            rows x columns x 3, uint8, RGB. An index beyond a table takes its nearest entry.
        """
        last = len(self._tables) - 1
        result = np.empty((*indices.shape, 3), np.uint8)
        for part in row_blocks(result.shape[0], result.shape[1]):
            at = np.clip(indices[part].astype(np.intp) - self._first, 0, last)
            self._tables.take(at, axis=0, out=result[part], mode="clip")
        return result


def read_palette(dataset: Dataset, *, signed: bool, little: bool) -> Palette:
    """Read the three palettes of an object.

    Entries of 16 bits are shown by their upper 8: an 8-bit display has no more. Entries of 8
    bits may be packed or lie one to a word.

    Args:
        dataset: The object.
        signed: Whether its pixels are signed, which the first mapped value then is too.
        little: Its byte order.

    Returns:
        The palette.

    Raises:
        PixelInputUnreadableError: A palette is missing, or its data does not fit its
            descriptor.
    """
    descriptors = [_descriptor(dataset, color, signed) for color in ("Red", "Green", "Blue")]
    if len({(entries, first) for entries, first, _ in descriptors}) != 1:
        raise PixelInputUnreadableError.attribute(
            "RedPaletteColorLookupTableDescriptor",
            "another range than green or blue",
            "three palettes of the same range",
        )
    entries, first, _ = descriptors[0]
    tables = [
        _table(dataset, color, entries, bits, little)
        for color, (_, _, bits) in zip(("Red", "Green", "Blue"), descriptors, strict=True)
    ]
    return Palette(np.ascontiguousarray(np.stack(tables, axis=1)), first)


def _descriptor(dataset: Dataset, color: str, signed: bool) -> tuple[int, int, int]:
    keyword = f"{color}PaletteColorLookupTableDescriptor"
    with reading(keyword):
        if dataset.get(keyword) is None:
            raise PixelInputUnreadableError.attribute(keyword, "missing", "three numbers")
        entries, first, bits = (int(value) for value in dataset[keyword].value)
    entries &= 0xFFFF  # the second of the three may be signed, and pydicom then reads all so
    entries = entries or _LARGEST  # 65536 does not fit into 16 bits
    if bits not in (8, 16) or not -32768 <= first <= 65535:
        raise PixelInputUnreadableError.attribute(
            keyword, f"{entries} entries of {bits} bits", "1 to 65536 of 8 or 16 bits"
        )
    if signed and first > 32767:
        first -= 65536
    elif not signed and first < 0:
        first += 65536
    return entries, first, bits


def _table(
    dataset: Dataset, color: str, entries: int, bits: int, little: bool
) -> NDArray[np.uint8]:
    keyword = f"{color}PaletteColorLookupTableData"
    segmented = f"Segmented{keyword}"
    with reading(keyword):
        if dataset.get(keyword) is not None:
            return _plain(dataset[keyword].value, entries, bits, little)
        if dataset.get(segmented) is None:
            raise PixelInputUnreadableError.attribute(keyword, "missing", "the palette's entries")
    with reading(segmented):
        if len(dataset[segmented].value) > _LARGEST_SEGMENTS:
            raise _misfit(len(dataset[segmented].value), entries)
        words = _words(dataset[segmented].value, bits, little)
        values = np.array(_expanded(words, bits, entries), np.uint16)
        if values.size != entries:
            raise _misfit(values.size, entries)
        return _eight_bits(values, bits)


def _plain(value: object, entries: int, bits: int, little: bool) -> NDArray[np.uint8]:
    if not isinstance(value, bytes):
        values = np.atleast_1d(np.asarray(value, np.uint16))
    elif bits == 8 and entries <= len(value) <= entries + 1 and entries > 1:
        return np.frombuffer(_by_pairs(value, little), np.uint8)[:entries].copy()
    else:
        values = np.frombuffer(value, "<u2" if little else ">u2")
    if values.size != entries:
        raise _misfit(values.size, entries)
    return _eight_bits(values, bits)


def _eight_bits(values: NDArray[np.uint16], bits: int) -> NDArray[np.uint8]:
    if bits == 16:
        return (values >> 8).astype(np.uint8)
    if int(values.max()) > 255:
        raise PixelInputUnreadableError.attribute(
            "palette data", "entries above 255", "entries of 8 bits, as the descriptor says"
        )
    return values.astype(np.uint8)


def _by_pairs(value: bytes, little: bool) -> bytes:
    """Bytes in their own order: in big endian they lie swapped in words (OW)."""
    if little:
        return value
    padded = value + b"\0" * (len(value) % 2)
    return np.frombuffer(padded, np.uint16).byteswap().tobytes()


def _words(value: object, bits: int, little: bool) -> list[int]:
    """Segmented data as numbers of the size that the descriptor names."""
    if not isinstance(value, bytes):
        return [int(item) for item in np.atleast_1d(np.asarray(value, np.uint16))]
    if bits == 8:
        return list(_by_pairs(value, little))
    return [int(item) for item in np.frombuffer(value, "<u2" if little else ">u2")]


def _expanded(words: list[int], bits: int, entries: int) -> list[int]:
    """Segments written out: 0 discrete, 1 linear, 2 a repetition of earlier ones."""
    result: list[int] = []

    def run(position: int, segments: int | None) -> None:
        # A last odd byte of 8-bit data is padding: no segment has one number.
        while position + 1 < len(words) and (segments is None or segments > 0):
            kind, length = words[position], words[position + 1]
            if length == 0:  # says nothing, and repeated often enough takes for ever
                raise _misfit(len(result), entries)
            if kind == 0:
                result.extend(words[position + 2 : position + 2 + length])
                position += 2 + length
            elif kind == 1 and result:
                end = words[position + 2]
                steps = np.linspace(result[-1], end, length + 1)[1:]
                result.extend(int(value) for value in np.rint(steps))
                position += 3
            elif kind == 2 and segments is None:
                width = 4 if bits == 8 else 2
                parts = words[position + 2 : position + 2 + width]
                # The offset is two words of 16 bits, the lower first; in 8 bits four bytes.
                offset = sum(part << (32 // width * at) for at, part in enumerate(parts))
                run(offset // (2 if bits == 16 else 1), length)
                position += 2 + width
            else:
                raise _misfit(len(result), entries)
            if segments is not None:
                segments -= 1
            if len(result) > entries:
                raise _misfit(len(result), entries)

    run(0, None)
    return result


def _misfit(size: int, entries: int) -> PixelInputUnreadableError:
    return PixelInputUnreadableError.sizes(
        f"{size} entries in a palette", f"{entries} entries, as its descriptor says"
    )
