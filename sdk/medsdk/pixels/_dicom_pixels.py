"""One frame of a DICOM object's pixel data, decoded."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medsdk.pixels._dicom_header import PixelHeader
from medsdk.pixels._quiet import reading
from medsdk.pixels.errors import (
    DecoderMissingError,
    PixelInputRefusedError,
    PixelInputUnreadableError,
)

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
UNCOMPRESSED = (IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG)
DEFLATED = "1.2.840.10008.1.2.1.99"
RLE = "1.2.840.10008.1.2.5"

_OPENJPEG = "pylibjpeg pylibjpeg-openjpeg"
_JPEG_2000 = ("pillow", _OPENJPEG, "python-gdcm")
_DECODERS: dict[str, tuple[str, ...]] = {
    RLE: ("pydicom",),
    "1.2.840.10008.1.2.4.50": ("pillow", "python-gdcm"),
    "1.2.840.10008.1.2.4.51": ("python-gdcm",),
    "1.2.840.10008.1.2.4.57": ("python-gdcm",),
    "1.2.840.10008.1.2.4.70": ("python-gdcm",),
    "1.2.840.10008.1.2.4.80": ("pyjpegls", "python-gdcm"),
    "1.2.840.10008.1.2.4.81": ("pyjpegls", "python-gdcm"),
    "1.2.840.10008.1.2.4.90": _JPEG_2000,
    "1.2.840.10008.1.2.4.91": _JPEG_2000,
    "1.2.840.10008.1.2.4.201": (_OPENJPEG,),
    "1.2.840.10008.1.2.4.202": (_OPENJPEG,),
    "1.2.840.10008.1.2.4.203": (_OPENJPEG,),
}
"""Compressed syntaxes that pydicom can hand to a decoder, and packages that bring one. None of
them is under the GPL."""


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
    if uid not in UNCOMPRESSED and uid not in _DECODERS:
        raise PixelInputRefusedError.not_offered(
            "that transfer syntax",
            syntax_name(uid) or "a private or unknown transfer syntax",
            "uncompressed syntaxes, RLE, JPEG, JPEG-LS or JPEG 2000",
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
        PixelInputRefusedError: RGB in a lossy syntax, whose decoders differ in colour.
    """
    if uid in UNCOMPRESSED:
        surplus = length - header.all_bytes
        if surplus < 0 or surplus >= max(header.frame_bytes, 2):
            raise PixelInputUnreadableError.sizes(
                f"{length} bytes in PixelData",
                f"{header.all_bytes} bytes: {header.number_of_frames} x {header.rows} x "
                f"{header.columns} pixels of {header.samples} x {header.bits_allocated} bits",
            )
        return
    if header.color == "RGB" and uid != RLE:
        raise PixelInputRefusedError.not_offered(
            "compressed colour", syntax_name(uid), "RGB uncompressed or in RLE"
        )
    # Two bytes of RLE can unfold to 128: more input than pixels is an attack or damage.
    if uid == RLE and length > 2 * header.all_bytes + 256 * header.number_of_frames + 4096:
        raise PixelInputUnreadableError.sizes(
            f"{length} bytes of RLE in PixelData", f"pixels of {header.all_bytes} bytes"
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
        A new array in this machine's byte order, rows x columns (x 3). Bits above BitsStored
        are ignored; signed values keep their sign.
    """
    start = index * header.frame_bytes
    if header.bits_allocated == 8 and words and not little:
        begin, end = start & ~1, start + header.frame_bytes + 1 & ~1
        pairs = np.frombuffer(data[begin:end].ljust(end - begin, b"\0"), np.uint16).byteswap()
        flat = pairs.view(np.uint8)[start - begin :][: header.frame_bytes].view(header.dtype)
    else:
        stored = header.dtype.newbyteorder("<" if little else ">")
        count = header.rows * header.columns * header.samples
        flat = np.frombuffer(data, stored, count, start).astype(header.dtype)
    unused = header.bits_allocated - header.bits_stored
    if unused:
        # Up and down again: clears the unused bits, or fills them with the sign.
        flat = np.right_shift(np.left_shift(flat, unused), unused)
    if header.color != "RGB":
        return flat.reshape(header.rows, header.columns)
    if header.planar:
        planes = flat.reshape(3, header.rows, header.columns)
        return np.ascontiguousarray(np.moveaxis(planes, 0, 2))
    return flat.reshape(header.rows, header.columns, 3)


def compressed_frame(data: bytes, header: PixelHeader, index: int, uid: str) -> NDArray[np.generic]:
    """Frame `index` (0-based) of compressed pixel data, by the decoders that pydicom finds.

    Raises:
        DecoderMissingError: None is installed.
        PixelInputUnreadableError: None could decode the frame, or it has another size.
    """
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID

    name = syntax_name(uid)
    with reading("TransferSyntaxUID"):
        decoder = get_decoder(UID(uid))
        available = decoder.is_available
    packages = _DECODERS[uid]
    if not available:
        raise DecoderMissingError.missing(name, packages)
    options: dict[str, object] = {
        "rows": header.rows,
        "columns": header.columns,
        "number_of_frames": header.number_of_frames,
        "samples_per_pixel": header.samples,
        "photometric_interpretation": header.color,
        "bits_allocated": header.bits_allocated,
        "bits_stored": header.bits_stored,
        "pixel_representation": int(header.signed),
        "planar_configuration": int(header.planar),
        "pixel_keyword": "PixelData",
    }
    frame: NDArray[np.generic] | None = None
    try:
        with reading("PixelData"):
            frame, _ = decoder.as_array(data, index=index, raw=True, **options)  # type: ignore[arg-type]
    except PixelInputUnreadableError:
        pass
    shape = (header.rows, header.columns) + ((3,) if header.color == "RGB" else ())
    if frame is None or frame.shape != shape or frame.dtype.kind != header.dtype.kind:
        remedy = "export the object again, uncompressed, or install another decoder: " + (
            " or ".join(f"pip install {package}" for package in packages)
        )
        raise PixelInputUnreadableError.not_decoded(name, remedy)
    return np.array(frame, header.dtype, order="C")
