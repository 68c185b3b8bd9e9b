"""VGG-like network of ten weight layers, for Keras: twin of the PyTorch network of this name.

Four blocks of two 3x3 convolutions, each with BatchNorm and ReLU, max pooling after each block;
global average pooling and two dense layers. Names follow Keras Applications' VGG16. BatchNorm's
epsilon is 1e-5, PyTorch's default and not Keras's, so that both twins give the same answers.
"""

from __future__ import annotations

from medsdk_export.architectures.keras_layers import Layer

__all__ = ["layers"]

_BLOCKS = (64, 128, 256, 512)
_HIDDEN = 256
_EPSILON = 1e-5


def layers(width: float, classes: int, height: int, columns: int) -> list[Layer]:
    """The network's layers.

    Args:
        width: Factor on every channel count.
        classes: Number of logits.
        height: Height of the input; any, at least 16.
        columns: Width of the input in pixels; likewise.

    Returns:
        In order; the last gives logits.
    """
    channels = 3
    made: list[Layer] = []
    for block, unscaled in enumerate(_BLOCKS, 1):
        filters = _rounded(unscaled * width)
        for number in (1, 2):
            name = f"block{block}_conv{number}"
            made += [
                Layer("conv", name, channels, filters, kernel=3),
                Layer("norm", f"{name}_bn", filters, epsilon=_EPSILON),
                Layer("relu", f"{name}_relu"),
            ]
            channels = filters
        made.append(Layer("max-pool", f"block{block}_pool", kernel=2, stride=2))
    hidden = _rounded(_HIDDEN * width)
    return [
        *made,
        Layer("average", "avg_pool"),
        Layer("dense", "fc1", channels, hidden, activation="relu"),
        Layer("dropout", "dropout", rate=0.5),
        Layer("dense", "predictions", hidden, classes),
    ]


def _rounded(channels: float) -> int:
    """To a multiple of 8, at least 8."""
    return max(8, int(channels + 4) // 8 * 8)
