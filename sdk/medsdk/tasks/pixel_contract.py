"""The pixel contract as data: from stored pixels to the network's input.

The steps run in this order, and each is one field: `values` (Modality LUT),
`intensity` (window or percentiles), `monochrome1`, `laterality`, `crop`, `fit` with `resize`
and `padding`, `channels`, `normalisation`. `medsdk.pixels` executes it. Preprocessing is part of
the network, so the contract has a digest and a finding carries it.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from medsdk.tasks._interval import PositiveInterval
from medsdk.tasks.strict import Strict

Kernel = Literal[
    "pil.bilinear.hv",
    "pil.bilinear.auto13",
    "pil.bicubic.hv",
    "pil.bicubic.auto13",
    "pil.nearest",
    "opencv.linear.u8",
    "opencv.area",
    "opencv.nearest",
    "torch.bilinear",
    "torch.bilinear.antialias",
    "tf.bilinear",
]
"""A resize, named by the library and rule that it reproduces (docs/conventions.md)."""

ValueKind = Literal["stored", "modality", "hu"]
"""`stored`: as in the file. `modality`: after the Modality LUT. `hu`: the same, and the
image must be in Hounsfield units."""


class Window(Strict):
    """DICOM VOI window with the task's own centre and width (PS3.3 C.11.2.1.2)."""

    kind: Literal["window"]
    center: float
    width: PositiveFloat
    function: Literal["linear", "linear-exact", "sigmoid"] = "linear"


class Percentile(Strict):
    """Clip each frame at two of its own percentiles, then stretch to the whole range.

    Percentiles interpolate linearly between order statistics (numpy's `linear`).
    """

    kind: Literal["percentile"]
    low: Annotated[float, Field(ge=0, lt=100)]
    high: Annotated[float, Field(gt=0, le=100)]

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low ({self.low}) must be below high ({self.high})")
        return self


class MinMax(Strict):
    """Stretch each frame from its own minimum and maximum."""

    kind: Literal["min-max"]


class ZScore(Strict):
    """Subtract each frame's mean and divide by its standard deviation (float frames)."""

    kind: Literal["z-score"]


class AsIs(Strict):
    """Values are display values already and stay as they are (8-bit ultrasound)."""

    kind: Literal["as-is"]


Intensity = Annotated[Window | Percentile | MinMax | ZScore | AsIs, Field(discriminator="kind")]


class WholeFrame(Strict):
    """No crop."""

    kind: Literal["none"]


class CentreSquare(Strict):
    """The largest centred square; a spare odd pixel stays on the right or bottom."""

    kind: Literal["centre-square"]


class RegionOfInterest(Strict):
    """The box that the operator gave with `roi=`; `required` refuses a frame without one."""

    kind: Literal["roi"]
    required: bool
    square: bool = False


class UltrasoundRegion(Strict):
    """The one B-mode region of SequenceOfUltrasoundRegions.

    A frame without one, with several, or with one that leaves the frame is refused.
    """

    kind: Literal["ultrasound-region"]


class CandidateBox(Strict):
    """A box that an earlier network proposed, grown by `margin` of its size."""

    kind: Literal["candidate-box"]
    margin: Annotated[float, Field(ge=0, le=4)] = 0.0
    square: bool = False


class AbdomenOnly(Strict):
    """The body's largest component in the plane, above `threshold_hu` (CT)."""

    kind: Literal["body"]
    threshold_hu: float


Crop = Annotated[
    WholeFrame | CentreSquare | RegionOfInterest | UltrasoundRegion | CandidateBox | AbdomenOnly,
    Field(discriminator="kind"),
]


class Resize(Strict):
    """The kernel and the size of the network's input, in pixels."""

    kernel: Kernel
    height: Annotated[int, Field(ge=1, le=4096)]
    width: Annotated[int, Field(ge=1, le=4096)]


class Padding(Strict):
    """What a letterbox fills its bars with, in working values, and where the image sits."""

    value: float
    anchor: Literal["centre", "top-left"]


class Channels(Strict):
    """Channel order of the network and what happens to frames of the other kind.

    `grey` networks take one channel, `rgb` and `bgr` three. A grey frame is replicated for
    three channels. A colour frame for a grey network is refused or weighed by
    ITU-R BT.601: `0.299 R + 0.587 G + 0.114 B` in float64, from left to right, rounded half to
    even to 8 bits, before the resize.
    """

    order: Literal["grey", "rgb", "bgr"]
    from_color: Literal["refuse", "itu-r-601"] = "refuse"

    @property
    def count(self) -> int:
        """Number of channels of the network's input."""
        return 1 if self.order == "grey" else 3


class Normalisation(Strict):
    """`(value / divide_by - mean) / std`, in float32, operation by operation."""

    divide_by: PositiveFloat
    mean: tuple[float, ...]
    std: tuple[PositiveFloat, ...]


class ClipSampling(Strict):
    """Which frames of a clip a clip network sees: by time, not by index.

    Attributes:
        frames: How many, the network's T.
        interval_ms: Time between two of them; the nearest frame is taken.
        position: Where the sampled stretch lies in a clip that is longer.
        frame_rate_hz: Frame rates of clips that are accepted.
        short: What happens to a clip that is too short.
    """

    frames: PositiveInt
    interval_ms: PositiveFloat
    position: Literal["start", "centre"]
    frame_rate_hz: PositiveInterval
    short: Literal["refuse", "repeat-last"]


class PixelContract(Strict):
    """Everything between the stored pixels and the input tensor of one network.

    Attributes:
        values: Which values enter.
        intensity: How values become display values.
        working: `uint8`: after `intensity`, clipped to 0..255 and rounded half to even, so
            that 8-bit kernels apply. `float32`: left as they are.
        monochrome1: What happens to MONOCHROME1 frames.
        laterality: `flip-right` mirrors an image of a right organ left to right (Image
            Laterality or Laterality is R), so that the network sees left ones only, and refuses
            an image that does not say its side.
        crop: The part of the frame that is used.
        fit: `stretch` ignores the aspect ratio, `letterbox` keeps it and pads, `cover`
            keeps it and crops what stands over, centred.
        resize: Kernel and target size.
        padding: Needed by `letterbox` alone.
        channels: Channel order.
        normalisation: Scale, mean and standard deviation, one a channel.
        clip: Frame choice of a clip network, else absent.
    """

    values: ValueKind
    intensity: Intensity
    working: Literal["uint8", "float32"]
    monochrome1: Literal["invert", "refuse"]
    laterality: Literal["as-stored", "flip-right"] = "as-stored"
    crop: Crop
    fit: Literal["stretch", "letterbox", "cover"]
    resize: Resize
    padding: Padding | None = None
    channels: Channels
    normalisation: Normalisation
    clip: ClipSampling | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        count = self.channels.count
        for key in ("mean", "std"):
            have = len(getattr(self.normalisation, key))
            if have != count:
                raise ValueError(
                    f"normalisation.{key} has {have} values, channels.order "
                    f"{self.channels.order!r} needs {count}"
                )
        if (self.fit == "letterbox") != (self.padding is not None):
            have_padding = "missing" if self.padding is None else "there"
            raise ValueError(
                f"padding is {have_padding} and fit is {self.fit!r}; allowed: padding with "
                "fit = 'letterbox', and with it alone"
            )
        kernel = self.resize.kernel
        if self.working == "float32" and (kernel.startswith("pil.") or kernel.endswith(".u8")):
            raise ValueError(
                f"resize.kernel is {kernel!r}, which takes 8-bit images; allowed: "
                "working = 'uint8', or another kernel"
            )
        if self.working == "uint8" and self.intensity.kind == "z-score":
            raise ValueError(
                "working is 'uint8' and intensity.kind 'z-score'; allowed: working = 'float32'"
            )
        return self

    @property
    def digest(self) -> str:
        """sha256 of the contract's canonical JSON, in hexadecimal.

        Keys at their default are left out, so that a key which a later release adds leaves the
        digests of older contracts as they are.
        """
        text = json.dumps(
            self.model_dump(mode="json", exclude_defaults=True),
            sort_keys=True,
            separators=(",", ":"),
            allow_nan=False,
        )
        return hashlib.sha256(text.encode()).hexdigest()
