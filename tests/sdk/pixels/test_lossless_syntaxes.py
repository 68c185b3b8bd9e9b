"""JPEG lossless, JPEG-LS, JPEG 2000 and RLE: encoded here, decoded by medsdk, compared."""

import io
import struct
from pathlib import Path

import jpeg_ls
import jpeg_writing
import numpy as np
import openjpeg.utils as openjpeg
import pytest
from PIL import Image
from pydicom.pixels.processing import convert_color_space
from pydicom.uid import (
    JPEG2000,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
)

from medsdk.pixels import _rle, open_dicom
from medsdk.pixels._codestream import jpeg_2000_header
from medsdk.pixels._decoders import HTJ2K, RLE
from medsdk.pixels._rle import decode_rle
from medsdk.pixels.errors import (
    DecoderMissingError,
    PixelInputRefusedError,
    PixelInputUnreadableError,
)

RNG = np.random.default_rng(21)


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
    syntax = JPEGLosslessSV1 if predictor == 1 else JPEGLossless
    frame = wrapped(syntax, want, data, bits_stored=bits).frame(1)
    assert np.array_equal(frame.array, want)
    assert frame.decoder.startswith("python-gdcm ")


@pytest.mark.parametrize("error", [0, 2])
@pytest.mark.parametrize("interleave", [0, 1, 2])
def test_jpeg_ls_in_colour(wrapped, error, interleave):
    want = RNG.integers(0, 256, (19, 23, 3)).astype(np.uint8)
    stored = np.moveaxis(want, 2, 0) if interleave == 0 else want
    data = bytes(jpeg_ls.encode_array(np.ascontiguousarray(stored), error, interleave))
    frame = wrapped(JPEGLSNearLossless if error else JPEGLSLossless, want, data).frame(1)
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
    assert np.array_equal(
        wrapped(JPEGLSLossless, want, bytes(data), bits_stored=bits).frame(1).array, want
    )


@pytest.mark.parametrize("package", ["pylibjpeg-openjpeg", "pillow"])
@pytest.mark.parametrize(
    ("photometric", "mct"),
    [("YBR_RCT", True), ("RGB", False), ("RGB", True), ("YBR_RCT", False), ("YBR_FULL", False)],
)
def test_jpeg_2000_in_colour(wrapped, package, photometric, mct, only):
    only(package)
    pixels = RNG.integers(0, 256, (67, 71, 3)).astype(np.uint8)
    data = openjpeg.encode(pixels, 8, photometric_interpretation=1, use_mct=mct)
    frame = wrapped(JPEG2000Lossless, pixels, data, photometric=photometric).frame(1)
    want = pixels
    if photometric == "YBR_FULL":
        want = convert_color_space(pixels, "YBR_FULL", "RGB")
    assert np.array_equal(frame.array, want)
    assert frame.decoder.startswith(package)


@pytest.mark.parametrize("package", ["pylibjpeg-openjpeg", "pillow"])
@pytest.mark.parametrize(
    ("bits", "dtype"), [(8, np.uint8), (10, np.uint16), (16, np.uint16), (12, np.int16)]
)
def test_jpeg_2000_in_grey(wrapped, package, bits, dtype, only):
    only(package)
    low = -(1 << (bits - 1)) if dtype == np.int16 else 0
    want = (RNG.integers(0, 1 << bits, (67, 71)) + low).astype(dtype)
    data = openjpeg.encode(want, bits_stored=bits)
    image = wrapped(JPEG2000, want, data, bits_stored=bits)
    if dtype == np.int16 and package == "pillow":  # which knows no sign
        with pytest.raises(DecoderMissingError, match="pylibjpeg-openjpeg"):
            image.frame(1)
        return
    assert np.array_equal(image.frame(1).array, want)


def test_the_two_decoders_of_lossy_jpeg_2000_agree(wrapped, smooth, only):
    want = smooth(64, 80)
    stream = io.BytesIO()
    Image.fromarray(want).save(
        stream, "JPEG2000", irreversible=True, mct=1, no_jp2=True, quality_layers=[8]
    )
    image = wrapped(JPEG2000, want, stream.getvalue(), photometric="YBR_ICT")
    one = image.frame(1)
    only("pillow")
    other = image.frame(1)
    assert one.decoder != other.decoder
    assert np.array_equal(one.array, other.array)
    assert np.abs(one.array.astype(int) - want).max() < 20


def test_a_jp2_file_in_place_of_a_codestream(wrapped):
    want = RNG.integers(0, 256, (67, 71, 3)).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(want).save(stream, "JPEG2000", mct=1)
    assert stream.getvalue()[4:8] == b"jP  "
    assert np.array_equal(wrapped(JPEG2000Lossless, want, stream.getvalue()).frame(1).array, want)


@pytest.mark.parametrize("package", ["pylibjpeg-openjpeg", "pillow"])
@pytest.mark.parametrize("syntax", HTJ2K)
def test_htj2k(wrapped, package, syntax, only):
    only(package)
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
def test_rle(make_dataset, as_file, package, dtype, photometric, only):
    if photometric != "MONOCHROME2" and dtype != np.uint8:
        return
    only(package)
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
def test_broken_rle_is_unreadable(wrapped, package, segments, only):
    only(package)
    header = struct.pack("<16I", 2, 64, 66, *[0] * 13)
    image = wrapped(RLE, np.zeros((8, 8), np.uint16), header + b"\xc1a" + segments)
    if len(segments) > 100 and package == "medsdk":  # a surplus is cut off
        assert image.frame(1).array.shape == (8, 8)
        return
    with pytest.raises(PixelInputUnreadableError, match="RLE"):
        image.frame(1)


def test_runs_of_one_byte_cannot_take_for_ever(wrapped, monkeypatch, only):
    """64 MiB of them took 25 seconds, as did as many that say nothing."""
    only("medsdk")
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


@pytest.mark.parametrize("syntax", [RLE, JPEGLossless, JPEGLSLossless, JPEG2000Lossless])
@pytest.mark.parametrize("dtype", [np.uint16, np.int16])
def test_unused_high_bits_say_nothing_in_a_compressed_frame(wrapped, syntax, dtype):
    words = np.array([[0x0FFF, 0x0800, 0x07FF, 0xF001]] * 64, np.uint16).repeat(16, axis=1)
    high, low = ((words >> shift).astype(np.uint8).tobytes() for shift in (8, 0))
    segment = [b"".join(bytes([0, value]) for value in plane) for plane in (high, low)]
    header = struct.pack("<16I", 2, 64, 64 + len(segment[0]), *[0] * 13)
    data = {
        RLE: header + segment[0] + segment[1],
        JPEGLossless: jpeg_writing.lossless([words], 16, 2),
        JPEGLSLossless: bytes(jpeg_ls.encode_buffer(words.tobytes(), *words.shape, 1, 16)),
        JPEG2000Lossless: openjpeg.encode(words, bits_stored=16),
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
        syntax, off = JPEG2000, 100
        data = openjpeg.encode(beyond, bits_stored=16, compression_ratios=[2])
        assert not jpeg_2000_header(data).lossless
    else:
        syntax, off = JPEGLSNearLossless, 2
        data = bytes(jpeg_ls.encode_array(beyond, off))
    frame = wrapped(syntax, beyond, data, bits_stored=12).frame(1)
    assert np.abs(frame.array.astype(int) - np.clip(beyond, low, high)).max() <= off
    other = beyond.view(np.uint16 if signed else np.int16)
    with pytest.raises(PixelInputRefusedError, match="another sign"):
        wrapped(syntax, other, data, bits_stored=12).frame(1)
