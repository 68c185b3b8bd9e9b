"""A resize by the library that its kernel is named after, as a training script calls it.

Nothing here is medsdk's arithmetic: known answers and the tests of `medsdk.pixels.kernels` are
held against these calls. A library is imported when its kernel is asked for.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medsdk.errors import TaskUnsupportedError
from medsdk_export.errors import ExportUnavailableError

Image = NDArray[Any]

_LIBRARIES = {
    "pil": ("PIL", "torch"),
    "opencv": ("cv2", "opencv"),
    "torch": ("torch", "torch"),
    "tf": ("tensorflow", "keras"),
}
"""First word of a kernel's name to the library, and the extra that installs it."""


def resize_by_library(kernel: str, image: Image, height: int, width: int) -> Image:
    """Resize with the named library itself.

    Args:
        kernel: A name of `medsdk.tasks.pixel_contract.Kernel`.
        image: rows x columns, or rows x columns x 3, of a dtype that the kernel takes.
        height: Rows of the result.
        width: Columns of the result.

    Returns:
        height x width (x 3): float32 for torch and TensorFlow, otherwise of the image's dtype.

    Raises:
        TaskUnsupportedError: The installed library does not compute what the name means.
        ExportUnavailableError: The library is not installed.
    """
    library_version(kernel)
    reason = not_defined_here(kernel)
    if reason:
        raise TaskUnsupportedError(
            f"the resize kernel {kernel!r} has no reference on this machine",
            got=reason,
            expected="the library that the kernel is named after, with the rule that it names",
            remedy="export on another machine, or with another version of the library",
        )
    match kernel.split("."):
        case ["pil", "nearest"]:
            return _pillow(image, [(width, height)], "NEAREST")
        case ["pil", filter_, "hv"]:
            # Pillow 13 would choose the order itself, and 12.2 does for images like a thread.
            return _pillow(image, [(width, image.shape[0]), (width, height)], filter_.upper())
        case ["pil", filter_, "auto13"]:
            return _pillow(image, [(width, height)], filter_.upper())
        case ["opencv", rule, *_]:
            return _opencv(image, height, width, f"INTER_{rule.upper()}")
        case ["torch", "bilinear", *antialias]:
            return _torch(image, height, width, antialias=bool(antialias))
        case ["tf", "bilinear"]:
            return _tensorflow(image, height, width)
        case _:
            raise ValueError(kernel)


def library_version(kernel: str) -> tuple[str, str]:
    """Name and version of the library that a kernel is named after.

    Raises:
        ExportUnavailableError: It is not installed.
    """
    name, extra = _LIBRARIES[kernel.split(".")[0]]
    if find_spec(name) is None:
        raise ExportUnavailableError(
            f"the library that the resize kernel {kernel!r} is named after is not installed",
            got=f"no {name}",
            expected="the library itself, which makes the reference; never needed on a device",
            remedy=f'pip install "medsdk[{extra}]"',
        )
    return name, str(import_module(name).__version__)


def not_defined_here(kernel: str) -> str:
    """Why the installed library does not compute what a kernel's name means.

    Args:
        kernel: Its name.

    Returns:
        The reason; empty where it does.
    """
    if kernel.endswith(".auto13"):
        import PIL

        if int(PIL.__version__.split(".")[0]) < 13:
            return f"the rule is that of Pillow 13, here is {PIL.__version__}"
    if kernel == "torch.bilinear":
        import torch

        if torch.backends.cpu.get_cpu_capability() == "DEFAULT":
            return "torch fuses no coordinates on this processor (capability DEFAULT)"
    return ""


def _pillow(image: Image, sizes: list[tuple[int, int]], filter_: str) -> Image:
    from PIL import Image as Pillow

    shown = Pillow.fromarray(image)
    for size in sizes:
        shown = shown.resize(size, Pillow.Resampling[filter_])
    return np.asarray(shown)


def _opencv(image: Image, height: int, width: int, flag: str) -> Image:
    import cv2

    source = np.ascontiguousarray(image)
    return np.asarray(cv2.resize(source, (width, height), interpolation=getattr(cv2, flag)))


def _torch(image: Image, height: int, width: int, *, antialias: bool) -> Image:
    import torch

    planes = image[np.newaxis] if image.ndim == 2 else image.transpose(2, 0, 1)
    tensor = torch.from_numpy(np.array(planes, np.float32, order="C"))[None]
    resized = torch.nn.functional.interpolate(
        tensor, size=(height, width), mode="bilinear", align_corners=False, antialias=antialias
    )[0].numpy()
    return np.asarray(resized[0] if image.ndim == 2 else resized.transpose(1, 2, 0))


def _tensorflow(image: Image, height: int, width: int) -> Image:
    import tensorflow as tf

    planes = image[:, :, np.newaxis] if image.ndim == 2 else image
    resized = tf.image.resize(planes, (height, width), method="bilinear")
    shown = np.asarray(resized, np.float32)
    return shown[:, :, 0] if image.ndim == 2 else shown
