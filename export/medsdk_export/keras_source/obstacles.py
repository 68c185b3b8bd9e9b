"""What stands in the way of loading a Keras file, as errors."""

from __future__ import annotations

from collections.abc import Iterable

from medsdk_export.errors import GraphMismatchError, LayerRefusedError, SourceUnreadableError
from medsdk_export.keras_source._config import Obstacle
from medsdk_export.keras_source.files import KerasFacts
from medsdk_runtimes.errors import MedsdkError

MAX_ONNX_BYTES = 2**31 - 64 * 1024**2
"""Protobuf ends at 2 GiB; the graph itself needs some of it."""

_ROUTE = (
    "build the network from a catalogue architecture and give its weights alone "
    "(model.save_weights), or export the model to ONNX and give the .onnx"
)


def refuse_obstacles(facts: KerasFacts) -> None:
    """Refuse a file that cannot be loaded, before Keras or TensorFlow is imported.

    Raises:
        LayerRefusedError: It holds code, or a class of its author's.
        GraphMismatchError: Not float32, channels first, or too large for an ONNX file.
        SourceUnreadableError: Numbers out of all proportion.
    """
    error = as_error(facts.facts.obstacles)
    if error is not None:
        raise error
    refuse_size(facts.weight_bytes)


def refuse_size(weight_bytes: int) -> None:
    """Refuse weights that no single ONNX file can hold.

    Args:
        weight_bytes: Size in float32.

    Raises:
        GraphMismatchError: Over `MAX_ONNX_BYTES`.
    """
    if weight_bytes > MAX_ONNX_BYTES:
        raise GraphMismatchError(
            "the network is too large for one ONNX file",
            got=f"{weight_bytes} bytes of weights in float32",
            expected=f"at most {MAX_ONNX_BYTES}, since protobuf ends at 2 GiB",
            remedy="train a smaller network; a scanner has no room for this one either",
        )


def as_error(obstacles: Iterable[Obstacle]) -> MedsdkError | None:
    """The error for the first obstacle, code before anything else; None where there is none."""
    order = ("lambda", "custom", "class", "size", "precision", "layout")
    found = sorted(obstacles, key=lambda item: order.index(item.kind))
    if not found:
        return None
    first = found[0]
    where = ", ".join(dict.fromkeys(item.layer for item in found if item.kind == first.kind))
    named = f"{first.what} in the layer {where[:200]}"
    match first.kind:
        case "lambda":
            return LayerRefusedError(
                "the model is refused: a Lambda layer is Python code inside the file",
                got=f"Lambda in the layer {where[:200]}",
                expected="layers of Keras, loaded with safe_mode on",
                remedy=f"replace it (Rescaling for arithmetic), or {_ROUTE}",
            )
        case "custom":
            return LayerRefusedError(
                "the model is refused: a class or function that is not Keras's own",
                got=named,
                expected="layers and activations of Keras itself",
                remedy=_ROUTE,
            )
        case "class":
            return LayerRefusedError(
                "the model is refused: a layer that export does not load",
                got=named,
                expected="layers that compute from pixels: docs/sources.md",
                remedy=f"replace it (Rescaling for arithmetic), or {_ROUTE}",
            )
        case "size":
            return SourceUnreadableError(
                "the model's configuration is refused",
                got=f"a number out of all proportion: {named}",
                expected="sizes that the file's weights can have",
                remedy="save the model again with Keras",
            )
        case "precision":
            return GraphMismatchError(
                "the model does not compute in float32",
                got=named,
                expected="float32 throughout",
                remedy="keras.config.set_dtype_policy('float32'), build the model again, load its "
                "weights, and save it",
            )
        case "layout":
            return GraphMismatchError(
                "the model has its channels first, which TensorFlow on a CPU does not run",
                got=named,
                expected="data_format 'channels_last'",
                remedy="build the model with channels last, set its weights, and save it",
            )
