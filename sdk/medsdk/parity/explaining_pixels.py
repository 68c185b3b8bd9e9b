"""What explains a preprocessed tensor that is not the named library's.

First what the two tensors show by themselves, then the pixel contract with one step changed: where
that gives the stored tensor, the step is named.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import chain, product
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from medsdk.parity.explaining import (
    EQUAL,
    denormalised,
    explain_order,
    explain_planes,
    linear_relation,
    same,
    where_it_is,
)
from medsdk.parity.explaining_outputs import to_bfloat16
from medsdk.pixels.contract import Preprocessor
from medsdk.pixels.kernels import KERNELS
from medsdk.tasks.pixel_contract import Percentile, PixelContract, Window
from medsdk_runtimes.errors import MedsdkError

Layout = Literal["nchw", "nhwc"]
Prepare = Callable[[Preprocessor], NDArray[np.float32]]
"""Prepares the image in question by another contract; first axis 0 where that gives no result."""

_ONE_LEVEL = 1.0 + 1e-3
_WIDE = Window(kind="window", center=0.0, width=4096.0)
_REFINED, _TRIED, _ENOUGH_LEVELS = 10, 2, 100
"""A window is estimated so often, tried so many units around that, from so many levels at least."""

_WINDOW_SHIFTS = (-1.0, 1.0, -2.0, 2.0, -0.5, 0.5, -3.0, 3.0, -5.0, 5.0, -10.0, 10.0)


def explain_tensor(
    got: NDArray[Any],
    want: NDArray[Any],
    contract: PixelContract,
    layout: Layout,
    prepare: Prepare,
) -> str | None:
    """The first hypothesis that turns a tensor into the stored one.

    Args:
        got: What preprocessing gave, first axis 1.
        want: What the named library gave.
        contract: The bundle's.
        layout: Of the two tensors.
        prepare: Prepares the same image by another contract.

    Returns:
        A sentence without its full stop; None where nothing is to be said.
    """
    if got.ndim == 4 and sorted(got.shape) == sorted(want.shape) and got.shape != want.shape:
        return f"the axes are in another order: {got.shape} in place of {want.shape}"
    if got.shape != want.shape or got.ndim != 4 or got.shape[0] != 1:
        return None
    if not (np.isfinite(got).all() and np.isfinite(want).all()):
        bad = np.argwhere(~np.isfinite(got) | ~np.isfinite(want))[0]
        return f"a value that is not finite at {[int(index) for index in bad]}"
    axis = 1 if layout == "nchw" else 3
    mine, theirs = (np.moveaxis(tensor, axis, 1)[0] for tensor in (got, want))
    step = contract.normalisation
    shown, stored = (
        denormalised(planes, step.divide_by, step.mean, step.std) for planes in (mine, theirs)
    )
    # A step before the resize may round to the next grey level after it.
    within = _ONE_LEVEL if contract.working == "uint8" else None
    return (
        _by_channels((mine, theirs), (shown, stored), contract)
        or explain_planes(shown, stored, within)
        or _inverted(shown, stored, within)
        or _by_normalisation(mine, theirs, contract)
        or _by_precision(got, want)
        or _by_contract(contract, layout, prepare, want)
        or _where((mine, theirs), (shown, stored), within)
    )


Pair = tuple[NDArray[Any], NDArray[Any]]
"""What there is and what there should be, C x H x W."""


def _by_channels(tensors: Pair, levels: Pair, contract: PixelContract) -> str | None:
    colours = explain_order(list(levels[0]), list(levels[1]), "channels")
    if colours is not None:
        return f"{colours}; the task says {contract.channels.order!r}"
    whole = explain_order(list(tensors[0]), list(tensors[1]), "channels")
    return None if whole is None else f"{whole}, or their mean and std are"


def _inverted(
    got: NDArray[np.float64], want: NDArray[np.float64], within: float | None
) -> str | None:
    if not same(got, want, within) and same(255.0 - got, want, within):
        return "the grey levels are inverted: MONOCHROME1 against MONOCHROME2"
    return None


def _by_normalisation(got: NDArray[Any], want: NDArray[Any], contract: PixelContract) -> str | None:
    """Whether other numbers of the last step explain it, channel by channel."""
    step = contract.normalisation
    found = []
    scales = set()
    for channel, (mine, theirs) in enumerate(zip(got, want, strict=True)):
        relation = linear_relation(mine, theirs)
        if relation is None:
            return None
        factor, offset = relation
        mean, std = step.mean[channel], step.std[channel]
        if factor < 0:
            return None
        scales.add(factor)
        # want = (value - mean') / std' of the same value = got * std + mean
        if abs(factor - 1) <= EQUAL:
            if abs(offset) > EQUAL:
                shift = -offset * std
                found.append(
                    f"a constant offset of {-offset:.4g} in channel {channel}: the stored tensor "
                    f"was made with mean {mean + shift:.6g}, the task says {mean:.6g} "
                    f"({-shift:+.6f})"
                )
            continue
        if abs(offset - mean * (factor - 1) / std) <= EQUAL * max(1.0, abs(offset)):
            continue  # another divisor, said below
        found.append(
            f"a factor of {factor:.4g} and an offset of {offset:.4g} in channel {channel}: the "
            f"stored tensor was made with mean {mean - offset * std / factor:.6g} and std "
            f"{std / factor:.6g}, the task says {mean:.6g} and {std:.6g}"
        )
    factor = max(scales, key=lambda one: abs(one - 1))
    if not found and abs(factor - 1) > EQUAL and max(scales) - min(scales) <= EQUAL:
        return (
            f"a factor of {factor:.4g}: the stored tensor was made with divide_by "
            f"{step.divide_by / factor:.6g}, the task says {step.divide_by:.6g}"
        )
    return "; ".join(found) or None


def _by_precision(got: NDArray[Any], want: NDArray[Any]) -> str | None:
    if np.array_equal(got, to_bfloat16(want)):
        return "the numbers look like bfloat16: each is the stored one, rounded to 8 bits"
    return None


def _by_contract(
    contract: PixelContract, layout: Layout, prepare: Prepare, want: NDArray[Any]
) -> str | None:
    """Whether the contract with one step changed gives the stored tensor, and as it is does not."""
    own = Preprocessor(contract, layout)
    if own.disagreement(prepare(own), want) is None:
        return None
    for what, path, value in chain(_changes(contract), _windows(contract, layout, prepare, want)):
        try:
            document = contract.model_dump(mode="json")
            _set(document, path, value)
            other = PixelContract.model_validate_json(json.dumps(document))
            preprocessor = Preprocessor(other, layout)
            tensor = prepare(preprocessor)
            if preprocessor.disagreement(tensor, want) is None:
                return f"the stored tensor is what {what}"
        except (MedsdkError, ValidationError, ValueError):
            continue  # not a contract, or not one for this image
    return None


def _windows(
    contract: PixelContract, layout: Layout, prepare: Prepare, want: NDArray[Any]
) -> Iterator[tuple[str, str, object]]:
    """Windows in whole units near those that the levels themselves tell.

    From the task's own window, or from a wide one where the task has none: a straight line through
    the levels of both tensors that neither clips gives centre and width. Twice, since the first
    line knows few levels.
    """
    if contract.values == "stored" and not isinstance(contract.intensity, Window):
        return
    start = contract.intensity if isinstance(contract.intensity, Window) else _WIDE
    found: Window | None = start
    for _ in range(_REFINED):
        found = None if found is None else _estimated(contract, layout, prepare, want, found)
    if found is None:
        return
    now = _said(contract)
    near = sorted(range(-_TRIED, _TRIED + 1), key=abs)
    for center, width in sorted(product(near, near), key=lambda two: abs(two[0]) + abs(two[1])):
        at, wide = round(found.center) + center, round(found.width) + width
        if wide < 1:
            continue
        what = f"a window of center {at} and width {wide} gives, the task says {now}"
        document = {"kind": "window", "center": at, "width": wide, "function": start.function}
        yield what, "intensity", document


def _said(contract: PixelContract) -> str:
    """The task's intensity step in words."""
    step = contract.intensity
    if isinstance(step, Window):
        return f"{step.center:g} and {step.width:g}"
    if isinstance(step, Percentile):
        return f"percentiles {step.low:g} to {step.high:g}"
    return repr(step.kind)


def _estimated(
    contract: PixelContract,
    layout: Layout,
    prepare: Prepare,
    want: NDArray[Any],
    window: Window,
) -> Window | None:
    """The window that gave `want`, by what this one gives; None where too few levels tell it."""
    other = contract.model_copy(update={"intensity": window})
    try:
        tensor = prepare(Preprocessor(other, layout))
    except MedsdkError:
        return None
    if tensor.shape != want.shape:
        return None
    axis = 1 if layout == "nchw" else 3
    step = contract.normalisation
    mine, stored = (
        denormalised(np.moveaxis(one, axis, 1)[0], step.divide_by, step.mean, step.std).ravel()
        for one in (tensor, want)
    )
    inside = (mine > 1) & (mine < 254) & (stored > 1) & (stored < 254)
    if np.count_nonzero(inside) < _ENOUGH_LEVELS or np.ptp(mine[inside]) == 0:
        return None
    slope, offset = np.polyfit(mine[inside], stored[inside], 1)
    # With levels 255 * ((value - center) / width + 0.5) of both windows:
    width = window.width / float(slope) if slope > 0 else 0.0
    if width < 1:
        return None
    level = (127.5 - float(offset)) / float(slope)
    center = window.center + window.width * (level / 255 - 0.5)
    return window.model_copy(update={"center": center, "width": width})


def _changes(contract: PixelContract) -> Iterator[tuple[str, str, object]]:
    """One step changed at a time: in words, its dotted key, its value."""
    kernel = contract.resize.kernel
    family = kernel.partition(".")[0]
    others = [name for name in KERNELS if name != kernel]
    for name in sorted(others, key=lambda name: not name.startswith(family)):
        yield f"kernel {name!r} gives, the task says {kernel!r}", "resize.kernel", name
    window = contract.intensity
    if isinstance(window, Window):
        unit = "HU" if contract.values == "hu" else "units"
        for key, at in (("center", window.center), ("width", window.width)):
            for shift in _WINDOW_SHIFTS:
                yield (
                    f"a window of {key} {at + shift:g} gives, the task says {at:g}: it is off by "
                    f"{-shift:+g} {unit}",
                    f"intensity.{key}",
                    at + shift,
                )
        for function in ("linear", "linear-exact", "sigmoid"):
            yield f"window function {function!r} gives", "intensity.function", function
    for key, values in (
        ("fit", ("stretch", "letterbox", "cover")),
        ("values", ("stored", "modality", "hu")),
        ("channels.order", ("rgb", "bgr")),
    ):
        now: Any = contract.model_dump(mode="json")
        for part in key.split("."):
            now = now[part]
        for value in values:
            if value != now:
                yield f"{key} = {value!r} gives, the task says {now!r}", key, value
    for crop in ("none", "centre-square"):
        if crop != contract.crop.kind:
            yield (
                f"crop {crop!r} gives, the task says {contract.crop.kind!r}",
                "crop",
                {"kind": crop},
            )
    for name, intensity in (
        ("'min-max'", {"kind": "min-max"}),
        ("'as-is'", {"kind": "as-is"}),
        *(
            (f"percentiles {low:g} to {high:g}", {"kind": "percentile", "low": low, "high": high})
            for low, high in ((0.0, 100.0), (0.5, 99.5), (1.0, 99.0), (2.0, 98.0), (5.0, 95.0))
        ),
    ):
        yield f"intensity {name} gives", "intensity", intensity


def _set(document: dict[str, Any], path: str, value: object) -> None:
    *parents, last = path.split(".")
    for part in parents:
        document = document[part]
    if last == "fit":  # padding belongs to a letterbox alone
        document["padding"] = {"value": 0, "anchor": "centre"} if value == "letterbox" else None
    document[last] = value


def _where(tensors: Pair, levels: Pair, within: float | None) -> str | None:
    if same(*tensors):
        return None
    place = where_it_is(*tensors, ("channel", "row", "column"))
    if within is not None and same(*levels, within):
        return f"{place}; nowhere by more than one grey level: rounding, or a small shift"
    return place
