"""A phantom frame or clip as a DICOM Ultrasound Image or Ultrasound Multi-frame Image.

Attributes follow PS3.3 A.6 and A.7, the US Image Module (C.8.5.6) and the US Region Calibration
Module (C.8.5.5): one B-mode tissue region with its spacing in cm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from medsdk_export.phantoms._objects import Syntax, add_patient_and_study, encode, new_object, uid

if TYPE_CHECKING:
    from pydicom.dataset import Dataset, FileDataset

    from medsdk_export.phantoms.liver_us import Phantom

__all__ = ["to_dicom"]

_US_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.6.1"
_US_MULTIFRAME_STORAGE = "1.2.840.10008.5.1.4.1.1.3.1"
_UNIT_CM = 3
_FORMAT_2D = 1
_DATA_TISSUE = 1


def to_dicom(phantom: Phantom, *, syntax: Syntax = "explicit-little") -> FileDataset:
    """Wrap a frame as Ultrasound Image Storage, a clip as Ultrasound Multi-frame, RGB 8 bits.

    Args:
        phantom: The frame or clip. Its patient name does not enter the file; frames of a
            patient share the study and the series by UIDs hashed from the seed.
        syntax: Transfer syntax; the default is Explicit VR Little Endian.

    Returns:
        A data set with file meta information, ready for ``save_as``. The same phantom gives
        the same bytes, except that RLE leaves the encoding to pydicom's version.

    Raises:
        ValueError: The syntax is not one of :data:`Syntax`.
        ImportError: pydicom is not installed.
    """
    is_clip = phantom.pixels.ndim == 4
    kind = f"clip-{len(phantom.pixels)}-{phantom.frame_time_ms:g}" if is_clip else "frame"
    dataset = new_object(
        _US_MULTIFRAME_STORAGE if is_clip else _US_IMAGE_STORAGE,
        uid("us-instance", phantom.patient, str(phantom.index), kind),
        syntax,
    )
    add_patient_and_study(dataset, phantom.patient)
    _add_series_and_equipment(dataset, phantom)
    _add_image(dataset, phantom)
    _add_region(dataset, phantom)
    if is_clip:
        _add_cine(dataset, phantom)
    return encode(dataset, syntax)


def _add_series_and_equipment(dataset: Dataset, phantom: Phantom) -> None:
    dataset.Modality = "US"
    dataset.SeriesInstanceUID = uid("us-series", phantom.patient)
    dataset.SeriesNumber = 1
    dataset.SeriesDescription = "PHANTOM liver B-mode"
    dataset.BodyPartExamined = "LIVER"
    dataset.Manufacturer = "PHANTOM"
    dataset.ManufacturerModelName = f"PHANTOM {phantom.stratum}"
    dataset.InstanceNumber = phantom.index + 1


def _add_image(dataset: Dataset, phantom: Phantom) -> None:
    # Value 3 is the kind of examination, value 4 says 2D imaging (C.8.5.6.1.1).
    dataset.ImageType = ["DERIVED", "PRIMARY", "ABDOMINAL", "0001"]
    dataset.DerivationDescription = "Computed phantom; not for clinical use"
    dataset.PatientOrientation = ""
    # The caption names the device alone.
    dataset.BurnedInAnnotation = "NO"
    dataset.LossyImageCompression = "00"
    dataset.TransducerType = "LINEAR" if phantom.stratum.startswith("linear") else "CURVED LINEAR"
    dataset.DepthOfScanField = round(phantom.depth_mm)
    dataset.SamplesPerPixel = 3
    dataset.PhotometricInterpretation = "RGB"
    dataset.PlanarConfiguration = 0
    dataset.Rows, dataset.Columns = phantom.pixels.shape[-3:-1]
    dataset.BitsAllocated = 8
    dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelRepresentation = 0
    dataset.UltrasoundColorDataPresent = 0
    data = phantom.pixels.tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset["PixelData"].VR = "OB"


def _add_region(dataset: Dataset, phantom: Phantom) -> None:
    from pydicom.dataset import Dataset as Item
    from pydicom.sequence import Sequence

    left, top, right, bottom = phantom.region
    region = Item()
    region.RegionSpatialFormat = _FORMAT_2D
    region.RegionDataType = _DATA_TISSUE
    region.RegionFlags = 0
    # The maxima name the last pixel inside.
    region.RegionLocationMinX0, region.RegionLocationMinY0 = left, top
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = right - 1, bottom - 1
    # The middle of the skin line, counted from the region's first pixel, is 0 cm deep.
    region.ReferencePixelX0 = round(phantom.origin_px[0] - 0.5) - left
    region.ReferencePixelY0 = round(phantom.origin_px[1] - 0.5) - top
    region.ReferencePixelPhysicalValueX = 0.0
    region.ReferencePixelPhysicalValueY = 0.0
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = _UNIT_CM
    region.PhysicalDeltaX = region.PhysicalDeltaY = phantom.mm_per_pixel / 10.0
    region.TransducerFrequency = round(phantom.frequency_mhz * 1000.0)
    dataset.SequenceOfUltrasoundRegions = Sequence([region])


def _add_cine(dataset: Dataset, phantom: Phantom) -> None:
    from pydicom.tag import Tag

    dataset.NumberOfFrames = len(phantom.pixels)
    dataset.FrameIncrementPointer = Tag("FrameTime")
    dataset.FrameTime = f"{phantom.frame_time_ms:g}"
