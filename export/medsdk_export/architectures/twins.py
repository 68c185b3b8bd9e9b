"""Weights from a PyTorch network to its Keras twin and back.

Both twins of an architecture hold their layers with weights in one order. A convolution's kernel
is O x I x H x W here and H x W x I x O there, a depthwise one H x W x C x 1; a dense kernel is
transposed. Where the twins' BatchNorms add different epsilons to the variance, the difference goes
into the variance, so that both normalise alike.

`vgg10`: the twins then give the same answers. `mobilenet-v2`: they do where every strided
convolution sees an odd size (65 or 225 pixels, not 64 or 224): on an even one Keras pads below
and right only, PyTorch all around, so Keras looks one pixel further.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medsdk_export.architectures import build
from medsdk_export.architectures.keras_layers import Layer
from medsdk_export.architectures.keras_registry import Parameter, keras_layers

Floats = NDArray[np.float32]

_TORCH_EPSILON = 1e-5
_NAMES = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
    "kernel": "weight",
    "depthwise_kernel": "weight",
    "bias": "bias",
}


def to_keras(
    name: str, parameters: Mapping[str, Parameter], state: Mapping[str, Floats]
) -> dict[str, dict[str, Floats]]:
    """A PyTorch state dictionary as the weights of the Keras twin.

    Args:
        name: An architecture that has a Keras twin.
        parameters: `width` and `classes`.
        state: Tensor name to array, float32.

    Returns:
        Layer to weight to array, in Keras's order.

    Raises:
        KeyError: A tensor is missing.
        ValueError: A tensor has another shape.
    """
    made: dict[str, dict[str, Floats]] = {}
    for layer, prefix in _pairs(name, parameters):
        made[layer.name] = {}
        for weight, shape in layer.weights.items():
            array = _forth(layer, weight, state[f"{prefix}.{_NAMES[weight]}"])
            if array.shape != shape:
                raise ValueError(f"{prefix} gives {array.shape} for {layer.name}, not {shape}")
            made[layer.name][weight] = array
    return made


def to_torch(
    name: str, parameters: Mapping[str, Parameter], weights: Mapping[str, Mapping[str, Floats]]
) -> dict[str, Floats]:
    """Weights of a Keras twin as a PyTorch state dictionary, without BatchNorm's counters.

    Args:
        name: An architecture that has a Keras twin.
        parameters: `width` and `classes`.
        weights: Layer to weight to array, as `to_keras` gives them.

    Returns:
        Tensor name to array.

    Raises:
        KeyError: A weight is missing.
    """
    return {
        f"{prefix}.{_NAMES[weight]}": _back(layer, weight, weights[layer.name][weight])
        for layer, prefix in _pairs(name, parameters)
        for weight in layer.weights
    }


def save_keras_weights(path: Path, weights: Mapping[str, Mapping[str, Floats]]) -> None:
    """Write weights as `save_weights` of Keras 2 does; Keras is not needed.

    Args:
        path: A name that ends in `.h5`. `model.load_weights(path)` and `medsdk export` read it.
        weights: As `to_keras` gives them.

    Raises:
        OSError: The file cannot be written.
    """
    import h5py

    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.encode() for layer in weights]
        for layer, group in weights.items():
            names = [f"{layer}/{weight}:0" for weight in group]
            file.create_group(layer).attrs["weight_names"] = [text.encode() for text in names]
            for text, array in zip(names, group.values(), strict=True):
                file[layer][text] = array


def _pairs(name: str, parameters: Mapping[str, Parameter]) -> Iterator[tuple[Layer, str]]:
    """Each Keras layer with weights, and the prefix of its tensors in PyTorch."""
    import torch

    with torch.device("meta"):
        module = build(name, parameters)
    prefixes = dict.fromkeys(key.rpartition(".")[0] for key in module.state_dict())
    # The size does not change the weights.
    layers = [layer for layer in keras_layers(name, parameters, 64, 64) if layer.weights]
    return zip(layers, prefixes, strict=True)


def _forth(layer: Layer, weight: str, array: Floats) -> Floats:
    match weight:
        case "kernel" if layer.kind == "conv":
            array = array.transpose(2, 3, 1, 0)
        case "depthwise_kernel":
            array = array.transpose(2, 3, 0, 1)
        case "kernel":
            array = array.T
        case "moving_variance":
            array = _shifted(array, _TORCH_EPSILON - layer.epsilon)
    return np.ascontiguousarray(array, np.float32)


def _back(layer: Layer, weight: str, array: Floats) -> Floats:
    match weight:
        case "kernel" if layer.kind == "conv":
            array = array.transpose(3, 2, 0, 1)
        case "depthwise_kernel":
            array = array.transpose(2, 3, 0, 1)
        case "kernel":
            array = array.T
        case "moving_variance":
            array = _shifted(array, layer.epsilon - _TORCH_EPSILON)
    return np.ascontiguousarray(array, np.float32)


def _shifted(variance: Floats, by: float) -> Floats:
    return (variance.astype(np.float64) + by).astype(np.float32)
