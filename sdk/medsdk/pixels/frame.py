"""A frame as the scanner gives it: pixels and what they mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medsdk.pixels.ultrasound_regions import UltrasoundRegion

Color = Literal["MONOCHROME1", "MONOCHROME2", "RGB"]
"""Photometric meaning of the pixels (DICOM names)."""

FrameValues = Literal["stored", "HU", "display"]
"""`stored`: values as stored, a Modality LUT may follow. `HU`: Hounsfield units.
`display`: 8-bit display values."""


@dataclass(frozen=True, eq=False)
class ModalityLut:
    """From stored values to those of the modality (PS3.3 C.11.1); the default changes nothing.

    Attributes:
        slope: RescaleSlope.
        intercept: RescaleIntercept, in units of the output.
        table: Output values of ModalityLUTSequence, which then takes the place of slope and
            intercept, or None. Not copied and never written to.
        first_mapped: The stored value that `table[0]` belongs to; values outside the table
            take its nearest end.
        units: `HU` where the object says that the output is in Hounsfield units, else None.
    """

    slope: float = 1.0
    intercept: float = 0.0
    table: NDArray[np.float64] | None = None
    first_mapped: int = 0
    units: Literal["HU"] | None = None

    def apply(self, stored: NDArray[np.generic]) -> NDArray[np.float64]:
        """Map values.

        Args:
            stored: Stored values, any integer or float dtype and shape.

        Returns:
            `stored * slope + intercept` in float64, operation by operation, or the table's
            entries. A new array of the same shape.
        """
        if self.table is None:
            values = stored.astype(np.float64)
            values *= self.slope
            values += self.intercept
            return values
        index = stored.astype(np.int64) - self.first_mapped
        return self.table[np.clip(index, 0, self.table.size - 1)]


@dataclass(frozen=True, eq=False)
class Frame:
    """One image with its meaning.

    Attributes:
        array: rows x columns, or rows x columns x 3 for RGB; any integer or float dtype. Not
            copied and never written to.
        color: Photometric meaning.
        spacing_mm: Distance of pixel centres (between rows, between columns), or None.
        value_kind: What the values are.
        modality_lut: What follows for `stored` values; `HU` and `display` values have it
            behind them, so it is not used for those.
        ultrasound_regions: Regions that the object names, for contracts that crop to one.
        decoder: What decoded it, with its version: `pillow 13.0.0`, say, or `medsdk` for
            uncompressed pixels. None where it came as an array.
    """

    array: NDArray[np.generic]
    color: Color = "MONOCHROME2"
    spacing_mm: tuple[float, float] | None = None
    value_kind: FrameValues = "stored"
    modality_lut: ModalityLut = ModalityLut()
    ultrasound_regions: tuple[UltrasoundRegion, ...] = ()
    decoder: str | None = None
