"""`medsdk export --explain`: what a model file holds, and what stands in its way.

No bundle is made, and a Keras file is read without TensorFlow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medsdk.errors import MedsdkError
from medsdk.results.documents import (
    ArchitectureDocument,
    ErrorFacts,
    ExplainDocument,
    TensorDocument,
)
from medsdk.tasks import Network
from medsdk_export.architectures.keras_layers import Layer
from medsdk_export.architectures.keras_registry import (
    KERAS_NAMES,
    Parameter,
    candidates,
    keras_layers,
)
from medsdk_export.digests import sha256_of_file
from medsdk_export.errors import GraphMismatchError
from medsdk_export.sources import check_file, need, read_source

Shape = tuple[int | None, ...]

_IMAGE_CHANNELS = (1, 3)


def explain(path: Path, network: Network | None = None) -> ExplainDocument:
    """Say what a model file holds.

    Args:
        path: Any file that `read_source` reads.
        network: A task's description, to be held against the file; None where only the file
            counts.

    Returns:
        What was found. What keeps the file from becoming a bundle is in `obstacles`.

    Raises:
        SourceUnreadableError: Missing, damaged, or of a kind that is not read.
        PickleRefusedError: A checkpoint that wants to run code.
        ExportUnavailableError: What reads this kind of file is not installed.
    """
    check_file(path)
    found = _Found(path)
    match path.suffix.lower():
        case ".onnx":
            _onnx(path, found)
        case ".keras" | ".h5" | ".hdf5":
            _keras(path, found)
        case ".pt2":
            need("torch", "PyTorch programs", "torch")
            _torch_program(path, found)
        case _:
            need("torch", "PyTorch weights", "torch")
            _torch_state(path, found)
    if network is not None and not found.obstacles:
        try:
            read_source(path, network)
        except MedsdkError as error:
            found.obstacles.append(error)
    return found.document()


class _Found:
    """What is gathered of a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.format = path.suffix.lower().removeprefix(".")
        self.framework = "torch"
        self.written_by = ""
        self.weights = 0
        self.layers: Counter[str] = Counter()
        self.inputs: list[TensorDocument] = []
        self.outputs: list[TensorDocument] = []
        self.opset: int | None = None
        self.activation = ""
        self.architectures: list[ArchitectureDocument] = []
        self.obstacles: list[MedsdkError] = []

    @property
    def image(self) -> Shape:
        """Shape of the only input that looks like images; empty where there is none."""
        shapes = [item.shape for item in self.inputs if len(item.shape) == 4]
        return shapes[0] if len(self.inputs) == len(shapes) == 1 else ()

    @property
    def layout(self) -> str:
        image = self.image
        if not image:
            return "nchw" if self.architectures and self.framework == "torch" else ""
        if image[1] in _IMAGE_CHANNELS and image[3] not in _IMAGE_CHANNELS:
            return "nchw"
        return "nhwc" if image[3] in _IMAGE_CHANNELS else ""

    def document(self) -> ExplainDocument:
        batch = str(self.image[0] or "dynamic") if self.image else ""
        return ExplainDocument(
            format=self.format,
            framework=self.framework,
            written_by=self.written_by,
            sha256=sha256_of_file(self.path),
            size_bytes=self.path.stat().st_size,
            weights=self.weights,
            weight_bytes=4 * self.weights,
            layers=dict(sorted(self.layers.items(), key=lambda item: (-item[1], item[0]))),
            inputs=tuple(self.inputs),
            outputs=tuple(self.outputs),
            layout=self.layout,
            batch=batch,
            opset=self.opset,
            activation=self.activation,
            architectures=tuple(self.architectures),
            obstacles=tuple(_facts(error) for error in self.obstacles),
            task_snippet=_snippet(self, batch),
        )


def _onnx(path: Path, found: _Found) -> None:
    import onnx

    from medsdk_export.graphs import READ_OPSETS
    from medsdk_runtimes.graph import scan

    data = path.read_bytes()
    facts = scan(data)
    graph = onnx.load_model_from_string(data).graph
    found.framework, found.format = "onnx", "onnx"
    model = onnx.ModelProto()
    model.ParseFromString(data)
    found.written_by = f"{model.producer_name} {model.producer_version}".strip()[:80]
    found.weights = sum(int(np.prod(item.dims)) for item in graph.initializer)
    found.layers = Counter({operator: count for (_, operator), count in facts.operators.items()})
    found.inputs = [_tensor(item.name, item.dtype, item.shape) for item in facts.inputs]
    found.outputs = [_tensor(item.name, item.dtype, item.shape) for item in facts.outputs]
    found.opset = facts.opsets.get("")
    found.activation = _end_of(graph)
    if found.opset not in READ_OPSETS:
        found.obstacles.append(
            GraphMismatchError(
                "the graph's opset is not one that is read",
                got=str(found.opset),
                expected=f"{READ_OPSETS.start} to {READ_OPSETS.stop - 1}",
                remedy="export it again with that opset, or use onnx.version_converter",
            )
        )
    if facts.has_quantization:
        found.obstacles.append(
            GraphMismatchError(
                "the graph is quantized already",
                got=f"{facts.quantized_layers} layers in 8 bits",
                expected="a float32 graph; export quantizes it",
            )
        )
    _one_image(found)


def _end_of(graph: Any) -> str:  # noqa: ANN401  # onnx.GraphProto, imported where it is used
    from medsdk_export.ends import end_of

    ends = {end_of(graph, output.name) for output in graph.output}
    return ends.pop() if len(ends) == 1 else "none"


def _keras(path: Path, found: _Found) -> None:
    from medsdk_export.keras_source._config import Obstacle
    from medsdk_export.keras_source.obstacles import as_error, refuse_size
    from medsdk_export.keras_source.process import KerasProcess

    process = KerasProcess()
    try:
        document = process.scan(path)
    finally:
        process.close()
    facts = document["facts"]
    found.framework, found.format = "keras", document["format"]
    found.written_by = document["version"]
    shapes = [tuple(item["shape"]) for group in document["weights"].values() for item in group]
    found.weights = sum(int(np.prod(shape)) for shape in shapes)
    found.layers = Counter(kind for kind, _ in facts["layers"])
    if not facts["layers"]:
        found.layers = Counter({"layers with weights": len(document["weights"])})
    found.inputs = [_tensor("", "float32", shape) for shape in facts["inputs"]]
    if facts["layers"]:
        found.activation = {"linear": "none"}.get(facts["activation"], facts["activation"])
        units = facts["units"]
        if units is not None:
            found.outputs = [_tensor("", "float32", (None, units))]
    found.architectures = list(_fits(shapes, keras=True))
    for kind in dict.fromkeys(item["kind"] for item in facts["obstacles"]):
        error = as_error(Obstacle(**item) for item in facts["obstacles"] if item["kind"] == kind)
        if error is not None:
            found.obstacles.append(error)
    _too_large(found, refuse_size)
    if not facts["layers"] and not found.architectures:
        found.obstacles.append(_no_architecture("model.save('model.keras')"))
    if facts["layers"]:
        _one_image(found)


def _torch_state(path: Path, found: _Found) -> None:
    from medsdk_export.from_torch import load_state
    from medsdk_export.keras_source.obstacles import refuse_size

    state = load_state(path, path.suffix.lower())
    shapes = {
        key: tuple(value.shape) for key, value in state.items() if not key.endswith("_tracked")
    }
    found.weights = sum(int(np.prod(shape)) for shape in shapes.values())
    found.layers = Counter(key.rpartition(".")[2] for key in shapes)
    found.architectures = list(_fits(shapes.values(), keras=False))
    _too_large(found, refuse_size)
    if not found.architectures:
        found.obstacles.append(_no_architecture("torch.export.save(program, 'model.pt2')"))


def _torch_program(path: Path, found: _Found) -> None:
    from medsdk_export._pt2_archive import judge_archive
    from medsdk_export.from_torch_program import (
        ends_in,
        load_program,
        program_inputs,
        program_outputs,
    )
    from medsdk_export.keras_source.obstacles import refuse_size

    facts = judge_archive(path)
    program = load_program(path)
    found.written_by = facts.version
    found.layers = Counter(operator.removeprefix("torch.ops.") for operator in facts.operators)
    shapes = [
        tuple(value.shape)
        for key, value in program.state_dict.items()
        if not key.endswith("_tracked")
    ]
    found.weights = sum(int(np.prod(shape)) for shape in shapes)
    found.inputs = [_tensor(name, "float32", shape) for name, shape in program_inputs(program)]
    found.outputs = [_tensor("", "float32", shape) for shape in program_outputs(program)]
    found.activation = {"linear": "none"}.get(ends_in(facts.operators), ends_in(facts.operators))
    found.architectures = list(_fits(shapes, keras=False))
    if facts.training:
        found.obstacles.append(
            GraphMismatchError(
                "the program was exported in training mode",
                got=", ".join(sorted(set(facts.training))[:3]),
                expected="a module in evaluation mode",
                remedy="call model.eval() before torch.export.export()",
            )
        )
    _too_large(found, refuse_size)
    _one_image(found)


def _fits(shapes: Iterable[tuple[int, ...]], *, keras: bool) -> Iterator[ArchitectureDocument]:
    """Architectures whose weights have these shapes, whatever their names."""
    have = sorted(shapes)
    classes = {shape[-1] if keras else shape[0] for shape in have if len(shape) == 2}
    for name in KERAS_NAMES:
        for count in sorted(classes):
            given: dict[str, Parameter] = {"classes": count}
            for parameters in candidates(name, given):
                layers = keras_layers(name, parameters, 64, 64)
                if sorted(_shapes(layers, keras=keras)) == have:
                    yield ArchitectureDocument(name=name, parameters=parameters)
                    break


def _shapes(layers: Iterable[Layer], *, keras: bool) -> Iterator[tuple[int, ...]]:
    for layer in layers:
        for shape in layer.weights.values():
            if keras or len(shape) == 1:
                yield shape
            elif len(shape) == 2:
                yield shape[::-1]
            elif layer.kind == "depthwise":
                yield (shape[2], 1, *shape[:2])
            else:
                yield (shape[3], shape[2], *shape[:2])


def _one_image(found: _Found) -> None:
    image = found.image
    if not image:
        found.obstacles.append(
            GraphMismatchError(
                "the model has other inputs than one batch of images",
                got="; ".join(str(list(item.shape)) for item in found.inputs) or "none",
                expected="one input of four axes",
            )
        )


def _too_large(found: _Found, refuse_size: Any) -> None:  # noqa: ANN401  # a function
    try:
        refuse_size(4 * found.weights)
    except MedsdkError as error:
        found.obstacles.append(error)


def _no_architecture(whole: str) -> MedsdkError:
    return GraphMismatchError(
        "the weights fit no architecture of the catalogue, and the file holds no topology",
        got="weights alone",
        expected=f"the weights of one of {', '.join(KERAS_NAMES)}",
        remedy=f"save the whole model: {whole}; or export it to ONNX",
    )


def _tensor(name: str, dtype: str, shape: Sequence[int | None]) -> TensorDocument:
    return TensorDocument(name=name, dtype=dtype, shape=tuple(shape))


def _facts(error: MedsdkError) -> ErrorFacts:
    return ErrorFacts(
        code=error.code,
        what=error.what,
        got=error.got,
        expected=error.expected,
        remedy=error.remedy,
        exit_status=error.exit_status,
    )


def _snippet(found: _Found, batch: str) -> str:
    """What a task file must say of this source, as TOML below `[networks.ROLE]`."""
    keeps_form = found.framework == "onnx"
    lines = ["[networks.ROLE]"]
    if found.architectures:
        fit = found.architectures[0]
        lines += _table("architecture", {"name": fit.name, "parameters": dict(fit.parameters)})
    else:
        lines += _table("architecture", {"name": found.framework})
    name = found.inputs[0].name if keeps_form and found.inputs else "image"
    layout = (found.layout or "nchw") if keeps_form else "nchw"
    fixed = batch if batch.isdigit() and found.framework != "keras" else ""
    lines += _table(
        "input", {"name": name, "layout": layout, "batch": int(fixed) if fixed else "dynamic"}
    )
    outputs: list[dict[str, object]] = []
    for number, item in enumerate(found.outputs):
        axes = [f"axis{index}" if axis is None else axis for index, axis in enumerate(item.shape)]
        word = item.name if keeps_form else "logits" if number == 0 else f"output_{number}"
        outputs.append({"name": word, "axes": axes[1:]})
    if not outputs and found.architectures:
        classes = found.architectures[0].parameters["classes"]
        outputs = [{"name": "logits", "axes": [classes]}]
    if outputs:
        lines.append(f"outputs = {_value(outputs)}")
    image = found.image
    if image:
        height, width = image[1:3] if found.layout == "nhwc" else image[2:4]
        if height and width:
            lines.append(f"pixels.resize = {_value({'height': height, 'width': width})}")
    if found.activation:
        kept = keeps_form or found.format == "pt2"
        inside = found.activation in ("softmax", "sigmoid")
        lines.append(f"decode.activation = {_value(_decoded(found.activation, kept, inside))}")
    return "\n".join(lines) + "\n"


def _decoded(activation: str, kept: bool, inside: bool) -> str:
    """What decode must apply: nothing where the graph keeps its softmax, else the softmax."""
    if kept:
        return "none" if inside else "softmax"
    return activation if inside else "softmax"


def _table(key: str, values: Mapping[str, object]) -> list[str]:
    return [f"{key} = {_value(values)}"]


def _value(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            escaped = value.replace("\\", "\\\\").replace('"', '\\"')
            return f'"{"".join(char if char.isprintable() else "?" for char in escaped)}"'
        case int() | float():
            return repr(value)
        case Mapping():
            return f"{{ {', '.join(f'{key} = {_value(item)}' for key, item in value.items())} }}"
        case list() | tuple():
            return f"[{', '.join(map(_value, value))}]"
        case _:
            raise TypeError(type(value).__name__)
