"""From a frame's values to working values: Modality LUT, window, percentiles, inversion.

Everything is computed in float64. A frame of integers with few different values goes through a
table with one entry a stored value, built by the same operations in the same order, so that
both ways give the same bits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medsdk.pixels.errors import PixelInputRefusedError
from medsdk.pixels.frame import ModalityLut
from medsdk.tasks.pixel_contract import AsIs, Intensity, MinMax, Percentile, Window, ZScore

Values = NDArray[np.float64]

_LARGEST_TABLE = 65536

_LARGEST_EXACT = 1 << 53
"""Integers up to here are exact in float64."""


class NoContrastError(Exception):
    """The frame has no contrast, so there is nothing to stretch; `str()` is the reason."""


@dataclass(frozen=True)
class Stretch:
    """What the whole frame says about its intensity: `(value - offset) / divisor`."""

    offset: float
    divisor: float


def working_values(
    array: NDArray[np.generic],
    part: tuple[slice, slice],
    lut: ModalityLut,
    intensity: Intensity,
    working: Literal["uint8", "float32"],
    invert: bool,
) -> NDArray[np.uint8] | NDArray[np.float32]:
    """Map the cropped part of a grey frame; percentiles and the like see the whole frame.

    Args:
        array: The whole frame, rows x columns, integer or float, at least one pixel.
        part: Rows and columns to return.
        lut: What the stored values become first.
        intensity: The contract's step.
        working: The contract's working values. `uint8`: clipped to 0..255 and rounded half to
            even, then inverted.
        invert: The frame is MONOCHROME1. 255 minus the value; the negative of a z-score.

    Returns:
        The part's working values.

    Raises:
        NoContrastError: The frame is constant where the step needs a spread.
        PixelInputRefusedError: NaN or infinity, integers or a range beyond float64, or `as-is`
            values beyond 0..255.
    """
    # Overflow is looked for where it matters; far from a window it is just "above" or "below".
    with np.errstate(over="ignore", invalid="ignore"):
        if array.dtype.kind in "iu":
            low, high = int(array.min()), int(array.max())
            if low < -_LARGEST_EXACT or high > _LARGEST_EXACT:
                raise PixelInputRefusedError.frame(
                    "integers beyond 2**53", "integers that float64 holds exactly"
                )
            if high - low < _LARGEST_TABLE:
                return _by_table(array, part, low, high, lut, intensity, working, invert)
        elif not np.isfinite(array).all():
            raise PixelInputRefusedError.frame(
                "NaN or infinity", "finite values", "replace what the scanner did not measure"
            )
        values = _mapped(lut, array)
        stretch = _stretch_of(values, intensity)
        return _finish(_display(values[part], intensity, stretch), intensity, working, invert)


def _by_table(
    array: NDArray[np.generic],
    part: tuple[slice, slice],
    low: int,
    high: int,
    lut: ModalityLut,
    intensity: Intensity,
    working: Literal["uint8", "float32"],
    invert: bool,
) -> NDArray[np.uint8] | NDArray[np.float32]:
    values = _mapped(lut, np.arange(low, high + 1, dtype=np.int64))
    needs_counts = isinstance(intensity, Percentile) or (
        lut.table is not None and not isinstance(intensity, Window)
    )
    stretch: Stretch | None
    if isinstance(intensity, ZScore):
        # The mean of all pixels, summed in one order: not worth a second formula.
        stretch = _stretch_of(_mapped(lut, array), intensity)
        index = _index(array[part], low)
    elif needs_counts:
        everywhere = _index(array, low)
        counts = np.bincount(everywhere.ravel(), minlength=values.size)
        present = counts > 0
        stretch = (
            _percentile_stretch(values[present], counts[present], intensity)
            if isinstance(intensity, Percentile)
            else _stretch_of(values[present], intensity)
        )
        index = everywhere[part]
    else:
        # Slope and intercept are monotone: the ends of the table are the frame's extremes.
        stretch = _stretch_of(values[[0, -1]], intensity)
        index = _index(array[part], low)
    if isinstance(intensity, AsIs):
        values = np.clip(values, 0, 255)  # entries between the frame's values may be anything
    table = _finish(_display(values, intensity, stretch), intensity, working, invert)
    return table.take(index, mode="clip")


def _index(array: NDArray[np.generic], low: int) -> NDArray[np.intp]:
    difference: NDArray[np.intp] = np.subtract(array, low, dtype=np.intp)
    return difference


def _mapped(lut: ModalityLut, array: NDArray[np.generic]) -> Values:
    values = lut.apply(array)
    if not np.isfinite(values).all():
        raise PixelInputRefusedError.frame(
            "values beyond float64 after the Modality LUT", "finite values"
        )
    return values


def _stretch_of(values: Values, intensity: Intensity) -> Stretch | None:
    """The frame's own numbers that the step needs, or None."""
    match intensity:
        case Percentile(low=low, high=high):
            bottom, top = np.percentile(values, [low, high], method="linear")
            return _between(float(bottom), float(top), _percentile_reason(intensity))
        case MinMax():
            return _between(
                float(values.min()), float(values.max()), "the frame is constant: no contrast"
            )
        case ZScore():
            deviation = float(values.std())
            if not math.isfinite(deviation):
                raise _too_wide()
            if deviation == 0.0 or float(values.min()) == float(values.max()):
                raise NoContrastError("the frame is constant: its standard deviation is zero")
            return Stretch(float(values.mean()), deviation)
        case AsIs():
            if float(values.min()) < 0 or float(values.max()) > 255:
                raise PixelInputRefusedError.values(
                    "values beyond 0 to 255",
                    "display values of 8 bits, which intensity 'as-is' takes as they are",
                )
            return None
        case Window():
            return None


def _percentile_stretch(values: Values, counts: NDArray[np.intp], intensity: Percentile) -> Stretch:
    """Percentiles of the pixels from how often each value occurs."""
    order = np.argsort(values, kind="stable")
    behind = np.cumsum(counts[order])
    ordered = values[order]
    bottom, top = (
        _order_statistic(ordered, behind, percent) for percent in (intensity.low, intensity.high)
    )
    return _between(bottom, top, _percentile_reason(intensity))


def _order_statistic(ordered: Values, behind: NDArray[np.intp], percent: float) -> float:
    """Hyndman and Fan's definition 7 with the arithmetic of `numpy.percentile`.

    Args:
        ordered: The different values, ascending.
        behind: How many pixels are at or below each.
        percent: 0 to 100.
    """
    last = int(behind[-1]) - 1
    position = last * (percent / 100)
    lower = min(math.floor(position), last)
    upper = min(lower + 1, last)
    fraction = position - lower
    at = np.searchsorted(behind, [lower, upper], side="right")
    a, b = float(ordered[at[0]]), float(ordered[at[1]])
    # Both forms are numpy's: each is exact at its own end.
    return b - (b - a) * (1 - fraction) if fraction >= 0.5 else a + (b - a) * fraction


def _percentile_reason(intensity: Percentile) -> str:
    return (
        f"the percentiles {intensity.low:g} and {intensity.high:g} of the frame are equal: "
        "no contrast"
    )


def _between(bottom: float, top: float, reason: str) -> Stretch:
    if bottom == top:
        raise NoContrastError(reason)
    if not math.isfinite(top - bottom):
        raise _too_wide()
    return Stretch(bottom, top - bottom)


def _too_wide() -> PixelInputRefusedError:
    return PixelInputRefusedError.frame(
        "a range of values beyond float64", "values whose differences are finite"
    )


def _display(values: Values, intensity: Intensity, stretch: Stretch | None) -> Values:
    if isinstance(intensity, Window):
        return apply_window(values, intensity)
    if stretch is None:
        return values
    result = (values - stretch.offset) / stretch.divisor
    if not isinstance(intensity, ZScore):
        # Clipped before the scale: values far outside would pass float64 there.
        result = np.clip(result, 0.0, 1.0) * 255.0
    return result


def apply_window(values: Values, window: Window) -> Values:
    """The VOI functions of PS3.3 C.11.2.1.2.1 to .3 with an output of 0 to 255.

    Args:
        values: Any finite float64 values.
        window: Centre, width and function; `linear` needs a width of at least 1.

    Returns:
        Display values, float64, not rounded.
    """
    center, width = window.center, window.width
    if window.function == "sigmoid":
        with np.errstate(over="ignore"):
            return np.asarray(255.0 / (1.0 + np.exp(-4.0 * ((values - center) / width))))
    if window.function == "linear":
        center -= 0.5
        width -= 1.0
    below = values <= center - width / 2
    above = values > center + width / 2
    # A linear window of width 1 is a threshold: no value lies between.
    slope = np.subtract(values, center)
    between = ~(below | above)
    np.divide(slope, width, out=slope, where=between)
    slope = (slope + 0.5) * 255.0
    slope[below] = 0.0
    slope[above] = 255.0
    return slope


def _finish(
    display: Values, intensity: Intensity, working: Literal["uint8", "float32"], invert: bool
) -> NDArray[np.uint8] | NDArray[np.float32]:
    if working == "uint8":
        rounded = np.rint(np.clip(display, 0.0, 255.0)).astype(np.uint8)
        return np.subtract(np.uint8(255), rounded) if invert else rounded
    if invert:
        display = -display if isinstance(intensity, ZScore) else 255.0 - display
    return display.astype(np.float32)
