"""The whole contract against an independent computation, and what it refuses."""

import dataclasses
import math
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import PIL
import pytest
from numpy.typing import NDArray
from PIL import Image

from medsdk.pixels import Box, Frame, ModalityLut, Preprocessor, as_frame, kernels
from medsdk.pixels.errors import (
    DecoderMissingError,
    KernelUnavailableError,
    PixelInputRefusedError,
    PixelInputUnreadableError,
)
from medsdk.pixels.kernels import _proved

PILLOW = int(PIL.__version__.split(".")[0])
RNG = np.random.default_rng(21)
SPECKLE = np.clip(RNG.rayleigh(400.0, (301, 203)), 0, 4095).astype(np.uint16)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
WINDOW = {"kind": "window", "center": 600.0, "width": 1200.0}
GREY = {"order": "grey"}
IDENTITY = {"divide_by": 1.0, "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


def _resized(image: NDArray[Any], rows: int, columns: int) -> NDArray[Any]:
    source = Image.fromarray(image)
    if PILLOW >= 13:
        source = source.resize((columns, source.height), Image.Resampling.BILINEAR)
    return np.asarray(source.resize((columns, rows), Image.Resampling.BILINEAR))


def _normalised(planes: NDArray[Any]) -> NDArray[np.float32]:
    """As ToTensor and Normalize do: float32, planes first, one operation after the other."""
    tensor = planes.astype(np.float32) / np.float32(255)
    mean = np.array(MEAN, np.float32)[:, np.newaxis, np.newaxis]
    std = np.array(STD, np.float32)[:, np.newaxis, np.newaxis]
    result: NDArray[np.float32] = ((tensor - mean) / std)[np.newaxis]
    return result


@pytest.mark.parametrize("fallback", [False, True], ids=["installed", "numpy"])
@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float32])
def test_percentiles_stretched(make_contract, monkeypatch, fallback, dtype):
    if fallback:
        monkeypatch.setitem(_proved.PROVED, "pillow", _proved.Proved((), ()))
    resize = {"kernel": "pil.bilinear.hv", "height": 224, "width": 224}
    preprocessor = Preprocessor(make_contract(resize=resize))
    array = (SPECKLE.astype(np.int32) - 1000).astype(np.int16) if dtype == np.int16 else SPECKLE
    frame = Frame(array.astype(dtype), modality_lut=ModalityLut(0.5, 3.0))
    values = array * 0.5 + 3.0
    low, high = np.percentile(values, [1, 99])
    image = np.rint((np.clip(values, low, high) - low) / (high - low) * 255).astype(np.uint8)
    want = _normalised(np.repeat(_resized(image, 224, 224)[np.newaxis], 3, axis=0))
    prepared = preprocessor.prepare(frame)
    assert prepared.tensor.dtype == np.float32
    assert prepared.tensor.flags.c_contiguous
    assert prepared.tensor.flags.writeable
    assert np.array_equal(prepared.tensor, want)
    assert prepared.affine.matrix == pytest.approx((224 / 203, 0, 0, 0, 224 / 301, 0))
    assert prepared.crop == Box(0, 0, 203, 301)
    assert prepared.no_result is None
    assert np.array_equal(preprocessor.working_image(frame), image)


@pytest.mark.parametrize("order", ["rgb", "bgr"])
@pytest.mark.parametrize("color", [False, True])
def test_letterbox_of_a_crop(make_contract, order, color):
    shape = (90, 120, 3) if color else (90, 120)
    array = RNG.integers(0, 256, shape, dtype=np.uint8)
    contract = make_contract(
        values="stored",
        intensity={"kind": "as-is"},
        crop={"kind": "roi", "required": True},
        fit="letterbox",
        padding={"value": 114.0, "anchor": "centre"},
        resize={"kernel": "pil.bilinear.hv", "height": 64, "width": 64},
        channels={"order": order},
    )
    roi = Box(10, 20, 90, 60)  # 80 x 40, so 64 x 32 with 16 rows above and below
    frame = Frame(array, color="RGB" if color else "MONOCHROME2")
    prepared = Preprocessor(contract).prepare(frame, roi)
    part = array if color else np.repeat(array[:, :, np.newaxis], 3, axis=2)
    want = np.full((64, 64, 3), 114, np.uint8)
    want[16:48] = _resized(np.ascontiguousarray(part[20:60, 10:90]), 32, 64)
    planes = np.moveaxis(want if order == "rgb" else want[:, :, ::-1], 2, 0)
    assert np.array_equal(prepared.tensor, _normalised(planes))
    assert prepared.affine.apply(10, 20) == (0, 16)
    assert prepared.affine.apply(90, 60) == (64, 48)
    assert prepared.crop == roi


def test_one_channel_of_an_inverted_window(make_contract):
    contract = make_contract(
        intensity=WINDOW,
        crop={"kind": "centre-square"},
        resize={"kernel": "pil.bilinear.hv", "height": 50, "width": 50},
        channels=GREY,
    )
    tensor = Preprocessor(contract).prepare(Frame(SPECKLE, color="MONOCHROME1")).tensor
    y = ((SPECKLE - 599.5) / 1199.0 + 0.5) * 255
    image = 255 - np.rint(np.clip(y, 0, 255)).astype(np.uint8)
    square = np.ascontiguousarray(image[49:252])
    want = _resized(square, 50, 50).astype(np.float32) / np.float32(255)
    want = (want - np.float32(0.5)) / np.float32(0.25)
    assert np.array_equal(tensor, want[np.newaxis, np.newaxis])


@pytest.mark.parametrize("divide_by", [1.0, 255.0, 127.5, 3.3])
def test_the_table_of_normalisation_equals_the_operations(make_contract, divide_by):
    step = {"divide_by": divide_by, "mean": (0.1, -7.3, 0.0), "std": (0.3, 11.0, 1e-3)}
    resize = {"kernel": "pil.bilinear.hv", "height": 16, "width": 16}
    contract = make_contract(values="stored", normalisation=step, resize=resize)
    image = np.arange(256, dtype=np.uint8).reshape(16, 16)
    got = Preprocessor(contract).finish(image)
    for channel in range(3):
        x = image.astype(np.float32) / np.float32(divide_by)
        x = (x - np.float32(step["mean"][channel])) / np.float32(step["std"][channel])
        assert np.array_equal(got[0, channel], x)


@pytest.mark.parametrize(
    ("order", "color"),
    [("grey", "MONOCHROME2"), ("rgb", "MONOCHROME2"), ("rgb", "RGB"), ("bgr", "RGB")],
)
def test_the_layout_moves_the_channels_and_nothing_else(make_contract, order, color):
    steps = {"divide_by": 255.0, "mean": MEAN, "std": STD}
    if order == "grey":
        steps = {"divide_by": 255.0, "mean": (0.5,), "std": (0.25,)}
    contract = make_contract(
        values="stored",
        intensity={"kind": "as-is"},
        channels={"order": order},
        normalisation=steps,
    )
    shape = (40, 50, 3) if color == "RGB" else (40, 50)
    frame = Frame(RNG.integers(0, 256, shape, dtype=np.uint8), color=color)
    first = Preprocessor(contract).prepare(frame).tensor
    last = Preprocessor(contract, layout="nhwc").prepare(frame).tensor
    count = first.shape[1]
    assert (first.shape, last.shape) == ((1, count, 24, 32), (1, 24, 32, count))
    assert np.array_equal(first.transpose(0, 2, 3, 1), last)
    for tensor in (first, last):
        assert tensor.dtype == np.float32
        assert tensor.flags.c_contiguous
        assert tensor.flags.owndata


def test_a_layout_that_is_not_offered(make_contract):
    with pytest.raises(PixelInputRefusedError, match="ncthw"):
        Preprocessor(make_contract(), layout="ncthw")  # type: ignore[arg-type]


def test_without_a_result_the_layout_holds_too(make_contract):
    tensor = Preprocessor(make_contract(), layout="nhwc").prepare(Frame(np.ones((9, 9), np.uint8)))
    assert tensor.tensor.shape == (0, 24, 32, 3)


def test_the_stages_are_those_of_prepare(make_contract):
    for fit in (
        {"fit": "stretch"},
        {"fit": "cover"},
        {"fit": "letterbox", "padding": {"value": 0.0, "anchor": "top-left"}},
    ):
        preprocessor = Preprocessor(make_contract(crop={"kind": "roi", "required": True}, **fit))
        frame, roi = Frame(SPECKLE), Box(3, 4, 150, 200)
        image = preprocessor.working_image(frame, roi)
        assert image.shape == (196, 147)
        resized = preprocessor.resize(image)
        assert resized.shape == preprocessor.resized_size(196, 147)
        by_pillow = _resized(image, *resized.shape)
        assert np.array_equal(resized, by_pillow)
        tensor = preprocessor.prepare(frame, roi).tensor
        assert np.array_equal(preprocessor.finish(by_pillow), tensor)


@pytest.mark.parametrize(
    ("fit", "shape"),
    [
        ({"fit": "stretch"}, (24, 31)),
        ({"fit": "cover"}, (24, 31)),
        ({"fit": "cover"}, (25, 33)),
        ({"fit": "letterbox", "padding": {"value": 0.0, "anchor": "centre"}}, (24, 33)),
        ({"fit": "letterbox", "padding": {"value": 0.0, "anchor": "centre"}}, (23, 31)),
        ({"fit": "stretch"}, (24, 32, 4)),
    ],
)
def test_finish_refuses_what_the_fit_cannot_give(make_contract, fit, shape):
    with pytest.raises(PixelInputRefusedError):
        Preprocessor(make_contract(**fit)).finish(np.zeros(shape, np.uint8))
    with pytest.raises(PixelInputRefusedError):
        Preprocessor(make_contract(**fit)).finish(np.zeros((24, 32), np.float32))


def test_a_constant_frame_has_no_result_and_a_reason(make_contract):
    preprocessor = Preprocessor(make_contract(crop={"kind": "roi", "required": False}))
    frame = Frame(np.full((30, 40), 9, np.uint16))
    prepared = preprocessor.prepare(frame, Box(0, 0, 20, 20))
    assert prepared.no_result is not None
    assert "no contrast" in prepared.no_result
    assert prepared.tensor.shape == (0, 3, 24, 32)
    assert prepared.crop == Box(0, 0, 20, 20)
    with pytest.raises(PixelInputRefusedError, match="no contrast"):
        preprocessor.working_image(frame)


def test_the_contract_is_kept_with_its_digest(make_contract):
    contract = make_contract()
    preprocessor = Preprocessor(contract)
    assert preprocessor.contract is contract
    assert preprocessor.digest == contract.digest
    assert preprocessor.implementation == kernels.implementation("pil.bilinear.hv")
    assert preprocessor.digest != Preprocessor(make_contract(fit="cover")).digest


def test_the_frame_is_not_written_to(make_contract):
    array = SPECKLE.copy()
    array.flags.writeable = False
    Preprocessor(make_contract()).prepare(Frame(array, color="MONOCHROME1"))
    grey = np.arange(768, dtype=np.uint8).reshape(24, 32)
    grey.flags.writeable = False
    contract = make_contract(values="stored", intensity={"kind": "as-is"})
    tensor = Preprocessor(contract).prepare(Frame(grey)).tensor
    tensor[:] = 0
    assert grey.any()


# What is refused


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"intensity": WINDOW | {"width": 0.5}}, "width 0.5"),
        ({"fit": "letterbox", "padding": {"value": 0.5, "anchor": "centre"}}, "padding of 0.5"),
        ({"fit": "letterbox", "padding": {"value": 256.0, "anchor": "centre"}}, "padding of 256"),
        ({"normalisation": IDENTITY | {"std": (1.0, 1e-45, 1.0)}}, "float32"),
        ({"normalisation": IDENTITY | {"std": (1.0, 1e-60, 1.0)}}, "float32"),
    ],
)
def test_numbers_that_a_step_does_not_take(make_contract, changes, words):
    with pytest.raises(PixelInputRefusedError, match=words):
        Preprocessor(make_contract(**changes))


BAD_FRAMES = [
    pytest.param(Frame(np.zeros((0, 4), np.uint8)), "shape", id="no rows"),
    pytest.param(Frame(np.zeros((4, 0), np.uint8)), "shape", id="no columns"),
    pytest.param(Frame(np.zeros((2, 3, 4), np.uint8)), "shape", id="three axes"),
    pytest.param(Frame(np.zeros(7, np.uint8)), "shape", id="one axis"),
    pytest.param(Frame(np.zeros((1, 70000), np.uint8)), "sides", id="too wide"),
    pytest.param(Frame(np.zeros((4, 4), bool)), "bool", id="bool"),
    pytest.param(Frame(np.zeros((4, 4), complex)), "complex", id="complex"),
    pytest.param(Frame(np.zeros((4, 4), object)), "object", id="object"),
    pytest.param(Frame(np.zeros((4, 4), "S4")), "bytes", id="bytes"),
    pytest.param(Frame(np.ma.masked_array(np.zeros((4, 4)))), "Masked", id="masked"),
    pytest.param(Frame([[1, 2]]), "list", id="list"),  # type: ignore[arg-type]
    pytest.param(Frame(np.array([[1.0, math.nan]])), "NaN", id="nan"),
    pytest.param(Frame(np.array([[1.0, -math.inf]], np.float32)), "NaN", id="infinity"),
    pytest.param(Frame(np.zeros((4, 4), np.uint8), color="RGB"), "shape", id="rgb of two axes"),
    pytest.param(Frame(np.zeros((4, 4), np.uint8), color="YBR"), "color", id="other color"),  # type: ignore[arg-type]
    pytest.param(Frame(np.ones((4, 4, 3), np.uint8), color="RGB"), "colour", id="rgb"),
    pytest.param(Frame(np.eye(4), value_kind="hounsfield"), "value_kind", id="other kind"),  # type: ignore[arg-type]
    pytest.param(
        Frame(np.eye(4), modality_lut=ModalityLut(math.nan, 0)), "Modality LUT", id="nan slope"
    ),
]


@pytest.mark.parametrize(("frame", "words"), BAD_FRAMES)
def test_frames_that_are_no_image_are_refused(make_contract, frame, words):
    with pytest.raises(PixelInputRefusedError, match=words) as caught:
        Preprocessor(make_contract()).prepare(frame)
    assert caught.value.got
    assert caught.value.expected


def test_monochrome1_and_colour_are_refused_where_the_contract_says_so(make_contract):
    preprocessor = Preprocessor(make_contract(monochrome1="refuse"))
    with pytest.raises(PixelInputRefusedError, match="MONOCHROME1"):
        preprocessor.prepare(Frame(SPECKLE, color="MONOCHROME1"))
    rgb = Frame(np.ones((8, 8, 3), np.uint8), color="RGB")
    as_is = {"kind": "as-is"}
    with pytest.raises(PixelInputRefusedError, match="RGB"):
        Preprocessor(make_contract(intensity=as_is, channels=GREY)).prepare(rgb)


PERCENTILE = {"kind": "percentile", "low": 1.0, "high": 99.0}
HU_LUT = ModalityLut(1.0, -1024.0, units="HU")


@pytest.mark.parametrize(
    ("values", "intensity", "kind", "lut", "accepted"),
    [
        ("stored", WINDOW, "stored", HU_LUT, True),
        ("stored", WINDOW, "HU", ModalityLut(), False),
        ("stored", PERCENTILE, "display", ModalityLut(), True),
        ("stored", WINDOW, "display", ModalityLut(), False),
        ("modality", PERCENTILE, "stored", ModalityLut(), True),
        ("modality", WINDOW, "HU", ModalityLut(), True),
        ("modality", PERCENTILE, "display", ModalityLut(), True),
        ("modality", {"kind": "min-max"}, "display", ModalityLut(), True),
        ("modality", WINDOW, "display", ModalityLut(), False),
        ("hu", WINDOW, "stored", HU_LUT, True),
        ("hu", WINDOW, "stored", ModalityLut(1.0, -1024.0), False),
        ("hu", WINDOW, "HU", ModalityLut(), True),
        ("hu", PERCENTILE, "display", ModalityLut(), False),
    ],
)
def test_what_the_values_are_must_suit(make_contract, values, intensity, kind, lut, accepted):
    preprocessor = Preprocessor(make_contract(values=values, intensity=intensity))
    frame = Frame(SPECKLE, value_kind=kind, modality_lut=lut)
    if not accepted:
        with pytest.raises(PixelInputRefusedError, match="values are not those"):
            preprocessor.prepare(frame)
        return
    applied = values != "stored" and kind == "stored"
    plain = Frame(lut.apply(SPECKLE) if applied else SPECKLE)
    want = Preprocessor(make_contract(values="stored", intensity=intensity)).prepare(plain)
    assert np.array_equal(preprocessor.prepare(frame).tensor, want.tensor)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64])
def test_a_bare_array_of_stored_values(make_contract, dtype):
    array = np.arange(12, dtype=dtype).reshape(3, 4)
    frame = as_frame(array, make_contract(values="stored"))
    assert frame.array is array
    assert (frame.color, frame.value_kind) == ("MONOCHROME2", "stored")
    assert as_frame(frame, make_contract(values="hu")) is frame


@pytest.mark.parametrize(
    ("values", "array"),
    [
        ("modality", np.zeros((4, 4), np.uint16)),
        ("hu", np.zeros((4, 4), np.int16)),
        ("stored", np.zeros((4, 4), np.float32)),
        ("stored", np.zeros((4, 4), bool)),
        ("stored", np.zeros((4, 4, 3), np.uint8)),
        ("stored", np.zeros((4,), np.uint8)),
    ],
)
def test_an_ambiguous_array_is_refused_with_the_way_out(make_contract, values, array):
    with pytest.raises(PixelInputRefusedError) as caught:
        as_frame(array, make_contract(values=values))
    assert "Frame(array, color=..., value_kind=...)" in caught.value.remedy


def test_what_is_no_array_is_refused(make_contract):
    with pytest.raises(PixelInputRefusedError, match="list"):
        as_frame([[1, 2]], make_contract(values="stored"))  # type: ignore[arg-type]


def test_errors_have_codes_and_survive_pickling():
    codes = {
        PixelInputUnreadableError: ("pixel-input-unreadable", 4),
        PixelInputRefusedError: ("pixel-input-refused", 2),
        DecoderMissingError: ("decoder-missing", 3),
        KernelUnavailableError: ("kernel-unavailable", 3),
    }
    for kind, (code, status) in codes.items():
        error = pickle.loads(pickle.dumps(kind("what", got="got")))
        assert (type(error), error.code, error.exit_status) == (kind, code, status)
        assert str(error) == "what; got: got"


def test_records_are_frozen(make_contract):
    prepared = Preprocessor(make_contract()).prepare(Frame(SPECKLE))
    with pytest.raises(dataclasses.FrozenInstanceError):
        prepared.no_result = "x"  # type: ignore[misc]


def test_importing_pixels_loads_neither_pydicom_nor_pillow():
    code = "import sys, medsdk.pixels; sys.exit(bool({'pydicom', 'PIL'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
