"""Bundles that were changed and signed again, and known answers made without medsdk."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image

from medsdk.engine import Engine, load

Change = Callable[[Path, dict[str, Any]], None]
"""Changes a copy of the bundle: its folder, and its manifest as parsed JSON."""

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _sign(folder: Path, manifest: dict[str, Any]) -> None:
    """List every file with its size and sha256, write the manifest and its digest."""
    manifest["files"] = {
        path.relative_to(folder).as_posix(): {
            "size_bytes": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("manifest.json", "manifest.sha256")
    }
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    (folder / "manifest.json").write_bytes(text.encode() + b"\n")
    digest = hashlib.sha256(text.encode() + b"\n").hexdigest()
    (folder / "manifest.sha256").write_bytes(f"{digest}\n".encode())


@pytest.fixture
def tampered(bundle_dir: Path, tmp_path: Path) -> Callable[[Change], Path]:
    """A copy of the bundle, changed and signed again: every digest is right."""

    def make(change: Change) -> Path:
        folder = tmp_path / f"tampered {len(list(tmp_path.iterdir()))}"
        shutil.copytree(bundle_dir, folder)
        manifest = json.loads((folder / "manifest.json").read_bytes())
        change(folder, manifest)
        _sign(folder, manifest)
        return folder

    return make


def _prepare(
    pixels: NDArray[Any],
    kernel: str = "pil.bilinear.hv",
    side: int = 32,
    *,
    inverted: bool = False,
) -> NDArray[np.float32]:
    """The small task's preprocessing, by numpy and Pillow alone."""
    values = pixels.astype(np.float64)
    low, high = np.percentile(values, [1, 99])
    shown = (np.clip(values, low, high) - low) / (high - low) * 255
    if inverted:
        shown = 255 - shown
    image = Image.fromarray(np.rint(shown).astype(np.uint8))
    lost = image.height - side, image.width - side
    first = (side, image.height)
    if kernel == "pil.bilinear.auto13" and lost[0] > 0 and lost[0] > 2 * lost[1]:
        first = (image.width, side)
    for size in (first, (side, side)):
        image = image.resize(size, Image.Resampling.BILINEAR)
    plane = np.asarray(image).astype(np.float32) / np.float32(255)
    channels = [(plane - np.float32(m)) / np.float32(s) for m, s in zip(MEAN, STD, strict=True)]
    return np.stack(channels)[np.newaxis]


def _logits(
    onnx: bytes, tensor: NDArray[np.float32], *, optimised: bool = False
) -> NDArray[np.float32]:
    """What ONNX Runtime gives without medsdk, on one thread.

    Where a processor has no VNNI, its integer kernels saturate and the optimised graph of a
    quantized network gives other values than the plain one.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    if not optimised:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    found: NDArray[np.float32] = session.run(None, {"image": tensor})[0]
    return found


def _softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    powers = np.exp(logits.astype(np.float64) - logits.max())
    return np.asarray(powers / powers.sum())


def _rebuild(folder: Path, manifest: dict[str, Any], images: list[NDArray[np.uint16]]) -> None:
    """New known answers for other images, each stage by numpy, Pillow and ONNX Runtime."""
    network = manifest["task"]["networks"]["filter"]
    kernel = network["pixels"]["resize"]["kernel"]
    answers = []
    for number, pixels in enumerate(images, 1):
        answer = dict(manifest["known_answers"][0], id=f"other-{number}")
        place = folder / f"known_answers/other-{number}"
        place.mkdir()
        tensor = _prepare(pixels, kernel)
        logits = _logits((folder / "networks/filter/fp32.onnx").read_bytes(), tensor)
        integer, signed = (
            _logits((folder / f"networks/filter/{variant}.onnx").read_bytes(), tensor)
            for variant in ("int8-cpu", "int8-gpu")
        )
        stored: dict[str, NDArray[Any]] = {
            "frame": pixels,
            "tensor": tensor,
            "logits": logits,
            "int8": integer,
            "signed": signed,
        }
        for name, array in stored.items():
            np.save(place / f"{name}.npy", array)
        dataset = pydicom.dcmread(folder / answer["input"])
        dataset.Rows, dataset.Columns = pixels.shape
        dataset.PixelData = pixels.astype("<u2").tobytes()
        dataset.save_as(place / "input.dcm", enforce_file_format=True)
        none, tumour = map(float, _softmax(logits)[0])
        prefix = f"known_answers/other-{number}"
        answer |= {
            "input": f"{prefix}/input.dcm",
            "frame": f"{prefix}/frame.npy",
            "tensors": {"filter": f"{prefix}/tensor.npy"},
            "outputs": {"filter": {"logits": f"{prefix}/logits.npy"}},
            "variant_outputs": {
                "filter": {
                    "int8-cpu": {"logits": f"{prefix}/int8.npy"},
                    "int8-gpu": {"logits": f"{prefix}/signed.npy"},
                }
            },
            "probabilities": {"none": none, "tumour": tumour},
            "label": "tumour" if tumour >= 0.5 else "none",
        }
        answers.append(answer)
    manifest["known_answers"] = answers


@pytest.fixture(scope="session")
def without_medsdk() -> SimpleNamespace:
    """The small task's arithmetic, written a second time: `prepare`, `logits`, `softmax`.

    `rebuild` replaces the known answers of a bundle by those of other images.
    """
    return SimpleNamespace(prepare=_prepare, logits=_logits, softmax=_softmax, rebuild=_rebuild)


@pytest.fixture(scope="session")
def inputs(bundle_dir: Path) -> list[bytes]:
    """The DICOM files of the bundle's known answers."""
    return [path.read_bytes() for path in sorted(bundle_dir.glob("known_answers/*/input.dcm"))]


@pytest.fixture(scope="session")
def clip(inputs: list[bytes]) -> pydicom.FileDataset:
    """A multi-frame object: the frames of the first three known answers."""
    parts = [pydicom.dcmread(io.BytesIO(data)) for data in inputs[:3]]
    parts[0].NumberOfFrames = len(parts)
    parts[0].PixelData = b"".join(part.PixelData for part in parts)
    return parts[0]


@pytest.fixture(scope="session")
def engine(bundle_dir: Path) -> Iterator[Engine]:
    with load(bundle_dir) as loaded:
        yield loaded
