"""Every kernel against the library that it names, byte for byte."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import PIL
import pytest
from numpy.typing import NDArray
from PIL import Image

from medsdk.pixels import kernels
from medsdk.pixels.errors import KernelUnavailableError, PixelInputRefusedError

HV, AUTO = "pil.bilinear.hv", "pil.bilinear.auto13"
PILLOW = int(PIL.__version__.split(".")[0])


def _contents(rng: np.random.Generator, kind: str, shape: tuple[int, ...]) -> Any:
    if kind == "random":
        return rng.integers(0, 256, shape, dtype=np.uint8)
    if kind == "speckle":
        return np.clip(rng.rayleigh(60.0, shape), 0, 255).astype(np.uint8)
    if kind == "binary":
        return np.where(rng.random(shape) < 0.5, np.uint8(0), np.uint8(255))
    if kind == "constant":
        return np.full(shape, rng.integers(0, 256), np.uint8)
    rows = np.linspace(0, 128, shape[0])[:, np.newaxis]
    image = (rows + np.linspace(0, 127, shape[1])).astype(np.uint8)
    return image if len(shape) == 2 else np.stack([image, 255 - image, image // 2], axis=2)


def _frames(seed: int, count: int) -> Iterator[tuple[NDArray[np.uint8], int, int]]:
    """Images with target sizes: most small, some up to 700, some with extreme ratios."""
    rng = np.random.default_rng(seed)
    kinds = ("random", "speckle", "binary", "constant", "gradient")
    for index in range(count):
        top = 700 if index % 4 == 0 else 90
        height, width, rows, columns = np.exp(rng.uniform(0, np.log(top + 0.5), 4)).astype(int)
        if index % 25 == 0:
            height, rows = (700, 1 + index % 3) if index % 50 else (1 + index % 3, 700)
        if index % 31 == 0:
            rows = height
        if index % 37 == 0:
            columns = width
        shape = (height, width, 3) if index % 3 == 0 else (height, width)
        yield _contents(rng, kinds[index % 5], shape), int(rows), int(columns)


def _pillow_hv(image: NDArray[np.uint8], rows: int, columns: int) -> Any:
    source = Image.fromarray(image)
    # Pillow 13 would choose the order itself, and 12.2 does for images like a thread.
    if PILLOW >= 13 or source.height > 100 * source.width:
        source = source.resize((columns, source.height), Image.Resampling.BILINEAR)
    return np.asarray(source.resize((columns, rows), Image.Resampling.BILINEAR))


def _pillow_auto(image: NDArray[np.uint8], rows: int, columns: int) -> Any:
    return np.asarray(Image.fromarray(image).resize((columns, rows), Image.Resampling.BILINEAR))


CASES = [
    pytest.param(HV, _pillow_hv, id=HV),
    pytest.param(
        AUTO,
        _pillow_auto,
        id=AUTO,
        marks=pytest.mark.skipif(PILLOW < 13, reason="the rule is that of Pillow 13"),
    ),
]


@pytest.mark.parametrize(("kernel", "oracle"), CASES)
def test_a_thousand_frames_equal_pillow(kernel, oracle):
    different = []
    for number, (image, rows, columns) in enumerate(_frames(20240, 1000)):
        want = oracle(image, rows, columns)
        for resize in (kernels.reference_resize, kernels.resize):
            got = resize(kernel, image, rows, columns)
            if got.shape != want.shape or not np.array_equal(got, want):
                different.append((number, resize.__name__, image.shape, rows, columns))
    assert not different


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((480, 640), (416, 416)),
        ((512, 512), (224, 224)),
        ((640, 512), (224, 224)),
        ((700, 300), (224, 224)),
        ((300, 700), (224, 224)),
        ((100, 100), (500, 333)),
        ((700, 1), (1, 700)),
        ((1, 700), (700, 1)),
        ((1, 1), (3, 5)),
        ((700, 700), (1, 1)),
    ],
)
@pytest.mark.parametrize(("kernel", "oracle"), CASES)
def test_whole_sizes_equal_pillow(kernel, oracle, before, after):
    rng = np.random.default_rng(7)
    for shape in (before, (*before, 3)):
        image = rng.integers(0, 256, shape, dtype=np.uint8)
        want = oracle(image, *after)
        assert np.array_equal(kernels.reference_resize(kernel, image, *after), want)
        assert np.array_equal(kernels.resize(kernel, image, *after), want)


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
def test_the_order_of_auto13_follows_the_pixels_lost(before, after, vertical_first):
    image = np.random.default_rng(3).integers(0, 256, before, dtype=np.uint8)
    rows, columns = after
    turned = np.ascontiguousarray(image.T)
    vertical = kernels.reference_resize(HV, turned, columns, rows).T
    horizontal = kernels.reference_resize(HV, image, rows, columns)
    assert not np.array_equal(vertical, horizontal) or rows == before[0]
    want = vertical if vertical_first else horizontal
    assert np.array_equal(kernels.reference_resize(AUTO, image, rows, columns), want)


def test_rounding_is_half_up_between_two_pixels():
    image = np.array([[10, 11]], np.uint8)
    assert kernels.reference_resize(HV, image, 1, 1).item() == 11
    assert kernels.resize(HV, image, 1, 1).item() == 11


@pytest.mark.parametrize("kernel", kernels.KERNELS)
def test_input_is_untouched_and_the_result_is_owned(kernel):
    image = np.random.default_rng(0).integers(0, 256, (30, 40), dtype=np.uint8)
    before = image.copy()
    for resize in (kernels.resize, kernels.reference_resize):
        for size in ((30, 40), (12, 40), (30, 9), (12, 9)):
            result = resize(kernel, image, *size)
            assert result.flags.c_contiguous
            assert result.flags.writeable
            assert not np.shares_memory(result, image)
            result[:] = 0
    assert np.array_equal(image, before)


@pytest.mark.parametrize("kernel", kernels.KERNELS)
def test_strided_views_give_the_same(kernel):
    big = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    for view in (big[5:77:3, 100:3:-2], big[:, :, 1], big.transpose(1, 0, 2)):
        want = kernels.reference_resize(kernel, np.ascontiguousarray(view), 20, 30)
        assert np.array_equal(kernels.reference_resize(kernel, view, 20, 30), want)
        assert np.array_equal(kernels.resize(kernel, view, 20, 30), want)


def test_a_version_that_was_not_proved_is_not_trusted(monkeypatch):
    image = np.random.default_rng(0).integers(0, 256, (30, 40), dtype=np.uint8)
    want = kernels.resize(HV, image, 7, 7)
    monkeypatch.setattr(kernels, "PROVED_PILLOW_VERSIONS", ("1.0.0",))
    monkeypatch.setattr(Image, "fromarray", None)  # would raise if it were called
    assert kernels.implementation(HV) == "numpy"
    assert np.array_equal(kernels.resize(HV, image, 7, 7), want)


def test_a_machine_that_was_not_proved_is_not_trusted(monkeypatch):
    monkeypatch.setattr(kernels, "PROVED_MACHINES", ())
    assert kernels.implementation(AUTO) == "numpy"


def test_the_implementation_names_the_version(monkeypatch):
    monkeypatch.setattr(kernels, "PROVED_PILLOW_VERSIONS", (PIL.__version__,))
    monkeypatch.setattr("platform.machine", lambda: "AMD64")
    assert kernels.implementation(HV) == f"pillow {PIL.__version__}"


@pytest.mark.parametrize("kernel", ["pil.bicubic.hv", "opencv.linear.u8", "tf.bilinear"])
def test_kernels_of_the_schema_that_are_not_offered_are_refused(kernel):
    image = np.zeros((4, 4), np.uint8)
    for call in (
        lambda: kernels.resize(kernel, image, 2, 2),
        lambda: kernels.reference_resize(kernel, image, 2, 2),
        lambda: kernels.implementation(kernel),
    ):
        with pytest.raises(KernelUnavailableError, match="not in this release") as caught:
            call()
        assert caught.value.exit_status == 3
        assert HV in caught.value.expected


@pytest.mark.parametrize(
    ("image", "size"),
    [
        (np.zeros((4, 4), np.uint16), (2, 2)),
        (np.zeros((4, 4, 4), np.uint8), (2, 2)),
        (np.zeros((4,), np.uint8), (2, 2)),
        (np.zeros((0, 4), np.uint8), (2, 2)),
        (np.zeros((4, 4), np.uint8), (0, 2)),
        (np.zeros((4, 4), np.uint8), (2, 70000)),
    ],
)
def test_what_is_no_8_bit_image_is_refused(image, size):
    with pytest.raises(PixelInputRefusedError):
        kernels.resize(HV, image, *size)
