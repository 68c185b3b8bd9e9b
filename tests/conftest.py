"""A vendor's small network, its task file and its images: a bundle in seconds.

The network is real (a convolution whose head is fitted by least squares to the images here),
arrives as a foreign .onnx through a task file, and decides well enough that INT8 passes the
gates of its task.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage

from medsdk.tasks import catalogue_text
from medsdk_runtimes import runtime

# Imported here without its sender of telemetry (decision 0008), before a test imports it by itself.
runtime("openvino").availability()

SIDE = 32
"""Height and width of the small network's input."""


@dataclass(frozen=True)
class Vendor:
    """Everything a vendor brings to `medsdk export`."""

    task_file: Path
    model: Path
    calibration: Path
    cases: Path


def blob_image(seed: int, *, positive: bool) -> NDArray[np.uint16]:
    """48 x 64 noise, with a bright disc where positive."""
    rng = np.random.default_rng(seed)
    image = rng.normal(400, 40, (48, 64))
    if positive:
        y, x = np.mgrid[:48, :64]
        cy, cx = rng.uniform(14, 34), rng.uniform(18, 46)
        image[(y - cy) ** 2 + (x - cx) ** 2 < rng.uniform(7, 10) ** 2] += rng.uniform(300, 600)
    return image.clip(0, 4095).astype(np.uint16)


def mr_object(pixels: NDArray[np.uint16], uid: str = "1.2.826.0.1.3680043.8.498.1") -> FileDataset:
    """A small valid MR object without identity."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.MediaStorageSOPInstanceUID = UID(uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = MRImageStorage, uid
    dataset.Modality = "MR"
    dataset.PatientName = dataset.PatientID = ""
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.PixelData = pixels.astype("<u2").tobytes()
    return dataset


def dicom_bytes(dataset: FileDataset) -> bytes:
    """The object as a file."""
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def small_task_text() -> str:
    """The catalogue's task, turned into a vendor's own."""
    text = catalogue_text("uterus-mr/tumor-filter")
    for old, new in (
        ('id = "uterus-mr/tumor-filter"', 'id = "vendor/blob"'),
        ('name = "mobilenet-v2"', 'name = "onnx"'),
        ("parameters = { classes = 2 }", "parameters = {}"),
        ("height = 224, width = 224", f"height = {SIDE}, width = {SIDE}"),
        ('"networks.filter.architecture.parameters",\n', ""),
    ):
        assert old in text
        text = text.replace(old, new)
    return text


def small_model(images: list[NDArray[np.uint16]], truths: list[bool]) -> onnx.ModelProto:
    """Conv, ReLU, global average, dense: filters random, head by least squares."""
    rng = np.random.default_rng(7)
    weight = rng.normal(0, 0.3, (8, 3, 5, 5)).astype(np.float32)
    bias = rng.normal(0, 0.1, 8).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["image", "w", "b"], ["conv"], strides=[2, 2]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("GlobalAveragePool", ["relu"], ["pool"]),
        helper.make_node("Flatten", ["pool"], ["features"]),
        helper.make_node("Gemm", ["features", "hw", "hb"], ["logits"]),
    ]
    head_weight, head_bias = _fit_head(weight, bias, images, truths)
    constants = {"w": weight, "b": bias, "hw": head_weight, "hb": head_bias}
    graph = helper.make_graph(
        nodes,
        "blob",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def _fit_head(
    weight: NDArray[np.float32],
    bias: NDArray[np.float32],
    images: list[NDArray[np.uint16]],
    truths: list[bool],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    features = []
    for pixels in images:
        low, high = np.percentile(pixels, [1, 99])
        shown = np.rint((np.clip(pixels, low, high) - low) / (high - low) * 255).astype(np.uint8)
        small = Image.fromarray(shown).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
        tensor = ((np.asarray(small)[..., None] / 255 - mean) / std).transpose(2, 0, 1)
        windows = np.lib.stride_tricks.sliding_window_view(tensor, (5, 5), (1, 2))[:, ::2, ::2]
        response = np.einsum("cyxij,kcij->kyx", windows, weight) + bias[:, None, None]
        features.append(np.maximum(response, 0).mean((1, 2)))
    design = np.column_stack([np.array(features), np.ones(len(features))])
    target = np.where(truths, 3.0, -3.0)
    solution, *_ = np.linalg.lstsq(design, target, rcond=None)
    half = solution / 2
    return (
        np.column_stack([-half[:-1], half[:-1]]).astype(np.float32),
        np.array([-half[-1], half[-1]], np.float32),
    )


@pytest.fixture(scope="session")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Vendor:
    """What a vendor brings, under a path with a space and letters beyond ASCII."""
    root = tmp_path_factory.mktemp("vendor") / "子宮 MR é"
    calibration, cases = root / "calibration", root / "cases"
    calibration.mkdir(parents=True)
    cases.mkdir()
    images, truths = [], []
    for number in range(24):
        positive = number % 2 == 0
        pixels = blob_image(number, positive=positive)
        images.append(pixels)
        truths.append(positive)
        uid = f"1.2.826.0.1.3680043.8.498.2.{number}"
        (calibration / f"{number}.dcm").write_bytes(dicom_bytes(mr_object(pixels, uid)))
    rows = ["path,truth,patient,stratum"]
    for number in range(160):
        positive = number % 2 == 0
        pixels = blob_image(1000 + number, positive=positive)
        uid = f"1.2.826.0.1.3680043.8.498.3.{number}"
        (cases / f"{number}.dcm").write_bytes(dicom_bytes(mr_object(pixels, uid)))
        rows.append(f"{number}.dcm,{'tumour' if positive else 'none'},p{number},all")
    (cases / "cases.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    task_file = root / "mein é task.toml"
    task_file.write_text(small_task_text(), encoding="utf-8")
    model = root / "blob.onnx"
    model.write_bytes(small_model(images, truths).SerializeToString())
    return Vendor(task_file, model, calibration, cases / "cases.csv")


@pytest.fixture(scope="session")
def bundle_dir(vendor: Vendor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The vendor's bundle; tests that change it copy it first."""
    from medsdk.tasks import read_task
    from medsdk_export.build import ExportRequest, export_bundle

    out = tmp_path_factory.mktemp("bundles") / "blob bündel"
    request = ExportRequest(
        task=read_task(vendor.task_file),
        models={"filter": vendor.model},
        calibration=vendor.calibration,
        out=out,
        cases=vendor.cases,
        known_answers=6,
    )
    export_bundle(request)
    return out


@pytest.fixture(scope="session")
def packed(bundle_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The vendor's bundle as one file; tests that change it copy it first."""
    import medsdk

    path = tmp_path_factory.mktemp("packed") / "blob bündel.medsdk"
    medsdk.pack(bundle_dir, path)
    return path


@pytest.fixture(scope="session")
def liver_bundle_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The liver reference network from a few phantoms: FP32 alone ships, INT8 is unjudged."""
    from medsdk.tasks import catalogue_task
    from medsdk_export.build import ExportRequest, export_bundle
    from medsdk_export.phantoms import write
    from medsdk_export.reference_weights import reference_weights

    folder = tmp_path_factory.mktemp("liver")
    task_id = "liver-us/classify"
    write(task_id, folder / "calibration", 4, 71, report=False)
    write(task_id, folder / "cases", 16, 72, folder / "cases/cases.csv", report=False)
    task = catalogue_task(task_id)
    request = ExportRequest(
        task=task,
        models={task.roles[0]: reference_weights(task_id)},
        calibration=folder / "calibration",
        out=folder / "bundle",
        cases=folder / "cases/cases.csv",
        known_answers=4,
    )
    export_bundle(request)
    return folder / "bundle"
