"""What every kernel keeps to, and when a library is trusted."""

import platform
from itertools import product
from typing import Any

import cv2
import numpy as np
import PIL
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from medsdk.pixels import kernels
from medsdk.pixels.errors import KernelUnavailableError, PixelInputRefusedError
from medsdk.pixels.kernels import _proved
from medsdk.pixels.kernels._proved import Proved

HV, AUTO = "pil.bilinear.hv", "pil.bilinear.auto13"
PILLOW_KERNELS = [name for name in kernels.KERNELS if name.startswith("pil.")]
OPENCV_KERNELS = [name for name in kernels.KERNELS if name.startswith("opencv.")]
FLOAT_KERNELS = [name for name in kernels.KERNELS if name.startswith(("torch.", "tf."))]
TAKEN = [
    pytest.param(kernel, dtype, id=f"{kernel}-{dtype}")
    for kernel in kernels.KERNELS
    for dtype in ("uint8", "uint16", "float32")
    if dtype == "uint8" or not (kernel.startswith("pil.") or kernel.endswith(".u8"))
]


def _noise(shape: tuple[int, ...], dtype: str = "uint8", seed: int = 0) -> NDArray[Any]:
    noise: NDArray[Any] = (np.random.default_rng(seed).random(shape) * 255.99).astype(dtype)
    return noise


# The arithmetic, where it can be said without a library


@pytest.mark.parametrize(
    ("before", "after", "vertical_first"),
    [
        ((20, 10), (10, 8), True),  # rows lose 10, columns 2
        ((20, 10), (10, 5), False),  # 10 is not more than 2 x 5
        ((20, 10), (9, 5), True),  # 11 is
        ((10, 20), (10, 30), False),  # no rows are lost
        ((10, 20), (9, 30), True),  # columns are gained
        ((10, 20), (12, 40), False),
        ((640, 480), (416, 416), True),
        ((480, 640), (416, 416), False),
    ],
)
@pytest.mark.parametrize("filter_", ["pil.bilinear", "pil.bicubic"])
def test_the_order_of_auto13_follows_the_pixels_lost(filter_, before, after, vertical_first):
    image = _noise(before, seed=3)
    rows, columns = after
    turned = np.ascontiguousarray(image.T)
    vertical = kernels.reference_resize(f"{filter_}.hv", turned, columns, rows).T
    horizontal = kernels.reference_resize(f"{filter_}.hv", image, rows, columns)
    assert not np.array_equal(vertical, horizontal) or rows == before[0]
    want = vertical if vertical_first else horizontal
    got = kernels.reference_resize(f"{filter_}.auto13", image, rows, columns)
    assert np.array_equal(got, want)


@pytest.mark.parametrize("kernel", [HV, "opencv.linear.u8"])
def test_8_bit_means_round_half_up(kernel):
    image = np.array([[10, 11], [10, 11]], np.uint8)
    assert kernels.reference_resize(kernel, image, 1, 1).item() == 11
    assert kernels.resize(kernel, image, 1, 1).item() == 11


@pytest.mark.parametrize("kernel", FLOAT_KERNELS)
def test_float_kernels_do_not_round(kernel):
    image = np.array([[10, 11, 10, 11]] * 2, np.uint8)
    result = kernels.resize(kernel, image, 1, 2)
    assert result.dtype == np.float32
    assert (result != np.rint(result)).all()


def test_bicubic_overshoots_and_is_cut():
    image = np.repeat(np.array([[0, 0, 255, 255]], np.uint8), 4, axis=0)
    image[:, 1] = 10
    result = kernels.reference_resize("pil.bicubic.hv", image, 4, 16)
    assert result.min() == 0
    assert result.max() == 255


def test_nearest_of_opencv_starts_at_the_corner_and_pillow_s_at_the_centre():
    image = np.arange(9, dtype=np.uint8)[np.newaxis]
    assert kernels.resize("opencv.nearest", image, 1, 3).tolist() == [[0, 3, 6]]
    assert kernels.resize("pil.nearest", image, 1, 3).tolist() == [[1, 4, 7]]


def test_area_is_the_mean_of_a_block():
    image = _noise((12, 15), "uint16")
    want = np.rint(image.reshape(4, 3, 3, 5).astype(np.float64).mean(axis=(1, 3)))
    assert np.array_equal(kernels.reference_resize("opencv.area", image, 4, 3), want)


@settings(deadline=None, max_examples=25)
@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(2, 40),
    st.integers(0, 255),
)
@pytest.mark.parametrize("kernel", kernels.KERNELS)
def test_a_constant_image_stays_constant(kernel, height, width, rows, columns, value):
    image = np.full((height, width), value, np.uint8)
    for resize in (kernels.reference_resize, kernels.resize):
        result = resize(kernel, image, rows, columns)
        assert result.shape == (rows, columns)
        assert np.abs(result.astype(np.float64) - value).max() <= 255e-6


@settings(deadline=None, max_examples=10)
@given(st.integers(1, 30), st.integers(1, 30), st.booleans(), st.integers(0, 99))
@pytest.mark.parametrize(("kernel", "dtype"), TAKEN)
def test_the_same_size_is_the_same_image(kernel, dtype, height, width, color, seed):
    image = _noise((height, width, 3) if color else (height, width), dtype, seed)
    for resize in (kernels.reference_resize, kernels.resize):
        assert np.array_equal(resize(kernel, image, height, width), image)


@pytest.mark.parametrize(("kernel", "dtype"), TAKEN)
def test_channels_do_not_mix(kernel, dtype):
    # Not at half the size: OpenCV adds a grey float32 block of two by two in another order.
    image = _noise((57, 43, 3), dtype)
    for size in ((20, 31), (19, 43), (90, 20), (57, 80)):
        whole = kernels.reference_resize(kernel, image, *size)
        for channel in range(3):
            alone = kernels.reference_resize(kernel, image[:, :, channel], *size)
            assert np.array_equal(whole[:, :, channel], alone)


@pytest.mark.parametrize(("kernel", "dtype"), TAKEN)
def test_input_is_untouched_and_the_result_is_owned(kernel, dtype):
    image = _noise((30, 40), dtype)
    before = image.copy()
    for resize in (kernels.resize, kernels.reference_resize):
        for size in ((30, 40), (12, 40), (30, 9), (12, 9), (60, 80), (15, 20), (31, 45)):
            result = resize(kernel, image, *size)
            assert result.shape == size
            assert result.dtype == kernels.result_dtype(kernel, dtype)
            assert result.flags.c_contiguous
            assert result.flags.writeable
            assert not np.shares_memory(result, image)
            result[:] = 0
            assert np.array_equal(image, before)


@pytest.mark.parametrize(("kernel", "dtype"), TAKEN)
def test_strided_and_read_only_views_give_the_same(kernel, dtype):
    big = _noise((90, 120, 3), dtype)
    big.flags.writeable = False
    for view, size in product(
        (big[5:77:3, 100:3:-2], big[:, :, 1], big.transpose(1, 0, 2)), ((20, 30), (96, 130))
    ):
        want = kernels.reference_resize(kernel, np.ascontiguousarray(view), *size)
        assert np.array_equal(kernels.reference_resize(kernel, view, *size), want)
        assert np.array_equal(kernels.resize(kernel, view, *size), want)


# When a library is trusted


@pytest.fixture
def here(monkeypatch):
    """Both libraries are proved at the installed version, on this machine."""
    machines = (f"{platform.system()} {platform.machine()}",)
    monkeypatch.setitem(_proved.PROVED, "pillow", Proved((PIL.__version__,), machines))
    monkeypatch.setitem(_proved.PROVED, "opencv", Proved((cv2.__version__,), machines))


def test_the_implementation_names_the_version(here):
    for kernel in PILLOW_KERNELS:
        assert kernels.implementation(kernel) == f"pillow {PIL.__version__}"
    for kernel in OPENCV_KERNELS:
        assert kernels.implementation(kernel) == f"opencv {cv2.__version__}"
    for kernel in FLOAT_KERNELS:
        assert kernels.implementation(kernel) == "numpy"


def _forbid_the_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "fromarray", None)  # would raise if it were called
    monkeypatch.setattr(cv2, "resize", None)


@pytest.mark.parametrize(
    "proved", [Proved(("1.0.0",), ("Linux x86_64",)), Proved(("5.0.0", "13.0.0"), ("Linux sh4",))]
)
def test_a_version_or_machine_that_was_not_proved_is_not_trusted(monkeypatch, here, proved):
    image = _noise((30, 40))
    want = [kernels.resize(kernel, image, 7, 7) for kernel in PILLOW_KERNELS + OPENCV_KERNELS]
    for library in _proved.PROVED:
        monkeypatch.setitem(_proved.PROVED, library, proved)
    _forbid_the_libraries(monkeypatch)
    for kernel, array in zip(PILLOW_KERNELS + OPENCV_KERNELS, want, strict=True):
        assert kernels.implementation(kernel) == "numpy"
        assert np.array_equal(kernels.resize(kernel, image, 7, 7), array)


def test_a_library_that_is_proved_is_used(monkeypatch, here):
    _forbid_the_libraries(monkeypatch)
    for kernel in PILLOW_KERNELS + OPENCV_KERNELS:
        with pytest.raises(TypeError):
            kernels.resize(kernel, _noise((30, 40)), 7, 7)
        kernels.reference_resize(kernel, _noise((30, 40)), 7, 7)


def test_opencv_is_not_trusted_while_ipp_may_be_inexact(here):
    image = _noise((300, 400))
    want = kernels.reference_resize("opencv.linear.u8", image, 224, 224)
    cv2.ipp.setUseIPP_NotExact(True)
    try:
        if cv2.ipp.useIPP_NotExact():  # a build without IPP leaves it off
            assert kernels.implementation("opencv.linear.u8") == "numpy"
        assert np.array_equal(kernels.resize("opencv.linear.u8", image, 224, 224), want)
    finally:
        cv2.ipp.setUseIPP_NotExact(False)
    assert kernels.implementation("opencv.linear.u8") == f"opencv {cv2.__version__}"


def test_opencv_built_for_fused_operations_is_not_trusted(monkeypatch, here):
    from medsdk.pixels.kernels import _opencv

    information = "  CPU/HW features:\n    Baseline:   SSE SSE2 SSE3 AVX2 FMA3\n"
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: information)
    _opencv._built_without_fusing.cache_clear()
    try:
        assert kernels.implementation("opencv.area") == "numpy"
    finally:
        _opencv._built_without_fusing.cache_clear()


@pytest.mark.parametrize(("library", "module"), [("pil.nearest", "PIL"), ("opencv.area", "cv2")])
def test_a_library_that_is_absent_is_replaced(monkeypatch, here, library, module):
    monkeypatch.setitem(__import__("sys").modules, module, None)
    assert kernels.implementation(library) == "numpy"
    assert kernels.resize(library, _noise((4, 4)), 2, 2).shape == (2, 2)


# What is refused


def test_a_kernel_of_another_name_is_refused():
    image = np.zeros((4, 4), np.uint8)
    for call in (
        lambda: kernels.resize("opencv.cubic", image, 2, 2),
        lambda: kernels.reference_resize("opencv.cubic", image, 2, 2),
        lambda: kernels.implementation("opencv.cubic"),
        lambda: kernels.result_dtype("opencv.cubic", "uint8"),
    ):
        with pytest.raises(KernelUnavailableError, match="not in this release") as caught:
            call()
        assert caught.value.exit_status == 3
        assert HV in caught.value.expected


@pytest.mark.parametrize("kernel", kernels.KERNELS)
@pytest.mark.parametrize(
    ("image", "size"),
    [
        (np.zeros((4, 4), np.int16), (2, 2)),
        (np.zeros((4, 4), np.float64), (2, 2)),
        (np.zeros((4, 4), bool), (2, 2)),
        (np.zeros((4, 4), ">u2"), (2, 2)),
        (np.zeros((4, 4, 4), np.uint8), (2, 2)),
        (np.zeros((4, 4, 1), np.uint8), (2, 2)),
        (np.zeros((4,), np.uint8), (2, 2)),
        (np.zeros((0, 4), np.uint8), (2, 2)),
        (np.zeros((4, 4), np.uint8), (0, 2)),
        (np.zeros((4, 4), np.uint8), (2, 70000)),
    ],
)
def test_what_is_no_image_of_the_kernel_is_refused(kernel, image, size):
    for resize in (kernels.resize, kernels.reference_resize):
        with pytest.raises(PixelInputRefusedError):
            resize(kernel, image, *size)


@pytest.mark.parametrize("kernel", [*PILLOW_KERNELS, "opencv.linear.u8"])
@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_8_bit_kernels_take_8_bits(kernel, dtype):
    with pytest.raises(PixelInputRefusedError, match="uint8 for"):
        kernels.resize(kernel, np.zeros((4, 4), dtype), 2, 2)
