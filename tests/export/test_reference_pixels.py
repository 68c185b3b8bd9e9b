"""The reference tensor of every contract that the device executes, and the device's own."""

import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.uid import CTImageStorage

from medsdk.errors import TaskUnsupportedError
from medsdk.pixels import Box, Frame, ModalityLut, Preprocessor, kernels
from medsdk.tasks.pixel_contract import PixelContract
from medsdk_export import reference_resize
from medsdk_export.errors import ExportUnavailableError
from medsdk_export.reference_pixels import reference_tensor
from medsdk_export.reference_resize import not_defined_here

ROI = Box(11.5, 7.0, 71.0, 52.49)
THREE = {"divide_by": 255.0, "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
ONE = {"divide_by": 1.0, "mean": (127.5,), "std": (64.0,)}
FITS: tuple[dict[str, Any], ...] = (
    {"fit": "stretch"},
    {"fit": "letterbox", "padding": {"value": 114.0, "anchor": "centre"}},
    {"fit": "letterbox", "padding": {"value": 0.0, "anchor": "top-left"}},
    {"fit": "cover"},
)
CROPS: tuple[dict[str, Any], ...] = (
    {"kind": "none"},
    {"kind": "centre-square"},
    {"kind": "roi", "required": True},
    {"kind": "roi", "required": False, "square": True},
)


def _contract(**changes: Any) -> PixelContract:
    order = changes.get("channels", {"order": "rgb"})["order"]
    document: dict[str, Any] = {
        "values": "stored",
        "intensity": {"kind": "as-is"},
        "working": "uint8",
        "monochrome1": "invert",
        "crop": {"kind": "none"},
        "fit": "stretch",
        "resize": {"kernel": "pil.bilinear.hv", "height": 33, "width": 40},
        "channels": {"order": order},
        "normalisation": ONE if order == "grey" else THREE,
    }
    return PixelContract.model_validate(document | changes)


def _frame(seed: int, color: bool) -> np.ndarray:
    rng = np.random.default_rng(seed)
    height, width = (int(side) for side in rng.integers(75, 130, 2))
    shape = (height, width, 3) if color else (height, width)
    return np.minimum(rng.rayleigh(70.0, shape), 255).astype(np.uint8)


def _dataset(photometric: str, **attributes: Any) -> Dataset:
    dataset = Dataset()
    dataset.PhotometricInterpretation = photometric
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def _check(contract: PixelContract, array: np.ndarray, photometric: str, layout: str) -> None:
    roi = ROI if contract.crop.kind == "roi" else None
    preprocessor = Preprocessor(contract, layout)  # type: ignore[arg-type]
    frame = Frame(array, color=photometric)  # type: ignore[arg-type]
    got = preprocessor.prepare(frame, roi).tensor
    want = reference_tensor(
        contract,
        _dataset(photometric),
        array,
        roi=roi,
        layout=layout,  # type: ignore[arg-type]
    )
    assert want.flags.c_contiguous
    assert np.isfinite(want).all()
    problem = preprocessor.disagreement(got, want)
    assert problem is None, f"{contract.resize.kernel} {contract.fit} {contract.crop}: {problem}"


def check_kernel(kernel: str) -> int:
    """Every fit and crop, grey and colour, both layouts; how many."""
    resize = {"kernel": kernel, "height": 33, "width": 40}
    working = ["uint8"] + (["float32"] if "uint8" not in _only(kernel) else [])
    count = 0
    for fit, crop, values in itertools.product(FITS, CROPS, working):
        for photometric, order in (
            ("MONOCHROME2", "grey"),
            ("MONOCHROME1", "rgb"),
            ("RGB", "rgb"),
            ("RGB", "bgr"),
        ):
            contract = _contract(
                resize=resize, crop=crop, working=values, channels={"order": order}, **fit
            )
            layout = "nhwc" if count % 2 else "nchw"
            _check(contract, _frame(count, photometric == "RGB"), photometric, layout)
            count += 1
    return count


def _only(kernel: str) -> tuple[str, ...]:
    return ("uint8",) if kernel.startswith("pil.") or kernel.endswith(".u8") else ()


@pytest.mark.parametrize("kernel", [name for name in kernels.KERNELS if name != "tf.bilinear"])
def test_every_fit_and_crop_with_every_kernel(kernel):
    if not_defined_here(kernel):
        pytest.skip(not_defined_here(kernel))
    assert check_kernel(kernel) == (64 if _only(kernel) else 128)


def test_every_fit_and_crop_with_tensorflow():
    """In a process of its own: its import takes seconds, prints, and starts threads."""
    run = subprocess.run(
        [sys.executable, str(Path(__file__))], capture_output=True, text=True, check=False
    )
    assert run.stdout.strip() == "128", run.stderr[-2000:]


@pytest.mark.parametrize(
    "intensity",
    [
        {"kind": "z-score"},
        {"kind": "min-max"},
        {"kind": "percentile", "low": 2.0, "high": 98.5},
        {"kind": "window", "center": 40.0, "width": 400.0},
        {"kind": "window", "center": 40.0, "width": 400.0, "function": "sigmoid"},
    ],
)
@pytest.mark.parametrize("kernel", ["torch.bilinear", "opencv.area"])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_float_working_values_after_a_modality_lut(intensity, kernel, photometric):
    contract = _contract(
        values="modality",
        intensity=intensity,
        working="float32",
        channels={"order": "grey"},
        resize={"kernel": kernel, "height": 33, "width": 40},
    )
    array = np.random.default_rng(4).integers(0, 4096, (90, 71), dtype=np.uint16)
    dataset = _dataset(
        photometric, RescaleSlope=0.5, RescaleIntercept=-1000, SOPClassUID=CTImageStorage
    )
    frame = Frame(array, color=photometric, modality_lut=ModalityLut(0.5, -1000.0))
    preprocessor = Preprocessor(contract)
    want = reference_tensor(contract, dataset, array)
    assert preprocessor.disagreement(preprocessor.prepare(frame).tensor, want) is None


def test_a_colour_frame_is_weighed_to_grey():
    contract = _contract(
        channels={"order": "grey", "from_color": "itu-r-601"},
        resize={"kernel": "opencv.nearest", "height": 2, "width": 2},
        normalisation={"divide_by": 1.0, "mean": (0.0,), "std": (1.0,)},
    )
    frame = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [10, 20, 30]]], np.uint8)
    got = reference_tensor(contract, _dataset("RGB"), frame)
    assert got.ravel().tolist() == [76, 150, 29, 18]  # 76.245, 149.685, 29.07, 18.15
    floats = contract.model_copy(update={"working": "float32"})
    got = reference_tensor(floats, _dataset("RGB"), frame)
    assert got.ravel().tolist() == [76, 150, 29, 18]  # an 8-bit grey frame, then float32


@pytest.mark.parametrize("working", ["uint8", "float32"])
@pytest.mark.parametrize("kernel", ["opencv.area", "torch.bilinear.antialias"])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_the_device_weighs_colour_to_grey_in_the_same_way(working, kernel, layout):
    contract = _contract(
        working=working,
        channels={"order": "grey", "from_color": "itu-r-601"},
        resize={"kernel": kernel, "height": 33, "width": 40},
    )
    _check(contract, _frame(3, color=True), "RGB", layout)


def test_the_ultrasound_region_is_cropped():
    contract = _contract(crop={"kind": "ultrasound-region"})
    array = _frame(1, color=True)
    got = reference_tensor(contract, _dataset("RGB"), array, region=Box(10, 5, 50, 45))
    whole = _contract()
    assert np.array_equal(got, reference_tensor(whole, _dataset("RGB"), array[5:45, 10:50]))


@pytest.mark.parametrize(
    ("changes", "color", "words"),
    [
        ({"laterality": "flip-right"}, False, "laterality"),
        ({"crop": {"kind": "roi", "required": True}}, False, "roi"),
        ({"crop": {"kind": "ultrasound-region"}}, True, "ultrasound-region"),
        ({"crop": {"kind": "body", "threshold_hu": -300.0}}, False, "body"),
        ({"channels": {"order": "grey"}}, True, "colour"),
        ({"intensity": {"kind": "min-max"}}, True, "colour"),
        ({"monochrome1": "refuse"}, False, "MONOCHROME1"),
    ],
)
def test_what_has_no_reference_is_refused(changes, color, words):
    contract = _contract(**changes)
    with pytest.raises(TaskUnsupportedError, match=words):
        reference_tensor(contract, _dataset("RGB" if color else "MONOCHROME1"), _frame(0, color))


def test_a_torch_that_computes_other_coordinates_is_refused(monkeypatch):
    import torch

    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT")
    contract = _contract(resize={"kernel": "torch.bilinear", "height": 8, "width": 8})
    with pytest.raises(TaskUnsupportedError, match="capability DEFAULT"):
        reference_tensor(contract, _dataset("MONOCHROME2"), _frame(0, color=False))


if __name__ == "__main__":
    sys.stdout.write(f"{check_kernel('tf.bilinear')}\n")


def test_a_library_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference_resize, "find_spec", lambda name: None)
    with pytest.raises(ExportUnavailableError, match=r"no cv2.*medsdk\[opencv\]"):
        reference_resize.resize_by_library("opencv.area", np.zeros((4, 4), np.uint8), 2, 2)
