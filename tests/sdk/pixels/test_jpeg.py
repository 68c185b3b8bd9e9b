"""JPEG frames, baseline and extended: encoded here, decoded by medsdk, compared by arithmetic."""

import io

import jpeg_writing
import numpy as np
import pytest
from PIL import Image
from pydicom.pixels.processing import convert_color_space
from pydicom.uid import (
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
)

from medsdk.pixels._color import rgb_from_ybr

RNG = np.random.default_rng(21)


def _without(data: bytes, *markers: int) -> bytes:
    """A JPEG without some of its marker segments."""
    result, position = bytes(data[:2]), 2
    while data[position + 1] != 0xDA:
        length = 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        if data[position + 1] not in markers:
            result += data[position : position + length]
        position += length
    return result + data[position:]


def _identifiers(data: bytes, names: bytes) -> bytes:
    """The same JPEG with other component identifiers."""
    result = bytearray(data)
    frame, scan = data.index(b"\xff\xc0"), data.index(b"\xff\xda")
    for number, name in enumerate(names):
        result[frame + 10 + 3 * number] = name
        result[scan + 5 + 2 * number] = name
    return bytes(result)


def _adobe(data: bytes, transform: int) -> bytes:
    body = b"Adobe\0\x64\0\0\0\0" + bytes([transform])
    marker: bytes = jpeg_writing.segment(0xEE, body)
    return data[:2] + marker + data[2:]


@pytest.mark.parametrize("declared", ["RGB", "YBR_FULL", "YBR_FULL_422"])
@pytest.mark.parametrize(
    ("holds", "marks"),
    [
        ("RGB", "adobe"),
        ("RGB", "identifiers"),
        ("RGB", "small identifiers"),
        ("YBR", "jfif"),
        ("YBR", "adobe"),
        ("YBR", "jfif and declared otherwise"),
        ("declared", "nothing"),
        ("declared", "counted identifiers"),
    ],
)
def test_a_jpeg_comes_out_as_rgb_whatever_it_holds(
    wrapped, declared, holds, marks, smooth, as_jpeg
):
    want = smooth(40, 48)
    if holds == "declared":
        holds = "RGB" if declared == "RGB" else "YBR"
    stored = want if holds == "RGB" else convert_color_space(want, "RGB", "YBR_FULL")
    # Marked as YCbCr, Pillow writes any three planes as they are.
    data = as_jpeg(
        Image.merge("YCbCr", [Image.fromarray(p) for p in np.moveaxis(stored, 2, 0)]), subsampling=0
    )
    assert b"JFIF" in data
    if not marks.startswith("jfif"):
        data = _without(data, 0xE0, 0xEE)
    if marks == "adobe":
        data = _adobe(data, 0 if holds == "RGB" else 1)
    elif marks == "identifiers":
        data = _identifiers(data, b"RGB")
    elif marks == "small identifiers":
        data = _identifiers(data, b"rgb")
    elif marks == "counted identifiers":
        data = _identifiers(data, b"\0\1\2")
    frame = wrapped(JPEGBaseline8Bit, want, data, photometric=declared).frame(1)
    assert frame.color == "RGB"
    assert frame.array.dtype == np.uint8
    assert frame.decoder.startswith("pillow ")
    assert np.abs(frame.array.astype(int) - want).max() <= 8


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (17, 31), (16, 33)])
def test_odd_sizes_and_subsampling_equal_pillows_own_rgb(wrapped, subsampling, shape, as_jpeg):
    want = RNG.integers(0, 256, (*shape, 3)).astype(np.uint8)
    data = as_jpeg(Image.fromarray(want), subsampling=subsampling)
    frame = wrapped(JPEGBaseline8Bit, want, data, photometric="YBR_FULL_422").frame(1)
    assert np.array_equal(frame.array, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


def test_our_conversion_is_libjpegs_but_for_ties(wrapped, smooth, as_jpeg):
    data = as_jpeg(Image.fromarray(smooth(64, 64)), subsampling=0)
    image = Image.open(io.BytesIO(data))
    image.draft("YCbCr", image.size)
    frame = wrapped(JPEGBaseline8Bit, smooth(64, 64), data, photometric="YBR_FULL").frame(1)
    difference = np.abs(rgb_from_ybr(np.asarray(image)).astype(int) - frame.array)
    # libjpeg's 16-bit constants put some halves on the other side.
    assert difference.max() <= 1
    assert np.count_nonzero(difference) < difference.size / 100


def test_grey_jpeg(wrapped, smooth, as_jpeg):
    want = smooth(40, 48)[..., 0]
    frame = wrapped(JPEGBaseline8Bit, want, as_jpeg(Image.fromarray(want))).frame(1)
    assert frame.color == "MONOCHROME2"
    assert np.abs(frame.array.astype(int) - want).max() <= 3


@pytest.mark.parametrize("bits", [8, 12])
def test_extended_jpeg_of_8_and_12_bits(wrapped, bits):
    y, x = np.mgrid[:32, :40]
    want = ((1 << (bits - 1)) * (1 + 0.9 * np.sin(x / 5) * np.cos(y / 7))).astype(np.uint16)
    data = jpeg_writing.sequential(want, bits)
    array = want.astype(np.uint8) if bits == 8 else want
    frame = wrapped(JPEGExtended12Bit, array, data, bits_stored=bits).frame(1)
    assert np.abs(frame.array.astype(int) - want).max() <= 1
    assert frame.decoder.startswith("pillow " if bits == 8 else "python-gdcm ")
