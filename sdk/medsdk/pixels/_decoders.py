"""Which decoder decodes which transfer syntax, chosen by this table and by nothing else.

The order in the table is the choice: the first that is installed and takes the frame. What it
decoded with is named in the frame. Two decoders of one syntax give the same bits where it is
lossless. Baseline JPEG has Pillow alone, which is always installed, so that lossy colour does
not depend on what else is.

Left out: GDCM's own copies of OpenJPEG and CharLS, which are years old, and
`pylibjpeg-libjpeg`, which is under the GPL: it is not called even where it is installed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from medsdk.pixels._codestream import Codestream
from medsdk.pixels._rle import decode_rle
from medsdk.pixels.errors import DecoderMissingError

Samples = NDArray[np.generic]
"""rows x columns, or rows x columns x components."""


@dataclass(frozen=True)
class Decoder:
    """One library.

    Attributes:
        package: What pip installs, and what a finding names.
        module: What is imported; empty for our own.
        decode: From a frame and its header to samples; any exception means that it cannot.
        takes: Whether it decodes such a frame.
    """

    package: str
    module: str
    decode: Callable[[bytes, Codestream, str], Samples]
    takes: Callable[[Codestream], bool]

    @property
    def name(self) -> str | None:
        """Package and version, None where it is not installed.

        Raises:
            DecoderMissingError: It is installed and does not load. The next one is not taken in
                its place quietly.
        """
        return _installed(self.package, self.module) if self.module else self.package


@cache
def _installed(package: str, module: str) -> str | None:
    try:
        name = f"{package} {version(package)}"
    except PackageNotFoundError:
        return None
    try:
        import_module(module)
    except Exception as error:  # a library that was built for another numpy raises any kind
        raise DecoderMissingError.broken(name, type(error).__name__) from error
    return name


def _check_pillow() -> None:
    """A switch of the whole process makes Pillow give half a frame where the other half is gone.

    Raises:
        DecoderMissingError: Somebody has turned it on.
    """
    from PIL import ImageFile

    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise DecoderMissingError(
            "Pillow is set to give damaged images as if they were whole",
            got="PIL.ImageFile.LOAD_TRUNCATED_IMAGES is True in this process",
            expected="False, as Pillow has it by default",
            remedy="do not set it in a process that answers for images",
        )


def _pillow_jpeg(data: bytes, stream: Codestream, syntax: str) -> Samples:
    """Libjpeg's fast conversion to RGB where it knows the colour; else as stored."""
    del syntax
    from PIL import Image

    _check_pillow()
    with Image.open(BytesIO(data), formats=("JPEG",)) as image:
        if stream.components == 3 and stream.says == "RGB" != stream.assumed:
            image.draft("YCbCr", image.size)  # says "leave it", as that is what it takes it for
        if image.mode not in ("L", "RGB", "YCbCr"):
            raise ValueError(image.mode)
        return np.asarray(image)


def _pillow_jpeg_2000(data: bytes, stream: Codestream, syntax: str) -> Samples:
    del syntax
    from PIL import Image

    _check_pillow()
    with Image.open(BytesIO(data[stream.start :]), formats=("JPEG2000",)) as image:
        samples = np.asarray(image)
    if samples.dtype == np.uint8:
        return samples >> (8 - stream.bits)
    # Pillow spreads fewer bits over the whole of 16.
    return samples.astype(np.uint16) >> (16 - stream.bits)


def _openjpeg(data: bytes, stream: Codestream, syntax: str) -> Samples:
    del syntax
    from openjpeg.utils import decode_pixel_data

    decoded = decode_pixel_data(data[stream.start :], version=2)
    size = 1 if stream.bits <= 8 else 2 if stream.bits <= 16 else 4
    return _shaped(bytes(decoded), f"<{'i' if stream.signed else 'u'}{size}", stream)


def _charls(data: bytes, stream: Codestream, syntax: str) -> Samples:
    del syntax
    from jpeg_ls import decode_pixel_data

    decoded, facts = decode_pixel_data(data)
    kind = "<u1" if stream.bits <= 8 else "<u2"
    by_plane = stream.components > 1 and facts["interleave_mode"] == 0
    return _shaped(bytes(decoded), kind, stream, by_plane=by_plane)


def _gdcm(data: bytes, stream: Codestream, syntax: str) -> Samples:
    import gdcm

    for silence in (gdcm.Trace.ErrorOff, gdcm.Trace.WarningOff, gdcm.Trace.DebugOff):
        silence()
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(data)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((stream.columns, stream.rows, 1))
    image.SetDataElement(element)
    color = "RGB" if stream.components == 3 else "MONOCHROME2"
    kind = gdcm.PhotometricInterpretation.GetPIType(color)
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(kind))
    if stream.components == 3:
        image.SetPlanarConfiguration(0)
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(syntax)))
    size = 1 if stream.bits <= 8 else 2
    image.SetPixelFormat(
        gdcm.PixelFormat(stream.components, 8 * size, stream.bits, stream.bits - 1, 0)
    )
    # Its `char *` comes as text; the surrogates stand for bytes beyond ASCII.
    decoded = image.GetBuffer().encode("utf-8", "surrogateescape")
    return _shaped(decoded, f"<u{size}", stream)


def _shaped(decoded: bytes, kind: str, stream: Codestream, *, by_plane: bool = False) -> Samples:
    flat = np.frombuffer(decoded, kind)
    if stream.components == 1:
        return flat.reshape(stream.rows, stream.columns)
    if by_plane:
        return np.moveaxis(flat.reshape(stream.components, stream.rows, stream.columns), 0, 2)
    return flat.reshape(stream.rows, stream.columns, stream.components)


def _rle_plugin(data: bytes, stream: Codestream, syntax: str) -> Samples:
    del syntax
    from rle.utils import decode_pixel_data

    try:
        decoded = decode_pixel_data(
            data, version=2, rows=stream.rows, columns=stream.columns, bits_allocated=stream.bits
        )
    except BaseException as error:
        # It is written in Rust: damage that it does not look for ends in a panic, which unwinds
        # safely and is no `Exception`.
        if type(error).__name__ != "PanicException":
            raise
        raise ValueError("RLE segment") from None
    return _shaped(bytes(decoded), f"<u{stream.bits // 8}", stream, by_plane=True)


def _own_rle(data: bytes, stream: Codestream, syntax: str) -> Samples:
    del syntax
    shape = stream.rows, stream.columns
    decoded = decode_rle(data, shape[0] * shape[1], stream.components * stream.bits // 8)
    size = stream.bits // 8
    # Each segment is one byte of each sample of one component, the highest byte first.
    planes = np.frombuffer(decoded, np.uint8).reshape(stream.components, size, *shape)
    samples = np.ascontiguousarray(np.moveaxis(planes, 1, 3)).view(f">u{size}")[..., 0]
    return samples[0] if stream.components == 1 else np.moveaxis(samples, 0, 2)


def _any(stream: Codestream) -> bool:
    del stream
    return True


def _eight_bits(stream: Codestream) -> bool:
    return stream.bits == 8 and stream.components in (1, 3)


def _no_gdcm_subsampling(stream: Codestream) -> bool:
    return stream.bits <= 16 and stream.components in (1, 3) and not stream.subsampled


def _plain_jpeg_2000(stream: Codestream) -> bool:
    if stream.signed:
        return False
    return stream.bits <= 8 if stream.components == 3 else stream.bits <= 16


_PILLOW = Decoder("pillow", "PIL", _pillow_jpeg, _eight_bits)
_PILLOW_2000 = Decoder("pillow", "PIL", _pillow_jpeg_2000, _plain_jpeg_2000)
_GDCM = Decoder("python-gdcm", "gdcm", _gdcm, _no_gdcm_subsampling)
_CHARLS = Decoder("pyjpegls", "jpeg_ls", _charls, _any)
_OPENJPEG = Decoder("pylibjpeg-openjpeg", "openjpeg", _openjpeg, _any)
_RLE_PLUGIN = Decoder("pylibjpeg-rle", "rle", _rle_plugin, _any)
_OWN_RLE = Decoder("medsdk", "", _own_rle, _any)

NATIVE = "medsdk"
"""What decodes uncompressed frames."""

RLE = "1.2.840.10008.1.2.5"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.57"
JPEG_LOSSLESS_FIRST_ORDER = "1.2.840.10008.1.2.4.70"
JPEG_LS_LOSSLESS = "1.2.840.10008.1.2.4.80"
JPEG_LS_NEAR_LOSSLESS = "1.2.840.10008.1.2.4.81"
JPEG_2000_LOSSLESS = "1.2.840.10008.1.2.4.90"
JPEG_2000 = "1.2.840.10008.1.2.4.91"
HTJ2K = ("1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203")

DECODERS: dict[str, tuple[Decoder, ...]] = {
    RLE: (_RLE_PLUGIN, _OWN_RLE),
    JPEG_BASELINE: (_PILLOW,),
    JPEG_EXTENDED: (_PILLOW, _GDCM),
    JPEG_LOSSLESS: (_GDCM,),
    JPEG_LOSSLESS_FIRST_ORDER: (_GDCM,),
    JPEG_LS_LOSSLESS: (_CHARLS,),
    JPEG_LS_NEAR_LOSSLESS: (_CHARLS,),
    JPEG_2000_LOSSLESS: (_OPENJPEG, _PILLOW_2000),
    JPEG_2000: (_OPENJPEG, _PILLOW_2000),
    **dict.fromkeys(HTJ2K, (_OPENJPEG, _PILLOW_2000)),
}
"""Transfer syntax to decoders, in the order in which they are asked."""
