"""Frames on which the resize kernels are compared with the libraries that they are named after.

The libraries' own calls are in `medsdk_export.reference_resize`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[Any]

KERNELS_OF = {
    "pillow": (
        "pil.bilinear.hv",
        "pil.bilinear.auto13",
        "pil.bicubic.hv",
        "pil.bicubic.auto13",
        "pil.nearest",
    ),
    "opencv": ("opencv.linear.u8", "opencv.area", "opencv.nearest"),
    "torch": ("torch.bilinear", "torch.bilinear.antialias"),
    "tensorflow": ("tf.bilinear",),
}
"""Library to the kernels that it defines."""

_CONTENTS = ("random", "speckle", "binary", "constant", "gradient")


@dataclass(frozen=True)
class Case:
    """A frame and the size that it shall get.

    Attributes:
        image: rows x columns, or rows x columns x 3.
        height: Rows of the result.
        width: Columns of the result.
    """

    image: Image
    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.image.dtype} {self.image.shape} to {self.height} x {self.width}"


def dtypes_of(kernel: str) -> tuple[str, ...]:
    """The dtypes that a kernel's library was asked for."""
    only_8_bits = kernel.startswith("pil.") or kernel.endswith(".u8")
    return ("uint8",) if only_8_bits else ("uint8", "uint16", "float32")


def cases_of(kernel: str, count: int, seed: int, largest: int = 700) -> Iterator[Case]:
    """`fuzzed` for a kernel, without the size that its library gets wrong.

    Args:
        kernel: Its name.
        count: How many.
        seed: Of the random generator.
        largest: Longest side.
    """
    for case in fuzzed(count, seed, dtypes_of(kernel), largest):
        if kernel == "torch.bilinear.antialias" and case.width == 1:
            yield Case(case.image, case.height, 2)  # torch repeats the first row of one column
        else:
            yield case


def fuzzed(
    count: int, seed: int, dtypes: tuple[str, ...] = ("uint8",), largest: int = 700
) -> Iterator[Case]:
    """Frames of many sizes, ratios and contents; most small, one in eight up to `largest`.

    Sizes are log-uniform, so both sides shrink, both grow, or one of each. One in ten shrinks by
    whole ratios, one in ten to exactly a half, some keep a side, some are threads of one to
    three pixels. A third has three channels.

    Args:
        count: How many.
        seed: Of the random generator.
        dtypes: Taken by turns; `uint8`, `uint16` or `float32`.
        largest: Longest side.
    """
    rng = np.random.default_rng(seed)
    for index in range(count):
        top = largest if index % 8 == 0 else 80
        height, width, rows, columns = (
            int(side) for side in np.exp(rng.uniform(0, np.log(top + 0.9), 4))
        )
        match index % 20:
            case 1 | 11:
                down, across = (int(ratio) for ratio in rng.integers(1, 8, 2))
                height, width = rows * down, columns * across
            case 3 | 13:
                height, width = rows * 2, columns * 2
            case 5:
                rows = height
            case 7:
                columns = width
            case 9:
                height, rows = largest, 1 + index % 3
            case 15:
                height, rows = 1 + index % 3, largest
            case _:
                pass
        shape = (height, width, 3) if rng.random() < 1 / 3 else (height, width)
        content = _CONTENTS[int(rng.integers(len(_CONTENTS)))]
        image = _image(rng, content, shape, dtypes[index % len(dtypes)])
        yield Case(image, rows, columns)


def _image(rng: np.random.Generator, content: str, shape: tuple[int, ...], dtype: str) -> Image:
    match content:
        case "random":
            unit = rng.random(shape)
        case "speckle":
            unit = np.minimum(rng.rayleigh(0.25, shape), 1.0)
        case "binary":
            unit = (rng.random(shape) < 0.5).astype(np.float64)
        case "constant":
            unit = np.full(shape, rng.random())
        case "gradient":
            rows = np.linspace(0, 0.5, shape[0])
            unit = np.add.outer(rows, np.linspace(0, 0.5, shape[1]))
            if len(shape) == 3:
                unit = np.stack([unit, 1 - unit, unit / 2], axis=2)
        case _:
            raise ValueError(content)
    if dtype == "float32":
        return (unit * 3000 - 1000).astype(np.float32)  # the range of a CT
    return np.rint(unit * np.iinfo(dtype).max).astype(dtype)
