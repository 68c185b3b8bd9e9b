"""Resize kernels, each named by the library and the rule that it reproduces byte for byte.

`pil.bilinear.hv` and `pil.bilinear.auto13` are Pillow's bilinear resize of 8-bit images
(`Image.resize(size, Image.Resampling.BILINEAR)`) and differ in the order of their two passes
alone. Each pass rounds to 8 bits, so the order shows:

- `hv`: horizontal first, always. Pillow up to 12.1. Pillow 12.2 and 12.3 do the same but for
  images more than 100 times as high as wide whose height shrinks (12.3.0, `src/PIL/Image.py`,
  `Image.resize`), which no scanner makes.
- `auto13`: Pillow 13 runs the vertical pass first where the height loses more than twice as
  many pixels as the width, and loses any: `H - h > 0 and H - h > 2 (W - w)`, in pixels, not in
  ratios (Pillow 13.0.0, `src/libImaging/Resample.c`, `ImagingResampleInner`).

The numpy reference below is written from the arithmetic of that file: triangle filter widened
by the shrinking ratio, weights in float64 normalised to one, then fixed point with 22 bits
(`32 - 8 - 2`), the sum rounded half up and clipped. Where the installed Pillow is of a version
that was compared byte for byte with this reference, on a machine of a kind where that was done,
Pillow does the work; anywhere else the reference does.
"""

from __future__ import annotations

import platform
from functools import lru_cache
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from medsdk.pixels.errors import KernelUnavailableError, PixelInputRefusedError

KERNELS: Final = ("pil.bilinear.hv", "pil.bilinear.auto13")
"""The kernels of `medsdk.tasks.pixel_contract.Kernel` that this release executes."""

PROVED_PILLOW_VERSIONS: Final = (
    "11.0.0",
    "11.3.0",
    "12.0.0",
    "12.1.1",
    "12.2.0",
    "12.3.0",
    "13.0.0",
)
"""Versions of Pillow whose passes were compared with the reference and did not differ."""

PROVED_MACHINES: Final = ("x86_64", "AMD64")
"""`platform.machine()` where they were compared. Elsewhere a compiler may fuse a multiplication
and an addition of the weights, which can move a weight by one unit."""

LARGEST_SIDE: Final = 65535
"""Rows and columns of an image, as in DICOM; larger sides are refused."""

_PRECISION_BITS: Final = 32 - 8 - 2

Pass = Literal["horizontal", "vertical"]


def resize(kernel: str, array: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Resize an image with a kernel, by the library or by the reference.

    Args:
        kernel: One of `KERNELS`.
        array: rows x columns, or rows x columns x 3, uint8.
        height: Rows of the result.
        width: Columns of the result.

    Returns:
        A new C-contiguous uint8 array, height x width (x 3).

    Raises:
        KernelUnavailableError: This release does not offer the kernel.
        PixelInputRefusedError: Another dtype or shape, or a side of zero.
    """
    order = _checked_order(kernel, array, height, width)
    if _pillow_version() is not None:
        return _pillow_resize(order, array, height, width)
    return _numpy_resize(order, array, height, width)


def reference_resize(
    kernel: str, array: NDArray[np.uint8], height: int, width: int
) -> NDArray[np.uint8]:
    """Resize as `resize` does, in numpy whatever is installed."""
    return _numpy_resize(_checked_order(kernel, array, height, width), array, height, width)


def implementation(kernel: str) -> str:
    """What `resize` uses for a kernel here: `pillow 13.0.0`, say, or `numpy`.

    Raises:
        KernelUnavailableError: This release does not offer the kernel.
    """
    _check_kernel(kernel)
    version = _pillow_version()
    return "numpy" if version is None else f"pillow {version}"


def _check_kernel(kernel: str) -> None:
    if kernel not in KERNELS:
        raise KernelUnavailableError.not_offered(kernel, KERNELS)


def _checked_order(
    kernel: str, array: NDArray[np.uint8], height: int, width: int
) -> tuple[Pass, Pass]:
    _check_kernel(kernel)
    if array.dtype != np.uint8:
        raise PixelInputRefusedError.frame(f"dtype {array.dtype}", f"uint8 for {kernel}")
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)):
        raise PixelInputRefusedError.frame(
            f"shape {array.shape}", "rows x columns, or rows x columns x 3"
        )
    sides = (*array.shape[:2], height, width)
    if min(sides) < 1 or max(sides) > LARGEST_SIDE:
        raise PixelInputRefusedError.frame(
            f"{array.shape[0]} x {array.shape[1]} to {height} x {width} pixels",
            f"sides of 1 to {LARGEST_SIDE} pixels",
        )
    rows_lost = array.shape[0] - height
    columns_lost = array.shape[1] - width
    if kernel == "pil.bilinear.auto13" and rows_lost > 0 and rows_lost > 2 * columns_lost:
        return "vertical", "horizontal"
    return "horizontal", "vertical"


def _pillow_version() -> str | None:
    """The installed Pillow's version where it was proved, else None."""
    try:
        from PIL import __version__
    except ImportError:
        return None
    if __version__ in PROVED_PILLOW_VERSIONS and platform.machine() in PROVED_MACHINES:
        return __version__
    return None


def _pillow_resize(
    order: tuple[Pass, Pass], array: NDArray[np.uint8], height: int, width: int
) -> NDArray[np.uint8]:
    """One axis at a time, so that the order is ours whatever the version would choose."""
    from PIL import Image

    image = Image.fromarray(array)
    for axis in order:
        size = (width, image.height) if axis == "horizontal" else (image.width, height)
        if size != image.size:
            image = image.resize(size, Image.Resampling.BILINEAR)
    return np.array(image)


def _numpy_resize(
    order: tuple[Pass, Pass], array: NDArray[np.uint8], height: int, width: int
) -> NDArray[np.uint8]:
    result = array
    for axis in order:
        if axis == "vertical":
            result = _resize_rows(result, height)
        else:
            result = _resize_rows(result.swapaxes(0, 1), width).swapaxes(0, 1)
    return np.array(result, order="C")


def _resize_rows(array: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """One pass along the first axis."""
    if array.shape[0] == count:
        return array
    first, weights = _weights(array.shape[0], count)
    rows = np.ascontiguousarray(array).reshape(array.shape[0], -1)
    total = np.full((count, rows.shape[1]), 1 << (_PRECISION_BITS - 1), np.int32)
    product = np.empty_like(total)
    for tap in range(weights.shape[1]):
        # Behind the last tap of an output the weight is zero and any row will do.
        row = rows.take(first + tap, axis=0, mode="clip")
        np.multiply(row, weights[:, tap, np.newaxis], out=product, dtype=np.int32)
        total += product
    total >>= _PRECISION_BITS
    np.minimum(total, 255, out=total)
    return total.astype(np.uint8).reshape(count, *array.shape[1:])


@lru_cache(maxsize=64)
def _weights(before: int, after: int) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
    """First input pixel and fixed-point weights (after x taps) of every output pixel."""
    scale = before / after
    support = max(scale, 1.0)
    inverse = 1.0 / support
    center = (np.arange(after, dtype=np.float64) + 0.5) * scale
    first = np.maximum(np.trunc(center - support + 0.5), 0).astype(np.intp)
    last = np.minimum(np.trunc(center + support + 0.5), before).astype(np.intp)
    taps = int((last - first).max())
    pixel = first[:, np.newaxis] + np.arange(taps)
    distance = np.abs((pixel - center[:, np.newaxis] + 0.5) * inverse)
    weight = np.where((distance < 1.0) & (pixel < last[:, np.newaxis]), 1.0 - distance, 0.0)
    # Summed one after the other, as the C loop does: numpy's sum() goes pairwise.
    total = np.add.accumulate(weight, axis=1)[:, -1:]
    weight /= np.where(total == 0.0, 1.0, total)
    fixed = np.trunc(0.5 + weight * (1 << _PRECISION_BITS)).astype(np.int32)
    first.flags.writeable = False
    fixed.flags.writeable = False
    return first, fixed
