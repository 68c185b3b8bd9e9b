"""Colour clips from the file to the finding: decoded, cropped by a box or a region, answered."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import UID, UltrasoundMultiFrameImageStorage

import medsdk
from medsdk.cli.output import Progress
from medsdk.cli.run import run_inputs
from medsdk.engine import Engine
from medsdk.pipeline import Pipeline
from medsdk.pixels import Preprocessor, open_dicom
from medsdk.pixels.errors import PixelInputRefusedError
from medsdk.tasks.pixel_contract import PixelContract

ROWS, COLUMNS, FRAMES = 60, 81, 4
RNG = np.random.default_rng(17)
ROI = {"kind": "roi", "required": True, "square": False}
REGION = {"kind": "ultrasound-region"}


@pytest.fixture
def asking(engine: Engine) -> Callable[..., Engine]:
    """The small network, given colour as it is and another crop: no bundle has that."""

    def make(crop: dict[str, Any]) -> Engine:
        stage = engine._pipeline.stage
        document = stage.preprocessor.contract.model_dump()
        document |= {"values": "stored", "intensity": {"kind": "as-is"}, "crop": crop}
        contract = PixelContract.model_validate(document)
        task = engine.bundle.manifest.task
        task = task.model_copy(
            update={"input": task.input.model_copy(update={"modalities": ("US",)})}
        )
        manifest = engine.bundle.manifest.model_copy(update={"task": task})
        bundle = dataclasses.replace(engine.bundle, manifest=manifest)
        changed = dataclasses.replace(stage, preprocessor=Preprocessor(contract))
        return Engine(bundle, engine.plan, Pipeline(task, changed))

    return make


def _clip(*regions: tuple[int, int, int, int]) -> tuple[bytes, list[Any]]:
    """A JPEG clip with an odd number of columns, and its frames as Pillow decodes them."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UltrasoundMultiFrameImageStorage
    meta.MediaStorageSOPInstanceUID = UID("1.2.826.0.1.3680043.8.498.77")
    meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.4.50")
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = meta.MediaStorageSOPClassUID
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.Modality, dataset.NumberOfFrames = "US", FRAMES
    dataset.Rows, dataset.Columns = ROWS, COLUMNS
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 3, "YBR_FULL_422"
    dataset.PlanarConfiguration = dataset.PixelRepresentation = 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    items = []
    for corners in regions:
        item = Dataset()
        item.RegionSpatialFormat = item.RegionDataType = 1
        for name, value in zip(("MinX0", "MinY0", "MaxX1", "MaxY1"), corners, strict=True):
            setattr(item, f"RegionLocation{name}", value)
        item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = 3
        item.PhysicalDeltaX = item.PhysicalDeltaY = 0.02
        items.append(item)
    if items:
        dataset.SequenceOfUltrasoundRegions = Sequence(items)
    parts = []
    for _ in range(FRAMES):
        stream = io.BytesIO()
        pixels = RNG.integers(0, 256, (ROWS, COLUMNS, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(stream, "JPEG", subsampling=1)
        parts.append(stream.getvalue())
    dataset.PixelData = encapsulate(parts)
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    out = io.BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue(), [np.asarray(Image.open(io.BytesIO(part))) for part in parts]


def _expected(engine: Engine, array: Any, box: medsdk.Box) -> medsdk.Finding:
    """The finding of the same pixels without DICOM, cut by hand."""
    left, top, right, bottom = map(int, (box.x0, box.y0, box.x1, box.y1))
    whole = medsdk.Box(0, 0, right - left, bottom - top)
    return engine.predict(medsdk.Frame(array[top:bottom, left:right], "RGB"), roi=whole)


def test_a_box_on_every_frame_of_a_clip(asking):
    engine = asking(ROI)
    data, frames = _clip()
    box = medsdk.Box(11, 7, 71, 51)
    findings = list(engine.predict_each(data, roi=box))
    assert [item.frame_number for item in findings] == [1, 2, 3, 4]
    for finding, array in zip(findings, frames, strict=True):
        expected = _expected(engine, array, box)
        assert finding.region == box
        assert finding.status == "ok"
        assert dict(finding.probabilities) == dict(expected.probabilities)
        assert finding.decoder is not None
        assert finding.decoder.startswith("pillow ")
        assert finding.affine.apply(11, 7) == pytest.approx((0, 0))
        assert finding.affine.apply(71, 51) == pytest.approx((32, 32))
    assert len({tuple(item.probabilities.values()) for item in findings}) == FRAMES


def test_a_region_on_every_frame_of_a_clip(asking):
    data, frames = _clip((5, 4, 64, 53))
    engine, box = asking(REGION), medsdk.Box(5, 4, 65, 54)
    for finding, array in zip(engine.predict_each(data), frames, strict=True):
        assert finding.region == box
        assert finding.affine.apply(65, 54) == pytest.approx((32, 32))
        expected = _expected(asking(ROI), array, box)
        assert dict(finding.probabilities) == dict(expected.probabilities)
    assert open_dicom(data).frame(3).spacing_mm == pytest.approx((0.2, 0.2))


@pytest.mark.parametrize(
    ("crop", "regions", "roi", "words"),
    [
        (ROI, (), None, "a region of interest, which the task needs"),
        (ROI, (), medsdk.Box(0, 0, 82, 60), "outside the frame"),
        (ROI, (), medsdk.Box(3, 3, 3.2, 9), "less than a pixel"),
        (REGION, ((5, 4, 64, 53),), medsdk.Box(0, 0, 9, 9), "ultrasound-region"),
        (REGION, (), None, "no B-mode region"),
        (REGION, ((5, 4, 64, 53), (9, 9, 20, 20)), None, "2 B-mode regions"),
        (REGION, ((5, 4, 81, 53),), None, "outside the frame of 81 x 60"),
    ],
)
def test_a_crop_that_cannot_be_is_refused_with_the_reason(asking, crop, regions, roi, words):
    data, _ = _clip(*regions)
    with pytest.raises(PixelInputRefusedError, match=words) as caught:
        asking(crop).predict(data, frame_number=2, roi=roi)
    assert caught.value.remedy


def test_run_writes_box_and_decoder_of_every_frame(asking, tmp_path):
    data, _ = _clip()
    (tmp_path / "clip.dcm").write_bytes(data)
    box = medsdk.Box.parse("11,7,71,51")
    with Progress(quiet=True) as progress:
        document, status = run_inputs(
            asking(ROI), [tmp_path / "clip.dcm"], tmp_path / "out", box, progress, pictures=True
        )
    assert status == 0
    written = json.loads((tmp_path / "out" / "findings.json").read_text(encoding="utf-8"))
    assert len(written["findings"]) == len(document.findings) == FRAMES
    for item in written["findings"]:
        assert item["region"] == [11, 7, 71, 51]
        assert item["decoder"].startswith("pillow ")
    pictures = sorted((tmp_path / "out" / "pictures").iterdir())
    assert len(pictures) == FRAMES
    assert Image.open(io.BytesIO(pictures[0].read_bytes())).mode == "RGB"


def test_the_real_clip(asking):
    path = get_testdata_file("color3d_jpeg_baseline.dcm", download=False)
    if path is None:
        pytest.skip("pydicom-data is not installed")
    image = open_dicom(str(path))
    assert image.number_of_frames == 120
    finding = asking(REGION).predict(image, frame_number=60)
    assert finding.region == medsdk.Box(84, 31, 596, 415)
    assert finding.status == "ok"
    assert (finding.decoder or "").startswith("pillow ")
