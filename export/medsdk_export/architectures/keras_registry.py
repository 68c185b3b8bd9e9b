"""The Keras twins of the catalogue's architectures, and the weights that fit them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from medsdk_export.architectures import keras_mobilenet_v2, keras_vgg10
from medsdk_export.architectures.keras_layers import (
    Layer,
    build_keras,
    numbered_names,
    weight_shapes,
)
from medsdk_export.errors import GraphMismatchError, WeightsMismatchError

if TYPE_CHECKING:
    import keras

Parameter = int | float | str | bool
Shapes = Mapping[str, tuple[tuple[int, ...], ...]]
"""Layer to the shapes of its weights, in Keras's order."""

_LAYERS: Mapping[str, Callable[[float, int, int, int], list[Layer]]] = {
    "mobilenet-v2": keras_mobilenet_v2.layers,
    "vgg10": keras_vgg10.layers,
}

KERAS_NAMES = tuple(_LAYERS)
"""Architectures that have a Keras twin."""

_WIDTHS = (1.0, 0.5, 0.25, 0.35, 0.75, 1.3, 1.4, *(number / 20 for number in range(2, 41)))


def keras_layers(
    name: str, parameters: Mapping[str, Parameter], height: int, columns: int
) -> list[Layer]:
    """Layers of an architecture.

    Args:
        name: One of `KERAS_NAMES`.
        parameters: `width` and `classes`.
        height: Of the input, in pixels.
        columns: Its width in pixels.

    Raises:
        GraphMismatchError: Parameters that the architecture has not, or out of range.
    """
    width, classes = parameters.get("width"), parameters.get("classes")
    if (
        set(parameters) != {"width", "classes"}
        or isinstance(width, bool)
        or not isinstance(width, int | float)
        or not 0 < width < 64
        or isinstance(classes, bool)
        or not isinstance(classes, int)
        or classes < 1
    ):
        raise GraphMismatchError(
            "the task's architecture cannot be built",
            got=", ".join(f"{key} {value!r}" for key, value in parameters.items()),
            expected="width, a number above 0, and classes, an integer from 1",
        )
    return _LAYERS[name](width, classes, height, columns)


def keras_model(
    name: str, parameters: Mapping[str, Parameter], height: int, columns: int
) -> keras.Model:
    """Build the Keras twin, untrained; it gives logits.

    Args:
        name: One of `KERAS_NAMES`.
        parameters: `width` and `classes`.
        height: Of the input, in pixels.
        columns: Its width in pixels.

    Raises:
        GraphMismatchError: As `keras_layers`.
    """
    layers = keras_layers(name, parameters, height, columns)
    return build_keras(layers, (height, columns, 3), name.replace("-", "_"))


def candidates(name: str, given: Mapping[str, Parameter]) -> Iterator[dict[str, Parameter]]:
    """Complete parameters that agree with what a task fixes, the published size first."""
    widths: Iterable[Parameter] = [given["width"]] if "width" in given else _WIDTHS
    return ({**given, "width": width} for width in widths)


def fit_names(
    name: str, given: Mapping[str, Parameter], shapes: Shapes, height: int, columns: int
) -> tuple[dict[str, Parameter], dict[str, str]]:
    """Find the parameters for which every weight fits by its layer's name and shape.

    Args:
        name: One of `KERAS_NAMES`.
        given: Parameters that the task fixes.
        shapes: The file's weights.
        height: Of the input.
        columns: Its width in pixels.

    Returns:
        The parameters, and each layer of the architecture to what the file calls it.

    Raises:
        WeightsMismatchError: None fits; the differences from the closest are named.
    """
    best: tuple[int, str, dict[str, tuple[tuple[int, ...], ...]]] | None = None
    for parameters in candidates(name, given):
        layers = keras_layers(name, parameters, height, columns)
        want = weight_shapes(layers)
        if want == dict(shapes):
            return parameters, {layer: layer for layer in want}
        numbered = numbered_names(layers)
        if {numbered.get(layer, ""): shape for layer, shape in shapes.items()} == want:
            return parameters, {real: file for file, real in numbered.items()}
        wrong = sum(shapes.get(layer) != shape for layer, shape in want.items())
        wrong += len(shapes.keys() - want.keys())
        if best is None or wrong < best[0]:
            described = ", ".join(f"{key} {value}" for key, value in parameters.items())
            best = (wrong, f"{name} ({described}) for Keras", want)
    if best is None:
        raise WeightsMismatchError(f"no parameters of {name} agree with the task")
    _, title, want = best
    raise WeightsMismatchError.between(
        title,
        [f"{layer} {_text(want[layer])}" for layer in want if layer not in shapes],
        [f"{layer} {_text(shapes[layer])}" for layer in shapes if layer not in want],
        [
            f"{layer}: {_text(shapes[layer])} in the file, {_text(want[layer])} in the architecture"
            for layer in want
            if layer in shapes and shapes[layer] != want[layer]
        ],
    )


def fit_shapes(
    name: str, given: Mapping[str, Parameter], shapes: Shapes, height: int, columns: int
) -> dict[str, Parameter] | None:
    """Parameters for which the weights have the architecture's shapes, whatever their names.

    A whole model that was put together from Keras Applications has other names, nested.

    Returns:
        The parameters, or None where none fits.
    """
    have = sorted(shape for group in shapes.values() for shape in group)
    for parameters in candidates(name, given):
        want = weight_shapes(keras_layers(name, parameters, height, columns))
        if sorted(shape for group in want.values() for shape in group) == have:
            return parameters
    return None


def _text(shapes: tuple[tuple[int, ...], ...]) -> str:
    return " ".join("x".join(map(str, shape)) for shape in shapes)
