"""DICOM objects and contracts that the tests of pixels are made from."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.encaps import encapsulate

from medsdk.pixels import _decoders, open_dicom
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


@pytest.fixture
def wrapped(
    make_dataset: Callable[..., Any], as_file: Callable[[Any], bytes]
) -> Callable[..., Any]:
    """An object around frames: `array` gives its header, `frames` its fragments."""

    def make(
        syntax: str,
        array: NDArray[Any],
        *frames: bytes,
        photometric: str | None = None,
        bits_stored: int | None = None,
        **more: Any,
    ) -> Any:
        color = array.ndim == 3
        dataset = make_dataset(
            array,
            syntax=syntax,
            photometric="RGB" if color else "MONOCHROME2",
            bits_stored=bits_stored,
        )
        if photometric:
            dataset.PhotometricInterpretation = photometric
        if len(frames) > 1:
            dataset.NumberOfFrames = len(frames)
        dataset.PixelData = encapsulate(list(frames))
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
        for keyword, value in more.items():
            setattr(dataset, keyword, value)
        return open_dicom(as_file(dataset))

    return make


@pytest.fixture(scope="session")
def smooth() -> Callable[[int, int], NDArray[np.uint8]]:
    """Colours that change slowly, so that lossy codecs stay near them."""

    def make(rows: int, columns: int) -> NDArray[np.uint8]:
        y, x = np.mgrid[:rows, :columns]
        planes = [128 + 100 * np.sin(x / 11 + phase) * np.cos(y / 13) for phase in (0, 2, 4)]
        return np.stack(planes, -1).astype(np.uint8)

    return make


@pytest.fixture(scope="session")
def as_jpeg() -> Callable[..., bytes]:
    """A picture as baseline JPEG, as Pillow writes it."""

    def make(image: Image.Image, **options: Any) -> bytes:
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=95, **options)
        return stream.getvalue()

    return make


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Pretends that no packages of decoders are installed but those that are named."""

    def make(*packages: str) -> None:
        real = _decoders._installed
        monkeypatch.setattr(
            _decoders,
            "_installed",
            lambda package, module: real(package, module) if package in packages else None,
        )

    return make
