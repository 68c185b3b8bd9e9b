"""One frame of a DICOM object's pixel data, decoded: grey as stored, colour as RGB."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medsdk.pixels._codestream import (
    JPEG_LOSSLESS,
    JPEG_LS,
    JPEG_SEQUENTIAL,
    Codestream,
    check_scans,
    jpeg_2000_header,
    jpeg_header,
)
from medsdk.pixels._color import rgb_from_ybr, ybr_from_422
from medsdk.pixels._decoders import (
    DECODERS,
    HTJ2K,
    JPEG_2000,
    JPEG_2000_LOSSLESS,
    JPEG_BASELINE,
    JPEG_EXTENDED,
    JPEG_LOSSLESS_FIRST_ORDER,
    JPEG_LS_LOSSLESS,
    JPEG_LS_NEAR_LOSSLESS,
    RLE,
    Decoder,
)
from medsdk.pixels._decoders import JPEG_LOSSLESS as JPEG_LOSSLESS_ANY
from medsdk.pixels._dicom_header import PixelHeader
from medsdk.pixels._palette import Palette
from medsdk.pixels._quiet import reading
from medsdk.pixels.errors import (
    DecoderMissingError,
    PixelInputRefusedError,
    PixelInputUnreadableError,
)

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
UNCOMPRESSED = (IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG, DEFLATED)

_VIDEO = "1.2.840.10008.1.2.4.10"
"""MPEG-2, MPEG-4 AVC / H.264 and HEVC / H.265 are .100 to .108, fragmentable ones .100.1 on."""

_SOF = {
    JPEG_BASELINE: JPEG_SEQUENTIAL,
    JPEG_EXTENDED: JPEG_SEQUENTIAL,
    JPEG_LOSSLESS_ANY: JPEG_LOSSLESS,
    JPEG_LOSSLESS_FIRST_ORDER: JPEG_LOSSLESS,
    JPEG_LS_LOSSLESS: JPEG_LS,
    JPEG_LS_NEAR_LOSSLESS: JPEG_LS,
}
_JPEG_2000 = (JPEG_2000_LOSSLESS, JPEG_2000, *HTJ2K)
_LOSSY_JPEG = (JPEG_BASELINE, JPEG_EXTENDED)
_NO_PALETTE = (*_LOSSY_JPEG, JPEG_2000, HTJ2K[-1])
"""May be lossy and need not say so: JPEG 2000 with the reversible transform can be cut short."""


def syntax_name(uid: str) -> str:
    """A transfer syntax's name as DICOM defines it; no other value is repeated."""
    from pydicom.uid import UID

    with reading("TransferSyntaxUID"):
        known = UID(uid)
        return str(known.name) if known.is_transfer_syntax and not known.is_private else ""


def check_syntax(uid: str) -> None:
    """Refuse transfer syntaxes that this release does not read.

    Raises:
        PixelInputRefusedError: It is one of them.
    """
    if uid in UNCOMPRESSED or uid in DECODERS:
        return
    name = syntax_name(uid)
    if name and uid.startswith(_VIDEO):
        raise PixelInputRefusedError.video(name)
    raise PixelInputRefusedError.not_offered(
        "that transfer syntax",
        name or "a private or unknown transfer syntax",
        "uncompressed and deflated syntaxes, RLE, JPEG, JPEG-LS, JPEG 2000 or HTJ2K",
        "convert the object to Explicit VR Little Endian",
    )


def check_pixel_bytes(header: PixelHeader, uid: str, length: int) -> None:
    """Compare the header with the pixel data, before anything of that size is allocated.

    Args:
        header: The header.
        uid: Transfer syntax.
        length: Bytes of PixelData.

    Raises:
        PixelInputUnreadableError: They do not fit. Less than one frame of surplus is padding.
        PixelInputRefusedError: A photometric interpretation that the syntax cannot have.
    """
    if header.photometric in ("YBR_ICT", "YBR_RCT") and uid not in _JPEG_2000:
        raise PixelInputRefusedError.not_offered(
            f"{header.photometric} outside JPEG 2000", syntax_name(uid), "JPEG 2000"
        )
    if uid in UNCOMPRESSED:
        if header.photometric == "YBR_FULL_422" and header.columns % 2:
            raise PixelInputRefusedError.not_offered(
                "uncompressed YBR_FULL_422 with an odd number of columns",
                f"{header.columns} columns, whose last pixel has no pair",
                "an even number of columns",
                "export the object as RGB or YBR_FULL",
            )
        expected = header.native_bytes * header.number_of_frames
        surplus = length - expected
        if surplus < 0 or surplus >= max(header.native_bytes, 2):
            raise PixelInputUnreadableError.sizes(
                f"{length} bytes in PixelData",
                f"{expected} bytes: {header.number_of_frames} x {header.rows} x "
                f"{header.columns} pixels of {header.photometric}, {header.bits_allocated} bits",
            )
        return
    if header.photometric == "PALETTE COLOR" and uid in _NO_PALETTE:
        raise _lossy_palette(uid)
    # Two bytes of RLE can unfold to 128: more input than pixels is an attack or damage.
    if uid == RLE and length > 2 * header.all_bytes + 256 * header.number_of_frames + 4096:
        raise PixelInputUnreadableError.sizes(
            f"{length} bytes of RLE in PixelData", f"pixels of {header.all_bytes} bytes"
        )


def _lossy_palette(uid: str) -> PixelInputRefusedError:
    """Indices that are off by one are other colours altogether."""
    return PixelInputRefusedError.not_offered(
        "PALETTE COLOR in a lossy coding", syntax_name(uid), "a lossless syntax"
    )


def native_frame(
    data: bytes, header: PixelHeader, index: int, *, little: bool, words: bool
) -> NDArray[np.generic]:
    """Frame `index` (0-based) of uncompressed pixel data, whose size has been checked.

    Args:
        data: PixelData.
        header: Its header.
        index: Which frame.
        little: Byte order.
        words: The value representation is OW: in big endian, 8-bit pixels then lie swapped in
            pairs (PS3.5 8.2 and 7.3).

    Returns:
        Stored samples in this machine's byte order, rows x columns (x 3), a new array. Bits
        above BitsStored are ignored; signed values keep their sign. YBR_FULL_422 comes as
        YBR_FULL.
    """
    size = header.native_bytes
    start = index * size
    if header.bits_allocated == 8 and words and not little:
        begin, end = start & ~1, start + size + 1 & ~1
        pairs = np.frombuffer(data[begin:end].ljust(end - begin, b"\0"), np.uint16).byteswap()
        flat = pairs.view(np.uint8)[start - begin :][:size].view(header.dtype)
    else:
        stored = header.dtype.newbyteorder("<" if little else ">")
        flat = np.frombuffer(data, stored, size // stored.itemsize, start).astype(header.dtype)
    flat = _of_bits(flat, header, header.bits_stored)
    if header.samples == 1:
        return flat.reshape(header.rows, header.columns)
    if header.photometric == "YBR_FULL_422":
        return ybr_from_422(flat.astype(np.uint8, copy=False), header.rows, header.columns)
    if header.planar:
        planes = flat.reshape(3, header.rows, header.columns)
        return np.ascontiguousarray(np.moveaxis(planes, 0, 2))
    return flat.reshape(header.rows, header.columns, 3)


def compressed_frame(
    data: bytes, header: PixelHeader, uid: str
) -> tuple[NDArray[np.generic], str, bool]:
    """Decode one compressed frame.

    Args:
        data: The frame's own bytes.
        header: The object's header.
        uid: Transfer syntax.

    Returns:
        Samples with the header's dtype, rows x columns (x 3); the decoder with its version;
        and whether colour samples are YBR, not RGB.

    Raises:
        DecoderMissingError: No decoder for it is installed, or Pillow is set to take half frames.
        PixelInputUnreadableError: The frame is damaged, or is not what the header says.
    """
    name = syntax_name(uid)
    stream = _stream(data, header, uid)
    candidates = [decoder for decoder in DECODERS[uid] if decoder.takes(stream)]
    chosen = next((decoder for decoder in candidates if decoder.name), None)
    if chosen is None:
        if not candidates:
            raise PixelInputRefusedError.not_offered(
                "a frame of that kind in that transfer syntax",
                f"{name}, {stream.components} components of {stream.bits} bits",
                "one or three components without subsampling",
            )
        raise DecoderMissingError.missing(name, tuple(item.package for item in candidates))
    samples = _decode(chosen, data, stream, uid)
    shape = (header.rows, header.columns) + ((3,) if header.samples == 3 else ())
    if samples is None or samples.shape != shape or samples.dtype.kind not in "iu":
        raise PixelInputUnreadableError.not_decoded(name, chosen.name or "")
    # libjpeg has converted what was YBR, or was told to leave what was not.
    ybr = header.photometric.startswith("YBR_FULL") and uid not in _LOSSY_JPEG
    return _as_stored(samples, stream, header), chosen.name or "", ybr


def _decode(
    decoder: Decoder, data: bytes, stream: Codestream, uid: str
) -> NDArray[np.generic] | None:
    try:
        with reading("PixelData"):
            return decoder.decode(data, stream, uid)
    except PixelInputUnreadableError:
        return None


def _stream(data: bytes, header: PixelHeader, uid: str) -> Codestream:
    """What the frame says of itself, held to the object's header before a decoder sees it."""
    if uid == RLE:
        return Codestream(
            header.rows, header.columns, header.samples, header.bits_allocated, lossless=True
        )
    stream = jpeg_2000_header(data) if uid in _JPEG_2000 else jpeg_header(data, _SOF[uid])
    got = stream.rows, stream.columns, stream.components
    expected = header.rows, header.columns, header.samples
    if got != expected or stream.bits > header.bits_allocated:
        raise PixelInputUnreadableError.sizes(
            f"{got[0]} x {got[1]} pixels of {got[2]} x {stream.bits} bits in a compressed frame",
            f"{expected[0]} x {expected[1]} pixels of {expected[2]} x {header.bits_allocated} bits",
        )
    if header.photometric == "PALETTE COLOR" and not stream.lossless:
        raise _lossy_palette(uid)
    if uid not in _LOSSY_JPEG and stream.subsampled:
        raise PixelInputRefusedError.not_offered(
            "subsampled colour in that transfer syntax", syntax_name(uid), "colour without it"
        )
    if stream.components == 3 and (stream.bits, stream.signed) != (8, False):
        raise PixelInputRefusedError.not_offered(
            "colour of another depth in a compressed frame", f"{stream.bits} bits", "8 bits"
        )
    if uid in _SOF:
        check_scans(data, stream.components)
    if uid in _LOSSY_JPEG:
        # The codestream's markers are more often right than the object's attribute.
        declared: Literal["RGB", "YBR"] = "RGB" if header.photometric == "RGB" else "YBR"
        return replace(stream, says=stream.says or declared)
    return stream


def _as_stored(
    samples: NDArray[np.generic], stream: Codestream, header: PixelHeader
) -> NDArray[np.generic]:
    """As an uncompressed object gives them: with the header's sign, and BitsStored alone.

    A codestream may hold two's complement as unsigned numbers, in fewer bits than the object
    names or with others above them. A lossy one that has more bits passes the ends of the range
    by a little; those are clipped, as the bits above would turn white into black.
    """
    result = np.array(samples, header.dtype, order="C")
    if stream.lossless or stream.bits <= header.bits_stored:
        return _of_bits(result, header, min(stream.bits, header.bits_stored))
    if stream.signed != header.signed:
        raise PixelInputRefusedError.not_offered(
            "a lossy frame with another sign and more bits than its header",
            f"{stream.bits} bits, {'signed' if stream.signed else 'unsigned'}",
            f"{header.bits_stored} bits, {'signed' if header.signed else 'unsigned'}",
            "export the object uncompressed",
        )
    low = -(1 << (header.bits_stored - 1)) if header.signed else 0
    return np.clip(result, low, low + (1 << header.bits_stored) - 1)


def _of_bits(samples: NDArray[np.generic], header: PixelHeader, bits: int) -> NDArray[np.generic]:
    """Samples by their lowest bits: those above are cleared, or filled with the sign."""
    unused = header.bits_allocated - bits
    if not unused:
        return samples
    result: NDArray[np.generic] = np.right_shift(np.left_shift(samples, unused), unused)
    return result


def shown(
    samples: NDArray[np.generic], header: PixelHeader, palette: Palette | None, *, ybr: bool
) -> NDArray[np.generic]:
    """Samples as a frame has them: grey values, or RGB.

    Args:
        samples: rows x columns, or rows x columns x 3.
        header: The object's header.
        palette: The palette of a PALETTE COLOR object.
        ybr: Whether colour samples are YBR.
    """
    if palette is not None:
        return palette.apply(samples)
    if header.samples == 3 and ybr:
        return rgb_from_ybr(samples.astype(np.uint8, copy=False))
    return samples
