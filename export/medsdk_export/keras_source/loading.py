"""Keras itself: loads a file that was looked over, and makes a graph of it. Child process only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import keras
import numpy as np
import tensorflow as tf
import tf2onnx
from numpy.typing import NDArray

from medsdk.tasks import Network
from medsdk_export.architectures.keras_registry import (
    KERAS_NAMES,
    Parameter,
    fit_names,
    fit_shapes,
    keras_model,
)
from medsdk_export.errors import (
    ExportRefusedError,
    GraphMismatchError,
    SourceUnreadableError,
    WeightsMismatchError,
)
from medsdk_export.keras_source._hdf5 import read_array
from medsdk_export.keras_source.files import KerasFacts

Forward = Callable[[NDArray[np.float32]], list[NDArray[np.float32]]]
"""Arrays in, arrays out, channels first."""

KERAS_OPSET = 17
"""The newest opset that tf2onnx writes with pooling and padding as operators of their own."""


if not hasattr(np, "product"):
    # tf2onnx 1.17 calls it by the name that numpy 2 no longer has.
    np.product = np.prod  # type: ignore[attr-defined]


@dataclass
class Loaded:
    """A model, as its file has it.

    Attributes:
        model: Made, with its weights.
        parameters: The architecture's parameters where the task names one of the catalogue.
    """

    model: keras.Model
    parameters: dict[str, Parameter]


def versions() -> dict[str, str]:
    """Of what computes and converts here."""
    return {
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
        "tf2onnx": tf2onnx.__version__,
    }


def load(facts: KerasFacts, path: Path, weights: Path, network: Network) -> Loaded:
    """Make the model that a task describes.

    Args:
        facts: What the file holds.
        path: The file.
        weights: The HDF5 file with the weights.
        network: The task's description.

    Returns:
        The model.

    Raises:
        GraphMismatchError: It is not what the task says.
        WeightsMismatchError: Weights of another architecture.
        SourceUnreadableError: Keras cannot make a model of it.
    """
    if facts.config is None:
        return _from_weights(facts, weights, network)
    loaded = Loaded(_whole(facts, path, weights), _fitted(facts, network))
    check(loaded.model, network)
    return loaded


def check(model: keras.Model, network: Network) -> None:
    """Hold a model's input and outputs to the task.

    Raises:
        GraphMismatchError: They differ.
    """
    resize, channels = network.pixels.resize, network.pixels.channels.count
    wanted = (resize.height, resize.width, channels)
    inputs = [tuple(item.shape) for item in model.inputs]
    fits = len(inputs) == 1 and len(inputs[0]) == 4
    if not fits or any(
        have not in (None, want) for have, want in zip(inputs[0][1:], wanted, strict=True)
    ):
        raise GraphMismatchError(
            "the model's input is not that of the task",
            got="; ".join(_shape(shape) for shape in inputs) or "none",
            expected=f"one of {_shape((None, *wanted))} (height, width, channels)",
            remedy="correct pixels.resize and pixels.channels in the task file",
        )
    if network.input.layout != "nchw":
        raise GraphMismatchError(
            "a Keras model comes out with its channels first",
            got=f"networks.*.input.layout = {network.input.layout!r}",
            expected="layout = 'nchw'",
            remedy="set it in the task file; export transposes, Keras need not",
        )
    outputs = [tuple(item.shape) for item in model.outputs]
    if len(outputs) != len(network.outputs):
        raise GraphMismatchError(
            "the model has another number of outputs than the task says",
            got="; ".join(_shape(shape) for shape in outputs),
            expected=", ".join(output.name for output in network.outputs),
        )
    for shape, output in zip(outputs, network.outputs, strict=True):
        have = shape[1:]
        have = (have[2], have[0], have[1]) if len(have) == 3 else have
        if len(have) != len(output.axes) or any(
            isinstance(want, int) and size not in (None, want)
            for size, want in zip(have, output.axes, strict=True)
        ):
            raise GraphMismatchError(
                f"the model's output {output.name!r} has another shape than the task says",
                got=_shape((None, *have)),
                expected=f"N x {' x '.join(map(str, output.axes))}",
                remedy="check the number of classes, and outputs.axes in the task file",
            )


def converter(model: keras.Model, network: Network) -> tuple[Forward, bytes, int]:
    """The model as a function of N x C x H x W, and its graph.

    Args:
        model: As `load` made it, its softmax cut where the task wants that.
        network: The task's description.

    Returns:
        The function (arrays in, list of arrays out, channels first); the ONNX file, whose input
        is `image` and whose outputs are in the model's order; its opset.

    Raises:
        GraphMismatchError: The graph cannot be converted.
    """
    resize, channels = network.pixels.resize, network.pixels.channels.count
    shape = (None, resize.height, resize.width, channels)

    _inline_statistics(model)

    def traced(image: tf.Tensor) -> dict[str, tf.Tensor]:
        results = model(image, training=False)
        results = results if isinstance(results, list | tuple) else [results]
        return {f"output_{number}": item for number, item in enumerate(results)}

    signature = [tf.TensorSpec(shape, tf.float32, name="image")]
    forward = tf.function(traced, input_signature=signature)
    maps = [f"output_{number}" for number, item in enumerate(model.outputs) if len(item.shape) == 4]
    try:
        # The other way copies every weight some forty times.
        proto, storage = tf2onnx.convert.from_function(
            forward,
            input_signature=signature,
            opset=KERAS_OPSET,
            inputs_as_nchw=["image"],
            outputs_as_nchw=maps or None,
            large_model=True,
        )
        for tensor in proto.graph.initializer:
            if tensor.external_data:
                tensor.raw_data = storage.name_to_tensor_data[tensor.external_data[0].value]
                tensor.ClearField("external_data")
                tensor.ClearField("data_location")
    except (ValueError, KeyError, NotImplementedError, RuntimeError) as error:
        raise GraphMismatchError(
            "the model cannot be turned into ONNX",
            got=type(error).__name__,
            expected="layers that tf2onnx knows",
            remedy="export the model to ONNX yourself and give the .onnx",
        ) from error

    def run(tensor: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        image = np.ascontiguousarray(tensor.transpose(0, 2, 3, 1))
        outputs = forward(tf.constant(image))
        arrays = [outputs[f"output_{number}"].numpy() for number in range(len(outputs))]
        return [array.transpose(0, 3, 1, 2) if array.ndim == 4 else array for array in arrays]

    return run, proto.SerializeToString(), KERAS_OPSET


def _inline_statistics(model: keras.Model) -> None:
    """Let Normalization layers compute with arrays: tf2onnx makes inputs of tensors of theirs."""
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Normalization) and layer.mean is not None:
            layer.mean = np.asarray(layer.mean)
            layer.variance = np.asarray(layer.variance)


def _whole(facts: KerasFacts, path: Path, weights: Path) -> keras.Model:
    try:
        if facts.format == "keras":
            model = keras.saving.deserialize_keras_object(facts.config, safe_mode=True)
            model.load_weights(weights)
        elif facts.changed:
            with TemporaryDirectory(prefix="medsdk-keras-") as folder:
                model = keras.saving.load_model(
                    _rewritten(facts, path, Path(folder, "model.h5")), compile=False, safe_mode=True
                )
        else:
            model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except ExportRefusedError:
        raise
    # What Keras raises for a configuration that it does not take has no common class.
    except Exception as error:
        raise SourceUnreadableError(
            "Keras cannot make a model of this file",
            got=type(error).__name__,
            expected="a model that Keras 3 loads with safe_mode on",
            remedy="give a task of a catalogue architecture and the weights alone, or an .onnx",
        ) from error
    if not isinstance(model, keras.Model) or not model.built:
        raise SourceUnreadableError(
            "the file holds no model with a known input",
            got=type(model).__name__,
            expected="a functional or sequential model that was built",
            remedy="build the model with an input shape, and save it again",
        )
    return model


def _rewritten(facts: KerasFacts, path: Path, target: Path) -> Path:
    """A copy whose configuration is the modernised one."""
    import json

    with h5py.File(path, "r") as old, h5py.File(target, "w") as new:
        new.attrs["model_config"] = json.dumps(facts.config)
        for key in ("keras_version", "backend"):
            if key in old.attrs:
                new.attrs[key] = old.attrs[key]
        old.copy("model_weights", new)
    return target


def _fitted(facts: KerasFacts, network: Network) -> dict[str, Parameter]:
    name, given = network.architecture.name, dict(network.architecture.parameters)
    if name not in KERAS_NAMES:
        return given
    shapes = {layer: tuple(item.shape for item in group) for layer, group in facts.weights.items()}
    resize = network.pixels.resize
    found = fit_shapes(name, given, shapes, resize.height, resize.width)
    if found is None:
        raise WeightsMismatchError(
            f"the model is not {name}",
            got=f"{facts.parameters} weights in {len(facts.weights)} layers of other shapes",
            expected=f"the weights of {name}"
            + "".join(f", {key} {value}" for key, value in given.items()),
            remedy="check the number of classes; or give a task file whose architecture.name is "
            "'keras', which takes the model's own topology",
        )
    return found


def _from_weights(facts: KerasFacts, weights: Path, network: Network) -> Loaded:
    name, given = network.architecture.name, network.architecture.parameters
    if name not in KERAS_NAMES:
        raise GraphMismatchError(
            "weights alone need a task of a catalogue architecture",
            got=f"architecture {name!r}",
            expected=f"one of {', '.join(KERAS_NAMES)}",
            remedy="save the whole model: model.save('model.keras')",
        )
    resize = network.pixels.resize
    shapes = {layer: tuple(item.shape for item in group) for layer, group in facts.weights.items()}
    parameters, names = fit_names(name, given, shapes, resize.height, resize.width)
    model = keras_model(name, parameters, resize.height, resize.width)
    check(model, network)
    with h5py.File(weights, "r") as file:
        for layer in model.layers:
            if layer.name in names:
                group = facts.weights[names[layer.name]]
                layer.set_weights([read_array(file, item.path) for item in group])
    return Loaded(model, parameters)


def _shape(shape: tuple[int | None, ...]) -> str:
    return " x ".join("N" if axis is None else str(axis) for axis in shape)
