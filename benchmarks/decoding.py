"""What decoding one 640 x 480 frame costs, for each transfer syntax and decoder.

    python benchmarks/decoding.py             a table in Markdown, on standard output

The frame is speckle in a sector with a few coloured pixels, as a B-mode frame with a colour bar has
them: 8-bit RGB, or 12-bit grey for extended JPEG. `ms` is the processor time of the one thread that
decodes, the median of 31 calls of `DicomImage.frame`, colour conversion included.
"""

from __future__ import annotations

import io
import statistics
import time
from collections.abc import Iterator
from typing import Any

import jpeg_ls
import numpy as np
from numpy.typing import NDArray
from openjpeg.utils import encode as encode_jpeg_2000
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, UltrasoundImageStorage
from rle.utils import encode_array as encode_rle

from medsdk.pixels import _decoders, open_dicom
from medsdk.pixels._dicom_pixels import syntax_name
from medsdk_runtimes.errors import MedsdkError

ROWS, COLUMNS, RUNS = 480, 640, 31
EXPLICIT = "1.2.840.10008.1.2.1"


def speckle() -> NDArray[np.uint8]:
    """An RGB frame like a scanner's: sector, speckle, black surround, colour bar."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:ROWS, :COLUMNS]
    amplitude = np.abs(rng.normal(size=(ROWS, COLUMNS)) + 1j * rng.normal(size=(ROWS, COLUMNS)))
    for axis in (0, 1):
        amplitude = (amplitude + np.roll(amplitude, 1, axis)) / 2
    values = (60 * np.log1p(4 * amplitude) * np.exp(-y / 900)).clip(0, 255)
    inside = np.hypot(x - COLUMNS / 2, y + 40) < 500
    inside &= np.abs(x - COLUMNS / 2) < 0.7 * (y + 40)
    grey = np.where(inside, values, 0).astype(np.uint8)
    frame = np.stack([grey] * 3, -1)
    frame[40:240, 610:625] = np.linspace([255, 60, 0], [0, 80, 255], 200)[:, np.newaxis]
    return frame


def encoded(frame: NDArray[np.uint8]) -> Iterator[tuple[str, str, str, bytes, NDArray[Any]]]:
    """Every syntax: its UID, a remark, the photometric interpretation, the data, the pixels."""
    grey = frame[..., 0].astype(np.uint16) << 4
    image = Image.fromarray(frame)

    def saved(kind: str, **options: Any) -> bytes:  # noqa: ANN401  # as Pillow types it
        stream = io.BytesIO()
        image.save(stream, kind, **options)
        return stream.getvalue()

    facts: dict[str, Any] = {
        "rows": ROWS,
        "columns": COLUMNS,
        "samples_per_pixel": 3,
        "bits_allocated": 8,
        "number_of_frames": 1,
    }
    yield EXPLICIT, "RGB", "RGB", frame.tobytes(), frame
    yield EXPLICIT, "RGB by plane", "RGB", np.moveaxis(frame, 2, 0).tobytes(), frame
    yield EXPLICIT, "YBR_FULL", "YBR_FULL", frame.tobytes(), frame
    yield EXPLICIT, "YBR_FULL_422", "YBR_FULL_422", frame[..., :2].tobytes(), frame
    yield EXPLICIT, "PALETTE COLOR", "PALETTE COLOR", frame[..., 0].tobytes(), frame[..., 0]
    yield _decoders.RLE, "RGB", "RGB", next(encode_rle(frame, None, **facts)), frame
    for name, subsampling in (("4:4:4", 0), ("4:2:2", 1)):
        data = saved("JPEG", quality=90, subsampling=subsampling)
        yield _decoders.JPEG_BASELINE, name, "YBR_FULL_422", data, frame
    yield _decoders.JPEG_EXTENDED, "12-bit grey", "", by_gdcm(grey, _decoders.JPEG_EXTENDED), grey
    lossless = by_gdcm(frame, _decoders.JPEG_LOSSLESS_FIRST_ORDER)
    yield _decoders.JPEG_LOSSLESS_FIRST_ORDER, "RGB", "RGB", lossless, frame
    ls = bytes(jpeg_ls.encode_array(frame))
    yield _decoders.JPEG_LS_LOSSLESS, "RGB", "RGB", ls, frame
    near = bytes(jpeg_ls.encode_array(frame, 2))
    yield _decoders.JPEG_LS_NEAR_LOSSLESS, "RGB, by at most 2", "RGB", near, frame
    reversible = encode_jpeg_2000(frame, 8, photometric_interpretation=1)
    yield _decoders.JPEG_2000_LOSSLESS, "RGB", "YBR_RCT", reversible, frame
    lossy = saved("JPEG2000", irreversible=True, mct=1, no_jp2=True, quality_layers=[10])
    yield _decoders.JPEG_2000, "RGB, 1:10", "YBR_ICT", lossy, frame


def by_gdcm(pixels: NDArray[Any], uid: str) -> bytes:
    """Pixels of 8 bits, or of 12 in words, encoded by GDCM."""
    import gdcm

    count = 1 if pixels.ndim == 2 else 3
    size = pixels.dtype.itemsize
    stored = 12 if size == 2 else 8
    writer = gdcm.ImageWriter()  # owns the image
    image = writer.GetImage()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((COLUMNS, ROWS, 1))
    kind = gdcm.PhotometricInterpretation.GetPIType("RGB" if count == 3 else "MONOCHROME2")
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(kind))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.ImplicitVRLittleEndian))
    image.SetPixelFormat(gdcm.PixelFormat(count, 8 * size, stored, stored - 1, 0))
    image.SetPlanarConfiguration(0)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetByteStringValue(pixels.tobytes())
    image.SetDataElement(element)
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(uid)))
    change.SetInput(image)
    if not change.Change():
        raise RuntimeError(uid)
    fragments = change.GetOutput().GetDataElement().GetSequenceOfFragments()
    text: str = fragments.GetFragment(0).GetByteValue().GetBuffer()
    return text.encode("utf-8", "surrogateescape")


def wrapped(
    uid: str, photometric: str, data: bytes, pixels: NDArray[Any], *, planar: bool
) -> bytes:
    """A DICOM file around one frame."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = (
        UltrasoundImageStorage,
        UID("1.2.3"),
    )
    meta.TransferSyntaxUID = UID(uid)
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = UltrasoundImageStorage, "1.2.3"
    dataset.Modality, dataset.Rows, dataset.Columns = "US", ROWS, COLUMNS
    dataset.SamplesPerPixel = 1 if pixels.ndim == 2 else 3
    dataset.PhotometricInterpretation = photometric or "MONOCHROME2"
    dataset.PlanarConfiguration = int(planar)
    dataset.BitsAllocated = 8 * pixels.dtype.itemsize
    dataset.BitsStored = 12 if pixels.dtype.itemsize == 2 else 8
    dataset.HighBit, dataset.PixelRepresentation = dataset.BitsStored - 1, 0
    for color in ("Red", "Green", "Blue"):
        if photometric == "PALETTE COLOR":
            setattr(dataset, f"{color}PaletteColorLookupTableDescriptor", [256, 0, 8])
            setattr(dataset, f"{color}PaletteColorLookupTableData", bytes(range(256)))
    dataset.PixelData = data if uid == EXPLICIT else encapsulate([data])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = uid != EXPLICIT
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def main() -> None:
    """Print the table."""
    print("| transfer syntax | frame | decoder | ms | bytes |")
    print("|---|---|---|---|---|")
    table = dict(_decoders.DECODERS)
    for uid, remark, photometric, data, pixels in encoded(speckle()):
        file = wrapped(uid, photometric, data, pixels, planar="plane" in remark)
        for decoder in table.get(uid, (None,)):
            if decoder is not None:
                _decoders.DECODERS[uid] = (decoder,)
            image = open_dicom(file)
            try:
                image.frame(1)
            except MedsdkError:
                continue  # not for such a frame
            times = []
            for _ in range(RUNS):
                begin = time.thread_time_ns()
                frame = image.frame(1)
                times.append((time.thread_time_ns() - begin) / 1e6)
            name = syntax_name(uid).split(", Non-Hier")[0]
            cost = statistics.median(times)
            print(f"| {name} | {remark} | {frame.decoder} | {cost:.2f} | {len(data)} |", flush=True)


if __name__ == "__main__":
    main()
