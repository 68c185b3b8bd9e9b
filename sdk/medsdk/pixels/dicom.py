"""Open a DICOM image and decode it frame by frame.

Sizes are compared with the bytes that are there before anything is allocated for them, and
nothing of the object but its pixels, its text and the facts below is kept.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from numbers import Integral
from typing import TYPE_CHECKING

from medsdk.pixels._decoders import DECODERS, NATIVE
from medsdk.pixels._dicom_header import FrameHeader, Photometric, PixelHeader, frame_headers, text
from medsdk.pixels._dicom_pixels import (
    EXPLICIT_BIG,
    UNCOMPRESSED,
    check_pixel_bytes,
    check_syntax,
    compressed_frame,
    native_frame,
    shown,
    syntax_name,
)
from medsdk.pixels._encapsulated import Spans, frame_spans
from medsdk.pixels._modality import check_modality
from medsdk.pixels._palette import Palette, read_palette
from medsdk.pixels._parsing import DicomLimits, check_has_syntax, check_sequences, parsed
from medsdk.pixels._quiet import reading
from medsdk.pixels._text import TextAttributes
from medsdk.pixels._ultrasound_regions import read_regions
from medsdk.pixels.errors import PixelInputRefusedError, PixelInputUnreadableError
from medsdk.pixels.frame import Frame
from medsdk.pixels.ultrasound_regions import UltrasoundRegion, lone_b_mode_region

if TYPE_CHECKING:
    from pydicom import Dataset


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
        photometric: PhotometricInterpretation as stored. A decoded frame is MONOCHROME1,
            MONOCHROME2 or, from any colour, RGB.
        transfer_syntax: Name of the transfer syntax.
        bits_allocated: Bits that a sample takes.
        bits_stored: Bits of a sample that count.
        signed: The samples are two's complement.
        presentation_intent: PresentationIntentType: `FOR PRESENTATION`, `FOR PROCESSING`, or
            None where the object does not say.
        spacing_mm: PixelSpacing of the first frame (between rows, between columns); where there
            is none, that of the one valid B-mode region; else None. ImagerPixelSpacing lies in
            the detector's plane and is not taken for it.
        ultrasound_regions: Regions of an ultrasound image, checked; empty where it names none.
    """

    modality: str = field(repr=False)
    sop_class_uid: str = field(repr=False)
    sop_instance_uid: str = field(repr=False)
    number_of_frames: int
    rows: int
    columns: int
    photometric: Photometric
    transfer_syntax: str
    bits_allocated: int
    bits_stored: int
    signed: bool
    presentation_intent: str | None
    spacing_mm: tuple[float, float] | None
    ultrasound_regions: tuple[UltrasoundRegion, ...]
    _header: PixelHeader = field(repr=False)
    _frames: tuple[FrameHeader, ...] = field(repr=False)
    _syntax: str = field(repr=False)
    _words: bool = field(repr=False)
    _data: bytes = field(repr=False)
    _spans: tuple[Spans, ...] = field(repr=False)
    _palette: Palette | None = field(repr=False)
    _text: TextAttributes = field(repr=False)

    def frame(self, number: int) -> Frame:
        """Decode one frame.

        Args:
            number: Which, 1-based.

        Returns:
            The frame in a new array, with its own Modality LUT and spacing: stored values
            (`value_kind` is `stored`) of a grey object; RGB, uint8, of a colour one, whatever
            its colours were stored as. `decoder` says what decoded it.

        Raises:
            PixelInputRefusedError: There is no such frame, or its codestream is of a kind that
                is not read.
            DecoderMissingError: It is compressed and no decoder is installed.
            PixelInputUnreadableError: It is compressed and cannot be decoded.
        """
        check_frame_number(number, self.number_of_frames)
        index = number - 1
        if self._syntax in UNCOMPRESSED:
            samples = native_frame(
                self._data,
                self._header,
                index,
                little=self._syntax != EXPLICIT_BIG,
                words=self._words,
            )
            decoder, ybr = NATIVE, self.photometric.startswith("YBR")
        else:
            own_data = b"".join(self._data[begin:end] for begin, end in self._spans[index])
            samples, decoder, ybr = compressed_frame(own_data, self._header, self._syntax)
        own = self._frames[index if len(self._frames) > 1 else 0]
        return Frame(
            shown(samples, self._header, self._palette, ybr=ybr),
            self._header.color,
            own.spacing_mm or _region_spacing(self.ultrasound_regions),
            "stored",
            own.modality_lut,
            self.ultrasound_regions,
            decoder,
        )

    def text(self, keyword: str) -> str:
        """A text attribute of the object, without loss, whatever its character set.

        What it returns may identify the patient; medsdk itself never shows or stores it.

        Args:
            keyword: DICOM keyword, for instance `SeriesDescription`.

        Returns:
            The text, several values separated by a backslash; empty where it is missing.

        Raises:
            PixelInputRefusedError: No such keyword, or no text attribute.
            PixelInputUnreadableError: The bytes are no text of the object's character sets.
        """
        return self._text.text(keyword)

    @property
    def text_keywords(self) -> tuple[str, ...]:
        """Keywords of the text attributes that the object has, outside sequences."""
        return self._text.keywords


def check_frame_number(number: object, count: int) -> None:
    """Refuse what is no frame of an object.

    Args:
        number: What was given.
        count: Frames that there are.

    Raises:
        PixelInputRefusedError: It is no whole number from 1 to `count`.
    """
    value = int(number) if isinstance(number, Integral) else None
    if value is None or not 1 <= value <= count:
        got = type(number).__name__ if value is None else f"frame {value}"
        raise PixelInputRefusedError(
            "the object has no such frame",
            got=got,
            expected=f"a whole number from 1 to {count}",
            remedy="count frames from 1, as DICOM does",
        )


def _region_spacing(regions: tuple[UltrasoundRegion, ...]) -> tuple[float, float] | None:
    region = lone_b_mode_region(regions)
    return None if region is None else region.spacing_mm


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
    dataset = parsed(source, limits)
    # Without modality and pixels it is no image, or the beginning of one: it has no other kind.
    if modalities and ("Modality" in dataset or "PixelData" in dataset):
        check_modality(text(dataset, "Modality"), modalities)
    return _image(dataset, limits)


def _image(dataset: Dataset, limits: DicomLimits) -> DicomImage:
    with reading("TransferSyntaxUID"):
        meta = getattr(dataset, "file_meta", None)
        syntax = str((meta.get("TransferSyntaxUID") if meta is not None else "") or "")
    check_has_syntax(syntax)
    check_syntax(syntax)
    check_sequences(dataset, limits)
    data, words = _pixel_data(dataset)
    header = PixelHeader.read(dataset)
    for what, size, limit in (
        ("a frame", header.frame_bytes, limits.frame_bytes),
        ("the decoded image", header.all_bytes, limits.decoded_bytes),
    ):
        if size > limit:
            raise PixelInputUnreadableError.too_large(what, size, limit)
    check_pixel_bytes(header, syntax, len(data))
    little = syntax != EXPLICIT_BIG
    frames = frame_headers(dataset, header, little)
    regions = read_regions(dataset, header.rows, header.columns)
    spans: tuple[Spans, ...] = ()
    if syntax in DECODERS:
        spans = frame_spans(data, header.number_of_frames, _extended_offsets(dataset))
    palette = None
    if header.photometric == "PALETTE COLOR":
        palette = read_palette(dataset, signed=header.signed, little=little)
    intent = text(dataset, "PresentationIntentType").upper()
    return DicomImage(
        modality=text(dataset, "Modality"),
        sop_class_uid=text(dataset, "SOPClassUID"),
        sop_instance_uid=text(dataset, "SOPInstanceUID"),
        number_of_frames=header.number_of_frames,
        rows=header.rows,
        columns=header.columns,
        photometric=header.photometric,
        transfer_syntax=syntax_name(syntax),
        bits_allocated=header.bits_allocated,
        bits_stored=header.bits_stored,
        signed=header.signed,
        presentation_intent=intent if intent in ("FOR PRESENTATION", "FOR PROCESSING") else None,
        spacing_mm=frames[0].spacing_mm or _region_spacing(regions),
        ultrasound_regions=regions,
        _header=header,
        _frames=frames,
        _syntax=syntax,
        _words=words,
        _data=data,
        _spans=spans,
        _palette=palette,
        _text=TextAttributes(dataset),
    )


def _extended_offsets(dataset: Dataset) -> tuple[bytes, bytes] | None:
    with reading("ExtendedOffsetTable"):
        table, lengths = (
            dataset.get(name) for name in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")
        )
        if isinstance(table, bytes) and isinstance(lengths, bytes):
            return table, lengths
        return None


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
