"""The small bundles that faults are planted in, and copies of them that are signed again.

A real export each: a colour ultrasound classifier with two outputs and INT8, and a CT classifier
with a window in Hounsfield units. Random filters, a head fitted by least squares, seconds in all.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, UltrasoundImageStorage

from medsdk.bundle import Bundle
from medsdk.pipeline import preprocessor_of
from medsdk.pixels import open_dicom
from medsdk.tasks import Task, catalogue_text, read_task
from medsdk_export.build import ExportRequest, export_bundle

Change = Callable[[Path, dict[str, Any]], None]
"""Changes a copy of a bundle: its folder, and its manifest as parsed JSON."""

ROLE = "filter"
SIDE = 32
POSITIVE, NEGATIVE = "tumour", "none"
UIDS = "1.2.826.0.1.3680043.8.498.7"


@dataclass(frozen=True)
class Kind:
    """What one small bundle is of.

    Attributes:
        modality: DICOM Modality.
        replacements: Changes to the catalogue's uterine task.
        image: Makes the pixels of one case.
        cases: Number of labelled cases: 160 let INT8 ship, a few leave it unjudged.
    """

    modality: str
    replacements: tuple[tuple[str, str], ...]
    image: Callable[[int, bool], NDArray[Any]]
    cases: int


def _disc(rng: np.random.Generator) -> NDArray[np.bool_]:
    y, x = np.mgrid[:48, :64]
    cy, cx, radius = rng.uniform(14, 34), rng.uniform(18, 46), rng.uniform(9, 11)
    return np.asarray((y - cy) ** 2 + (x - cx) ** 2 < radius**2)


def colour_image(seed: int, positive: bool) -> NDArray[np.uint8]:
    """48 x 64 RGB noise, each channel at its own level, with a reddish disc where positive."""
    rng = np.random.default_rng(seed)
    image = rng.normal((90.0, 70.0, 50.0), 12.0, (48, 64, 3))
    if positive:
        image[_disc(rng)] += (rng.uniform(110, 150), rng.uniform(50, 80), 20.0)
    return image.clip(0, 255).astype(np.uint8)


def ct_image(seed: int, positive: bool) -> NDArray[np.uint16]:
    """48 x 64 stored values of a CT slice, HU + 1024, with a denser disc where positive."""
    rng = np.random.default_rng(seed)
    image = rng.normal(1024 + 20.0, 15.0, (48, 64))
    if positive:
        image[_disc(rng)] += rng.uniform(90, 140)
    return image.clip(0, 4095).astype(np.uint16)


COLOUR = Kind(
    "US",
    (
        ('id = "uterus-mr/tumor-filter"', 'id = "planted/colour"'),
        ('modalities = ["MR"]', 'modalities = ["US"]'),
        ('values = "modality"', 'values = "stored"'),
        ('{ kind = "percentile", low = 1.0, high = 99.0 }', '{ kind = "as-is" }'),
        (
            'name = "logits"\naxes = [2]\n',
            'name = "logits"\naxes = [2]\n\n'
            '[[networks.filter.outputs]]\nname = "features"\naxes = [8]\n',
        ),
        *(
            (f'{form} = {{ "filter.logits" = {cap} }}', f"{form} = {{ {both} }}")
            for form, cap in (("float", "1e-3"), ("cpu", "1.0"), ("gpu", "1.0"))
            for both in (f'"filter.logits" = {cap}, "filter.features" = {cap}',)
        ),
    ),
    colour_image,
    160,
)
CT = Kind(
    "CT",
    (
        ('id = "uterus-mr/tumor-filter"', 'id = "planted/window"'),
        ('modalities = ["MR"]', 'modalities = ["CT"]'),
        ('values = "modality"', 'values = "hu"'),
        (
            '{ kind = "percentile", low = 1.0, high = 99.0 }',
            '{ kind = "window", center = 40.0, width = 400.0 }',
        ),
    ),
    ct_image,
    16,
)


def task_text(kind: Kind) -> str:
    """The catalogue's uterine task, turned into a small one of this kind."""
    text = catalogue_text("uterus-mr/tumor-filter")
    for old, new in (
        ('name = "mobilenet-v2"', 'name = "onnx"'),
        ("parameters = { classes = 2 }", "parameters = {}"),
        ("height = 224, width = 224", f"height = {SIDE}, width = {SIDE}"),
        ('"networks.filter.architecture.parameters",\n', ""),
        *kind.replacements,
    ):
        assert old in text, old
        text = text.replace(old, new)
    return text


def dicom(pixels: NDArray[Any], modality: str, number: int) -> bytes:
    """A small valid object without identity."""
    uid = f"{UIDS}.{number}"
    meta = FileMetaDataset()
    storage = UltrasoundImageStorage if modality == "US" else CTImageStorage
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = storage, UID(uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.Modality = storage, uid, modality
    dataset.PatientName = dataset.PatientID = ""
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    bits = 8 if pixels.dtype == np.uint8 else 12
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = (
        pixels.dtype.itemsize * 8,
        bits,
        bits - 1,
    )
    dataset.PixelRepresentation = 0
    dataset.SamplesPerPixel = 3 if pixels.ndim == 3 else 1
    dataset.PhotometricInterpretation = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
    if pixels.ndim == 3:
        dataset.PlanarConfiguration = 0
    if modality == "CT":
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = "1", "-1024", "HU"
    dataset.PixelData = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def graph(constants: dict[str, NDArray[np.float32]], outputs: tuple[str, ...]) -> onnx.ModelProto:
    """Convolution, ReLU, global average, dense: `image` in; of `logits`, `features`."""
    nodes = [
        helper.make_node("Conv", ["image", "w", "b"], ["conv"], strides=[2, 2]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("GlobalAveragePool", ["relu"], ["pool"]),
        helper.make_node("Flatten", ["pool"], ["features"]),
        helper.make_node("Gemm", ["features", "hw", "hb"], ["logits"]),
    ]
    width = {"logits": 2, "features": len(constants["b"])}
    made = helper.make_graph(
        nodes if "logits" in outputs else nodes[:-1],
        "planted",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", width[name]])
            for name in outputs
        ],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def fitted(tensors: list[NDArray[np.float32]], truths: list[bool], seed: int) -> dict[str, Any]:
    """Random filters and a head that tells the images apart, by least squares."""
    import onnxruntime

    rng = np.random.default_rng(seed)
    constants = {
        "w": rng.normal(0, 0.3, (8, 3, 5, 5)).astype(np.float32),
        "b": rng.normal(0, 0.1, 8).astype(np.float32),
    }
    session = onnxruntime.InferenceSession(
        graph(constants, ("features",)).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    features = np.concatenate([session.run(["features"], {"image": x})[0] for x in tensors])
    design = np.column_stack([features, np.ones(len(features))])
    half = np.linalg.lstsq(design, np.where(truths, 3.0, -3.0), rcond=None)[0] / 2
    constants["hw"] = np.column_stack([-half[:-1], half[:-1]]).astype(np.float32)
    constants["hb"] = np.array([-half[-1], half[-1]], np.float32)
    return constants


class Workshop:
    """Makes each bundle once, and copies of it that are changed and signed again.

    Args:
        folder: Where everything goes.
        seed: Of every image and weight.
    """

    def __init__(self, folder: Path, seed: int = 0) -> None:
        self.folder = folder
        self._seed = seed

    @cached_property
    def colour(self) -> Path:
        """The colour bundle's directory."""
        return self._export(COLOUR, "colour")

    @cached_property
    def window(self) -> Path:
        """The CT bundle's directory."""
        return self._export(CT, "window")

    @cached_property
    def constants(self) -> dict[str, NDArray[np.float32]]:
        """The weights of the colour bundle's network."""
        model = onnx.load(self.colour.with_name("model.onnx"))
        return {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}

    @contextmanager
    def copy(self, bundle: Path, change: Change | None) -> Iterator[Bundle]:
        """A copy of a bundle, changed and signed again: every digest is right."""
        with TemporaryDirectory(dir=self.folder, ignore_cleanup_errors=True) as place:
            folder = Path(place, "bundle")
            shutil.copytree(bundle, folder)
            if change is not None:
                manifest = json.loads((folder / "manifest.json").read_bytes())
                change(folder, manifest)
                sign(folder, manifest)
            yield Bundle.open(folder)

    def _export(self, kind: Kind, name: str) -> Path:
        place = self.folder / name
        (place / "calibration").mkdir(parents=True)
        (place / "cases").mkdir()
        (place / "task.toml").write_text(task_text(kind), encoding="utf-8")
        task = read_task(place / "task.toml")
        start = 10_000 * self._seed
        images = [kind.image(start + number, number % 2 == 0) for number in range(24)]
        for number, pixels in enumerate(images):
            data = dicom(pixels, kind.modality, number)
            (place / f"calibration/{number}.dcm").write_bytes(data)
        rows = ["path,truth,patient,stratum"]
        for number in range(1000, 1000 + kind.cases):
            data = dicom(kind.image(start + number, number % 2 == 0), kind.modality, start + number)
            (place / f"cases/{number}.dcm").write_bytes(data)
            truth = POSITIVE if number % 2 == 0 else NEGATIVE
            rows.append(f"{number}.dcm,{truth},p{number},all")
        (place / "cases/cases.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
        tensors = prepared(task, [dicom(pixels, kind.modality, 1) for pixels in images])
        constants = fitted(tensors, [number % 2 == 0 for number in range(24)], 7 + self._seed)
        outputs = tuple(output.name for output in task.networks[ROLE].outputs)
        onnx.save(graph(constants, outputs), place / "model.onnx")
        request = ExportRequest(
            task=task,
            models={ROLE: place / "model.onnx"},
            calibration=place / "calibration",
            out=place / "bundle",
            cases=place / "cases/cases.csv",
            known_answers=4,
        )
        export_bundle(request)
        return request.out


def prepared(task: Task, objects: list[bytes]) -> list[NDArray[np.float32]]:
    """The network's inputs, to fit a head to."""
    preprocessor = preprocessor_of(task, task.networks[ROLE])
    return [preprocessor.prepare(open_dicom(data).frame(1)).tensor for data in objects]


def sign(folder: Path, manifest: dict[str, Any]) -> None:
    """List every file with its size and sha256, write the manifest and its digest."""
    manifest["files"] = {
        path.relative_to(folder).as_posix(): {
            "size_bytes": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("manifest.json", "manifest.sha256")
    }
    for network in manifest["networks"].values():
        for variant in network["variants"].values():
            if "file" in variant:
                variant["size_bytes"] = manifest["files"][variant["file"]]["size_bytes"]
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    (folder / "manifest.json").write_bytes(text.encode() + b"\n")
    digest = hashlib.sha256(text.encode() + b"\n").hexdigest()
    (folder / "manifest.sha256").write_bytes(f"{digest}\n".encode())
