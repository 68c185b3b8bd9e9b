"""The preprocessed tensor of a known answer, made by the named libraries themselves.

Nothing here calls `medsdk.pixels`: what the device computes is held against pydicom for the
Modality LUT and the window, numpy for percentiles, Pillow, OpenCV, torch or TensorFlow for the
resize, exact fractions for the sizes, and numpy's float32 arithmetic for the normalisation, in
the way the training script did it.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from medsdk.errors import TaskUnsupportedError
from medsdk.pixels.affine import Box
from medsdk.tasks.pixel_contract import PixelContract
from medsdk_export.reference_resize import resize_by_library

if TYPE_CHECKING:
    from pydicom import Dataset

_BT_601 = (0.299, 0.587, 0.114)


def reference_tensor(
    contract: PixelContract,
    dataset: Dataset,
    frame: NDArray[np.generic],
    *,
    roi: Box | None = None,
    region: Box | None = None,
    layout: Literal["nchw", "nhwc"] = "nchw",
) -> NDArray[np.float32]:
    """Preprocess one frame with the libraries that the contract names.

    Args:
        contract: The network's pixel contract.
        dataset: The object it comes from, for its Modality LUT and photometric meaning.
        frame: Its stored values, rows x columns, or RGB of 8 bits, rows x columns x 3.
        roi: The operator's box, where the contract takes one; stored pixels.
        region: The object's one B-mode region, for crop `ultrasound-region`; stored pixels.
        layout: Axes of the network's input.

    Returns:
        float32 (1, C, H, W), or (1, H, W, C) for `nhwc`; C-contiguous.

    Raises:
        TaskUnsupportedError: The contract names a step that has no reference here, or the
            frame is not one that it takes.
    """
    if contract.laterality != "as-stored":
        raise _unsupported(f"laterality {contract.laterality!r}")
    image = _working_image(contract, dataset, np.asarray(frame))
    image = _cropped(contract, image, roi, region)
    image = _fitted(contract, image)
    count = contract.channels.count
    planes = [image] * count if image.ndim == 2 else [image[:, :, at] for at in range(3)]
    if contract.channels.order == "bgr":
        planes.reverse()
    normal = contract.normalisation
    channels = [
        (plane.astype(np.float32) / np.float32(normal.divide_by) - np.float32(mean))
        / np.float32(std)
        for plane, mean, std in zip(planes, normal.mean, normal.std, strict=True)
    ]
    axis = 0 if layout == "nchw" else 2
    return np.ascontiguousarray(np.stack(channels, axis=axis)[np.newaxis])


def _working_image(contract: PixelContract, dataset: Dataset, frame: NDArray[Any]) -> NDArray[Any]:
    """Rows x columns (x 3), uint8 or float32 as the contract's `working` says."""
    if frame.ndim == 3 and contract.channels.order != "grey":
        if contract.intensity.kind != "as-is" or frame.dtype != np.uint8:
            raise _unsupported(f"{frame.dtype} colour with intensity {contract.intensity.kind!r}")
        return frame.astype(contract.working)
    shown = _display_values(contract, dataset, frame)
    inverted = frame.ndim == 2 and dataset.PhotometricInterpretation == "MONOCHROME1"
    if inverted and contract.monochrome1 == "refuse":
        raise _unsupported("MONOCHROME1 where the contract refuses it")
    if contract.working == "uint8":
        image = np.rint(np.clip(shown, 0.0, 255.0)).astype(np.uint8)
        return 255 - image if inverted else image
    if inverted:
        shown = -shown if contract.intensity.kind == "z-score" else 255.0 - shown
    return shown.astype(np.float32)


def _display_values(
    contract: PixelContract, dataset: Dataset, frame: NDArray[Any]
) -> NDArray[np.float64]:
    """What the intensity step gives, float64, before rounding and inversion."""
    from pydicom.pixels.processing import apply_modality_lut, apply_windowing

    if frame.ndim == 3:
        if contract.channels.from_color != "itu-r-601":
            raise _unsupported("a colour frame where the contract refuses it")
        red, green, blue = (frame[:, :, at].astype(np.float64) for at in range(3))
        values = np.rint(_BT_601[0] * red + _BT_601[1] * green + _BT_601[2] * blue)
    elif contract.values != "stored":
        values = np.asarray(apply_modality_lut(frame, dataset)).astype(np.float64)
    else:
        values = frame.astype(np.float64)
    match contract.intensity.kind:
        case "percentile":
            low, high = np.percentile(values, [contract.intensity.low, contract.intensity.high])
        case "min-max":
            low, high = values.min(), values.max()
        case "z-score":
            return np.asarray((values - values.mean()) / values.std())
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
    return np.asarray((np.clip(values, low, high) - low) / (high - low) * 255.0, np.float64)


def _cropped(
    contract: PixelContract, image: NDArray[Any], roi: Box | None, region: Box | None
) -> NDArray[Any]:
    height, width = image.shape[:2]
    crop = contract.crop
    match crop.kind:
        case "none":
            return image
        case "centre-square":
            side = min(height, width)
            top, left = (height - side) // 2, (width - side) // 2
            return image[top : top + side, left : left + side]
        case "ultrasound-region" if region is not None:
            left, top, right, bottom = _whole_pixels(region)
            return image[top:bottom, left:right]
        case "roi" if roi is None and not crop.required:
            return image
        case "roi" if roi is not None:
            left, top, right, bottom = _whole_pixels(roi)
            if crop.square:
                side = max(right - left, bottom - top)
                left -= (side - (right - left)) // 2
                top -= (side - (bottom - top)) // 2
                left = min(max(left, 0), width - side)
                top = min(max(top, 0), height - side)
                right, bottom = left + side, top + side
            return image[top:bottom, left:right]
        case other:
            raise _unsupported(f"crop {other!r} without its box")


def _whole_pixels(box: Box) -> tuple[int, int, int, int]:
    """The nearest edges of pixels, half a pixel to the right or down."""
    left, top, right, bottom = (
        math.floor(Fraction(edge) + Fraction(1, 2)) for edge in (box.x0, box.y0, box.x1, box.y1)
    )
    return left, top, right, bottom


def _fitted(contract: PixelContract, image: NDArray[Any]) -> NDArray[Any]:
    """Resized by the named library, then padded or cut to the network's input."""
    rows, columns = contract.resize.height, contract.resize.width
    height, width = rows, columns
    if contract.fit != "stretch":
        ratios = Fraction(rows, image.shape[0]), Fraction(columns, image.shape[1])
        ratio = min(ratios) if contract.fit == "letterbox" else max(ratios)
        height, width = (
            max(1, math.floor(side * ratio + Fraction(1, 2))) for side in image.shape[:2]
        )
    resized = resize_by_library(contract.resize.kernel, image, height, width)
    if contract.fit == "cover":
        top, left = (height - rows) // 2, (width - columns) // 2
        return resized[top : top + rows, left : left + columns]
    if contract.padding is None:
        return resized
    canvas = np.full(
        (rows, columns, *resized.shape[2:]), contract.padding.value, dtype=resized.dtype
    )
    top, left = 0, 0
    if contract.padding.anchor == "centre":
        top, left = (rows - height) // 2, (columns - width) // 2
    canvas[top : top + height, left : left + width] = resized
    return canvas


def _unsupported(what: str) -> TaskUnsupportedError:
    return TaskUnsupportedError(
        "the pixel contract has a step without a reference in this release",
        got=what,
        expected="laterality as-stored; crop none, centre-square, roi or ultrasound-region with "
        "its box; colour frames of 8 bits as they are, or weighed to grey",
    )
