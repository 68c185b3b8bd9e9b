"""A ten-layer VGG-like network with the parameter names that torchvision's VGGs use.

The liver ultrasound report says "a 10-layer CNN, VGG-like" and no more. Eight convolutions and
two dense layers are our reading of it: the first four blocks of configuration B of Simonyan and
Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015
(arXiv:1409.1556), table 1, with batch normalisation after each convolution (Ioffe and Szegedy,
ICML 2015) and a pooled head in place of three dense layers. Nothing is normalised after the dense
ReLU: such a layer quantizes badly.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["VGG10", "scaled_channels"]

# Two convolutions of this many channels each, then a pool.
_BLOCK_CHANNELS = (64, 128, 256, 512)
_HIDDEN_CHANNELS = 256
_CHANNEL_MULTIPLE = 8
_NORM_EPSILON = 1e-5


def scaled_channels(channels: int, width: float) -> int:
    """Scale a channel count to the nearest multiple of 8, halves upwards, and at least 8.

    Args:
        channels: Count at width 1.
        width: Factor, > 0.

    Returns:
        The count that the network has.
    """
    multiples = int(channels * width / _CHANNEL_MULTIPLE + 0.5)
    return _CHANNEL_MULTIPLE * max(1, multiples)


class VGG10(nn.Module):
    """Image classifier.

    Args:
        classes: Number of logits, >= 1.
        width: Factor on every channel count, > 0.
    """

    def __init__(self, classes: int, width: float = 1.0) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for unscaled in _BLOCK_CHANNELS:
            outputs = scaled_channels(unscaled, width)
            for _ in range(2):
                layers += [
                    nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
                    nn.BatchNorm2d(outputs, eps=_NORM_EPSILON),
                    nn.ReLU(inplace=True),
                ]
                inputs = outputs
            layers.append(nn.MaxPool2d(2, 2))
        hidden = scaled_channels(_HIDDEN_CHANNELS, width)
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Linear(inputs, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(p=0.5),
            nn.Linear(hidden, classes),
        )
        self._initialise()

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits.

        Args:
            x: N x 3 x H x W float32, already normalised; H and W >= 16.

        Returns:
            N x classes float32 logits, no softmax applied.
        """
        y: Tensor = self.features(x)
        y = nn.functional.adaptive_avg_pool2d(y, (1, 1))
        y = torch.flatten(y, 1)
        logits: Tensor = self.classifier(y)
        return logits

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0.0, 0.01)
                nn.init.zeros_(module.bias)
