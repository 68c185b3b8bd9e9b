"""From a file or bytes to a parsed object, with limits before memory is spent."""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medsdk.pixels._dicom_pixels import DEFLATED, check_syntax
from medsdk.pixels._quiet import reading
from medsdk.pixels.errors import PixelInputRefusedError, PixelInputUnreadableError
from medsdk.pixels.frame import Frame

if TYPE_CHECKING:
    from pydicom import Dataset


@dataclass(frozen=True)
class DicomLimits:
    """How large an object may be.

    A file is held in memory, and its pixel data once more. Beyond that, the defaults keep the
    memory of opening an object and decoding a frame below 1 GB, whatever the file claims.

    Attributes:
        file_bytes: Of the file or byte string.
        decoded_bytes: Of all frames, decoded.
        frame_bytes: Of one frame, decoded. JPEG 2000 takes ten times as much for a while.
        inflated_bytes: Of a deflated object, inflated.
        elements: Data elements, those in sequences included.
        items: Items of sequences and fragments of pixel data.
        sequence_bytes: Of one sequence of explicit length.
    """

    file_bytes: int = 4 << 30
    decoded_bytes: int = 16 << 30
    frame_bytes: int = 64 << 20
    inflated_bytes: int = 256 << 20
    elements: int = 250_000
    items: int = 100_000
    sequence_bytes: int = 8 << 20


class _CountedReads(BytesIO):
    """Bytes that count how often they are read: a parser reads each element at least once."""

    def __init__(self, data: bytes, limits: DicomLimits) -> None:
        super().__init__(data)
        # An element is a read for its tag, one for a long length and one for its value.
        self._left = 3 * limits.elements
        self._limit = limits.elements

    def read(self, size: int | None = -1, /) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise PixelInputUnreadableError.too_many("data elements", self._limit)
        return super().read(size)


def parsed(source: object, limits: DicomLimits) -> Dataset:
    """Parse an object.

    Args:
        source: A file by path, its bytes, or a pydicom Dataset, which is returned as it is.
        limits: How large it may be.

    Returns:
        The object with its file meta information.

    Raises:
        PixelInputUnreadableError: It is no DICOM, truncated, or beyond the limits.
        PixelInputRefusedError: A transfer syntax that is not read, or a source of another type.
    """
    if isinstance(source, bytes):
        return _parse(source, limits)
    if isinstance(source, str | os.PathLike):
        return _parse(_file_bytes(source, limits), limits)
    from pydicom import Dataset

    if not isinstance(source, Dataset):
        raise PixelInputRefusedError(
            "the source is of no type that can be opened",
            got=type(source).__name__,
            expected="a path, bytes, or a pydicom Dataset",
            remedy=_remedy(source),
        )
    return source


def _remedy(source: object) -> str:
    """What to do with a source of another type."""
    if isinstance(source, Frame | np.ndarray):
        return (
            "pixels need no opening: give the Frame, or the array, to Engine.predict(frame), one "
            "by one"
        )
    if isinstance(source, bytearray | memoryview):
        return "give bytes(source)"
    return "give the DICOM object; pixels from elsewhere go to Engine.predict(Frame(array, ...))"


def check_has_syntax(syntax: str) -> None:
    """Refuse an object that does not say how it is written.

    Raises:
        PixelInputUnreadableError: It does not.
    """
    if not syntax:
        raise PixelInputUnreadableError.attribute(
            "TransferSyntaxUID", "missing", "the syntax in the file meta information"
        )


def check_sequences(dataset: Dataset, limits: DicomLimits) -> None:
    """Refuse huge sequences of explicit length, which pydicom parses when they are asked for.

    Raises:
        PixelInputUnreadableError: One is beyond the limit.
    """
    with reading("a sequence"):
        for tag in list(dataset.keys()):
            element = dataset.get_item(tag)
            value = getattr(element, "value", None)
            is_pixels = tag.group == 0x7FE0
            if isinstance(value, bytes) and not is_pixels and element.VR in ("SQ", None, "UN"):
                size = len(value)
                if size > limits.sequence_bytes and (element.VR == "SQ" or _is_sequence(tag)):
                    raise PixelInputUnreadableError.too_large(
                        "a sequence", size, limits.sequence_bytes
                    )


def _is_sequence(tag: int) -> bool:
    from pydicom.datadict import dictionary_VR

    try:
        return dictionary_VR(tag) == "SQ"
    except KeyError:
        return False


def _file_bytes(source: str | os.PathLike[str], limits: DicomLimits) -> bytes:
    try:
        path = Path(source)
        size = path.stat().st_size
        if size > limits.file_bytes:
            raise PixelInputUnreadableError.too_large("the file", size, limits.file_bytes)
        return path.read_bytes()
    except OSError as error:
        # Its text ends in the path; `strerror` does not.
        reason = error.strerror or type(error).__name__
    except ValueError:
        reason = "the path is malformed"
    raise PixelInputUnreadableError.not_opened(reason)


def _parse(data: bytes, limits: DicomLimits) -> Dataset:
    if len(data) > limits.file_bytes:
        raise PixelInputUnreadableError.too_large("the file", len(data), limits.file_bytes)
    if data[128:132] != b"DICM":
        raise PixelInputUnreadableError.not_dicom(len(data))
    from pydicom import dcmread
    from pydicom.dataset import FileMetaDataset
    from pydicom.filereader import read_dataset

    # The syntax first: pydicom would inflate a deflated object without a limit.
    with reading("the file meta information"):
        stream = _CountedReads(data[132:] if len(data) < 1 << 16 else data[132 : 1 << 16], limits)
        meta = read_dataset(stream, False, True, stop_when=lambda tag, _vr, _length: tag.group != 2)
        # A file that ends inside this group could end inside the syntax.
        if len(data) < 144 + int(meta.get("FileMetaInformationGroupLength") or 0):
            raise PixelInputUnreadableError.malformed("the file meta information")
        syntax = str(meta.get("TransferSyntaxUID") or "")
        end = 132 + stream.tell()
    check_has_syntax(syntax)
    if syntax != DEFLATED:
        check_syntax(syntax)
        _check_items(data, limits)
        with reading("the object"):
            return _complete(dcmread(_CountedReads(data, limits)))
    inflated = _inflated(data[end:], limits)
    _check_items(inflated, limits)
    with reading("the object"):
        dataset: Dataset = read_dataset(_CountedReads(inflated, limits), False, True)
        dataset.file_meta = FileMetaDataset(meta)
        return _complete(dataset)


def _complete(dataset: Dataset) -> Dataset:
    """Refuse what pydicom gives without an error where a file ends before its pixels.

    Where a value of undefined length hits the end, it gives no elements at all; another value is
    as long as the file goes.
    """
    from pydicom.dataelem import RawDataElement

    last = dataset.get_item(max(dataset.keys())) if len(dataset) else None
    cut = (
        isinstance(last, RawDataElement)
        and last.tag.group < 0x7FE0
        and last.length != 0xFFFFFFFF
        and len(last.value or b"") < last.length
    )
    if last is None or cut:
        raise PixelInputUnreadableError.malformed("the object")
    return dataset


def _check_items(data: bytes, limits: DicomLimits) -> None:
    """Count item tags as bytes: an empty item is 8 bytes in the file and kilobytes in memory."""
    for tag in (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00"):
        if data.count(tag) > limits.items:
            raise PixelInputUnreadableError.too_many("items of sequences", limits.items)


def _inflated(data: bytes, limits: DicomLimits) -> bytes:
    """PS3.5 A.5: everything behind the file meta information, without a zlib header."""
    try:
        stream = zlib.decompressobj(-zlib.MAX_WBITS)
        result = stream.decompress(data, limits.inflated_bytes + 1)
    except zlib.error:
        raise PixelInputUnreadableError.malformed("the deflated object") from None
    if len(result) > limits.inflated_bytes:
        raise PixelInputUnreadableError.too_large(
            "the inflated object", len(result), limits.inflated_bytes
        )
    if not stream.eof:
        raise PixelInputUnreadableError.malformed("the deflated object")
    return result
