"""What the header of a DICOM image says about its pixels, checked."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from medsdk.pixels._quiet import reading
from medsdk.pixels.errors import PixelInputRefusedError, PixelInputUnreadableError
from medsdk.pixels.frame import Color, ModalityLut

if TYPE_CHECKING:
    from pydicom import Dataset

Photometric = Literal[
    "MONOCHROME1",
    "MONOCHROME2",
    "RGB",
    "PALETTE COLOR",
    "YBR_FULL",
    "YBR_FULL_422",
    "YBR_ICT",
    "YBR_RCT",
]
"""Photometric interpretations that are read; all but the first two come out as RGB."""

_NOT_READ = ("YBR_PARTIAL_420", "YBR_PARTIAL_422", "HSV", "ARGB", "CMYK", "XYB")
"""Further defined terms of PS3.3 C.7.6.3.1.2; a message repeats no other value."""


@dataclass(frozen=True)
class PixelHeader:
    """The Image Pixel module (PS3.3 C.7.6.3), as far as this release reads it.

    Attributes:
        rows: Rows.
        columns: Columns.
        number_of_frames: Frames, 1 where the object does not say.
        photometric: Photometric interpretation as stored.
        bits_allocated: 8, 16 or 32.
        bits_stored: At most `bits_allocated`; the rest of the bits say nothing.
        signed: PixelRepresentation is 1.
        planar: Colour by plane, not by pixel (PlanarConfiguration 1).
    """

    rows: int
    columns: int
    number_of_frames: int
    photometric: Photometric
    bits_allocated: int
    bits_stored: int
    signed: bool
    planar: bool

    @property
    def color(self) -> Color:
        """What a decoded frame is."""
        if self.photometric in ("MONOCHROME1", "MONOCHROME2"):
            return self.photometric
        return "RGB"

    @property
    def samples(self) -> int:
        """Samples a pixel, as stored."""
        return 3 if self.color == "RGB" and self.photometric != "PALETTE COLOR" else 1

    @property
    def native_bytes(self) -> int:
        """Bytes of one frame as it lies in an uncompressed object."""
        pixels = self.rows * self.columns
        if self.photometric == "YBR_FULL_422":
            return 2 * pixels
        return pixels * self.samples * self.bits_allocated // 8

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame, decoded, or as it lies uncompressed if that is more."""
        decoded = 3 if self.color == "RGB" else self.bits_allocated // 8
        return max(self.rows * self.columns * decoded, self.native_bytes)

    @property
    def all_bytes(self) -> int:
        """Bytes of all frames, decoded."""
        return self.frame_bytes * self.number_of_frames

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Of a stored sample, in this machine's byte order."""
        return np.dtype(f"{'i' if self.signed else 'u'}{self.bits_allocated // 8}")

    @classmethod
    def read(cls, dataset: Dataset) -> PixelHeader:
        """Read and check the module.

        Raises:
            PixelInputUnreadableError: An attribute is missing, malformed or impossible.
            PixelInputRefusedError: A colour or depth that this release does not read.
        """
        photometric, planar = _color(dataset)
        allocated = integer(dataset, "BitsAllocated", 1, 64)
        stored = integer(dataset, "BitsStored", 1, allocated)
        signed = integer(dataset, "PixelRepresentation", 0, 1) == 1
        grey = photometric in ("MONOCHROME1", "MONOCHROME2")
        depths = (8, 16) if photometric == "PALETTE COLOR" else (8, 16, 32) if grey else (8,)
        if allocated not in depths:
            raise PixelInputRefusedError.not_offered(
                f"BitsAllocated of that size with {photometric}",
                f"BitsAllocated {allocated}",
                f"BitsAllocated {' or '.join(map(str, depths))}",
            )
        if depths == (8,) and (stored, signed) != (8, False):
            raise PixelInputRefusedError.not_offered(
                f"{photometric} of another depth",
                f"{stored} bits, {'signed' if signed else 'unsigned'}",
                "8 bits, unsigned",
            )
        if integer(dataset, "HighBit", 0, 63, default=stored - 1) != stored - 1:
            raise PixelInputRefusedError.not_offered(
                "HighBit elsewhere than below BitsStored (retired)",
                f"BitsStored {stored}",
                f"HighBit {stored - 1}",
            )
        frames = integer(dataset, "NumberOfFrames", 0, 2**31 - 1, default=1)
        if frames == 0:
            raise PixelInputUnreadableError.attribute("NumberOfFrames", "0", "at least one frame")
        return cls(
            integer(dataset, "Rows", 1, 65535),
            integer(dataset, "Columns", 1, 65535),
            frames,
            photometric,
            allocated,
            stored,
            signed,
            planar,
        )


@dataclass(frozen=True, eq=False)
class FrameHeader:
    """What differs from frame to frame.

    Attributes:
        spacing_mm: PixelSpacing (between rows, between columns), or None.
        modality_lut: From stored values to those of the modality.
    """

    spacing_mm: tuple[float, float] | None
    modality_lut: ModalityLut


def frame_headers(dataset: Dataset, header: PixelHeader, little: bool) -> tuple[FrameHeader, ...]:
    """Read spacing and Modality LUT of every frame.

    Functional groups of the frame come first, then the shared ones, then the object's own
    attributes (PS3.3 C.7.6.16.2).

    Args:
        dataset: The object.
        header: Its Image Pixel module.
        little: The object's byte order.

    Returns:
        One entry that all frames share, or one a frame.

    Raises:
        PixelInputUnreadableError: A value is malformed, or functional groups are missing.
    """
    shared = first_item(dataset, "SharedFunctionalGroupsSequence")
    per_frame = items(dataset, "PerFrameFunctionalGroupsSequence")
    common = [] if shared is None else [shared]
    table = _object_table(dataset, header, little)
    if not per_frame:
        return (_frame_header(dataset, header, table, common),)
    if len(per_frame) < header.number_of_frames:
        raise PixelInputUnreadableError.sizes(
            f"{len(per_frame)} items in PerFrameFunctionalGroupsSequence",
            f"{header.number_of_frames} items, one a frame",
        )
    return tuple(
        _frame_header(dataset, header, table, [own, *common])
        for own in per_frame[: header.number_of_frames]
    )


def _object_table(dataset: Dataset, header: PixelHeader, little: bool) -> ModalityLut | None:
    """The table that all frames share: it has 500 kB, and an object has 100,000 frames."""
    if header.color == "RGB":
        return None
    sequence = first_item(dataset, "ModalityLUTSequence")
    return None if sequence is None else _table_lut(sequence, header, little)


def _frame_header(
    dataset: Dataset, header: PixelHeader, table: ModalityLut | None, groups: list[Dataset]
) -> FrameHeader:
    measures = [first_item(group, "PixelMeasuresSequence") for group in groups]
    transforms = [first_item(group, "PixelValueTransformationSequence") for group in groups]
    spacing = next(_each_spacing([*measures, dataset]), None)
    holder = next((item for item in transforms if item is not None), dataset)
    return FrameHeader(spacing, table or _rescale(dataset, holder, header))


def _each_spacing(holders: list[Dataset | None]) -> Iterator[tuple[float, float]]:
    for holder in holders:
        if holder is None:
            continue
        value = _get(holder, "PixelSpacing")
        if value is None:
            continue
        with reading("PixelSpacing"):
            numbers = tuple(float(item) for item in value)
        # Zeros stand for "not known" in the field; the tensor does not depend on them.
        if len(numbers) == 2 and all(math.isfinite(n) and n > 0 for n in numbers):
            yield numbers[0], numbers[1]


def _rescale(dataset: Dataset, holder: Dataset, header: PixelHeader) -> ModalityLut:
    if header.color == "RGB":
        return ModalityLut()
    present = [_get(holder, name) is not None for name in ("RescaleSlope", "RescaleIntercept")]
    if not any(present):
        return ModalityLut()
    slope = number(holder, "RescaleSlope")
    intercept = number(holder, "RescaleIntercept")
    if slope == 0:
        raise PixelInputUnreadableError.attribute("RescaleSlope", "0", "another number than 0")
    unit = text(holder, "RescaleType").upper()
    # CT images name the unit only where it is not HU (PS3.3 C.8.2.1).
    hounsfield = unit == "HU" or (not unit and text(dataset, "Modality") == "CT")
    return ModalityLut(slope, intercept, units="HU" if hounsfield else None)


def _table_lut(item: Dataset, header: PixelHeader, little: bool) -> ModalityLut:
    """PS3.3 C.11.1.1.1: entries, first mapped value, bits; then the entries."""
    with reading("LUTDescriptor"):
        entries, first, bits = (int(value) for value in item["LUTDescriptor"].value)
    entries = entries or 65536
    if not (1 <= entries <= 65536 and 8 <= bits <= 16 and -32768 <= first <= 65535):
        raise PixelInputUnreadableError.attribute(
            "LUTDescriptor", f"{entries} entries of {bits} bits", "1 to 65536 of 8 to 16 bits"
        )
    if header.signed and first > 32767:
        first -= 65536  # the same two bytes, read as unsigned
    with reading("LUTData"):
        table = _lut_entries(item["LUTData"].value, entries, bits, little)
    if table.size != entries:
        raise PixelInputUnreadableError.sizes(
            f"{table.size} entries in LUTData", f"{entries} entries, as LUTDescriptor says"
        )
    table.flags.writeable = False
    unit = text(item, "ModalityLUTType").upper()
    return ModalityLut(table=table, first_mapped=first, units="HU" if unit == "HU" else None)


def _lut_entries(data: object, entries: int, bits: int, little: bool) -> NDArray[np.float64]:
    if isinstance(data, bytes):
        if bits == 8 and len(data) in (entries, entries + 1) and entries > 1:
            return np.frombuffer(data, np.uint8)[:entries].astype(np.float64)
        return np.frombuffer(data, "<u2" if little else ">u2").astype(np.float64)
    return np.atleast_1d(np.asarray(data, np.uint16)).astype(np.float64)


def _color(dataset: Dataset) -> tuple[Photometric, bool]:
    name = text(dataset, "PhotometricInterpretation")
    samples = integer(dataset, "SamplesPerPixel", 1, 65535)
    match name:
        case "MONOCHROME1" | "MONOCHROME2" | "PALETTE COLOR":
            wanted = 1
        case "RGB" | "YBR_FULL" | "YBR_FULL_422" | "YBR_ICT" | "YBR_RCT":
            wanted = 3
        case _:
            raise PixelInputRefusedError.not_offered(
                "PhotometricInterpretation of that kind",
                name if name in _NOT_READ else "missing or no defined term",
                ", ".join(get_args(Photometric)),
                "export the object in RGB or grey",
            )
    if samples != wanted:
        raise PixelInputUnreadableError.sizes(f"SamplesPerPixel {samples} for {name}", str(wanted))
    planar = wanted == 3 and integer(dataset, "PlanarConfiguration", 0, 1, default=0) == 1
    return name, planar


def _get(dataset: Dataset, keyword: str) -> Any:  # noqa: ANN401  # as pydicom types it
    """An attribute's value, None where it is missing or empty."""
    with reading(keyword):
        value = dataset.get(keyword)
        return None if value is None or value == "" else value


def items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """The items of a sequence, none where it is missing.

    Raises:
        PixelInputUnreadableError: It is no sequence.
    """
    with reading(keyword):
        return list(dataset.get(keyword) or ())


def first_item(dataset: Dataset, keyword: str) -> Dataset | None:
    """The first item of a sequence, None where there is none."""
    found = items(dataset, keyword)
    return found[0] if found else None


def text(dataset: Dataset, keyword: str) -> str:
    """An attribute as text, empty where it is missing."""
    value = _get(dataset, keyword)
    with reading(keyword):
        return "" if value is None else str(value).strip()


def number(dataset: Dataset, keyword: str) -> float:
    """A finite number that must be there.

    Raises:
        PixelInputUnreadableError: It is missing, several, or no finite number.
    """
    value = _get(dataset, keyword)
    if value is None:
        raise PixelInputUnreadableError.attribute(keyword, "missing", "a number")
    with reading(keyword):
        result = float(value)
    if not math.isfinite(result):
        raise PixelInputUnreadableError.attribute(keyword, "not finite", "a finite number")
    return result


def integer(dataset: Dataset, keyword: str, low: int, high: int, default: int | None = None) -> int:
    """A whole number within limits.

    Raises:
        PixelInputUnreadableError: It is missing without a default, malformed, or beyond.
    """
    value = _get(dataset, keyword)
    expected = f"a whole number from {low} to {high}"
    if value is None:
        if default is None:
            raise PixelInputUnreadableError.attribute(keyword, "missing", expected)
        return default
    with reading(keyword):
        result = int(value)
        if result != value:
            raise PixelInputUnreadableError.attribute(keyword, "malformed", expected)
    if not low <= result <= high:
        raise PixelInputUnreadableError.attribute(keyword, str(result), expected)
    return int(result)
