"""Open a DICOM image and decode it frame by frame.

Sizes are compared with the bytes that are there before anything is allocated for them, and
nothing of the object but its pixels and the facts below is kept.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from medsdk.pixels._dicom_header import FrameHeader, PixelHeader, frame_headers, text
from medsdk.pixels._dicom_pixels import (
    DEFLATED,
    EXPLICIT_BIG,
    UNCOMPRESSED,
    check_pixel_bytes,
    check_syntax,
    compressed_frame,
    native_frame,
    syntax_name,
)
from medsdk.pixels._modality import check_modality
from medsdk.pixels._quiet import reading
from medsdk.pixels.errors import PixelInputRefusedError, PixelInputUnreadableError
from medsdk.pixels.frame import Color, Frame

if TYPE_CHECKING:
    from pydicom import Dataset


@dataclass(frozen=True)
class DicomLimits:
    """How large an object may be.

    Attributes:
        file_bytes: Of the file or byte string.
        decoded_bytes: Of all frames, decoded.
        frame_bytes: Of one frame, decoded.
    """

    file_bytes: int = 4 << 30
    decoded_bytes: int = 4 << 30
    frame_bytes: int = 512 << 20


DEFAULT_LIMITS = DicomLimits()


@dataclass(frozen=True, eq=False)
class DicomImage:
    """A DICOM image, opened. Immutable; any number of threads may decode its frames.

    Attributes:
        modality: Modality, empty where the object does not say.
        sop_class_uid: SOPClassUID.
        sop_instance_uid: SOPInstanceUID. Not in `repr`, as it leads back to the patient.
        number_of_frames: Frames.
        rows: Rows of a frame.
        columns: Columns of a frame.
        photometric: PhotometricInterpretation.
        transfer_syntax: Name of the transfer syntax.
        bits_allocated: Bits that a sample takes.
        bits_stored: Bits of a sample that count.
        signed: The samples are two's complement.
        presentation_intent: PresentationIntentType: `FOR PRESENTATION`, `FOR PROCESSING`, or
            None where the object does not say.
        spacing_mm: PixelSpacing of the first frame (between rows, between columns), or None.
            ImagerPixelSpacing lies in the detector's plane and is not taken for it.
    """

    modality: str = field(repr=False)
    sop_class_uid: str = field(repr=False)
    sop_instance_uid: str = field(repr=False)
    number_of_frames: int
    rows: int
    columns: int
    photometric: Color
    transfer_syntax: str
    bits_allocated: int
    bits_stored: int
    signed: bool
    presentation_intent: str | None
    spacing_mm: tuple[float, float] | None
    _header: PixelHeader = field(repr=False)
    _frames: tuple[FrameHeader, ...] = field(repr=False)
    _syntax: str = field(repr=False)
    _words: bool = field(repr=False)
    _data: bytes = field(repr=False)

    def frame(self, number: int) -> Frame:
        """Decode one frame.

        Args:
            number: Which, 1-based.

        Returns:
            The frame with stored values (`value_kind` is `stored`) in a new array, with its own
            Modality LUT and spacing.

        Raises:
            PixelInputRefusedError: There is no such frame.
            DecoderMissingError: It is compressed and no decoder is installed.
            PixelInputUnreadableError: It is compressed and cannot be decoded.
        """
        if not 1 <= number <= self.number_of_frames:
            raise PixelInputRefusedError(
                "the object has no such frame",
                got=f"frame {number}",
                expected=f"1 to {self.number_of_frames}",
            )
        index = number - 1
        if self._syntax in UNCOMPRESSED:
            array = native_frame(
                self._data,
                self._header,
                index,
                little=self._syntax != EXPLICIT_BIG,
                words=self._words,
            )
        else:
            array = compressed_frame(self._data, self._header, index, self._syntax)
        own = self._frames[index if len(self._frames) > 1 else 0]
        return Frame(array, self.photometric, own.spacing_mm, "stored", own.modality_lut)


def open_dicom(
    source: str | os.PathLike[str] | bytes | Dataset,
    *,
    modalities: tuple[str, ...] = (),
    limits: DicomLimits = DEFAULT_LIMITS,
) -> DicomImage:
    """Open a DICOM image.

    Args:
        source: A file by path, its bytes, or a pydicom Dataset with its file meta information.
            A Dataset is read, not changed.
        modalities: Modalities that are taken, checked before anything about the pixels; empty
            for any.
        limits: How large it may be.

    Returns:
        The image; frames are decoded when asked for.

    Raises:
        PixelInputUnreadableError: No DICOM, truncated, without pixels, with zero frames, with
            sizes that do not fit, or beyond the limits.
        PixelInputRefusedError: Another modality, a transfer syntax, colour or depth that this
            release does not read, or a source of another type.
    """
    if isinstance(source, bytes):
        dataset = _parse(source, limits)
    elif isinstance(source, str | os.PathLike):
        dataset = _parse(_file_bytes(source, limits), limits)
    else:
        dataset = _as_dataset(source)
    if modalities:
        check_modality(text(dataset, "Modality"), modalities)
    return _image(dataset, limits)


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


def _as_dataset(source: object) -> Dataset:
    from pydicom import Dataset

    if not isinstance(source, Dataset):
        raise PixelInputRefusedError(
            "the source is of no type that can be opened",
            got=type(source).__name__,
            expected="a path, bytes, or a pydicom Dataset",
            remedy="give arrays as Frame(array, color=..., value_kind=...)",
        )
    return source


def _parse(data: bytes, limits: DicomLimits) -> Dataset:
    if len(data) > limits.file_bytes:
        raise PixelInputUnreadableError.too_large("the file", len(data), limits.file_bytes)
    if data[128:132] != b"DICM":
        raise PixelInputUnreadableError.not_dicom(len(data))
    import pydicom
    from pydicom.filereader import read_dataset

    # The syntax first: pydicom would inflate a deflated object without a limit.
    with reading("the file meta information"):
        meta = read_dataset(
            BytesIO(data[132:]), False, True, stop_when=lambda tag, _vr, _length: tag.group != 2
        )
        # A file that ends inside this group could end inside the syntax.
        if len(data) < 144 + int(meta.get("FileMetaInformationGroupLength") or 0):
            raise PixelInputUnreadableError.malformed("the file meta information")
        syntax = str(meta.get("TransferSyntaxUID") or "")
    _check_has_syntax(syntax)
    if syntax == DEFLATED:
        check_syntax(syntax)
    with reading("the object"):
        return pydicom.dcmread(BytesIO(data))


def _check_has_syntax(syntax: str) -> None:
    if not syntax:
        raise PixelInputUnreadableError.attribute(
            "TransferSyntaxUID", "missing", "the syntax in the file meta information"
        )


def _image(dataset: Dataset, limits: DicomLimits) -> DicomImage:
    with reading("TransferSyntaxUID"):
        meta = getattr(dataset, "file_meta", None)
        syntax = str((meta.get("TransferSyntaxUID") if meta is not None else "") or "")
    _check_has_syntax(syntax)
    check_syntax(syntax)
    data, words = _pixel_data(dataset)
    header = PixelHeader.read(dataset)
    for what, size, limit in (
        ("a frame", header.frame_bytes, limits.frame_bytes),
        ("the decoded image", header.all_bytes, limits.decoded_bytes),
    ):
        if size > limit:
            raise PixelInputUnreadableError.too_large(what, size, limit)
    check_pixel_bytes(header, syntax, len(data))
    frames = frame_headers(dataset, header, syntax != EXPLICIT_BIG)
    intent = text(dataset, "PresentationIntentType").upper()
    return DicomImage(
        modality=text(dataset, "Modality"),
        sop_class_uid=text(dataset, "SOPClassUID"),
        sop_instance_uid=text(dataset, "SOPInstanceUID"),
        number_of_frames=header.number_of_frames,
        rows=header.rows,
        columns=header.columns,
        photometric=header.color,
        transfer_syntax=syntax_name(syntax),
        bits_allocated=header.bits_allocated,
        bits_stored=header.bits_stored,
        signed=header.signed,
        presentation_intent=intent if intent in ("FOR PRESENTATION", "FOR PROCESSING") else None,
        spacing_mm=frames[0].spacing_mm,
        _header=header,
        _frames=frames,
        _syntax=syntax,
        _words=words,
        _data=data,
    )


def _pixel_data(dataset: Dataset) -> tuple[bytes, bool]:
    """PixelData, and whether its value representation is OW."""
    with reading("PixelData"):
        if "PixelData" not in dataset:
            for keyword in ("FloatPixelData", "DoubleFloatPixelData"):
                if keyword in dataset:
                    raise PixelInputRefusedError.not_offered(keyword, keyword, "PixelData")
            raise PixelInputUnreadableError.no_pixels()
        element = dataset["PixelData"]
        data = element.value
        if not isinstance(data, bytes) or not data:
            raise PixelInputUnreadableError.no_pixels()
        return data, element.VR == "OW"
