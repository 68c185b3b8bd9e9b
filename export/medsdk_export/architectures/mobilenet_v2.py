"""MobileNetV2 with the parameter names, shapes and numerics of torchvision's model.

Source: Sandler, Howard, Zhu, Zhmoginov, Chen, "MobileNetV2: Inverted Residuals and Linear
Bottlenecks", CVPR 2018 (arXiv:1801.04381), table 2. Layer nesting follows torchvision's
``mobilenet_v2``, so that its state dictionaries load here unchanged and the other way
round, without torchvision being installed.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

__all__ = ["MobileNetV2"]

# Table 2 of the paper: expansion t, output channels c, repeats n, first stride s.
_BOTTLENECKS: tuple[tuple[int, int, int, int], ...] = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
_STEM_CHANNELS = 32
_HEAD_CHANNELS = 1280
_CHANNEL_MULTIPLE = 8


def _scaled_channels(channels: float) -> int:
    """Round to a multiple of 8, never more than 10 % below the exact value."""
    rounded = max(
        _CHANNEL_MULTIPLE,
        int(channels + _CHANNEL_MULTIPLE / 2) // _CHANNEL_MULTIPLE * _CHANNEL_MULTIPLE,
    )
    if rounded < 0.9 * channels:
        rounded += _CHANNEL_MULTIPLE
    return rounded


def _conv_norm_relu6(
    inputs: int, outputs: int, *, kernel: int = 1, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(inplace=True),
    )


class _InvertedResidual(nn.Module):
    """Expand 1x1, depthwise 3x3, project 1x1 without activation; add where shapes agree."""

    def __init__(self, inputs: int, outputs: int, *, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers.append(_conv_norm_relu6(inputs, hidden))
        layers.append(_conv_norm_relu6(hidden, hidden, kernel=3, stride=stride, groups=hidden))
        layers.append(nn.Conv2d(hidden, outputs, 1, bias=False))
        layers.append(nn.BatchNorm2d(outputs))
        self.conv = nn.Sequential(*layers)
        self._adds_input = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return x + y if self._adds_input else y


class MobileNetV2(nn.Module):
    """Image classifier.

    Args:
        num_classes: Number of logits, >= 1.
        width_mult: Factor on every channel count, > 0. The head's 1280 channels grow with
            a factor above 1 and do not shrink below it, as in the paper.
    """

    def __init__(self, num_classes: int = 1000, width_mult: float = 1.0) -> None:
        super().__init__()
        channels = _scaled_channels(_STEM_CHANNELS * width_mult)
        layers: list[nn.Module] = [_conv_norm_relu6(3, channels, kernel=3, stride=2)]
        for expansion, unscaled, repeats, first_stride in _BOTTLENECKS:
            outputs = _scaled_channels(unscaled * width_mult)
            for repeat in range(repeats):
                stride = first_stride if repeat == 0 else 1
                layers.append(
                    _InvertedResidual(channels, outputs, stride=stride, expansion=expansion)
                )
                channels = outputs
        head = _scaled_channels(_HEAD_CHANNELS * max(1.0, width_mult))
        layers.append(_conv_norm_relu6(channels, head))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            OrderedDict([("0", nn.Dropout(p=0.2)), ("1", nn.Linear(head, num_classes))])
        )
        self._initialise()

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits.

        Args:
            x: N x 3 x H x W float32, already normalised; H and W >= 32.

        Returns:
            N x num_classes float32 logits, no softmax applied.
        """
        y: Tensor = self.features(x)
        y = nn.functional.adaptive_avg_pool2d(y, (1, 1))
        y = torch.flatten(y, 1)
        logits: Tensor = self.classifier(y)
        return logits

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0.0, 0.01)
                nn.init.zeros_(module.bias)
