"""The configuration of a Keras model, judged before Keras sees it.

A configuration names the classes that Keras shall make. Only names of a closed list are let
through: layers that compute from pixels, and what configures them. The rest is named, with the
way around it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from medsdk_export.errors import SourceUnreadableError

MAX_CONFIG_BYTES = 32 * 1024**2
MAX_LAYERS = 5_000
MAX_DEPTH = 64
"""Objects inside each other; a layer in a model in a model takes about a dozen."""

MAX_SIZE = 1_000_000
"""Of one axis, kernel, stride, padding or number of filters."""

Kind = Literal["lambda", "custom", "class", "precision", "layout", "size"]


@dataclass(frozen=True)
class Obstacle:
    """What stands in the way of loading a model.

    Attributes:
        kind: `lambda`: code inside; `custom`: a class or function of its author; `class`: one
            that is not on the list; `precision`, `layout`: not float32 or not channels last;
            `size`: a number out of all proportion.
        layer: Name of the layer that holds it.
        what: The class, function or key.
    """

    kind: Kind
    layer: str
    what: str


@dataclass
class ConfigFacts:
    """What a configuration says.

    Attributes:
        layers: Class and name of every layer, those of nested models included.
        inputs: Shapes of the input layers of the outermost model; None for a free axis.
        activation: What the first output ends in: `softmax`, `sigmoid`, `linear`, another name, or
            empty where the configuration does not tell.
        units: Size of the last axis of the first output; None where it is not told.
        obstacles: In the order they were found.
    """

    layers: list[tuple[str, str]] = field(default_factory=list)
    inputs: list[tuple[int | None, ...]] = field(default_factory=list)
    activation: str = ""
    units: int | None = None
    obstacles: list[Obstacle] = field(default_factory=list)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


MODELS = frozenset({"Functional", "Model", "Sequential"})

LAYERS = _words(
    """
    InputLayer Input Dense Conv1D Conv2D Conv3D Convolution2D DepthwiseConv2D SeparableConv2D
    SeparableConvolution2D Conv2DTranspose Conv3DTranspose Activation ReLU LeakyReLU PReLU ELU
    Softmax BatchNormalization BatchNormalizationV1 LayerNormalization GroupNormalization
    UnitNormalization RMSNormalization Normalization Rescaling Resizing CenterCrop Dropout
    SpatialDropout2D SpatialDropout3D GaussianDropout GaussianNoise AlphaDropout
    ActivityRegularization MaxPooling2D MaxPool2D AveragePooling2D AvgPool2D MaxPooling3D
    AveragePooling3D GlobalAveragePooling2D GlobalAvgPool2D GlobalMaxPooling2D GlobalMaxPool2D
    GlobalAveragePooling3D GlobalMaxPooling3D Flatten Reshape Permute RepeatVector
    ZeroPadding2D ZeroPadding3D Cropping2D Cropping3D UpSampling2D UpSampling3D Add Subtract
    Multiply Average Maximum Minimum Concatenate Dot Identity TimeDistributed RandomFlip
    RandomRotation RandomTranslation RandomZoom RandomContrast RandomBrightness RandomCrop
    MultiHeadAttention Attention
    """
)
"""Layers that compute from what they are fed, and nothing else."""

OPERATIONS = _words(
    """
    Add Subtract Multiply Divide TrueDivide Negative Maximum Minimum Mean Relu Relu6 Sigmoid
    Softmax Silu Reshape Transpose Concatenate Power Square Sqrt Absolute Clip GetItem
    """
)
"""What Keras 3 records where a model was written with operators instead of layers."""

CONFIGURED = _words(
    """
    Zeros Ones Constant Identity RandomNormal RandomUniform TruncatedNormal VarianceScaling
    GlorotUniform GlorotNormal HeUniform HeNormal LecunUniform LecunNormal Orthogonal L1 L2
    L1L2 MaxNorm NonNeg UnitNorm MinMaxNorm DTypePolicy Policy
    """
)
"""Initializers, regularizers, constraints and policies: they configure layers."""

KEEPS_VALUES = _words(
    """
    Identity Dropout SpatialDropout2D SpatialDropout3D GaussianDropout GaussianNoise AlphaDropout
    ActivityRegularization
    """
)
"""What gives, in inference, exactly what it gets."""

MOVES_VALUES = _words("Reshape Flatten Permute Transpose Squeeze ExpandDims")
"""What gives the same values in another order or shape."""

MARKS = frozenset({"__keras_tensor__", "__tuple__", "__slice__", "__ellipsis__"})

ACTIVATIONS = _words(
    """
    linear relu relu6 leaky_relu elu selu celu gelu softmax log_softmax sigmoid hard_sigmoid
    softplus softsign tanh swish silu hard_swish hard_silu exponential mish glu hard_tanh
    tanh_shrink soft_shrink hard_shrink squareplus sparse_plus threshold log_sigmoid
    """
)

_MODULES = frozenset(
    {"builtins", "keras"}
    | {
        f"{root}.{part}"
        for root in ("keras", "tf_keras", "tensorflow.keras")
        for part in ("layers", "models", "initializers", "regularizers", "constraints")
    }
    | {"keras.activations", "keras.dtype_policies", "keras.mixed_precision"}
)
_MODEL_MODULES = ("keras.src.models.", "keras.src.engine.", "keras.engine.", "tf_keras.src.engine.")
_OPERATION_MODULES = ("keras.src.ops.", "keras.ops")

_SIZES = _words(
    """
    units filters kernel_size pool_size strides dilation_rate depth_multiplier groups padding
    cropping size target_shape batch_shape batch_input_shape input_shape input_dim output_dim
    height width n num_heads key_dim value_dim
    """
)


def parse(text: str | bytes) -> dict[str, Any]:
    """A configuration as JSON.

    Raises:
        SourceUnreadableError: It is none, or nested too deep.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise unreadable("no JSON, or nested too deep") from error
    if not isinstance(document, dict):
        raise unreadable("no JSON object")
    return document


def unreadable(
    got: str, expected: str = "the configuration that Keras writes"
) -> SourceUnreadableError:
    """The error for a configuration that is none."""
    return SourceUnreadableError(
        "the model's configuration is refused",
        got=got,
        expected=expected,
        remedy="save the model again with Keras",
    )


def judge(document: Mapping[str, Any]) -> ConfigFacts:
    """Read a configuration.

    Args:
        document: As parsed; not changed.

    Returns:
        What it says, with everything that stands in the way.

    Raises:
        SourceUnreadableError: It is no model's configuration, or out of all proportion.
    """
    facts = ConfigFacts()
    if document.get("class_name") not in MODELS:
        name = str(document.get("class_name"))[:60]
        facts.obstacles.append(Obstacle("custom", "the model itself", name))
    _visit(document, "the model itself", 0, facts)
    if len(facts.layers) > MAX_LAYERS:
        raise unreadable(f"{len(facts.layers)} layers", f"at most {MAX_LAYERS}")
    facts.inputs = list(_inputs(document))
    facts.activation, facts.units = _end(document)
    return facts


def modernised(document: object) -> object:
    """The configuration with what earlier releases of Keras wrote otherwise.

    Args:
        document: A configuration that `judge` has passed.

    Returns:
        A new one: modules under their present names; `groups` of a depthwise convolution, which
        Keras 2 wrote and Keras 3 does not know, left out; the axis of a BatchNorm a number; and
        no `compile_config`, from which Keras would make losses, metrics and an optimizer.
    """
    if isinstance(document, list):
        return [modernised(item) for item in document]
    if not isinstance(document, dict):
        return document
    made = {key: modernised(value) for key, value in document.items() if key != "compile_config"}
    module = made.get("module")
    if isinstance(module, str) and "class_name" in made:
        if made["class_name"] in MODELS:
            made["module"] = "keras"
            made["class_name"] = made["class_name"].replace("Functional", "Model")
            made["registered_name"] = None
        elif module.startswith(("tf_keras.", "tensorflow.keras.")):
            made["module"] = "keras." + module.rpartition("keras.")[2]
    config = made.get("config")
    if isinstance(config, dict):
        if made.get("class_name") == "DepthwiseConv2D":
            config.pop("groups", None)
        axis = config.get("axis")
        if made.get("class_name") == "BatchNormalization" and isinstance(axis, list):
            config["axis"] = axis[0] if len(axis) == 1 else axis
    return made


def _visit(node: object, layer: str, depth: int, facts: ConfigFacts) -> None:
    if depth > MAX_DEPTH:
        raise unreadable(f"objects more than {MAX_DEPTH} deep")
    if isinstance(node, list):
        for item in node:
            _visit(item, layer, depth + 1, facts)
        return
    if not isinstance(node, dict):
        return
    if "class_name" in node:
        config = node.get("config")
        name = node["class_name"]
        label = config.get("name") if isinstance(config, dict) else None
        if isinstance(label, str) and name not in CONFIGURED:
            layer = label[:80]
        _check_object(node, layer, facts)
    elif "module" in node or "registered_name" in node:
        facts.obstacles.append(Obstacle("custom", layer, str(node.get("module"))[:60]))
    for key, value in node.items():
        if key in ("activation", "recurrent_activation") and isinstance(value, str):
            if value not in ACTIVATIONS:
                facts.obstacles.append(Obstacle("custom", layer, value[:60]))
        elif key == "dtype" and isinstance(value, str) and value not in ("float32", "int32"):
            facts.obstacles.append(Obstacle("precision", layer, value[:40]))
        elif key == "data_format" and value == "channels_first":
            facts.obstacles.append(Obstacle("layout", layer, "channels_first"))
        elif key in _SIZES and any(abs(number) > MAX_SIZE for number in _numbers(value)):
            facts.obstacles.append(Obstacle("size", layer, key))
        # Losses and metrics are never made, since `modernised` drops them: their names do not
        # matter.
        if key != "compile_config":
            _visit(value, layer, depth + 1, facts)


def _check_object(node: Mapping[str, Any], layer: str, facts: ConfigFacts) -> None:
    name, module = node["class_name"], node.get("module")
    registered, config = node.get("registered_name"), node.get("config")
    if not isinstance(name, str):
        raise unreadable("a class name that is no text")

    def stop(kind: Kind, what: str) -> None:
        facts.obstacles.append(Obstacle(kind, layer, what[:60]))

    if name in MARKS:
        return
    if name in ("Lambda", "__lambda__"):
        stop("lambda", name)
        return
    if name == "function":
        if not isinstance(config, str) or config not in ACTIVATIONS:
            stop("custom", str(registered or config))
        return
    if name in ("TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer"):
        wanted = config.get("function") if isinstance(config, dict) else ""
        stop("class", f"{name} {wanted}".strip())
        return
    if registered not in (None, name):
        stop("custom", str(registered))
    elif name in MODELS and _in_modules(module, _MODEL_MODULES):
        facts.layers.append((name, layer))
    elif module is not None and module not in _MODULES:
        if name in OPERATIONS and _in_modules(module, _OPERATION_MODULES):
            facts.layers.append((name, layer))
        else:
            stop("custom", f"{module}.{name}")
    elif name in ("DTypePolicy", "Policy"):
        wanted = config.get("name") if isinstance(config, dict) else None
        if wanted != "float32":
            stop("precision", str(wanted))
    elif name in LAYERS and not str(module).endswith("initializers"):
        facts.layers.append((name, layer))
    elif name not in CONFIGURED:
        stop("custom" if ">" in name or module is None else "class", name)


def _in_modules(module: object, roots: tuple[str, ...]) -> bool:
    return module is None or module in _MODULES or str(module).startswith(roots)


def _numbers(value: object) -> Iterator[float]:
    if isinstance(value, list):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, int | float):
        yield value


def _layers_of(model: Mapping[str, Any]) -> list[Any]:
    config = model.get("config")
    # The oldest files list a Sequential's layers directly.
    layers = config.get("layers") if isinstance(config, dict) else config
    return layers if isinstance(layers, list) else []


def _inputs(model: Mapping[str, Any]) -> Iterator[tuple[int | None, ...]]:
    layers = [item for item in _layers_of(model) if isinstance(item, dict)]
    found = False
    for item in layers:
        config = item.get("config")
        if item.get("class_name") in ("InputLayer", "Input") and isinstance(config, dict):
            shape = config.get("batch_shape") or config.get("batch_input_shape")
            if isinstance(shape, list):
                found = True
                yield tuple(axis if isinstance(axis, int) else None for axis in shape)
    if found or not layers:
        return
    first = layers[0].get("config")
    shape = first.get("batch_input_shape") if isinstance(first, dict) else None
    if isinstance(shape, list):
        yield tuple(axis if isinstance(axis, int) else None for axis in shape)
    elif layers[0].get("class_name") in MODELS:
        yield from _inputs(layers[0])


def _last_layers(model: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The layers of a model from its first output back, for as long as each has one before it."""
    layers = [item for item in _layers_of(model) if isinstance(item, dict)]
    config = model.get("config")
    outputs = config.get("output_layers") if isinstance(config, dict) else None
    names = list(_sources(outputs))
    named = {str(item.get("name")): item for item in layers}
    # A Sequential names no outputs.
    for last in _chain(named, names[0]) if names else reversed(layers):
        if last.get("class_name") in MODELS:
            yield from _last_layers(last)
        elif last.get("class_name") != "InputLayer":
            yield last


def _chain(layers: Mapping[str, Mapping[str, Any]], name: str) -> Iterator[Mapping[str, Any]]:
    for _ in range(len(layers)):
        if name not in layers:
            return
        yield layers[name]
        before = list(_sources(layers[name].get("inbound_nodes")))
        if len(before) != 1:
            return
        name = before[0]


def _sources(node: object) -> Iterator[str]:
    """Layers that a reference names: `[name, 0, 0]`, inside whatever Keras 2 or 3 puts around."""
    if isinstance(node, dict):
        for value in node.values():
            yield from _sources(value)
    elif isinstance(node, list):
        if len(node) >= 3 and isinstance(node[0], str) and isinstance(node[1], int):
            yield node[0]
        else:
            for item in node:
                yield from _sources(item)


def _end(model: Mapping[str, Any]) -> tuple[str, int | None]:
    """The activation that a model ends in, and the size of its last axis."""
    activation, units = "", None
    told = moved = pooled = False
    for layer in _last_layers(model):
        name = str(layer.get("class_name"))
        config = layer.get("config")
        if name.startswith("Global") and not told:
            pooled = True
            continue
        passes = name in KEEPS_VALUES | MOVES_VALUES
        found = _activation(layer)
        if not told and not passes and not (name == "Activation" and found == "linear"):
            told = True
            # A mean of probabilities is no softmax any more, nor one of a ReLU's values a ReLU.
            inside = "" if found in ("softmax", "sigmoid") else "linear"
            activation = inside if pooled and found else found
        moved = moved or name in MOVES_VALUES
        size = config.get("units", config.get("filters")) if isinstance(config, dict) else None
        if isinstance(size, int) or not (passes or name in _ACTIVATION_LAYERS):
            units = size if isinstance(size, int) and not moved else None
            break
    return activation, units


_ACTIVATION_LAYERS = frozenset({"Activation", "Softmax", "Sigmoid", "ReLU", "Relu", "LeakyReLU"})

_MERGES = _words(
    "Add Subtract Multiply Average Maximum Minimum Divide TrueDivide Concatenate Dot Clip"
)
"""Behind these a configuration does not say whether a softmax came before."""


def _activation(layer: Mapping[str, Any]) -> str:
    name, config = str(layer.get("class_name")), layer.get("config")
    if name == "TimeDistributed" and isinstance(config, dict):
        inner = config.get("layer")
        return _activation(inner) if isinstance(inner, dict) else ""
    if name in ("Softmax", "Sigmoid"):
        return name.lower()
    if name in ("ReLU", "Relu", "LeakyReLU"):
        return "relu"
    if name in _MERGES or not isinstance(config, dict):
        return ""
    found = config.get("activation", "linear")
    if isinstance(found, dict):
        found = found.get("config")
    return found if isinstance(found, str) else ""
