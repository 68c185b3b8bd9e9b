"""A phantom slice as a DICOM MR Image.

Attributes follow PS3.3 A.4 (MR Image IOD). Every type 2 attribute that could hold an
identity is present and empty, and every date is empty, so that the bytes depend on the
phantom alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from medsdk_export.phantoms._objects import Syntax, add_patient_and_study, encode, new_object, uid

if TYPE_CHECKING:
    from pydicom.dataset import Dataset, FileDataset

    from medsdk_export.phantoms.uterus_mr import Phantom

__all__ = ["to_dicom"]

_MR_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.4"
_SLICE_THICKNESS_MM = 5.0


def to_dicom(phantom: Phantom, *, syntax: Syntax = "explicit-little") -> FileDataset:
    """Wrap one slice as MR Image Storage, MONOCHROME2, 12 bits stored in 16.

    Args:
        phantom: The slice. Its patient name does not enter the file; slices of a patient
            share the study and the series by UIDs hashed from the seed.
        syntax: Transfer syntax; the default is Explicit VR Little Endian.

    Returns:
        A data set with file meta information, ready for ``save_as``. The same phantom gives
        the same bytes, except that RLE leaves the encoding to pydicom's version.

    Raises:
        ValueError: The syntax is not one of :data:`Syntax`.
        ImportError: pydicom is not installed.
    """
    dataset = new_object(
        _MR_IMAGE_STORAGE, uid("instance", phantom.patient, str(phantom.index)), syntax
    )
    add_patient_and_study(dataset, phantom.patient)
    _add_series(dataset, phantom)
    _add_geometry(dataset, phantom)
    _add_acquisition(dataset, phantom)
    _add_pixels(dataset, phantom)
    return encode(dataset, syntax)


def _add_series(dataset: Dataset, phantom: Phantom) -> None:
    dataset.Modality = "MR"
    dataset.SeriesInstanceUID = uid("series", phantom.patient)
    dataset.SeriesNumber = 1
    dataset.SeriesDescription = "PHANTOM pelvis T2w axial"
    dataset.PatientPosition = "HFS"
    dataset.FrameOfReferenceUID = uid("frame", phantom.patient)
    dataset.PositionReferenceIndicator = ""
    dataset.Manufacturer = ""
    dataset.InstanceNumber = phantom.slice_index + 1
    dataset.BurnedInAnnotation = "NO"


def _add_geometry(dataset: Dataset, phantom: Phantom) -> None:
    # Decimal Strings hold at most 16 characters (PS3.5 6.2).
    dataset.PixelSpacing = [f"{value:.4f}" for value in phantom.spacing_mm]
    dataset.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    dataset.ImagePositionPatient = [f"{value:.3f}" for value in phantom.origin_mm]
    dataset.SliceThickness = f"{_SLICE_THICKNESS_MM:.1f}"


def _add_acquisition(dataset: Dataset, phantom: Phantom) -> None:
    dataset.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    dataset.DerivationDescription = "Computed phantom; not for clinical use"
    dataset.ScanningSequence = "SE"
    dataset.SequenceVariant = "SK"
    dataset.ScanOptions = "FS" if phantom.fat_suppressed else ""
    dataset.MRAcquisitionType = "2D"
    dataset.RepetitionTime = "4000"
    dataset.EchoTime = "100"
    dataset.EchoTrainLength = 16


def _add_pixels(dataset: Dataset, phantom: Phantom) -> None:
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = phantom.pixels.shape
    dataset.BitsAllocated = 16
    dataset.BitsStored = 12
    dataset.HighBit = 11
    dataset.PixelRepresentation = 0
    dataset.PixelData = phantom.pixels.astype("<u2").tobytes()
    dataset["PixelData"].VR = "OW"
