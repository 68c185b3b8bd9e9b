"""The end of a Keras model: what it is, and the softmax taken off it. Child process only."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import keras

from medsdk.tasks import Network
from medsdk.tasks.decoding import ClassificationDecode, SegmentationDecode
from medsdk_export.errors import GraphMismatchError
from medsdk_export.keras_source._config import KEEPS_VALUES, MOVES_VALUES

_PROBABILITIES = ("softmax", "sigmoid")


@dataclass(frozen=True)
class _Place:
    """A tensor on the way back from an output.

    Attributes:
        tensor: What `operation` made.
        outside: The nested models it lies in, outermost first: each with the tensors it is fed.
        owner: The model that it lies in.
        direct: Whether every value of it is a value of the output, unchanged.
        in_order: Whether they are in the same order, too.
        shared: Whether something else than that output uses it.
    """

    tensor: keras.KerasTensor
    owner: keras.Model
    outside: tuple[tuple[keras.Model, list[keras.KerasTensor]], ...] = ()
    direct: bool = True
    in_order: bool = True
    shared: bool = False

    @property
    def operation(self) -> keras.Operation:
        return self.tensor._keras_history.operation


def cut_activation(model: keras.Model, network: Network) -> str:
    """Take a softmax or sigmoid off the output that a task decodes as logits.

    Args:
        model: Changed in place.
        network: The task's description; the model has its outputs.

    Returns:
        `softmax` or `sigmoid`, or empty where nothing was taken off.

    Raises:
        GraphMismatchError: The model ends in something else than the task decodes, or where
            softmax was applied cannot be told.
    """
    decode = network.decode
    if not isinstance(decode, ClassificationDecode | SegmentationDecode):
        return ""
    wanted = decode.activation
    names = [output.name for output in network.outputs]
    output = model.outputs[names.index(decode.output)]
    ends = list(_ends(output, model))
    end = ends[0] if len(ends) == 1 and ends[0].direct else None
    found = "linear" if end is None else _activation_of(end.operation)
    if wanted == "none":
        # What else lies between 0 and 1 is seen when it is decoded.
        if end is not None and found == "linear":
            raise _ends_in(found, "softmax or sigmoid inside, since decode.activation is 'none'")
        return ""
    if end is None:
        inside = {_activation_of(item.operation) for item in ends} & set(_PROBABILITIES)
        if inside:
            raise _ends_in(
                f"{' and '.join(sorted(inside))}, and arithmetic behind it",
                f"{wanted} at the very end, or logits, since decode.activation is {wanted!r}",
            )
        return ""
    if found == "linear":
        return ""
    if found != wanted:
        raise _ends_in(found, f"{wanted} or logits, since decode.activation is {wanted!r}")
    if found == "softmax" and not _over_labels(end):
        raise _ends_in(
            "a softmax over other axes than the output's labels",
            "a softmax over the last axis, or over all of it",
        )
    if end.shared:
        raise _ends_in(f"a {found} that something else uses too", "a layer of its own")
    _make_linear(end.operation)
    return found


def _ends(output: keras.KerasTensor, model: keras.Model) -> Iterator[_Place]:
    """The last places before an output that have weights or an activation, or are inputs."""
    pending, seen = [_used(_Place(output, model))], set()
    while pending:
        place = pending.pop()
        mark = (id(place.tensor), *(id(inner) for inner, _ in place.outside))
        if mark in seen:
            continue
        seen.add(mark)
        operation = place.operation
        node = operation._inbound_nodes[place.tensor._keras_history.node_index]
        shared = place.shared or len(operation._inbound_nodes) > 1
        if isinstance(operation, keras.Model):
            inner = operation.outputs[place.tensor._keras_history.tensor_index]
            outside = (*place.outside, (place.owner, list(node.input_tensors)))
            step = replace(place, tensor=inner, owner=operation, outside=outside, shared=shared)
            pending.append(_used(step))
        elif isinstance(operation, keras.layers.InputLayer) and place.outside:
            owner, fed = place.outside[-1]
            number = [item is place.tensor for item in place.owner.inputs].index(True)
            step = replace(place, tensor=fed[number], owner=owner, outside=place.outside[:-1])
            pending.append(_used(step))
        elif not node.input_tensors or _stops(operation):
            yield replace(place, shared=shared)
        else:
            kind = type(operation).__name__
            keeps = kind in KEEPS_VALUES or _is_linear_activation(operation)
            pending += [
                _used(
                    replace(
                        place,
                        tensor=tensor,
                        direct=place.direct and (keeps or kind in MOVES_VALUES),
                        in_order=place.in_order and keeps,
                    )
                )
                for tensor in node.input_tensors
            ]


def _used(place: _Place) -> _Place:
    """The place, with whether its tensor has more uses than one in its own model."""
    graph = getattr(place.owner, "_functional", None) or place.owner
    nodes = [node for level in graph._nodes_by_depth.values() for node in level]
    used = [tensor for node in nodes for tensor in node.input_tensors]
    count = sum(item is place.tensor for item in (*used, *graph.outputs))
    return replace(place, shared=place.shared or count > 1)


def _stops(operation: keras.Operation) -> bool:
    return bool(getattr(operation, "weights", ())) or _activation_of(operation) != "linear"


def _is_linear_activation(operation: keras.Operation) -> bool:
    return type(operation).__name__ == "Activation" and _activation_of(operation) == "linear"


def _inside(operation: keras.Operation) -> keras.Operation:
    """The layer that a TimeDistributed applies; else the operation itself."""
    return operation.layer if type(operation).__name__ == "TimeDistributed" else operation


def _activation_of(operation: keras.Operation) -> str:
    operation = _inside(operation)
    name = type(operation).__name__
    if name in ("Softmax", "Sigmoid"):
        return name.lower()
    activation = getattr(operation, "activation", None)
    if activation is None:
        return "relu" if name in ("ReLU", "Relu", "Relu6", "LeakyReLU") else "linear"
    return str(getattr(activation, "__name__", type(activation).__name__)).lower()


def _over_labels(end: _Place) -> bool:
    """Whether a softmax went over the axis that becomes the labels, and over all of it."""
    shape = end.tensor.shape
    axis = getattr(_inside(end.operation), "axis", -1)
    if not isinstance(axis, int):
        return False
    if None not in shape[1:] and shape[axis] == math.prod(shape[1:]):
        return True
    return end.in_order and axis in (-1, len(shape) - 1)


def _make_linear(operation: keras.Operation) -> None:
    operation = _inside(operation)
    if hasattr(operation, "activation"):
        operation.activation = keras.activations.linear
    else:
        operation.call = lambda inputs, *_, **__: inputs


def _ends_in(found: str, expected: str) -> GraphMismatchError:
    return GraphMismatchError(
        "the model's end is not what the task decodes",
        got=f"a model that ends in {found}",
        expected=expected,
        remedy="set decode.activation in the task file to what the model ends in; 'none' where its "
        "output is probabilities already",
    )
