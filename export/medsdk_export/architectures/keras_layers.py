"""A network for Keras as a list of layers: names and weight shapes without Keras itself.

The same list tells which weights a file must hold, and builds the network where Keras is. So a
file is fitted to an architecture in milliseconds, and nothing is written down twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import keras

Kind = Literal[
    "conv", "depthwise", "norm", "relu", "relu6", "pad", "max-pool", "average", "dropout",
    "dense", "add",
]  # fmt: skip

_CLASSES: Mapping[Kind, str] = {
    "conv": "conv2d",
    "depthwise": "depthwise_conv2d",
    "norm": "batch_normalization",
    "dense": "dense",
}
"""How Keras 3 before 3.7 called the layers with weights in a file: class, then a number."""


@dataclass(frozen=True)
class Layer:
    """One layer; what it is fed is the layer before it, for `add` also the layer `other`.

    Attributes:
        kind: What it computes. `relu` and `relu6` are layers of their own; `dense` ends in
            `activation`.
        name: As Keras Applications calls it.
        channels: Channels that come in, for layers with weights.
        filters: Channels that go out of `conv` and `dense`.
        kernel: Height and width of the window.
        stride: Of `conv`, `depthwise` and `max-pool`.
        padding: As Keras calls it; for `pad` how many rows and columns go before and after.
        epsilon: Of `norm`.
        rate: Of `dropout`.
        activation: Of `dense`.
        other: Of `add`.
    """

    kind: Kind
    name: str
    channels: int = 0
    filters: int = 0
    kernel: int = 1
    stride: int = 1
    padding: Literal["same", "valid"] | tuple[tuple[int, int], tuple[int, int]] = "same"
    epsilon: float = 1e-3
    rate: float = 0.0
    activation: Literal["linear", "relu"] = "linear"
    other: str = ""

    @property
    def weights(self) -> dict[str, tuple[int, ...]]:
        """Name to shape of its weights, in Keras's order."""
        match self.kind:
            case "conv":
                return {"kernel": (self.kernel, self.kernel, self.channels, self.filters)}
            case "depthwise":
                return {"depthwise_kernel": (self.kernel, self.kernel, self.channels, 1)}
            case "norm":
                names = ("gamma", "beta", "moving_mean", "moving_variance")
                return dict.fromkeys(names, (self.channels,))
            case "dense":
                return {"kernel": (self.channels, self.filters), "bias": (self.filters,)}
            case _:
                return {}


def weight_shapes(layers: Iterable[Layer]) -> dict[str, tuple[tuple[int, ...], ...]]:
    """Layer to the shapes of its weights, layers without weights left out."""
    return {layer.name: tuple(layer.weights.values()) for layer in layers if layer.weights}


def numbered_names(layers: Iterable[Layer]) -> dict[str, str]:
    """`conv2d_3`, as Keras 3 before 3.7 called a layer in a file of weights, to its name."""
    counts: dict[str, int] = {}
    names = {}
    for layer in layers:
        if layer.kind in _CLASSES:
            word = _CLASSES[layer.kind]
            number = counts.get(word, 0)
            counts[word] = number + 1
            names[f"{word}_{number}" if number else word] = layer.name
    return names


def build_keras(
    layers: Iterable[Layer], input_shape: tuple[int | None, int | None, int], name: str
) -> keras.Model:
    """Build the network in Keras.

    Args:
        layers: Its layers, in order.
        input_shape: Height, width and channels; None where free.
        name: Of the model.

    Returns:
        A functional model that maps N x H x W x C float32 to logits.
    """
    import keras

    entry = keras.Input(input_shape, name="input")
    made: dict[str, Any] = {}
    x: Any = entry
    for layer in layers:
        feed = [made[layer.other], x] if layer.kind == "add" else x
        x = made[layer.name] = _keras_layer(layer)(feed)
    return keras.Model(entry, x, name=name)


def _keras_layer(layer: Layer) -> keras.layers.Layer:
    from keras import layers as kl

    match layer.kind:
        case "conv":
            return kl.Conv2D(
                layer.filters,
                layer.kernel,
                strides=layer.stride,
                padding=layer.padding,
                use_bias=False,
                name=layer.name,
            )
        case "depthwise":
            return kl.DepthwiseConv2D(
                layer.kernel,
                strides=layer.stride,
                padding=layer.padding,
                use_bias=False,
                name=layer.name,
            )
        case "norm":
            return kl.BatchNormalization(epsilon=layer.epsilon, momentum=0.999, name=layer.name)
        case "relu":
            return kl.ReLU(name=layer.name)
        case "relu6":
            return kl.ReLU(6.0, name=layer.name)
        case "pad":
            return kl.ZeroPadding2D(layer.padding, name=layer.name)
        case "max-pool":
            return kl.MaxPooling2D(layer.kernel, strides=layer.stride, name=layer.name)
        case "average":
            return kl.GlobalAveragePooling2D(name=layer.name)
        case "dropout":
            return kl.Dropout(layer.rate, name=layer.name)
        case "dense":
            return kl.Dense(layer.filters, activation=layer.activation, name=layer.name)
        case "add":
            return kl.Add(name=layer.name)
