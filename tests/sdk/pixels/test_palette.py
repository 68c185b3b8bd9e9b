"""Palettes: descriptors, padding, byte orders and segments, against arithmetic and pydicom."""

import struct
import tracemalloc
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.data import get_testdata_file
from pydicom.data.data_manager import get_palette_files
from pydicom.pixels.processing import apply_color_lut

from medsdk.pixels import open_dicom
from medsdk.pixels.errors import PixelInputUnreadableError

COLORS = ("Red", "Green", "Blue")
RNG = np.random.default_rng(8)


def _with_palette(
    dataset: Any, descriptor: tuple[int, ...], data: list[Any], *, segmented: bool, vr: str
) -> Any:
    """`data`: bytes of each of the three tables."""
    signed = "SS" if descriptor[1] < 0 else "US"
    for color, table in zip(COLORS, data, strict=True):
        dataset.add_new(f"{color}PaletteColorLookupTableDescriptor", signed, list(descriptor))
        keyword = f"{color}PaletteColorLookupTableData"
        dataset.add_new(f"Segmented{keyword}" if segmented else keyword, vr, table)
    return dataset


def _palette_object(
    make_dataset: Any,
    array: NDArray[Any],
    descriptor: tuple[int, ...],
    data: list[Any],
    syntax: str = "little",
    *,
    segmented: bool = False,
    vr: str = "OW",
) -> Any:
    dataset = make_dataset(array, syntax=syntax, photometric="PALETTE COLOR")
    return _with_palette(dataset, descriptor, data, segmented=segmented, vr=vr)


def _looked_up(tables: NDArray[Any], array: NDArray[Any], first: int) -> NDArray[Any]:
    at = np.clip(array.astype(int) - first, 0, tables.shape[1] - 1)
    return np.moveaxis(tables[:, at], 0, 2)


@pytest.mark.parametrize("syntax", ["implicit", "little", "big"])
@pytest.mark.parametrize(
    ("dtype", "entries", "first"),
    [
        (np.uint8, 256, 0),
        (np.uint8, 17, 3),
        (np.uint8, 200, 40),
        (np.int8, 100, -50),
        (np.uint16, 65536, 0),
        (np.uint16, 4096, 60000),
        (np.int16, 300, -150),
    ],
)
def test_16_bit_entries_are_shown_by_their_upper_8(
    make_dataset, as_file, syntax, dtype, entries, first
):
    tables = RNG.integers(0, 65536, (3, entries)).astype(np.uint16)
    info = np.iinfo(dtype)
    array = RNG.integers(info.min, info.max, (9, 11), endpoint=True).astype(dtype)
    array.flat[:4] = np.clip(
        [first - 1, first, first + entries - 1, first + entries], *(info.min, info.max)
    )
    order = ">u2" if syntax == "big" else "<u2"
    data = [table.astype(order).tobytes() for table in tables]
    dataset = _palette_object(
        make_dataset, array, (entries % 65536, first, 16), data, syntax=syntax
    )
    image = open_dicom(as_file(dataset))
    frame = image.frame(1)
    assert (image.photometric, frame.color, frame.decoder) == ("PALETTE COLOR", "RGB", "medsdk")
    assert frame.array.dtype == np.uint8
    assert np.array_equal(frame.array, _looked_up(tables >> 8, array, first))


@pytest.mark.parametrize("syntax", ["implicit", "little", "big"])
@pytest.mark.parametrize("entries", [256, 255, 16, 3])
@pytest.mark.parametrize("form", ["packed", "words", "numbers"])
def test_8_bit_entries_packed_or_one_a_word(make_dataset, as_file, syntax, entries, form):
    tables = RNG.integers(0, 256, (3, entries)).astype(np.uint8)
    array = np.arange(256, dtype=np.uint8).reshape(16, 16)
    words = ">u2" if syntax == "big" else "<u2"
    if form == "packed":
        data = [table.tobytes() + b"\0" * (entries % 2) for table in tables]
        if syntax == "big":  # the bytes of OW words lie swapped
            data = [np.frombuffer(table, np.uint16).byteswap().tobytes() for table in data]
    elif form == "words":
        data = [table.astype(words).tobytes() for table in tables]
    else:
        data = [table.tolist() for table in tables]
    dataset = _palette_object(
        make_dataset,
        array,
        (entries, 0, 8),
        data,
        syntax=syntax,
        vr="US" if form == "numbers" else "OW",
    )
    frame = open_dicom(as_file(dataset)).frame(1)
    assert np.array_equal(frame.array, _looked_up(tables, array, 0))


@pytest.mark.parametrize("path", get_palette_files("*.dcm"), ids=lambda path: path[-16:])
def test_the_standards_palettes_equal_pydicoms(make_dataset, as_file, path):
    palette = pydicom.dcmread(path)
    array = np.arange(256, dtype=np.uint8).reshape(16, 16)
    dataset = make_dataset(array, photometric="PALETTE COLOR")
    for element in palette:
        if "PaletteColor" in element.keyword:
            dataset.add(element)
    want = apply_color_lut(array, palette)[..., :3]
    assert np.array_equal(open_dicom(as_file(dataset)).frame(1).array, want)


@pytest.mark.parametrize("syntax", ["little", "big"])
@pytest.mark.parametrize("bits", [8, 16])
def test_segments_discrete_linear_and_repeated(make_dataset, as_file, syntax, bits):
    kind = "B" if bits == 8 else "H"
    size = 1 if bits == 8 else 2
    top = 250 if bits == 8 else 64000
    # Four entries, a line of five up to the top, then the line once more by its byte offset
    # (from the last value, which is the top, so flat), and a line of two down to zero.
    first = [0, 4, 10, 20, 5, 0]
    words = struct.pack(f"<9{kind}2{kind}", *first, 1, 5, top, 2, 1)
    words += struct.pack("<I", len(first) * size)
    words += struct.pack(f"<3{kind}", 1, 2, 0)
    words += b"\0" * (len(words) % 2)
    rising = [round(top / 5 * number) for number in range(1, 6)]
    want = np.array([10, 20, 5, 0, *rising, *[top] * 5, round(top / 2), 0])
    if syntax == "big":
        words = np.frombuffer(words, np.uint16).byteswap().tobytes()
    array = np.arange(len(want), dtype=np.uint8).reshape(1, -1)
    dataset = _palette_object(
        make_dataset, array, (len(want), 0, bits), [words] * 3, syntax=syntax, segmented=True
    )
    got = open_dicom(as_file(dataset)).frame(1).array
    assert np.array_equal(got[0, :, 0], want if size == 1 else want >> 8)
    assert np.array_equal(got[..., 0], got[..., 2])


@pytest.mark.parametrize(
    ("descriptor", "data", "segmented", "words"),
    [
        ((256, 0, 8), b"\0" * 100, False, "entries in a palette"),
        ((256, 0, 12), b"\0" * 512, False, "12 bits"),
        ((2, 0, 8), b"\0\1\0\1", False, "above 255"),
        ((9, 0, 16), struct.pack("<4H", 0, 200, 1, 1), True, "entries in a palette"),
        ((9, 0, 16), struct.pack("<3H", 1, 9, 1), True, "entries in a palette"),
        ((9, 0, 16), struct.pack("<4H", 7, 9, 1, 1), True, "entries in a palette"),
        ((9, 0, 16), b"", True, "entries in a palette|missing"),
        ((4, 0, 8), struct.pack("<8B", 1, 0, 0, 0, 2, 255, 0, 0), True, "palette"),
    ],
)
def test_palettes_that_do_not_fit_are_unreadable(
    make_dataset, as_file, descriptor, data, segmented, words
):
    dataset = _palette_object(
        make_dataset, np.zeros((4, 4), np.uint8), descriptor, [data] * 3, segmented=segmented
    )
    with pytest.raises(PixelInputUnreadableError, match=words):
        open_dicom(as_file(dataset))


def test_segments_cannot_be_a_bomb(make_dataset, as_file):
    # A discrete segment and many repetitions of it.
    segments = struct.pack("<2H", 0, 60000) + bytes(120000) + struct.pack("<4H", 2, 1, 0, 0) * 50
    data = as_file(
        _palette_object(
            make_dataset, np.zeros((4, 4), np.uint8), (0, 0, 16), [segments] * 3, segmented=True
        )
    )
    tracemalloc.start()
    with pytest.raises(PixelInputUnreadableError, match="entries in a palette"):
        open_dicom(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000  # all of them would be 3 million numbers
    # Segments without entries, repeated: 64 million steps in 100 kB.
    empty = bytes(2 * 2 * 8000) + struct.pack("<4H", 2, 8000, 6, 0) * 8000
    for kind in (0, 1, 2):
        first = struct.pack("<4H", 0, 1, 0, 0)
        segments = first[:6] + struct.pack("<2H", kind, 0) + empty
        hanging = _palette_object(
            make_dataset, np.zeros((4, 4), np.uint8), (4, 0, 16), [segments] * 3, segmented=True
        )
        with pytest.raises(PixelInputUnreadableError, match="1 entries in a palette"):
            open_dicom(as_file(hanging))
    long = _palette_object(
        make_dataset, np.zeros((4, 4), np.uint8), (100, 0, 16), [bytes(2 << 20)] * 3, segmented=True
    )
    with pytest.raises(PixelInputUnreadableError, match="entries in a palette"):
        open_dicom(as_file(long))


def test_a_palette_that_is_missing_is_named(make_dataset, as_file):
    dataset = _palette_object(
        make_dataset, np.zeros((4, 4), np.uint8), (256, 0, 8), [bytes(256)] * 3
    )
    del dataset.GreenPaletteColorLookupTableData
    with pytest.raises(PixelInputUnreadableError, match="GreenPaletteColorLookupTableData"):
        open_dicom(as_file(dataset))
    del dataset.BluePaletteColorLookupTableDescriptor
    with pytest.raises(PixelInputUnreadableError, match="BluePaletteColorLookupTableDescriptor"):
        open_dicom(as_file(dataset))


@pytest.mark.parametrize(
    ("big", "little"),
    [
        ("OBXXXX1A_expb.dcm", "OBXXXX1A.dcm"),
        ("gdcm-US-ALOKA-16_big.dcm", "gdcm-US-ALOKA-16.dcm"),
        ("OBXXXX1A_rle.dcm", "OBXXXX1A.dcm"),
    ],
)
def test_scanners_palettes_are_the_same_in_either_byte_order(big, little):
    found = [get_testdata_file(name, download=False) for name in (big, little)]
    if None in found:
        pytest.skip("pydicom-data is not installed")
    paths = list(map(str, found))
    one, other = (open_dicom(path).frame(1).array for path in paths)
    assert np.array_equal(one, other)
    dataset = pydicom.dcmread(paths[1])
    want = apply_color_lut(dataset.pixel_array, dataset)
    assert np.array_equal(other, want >> 8)
