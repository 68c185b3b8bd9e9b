"""Faults before the network: each breaks the preprocessed tensor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.planted_faults.checking import verified
from tests.planted_faults.plant import Plant
from tests.planted_faults.workshop import ROLE


def _pixels(manifest: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = manifest["task"]["networks"][ROLE]["pixels"]
    return found


def channel_order(_: Path, manifest: dict[str, Any]) -> None:
    _pixels(manifest)["channels"]["order"] = "bgr"


def mean_off(_: Path, manifest: dict[str, Any]) -> None:
    _pixels(manifest)["normalisation"]["mean"][0] += 1 / 255


def other_kernel(_: Path, manifest: dict[str, Any]) -> None:
    _pixels(manifest)["resize"]["kernel"] = "opencv.linear.u8"


def window_off(_: Path, manifest: dict[str, Any]) -> None:
    _pixels(manifest)["intensity"]["center"] += 1.0


def window_far_off(_: Path, manifest: dict[str, Any]) -> None:
    _pixels(manifest)["intensity"]["center"] += 7.0


def percentiles(_: Path, manifest: dict[str, Any]) -> None:
    _pixels(manifest)["intensity"] = {"kind": "percentile", "low": 1.0, "high": 99.0}


PLANTS = (
    Plant(
        "channel order",
        "pixel contract: `channels.order` is bgr",
        "preprocess",
        r"channels are in another order: reversed.*the task says 'bgr'",
        verified("colour", channel_order),
    ),
    Plant(
        "mean off by 1/255",
        "pixel contract: `normalisation.mean` of channel 0",
        "preprocess",
        r"constant offset .* in channel 0: .* mean 0\.485, the task says 0\.488922 \(\+0\.003922\)",
        verified("colour", mean_off),
    ),
    Plant(
        "another resize kernel",
        "pixel contract: `resize.kernel` is opencv.linear.u8",
        "preprocess",
        r"what kernel 'pil\.bilinear\.hv' gives, the task says 'opencv\.linear\.u8'",
        verified("colour", other_kernel),
    ),
    Plant(
        "window off by 1 HU",
        "pixel contract of the CT task: `intensity.center`",
        "preprocess",
        r"a window of center 40 gives, the task says 41: it is off by \+1 HU",
        verified("window", window_off),
    ),
    Plant(
        "window off by 1 HU",
        "the same by 7 HU",
        "preprocess",
        r"a window of center 40 and width 400 gives, the task says 47 and 400",
        verified("window", window_far_off),
    ),
    Plant(
        "a window replaced by percentiles",
        "pixel contract of the CT task: `intensity` is 1 to 99 %",
        "preprocess",
        r"a window of center 40 and width 400 gives, the task says percentiles 1 to 99",
        verified("window", percentiles),
    ),
)
