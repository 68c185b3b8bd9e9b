"""From DICOM or an array to the network's input: the pixel contract, executed.

pydicom and Pillow are imported when a DICOM object is opened or an image resized, not before.
"""

from medsdk.pixels._modality import check_modality
from medsdk.pixels._parsing import DicomLimits
from medsdk.pixels.affine import Affine, Box
from medsdk.pixels.contract import Prepared, Preprocessor, as_frame
from medsdk.pixels.dicom import DicomImage, open_dicom
from medsdk.pixels.frame import Color, Frame, FrameValues, ModalityLut
from medsdk.pixels.ultrasound_regions import UltrasoundRegion

__all__ = [
    "Affine",
    "Box",
    "Color",
    "DicomImage",
    "DicomLimits",
    "Frame",
    "FrameValues",
    "ModalityLut",
    "Prepared",
    "Preprocessor",
    "UltrasoundRegion",
    "as_frame",
    "check_modality",
    "open_dicom",
]
