"""Execute a pixel contract: from a frame to the network's input tensor.

The order is that of `medsdk.tasks.pixel_contract`: values, intensity (which sees the whole
frame), rounding to working values, MONOCHROME1, crop, resize with fit and padding, channels,
normalisation. The result is the same to the bit whether a library or numpy resizes, and whether
a frame of integers goes through a table or not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from medsdk.pixels import kernels
from medsdk.pixels._color import luma
from medsdk.pixels._geometry import affine_of, check_crop, offset, region_of, resized_size
from medsdk.pixels._intensity import NoContrastError, working_values
from medsdk.pixels._normalisation import Normaliser
from medsdk.pixels.affine import Affine, Box
from medsdk.pixels.errors import PixelInputRefusedError
from medsdk.pixels.frame import Frame, ModalityLut
from medsdk.tasks.pixel_contract import AsIs, PixelContract, Window

Layout = Literal["nchw", "nhwc"]
"""Axes of a network's input, as a task's network declares them."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """One frame, ready for its network.

    Attributes:
        tensor: 1 x channels x rows x columns, or 1 x rows x columns x channels for a network
            of layout `nhwc`; float32, C-contiguous, freshly owned. With `no_result` there is
            nothing to run and its first axis is 0.
        affine: From the stored frame to the network's input, outer-corner coordinates.
        crop: The part of the stored frame that was used, in whole pixels.
        no_result: Why this frame can have no answer (a constant frame has no contrast), or
            None.
    """

    tensor: NDArray[np.float32]
    affine: Affine
    crop: Box
    no_result: str | None = None


class Preprocessor:
    """One pixel contract, checked and ready. Immutable; any number of threads may call it.

    Args:
        contract: The contract.
        layout: Axes of the network's input: `nchw`, or `nhwc` with the channels last.

    Raises:
        KernelUnavailableError: Its resize kernel is not in this release.
        PixelInputRefusedError: It asks for another step that is not in this release, or for
            numbers that the step does not take, or its kernel does not take its working values.
    """

    def __init__(self, contract: PixelContract, layout: Layout = "nchw") -> None:
        self._contract = contract
        if layout not in get_args(Layout):
            raise PixelInputRefusedError.not_offered(f"layout {layout!r}", layout, "nchw or nhwc")
        self._layout: Layout = layout
        self._digest = contract.digest
        self._dtype = kernels.result_dtype(contract.resize.kernel, contract.working)
        check_crop(contract.crop)
        _check_numbers(contract)
        self._target = (contract.resize.height, contract.resize.width)
        self._normaliser = Normaliser(contract)

    @property
    def contract(self) -> PixelContract:
        """The contract that it executes."""
        return self._contract

    @property
    def layout(self) -> Layout:
        """Order of the tensor's axes."""
        return self._layout

    @property
    def digest(self) -> str:
        """The contract's digest, in hexadecimal."""
        return self._digest

    @property
    def implementation(self) -> str:
        """What resizes here: `pillow 13.0.0`, say, or `numpy`. The bits are the same."""
        return kernels.implementation(self._contract.resize.kernel)

    def prepare(self, frame: Frame, roi: Box | None = None) -> Prepared:
        """Everything from the stored frame to the tensor.

        Args:
            frame: The frame; its array is not written to.
            roi: Region of interest in pixels of the stored frame, where the contract takes one.

        Returns:
            The tensor with its geometry, or the reason why there can be no answer.

        Raises:
            PixelInputRefusedError: Shape, dtype, NaN, the meaning of the values, MONOCHROME1,
                colour or the region of interest is not what the contract takes.
        """
        _check_frame(frame, self._contract)
        height, width = frame.array.shape[:2]
        region = region_of(self._contract.crop, height, width, roi, frame.ultrasound_regions)
        size = self.resized_size(region.height, region.width)
        affine = affine_of(region, size, self._offset(size))
        try:
            image = _working_image(frame, self._contract, region.slices)
        except NoContrastError as reason:
            return Prepared(self._empty(0), affine, region.box, str(reason))
        return Prepared(self.finish(self.resize(image)), affine, region.box)

    def working_image(self, frame: Frame, roi: Box | None = None) -> NDArray[Any]:
        """The stage before the resize: cropped working values.

        Args:
            frame: The frame.
            roi: As `prepare` takes it.

        Returns:
            rows x columns, or rows x columns x 3 (RGB) of a colour frame for a colour network,
            of the contract's `working` dtype, C-contiguous.

        Raises:
            PixelInputRefusedError: As `prepare`; also where `prepare` gives `no_result`.
        """
        _check_frame(frame, self._contract)
        height, width = frame.array.shape[:2]
        region = region_of(self._contract.crop, height, width, roi, frame.ultrasound_regions)
        try:
            return _working_image(frame, self._contract, region.slices)
        except NoContrastError as reason:
            raise PixelInputRefusedError.frame(str(reason), "a frame with contrast") from None

    def resized_size(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns that a working image must be resized to, before padding or cutting.

        Args:
            height: Rows of the working image.
            width: Columns of the working image.

        Raises:
            PixelInputRefusedError: So thin an image that `cover` would make it huge.
        """
        return resized_size(self._contract.fit, height, width, self._target)

    def resize(self, image: NDArray[Any]) -> NDArray[Any]:
        """The resize stage alone: a working image at `resized_size`, by the contract's kernel.

        The result has the image's dtype; the kernels of torch and TensorFlow give float32.
        """
        height, width = self.resized_size(*image.shape[:2])
        return kernels.resize(self._contract.resize.kernel, image, height, width)

    def finish(self, resized: NDArray[Any]) -> NDArray[np.float32]:
        """The stages after the resize: padding or cutting, channels, normalisation.

        Args:
            resized: A working image at `resized_size`, by whatever library, of the dtype that
                `resize` gives.

        Returns:
            The tensor as `Prepared.tensor` has it.

        Raises:
            PixelInputRefusedError: Another dtype, or a size that the fit cannot give.
        """
        self._check_resized(resized)
        placed = self._placed(resized)
        order = self._contract.channels.order
        tensor = self._empty(1)
        channels = tensor[0] if self._layout == "nchw" else tensor[0].transpose(2, 0, 1)
        for channel, out in enumerate(channels):
            if placed.ndim == 2:
                plane = placed
            else:
                plane = placed[:, :, 2 - channel if order == "bgr" else channel]
            self._normaliser.into(out, plane, channel)
        return tensor

    def disagreement(self, tensor: NDArray[Any], reference: NDArray[Any]) -> str | None:
        """What keeps a tensor from being what the named library's is; None where they agree.

        They agree if they are equal, or, where the kernel's result is float32, if no value
        is further away than `kernels.FLOAT_BOUND` of the value range, carried through the
        normalisation (docs/decisions/0009).

        Args:
            tensor: As `prepare` gives it.
            reference: As the library that the contract names gave it.

        Returns:
            A sentence without its full stop, or None.
        """
        if tensor.dtype != reference.dtype or tensor.shape != reference.shape:
            return "the tensor has another dtype or shape"
        gaps = np.abs(tensor.astype(np.float64) - reference.astype(np.float64))
        axis = 1 if self._layout == "nchw" else 3
        allowed = np.zeros(self._contract.channels.count)
        if self._dtype == "float32":
            planes = np.moveaxis(reference, axis, 0)
            allowed[:] = [self._normaliser.allowed(plane, at) for at, plane in enumerate(planes)]
        far = ~(np.moveaxis(gaps, axis, -1) <= allowed)  # a NaN is far
        if not far.any():
            return None
        return (
            f"{np.count_nonzero(far)} of {reference.size} values differ from the named library's, "
            f"by at most {gaps.max():.3g}"
            + (f", allowed {allowed.max():.3g}" if self._dtype == "float32" else "")
        )

    def _empty(self, count: int) -> NDArray[np.float32]:
        channels = self._contract.channels.count
        if self._layout == "nchw":
            return np.empty((count, channels, *self._target), np.float32)
        return np.empty((count, *self._target, channels), np.float32)

    def _offset(self, size: tuple[int, int]) -> tuple[int, int]:
        padding = self._contract.padding
        anchor = padding.anchor if padding else "top-left"
        return offset(self._contract.fit, size, self._target, anchor)

    def _placed(self, resized: NDArray[Any]) -> NDArray[Any]:
        rows, columns = self._target
        top, left = self._offset((resized.shape[0], resized.shape[1]))
        if self._contract.padding is None:
            return resized[-top : rows - top, -left : columns - left]
        if resized.shape[:2] == self._target:
            return resized
        canvas = np.full(
            (rows, columns, *resized.shape[2:]), self._contract.padding.value, resized.dtype
        )
        canvas[top : top + resized.shape[0], left : left + resized.shape[1]] = resized
        return canvas

    def _check_resized(self, resized: NDArray[Any]) -> None:
        shape = resized.shape
        if resized.dtype != self._dtype or not (
            resized.ndim == 2 or (resized.ndim == 3 and shape[2] == 3)
        ):
            raise PixelInputRefusedError.frame(
                f"{resized.dtype} of shape {shape}", f"{self._dtype}, rows x columns (x 3)"
            )
        spare = [want - have for want, have in zip(self._target, shape[:2], strict=True)]
        fits = {
            "stretch": spare == [0, 0],
            "letterbox": min(shape[:2]) > 0 and min(spare) >= 0 and 0 in spare,
            "cover": max(spare) <= 0 and 0 in spare,
        }[self._contract.fit]
        if not fits:
            raise PixelInputRefusedError.frame(
                f"{shape[0]} x {shape[1]} pixels",
                f"what fit {self._contract.fit!r} to {self._target[0]} x {self._target[1]} gives",
            )
        if resized.ndim == 3 and self._contract.channels.order == "grey":
            raise PixelInputRefusedError.frame("three channels", "one channel")


def as_frame(array: Frame | NDArray[np.generic], contract: PixelContract) -> Frame:
    """Give a bare array its meaning, where there is only one.

    A bare array is accepted where the contract starts from stored values: rows x columns of
    integers, which are then MONOCHROME2. Not where it starts from `modality` or `hu` (the array
    could be before or after the Modality LUT), not floats (they have been through something),
    and not rows x columns x 3 (RGB or BGR): those need a `Frame` that says it.

    Args:
        array: The array, not copied; a `Frame` is returned as it is.
        contract: The contract that will execute.

    Returns:
        The frame.

    Raises:
        PixelInputRefusedError: The meaning is ambiguous, or it is no array.
    """
    if isinstance(array, Frame):
        return array
    if not isinstance(array, np.ndarray):
        raise PixelInputRefusedError.frame(
            type(array).__name__, "a numpy array", "give numpy.asarray(...) or a Frame"
        )
    if array.ndim != 2 or array.dtype.kind not in "iu":
        raise PixelInputRefusedError.ambiguous(
            f"{array.dtype} of shape {array.shape}", "integers, rows x columns"
        )
    if contract.values != "stored":
        raise PixelInputRefusedError.ambiguous(
            f"an array for a contract of {contract.values!r} values",
            "a Frame that says whether the Modality LUT is still to come",
        )
    return Frame(array)


def _check_numbers(contract: PixelContract) -> None:
    if contract.laterality != "as-stored":
        raise PixelInputRefusedError.not_offered(
            f"laterality {contract.laterality!r}", contract.laterality, "as-stored"
        )
    intensity = contract.intensity
    if isinstance(intensity, Window) and intensity.function == "linear" and intensity.width < 1:
        raise PixelInputRefusedError.values(
            f"a linear window of width {intensity.width:g}", "at least 1 (PS3.3 C.11.2.1.2.1)"
        )
    padding = contract.padding
    if padding is None:
        return
    if contract.working == "float32":
        if not abs(padding.value) <= float(np.finfo(np.float32).max):
            raise PixelInputRefusedError.values(
                f"padding of {padding.value:g}", "a number of float32 for working 'float32'"
            )
    elif not (0 <= padding.value <= 255 and padding.value.is_integer()):
        raise PixelInputRefusedError.values(
            f"padding of {padding.value:g}", "a whole number from 0 to 255 for working 'uint8'"
        )


def _check_frame(frame: Frame, contract: PixelContract) -> None:
    array = frame.array
    if not isinstance(array, np.ndarray) or isinstance(array, np.ma.MaskedArray):
        raise PixelInputRefusedError.frame(type(array).__name__, "a plain numpy array")
    if array.dtype.kind not in "iuf" or array.dtype.itemsize > 8:
        raise PixelInputRefusedError.frame(
            f"dtype {array.dtype.name}", "integers, or floats of 16 to 64 bits"
        )
    color = frame.color == "RGB"
    if array.ndim != (3 if color else 2) or (color and array.shape[2] != 3):
        raise PixelInputRefusedError.frame(
            f"shape {array.shape} for {frame.color}",
            "rows x columns x 3" if color else "rows x columns",
        )
    if not all(1 <= side <= kernels.LARGEST_SIDE for side in array.shape[:2]):
        raise PixelInputRefusedError.frame(
            f"shape {array.shape}", f"sides of 1 to {kernels.LARGEST_SIDE} pixels"
        )
    if frame.color == "MONOCHROME1" and contract.monochrome1 == "refuse":
        raise PixelInputRefusedError.monochrome1()
    if color:
        _check_color(frame, contract)
    elif frame.color not in ("MONOCHROME1", "MONOCHROME2"):
        raise PixelInputRefusedError.frame(
            "a color of another name", "MONOCHROME1, MONOCHROME2 or RGB"
        )
    _check_values(frame, contract)


def _check_color(frame: Frame, contract: PixelContract) -> None:
    if contract.channels.order == "grey" and contract.channels.from_color == "refuse":
        raise PixelInputRefusedError.frame("an RGB frame", "a grey frame, as the task says")
    if not isinstance(contract.intensity, AsIs) or frame.array.dtype != np.uint8:
        raise PixelInputRefusedError.not_offered(
            "intensity of colour frames",
            f"{frame.array.dtype} and intensity {contract.intensity.kind!r}",
            "uint8 and intensity 'as-is'",
        )


def _check_values(frame: Frame, contract: PixelContract) -> None:
    """Whether the contract can start from what the frame's values are.

    - `stored` frames suit every contract; `hu` also needs an object that says HU.
    - `HU` frames suit `modality` and `hu`, not `stored`: nothing leads back.
    - `display` frames suit `stored` and `modality` where the intensity step takes any values
      (percentile, min-max, z-score, as-is), not a window, and never `hu`.
    """
    kind, wanted = frame.value_kind, contract.values
    match kind:
        case "stored":
            if wanted == "hu" and frame.modality_lut.units != "HU":
                raise PixelInputRefusedError.values(
                    "stored values whose object does not say Hounsfield units",
                    "a CT object with RescaleSlope and RescaleIntercept to HU",
                )
        case "HU":
            if wanted == "stored":
                raise PixelInputRefusedError.values("Hounsfield units", "stored values")
        case "display":
            if wanted == "hu" or isinstance(contract.intensity, Window):
                raise PixelInputRefusedError.values(
                    "display values",
                    "Hounsfield units" if wanted == "hu" else f"{wanted} values for the window",
                )
        case _:
            raise PixelInputRefusedError.values(
                "a value_kind of another name", "stored, HU or display"
            )


def _working_image(
    frame: Frame, contract: PixelContract, part: tuple[slice, slice]
) -> NDArray[Any]:
    if frame.color == "RGB":
        image = frame.array[part]
        if contract.channels.order == "grey":
            image = luma(image.astype(np.uint8, copy=False))
        return np.array(image, contract.working, order="C")
    before = contract.values == "stored" or frame.value_kind != "stored"
    lut = ModalityLut() if before else frame.modality_lut
    image = working_values(
        frame.array,
        part,
        lut,
        contract.intensity,
        contract.working,
        invert=frame.color == "MONOCHROME1",
    )
    return np.ascontiguousarray(image, contract.working)
