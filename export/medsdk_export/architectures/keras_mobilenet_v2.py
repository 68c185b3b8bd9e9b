"""MobileNetV2 with the layer names, shapes and numerics of Keras Applications.

Source: arXiv:1801.04381, table 2; names, asymmetric padding of strided convolutions, BatchNorm
epsilon 1e-3 and rounding of channels follow ``keras.applications.MobileNetV2``, so that weights
which people have load here. The PyTorch twin pads both sides alike and uses epsilon 1e-5, so
the two give different answers on the same weights.
"""

from __future__ import annotations

from medsdk_export.architectures.keras_layers import Layer

__all__ = ["layers"]

# Table 2 of the paper: expansion t, output channels c, repeats n, first stride s.
_BOTTLENECKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def layers(width: float, classes: int, height: int, columns: int) -> list[Layer]:
    """The network's layers.

    Args:
        width: Factor on every channel count (`alpha` of Keras).
        classes: Number of logits.
        height: Height of the input: the padding of strided convolutions depends on its parity.
        columns: Width of the input in pixels.

    Returns:
        In Keras's order; the last gives logits, where Keras Applications puts a softmax.
    """
    size = (height, columns)
    channels = _rounded(32 * width)
    made = [Layer("conv", "Conv1", 3, channels, kernel=3, stride=2)]
    made += [Layer("norm", "bn_Conv1", channels), Layer("relu6", "Conv1_relu")]
    size = _halved(size)
    block = 0
    for expansion, unscaled, repeats, first_stride in _BOTTLENECKS:
        # Keras cuts to an integer before it rounds; torchvision does not.
        outputs = _rounded(int(unscaled * width))
        for repeat in range(repeats):
            stride = first_stride if repeat == 0 else 1
            made += _block(block, channels, outputs, expansion, stride, size, made[-1].name)
            if stride == 2:
                size = _halved(size)
            channels = outputs
            block += 1
    last = _rounded(1280 * width) if width > 1.0 else 1280
    made += [Layer("conv", "Conv_1", channels, last), Layer("norm", "Conv_1_bn", last)]
    made += [Layer("relu6", "out_relu"), Layer("average", "global_average_pooling2d")]
    return [*made, Layer("dense", "predictions", last, classes)]


def _block(
    number: int,
    channels: int,
    outputs: int,
    expansion: int,
    stride: int,
    size: tuple[int, int],
    before: str,
) -> list[Layer]:
    prefix = f"block_{number}_" if number else "expanded_conv_"
    hidden = channels * expansion
    made = []
    if number:
        made += [
            Layer("conv", f"{prefix}expand", channels, hidden),
            Layer("norm", f"{prefix}expand_BN", hidden),
            Layer("relu6", f"{prefix}expand_relu"),
        ]
    if stride == 2:
        rows, columns = ((size[axis] % 2, 1) for axis in range(2))
        made.append(Layer("pad", f"{prefix}pad", padding=(rows, columns)))
    made += [
        Layer(
            "depthwise",
            f"{prefix}depthwise",
            hidden,
            kernel=3,
            stride=stride,
            padding="valid" if stride == 2 else "same",
        ),
        Layer("norm", f"{prefix}depthwise_BN", hidden),
        Layer("relu6", f"{prefix}depthwise_relu"),
        Layer("conv", f"{prefix}project", hidden, outputs),
        Layer("norm", f"{prefix}project_BN", outputs),
    ]
    if stride == 1 and channels == outputs:
        made.append(Layer("add", f"{prefix}add", other=before))
    return made


def _halved(size: tuple[int, int]) -> tuple[int, int]:
    return (-(-size[0] // 2), -(-size[1] // 2))


def _rounded(channels: float) -> int:
    """To a multiple of 8, at least 8, never more than 10 % below."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded
