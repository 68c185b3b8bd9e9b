"""What an engine answers: every door, the same numbers as without medsdk, and its refusals."""

from __future__ import annotations

import dataclasses
import hashlib
import io
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.data import get_testdata_file

import medsdk
from medsdk.errors import (
    DecoderMissingError,
    MedsdkError,
    PixelInputRefusedError,
    PixelInputUnreadableError,
)
from medsdk.pixels import open_dicom


def _dataset(data: bytes) -> pydicom.FileDataset:
    return pydicom.dcmread(io.BytesIO(data))


def _file(dataset: pydicom.Dataset) -> bytes:
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def test_every_door_gives_the_same_finding(engine, inputs, tmp_path):
    for data in inputs:
        path = tmp_path / "bild é 1.dcm"
        path.write_bytes(data)
        dataset = _dataset(data)
        expected = engine.predict(data)
        assert expected.status == "ok"
        for source in (path, str(path), dataset, open_dicom(data)):
            assert engine.predict(source) == expected
        frame = medsdk.Frame(dataset.pixel_array, color="MONOCHROME2", value_kind="stored")
        assert engine.predict(frame) == dataclasses.replace(
            expected, source_uid="array", decoder=None
        )
        uid = dataset.SOPInstanceUID
        assert expected.source_uid == f"sha256:{hashlib.sha256(uid.encode()).hexdigest()[:32]}"
        assert expected.frame_number == 1
        assert expected.decoder == "medsdk"


def test_a_bare_array_is_taken_where_its_meaning_is_clear(engine, inputs, tampered):
    array = _dataset(inputs[0]).pixel_array
    with pytest.raises(PixelInputRefusedError, match="Frame"):
        engine.predict(array)  # the contract starts behind the Modality LUT

    def stored_values(folder, manifest):
        manifest["task"]["networks"]["filter"]["pixels"]["values"] = "stored"

    with medsdk.load(tampered(stored_values)) as other:
        found, expected = other.predict(array), other.predict(inputs[0])
    assert found == dataclasses.replace(expected, source_uid="array", decoder=None)
    assert dict(found.probabilities) == dict(engine.predict(inputs[0]).probabilities)


def test_probabilities_are_those_of_onnxruntime_numpy_and_pillow(
    engine, inputs, bundle_dir, without_medsdk: SimpleNamespace
):
    onnx = (bundle_dir / "networks/filter/fp32.onnx").read_bytes()
    labels = set()
    for data in inputs:
        tensor = without_medsdk.prepare(_dataset(data).pixel_array)
        none, tumour = without_medsdk.softmax(without_medsdk.logits(onnx, tensor))[0]
        finding = engine.predict(data)
        assert finding.probabilities == pytest.approx({"none": none, "tumour": tumour}, abs=1e-6)
        assert finding.label == ("tumour" if tumour >= 0.5 else "none")
        assert finding.probability == finding.probabilities[finding.label]
        labels.add(finding.label)
    assert labels == {"none", "tumour"}


def test_the_quantized_variant_is_its_own_graph(
    bundle_dir, inputs, without_medsdk: SimpleNamespace
):
    onnx = (bundle_dir / "networks/filter/int8-cpu.onnx").read_bytes()
    with medsdk.load(bundle_dir, variant="int8-cpu") as engine:
        for data in inputs:
            tensor = without_medsdk.prepare(_dataset(data).pixel_array)
            logits = without_medsdk.logits(onnx, tensor, optimised=True)
            expected = without_medsdk.softmax(logits)[0]
            found = engine.predict(data).probabilities
            assert list(found.values()) == pytest.approx(list(expected), abs=1e-6)


def test_affine_and_region_of_a_whole_frame(engine, inputs):
    finding = engine.predict(inputs[0])
    assert _dataset(inputs[0]).pixel_array.shape == (48, 64)
    assert finding.region == medsdk.Box(0, 0, 64, 48)
    assert finding.affine.matrix == pytest.approx((32 / 64, 0, 0, 0, 32 / 48, 0))
    assert finding.affine.apply(64, 48) == pytest.approx((32, 32))


def test_affine_region_and_answer_of_a_region_of_interest(
    tampered, inputs, bundle_dir, without_medsdk: SimpleNamespace
):
    def region_of_interest(folder, manifest):
        crop = {"kind": "roi", "required": False, "square": False}
        manifest["task"]["networks"]["filter"]["pixels"]["crop"] = crop

    pixels = _dataset(inputs[0]).pixel_array
    # The intensity step sees the whole frame, so keep its extremes inside the part.
    part = pixels[4:44, 10:60]
    with medsdk.load(tampered(region_of_interest)) as engine:
        finding = engine.predict(inputs[0], roi=medsdk.Box(10.2, 3.6, 59.8, 44.4))
        with pytest.raises(PixelInputRefusedError, match="outside the frame"):
            engine.predict(inputs[0], roi=medsdk.Box(0, 0, 65, 48))
    assert finding.region == medsdk.Box(10, 4, 60, 44)
    x_scale, y_scale = 32 / 50, 32 / 40
    assert finding.affine.matrix == pytest.approx(
        (x_scale, 0, -10 * x_scale, 0, y_scale, -4 * y_scale)
    )
    low, high = np.percentile(pixels, [1, 99])
    shown = np.rint((np.clip(part, low, high) - low) / (high - low) * 255).astype(np.uint8)
    tensor = _resized(shown)
    onnx = (bundle_dir / "networks/filter/fp32.onnx").read_bytes()
    expected = without_medsdk.softmax(without_medsdk.logits(onnx, tensor))[0]
    assert list(finding.probabilities.values()) == pytest.approx(list(expected), abs=1e-6)


def _resized(shown: NDArray[np.uint8]) -> NDArray[np.float32]:
    across = Image.fromarray(shown).resize((32, shown.shape[0]), Image.Resampling.BILINEAR)
    plane = np.asarray(across.resize((32, 32), Image.Resampling.BILINEAR)).astype(np.float32)
    mean = np.array([0.485, 0.456, 0.406], np.float32)[:, None, None]
    std = np.array([0.229, 0.224, 0.225], np.float32)[:, None, None]
    return np.ascontiguousarray(((plane / np.float32(255) - mean) / std)[np.newaxis])


def test_a_region_is_refused_where_the_task_takes_none(engine, inputs):
    with pytest.raises(PixelInputRefusedError, match="region of interest"):
        engine.predict(inputs[0], roi=medsdk.Box(0, 0, 10, 10))


@pytest.mark.parametrize("roi", [(1, 2, 3, 4), "1,2,3,4", [1, 2, 3, 4], 7, True])
def test_a_region_of_another_type_is_refused(engine, inputs, roi):
    array = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64)
    for ask, source in (
        (engine.predict, inputs[0]),
        (engine.predict, medsdk.Frame(array)),
        (engine.predict_each, inputs[0]),
    ):
        with pytest.raises(PixelInputRefusedError, match=type(roi).__name__) as caught:
            ask(source, roi=roi)
        assert "medsdk.Box(x0, y0, x1, y1)" in caught.value.remedy


@pytest.mark.parametrize("number", ["1", 1.5, 1.0, [1], b"1"])
def test_a_frame_number_of_another_type_is_refused(engine, clip, inputs, number):
    array = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64)
    for source in (clip, inputs[0], medsdk.Frame(array)):
        with pytest.raises(PixelInputRefusedError, match="whole number from 1") as caught:
            engine.predict(source, frame_number=number)
        assert caught.value.got == type(number).__name__
    with pytest.raises(PixelInputRefusedError, match="whole number from 1"):
        open_dicom(inputs[0]).frame(number)
    expected = engine.predict(clip, frame_number=2)
    assert engine.predict(clip, frame_number=np.int64(2)) == expected


def test_what_cannot_be_opened_says_where_it_belongs(engine, inputs):
    array = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64)
    cases: tuple[tuple[Any, str], ...] = (
        (medsdk.Frame(array), r"Engine\.predict\(frame\)"),
        (array, r"Engine\.predict\(frame\)"),
        (bytearray(inputs[0]), r"give bytes\(source\)"),
        (memoryview(inputs[0]), r"give bytes\(source\)"),
        (7, "give the DICOM object"),
    )
    for source, remedy in cases:
        for ask in (engine.predict_each, open_dicom):
            with pytest.raises(PixelInputRefusedError, match=remedy):
                ask(source)


def test_several_frames_need_a_frame_number(engine, clip, inputs):
    with pytest.raises(PixelInputRefusedError, match=r"3 frames.*predict_each") as caught:
        engine.predict(clip)
    assert caught.value.exit_status == 2
    each = list(engine.predict_each(_file(clip)))
    assert [finding.frame_number for finding in each] == [1, 2, 3]
    assert each == [engine.predict(clip, frame_number=number) for number in (1, 2, 3)]
    singles = [engine.predict(data).probabilities for data in inputs[:3]]
    assert [finding.probabilities for finding in each] == singles
    assert len({tuple(item.values()) for item in singles}) == 3


@pytest.mark.parametrize("number", [0, -1, 4])
def test_a_frame_that_is_not_there(engine, clip, number):
    with pytest.raises(PixelInputRefusedError, match="1 to 3"):
        engine.predict(clip, frame_number=number)


@pytest.mark.parametrize("number", [0, 2])
def test_a_single_image_has_frame_1_alone(engine, inputs, number):
    frame = medsdk.Frame(_dataset(inputs[0]).pixel_array)
    for source in (inputs[0], frame):
        with pytest.raises(PixelInputRefusedError, match="no such frame"):
            engine.predict(source, frame_number=number)
        assert engine.predict(source, frame_number=1).frame_number == 1


def test_a_constant_frame_has_no_result(engine, inputs):
    dataset = _dataset(inputs[0])
    dataset.PixelData = np.full((48, 64), 700, "<u2").tobytes()
    for source in (dataset, medsdk.Frame(np.full((48, 64), 7.5))):
        finding = engine.predict(source)
        assert (finding.status, finding.label, finding.probability) == ("no-result", None, None)
        assert finding.probabilities == {}
        assert "contrast" in finding.reason
        assert finding.region == medsdk.Box(0, 0, 64, 48)
        assert finding.provenance == engine.provenance


def _nan() -> NDArray[np.float64]:
    array = np.random.default_rng(1).normal(size=(48, 64))
    array[3, 4] = np.nan
    return array


@pytest.mark.parametrize(
    "array",
    [
        _nan(),
        np.where(np.isnan(_nan()), np.inf, 1.0),
        np.zeros((2, 48, 64), np.uint16),
        np.zeros((48, 64, 3), np.uint16),
        np.zeros(48, np.uint16),
        np.zeros((0, 64), np.uint16),
        np.zeros((48, 64), complex),
        np.zeros((48, 64), bool),
        np.full((48, 64), "1"),
        np.full((48, 64), None),
        np.ma.masked_equal(np.arange(3072).reshape(48, 64), 5),
        [[1, 2], [3, 4]],
    ],
    ids=["nan", "inf", "3d", "rgb", "1d", "empty", "complex", "bool", "text", "object", "mask", ""],
)
def test_an_array_that_is_no_image_is_refused(engine, array):
    with pytest.raises(PixelInputRefusedError) as caught:
        engine.predict(medsdk.Frame(array))
    assert caught.value.got
    assert caught.value.expected


@pytest.mark.parametrize("source", [None, 7, 1.5, [1], object()])
def test_a_source_of_another_type_is_refused(engine, source):
    with pytest.raises(PixelInputRefusedError, match="type"):
        engine.predict(source)


def test_another_modality_is_refused_by_name(engine, inputs):
    dataset = _dataset(inputs[0])
    dataset.Modality = "US"
    for source in (dataset, _file(dataset), open_dicom(dataset)):
        with pytest.raises(PixelInputRefusedError, match=r"Modality US.*Modality MR"):
            engine.predict(source)
    with pytest.raises(PixelInputRefusedError, match="Modality US"):
        engine.predict_each(dataset)
    dataset.Modality = "JANE DOE"
    with pytest.raises(PixelInputRefusedError) as caught:
        engine.predict(dataset)
    assert "JANE" not in str(caught.value)
    del dataset.Modality
    with pytest.raises(PixelInputRefusedError, match="empty"):
        engine.predict(dataset)


def test_a_pdf_named_dcm_is_unreadable(engine, tmp_path):
    path = tmp_path / "report.dcm"
    path.write_bytes(b"%PDF-1.7\n" + b"1 0 obj << /Type /Catalog >> endobj\n" * 40)
    with pytest.raises(PixelInputUnreadableError, match="no DICOM file") as caught:
        engine.predict(path)
    assert caught.value.exit_status == 4
    for missing in (tmp_path / "nothing.dcm", tmp_path):
        with pytest.raises(PixelInputUnreadableError):
            engine.predict(missing)


def test_a_truncated_object_is_unreadable_wherever_it_ends(engine, inputs):
    data = inputs[0]
    ends = [0, 1, 131, 132, 140, 200, len(data) // 2, len(data) - 1]
    for end in ends:
        with pytest.raises(PixelInputUnreadableError):
            engine.predict(data[:end])


def test_objects_without_pixels_or_frames_are_unreadable(engine, inputs):
    dataset = _dataset(inputs[0])
    dataset.NumberOfFrames = 0
    with pytest.raises(PixelInputUnreadableError, match="NumberOfFrames"):
        engine.predict(dataset)
    dataset = _dataset(inputs[0])
    del dataset.PixelData
    with pytest.raises(PixelInputUnreadableError, match="no pixels"):
        engine.predict(dataset)


def test_a_compressed_object_with_and_without_its_decoder(engine, monkeypatch):
    name = "MR_small_jpeg_ls_lossless.dcm"
    path = get_testdata_file(name, download=False)
    if path is None:
        pytest.skip(f"{name} of pydicom-data is not installed")
    assert engine.predict(str(path)).decoder == f"pyjpegls {version('pyjpegls')}"
    monkeypatch.setattr("medsdk.pixels._decoders._installed", lambda *_: None)
    with pytest.raises(DecoderMissingError, match=r"JPEG-LS.*pip install") as caught:
        engine.predict(str(path))
    assert caught.value.exit_status == 3


def test_no_error_of_an_input_says_where_it_lies(engine, tmp_path):
    path = tmp_path / "SECRET-NAME.dcm"
    for content in (b"", b"%PDF", b"\0" * 128 + b"DICM" + b"\xff" * 99):
        path.write_bytes(content)
        with pytest.raises(MedsdkError) as caught:
            engine.predict(path)
        assert "SECRET" not in str(caught.value)
