"""DICOM objects and contracts that the tests of pixels are made from."""

from __future__ import annotations

import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from numpy.typing import NDArray

from medsdk.tasks.pixel_contract import PixelContract

# Where `corpus` and `jpeg_writing` are, which benchmarks use too.
sys.path.append(str(Path(__file__).parents[3] / "benchmarks"))

MR = "1.2.840.10008.5.1.4.1.1.4"
SYNTAXES = {
    "implicit": "1.2.840.10008.1.2",
    "little": "1.2.840.10008.1.2.1",
    "big": "1.2.840.10008.1.2.2",
}


def _dataset(
    array: NDArray[Any],
    *,
    syntax: str = "little",
    photometric: str = "MONOCHROME2",
    bits_stored: int | None = None,
    frames: int | None = None,
    pixel_bytes: bytes | None = None,
    **attributes: Any,
) -> Any:
    from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
    from pydicom.uid import UID

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = UID(SYNTAXES.get(syntax, syntax))
    meta.MediaStorageSOPClassUID = UID(MR)
    meta.MediaStorageSOPInstanceUID = UID("1.2.3.4.5")
    dataset = FileDataset(
        "",
        Dataset(),
        preamble=b"\0" * 128,
        file_meta=meta,
        is_implicit_VR=syntax == "implicit",
        is_little_endian=syntax != "big",
    )
    dataset.SOPClassUID = MR
    dataset.SOPInstanceUID = "1.2.3.4.5"
    dataset.Modality = "MR"
    dataset.PatientName = "Doe^Jane"
    bits = array.dtype.itemsize * 8
    rgb = photometric == "RGB"
    dataset.SamplesPerPixel = 3 if rgb else 1
    dataset.PhotometricInterpretation = photometric
    if rgb:
        dataset.PlanarConfiguration = 0
    if frames is not None:
        dataset.NumberOfFrames = frames
    axis = 0 if frames is None else 1
    dataset.Rows, dataset.Columns = array.shape[axis : axis + 2]
    dataset.BitsAllocated = bits
    dataset.BitsStored = bits_stored or bits
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(array.dtype.kind == "i")
    stored = array.dtype.newbyteorder(">" if syntax == "big" else "<")
    data = array.astype(stored).tobytes()
    data = data if pixel_bytes is None else pixel_bytes
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset["PixelData"].VR = "OB" if bits == 8 and syntax != "implicit" else "OW"
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def _file(dataset: Any) -> bytes:
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def make_dataset() -> Callable[..., Any]:
    return _dataset


@pytest.fixture(scope="session")
def as_file() -> Callable[[Any], bytes]:
    return _file


@pytest.fixture(scope="session")
def make_contract() -> Callable[..., PixelContract]:
    def make(**changes: Any) -> PixelContract:
        document: dict[str, Any] = {
            "values": "modality",
            "intensity": {"kind": "percentile", "low": 1.0, "high": 99.0},
            "working": "uint8",
            "monochrome1": "invert",
            "crop": {"kind": "none"},
            "fit": "stretch",
            "resize": {"kernel": "pil.bilinear.hv", "height": 24, "width": 32},
            "channels": {"order": "rgb"},
            "normalisation": {
                "divide_by": 255.0,
                "mean": (0.485, 0.456, 0.406),
                "std": (0.229, 0.224, 0.225),
            },
        }
        if changes.get("channels", {}).get("order") == "grey":
            document["normalisation"] = {"divide_by": 255.0, "mean": (0.5,), "std": (0.25,)}
        return PixelContract.model_validate(document | changes)

    return make
