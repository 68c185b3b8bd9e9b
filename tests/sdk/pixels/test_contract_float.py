"""Float32 working values and float32 kernels, against the libraries; and how far is too far."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from medsdk.pixels import Box, Frame, Preprocessor
from medsdk.pixels.errors import PixelInputRefusedError
from medsdk_export.reference_resize import resize_by_library as by_library

RNG = np.random.default_rng(5)
SPECKLE = np.clip(RNG.rayleigh(400.0, (151, 203)), 0, 4095).astype(np.uint16)
FLOAT_KERNELS = ("opencv.area", "opencv.nearest", "torch.bilinear", "torch.bilinear.antialias")
AS_IS = {"kind": "as-is"}
Z = {"kind": "z-score"}
MIN_MAX = {"kind": "min-max"}
STEP: dict[str, Any] = {
    "divide_by": 255.0,
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
}
GREY = {"channels": {"order": "grey"}}


def _resize(kernel: str, height: int = 24, width: int = 32) -> dict[str, Any]:
    return {"kernel": kernel, "height": height, "width": width}


def _normalised(planes: Iterable[Any], step: dict[str, Any] = STEP) -> NDArray[np.float32]:
    return np.stack(
        [
            (plane.astype(np.float32) / np.float32(step["divide_by"]) - np.float32(mean))
            / np.float32(std)
            for plane, mean, std in zip(planes, step["mean"], step["std"], strict=True)
        ]
    )[np.newaxis]


def _allowed(std: float = 0.224) -> float:
    return 1e-6 / std * 1.2


@pytest.mark.parametrize("kernel", FLOAT_KERNELS)
@pytest.mark.parametrize("invert", [False, True])
def test_float_working_values_are_not_rounded(make_contract, kernel, invert):
    contract = make_contract(
        values="stored", intensity=MIN_MAX, working="float32", resize=_resize(kernel)
    )
    frame = Frame(SPECKLE, color="MONOCHROME1" if invert else "MONOCHROME2")
    tensor = Preprocessor(contract).prepare(frame).tensor
    low, high = int(SPECKLE.min()), int(SPECKLE.max())
    shown = np.clip((SPECKLE.astype(np.float64) - low) / (high - low), 0, 1) * 255
    image = (255 - shown if invert else shown).astype(np.float32)
    want = _normalised([by_library(kernel, image, 24, 32)] * 3)
    assert tensor.dtype == np.float32
    assert np.abs(tensor - want).max() <= (0 if kernel.startswith("opencv") else _allowed())
    assert tensor.flags.c_contiguous


@pytest.mark.parametrize("kernel", ["torch.bilinear", "torch.bilinear.antialias"])
@pytest.mark.parametrize("color", [False, True])
def test_8_bit_working_values_through_a_float_kernel(make_contract, kernel, color):
    contract = make_contract(values="stored", intensity=AS_IS, resize=_resize(kernel))
    image = RNG.integers(0, 256, (48, 57, 3) if color else (48, 57), dtype=np.uint8)
    frame = Frame(image, color="RGB" if color else "MONOCHROME2")
    tensor = Preprocessor(contract).prepare(frame).tensor
    resized = by_library(kernel, image, 24, 32)
    want = _normalised(resized.transpose(2, 0, 1) if color else [resized] * 3)
    assert np.abs(tensor - want).max() <= _allowed()
    assert (tensor * 0.229 + 0.485 != np.rint(tensor * 0.229 + 0.485)).any()


@pytest.mark.parametrize("kernel", ["pil.bicubic.auto13", "pil.nearest", "opencv.linear.u8"])
@pytest.mark.parametrize("color", [False, True])
def test_8_bit_kernels(make_contract, kernel, color):
    contract = make_contract(values="stored", intensity=AS_IS, resize=_resize(kernel))
    image = RNG.integers(0, 256, (48, 57, 3) if color else (48, 57), dtype=np.uint8)
    frame = Frame(image, color="RGB" if color else "MONOCHROME2")
    tensor = Preprocessor(contract).prepare(frame).tensor
    if kernel.endswith("auto13"):
        kernel = "pil.bicubic.hv"  # the rows lose less than twice as many: the same on any Pillow
    resized = by_library(kernel, image, 24, 32)
    assert np.array_equal(
        tensor, _normalised(resized.transpose(2, 0, 1) if color else [resized] * 3)
    )


@pytest.mark.parametrize("kernel", FLOAT_KERNELS)
def test_colour_with_float_working_values(make_contract, kernel):
    contract = make_contract(
        values="stored", intensity=AS_IS, working="float32", resize=_resize(kernel)
    )
    image = RNG.integers(0, 256, (48, 57, 3), dtype=np.uint8)
    tensor = Preprocessor(contract).prepare(Frame(image, color="RGB")).tensor
    resized = by_library(kernel, image.astype(np.float32), 24, 32)
    want = _normalised(resized.transpose(2, 0, 1))
    assert np.abs(tensor - want).max() <= (0 if kernel.startswith("opencv") else _allowed())


@pytest.mark.parametrize("invert", [False, True])
def test_z_scores(make_contract, invert):
    step = {"divide_by": 1.0, "mean": (0.0,), "std": (1.0,)}
    contract = make_contract(
        values="stored",
        intensity=Z,
        working="float32",
        resize=_resize("opencv.area"),
        normalisation=step,
        **GREY,
    )
    frame = Frame(SPECKLE, color="MONOCHROME1" if invert else "MONOCHROME2")
    tensor = Preprocessor(contract).prepare(frame).tensor
    values = SPECKLE.astype(np.float64)
    scores = (values - values.mean()) / values.std()
    want = by_library("opencv.area", (-scores if invert else scores).astype(np.float32), 24, 32)
    assert np.array_equal(tensor, _normalised([want], step))
    assert tensor.min() < -0.3


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_letterbox_pads_with_any_finite_number(make_contract, layout):
    contract = make_contract(
        values="stored",
        intensity=Z,
        working="float32",
        fit="letterbox",
        padding={"value": -3.25, "anchor": "centre"},
        resize=_resize("torch.bilinear", 32, 32),
        normalisation={"divide_by": 2.0, "mean": (0.5,), "std": (0.25,)},
        **GREY,
    )
    tensor = Preprocessor(contract, layout).prepare(Frame(SPECKLE[:100, :200])).tensor
    plane = tensor[0, 0] if layout == "nchw" else tensor[0, :, :, 0]
    bars = np.float32((-3.25 / 2 - 0.5) / 0.25)
    assert (plane[:8] == bars).all()
    assert (plane[24:] == bars).all()
    assert (plane[8:24] != bars).any(axis=1).all()


@pytest.mark.parametrize("value", [1e39, -1e300])
def test_padding_beyond_float32_is_refused(make_contract, value):
    with pytest.raises(PixelInputRefusedError, match="padding"):
        Preprocessor(
            make_contract(
                values="stored",
                working="float32",
                fit="letterbox",
                padding={"value": value, "anchor": "centre"},
                resize=_resize("torch.bilinear"),
            )
        )


def test_padding_that_normalisation_takes_out_of_float32_is_refused(make_contract):
    with pytest.raises(PixelInputRefusedError, match="float32"):
        Preprocessor(
            make_contract(
                values="stored",
                working="float32",
                fit="letterbox",
                padding={"value": 1e37, "anchor": "centre"},
                resize=_resize("torch.bilinear"),
                normalisation={"divide_by": 0.001, "mean": (0.0,), "std": (1.0,)},
                **GREY,
            )
        )


@pytest.mark.parametrize("kernel", ["pil.bilinear.hv", "pil.nearest", "opencv.linear.u8"])
def test_8_bit_kernels_and_float_working_values_contradict(make_contract, kernel):
    with pytest.raises(ValueError, match="8-bit"):
        make_contract(working="float32", resize=_resize(kernel))


def test_finish_takes_what_resize_gives(make_contract):
    contract = make_contract(values="stored", intensity=AS_IS, resize=_resize("tf.bilinear"))
    preprocessor = Preprocessor(contract)
    image = preprocessor.working_image(Frame(RNG.integers(0, 256, (48, 57), dtype=np.uint8)))
    assert image.dtype == np.uint8
    resized = preprocessor.resize(image)
    assert resized.dtype == np.float32
    preprocessor.finish(resized)
    with pytest.raises(PixelInputRefusedError, match="float32"):
        preprocessor.finish(np.rint(resized).astype(np.uint8))


def test_the_crop_is_of_working_values(make_contract):
    contract = make_contract(
        values="stored",
        intensity=MIN_MAX,
        working="float32",
        crop={"kind": "roi", "required": True},
        resize=_resize("opencv.nearest"),
    )
    preprocessor = Preprocessor(contract)
    image = preprocessor.working_image(Frame(SPECKLE), Box(10, 20, 110, 90))
    assert image.dtype == np.float32
    assert image.shape == (70, 100)
    low, high = int(SPECKLE.min()), int(SPECKLE.max())
    want = ((SPECKLE[20:90, 10:110] - float(low)) / (high - low) * 255).astype(np.float32)
    assert np.array_equal(image, want)


# How far is too far


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_an_8_bit_kernel_must_be_equal(make_contract, layout):
    preprocessor = Preprocessor(make_contract(values="stored"), layout)
    tensor = preprocessor.prepare(Frame(SPECKLE)).tensor
    assert preprocessor.disagreement(tensor, tensor.copy()) is None
    other = tensor.copy()
    other.flat[7] = np.nextafter(other.flat[7], np.float32(9))
    problem = preprocessor.disagreement(tensor, other)
    assert problem is not None
    assert "1 of" in problem


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("channel", [0, 1, 2])
def test_a_float_kernel_has_the_bound_in_every_channel(make_contract, layout, channel):
    contract = make_contract(values="stored", intensity=MIN_MAX, resize=_resize("tf.bilinear"))
    preprocessor = Preprocessor(contract, layout)
    tensor = preprocessor.prepare(Frame(SPECKLE)).tensor
    place = (0, channel, 3, 4) if layout == "nchw" else (0, 3, 4, channel)
    bound = 1e-6 / STEP["std"][channel]
    for gap, agrees in ((0.9 * bound, True), (-0.9 * bound, True), (2 * bound, False)):
        other = tensor.copy()
        other[place] += gap
        assert (preprocessor.disagreement(tensor, other) is None) == agrees
    other[place] = np.nan
    assert preprocessor.disagreement(tensor, other) is not None
    assert preprocessor.disagreement(other, tensor) is not None
    assert preprocessor.disagreement(tensor.astype(np.float64), tensor) is not None
    assert preprocessor.disagreement(tensor[:, :1], tensor) is not None


def test_the_bound_of_z_scores_follows_their_size(make_contract):
    contract = make_contract(
        values="stored",
        intensity=Z,
        working="float32",
        resize=_resize("torch.bilinear"),
        normalisation={"divide_by": 4.0, "mean": (0.5,), "std": (2.0,)},
        **GREY,
    )
    preprocessor = Preprocessor(contract)
    frame = SPECKLE.copy()
    frame[:20, :20] = 60000
    tensor = preprocessor.prepare(Frame(frame)).tensor
    largest = (tensor.max() * 2.0 + 0.5) * 4.0
    assert largest > 5
    for gap, agrees in ((0.9e-6 * largest / 8, True), (5e-6 * largest / 8, False)):
        other = tensor.copy()
        other[0, 0, 20, 20] += gap
        assert (preprocessor.disagreement(tensor, other) is None) == agrees
