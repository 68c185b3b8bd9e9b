"""The preprocessed tensor of a known answer, made by the named libraries themselves.

Nothing here calls `medsdk.pixels`: what the device computes is held against pydicom for the
Modality LUT and the window, numpy for percentiles, Pillow for the resize, and numpy's float32
arithmetic for the normalisation, in the way the training script did it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medsdk.errors import TaskUnsupportedError
from medsdk.tasks.pixel_contract import PixelContract

if TYPE_CHECKING:
    from pydicom import Dataset


def reference_tensor(
    contract: PixelContract, dataset: Dataset, frame: NDArray[np.generic]
) -> NDArray[np.float32]:
    """Preprocess one frame with the libraries that the contract names.

    Args:
        contract: The network's pixel contract.
        dataset: The object it comes from, for its Modality LUT and photometric meaning.
        frame: Its stored values, rows x columns.

    Returns:
        float32 (1, C, H, W).

    Raises:
        TaskUnsupportedError: The contract names a step that has no reference here yet.
    """
    from PIL import Image

    if contract.crop.kind not in ("none", "centre-square") or contract.fit != "stretch":
        raise _unsupported(f"crop {contract.crop.kind!r} with fit {contract.fit!r}")
    if contract.working != "uint8":
        raise _unsupported(f"working = {contract.working!r}")
    shown = _display_values(contract, dataset, frame)
    image = np.rint(np.clip(shown, 0.0, 255.0)).astype(np.uint8)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        if contract.monochrome1 == "refuse":
            raise _unsupported("MONOCHROME1 where the contract refuses it")
        image = 255 - image
    if contract.crop.kind == "centre-square":
        side = min(image.shape)
        top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
        image = image[top : top + side, left : left + side]
    resized = np.asarray(_resize(Image.fromarray(image), contract))
    normal = contract.normalisation
    planes = [resized] * contract.channels.count
    channels = [
        (plane.astype(np.float32) / np.float32(normal.divide_by) - np.float32(mean))
        / np.float32(std)
        for plane, mean, std in zip(planes, normal.mean, normal.std, strict=True)
    ]
    return np.ascontiguousarray(np.stack(channels)[np.newaxis])


def _display_values(
    contract: PixelContract, dataset: Dataset, frame: NDArray[np.generic]
) -> NDArray[np.float64]:
    """0..255 before rounding."""
    from pydicom.pixels.processing import apply_modality_lut, apply_windowing

    values = np.asarray(frame)
    if contract.values != "stored":
        values = np.asarray(apply_modality_lut(values, dataset))
    values = values.astype(np.float64)
    match contract.intensity.kind:
        case "percentile":
            low, high = np.percentile(values, [contract.intensity.low, contract.intensity.high])
        case "min-max":
            low, high = values.min(), values.max()
        case "window":
            from pydicom import Dataset

            window = Dataset()
            window.PhotometricInterpretation = "MONOCHROME2"
            window.BitsStored, window.PixelRepresentation = 8, 0
            window.WindowCenter = contract.intensity.center
            window.WindowWidth = contract.intensity.width
            window.VOILUTFunction = contract.intensity.function.upper().replace("-", "_")
            return np.asarray(apply_windowing(values, window), np.float64)
        case "as-is":
            return values
        case other:
            raise _unsupported(f"intensity {other!r}")
    return np.asarray((np.clip(values, low, high) - low) / (high - low) * 255.0, np.float64)


def _resize(image: object, contract: PixelContract) -> object:
    import PIL
    from PIL import Image

    if not isinstance(image, Image.Image):
        raise TypeError(type(image).__name__)
    size = (contract.resize.width, contract.resize.height)
    bilinear = Image.Resampling.BILINEAR
    match contract.resize.kernel:
        case "pil.bilinear.hv":
            # Two resizes along one axis each keep the order on every version of Pillow.
            across = image.resize((size[0], image.height), bilinear)
            return across.resize(size, bilinear)
        case "pil.bilinear.auto13" if int(PIL.__version__.split(".")[0]) >= 13:
            return image.resize(size, bilinear)
        case other:
            raise _unsupported(f"kernel {other!r} with Pillow {PIL.__version__}")


def _unsupported(what: str) -> TaskUnsupportedError:
    return TaskUnsupportedError(
        "the pixel contract has a step without a reference in this release",
        got=what,
        expected="uint8, crop none or centre-square, fit stretch, a pil.bilinear kernel",
    )
