"""What the parts of a task must say together: names that resolve, shapes and rules that fit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, get_args

from medsdk.tasks.decoding import (
    ArgmaxRule,
    BoxesRule,
    ClassificationDecode,
    Decode,
    DetectionDecode,
    HeatMapDecode,
    MaskRule,
    Reduction,
    RegressionDecode,
    SegmentationDecode,
    ThresholdRule,
    ValueRule,
)

if TYPE_CHECKING:
    from medsdk.tasks.schema import Network, Task

_RULE_NEEDS = {
    ThresholdRule: "classification",
    ArgmaxRule: "classification",
    BoxesRule: "detection",
    MaskRule: "segmentation",
    ValueRule: "regression",
}

_OPERATIONS: dict[str, tuple[str, ...]] = {
    "classification": get_args(Reduction.model_fields["operation"].annotation),
    "detection": ("k-consecutive", "k-of-n"),
    "segmentation": ("mean", "max"),
    "regression": ("mean", "max", "top-k-mean"),
    "heat-map": ("mean", "max"),
}

_MAX_ROLE = 64
"""As `strict.Name` has it: an expanded role names a folder of the bundle."""

_Shape = tuple[int | None, ...]


def check_consistency(task: Task) -> None:
    """Hold the parts of a task against each other.

    Args:
        task: Each part is valid by itself.

    Raises:
        ValueError: Key, value and what is allowed, of the first contradiction.
    """
    _check_input(task)
    for role, network in task.networks.items():
        _check_feed(task, role, network)
        _check_members(task, role, network)
        _check_decode(task, role, network)
    _check_roles(task)
    _check_rule(task)
    _check_reductions(task)
    _check_gates(task)
    _check_marks(task)


def _refuse(key: str, value: object, allowed: str) -> ValueError:
    return ValueError(f"{key} is {value!r}; allowed: {allowed}")


def _role(task: Task, role: str, key: str, kind: str | None = None) -> Network:
    if role not in task.networks:
        raise _refuse(key, role, ", ".join(task.networks))
    network = task.networks[role]
    if kind is not None and network.decode.kind != kind:
        fitting = [name for name, item in task.networks.items() if item.decode.kind == kind]
        raise _refuse(key, role, f"a {kind} network ({', '.join(fitting) or 'this task has none'})")
    return network


def _label(label: str | None, decode: Decode, key: str) -> None:
    labels = getattr(decode, "labels", ())
    if label not in labels:
        raise _refuse(key, label, ", ".join(labels))


def _threshold(task: Task, name: str, key: str) -> None:
    if name not in task.thresholds:
        raise _refuse(key, name, ", ".join(task.thresholds) or "(thresholds is empty)")
    value = task.thresholds[name].value
    if not 0.0 <= value <= 1.0:
        raise _refuse(f"thresholds.{name}.value", value, "0 to 1, a probability")


def _check_input(task: Task) -> None:
    names = [sequence.name for sequence in task.input.sequences]
    if len(set(names)) != len(names):
        raise _refuse("input.sequences", names, "distinct names")
    if task.input.slices == "operator-range" and task.input.kind not in ("series", "study"):
        raise _refuse("input.slices", "operator-range", "input.kind 'series' or 'study' only")


def _check_roles(task: Task) -> None:
    roles = task.roles
    if len(set(roles)) != len(roles):
        twice = sorted({role for role in roles if roles.count(role) > 1})
        raise _refuse("networks", twice, "roles that stay distinct once members are spelled out")
    for role in roles:
        if len(role) > _MAX_ROLE:
            raise _refuse("networks", role, f"a role of at most {_MAX_ROLE} characters")


def _check_feed(task: Task, role: str, network: Network) -> None:
    key = f"networks.{role}.feed"
    feed = network.feed
    at_boxes = network.pixels.crop.kind == "candidate-box"
    if at_boxes != (feed.kind == "boxes"):
        raise _refuse(
            f"networks.{role}.pixels.crop.kind",
            network.pixels.crop.kind,
            "'candidate-box' with feed.kind 'boxes', and with it alone",
        )
    chain = [role]
    while (source := task.networks[chain[-1]].feed.role) is not None:
        _role(task, source, f"networks.{chain[-1]}.feed.role")
        if source in chain:
            raise _refuse(f"{key}.role", feed.role, "a network that is not fed by this one")
        chain.append(source)
    if feed.role is None:
        return
    if feed.kind == "boxes":
        _role(task, feed.role, f"{key}.role", "detection")
    if feed.kind == "passed":
        _label(
            feed.label,
            _role(task, feed.role, f"{key}.role", "classification").decode,
            f"{key}.label",
        )
    if feed.threshold is not None:
        _threshold(task, feed.threshold, f"{key}.threshold")


def _check_members(task: Task, role: str, network: Network) -> None:
    key = f"networks.{role}.members"
    axes = [member.axis for member in network.members]
    if len(set(axes)) != len(axes):
        raise _refuse(key, axes, "each axis once")
    known = [sequence.name for sequence in task.input.sequences]
    for member in network.members:
        if len(set(member.keys)) != len(member.keys):
            raise _refuse(f"{key}.keys", list(member.keys), "distinct keys")
        if member.axis == "sequence" and not set(member.keys) <= set(known):
            raise _refuse(
                f"{key}.keys",
                list(member.keys),
                f"names of input.sequences ({', '.join(known) or 'there are none'})",
            )


def _check_decode(task: Task, role: str, network: Network) -> None:
    where = f"networks.{role}"
    if (network.input.layout == "ncthw") != (network.pixels.clip is not None):
        have = "missing" if network.pixels.clip is None else "there"
        raise ValueError(
            f"{where}.input.layout is {network.input.layout!r} and {where}.pixels.clip is {have}; "
            "allowed: pixels.clip with layout 'ncthw', and with it alone"
        )
    decode = network.decode
    if isinstance(decode, DetectionDecode):
        _threshold(task, decode.confidence, f"{where}.decode.confidence")
    if isinstance(decode, SegmentationDecode) and decode.threshold is not None:
        _threshold(task, decode.threshold, f"{where}.decode.threshold")
    labels: tuple[str, ...] = ()
    if isinstance(decode, HeatMapDecode):
        explained = _role(task, decode.explains, f"{where}.decode.explains", "classification")
        labels = getattr(explained.decode, "labels", ())
        if network.feed.kind != "same" or network.feed.role != decode.explains:
            raise _refuse(
                f"{where}.feed.kind", network.feed.kind, f"'same' with role {decode.explains!r}"
            )
        if network.pixels != explained.pixels:
            raise ValueError(
                f"{where}.pixels differs from networks.{decode.explains}.pixels; allowed: the "
                "same contract, or the map explains another image"
            )
        if network.input.batch != 1:
            raise _refuse(f"{where}.input.batch", network.input.batch, "1 for a heat map")
    outputs = {output.name: output.axes for output in network.outputs}
    if len(outputs) != len(network.outputs):
        raise _refuse(
            f"{where}.outputs", [output.name for output in network.outputs], "distinct names"
        )
    for key, name, shapes in _shapes(decode, labels, network.input.layout == "nhwc"):
        if name not in outputs:
            raise _refuse(f"{where}.decode.{key}", name, ", ".join(outputs))
        axes = outputs[name]
        if isinstance(decode, ClassificationDecode | RegressionDecode):
            axes = tuple(axis for axis in axes if axis != 1)
        if not any(_fits(axes, shape) for shape in shapes):
            wanted = " or ".join(
                str(["a word" if size is None else size for size in shape or (1,)])
                for shape in shapes
            )
            raise _refuse(f"{where}.outputs.axes of {name!r}", list(outputs[name]), wanted)


def _shapes(
    decode: Decode, explained: tuple[str, ...], labels_last: bool
) -> Iterator[tuple[str, str, tuple[_Shape, ...]]]:
    """Key, output and possible axes behind the batch; axes of size 1 left out for scores."""
    match decode:
        case ClassificationDecode():
            count = len(decode.labels)
            one = ((),) if decode.activation == "sigmoid" and count == 2 else ()
            yield "output", decode.output, ((count,), *one)
        case RegressionDecode():
            yield "output", decode.output, ((),)
        case DetectionDecode():
            yield "boxes", decode.boxes, ((None, 4),)
            yield "scores", decode.scores, ((None, len(decode.labels)),)
        case SegmentationDecode() | HeatMapDecode():
            labels = decode.labels if isinstance(decode, SegmentationDecode) else explained
            count = len(labels)
            shape: _Shape = (None, None, count) if labels_last else (count, None, None)
            yield "output", decode.output, (shape,)


def _fits(axes: tuple[int | str, ...], shape: _Shape) -> bool:
    return len(axes) == len(shape) and all(
        size is None or isinstance(axis, str) or axis == size
        for axis, size in zip(axes, shape, strict=True)
    )


def _check_rule(task: Task) -> None:
    rule = task.decision.rule
    network = _role(task, rule.role, "decision.rule.role", _RULE_NEEDS[type(rule)])
    if isinstance(rule, ThresholdRule):
        _threshold(task, rule.threshold, "decision.rule.threshold")
        for key in ("label", "otherwise"):
            _label(getattr(rule, key), network.decode, f"decision.rule.{key}")
        labels = getattr(network.decode, "labels", ())
        if len(labels) != 2 or rule.label == rule.otherwise:
            raise ValueError(
                f"decision.rule.label is {rule.label!r} and .otherwise {rule.otherwise!r} of "
                f"{len(labels)} labels; allowed: both of exactly two labels"
            )
    if isinstance(rule, BoxesRule) and rule.verifier is not None:
        key = "decision.rule.verifier"
        verifier = _role(task, rule.verifier, key, "classification")
        if verifier.feed.kind != "boxes" or verifier.feed.role != rule.role:
            raise _refuse(
                f"networks.{rule.verifier}.feed.kind",
                verifier.feed.kind,
                f"'boxes' of {rule.role!r}, which it verifies",
            )
        _label(rule.verifier_label, verifier.decode, f"{key}_label")
        _threshold(task, rule.verifier_threshold or "", f"{key}_threshold")


def _check_reductions(task: Task) -> None:
    done: list[tuple[str, str]] = []
    for index, reduction in enumerate(task.decision.reductions):
        key = f"decision.reductions.{index}"
        network = _role(task, reduction.role, f"{key}.role")
        if (reduction.role, reduction.axis) in done:
            raise _refuse(f"{key}.axis", reduction.axis, "each axis of a network once")
        done.append((reduction.role, reduction.axis))
        _check_axis(task, reduction, network, key)
        _check_operation(task, reduction, network, key)
    for role, network in task.networks.items():
        for member in network.members:
            if (role, member.axis) not in done:
                raise ValueError(
                    f"decision.reductions has none for role {role!r} and axis {member.axis!r}; "
                    f"allowed: one for each axis of networks.{role}.members"
                )


def _check_axis(task: Task, reduction: Reduction, network: Network, key: str) -> None:
    kind = task.input.kind
    match reduction.axis:
        case "fold":
            there = any(member.axis == "fold" for member in network.members)
            needs = f"'fold' in networks.{reduction.role}.members"
        case "sequence":
            there, needs = bool(task.input.sequences), "input.sequences"
        case "slice":
            there, needs = kind in ("series", "study"), "input.kind 'series' or 'study'"
        case "frame":
            there, needs = kind in ("clip", "study"), "input.kind 'clip' or 'study'"
    if not there:
        raise _refuse(f"{key}.axis", reduction.axis, f"an axis that is there: it needs {needs}")


def _check_operation(task: Task, reduction: Reduction, network: Network, key: str) -> None:
    kind, operation, rule = network.decode.kind, reduction.operation, task.decision.rule
    if operation not in _OPERATIONS[kind]:
        raise _refuse(
            f"{key}.operation", operation, f"{', '.join(_OPERATIONS[kind])} for a {kind} network"
        )
    if operation == "k-consecutive" and reduction.axis not in ("frame", "slice"):
        raise _refuse(f"{key}.axis", reduction.axis, "frame or slice, which have an order")
    if (kind == "detection") != (reduction.match_iou is not None):
        raise _refuse(
            f"{key}.match_iou", reduction.match_iou, "a number for detection, and for it alone"
        )
    if operation == "sum-of-softmax":
        decode = network.decode
        if isinstance(decode, ClassificationDecode) and decode.activation == "sigmoid":
            raise _refuse(f"{key}.operation", operation, "it with softmax, not with sigmoid")
        if rule.role == reduction.role and not isinstance(rule, ArgmaxRule):
            raise _refuse(
                "decision.rule.kind", rule.kind, "'argmax', since a sum is no probability"
            )


def _check_gates(task: Task) -> None:
    for network in task.networks.values():
        field = network.decode.kind.replace("-", "_")
        if getattr(task.gates, field) is None:
            raise ValueError(f"gates.{field} is missing for a {network.decode.kind} network")
    outputs = {
        f"{role}.{output.name}"
        for role, network in task.networks.items()
        for output in network.outputs
    }
    for form, limits in task.gates.max_output_difference.items():
        if set(limits) != outputs:
            raise ValueError(
                f"gates.max_output_difference.{form} has the keys {sorted(limits)}; "
                f"allowed, each once: {sorted(outputs)}"
            )
    if "float" not in task.gates.max_output_difference:
        raise ValueError("gates.max_output_difference.float is missing")


def _check_marks(task: Task) -> None:
    document = task.model_dump(mode="json", exclude_none=True)
    both = set(task.marks.known) & set(task.marks.inferred)
    if both:
        raise ValueError(
            f"marks.known and marks.inferred both name {', '.join(sorted(both))}; "
            "allowed: one of them"
        )
    marked = (*task.marks.known, *task.marks.inferred)
    for path in marked:
        if not _names_a_key(path, document):
            raise ValueError(
                f"marks names {path!r}, which is no key of this file; allowed: dotted keys, and "
                "the number of an item from 0"
            )
    for path in _to_be_marked(task):
        if not any(
            path == m or path.startswith(f"{m}.") or m.startswith(f"{path}.") for m in marked
        ):
            raise ValueError(f"{path!r} is neither in marks.known nor in marks.inferred")


def _names_a_key(path: str, document: object) -> bool:
    node = document
    for key in path.split("."):
        if isinstance(node, dict) and key in node:
            node = node[key]
        elif isinstance(node, list) and key in map(str, range(len(node))):
            node = node[int(key)]
        else:
            return False
    return True


def _to_be_marked(task: Task) -> Iterator[str]:
    yield "input.modalities"
    for role, network in task.networks.items():
        yield from (f"networks.{role}.{part}" for part in ("architecture", "pixels", "decode"))
        if network.feed.role is not None:
            yield f"networks.{role}.feed"
        if network.members:
            yield f"networks.{role}.members"
    if task.decision.reductions:
        yield "decision.reductions"
    yield "decision.rule"
    yield from (f"thresholds.{name}" for name in task.thresholds)
