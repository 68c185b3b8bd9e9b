"""Compressed frames of every syntax: encoded here, decoded by medsdk, compared by arithmetic."""

import io
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import jpeg_ls
import jpeg_writing
import numpy as np
import openjpeg.utils as openjpeg
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFile
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.pixels.processing import convert_color_space

from medsdk.pixels import _decoders, _rle, open_dicom
from medsdk.pixels._codestream import JPEG_SEQUENTIAL, jpeg_2000_header, jpeg_header
from medsdk.pixels._color import rgb_from_ybr
from medsdk.pixels._decoders import DECODERS, HTJ2K, RLE
from medsdk.pixels._rle import decode_rle
from medsdk.pixels.errors import (
    DecoderMissingError,
    PixelInputRefusedError,
    PixelInputUnreadableError,
)

BASELINE, EXTENDED = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"
LOSSLESS, LOSSLESS_SV1 = "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"
LS, LS_NEAR = "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"
J2K_LOSSLESS, J2K = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"
RNG = np.random.default_rng(21)


def _smooth(rows: int, columns: int) -> NDArray[np.uint8]:
    """Colours that change slowly, so that lossy codecs stay near them."""
    y, x = np.mgrid[:rows, :columns]
    planes = [128 + 100 * np.sin(x / 11 + phase) * np.cos(y / 13) for phase in (0, 2, 4)]
    return np.stack(planes, -1).astype(np.uint8)


@pytest.fixture
def wrapped(make_dataset, as_file):
    """An object around frames: `array` gives its header, `frames` its fragments."""

    def make(
        syntax: str,
        array: NDArray[Any],
        *frames: bytes,
        photometric: str | None = None,
        bits_stored: int | None = None,
        **more: Any,
    ) -> Any:
        color = array.ndim == 3
        dataset = make_dataset(
            array,
            syntax=syntax,
            photometric="RGB" if color else "MONOCHROME2",
            bits_stored=bits_stored,
        )
        if photometric:
            dataset.PhotometricInterpretation = photometric
        if len(frames) > 1:
            dataset.NumberOfFrames = len(frames)
        dataset.PixelData = encapsulate(list(frames))
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
        for keyword, value in more.items():
            setattr(dataset, keyword, value)
        return open_dicom(as_file(dataset))

    return make


# Baseline and extended JPEG


def _jpeg(image: Image.Image, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=95, **options)
    return stream.getvalue()


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
def test_a_jpeg_comes_out_as_rgb_whatever_it_holds(wrapped, declared, holds, marks):
    want = _smooth(40, 48)
    if holds == "declared":
        holds = "RGB" if declared == "RGB" else "YBR"
    stored = want if holds == "RGB" else convert_color_space(want, "RGB", "YBR_FULL")
    # Marked as YCbCr, Pillow writes any three planes as they are.
    data = _jpeg(
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
    frame = wrapped(BASELINE, want, data, photometric=declared).frame(1)
    assert frame.color == "RGB"
    assert frame.array.dtype == np.uint8
    assert frame.decoder.startswith("pillow ")
    assert np.abs(frame.array.astype(int) - want).max() <= 8


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (17, 31), (16, 33)])
def test_odd_sizes_and_subsampling_equal_pillows_own_rgb(wrapped, subsampling, shape):
    want = RNG.integers(0, 256, (*shape, 3)).astype(np.uint8)
    data = _jpeg(Image.fromarray(want), subsampling=subsampling)
    frame = wrapped(BASELINE, want, data, photometric="YBR_FULL_422").frame(1)
    assert np.array_equal(frame.array, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


def test_our_conversion_is_libjpegs_but_for_ties(wrapped):
    data = _jpeg(Image.fromarray(_smooth(64, 64)), subsampling=0)
    image = Image.open(io.BytesIO(data))
    image.draft("YCbCr", image.size)
    frame = wrapped(BASELINE, _smooth(64, 64), data, photometric="YBR_FULL").frame(1)
    difference = np.abs(rgb_from_ybr(np.asarray(image)).astype(int) - frame.array)
    # libjpeg's 16-bit constants put some halves on the other side.
    assert difference.max() <= 1
    assert np.count_nonzero(difference) < difference.size / 100


def test_grey_jpeg(wrapped):
    want = _smooth(40, 48)[..., 0]
    frame = wrapped(BASELINE, want, _jpeg(Image.fromarray(want))).frame(1)
    assert frame.color == "MONOCHROME2"
    assert np.abs(frame.array.astype(int) - want).max() <= 3


@pytest.mark.parametrize("bits", [8, 12])
def test_extended_jpeg_of_8_and_12_bits(wrapped, bits):
    y, x = np.mgrid[:32, :40]
    want = ((1 << (bits - 1)) * (1 + 0.9 * np.sin(x / 5) * np.cos(y / 7))).astype(np.uint16)
    data = jpeg_writing.sequential(want, bits)
    array = want.astype(np.uint8) if bits == 8 else want
    frame = wrapped(EXTENDED, array, data, bits_stored=bits).frame(1)
    assert np.abs(frame.array.astype(int) - want).max() <= 1
    assert frame.decoder.startswith("pillow " if bits == 8 else "python-gdcm ")


# Lossless syntaxes


@pytest.mark.parametrize("predictor", range(1, 8))
@pytest.mark.parametrize(("bits", "dtype"), [(8, np.uint8), (12, np.uint16), (16, np.int16)])
@pytest.mark.parametrize("components", [1, 3])
def test_lossless_jpeg(wrapped, predictor, bits, dtype, components):
    if components == 3 and bits != 8:
        return
    planes = [RNG.integers(0, 1 << bits, (13, 11)).astype(np.uint16) for _ in range(components)]
    data = jpeg_writing.lossless(planes, bits, predictor)
    want = planes[0] if components == 1 else np.stack(planes, -1)
    want = want.astype(np.uint16).view(np.int16) if dtype == np.int16 else want.astype(dtype)
    syntax = LOSSLESS_SV1 if predictor == 1 else LOSSLESS
    frame = wrapped(syntax, want, data, bits_stored=bits).frame(1)
    assert np.array_equal(frame.array, want)
    assert frame.decoder.startswith("python-gdcm ")


@pytest.mark.parametrize("error", [0, 2])
@pytest.mark.parametrize("interleave", [0, 1, 2])
def test_jpeg_ls_in_colour(wrapped, error, interleave):
    want = RNG.integers(0, 256, (19, 23, 3)).astype(np.uint8)
    stored = np.moveaxis(want, 2, 0) if interleave == 0 else want
    data = bytes(jpeg_ls.encode_array(np.ascontiguousarray(stored), error, interleave))
    frame = wrapped(LS_NEAR if error else LS, want, data).frame(1)
    assert np.abs(frame.array.astype(int) - want).max() <= error
    assert frame.decoder.startswith("pyjpegls ")


@pytest.mark.parametrize(("bits", "dtype"), [(8, np.uint8), (12, np.uint16), (12, np.int16)])
def test_jpeg_ls_in_grey(wrapped, bits, dtype):
    low = -(1 << (bits - 1)) if dtype == np.int16 else 0
    want = (RNG.integers(0, 1 << bits, (19, 23)) + low).astype(dtype)
    stored = want.astype(np.int64) & ((1 << bits) - 1)
    data = jpeg_ls.encode_buffer(
        stored.astype(np.uint8 if bits == 8 else np.uint16).tobytes(), 19, 23, 1, bits
    )
    assert np.array_equal(wrapped(LS, want, bytes(data), bits_stored=bits).frame(1).array, want)


@pytest.mark.parametrize("package", ["pylibjpeg-openjpeg", "pillow"])
@pytest.mark.parametrize(
    ("photometric", "mct"),
    [("YBR_RCT", True), ("RGB", False), ("RGB", True), ("YBR_RCT", False), ("YBR_FULL", False)],
)
def test_jpeg_2000_in_colour(wrapped, monkeypatch, package, photometric, mct):
    _only(monkeypatch, package)
    pixels = RNG.integers(0, 256, (67, 71, 3)).astype(np.uint8)
    data = openjpeg.encode(pixels, 8, photometric_interpretation=1, use_mct=mct)
    frame = wrapped(J2K_LOSSLESS, pixels, data, photometric=photometric).frame(1)
    want = pixels
    if photometric == "YBR_FULL":
        want = convert_color_space(pixels, "YBR_FULL", "RGB")
    assert np.array_equal(frame.array, want)
    assert frame.decoder.startswith(package)


@pytest.mark.parametrize("package", ["pylibjpeg-openjpeg", "pillow"])
@pytest.mark.parametrize(
    ("bits", "dtype"), [(8, np.uint8), (10, np.uint16), (16, np.uint16), (12, np.int16)]
)
def test_jpeg_2000_in_grey(wrapped, monkeypatch, package, bits, dtype):
    _only(monkeypatch, package)
    low = -(1 << (bits - 1)) if dtype == np.int16 else 0
    want = (RNG.integers(0, 1 << bits, (67, 71)) + low).astype(dtype)
    data = openjpeg.encode(want, bits_stored=bits)
    image = wrapped(J2K, want, data, bits_stored=bits)
    if dtype == np.int16 and package == "pillow":  # which knows no sign
        with pytest.raises(DecoderMissingError, match="pylibjpeg-openjpeg"):
            image.frame(1)
        return
    assert np.array_equal(image.frame(1).array, want)


def test_the_two_decoders_of_lossy_jpeg_2000_agree(wrapped, monkeypatch):
    want = _smooth(64, 80)
    stream = io.BytesIO()
    Image.fromarray(want).save(
        stream, "JPEG2000", irreversible=True, mct=1, no_jp2=True, quality_layers=[8]
    )
    image = wrapped(J2K, want, stream.getvalue(), photometric="YBR_ICT")
    one = image.frame(1)
    _only(monkeypatch, "pillow")
    other = image.frame(1)
    assert one.decoder != other.decoder
    assert np.array_equal(one.array, other.array)
    assert np.abs(one.array.astype(int) - want).max() < 20


def test_a_jp2_file_in_place_of_a_codestream(wrapped):
    want = RNG.integers(0, 256, (67, 71, 3)).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(want).save(stream, "JPEG2000", mct=1)
    assert stream.getvalue()[4:8] == b"jP  "
    assert np.array_equal(wrapped(J2K_LOSSLESS, want, stream.getvalue()).frame(1).array, want)


@pytest.mark.parametrize("package", ["pylibjpeg-openjpeg", "pillow"])
@pytest.mark.parametrize("syntax", HTJ2K)
def test_htj2k(wrapped, monkeypatch, package, syntax):
    _only(monkeypatch, package)
    y, x = np.mgrid[:48, :56]
    rgb = np.stack([x * 7 + y * 3 + 7 * (x * y % 5), x * 2 + y * 5, x * y], -1).astype(np.uint8)
    grey = ((x * 523 + y * 131) % 4096).astype(np.uint16)
    for name, want in (("rgb", rgb), ("grey-8", rgb[..., 0]), ("grey-12", grey)):
        data = (Path(__file__).parent / "htj2k" / f"{name}.j2c").read_bytes()
        frame = wrapped(syntax, want, data, photometric="YBR_RCT" if name == "rgb" else None)
        assert np.array_equal(frame.frame(1).array, want)
        assert frame.frame(1).decoder.startswith(package)


@pytest.mark.parametrize("package", ["pylibjpeg-rle", "medsdk"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16])
@pytest.mark.parametrize("photometric", ["MONOCHROME2", "RGB", "YBR_FULL"])
def test_rle(make_dataset, as_file, monkeypatch, package, dtype, photometric):
    if photometric != "MONOCHROME2" and dtype != np.uint8:
        return
    _only(monkeypatch, package)
    shape = (13, 17) if photometric == "MONOCHROME2" else (13, 17, 3)
    info = np.iinfo(dtype)
    array = RNG.integers(info.min, info.max, shape, endpoint=True).astype(dtype)
    array[3:7] = array[2]  # runs too
    dataset = make_dataset(array, photometric="MONOCHROME2" if array.ndim == 2 else "RGB")
    dataset.compress(RLE, encoding_plugin="pydicom")
    dataset.PhotometricInterpretation = photometric
    dataset.PlanarConfiguration = (
        1 if array.ndim == 3 else None
    )  # RLE lies by plane whatever it says
    frame = open_dicom(as_file(dataset)).frame(1)
    want = convert_color_space(array, "YBR_FULL", "RGB") if photometric == "YBR_FULL" else array
    assert np.array_equal(frame.array, want)
    assert (frame.decoder or "").split()[0] == package


@pytest.mark.parametrize("package", ["pylibjpeg-rle", "medsdk"])
@pytest.mark.parametrize(
    "segments",
    [
        b"",
        b"\x01",
        b"\x7f" + b"a" * 127 + b"\x00",
        b"\x81a" * 4 + b"\x81a" * 60,
        b"\x80" * 90,
    ],
)
def test_broken_rle_is_unreadable(wrapped, monkeypatch, package, segments):
    _only(monkeypatch, package)
    header = struct.pack("<16I", 2, 64, 66, *[0] * 13)
    image = wrapped(RLE, np.zeros((8, 8), np.uint16), header + b"\xc1a" + segments)
    if len(segments) > 100 and package == "medsdk":  # a surplus is cut off
        assert image.frame(1).array.shape == (8, 8)
        return
    with pytest.raises(PixelInputUnreadableError, match="RLE"):
        image.frame(1)


def test_runs_of_one_byte_cannot_take_for_ever(wrapped, monkeypatch):
    """64 MiB of them took 25 seconds, as did as many that say nothing."""
    _only(monkeypatch, "medsdk")
    monkeypatch.setattr(_rle, "LARGEST_RUN_COUNT", 40)
    two_segments = struct.pack("<16I", 2, 64, 64 + 40, *[0] * 13)
    whole = wrapped(RLE, np.zeros((4, 5), np.uint16), two_segments + b"\0a" * 40).frame(1)
    assert whole.array.tolist() == [[0x6161] * 5] * 4
    for segments in (b"\0a" * 20 + b"\0a\x80" * 20, b"\0a" * 20 + b"\x80" * 40):
        image = wrapped(RLE, np.zeros((4, 5), np.uint16), two_segments + segments)
        with pytest.raises(DecoderMissingError, match="more than 40 runs") as caught:
            image.frame(1)
        assert caught.value.remedy == 'pip install "medsdk[dicom]"'


def test_packbits_as_the_standard_has_it():
    header = struct.pack("<16I", 1, 64, *[0] * 14)
    assert decode_rle(header + b"\xfea\x80\x02bcd\xffe", 8, 1) == b"aaabcdee"
    for broken in (header, header + b"\x05ab", struct.pack("<16I", 2, 64, 64, *[0] * 13) + b"\0a"):
        with pytest.raises(ValueError, match="RLE"):
            decode_rle(broken, 8, 1)


@pytest.mark.parametrize("syntax", [RLE, LOSSLESS, LS, J2K_LOSSLESS])
@pytest.mark.parametrize("dtype", [np.uint16, np.int16])
def test_unused_high_bits_say_nothing_in_a_compressed_frame(wrapped, syntax, dtype):
    words = np.array([[0x0FFF, 0x0800, 0x07FF, 0xF001]] * 64, np.uint16).repeat(16, axis=1)
    high, low = ((words >> shift).astype(np.uint8).tobytes() for shift in (8, 0))
    segment = [b"".join(bytes([0, value]) for value in plane) for plane in (high, low)]
    header = struct.pack("<16I", 2, 64, 64 + len(segment[0]), *[0] * 13)
    data = {
        RLE: header + segment[0] + segment[1],
        LOSSLESS: jpeg_writing.lossless([words], 16, 2),
        LS: bytes(jpeg_ls.encode_buffer(words.tobytes(), *words.shape, 1, 16)),
        J2K_LOSSLESS: openjpeg.encode(words, bits_stored=16),
    }[syntax]
    frame = wrapped(syntax, words.view(dtype), data, bits_stored=12).frame(1)
    want = [4095, 2048, 2047, 1] if dtype == np.uint16 else [-1, -2048, 2047, 1]
    assert frame.array.dtype == dtype
    assert frame.array[0, ::16].tolist() == want


@pytest.mark.parametrize("signed", [False, True])
def test_a_lossy_frame_that_passes_its_range_is_clipped(wrapped, signed):
    dtype = np.int16 if signed else np.uint16
    low, high = (-2048, 2047) if signed else (0, 4095)
    beyond = np.tile([low, low - signed * 400, high, high + 400], (64, 16)).astype(dtype)
    if signed:
        syntax, off = J2K, 100
        data = openjpeg.encode(beyond, bits_stored=16, compression_ratios=[2])
        assert not jpeg_2000_header(data).lossless
    else:
        syntax, off = LS_NEAR, 2
        data = bytes(jpeg_ls.encode_array(beyond, off))
    frame = wrapped(syntax, beyond, data, bits_stored=12).frame(1)
    assert np.abs(frame.array.astype(int) - np.clip(beyond, low, high)).max() <= off
    other = beyond.view(np.uint16 if signed else np.int16)
    with pytest.raises(PixelInputRefusedError, match="another sign"):
        wrapped(syntax, other, data, bits_stored=12).frame(1)


# Frames and fragments


def test_frames_with_several_fragments(make_dataset, as_file):
    arrays = RNG.integers(0, 256, (3, 19, 23)).astype(np.uint8)
    frames = [bytes(jpeg_ls.encode_array(array)) for array in arrays]
    dataset = make_dataset(arrays, syntax=LS, frames=3)
    dataset["PixelData"].VR = "OB"
    for table in (True, False):
        dataset.PixelData = encapsulate(frames, fragments_per_frame=2, has_bot=table)
        image = open_dicom(as_file(dataset))
        assert all(np.array_equal(image.frame(i + 1).array, arrays[i]) for i in range(3))
    data, offsets, lengths = encapsulate_extended(frames)
    dataset.PixelData, dataset.ExtendedOffsetTable = data, offsets
    dataset.ExtendedOffsetTableLengths = lengths
    image = open_dicom(as_file(dataset))
    assert np.array_equal(image.frame(3).array, arrays[2])
    dataset.NumberOfFrames = 4
    with pytest.raises(PixelInputUnreadableError, match="3 fragments"):
        open_dicom(as_file(dataset))


def test_the_offset_table_says_which_fragments_are_a_frame(make_dataset, as_file):
    arrays = RNG.integers(0, 256, (2, 8, 16)).astype(np.uint8)
    header = struct.pack("<16I", 1, 64, *[0] * 14)
    frames = [header + b"\x7f" + array.tobytes() for array in arrays]
    dataset = make_dataset(arrays, syntax=RLE, frames=2)
    dataset.PixelData = encapsulate(frames, fragments_per_frame=3)
    dataset["PixelData"].VR = "OB"
    image = open_dicom(as_file(dataset))
    assert all(np.array_equal(image.frame(i + 1).array, arrays[i]) for i in range(2))
    dataset.PixelData = encapsulate(frames, fragments_per_frame=3, has_bot=False)
    with pytest.raises(PixelInputUnreadableError, match="no offset table"):
        open_dicom(as_file(dataset))


def test_fragments_that_nothing_assigns_are_unreadable(make_dataset, as_file):
    dataset = make_dataset(np.zeros((2, 8, 8), np.uint8), syntax=LS, frames=2)
    for table in (False, True):
        dataset.PixelData = encapsulate([b"\1" * 40] * 3, has_bot=table)
        dataset["PixelData"].VR = "OB"
        with pytest.raises(PixelInputUnreadableError, match="no offset table"):
            open_dicom(as_file(dataset))
    dataset.PixelData = (
        encapsulate([b"\1" * 40] * 2, fragments_per_frame=2)[:8]
        + struct.pack("<2I", 0, 7)
        + encapsulate([b"\1" * 40] * 2, fragments_per_frame=2)[16:]
    )
    with pytest.raises(PixelInputUnreadableError, match="offset table"):
        open_dicom(as_file(dataset))


@pytest.mark.parametrize("syntax", [RLE, BASELINE, LS, J2K_LOSSLESS])
@pytest.mark.parametrize("table", ["basic", "extended", "none"])
@pytest.mark.parametrize("frames", [None, 1])
def test_frames_that_the_header_does_not_count_are_not_dropped(
    make_dataset, as_file, syntax, table, frames
):
    grey = RNG.integers(0, 256, (64, 64)).astype(np.uint8)
    data = {
        RLE: struct.pack("<16I", 1, 64, *[0] * 14) + b"\x81a" * 32,
        BASELINE: _jpeg(Image.fromarray(grey)),
        LS: bytes(jpeg_ls.encode_array(grey)),
    }.get(syntax, openjpeg.encode(grey, 8))
    dataset = make_dataset(grey, syntax=syntax)
    if frames:
        dataset.NumberOfFrames = frames

    def put(parts: list[bytes], **how: Any) -> Any:
        if table == "extended":
            encapsulated, offsets, lengths = encapsulate_extended(parts)
            dataset.PixelData, dataset.ExtendedOffsetTable = encapsulated, offsets
            dataset.ExtendedOffsetTableLengths = lengths
        else:
            dataset.PixelData = encapsulate(parts, has_bot=table == "basic", **how)
        dataset["PixelData"].VR = "OB"
        return as_file(dataset)

    with pytest.raises(PixelInputUnreadableError, match="2 frames in PixelData"):
        open_dicom(put([data, data]))
    if table != "extended":  # one frame in several fragments stays one
        assert open_dicom(put([data], fragments_per_frame=3)).number_of_frames == 1


# What a codestream says before a decoder sees it


@pytest.fixture
def no_decoder(monkeypatch):
    """Decoders that must not be reached."""

    calls = []

    def reached(*_: object) -> Any:
        calls.append("a decoder was called")
        return np.zeros(0, np.uint8)

    def refuse(decoder: Any) -> Any:
        return _decoders.Decoder(decoder.package, decoder.module, reached, decoder.takes)

    for syntax, decoders in DECODERS.items():
        monkeypatch.setitem(DECODERS, syntax, tuple(map(refuse, decoders)))
    yield
    assert not calls


def _patched(data: bytes, offset: int, value: bytes) -> bytes:
    return data[:offset] + value + data[offset + len(value) :]


def test_another_size_in_the_codestream_stops_before_the_decoder(wrapped, no_decoder):
    grey = np.zeros((64, 64), np.uint8)
    jpeg = _jpeg(Image.fromarray(grey))
    start = jpeg.index(b"\xff\xc0")
    ls = bytes(jpeg_ls.encode_array(grey))
    j2k = openjpeg.encode(grey, 8)
    lossless = jpeg_writing.lossless([grey.astype(np.uint16)], 8, 1)
    cases = [
        (BASELINE, _patched(jpeg, start + 5, b"\xff\xff\xff\xff")),
        (BASELINE, _patched(jpeg, start + 1, b"\xc2")),  # progressive
        (BASELINE, _patched(jpeg, start + 4, b"\x0c")),
        (BASELINE, jpeg[: start + 4]),
        (BASELINE, jpeg[:2] + jpeg[start : start + 13] + jpeg[2:]),  # two frame headers
        (LOSSLESS_SV1, _patched(lossless, lossless.index(b"\xff\xc3") + 5, b"\xff\xff")),
        (LOSSLESS_SV1, jpeg),
        (LS, _patched(ls, ls.index(b"\xff\xf7") + 5, b"\x40\x00\x40\x00")),
        (J2K, _patched(j2k, 8, struct.pack(">I", 1 << 30))),
        (J2K, _patched(j2k, 24, struct.pack(">II", 0, 1))),
        (J2K, j2k[:30]),
        (J2K, b"\0\0"),
        (LS, ls[:-2]),
        (LOSSLESS_SV1, lossless[:-2] + b"\0"),
        (EXTENDED, jpeg_writing.sequential(grey, 8)[:-3]),
        (J2K, jpeg),
    ]
    for syntax, data in cases:
        with pytest.raises(PixelInputUnreadableError):
            wrapped(syntax, grey, data).frame(1)


def test_tiles_and_packets_of_jpeg_2000_are_bounded(wrapped, no_decoder):
    grey = np.zeros((512, 512), np.uint8)
    data = openjpeg.encode(grey, 8)
    tiles = _patched(data, 24, struct.pack(">II", 4, 4))
    with pytest.raises(PixelInputUnreadableError, match="16384 tiles"):
        wrapped(J2K, grey, tiles).frame(1)
    cod = data.index(b"\xff\x52")
    layers = _patched(data, cod + 6, b"\xff\xff")
    many = _patched(layers, 24, struct.pack(">II", 64, 64))
    with pytest.raises(PixelInputUnreadableError, match="packets"):
        wrapped(J2K, grey, many).frame(1)
    data = openjpeg.encode(np.zeros((1024, 1024), np.uint8), 8)
    cod = data.index(b"\xff\x52")
    levels = data[cod + 9]
    length = int.from_bytes(data[cod + 2 : cod + 4], "big")
    main = data[cod : cod + 2 + length]
    tiny = (  # COD with precincts of 2 x 2 samples
        main[:2]
        + struct.pack(">HB", length + levels + 1, main[4] | 1)
        + main[5:]
        + b"\x11" * (levels + 1)
    )
    component = b"\xff\x53" + struct.pack(">HBB", 9 + levels + 1, 0, 1) + tiny[9:]
    sot, sod = data.index(b"\xff\x90"), data.index(b"\xff\x93")
    for segment in (tiny, component):
        longer = struct.pack(">I", int.from_bytes(data[sot + 6 : sot + 10], "big") + len(segment))
        in_tile = _patched(data, sot + 6, longer)
        for broken in (
            data[: cod + 2 + length] + segment + data[cod + 2 + length :],
            in_tile[:sod] + segment + in_tile[sod:],
        ):
            with pytest.raises(PixelInputUnreadableError, match="precincts"):
                wrapped(J2K, np.zeros((1024, 1024), np.uint8), broken).frame(1)


def test_the_last_tile_of_jpeg_2000_is_walked_too(wrapped, no_decoder):
    grey = np.zeros((1024, 1024), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(grey).save(stream, "JPEG2000", no_jp2=True, tile_size=(512, 512))
    data = stream.getvalue()
    sot = data.rindex(b"\xff\x90\x00\x0a")
    sod = data.index(b"\xff\x93", sot)
    cod = data.index(b"\xff\x52")
    main = data[cod : cod + 2 + int.from_bytes(data[cod + 2 : cod + 4], "big")]
    tiny = main[:2] + struct.pack(">HB", len(main) + main[9] - 1, 1) + main[5:]
    tiny += b"\x11" * (main[9] + 1)
    longer = struct.pack(">I", int.from_bytes(data[sot + 6 : sot + 10], "big") + len(tiny))
    broken = _patched(data, sot + 6, longer)
    with pytest.raises(PixelInputUnreadableError, match="precincts"):
        wrapped(J2K, grey, broken[:sod] + tiny + broken[sod:]).frame(1)


def test_code_blocks_of_jpeg_2000_are_bounded(wrapped, no_decoder):
    color = np.zeros((2048, 2048, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(color).save(stream, "JPEG2000", no_jp2=True)
    data = stream.getvalue()
    small = _patched(data, data.index(b"\xff\x52") + 10, b"\0\0")  # 4 x 4
    with pytest.raises(PixelInputUnreadableError, match="code-blocks"):
        wrapped(J2K, color, small).frame(1)


def test_headers_of_common_codestreams():
    grey = np.zeros((64, 80), np.uint8)
    header = jpeg_header(_jpeg(Image.fromarray(_smooth(24, 40)), subsampling=2), JPEG_SEQUENTIAL)
    assert (header.rows, header.columns, header.components, header.bits) == (24, 40, 3, 8)
    assert header.subsampled
    assert header.says == "YBR"
    stream = jpeg_2000_header(openjpeg.encode(grey.astype(np.int16) - 5, bits_stored=12))
    assert (stream.rows, stream.columns, stream.bits, stream.signed) == (64, 80, 12, True)


def test_subsampled_lossless_colour_is_refused(wrapped, no_decoder):
    planes = [np.zeros((8, 8), np.uint16)] * 3
    data = jpeg_writing.lossless(planes, 8, 1)
    data = _patched(data, data.index(b"\xff\xc3") + 11, b"\x22")
    with pytest.raises(PixelInputRefusedError, match="subsampled"):
        wrapped(LOSSLESS_SV1, np.zeros((8, 8, 3), np.uint8), data).frame(1)


@pytest.mark.parametrize("syntax", [BASELINE, LOSSLESS_SV1, LS, J2K, RLE])
def test_damage_inside_a_frame_is_an_error_or_a_frame(wrapped, syntax):
    grey = RNG.integers(0, 256, (64, 64)).astype(np.uint8)
    good = {
        BASELINE: _jpeg(Image.fromarray(grey)),
        LOSSLESS_SV1: jpeg_writing.lossless([grey.astype(np.uint16)], 8, 1),
        LS: bytes(jpeg_ls.encode_array(grey)),
        J2K: openjpeg.encode(grey, 8),
        RLE: struct.pack("<16I", 1, 64, *[0] * 14)
        + b"".join(b"\x3f" + row.tobytes() for row in grey),
    }[syntax]
    assert np.abs(wrapped(syntax, grey, good).frame(1).array.astype(int) - grey).mean() < 20
    for _ in range(60):
        data = bytearray(good[: int(RNG.integers(1, len(good) + 1))])
        for position in RNG.integers(0, len(data), RNG.integers(0, 4)):
            data[position] = RNG.integers(0, 256)
        try:
            frame = wrapped(syntax, grey, bytes(data)).frame(1)
        except (PixelInputUnreadableError, PixelInputRefusedError):
            continue
        assert frame.array.shape == grey.shape


@pytest.mark.parametrize("syntax", [BASELINE, EXTENDED, J2K])
def test_half_a_frame_is_none_whatever_pillow_is_set_to(wrapped, monkeypatch, syntax):
    _only(monkeypatch, "pillow")
    grey = RNG.integers(0, 256, (64, 64)).astype(np.uint8)
    jpeg = _jpeg(Image.fromarray(grey))
    data = {BASELINE: jpeg, EXTENDED: jpeg}.get(syntax, openjpeg.encode(grey, 8))
    for half in (data[: len(data) // 2], data[:-2], data[:-1]):
        with pytest.raises(PixelInputUnreadableError):
            wrapped(syntax, grey, half).frame(1)
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises((PixelInputUnreadableError, DecoderMissingError)):
        wrapped(syntax, grey, data[: len(data) // 2]).frame(1)
    with pytest.raises(DecoderMissingError, match="LOAD_TRUNCATED_IMAGES") as caught:
        wrapped(syntax, grey, data).frame(1)
    assert caught.value.exit_status == 3


def test_a_baseline_frame_without_its_end_stops_before_the_decoder(wrapped, no_decoder):
    grey = RNG.integers(0, 256, (64, 64)).astype(np.uint8)
    data = _jpeg(Image.fromarray(grey))
    for half in (data[: len(data) // 2], data[:-2], data[:-2] + b"\xff\xdb\0\2"):
        with pytest.raises(PixelInputUnreadableError):
            wrapped(BASELINE, grey, half).frame(1)


# Which decoder


def _only(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    real = _decoders._installed
    monkeypatch.setattr(
        _decoders,
        "_installed",
        lambda package, module: real(package, module) if package in packages else None,
    )


@pytest.mark.parametrize(
    ("syntax", "name", "package"),
    [
        (EXTENDED, "JPEG Extended", "python-gdcm"),
        (LOSSLESS, "JPEG Lossless", "python-gdcm"),
        (LOSSLESS_SV1, "JPEG Lossless", "python-gdcm"),
        (LS, "JPEG-LS Lossless", "pyjpegls"),
        (LS_NEAR, "JPEG-LS Lossy", "pyjpegls"),
        (J2K, "JPEG 2000", "pylibjpeg-openjpeg or pillow"),
        (HTJ2K[0], "High-Throughput", "pylibjpeg-openjpeg or pillow"),
    ],
)
def test_a_missing_decoder_is_named(wrapped, monkeypatch, syntax, name, package):
    grey = np.zeros((64, 64), np.uint16)
    data = {
        EXTENDED: jpeg_writing.sequential(grey, 12),
        LOSSLESS: jpeg_writing.lossless([grey], 12, 2),
        LOSSLESS_SV1: jpeg_writing.lossless([grey], 12, 1),
        LS: bytes(jpeg_ls.encode_array(grey + 1)),
        LS_NEAR: bytes(jpeg_ls.encode_array(grey + 1)),
    }.get(syntax, openjpeg.encode(grey, 12))
    image = wrapped(syntax, grey, data)
    _only(monkeypatch)
    with pytest.raises(DecoderMissingError) as caught:
        image.frame(1)
    error = caught.value
    assert (error.exit_status, error.code) == (3, "decoder-missing")
    assert name in error.got
    assert error.expected == package
    assert error.remedy == 'pip install "medsdk[dicom]"'


@pytest.mark.parametrize("error", [ValueError, ImportError, OSError, AttributeError])
def test_a_decoder_that_does_not_load_is_named(wrapped, monkeypatch, error):
    def broken(module: str) -> Any:
        raise error("numpy.dtype size changed in /home/somebody")

    grey = np.zeros((64, 64), np.uint8)
    image = wrapped(J2K, grey, openjpeg.encode(grey, 8))
    _decoders._installed.cache_clear()
    monkeypatch.setattr(_decoders, "import_module", broken)
    with pytest.raises(DecoderMissingError, match="does not load") as caught:
        image.frame(1)
    assert caught.value.exit_status == 3
    assert caught.value.got.startswith("pylibjpeg-openjpeg ")
    assert error.__name__ in caught.value.got
    assert "somebody" not in str(caught.value)
    monkeypatch.undo()
    assert image.frame(1).decoder.startswith("pylibjpeg-openjpeg ")  # it is asked again


FAKE = """
import sys
sys.stderr.write("libjpeg was imported\\n")
def decode_pixel_data(*arguments, **options):
    print("LIBJPEG WAS CALLED")
    return bytearray(128)
"""


def test_pylibjpeg_libjpeg_is_never_called(wrapped, tmp_path, make_dataset, as_file):
    """A fake of it, declared as pylibjpeg's plug-in for every JPEG syntax, and no GDCM."""
    (tmp_path / "libjpeg").mkdir()
    (tmp_path / "libjpeg" / "__init__.py").write_text(FAKE + "__version__ = '2.3.0'\n")
    meta = tmp_path / "pylibjpeg_libjpeg-2.3.0.dist-info"
    meta.mkdir()
    (meta / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: pylibjpeg-libjpeg\nVersion: 2.3.0\n"
    )
    points = "".join(f"{uid} = libjpeg:decode_pixel_data\n" for uid in (BASELINE, LOSSLESS, LS))
    (meta / "entry_points.txt").write_text(f"[pylibjpeg.pixel_data_decoders]\n{points}")
    grey = np.zeros((8, 8), np.uint16)
    for syntax, data in (
        (LOSSLESS, jpeg_writing.lossless([grey], 12, 2)),
        (LS, bytes(jpeg_ls.encode_array(grey + 1))),
        (BASELINE, jpeg_writing.sequential(grey, 8, 0xC0)),
    ):
        dataset = make_dataset(grey.astype(np.uint8) if syntax == BASELINE else grey, syntax=syntax)
        dataset.PixelData = encapsulate([data])
        dataset["PixelData"].VR = "OB"
        (tmp_path / f"{syntax}.dcm").write_bytes(as_file(dataset))
    script = f"""
import sys
sys.modules["gdcm"] = sys.modules["jpeg_ls"] = None
from pathlib import Path
from medsdk.pixels import open_dicom
from medsdk_runtimes.errors import MedsdkError
from pylibjpeg.utils import get_pixel_data_decoders
assert "{LOSSLESS}" in get_pixel_data_decoders(version=2), "the fake is not found"
for path in sorted(Path(sys.argv[1]).glob("*.dcm")):
    try:
        print(open_dicom(path).frame(1).decoder)
    except MedsdkError as error:
        print(error.code)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.split("\n")
    assert "LIBJPEG WAS CALLED" not in lines, done.stderr
    assert lines[0].startswith("pillow "), done.stderr
    assert lines[1:3] == ["decoder-missing"] * 2


@pytest.mark.parametrize("suffix", ["100", "101", "102", "103.1", "104", "106", "107", "108"])
def test_video_is_refused_with_the_reason(wrapped, suffix):
    with pytest.raises(PixelInputRefusedError, match="video") as caught:
        wrapped(f"1.2.840.10008.1.2.4.{suffix}", np.zeros((8, 8), np.uint8), b"\0" * 40)
    assert "JPEG" in caught.value.remedy
    assert any(word in caught.value.got for word in ("MPEG", "HEVC"))


@pytest.mark.parametrize(
    ("syntax", "photometric", "words"),
    [
        (RLE, "YBR_RCT", "outside JPEG 2000"),
        (LS, "YBR_ICT", "outside JPEG 2000"),
        ("little", "YBR_RCT", "outside JPEG 2000"),
    ],
)
def test_colours_that_a_syntax_cannot_have_are_refused(wrapped, syntax, photometric, words):
    with pytest.raises(PixelInputRefusedError, match=words):
        wrapped(syntax, np.zeros((8, 8, 3), np.uint8), b"\0" * 40, photometric=photometric)


def test_a_palette_in_lossy_jpeg_is_refused(make_dataset, as_file):
    for syntax in (BASELINE, EXTENDED, J2K, HTJ2K[2]):
        dataset = make_dataset(np.zeros((8, 8), np.uint8), syntax=syntax)
        dataset.PhotometricInterpretation = "PALETTE COLOR"
        dataset.PixelData = encapsulate([b"\0" * 40])
        dataset["PixelData"].VR = "OB"
        with pytest.raises(PixelInputRefusedError, match="lossy"):
            open_dicom(as_file(dataset))


def test_a_palette_is_refused_where_the_codestream_is_lossy(wrapped):
    indices = RNG.integers(0, 256, (64, 64)).astype(np.uint8)
    palette: dict[str, Any] = {"photometric": "PALETTE COLOR"}
    for color in ("Red", "Green", "Blue"):
        palette[f"{color}PaletteColorLookupTableDescriptor"] = [256, 0, 8]
        palette[f"{color}PaletteColorLookupTableData"] = bytes(reversed(range(256)))
    for near in (0, 1):
        image = wrapped(LS_NEAR, indices, bytes(jpeg_ls.encode_array(indices, near)), **palette)
        if near:
            with pytest.raises(PixelInputRefusedError, match="lossy"):
                image.frame(1)
        else:
            assert np.array_equal(image.frame(1).array[..., 0], 255 - indices)
    for irreversible in (False, True):
        stream = io.BytesIO()
        Image.fromarray(indices).save(stream, "JPEG2000", irreversible=irreversible, no_jp2=True)
        image = wrapped(J2K_LOSSLESS, indices, stream.getvalue(), **palette)
        if irreversible:
            with pytest.raises(PixelInputRefusedError, match="lossy"):
                image.frame(1)
        else:
            assert np.array_equal(image.frame(1).array[..., 0], 255 - indices)
