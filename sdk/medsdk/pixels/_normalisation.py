"""The last step, `(value / divide_by - mean) / std`, and how far two of its results may differ.

Everything is float32, one operation after the other. The 256 values of an 8-bit image go through
a table that was built by the same operations, so both ways give the same bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medsdk.pixels import kernels
from medsdk.pixels.errors import PixelInputRefusedError
from medsdk.tasks.pixel_contract import PixelContract

_LARGEST_Z = 65536.0
"""No z-score passes the root of the number of pixels, which has 32 bits."""

_ROUNDING = 2.0**-24
"""Largest relative error of a float32 operation."""


class Normaliser:
    """One contract's normalisation, checked.

    Args:
        contract: The pixel contract.

    Raises:
        PixelInputRefusedError: Its numbers take working values out of float32.
    """

    def __init__(self, contract: PixelContract) -> None:
        step = contract.normalisation
        self._is_z = contract.intensity.kind == "z-score"
        self._divide_by = np.float32(step.divide_by)
        self._steps = tuple(
            (np.float32(mean), np.float32(std))
            for mean, std in zip(step.mean, step.std, strict=True)
        )
        values = np.arange(256, dtype=np.float32)
        largest = _LARGEST_Z if self._is_z else 255.0
        padding = contract.padding.value if contract.padding else 0.0
        ends = np.array([-largest, largest, padding], np.float32)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            tables = tuple(
                self._compute(values, np.empty_like(values), channel)
                for channel in range(len(self._steps))
            )
            extremes = [
                self._compute(ends, np.empty_like(ends), channel)
                for channel in range(len(self._steps))
            ]
        if not all(np.isfinite(table).all() for table in (*tables, *extremes)):
            raise PixelInputRefusedError.values(
                "a normalisation that leaves float32", "divide_by, mean and std of common sizes"
            )
        for table in tables:
            table.flags.writeable = False
        self._tables = tables

    def into(self, out: NDArray[np.float32], plane: NDArray[Any], channel: int) -> None:
        """Normalise one channel.

        Args:
            out: Where to, float32; any strides.
            plane: Its working values, uint8 or float32.
            channel: Of the network.
        """
        if plane.dtype == np.uint8 and out.flags.c_contiguous:
            self._tables[channel].take(plane, out=out, mode="clip")
        elif plane.dtype == np.uint8:
            out[...] = self._tables[channel].take(plane, mode="clip")
        else:
            self._compute(plane, out, channel)

    def _compute(
        self, values: NDArray[np.float32], out: NDArray[np.float32], channel: int
    ) -> NDArray[np.float32]:
        mean, std = self._steps[channel]
        np.divide(values, self._divide_by, out=out)
        out -= mean
        out /= std
        return out

    def allowed(self, reference: NDArray[np.float32], channel: int) -> float:
        """How far a channel may be from a reference that a kernel's library made in float32.

        `kernels.FLOAT_BOUND` of the range of the working values (255; with z-scores the
        largest one that the reference shows, at least 1), carried through the step, and the
        rounding of its three operations on both sides.

        Args:
            reference: The channel as the named library gave it, normalised.
            channel: Of the network.
        """
        mean, std = (float(number) for number in self._steps[channel])
        divide_by = float(self._divide_by)
        span = 255.0
        if self._is_z:
            shown = (reference.astype(np.float64) * std + mean) * divide_by
            span = max(1.0, float(np.abs(shown).max(initial=0.0)))
        largest = span / divide_by + abs(mean)
        return (kernels.FLOAT_BOUND * span / divide_by + 6 * _ROUNDING * largest) / std
