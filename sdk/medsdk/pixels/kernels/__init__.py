"""Resize kernels, each named by the library and the rule that it reproduces.

| kernel | takes | gives | is |
|---|---|---|---|
| `pil.bilinear.*`, `pil.bicubic.*`, `pil.nearest` | uint8 | uint8 | `_pillow` |
| `opencv.linear.u8` | uint8 | uint8 | `_opencv` |
| `opencv.area`, `opencv.nearest` | uint8, uint16, float32 | what it takes | `_opencv` |
| `torch.bilinear`, `torch.bilinear.antialias` | uint8, uint16, float32 | float32 | `_torch` |
| `tf.bilinear` | uint8, uint16, float32 | float32 | `_tensorflow` |

Numpy is the reference, and what computes wherever the library is not there. A library takes over
where the installed version, on this kind of machine, is in `_proved.PROVED`: there every kernel
of it gave the same bytes as the reference. What torch and TensorFlow compute is always numpy's
work here (docs/decisions/0009). Two results of the same kernel are therefore equal, or for
float32 results within `FLOAT_BOUND` of the library itself. `docs/kernels.md` has the rules.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from numpy.typing import NDArray

from medsdk.pixels.errors import KernelUnavailableError, PixelInputRefusedError
from medsdk.pixels.kernels import _opencv, _pillow, _tensorflow, _torch

FLOAT_BOUND: Final = 1e-6
"""How far a float32 result may be from the named library's, as a share of the value range: of
255 for display values, otherwise of the largest absolute value of the image."""

LARGEST_SIDE: Final = 65535
"""Rows and columns of an image, as in DICOM; larger sides are refused."""

Image = NDArray[Any]
Resize = Callable[[Image, int, int], Image]


@dataclass(frozen=True)
class Kernel:
    """What is behind a name.

    Attributes:
        takes: Names of the dtypes of an image.
        gives_float: The result is float32 whatever the image is; otherwise of its dtype.
        reference: The arithmetic in numpy: image, height, width.
        library: The same by the named library; None where numpy always does it.
        version: The library's version if it is here and proved, else None.
        title: The library's name in `implementation`.
    """

    takes: tuple[str, ...]
    gives_float: bool
    reference: Resize
    library: Resize | None = None
    version: Callable[[], str | None] = lambda: None
    title: str = ""


def _pil(filter_: _pillow.Filter, rule: _pillow.Rule) -> Kernel:
    return Kernel(
        takes=("uint8",),
        gives_float=False,
        reference=partial(_pillow.reference, filter_, rule),
        library=partial(_pillow.by_library, filter_, rule),
        version=_pillow.proved_version,
        title="pillow",
    )


def _cv(reference: Resize, flag: str, takes: tuple[str, ...]) -> Kernel:
    return Kernel(
        takes=takes,
        gives_float=False,
        reference=reference,
        library=partial(_opencv.by_library, flag),
        version=_opencv.proved_version,
        title="opencv",
    )


_ANY = ("uint8", "uint16", "float32")

_TABLE: Final = {
    "pil.bilinear.hv": _pil("bilinear", "hv"),
    "pil.bilinear.auto13": _pil("bilinear", "auto13"),
    "pil.bicubic.hv": _pil("bicubic", "hv"),
    "pil.bicubic.auto13": _pil("bicubic", "auto13"),
    "pil.nearest": Kernel(
        takes=("uint8",),
        gives_float=False,
        reference=_pillow.nearest,
        library=_pillow.nearest_by_library,
        version=_pillow.proved_version,
        title="pillow",
    ),
    "opencv.linear.u8": _cv(_opencv.linear, "INTER_LINEAR", ("uint8",)),
    "opencv.area": _cv(_opencv.area, "INTER_AREA", _ANY),
    "opencv.nearest": _cv(_opencv.nearest, "INTER_NEAREST", _ANY),
    "torch.bilinear": Kernel(_ANY, gives_float=True, reference=_torch.bilinear),
    "torch.bilinear.antialias": Kernel(_ANY, gives_float=True, reference=_torch.antialias),
    "tf.bilinear": Kernel(_ANY, gives_float=True, reference=_tensorflow.bilinear),
}

KERNELS: Final = tuple(_TABLE)
"""The kernels of `medsdk.tasks.pixel_contract.Kernel` that this release executes: all."""


def resize(kernel: str, array: Image, height: int, width: int) -> Image:
    """Resize an image with a kernel, by the library or by the reference.

    Args:
        kernel: One of `KERNELS`.
        array: rows x columns, or rows x columns x 3, of a dtype that the kernel takes; floats
            are finite.
        height: Rows of the result.
        width: Columns of the result.

    Returns:
        A new C-contiguous array, height x width (x 3), of the kernel's dtype.

    Raises:
        KernelUnavailableError: There is no kernel of this name.
        PixelInputRefusedError: Another dtype or shape, or a side of zero.
    """
    entry = _checked(kernel, array, height, width)
    if entry.library is not None and entry.version() is not None:
        return entry.library(array, height, width)
    return entry.reference(array, height, width)


def reference_resize(kernel: str, array: Image, height: int, width: int) -> Image:
    """Resize as `resize` does, in numpy whatever is installed."""
    return _checked(kernel, array, height, width).reference(array, height, width)


def implementation(kernel: str) -> str:
    """What `resize` uses for a kernel here: `pillow 13.0.0`, say, or `numpy`.

    Raises:
        KernelUnavailableError: There is no kernel of this name.
    """
    entry = _entry(kernel)
    version = entry.version()
    return "numpy" if version is None else f"{entry.title} {version}"


def result_dtype(kernel: str, dtype: str) -> str:
    """The dtype of a kernel's result.

    Args:
        kernel: One of `KERNELS`.
        dtype: Name of the image's dtype.

    Returns:
        `float32` for the kernels of torch and TensorFlow, otherwise `dtype`.

    Raises:
        KernelUnavailableError: There is no kernel of this name.
        PixelInputRefusedError: The kernel does not take the dtype.
    """
    entry = _entry(kernel)
    if dtype not in entry.takes:
        raise PixelInputRefusedError.frame(
            f"dtype {dtype}", f"{', '.join(entry.takes)} for {kernel}"
        )
    return "float32" if entry.gives_float else dtype


def _entry(kernel: str) -> Kernel:
    if kernel not in _TABLE:
        raise KernelUnavailableError.not_offered(kernel, KERNELS)
    return _TABLE[kernel]


def _checked(kernel: str, array: Image, height: int, width: int) -> Kernel:
    result_dtype(kernel, array.dtype.name)
    if not array.dtype.isnative:
        raise PixelInputRefusedError.frame("bytes in another order", "the machine's byte order")
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
    return _entry(kernel)
