"""Windows, percentiles and the other intensity steps."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from medsdk.pixels._intensity import (
    NoContrastError,
    _percentile_stretch,
    apply_window,
    working_values,
)
from medsdk.pixels.errors import PixelInputRefusedError
from medsdk.pixels.frame import ModalityLut
from medsdk.tasks.pixel_contract import AsIs, Intensity, MinMax, Percentile, Window, ZScore

WHOLE = (slice(None), slice(None))
RESCALE = ModalityLut(1.7, -1024.3)


def _window(center: float, width: float, function: Any = "linear") -> Window:
    return Window(kind="window", center=center, width=width, function=function)


def _uint8(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)


def _run(
    array: Any,
    intensity: Intensity,
    lut: ModalityLut | None = None,
    invert: bool = False,
    part: tuple[slice, slice] = WHOLE,
) -> NDArray[Any]:
    return working_values(array, part, lut or ModalityLut(), intensity, "uint8", invert)


@pytest.mark.parametrize("function", ["linear", "linear-exact", "sigmoid"])
@pytest.mark.parametrize(("center", "width"), [(128.0, 256.0), (40.0, 400.0), (100.25, 33.0)])
def test_windows_equal_pydicom(function, center, width):
    from pydicom.dataset import Dataset
    from pydicom.pixels.processing import apply_windowing

    dataset = Dataset()
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsStored, dataset.PixelRepresentation = 8, 0  # an output of 0 to 255
    dataset.WindowCenter, dataset.WindowWidth = center, width
    dataset.VOILUTFunction = function.upper().replace("-", "_")
    values = np.arange(-1500, 3000, 0.25)
    want = apply_windowing(values, dataset)
    got = apply_window(values, _window(center, width, function))
    if function == "sigmoid":
        assert got == pytest.approx(want, abs=1e-9)
    else:
        assert np.array_equal(got, want)


def test_a_linear_window_of_the_standard_by_hand():
    # PS3.3 C.11.2.1.2.1 with c = 2048, w = 4096 maps 0..4095 to the whole range.
    values = np.array([-1.0, 0.0, 1.0, 2047.5, 4094.0, 4095.0, 5000.0])
    got = apply_window(values, _window(2048.0, 4096.0))
    assert got == pytest.approx([0, 0, 255 / 4095, 127.5, 255 * 4094 / 4095, 255, 255])


def test_a_linear_window_of_width_one_is_a_threshold():
    got = apply_window(np.array([99.0, 99.5, 99.6, 100.0]), _window(100.0, 1.0))
    assert got.tolist() == [0, 0, 255, 255]


@pytest.mark.parametrize("function", ["linear", "linear-exact", "sigmoid"])
def test_values_far_from_a_window_are_quiet(function):
    array = np.array([[-1e308, 1e308]])
    assert _run(array, _window(0.0, 2.0, function)).tolist() == [[0, 255]]


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16, np.int32, np.uint32])
@pytest.mark.parametrize("percents", [(1.0, 99.0), (0.0, 100.0), (0.5, 99.9), (33.3, 66.7)])
@pytest.mark.parametrize(
    "lut",
    [ModalityLut(), RESCALE, ModalityLut(-0.37, 12.0)],
    ids=["identity", "rescale", "falling"],
)
def test_percentiles_of_integers_equal_numpy(dtype, percents, lut):
    rng = np.random.default_rng(5)
    info = np.iinfo(dtype)
    spread = min(info.max, 3000) - max(info.min, -1500)
    array = (rng.beta(2, 5, (61, 47)) * spread + max(info.min, -1500)).astype(dtype)
    values = lut.apply(array)
    low, high = np.percentile(values, percents)
    want = _uint8((np.clip(values, low, high) - low) / (high - low) * 255)
    intensity = Percentile(kind="percentile", low=percents[0], high=percents[1])
    assert np.array_equal(_run(array, intensity, lut), want)
    assert np.array_equal(_run(array, intensity, lut, invert=True), 255 - want)


@settings(max_examples=300)
@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.int16, np.uint16, np.int32]),
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=9),
        elements={"min_value": 0, "max_value": 40},
    ),
    st.floats(0, 60),
    st.floats(0.5, 40),
    st.sampled_from([ModalityLut(), RESCALE, ModalityLut(-2.0, 0.1)]),
)
def test_the_limits_are_numpys_percentiles_to_the_bit(array, low, more, lut):
    step = Percentile(kind="percentile", low=low, high=min(low + more, 100.0))
    values, counts = np.unique(array, return_counts=True)
    want = np.percentile(lut.apply(array), [step.low, step.high])
    if want[0] == want[1]:
        with pytest.raises(NoContrastError):
            _percentile_stretch(lut.apply(values), counts, step)
        return
    got = _percentile_stretch(lut.apply(values), counts, step)
    assert (got.offset, got.divisor) == (want[0], want[1] - want[0])


def test_both_forms_of_numpys_interpolation_are_kept():
    # They differ in the last bit only, and not often.
    rng = np.random.default_rng(13)
    for _ in range(3000):
        values = np.sort(rng.normal(0, 1000, 4))
        low = float(rng.uniform(0, 60))
        step = Percentile(kind="percentile", low=low, high=low + float(rng.uniform(1, 39)))
        want = np.percentile(values, [step.low, step.high])
        got = _percentile_stretch(values, np.ones(4, np.intp), step)
        assert (got.offset, got.divisor) == (want[0], want[1] - want[0])


@pytest.mark.parametrize(
    "intensity",
    [
        Percentile(kind="percentile", low=2.0, high=98.5),
        MinMax(kind="min-max"),
        _window(300.0, 800.0),
        _window(300.0, 800.0, "linear-exact"),
        _window(300.0, 800.0, "sigmoid"),
    ],
    ids=["percentile", "min-max", "linear", "linear-exact", "sigmoid"],
)
@pytest.mark.parametrize("table", [False, True])
def test_table_and_formula_give_the_same_bits(intensity, table):
    rng = np.random.default_rng(9)
    array = rng.integers(-200, 1500, (53, 31)).astype(np.int16)
    array[0, 0], array[0, 1] = -200, 1499
    lut = RESCALE
    if table:  # not monotone, with steps
        entries = rng.permutation(np.arange(700.0)) * 1.5
        lut = ModalityLut(table=entries, first_mapped=100)
    part = (slice(3, 40), slice(5, 29))
    by_table = _run(array, intensity, lut, part=part)
    # Values as floats cannot go through a table.
    by_formula = _run(lut.apply(array), intensity, part=part)
    assert np.array_equal(by_table, by_formula)


def test_percentiles_see_the_whole_frame_and_not_the_crop():
    array = np.arange(100, dtype=np.uint16).reshape(10, 10)
    part = (slice(0, 2), slice(0, 10))
    whole = _run(array, MinMax(kind="min-max"))
    assert np.array_equal(_run(array, MinMax(kind="min-max"), part=part), whole[:2])
    assert whole[1, 9] < 60


def test_rounding_is_half_to_even_before_the_inversion():
    array = np.array([[0.5, 1.5, 2.5, 254.5]])
    step = AsIs(kind="as-is")
    assert _run(array, step).tolist() == [[0, 2, 2, 254]]
    assert _run(array, step, invert=True).tolist() == [[255, 253, 253, 1]]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
def test_as_is_keeps_display_values_and_refuses_others(dtype):
    array = np.array([[0, 7], [128, 255]]).astype(dtype)
    assert np.array_equal(_run(array, AsIs(kind="as-is")), array.astype(np.uint8))
    if dtype != np.uint8:
        with pytest.raises(PixelInputRefusedError, match="0 to 255"):
            _run(array + dtype(1), AsIs(kind="as-is"))


def test_as_is_looks_only_at_values_that_occur():
    lut = ModalityLut(table=np.array([3.0, 9999.0, 200.0]))
    array = np.array([[0, 2]], np.uint8)
    assert _run(array, AsIs(kind="as-is"), lut).tolist() == [[3, 200]]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
@pytest.mark.parametrize(
    "intensity", [Percentile(kind="percentile", low=1.0, high=99.0), MinMax(kind="min-max")]
)
def test_a_constant_frame_has_no_contrast(dtype, intensity):
    with pytest.raises(NoContrastError, match="no contrast"):
        _run(np.full((5, 5), 7, dtype), intensity)


def test_a_nearly_constant_frame_has_no_contrast_between_percentiles():
    array = np.zeros((30, 30), np.uint16)
    array[0, 0] = 9
    with pytest.raises(NoContrastError, match="percentiles 1 and 99"):
        _run(array, Percentile(kind="percentile", low=1.0, high=99.0))


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_z_score(dtype):
    array = np.random.default_rng(1).integers(-50, 900, (20, 30)).astype(dtype)
    step = ZScore(kind="z-score")
    values = array.astype(np.float64)
    want = ((values - values.mean()) / values.std()).astype(np.float32)
    got = working_values(array, WHOLE, ModalityLut(), step, "float32", False)
    assert got.dtype == np.float32
    assert np.array_equal(got, want)
    assert np.array_equal(working_values(array, WHOLE, ModalityLut(), step, "float32", True), -want)
    with pytest.raises(NoContrastError):
        working_values(np.full((3, 3), 5, dtype), WHOLE, ModalityLut(), step, "float32", False)


@pytest.mark.parametrize(
    "array",
    [
        np.array([[1.0, math.nan]]),
        np.array([[1.0, math.inf]], np.float32),
        np.array([[-math.inf, 0.0]], np.float16),
        np.array([[-1.7e308, 1.7e308]]),
        np.array([[0, 2**60]]),
        np.array([[0, 2**63 + 5]], np.uint64),
    ],
)
def test_values_that_cannot_be_stretched_are_refused(array):
    with pytest.raises(PixelInputRefusedError) as caught:
        _run(array, MinMax(kind="min-max"))
    assert caught.value.expected


@pytest.mark.parametrize("dtype", [np.int64, np.uint64, ">i2", ">u4", "<f2"])
def test_any_real_dtype_gives_the_same(dtype):
    array = np.arange(40, 240, dtype=np.uint8).reshape(10, 20)
    want = _run(array, _window(120.0, 100.0))
    assert np.array_equal(_run(array.astype(dtype), _window(120.0, 100.0)), want)


def test_wide_integers_take_the_formula():
    array = np.array([[0, 10**6, 4 * 10**6]], np.uint32)
    assert _run(array, MinMax(kind="min-max")).tolist() == [[0, 64, 255]]
