"""Calibration inputs and labelled cases: found, checked, and read one at a time."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medsdk.errors import DecoderMissingError
from medsdk.evaluation.folders import image_files
from medsdk.evaluation.tables import ROI_COLUMN, roi_rule
from medsdk.pixels import Box, DicomImage, Frame, open_dicom
from medsdk.pixels._quiet import reading
from medsdk.pixels.errors import PixelInputUnreadableError
from medsdk.tasks import Task
from medsdk_export.errors import IdentityRefusedError, InputsRefusedError
from medsdk_export.identity import identity_attributes
from medsdk_export.tables import case_columns, parse_roi, read_rois, read_table
from medsdk_runtimes.errors import MedsdkError

if TYPE_CHECKING:
    from pydicom import Dataset

PHANTOM_POOL = 64
"""Phantoms from which known answers are chosen where there are no cases."""

PHANTOM_SEED = 20_261_121

_GREY = ("MONOCHROME1", "MONOCHROME2")

_INDEX_FACTS = ("SmallestImagePixelValue", "LargestImagePixelValue", "PixelPaddingValue")
"""What says something of palette indices, and nothing of the colours that they stand for."""

_WORD_BYTES = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}
"""Value representations whose values pydicom keeps as bytes, and the size of their words."""


@dataclass(frozen=True)
class Case:
    """One labelled image.

    Attributes:
        name: `case N`, counted from 1 in the file's order; stands for it in every message.
        path: Where it is; None for a phantom.
        data: Its bytes where it has no path.
        truth: Its label.
        patient: Who, as a pseudonym.
        stratum: For later evaluation.
        roi: Region of interest, where the task takes one.
    """

    name: str
    path: Path | None
    data: bytes | None
    truth: str
    patient: str
    stratum: str
    roi: Box | None = None

    def read(self) -> bytes:
        """The object's bytes."""
        if self.data is not None:
            return self.data
        return _read(self.path, self.name)


@dataclass(frozen=True)
class CalibrationFile:
    """One file of the calibration folder.

    Attributes:
        name: `calibration file N`; stands for it in every message.
        path: Where it is.
        roi: Region of interest, where the task takes one; the same for each of its frames.
    """

    name: str
    path: Path
    roi: Box | None


def calibration_files(folder: Path, task: Task) -> list[CalibrationFile]:
    """Files of a calibration folder, sorted, searched through.

    Args:
        folder: The folder; hidden files and subfolders' hidden files are passed over. Regions
            of interest stand in its `rois.csv`.
        task: The task.

    Returns:
        At least one file.

    Raises:
        InputsRefusedError: No folder, nothing in it, or no region where the task needs one.
    """
    if not folder.is_dir():
        raise InputsRefusedError(
            "there is no calibration folder",
            got="a file" if folder.exists() else "nothing at that path",
            expected="a folder of DICOM files like those the scanner gives",
        )
    files = image_files(folder)
    if not files:
        raise InputsRefusedError(
            "the calibration folder is empty",
            got="no image",
            expected="a few dozen to a few hundred images like those the scanner gives",
            remedy="python -m medsdk_export.phantoms makes phantoms for a task of the catalogue",
        )
    rois, rule = read_rois(folder, task), roi_rule(task)
    found = []
    for number, path in enumerate(files, 1):
        name, roi = f"calibration file {number}", rois.get(path.resolve())
        if roi is None:
            parse_roi("", rule, name)  # refuses a missing region where the task needs one
        found.append(CalibrationFile(name, path, roi))
    return found


def calibration_frames(
    files: Iterable[CalibrationFile], task: Task
) -> Iterator[tuple[CalibrationFile, Frame]]:
    """Every frame of the calibration files, one decoded at a time, and its file.

    Raises:
        InputsRefusedError: A file cannot be read as an image for the task.
    """
    for file in files:
        image = open_checked(_read(file.path, file.name), task, file.name)
        for frame_number in range(1, image.number_of_frames + 1):
            yield file, decoded(image, frame_number, file.name)


def read_cases(table: Path, task: Task, labels: Iterable[str]) -> list[Case]:
    """Read CASES.csv: path (relative to the file), truth, patient, stratum, and roi.

    Args:
        table: The CSV file, UTF-8 with or without a byte-order mark.
        task: The task; `roi` is a column where its crop takes a region of interest.
        labels: Labels that a truth may be.

    Returns:
        At least one case, in the file's order.

    Raises:
        InputsRefusedError: Another header, an unknown truth, a duplicate or missing path, no
            region of interest where the task needs one.
    """
    rule = roi_rule(task)
    allowed = list(labels)
    cases: list[Case] = []
    seen: set[tuple[Path, Box | None]] = set()
    rows = read_table(table, "the table of cases", "case", case_columns(task))
    for number, row in enumerate(rows, 1):
        name = f"case {number}"
        if row["truth"] not in allowed:
            raise InputsRefusedError(
                f"{name} has a truth that is no label of {task.id}",
                got=repr(row["truth"]),
                expected=f"one of {', '.join(allowed)}",
            )
        path = table.parent / row["path"]
        if not path.is_file():
            raise InputsRefusedError(
                f"the file of {name} is missing",
                got="nothing at that path",
                expected="a path relative to the table of cases",
            )
        roi = parse_roi(row.get(ROI_COLUMN, ""), rule, name)
        if (path.resolve(), roi) in seen:
            raise InputsRefusedError(
                f"{name} names a file that another case names already",
                expected="each file once, or once for each region of interest",
            )
        seen.add((path.resolve(), roi))
        cases.append(Case(name, path, None, row["truth"], row["patient"], row["stratum"], roi))
    return cases


def phantom_cases(task: Task, count: int) -> Iterator[Case]:
    """Phantoms of the task, for known answers; their truth is never used to judge.

    Args:
        task: The task.
        count: How many.

    Raises:
        InputsRefusedError: There are none for it.
    """
    from medsdk_export import phantoms

    if task.id not in phantoms.TASKS:
        raise InputsRefusedError(
            f"there are neither cases nor phantoms to choose known answers of {task.id} from",
            got="no --cases",
            expected="--cases CASES.csv",
        )
    for number, phantom in enumerate(phantoms.cases(task.id, count, PHANTOM_SEED), 1):
        yield Case(
            f"phantom {number}",
            None,
            phantom.to_bytes(),
            phantom.label,
            phantom.patient,
            phantom.stratum,
            None if phantom.roi is None else Box(*phantom.roi),
        )


def open_checked(data: bytes, task: Task, name: str) -> DicomImage:
    """Open an object and hold it to the task.

    Raises:
        InputsRefusedError: It cannot be read, or is of another modality.
    """
    with naming(name):
        return open_dicom(data, modalities=task.input.modalities)


def decoded(image: DicomImage, number: int, name: str) -> Frame:
    """One frame of an image, 1-based.

    Raises:
        InputsRefusedError: It cannot be decoded.
        DecoderMissingError: Its decoder is not installed.
    """
    with naming(name):
        return image.frame(number)


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Say of which input an error speaks.

    Args:
        name: What the input is called in messages.

    Raises:
        InputsRefusedError: The block raised an error of ours.
        DecoderMissingError: As it is, since it is this machine that lacks something.
    """
    try:
        yield
    except DecoderMissingError:
        raise
    except MedsdkError as error:
        raise InputsRefusedError(
            f"{name} cannot be used: {error.what}",
            got=error.got,
            expected=error.expected,
            remedy=error.remedy,
        ) from error


def open_case(case: Case, task: Task) -> tuple[bytes, Dataset, DicomImage]:
    """Open one case: single frame, of the task's modality, without identity.

    Returns:
        Its bytes, the parsed object, and the image.

    Raises:
        InputsRefusedError: It cannot be used.
        IdentityRefusedError: It carries identity attributes.
    """
    from pydicom import dcmread

    data = case.read()
    image = open_checked(data, task, case.name)
    if image.number_of_frames != 1:
        raise InputsRefusedError(
            f"{case.name} has several frames",
            got=f"{image.number_of_frames} frames",
            expected="one frame a case, since a truth speaks of one",
        )
    with naming(case.name), reading("the object"):
        dataset = dcmread(io.BytesIO(data), force=False)
        found = identity_attributes(dataset)
    if found:
        raise IdentityRefusedError.attributes(case.name, found)
    if not (image.sop_class_uid and image.sop_instance_uid):
        raise InputsRefusedError(
            f"{case.name} says no SOP Class UID or no SOP Instance UID",
            expected="both: a known answer is written as a DICOM file",
        )
    return data, dataset, image


def explicit_little_endian(dataset: Dataset) -> bytes:
    """The object again, uncompressed Explicit VR Little Endian, as a known answer is stored.

    Colour, whatever it was stored as, becomes RGB by pixel: the frame that our decoder gave.
    Everything else stays, text in any character set and ultrasound regions too.

    Args:
        dataset: A single-frame object; changed in place.

    Returns:
        A DICOM file.

    Raises:
        PixelInputUnreadableError: It cannot be decoded, or a text of it cannot without loss.
        DecoderMissingError: Its decoder is not installed.
        PixelInputRefusedError: It is of a kind that is not read.
    """
    from pydicom import dcmwrite
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    image = open_dicom(dataset)
    texts = {keyword: image.text(keyword) for keyword in image.text_keywords}
    syntax = dataset.file_meta.TransferSyntaxUID
    frame = image.frame(1) if syntax.is_encapsulated or image.photometric not in _GREY else None
    if not syntax.is_little_endian:
        _swap_bytes(dataset)
    if frame is not None:
        _replace_pixels(dataset, frame)
    # Neither the preamble nor the source's file meta information, which may name a site.
    dataset.preamble = b"\0" * 128
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    stream = io.BytesIO()
    with reading("the object"):
        # `Dataset.save_as` would refuse to go from big to little endian.
        dcmwrite(stream, dataset, implicit_vr=False, little_endian=True, enforce_file_format=True)
    written = open_dicom(stream.getvalue())
    del texts["PhotometricInterpretation"]  # RGB now, where it was another colour
    for keyword, value in texts.items():
        if written.text(keyword) != value:
            raise PixelInputUnreadableError.text(keyword)
    return stream.getvalue()


def _replace_pixels(dataset: Dataset, frame: Frame) -> None:
    """Uncompressed pixels as the frame has them, and what describes them."""
    array = frame.array.astype(frame.array.dtype.newbyteorder("<"))
    data = array.tobytes()
    for keyword in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
        dataset.pop(keyword, None)
    dataset.add_new(
        "PixelData", "OW" if array.itemsize > 1 else "OB", data + b"\0" * (len(data) % 2)
    )
    dataset["PixelData"].is_undefined_length = False
    if frame.color != "RGB":
        return
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 3, "RGB"
    dataset.PlanarConfiguration = dataset.PixelRepresentation = 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    for element in list(dataset):
        if "PaletteColorLookupTable" in element.keyword or element.keyword in _INDEX_FACTS:
            del dataset[element.tag]


def _swap_bytes(dataset: Dataset) -> None:
    """From big to little endian, what pydicom keeps as bytes."""
    for element in dataset.iterall():
        size = _WORD_BYTES.get(element.VR, 1)
        if element.keyword == "PixelData" and dataset.BitsAllocated > 8:
            size = dataset.BitsAllocated // 8
        if size > 1 and isinstance(element.value, bytes):
            element.value = np.frombuffer(element.value, f"<u{size}").byteswap().tobytes()


def _read(path: Path | None, name: str) -> bytes:
    try:
        return b"" if path is None else path.read_bytes()
    except OSError as error:
        raise InputsRefusedError(
            f"{name} cannot be read", got=error.strerror or type(error).__name__
        ) from error
