"""Network definitions that an exporter can rebuild from a name and a few numbers.

A bundle is data, so it names an architecture from this closed set and never a Python
class. Each architecture lives in one module, which may import torch; this module imports
them inside :func:`build` so that listing the names costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["NAMES", "build", "parameter_grid"]

Parameter = int | float | str | bool

NAMES: tuple[str, ...] = ("mobilenet-v2", "vgg10")
"""Every name that :func:`build` accepts."""


def build(name: str, parameters: Mapping[str, object]) -> torch.nn.Module:
    """Build an untrained network in training mode on the CPU.

    Args:
        name: One of :data:`NAMES`.
        parameters: What the architecture is sized by. Each takes exactly ``width``
            (number, > 0, the width multiplier) and ``classes`` (int, >= 1).

    Returns:
        A module that maps N x 3 x H x W float32 to N x classes float32 logits.

    Raises:
        ValueError: The name is not in :data:`NAMES`, a parameter is missing, unknown, of
            the wrong type or out of range. The message lists what is allowed.
    """
    if name not in NAMES:
        raise ValueError(f"unknown architecture {name!r}; allowed: {', '.join(NAMES)}")
    _require_keys(name, parameters, ("width", "classes"))
    width = _positive_number(name, "width", parameters["width"])
    classes = _positive_int(name, "classes", parameters["classes"])
    if name == "vgg10":
        from medsdk_export.architectures.vgg10 import VGG10

        return VGG10(classes=classes, width=width)
    from medsdk_export.architectures.mobilenet_v2 import MobileNetV2

    return MobileNetV2(num_classes=classes, width_mult=width)


def _require_keys(name: str, parameters: Mapping[str, object], wanted: tuple[str, ...]) -> None:
    if set(parameters) != set(wanted):
        raise ValueError(
            f"architecture {name!r} takes exactly the parameters {', '.join(wanted)}; "
            f"got {', '.join(sorted(map(str, parameters))) or 'none'}"
        )


def _positive_number(name: str, key: str, value: object) -> float:
    # bool is an int in Python; True as a width is a mistake, not 1.0.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 64:
        raise ValueError(
            f"architecture {name!r}: {key} must be a number above 0 and below 64; got {value!r}"
        )
    return float(value)


def _positive_int(name: str, key: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"architecture {name!r}: {key} must be an integer >= 1; got {value!r}")
    return value


def parameter_grid(name: str, given: Mapping[str, Parameter]) -> Iterator[dict[str, Parameter]]:
    """Complete parameters that agree with what a task fixes, the published size first.

    A task may leave a parameter open; the exporter then takes the first of these for which
    every tensor of the weights fits.

    Args:
        name: One of :data:`NAMES`.
        given: Parameters that are fixed.

    Returns:
        Parameter sets, each complete.

    Raises:
        ValueError: The name is not in :data:`NAMES`.
    """
    if name not in NAMES:
        raise ValueError(f"unknown architecture {name!r}; allowed: {', '.join(NAMES)}")
    widths: Iterable[Parameter] = (
        [given["width"]] if "width" in given else [1.0, *(n / 20 for n in range(2, 41) if n != 20)]
    )
    return ({**given, "width": width} for width in widths)
