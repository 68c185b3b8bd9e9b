"""What a codestream says before a decoder sees it."""

import io
import struct
from typing import Any

import jpeg_ls
import jpeg_writing
import numpy as np
import openjpeg.utils as openjpeg
import pytest
from PIL import Image, ImageFile
from pydicom.uid import (
    JPEG2000,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
)

from medsdk.pixels import _decoders
from medsdk.pixels._codestream import JPEG_SEQUENTIAL, jpeg_2000_header, jpeg_header
from medsdk.pixels._decoders import DECODERS, RLE
from medsdk.pixels.errors import (
    DecoderMissingError,
    PixelInputRefusedError,
    PixelInputUnreadableError,
)

RNG = np.random.default_rng(21)


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


def test_another_size_in_the_codestream_stops_before_the_decoder(wrapped, no_decoder, as_jpeg):
    grey = np.zeros((64, 64), np.uint8)
    jpeg = as_jpeg(Image.fromarray(grey))
    start = jpeg.index(b"\xff\xc0")
    ls = bytes(jpeg_ls.encode_array(grey))
    j2k = openjpeg.encode(grey, 8)
    lossless = jpeg_writing.lossless([grey.astype(np.uint16)], 8, 1)
    cases = [
        (JPEGBaseline8Bit, _patched(jpeg, start + 5, b"\xff\xff\xff\xff")),
        (JPEGBaseline8Bit, _patched(jpeg, start + 1, b"\xc2")),  # progressive
        (JPEGBaseline8Bit, _patched(jpeg, start + 4, b"\x0c")),
        (JPEGBaseline8Bit, jpeg[: start + 4]),
        (JPEGBaseline8Bit, jpeg[:2] + jpeg[start : start + 13] + jpeg[2:]),  # two frame headers
        (JPEGLosslessSV1, _patched(lossless, lossless.index(b"\xff\xc3") + 5, b"\xff\xff")),
        (JPEGLosslessSV1, jpeg),
        (JPEGLSLossless, _patched(ls, ls.index(b"\xff\xf7") + 5, b"\x40\x00\x40\x00")),
        (JPEG2000, _patched(j2k, 8, struct.pack(">I", 1 << 30))),
        (JPEG2000, _patched(j2k, 24, struct.pack(">II", 0, 1))),
        (JPEG2000, j2k[:30]),
        (JPEG2000, b"\0\0"),
        (JPEGLSLossless, ls[:-2]),
        (JPEGLosslessSV1, lossless[:-2] + b"\0"),
        (JPEGExtended12Bit, jpeg_writing.sequential(grey, 8)[:-3]),
        (JPEG2000, jpeg),
    ]
    for syntax, data in cases:
        with pytest.raises(PixelInputUnreadableError):
            wrapped(syntax, grey, data).frame(1)


def test_tiles_and_packets_of_jpeg_2000_are_bounded(wrapped, no_decoder):
    grey = np.zeros((512, 512), np.uint8)
    data = openjpeg.encode(grey, 8)
    tiles = _patched(data, 24, struct.pack(">II", 4, 4))
    with pytest.raises(PixelInputUnreadableError, match="16384 tiles"):
        wrapped(JPEG2000, grey, tiles).frame(1)
    cod = data.index(b"\xff\x52")
    layers = _patched(data, cod + 6, b"\xff\xff")
    many = _patched(layers, 24, struct.pack(">II", 64, 64))
    with pytest.raises(PixelInputUnreadableError, match="packets"):
        wrapped(JPEG2000, grey, many).frame(1)
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
                wrapped(JPEG2000, np.zeros((1024, 1024), np.uint8), broken).frame(1)


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
        wrapped(JPEG2000, grey, broken[:sod] + tiny + broken[sod:]).frame(1)


def test_code_blocks_of_jpeg_2000_are_bounded(wrapped, no_decoder):
    color = np.zeros((2048, 2048, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(color).save(stream, "JPEG2000", no_jp2=True)
    data = stream.getvalue()
    small = _patched(data, data.index(b"\xff\x52") + 10, b"\0\0")  # 4 x 4
    with pytest.raises(PixelInputUnreadableError, match="code-blocks"):
        wrapped(JPEG2000, color, small).frame(1)


def test_headers_of_common_codestreams(smooth, as_jpeg):
    grey = np.zeros((64, 80), np.uint8)
    header = jpeg_header(as_jpeg(Image.fromarray(smooth(24, 40)), subsampling=2), JPEG_SEQUENTIAL)
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
        wrapped(JPEGLosslessSV1, np.zeros((8, 8, 3), np.uint8), data).frame(1)


@pytest.mark.parametrize(
    "syntax", [JPEGBaseline8Bit, JPEGLosslessSV1, JPEGLSLossless, JPEG2000, RLE]
)
def test_damage_inside_a_frame_is_an_error_or_a_frame(wrapped, syntax, as_jpeg):
    grey = RNG.integers(0, 256, (64, 64)).astype(np.uint8)
    good = {
        JPEGBaseline8Bit: as_jpeg(Image.fromarray(grey)),
        JPEGLosslessSV1: jpeg_writing.lossless([grey.astype(np.uint16)], 8, 1),
        JPEGLSLossless: bytes(jpeg_ls.encode_array(grey)),
        JPEG2000: openjpeg.encode(grey, 8),
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


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEGExtended12Bit, JPEG2000])
def test_half_a_frame_is_none_whatever_pillow_is_set_to(
    wrapped, monkeypatch, syntax, as_jpeg, only
):
    only("pillow")
    grey = RNG.integers(0, 256, (64, 64)).astype(np.uint8)
    jpeg = as_jpeg(Image.fromarray(grey))
    data = {JPEGBaseline8Bit: jpeg, JPEGExtended12Bit: jpeg}.get(syntax, openjpeg.encode(grey, 8))
    for half in (data[: len(data) // 2], data[:-2], data[:-1]):
        with pytest.raises(PixelInputUnreadableError):
            wrapped(syntax, grey, half).frame(1)
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises((PixelInputUnreadableError, DecoderMissingError)):
        wrapped(syntax, grey, data[: len(data) // 2]).frame(1)
    with pytest.raises(DecoderMissingError, match="LOAD_TRUNCATED_IMAGES") as caught:
        wrapped(syntax, grey, data).frame(1)
    assert caught.value.exit_status == 3


def test_a_baseline_frame_without_its_end_stops_before_the_decoder(wrapped, no_decoder, as_jpeg):
    grey = RNG.integers(0, 256, (64, 64)).astype(np.uint8)
    data = as_jpeg(Image.fromarray(grey))
    for half in (data[: len(data) // 2], data[:-2], data[:-2] + b"\xff\xdb\0\2"):
        with pytest.raises(PixelInputUnreadableError):
            wrapped(JPEGBaseline8Bit, grey, half).frame(1)
