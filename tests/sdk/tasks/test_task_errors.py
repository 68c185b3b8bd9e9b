"""What a wrong task file is told: the file, the key, the value and what is allowed."""

import copy
import time
import tomllib
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medsdk.tasks import (
    FormatVersionError,
    TaskInvalidError,
    TaskUnknownError,
    catalogue_task,
    catalogue_text,
    read_task,
    task_from_document,
)

SHIPPED = "uterus-mr/tumor-filter"
TEXT = catalogue_text(SHIPPED)
FAMILIES = {
    path.stem: tomllib.loads(path.read_text(encoding="utf-8"))
    for path in sorted((Path(__file__).parent / "families").iterdir())
}
DOCUMENTS: dict[str, dict[str, Any]] = {"shipped": tomllib.loads(TEXT), **FAMILIES}

KeyPath = tuple[str | int, ...]


def _edited(name: str, path: str, value: object) -> dict[str, Any]:
    """A copy of a document with one key set; None takes the key out."""
    document = copy.deepcopy(DOCUMENTS[name])
    *way, last = path.split(".")
    node: Any = document
    for key in way:
        node = node[int(key)] if isinstance(node, list) else node.setdefault(key, {})
    if value is None:
        del node[last]
    else:
        node[int(last) if isinstance(node, list) else last] = value
    return document


def _refusal(document: object) -> str:
    with pytest.raises(TaskInvalidError) as caught:
        task_from_document(document, "mine.toml")
    assert "mine.toml" in caught.value.what
    assert caught.value.expected
    return caught.value.got


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        # unknown keys
        ("titel", "x", ["titel", "'x'", "unknown key", "allowed:", "title"]),
        ("networks.filter.pixels.resize.kernal", "x", ["kernal", "'x'", "kernel, height, width"]),
        ("networks.filter.pixels.crop.margin", 0.1, ["crop.margin = 0.1", "allowed: kind"]),
        # missing keys
        ("question", None, ["question: missing"]),
        ("notice", None, ["notice: missing"]),
        ("networks.filter.pixels.fit", None, ["fit: missing", "'letterbox'"]),
        ("networks.filter.decode.kind", None, ["filter.decode.kind: missing", "'heat-map'"]),
        ("gates.classification", None, ["gates.classification is missing"]),
        ("gates.max_output_difference.float", None, ["gates.max_output_difference.float"]),
        # types
        ("networks.filter.pixels.resize.width", "224", ["resize.width = '224'", "integer"]),
        ("networks.filter.pixels.resize.width", 224.5, ["resize.width = 224.5", "integer"]),
        ("networks.filter.pixels.resize.width", True, ["resize.width = True", "integer"]),
        ("title", 7, ["title = 7", "string"]),
        ("networks", 7, ["networks = 7", "object"]),
        ("networks.filter.pixels", [1], ["networks.filter.pixels = [1]", "object"]),
        ("networks.filter.decode.labels", "tumour", ["decode.labels = 'tumour'", "array"]),
        # ranges and lengths
        ("networks.filter.pixels.resize.height", 0, ["resize.height = 0", "greater than"]),
        ("title", "", ["title = ''", "at least 1"]),
        ("title", "x" * 2001, ["title = 'xxx", "...", "at most 2000"]),
        ("version", "1.0", ["version = '1.0'", "pattern"]),
        ("id", "Tumor Filter", ["id = 'Tumor Filter'", "pattern"]),
        ("networks.filter.decode.labels", ["tumour"], ["labels", "at least 2"]),
        ("networks.filter.decode.labels", ["none", "none"], ["decode.labels", "distinct"]),
        ("gates.classification.confidence", 0.5, ["classification.confidence = 0.5", "0.5"]),
        # closed sets
        ("purpose", "product", ["purpose = 'product'", "'reference', 'clinical' or 'benchmark'"]),
        (
            "networks.filter.pixels.fit",
            "strech",
            ["networks.filter.pixels.fit = 'strech'", "'stretch', 'letterbox' or 'cover'"],
        ),
        ("networks.filter.pixels.resize.kernel", "cubic", ["kernel = 'cubic'", "'pil.nearest'"]),
        ("networks.filter.input.batch", "any", ["input.batch = 'any'", "'dynamic'", "integer"]),
        ("networks.filter.decode.activation", "tanh", ["'tanh'", "'none', 'softmax' or 'sigmoid'"]),
        (
            "networks.filter.pixels.crop.kind",
            "center",
            ["pixels.crop.kind = 'center'", "'centre-square'", "'roi'"],
        ),
        ("networks.filter.decode.kind", "boxes", ["decode.kind = 'boxes'", "'classification'"]),
        ("decision.rule.kind", "max", ["decision.rule.kind = 'max'", "'argmax'"]),
        ("gates.max_output_difference.int4", {}, ["int4", "'float', 'cpu' or 'gpu'"]),
        # values that TOML has and no task
        ("gates.fp32.atol", float("nan"), ["gates.fp32.atol = nan", "finite"]),
        ("published.0.value", float("-inf"), ["published.0.value = -inf", "finite"]),
        ("version", date(2026, 1, 1), ["version = ", "2026", "date", "strings"]),
        ("networks.filter.pixels.resize.width", 2**70, ["resize.width", "71 bits", "64 bits"]),
        # names that do not resolve
        ("decision.rule.label", "tumor", ["decision.rule.label is 'tumor'", "none, tumour"]),
        ("decision.rule.otherwise", "tumour", ["otherwise 'tumour'", "both of exactly two"]),
        ("decision.rule.threshold", "p", ["decision.rule.threshold is 'p'", "tumour-probability"]),
        ("decision.rule.role", "net", ["decision.rule.role is 'net'", "allowed: filter"]),
        ("networks.filter.decode.output", "y", ["networks.filter.decode.output is 'y'", "logits"]),
        (
            "networks.filter.feed",
            {"kind": "same", "role": "other"},
            ["networks.filter.feed.role is 'other'", "allowed: filter"],
        ),
        (
            "networks.filter.feed",
            {"kind": "same", "role": "filter"},
            ["networks.filter.feed.role is 'filter'", "not fed by this one"],
        ),
        ("networks.filter.feed", {"kind": "input", "role": "a"}, ["feed", "role is 'a'"]),
        ("networks.filter.feed", {"kind": "passed", "role": "a"}, ["feed", "label is None"]),
        (
            "networks.filter.feed",
            {"kind": "same", "role": "a", "threshold": "t"},
            ["feed", "threshold is 't'", "'passed'"],
        ),
        # things that do not go together
        ("networks.filter.outputs.0.axes", [3], ["'logits'", "[3]", "allowed: [2]"]),
        ("networks.filter.outputs.0.axes", ["h", "w"], ["['h', 'w']", "allowed: [2]"]),
        ("networks.filter.input.layout", "ncthw", ["layout is 'ncthw'", "pixels.clip is missing"]),
        ("networks.filter.pixels.fit", "letterbox", ["pixels", "padding is missing", "letterbox"]),
        ("networks.filter.pixels.working", "float32", ["pixels", "pil.bilinear.hv", "uint8"]),
        (
            "networks.filter.pixels.intensity",
            {"kind": "z-score"},
            ["pixels", "working is 'uint8'", "z-score", "'float32'"],
        ),
        ("networks.filter.pixels.intensity.low", 99.5, ["intensity", "99.5", "below high"]),
        ("networks.filter.pixels.normalisation.mean", [0.5], ["mean has 1", "needs 3"]),
        ("networks.filter.pixels.crop.kind", "candidate-box", ["crop.kind", "feed.kind 'boxes'"]),
        ("thresholds.tumour-probability.value", 50, ["tumour-probability.value is 50.0", "0 to 1"]),
        ("input.slices", "operator-range", ["input.slices is 'operator-range'", "'series'"]),
        (
            "gates.max_output_difference.float",
            {"filter.logit": 1.0},
            ["gates.max_output_difference.float", "filter.logit", "['filter.logits']"],
        ),
        # what a reader must be told
        ("notice", "Hello.", ["notice is 'Hello.'", "not for clinical use"]),
        ("marks.known", ["input.modality"], ["'input.modality'", "no key of this file"]),
        ("marks.known", ["published.1"], ["'published.1'", "no key of this file"]),
        ("marks.known", ["input.presentation_intent"], ["no key of this file"]),
        ("marks.known", ["gates"], ["marks.known and marks.inferred both name gates"]),
        ("marks.known", ["input.kind"], ["'input.modalities' is neither in marks.known nor"]),
        ("marks.inferred", [], ["networks.filter.pixels", "marks.inferred"]),
    ],
)
def test_the_error_names_key_value_and_what_is_allowed(path, value, said):
    got = _refusal(_edited("shipped", path, value))
    for word in said:
        assert word in got


@pytest.mark.parametrize(
    ("name", "path", "value", "said"),
    [
        ("cascade", "networks.filter.feed", {"kind": "same", "role": "sarcoma"}, ["not fed by"]),
        ("cascade", "networks.sarcoma.feed.label", "tumor", ["feed.label is 'tumor'", "tumour"]),
        ("cascade", "networks.sarcoma.feed.threshold", "p", ["feed.threshold is 'p'", "sarcoma-"]),
        ("cascade", "networks.sarcoma.members.1.axis", "fold", ["members", "each axis once"]),
        ("cascade", "networks.sarcoma.members.1.keys", ["t1"], ["['t1']", "t2-sagittal"]),
        ("cascade", "networks.sarcoma.members.0.keys", ["a", "a"], ["['a', 'a']", "distinct"]),
        ("cascade", "networks.sarcoma.members.0.keys", ["f" * 50], ["at most 64 characters"]),
        ("cascade", "input.sequences.1.name", "dwi", ["input.sequences", "distinct"]),
        ("cascade", "input.sequences.0.echo_time_ms", [9.0, 1.0], ["echo_time_ms", "(9)", "(1)"]),
        ("cascade", "input.kind", "image", ["reductions.0.axis is 'slice'", "'series'"]),
        ("cascade", "decision.reductions.0.role", "x", ["reductions.0.role is 'x'", "filter"]),
        ("cascade", "decision.reductions.0.axis", "fold", ["reductions.1.axis", "once"]),
        ("ensemble", "decision.reductions.0.axis", "frame", ["axis is 'frame'", "'clip'"]),
        ("ensemble", "decision.reductions.0.axis", "slice", ["'dissemination'", "'fold'"]),
        ("segmentation", "decision.reductions", "x", ["decision.reductions = 'x'"]),
        ("cascade", "decision.reductions.0.operation", "median", ["'median'", "'top-k-mean'"]),
        ("cascade", "decision.reductions.0.k", 3, ["k is 3", "'mean'", "'k-of-n'"]),
        ("cascade", "decision.reductions.0.n", 3, ["n is 3", "'mean'", "'k-of-n'"]),
        ("cascade", "decision.reductions.0.match_iou", 0.5, ["match_iou is 0.5", "detection"]),
        ("cascade", "decision.reductions.1.operation", "sum-of-softmax", ["rule.kind", "'argmax'"]),
        ("cascade", "decision.reductions", [], ["'sarcoma'", "'fold'", "members"]),
        ("cascade", "decision.reductions.0.empty", "leiomyoma", ["empty", "'indeterminate'"]),
        ("ensemble-two-axes", "decision.reductions.0.k", None, ["k is None", "'top-k-mean'"]),
        ("detection", "decision.reductions.0.operation", "mean", ["k is 3", "'mean'"]),
        ("detection", "decision.reductions.0.n", 2, ["k is 3", "at most n, which is 2"]),
        ("detection", "decision.reductions.0.match_iou", None, ["match_iou is None", "detection"]),
        ("detection", "decision.rule.verifier_label", None, ["verifier_label", "missing"]),
        ("detection", "decision.rule.verifier_label", "cyst", ["'cyst'", "non-tumour, tumour"]),
        ("detection", "decision.rule.verifier", "detector", ["'detector'", "(verifier)"]),
        ("detection", "decision.rule.role", "verifier", ["'verifier'", "detection", "(detector)"]),
        ("detection", "networks.verifier.feed", {"kind": "input"}, ["crop.kind", "feed.kind"]),
        ("detection", "networks.verifier.feed.role", "verifier", ["not fed by this one"]),
        ("detection", "networks.detector.decode.confidence", "p", ["confidence is 'p'", "candid"]),
        ("detection", "networks.detector.outputs.0.axes", [10647, 5], ["'boxes'", "4"]),
        ("detection", "networks.detector.outputs.1.name", "boxes", ["outputs", "distinct"]),
        ("detection", "networks.detector.decode.strides", [8], ["strides has 1", "allowed: 3"]),
        ("detection", "networks.detector.decode.labels", ["a", "a"], ["decode.labels", "distinct"]),
        ("detection", "gates.detection", None, ["gates.detection is missing"]),
        ("segmentation", "networks.mask.decode.background", "bone", ["'bone'", "background, ost"]),
        ("segmentation", "networks.mask.decode.labels", ["background"], ["one label", "sigmoid"]),
        ("segmentation", "networks.mask.decode.components.connectivity", 5, ["= 5", "26"]),
        ("segmentation", "networks.mask.decode.threshold", "p", ["'p'", "metastasis-probability"]),
        ("clip", "networks.clip.pixels.clip", None, ["'ncthw'", "pixels.clip is missing"]),
        ("clip", "networks.clip.input.layout", "nchw", ["'nchw'", "pixels.clip is there"]),
        ("clip", "networks.clip.decode.range", [100.0, 0.0], ["range", "below"]),
        ("clip", "networks.clip.outputs.0.axes", [2], ["'fraction'", "[2]", "[1]"]),
        ("heat-map", "networks.heat-map.decode.explains", "heat-map", ["(classifier)"]),
        ("heat-map", "networks.heat-map.input.batch", "dynamic", ["input.batch", "1"]),
        ("heat-map", "networks.heat-map.pixels.fit", "cover", ["pixels differs"]),
        ("heat-map", "networks.heat-map.feed", {"kind": "input"}, ["feed.kind", "'same'"]),
        ("heat-map", "networks.classifier.decode.activation", "sigmoid", ["sum-of-softmax"]),
        ("heat-map", "decision.reductions.1.operation", "vote", ["'vote'", "mean, max"]),
        ("heat-map", "decision.reductions.0.operation", "k-consecutive", ["k is None"]),
        (
            "heat-map",
            "networks.classifier-f1",
            FAMILIES["argmax"]["networks"]["classifier"],
            ["networks is ['classifier-f1']", "distinct"],
        ),
    ],
)
def test_contradictions_of_each_family(name, path, value, said):
    got = _refusal(_edited(name, path, value))
    for word in said:
        assert word in got


def test_several_problems_come_at_once_and_not_too_many():
    document = _edited("shipped", "title", 7)
    document["networks"]["filter"]["pixels"]["fit"] = "strech"
    got = _refusal(document)
    assert "title = 7" in got
    assert "'strech'" in got
    document.update({f"extra-{number}": 1 for number in range(100)})
    got = _refusal(document)
    assert got.endswith("; and 94 more")
    assert len(got) < 4000


def test_a_key_called_like_a_tag_keeps_its_name():
    document = _edited("shipped", "decision.rule.threshold", 7)
    assert "decision.rule.threshold = 7" in _refusal(document)
    document = _edited("shipped", "networks.filter.feed", {"kind": "input", "input": 1})
    assert "networks.filter.feed.input = 1: unknown key" in _refusal(document)


@pytest.mark.parametrize("document", [None, [], "text", 7])
def test_a_document_that_is_no_table(document):
    with pytest.raises(TaskInvalidError, match=r"mine\.toml is no table"):
        task_from_document(document, "mine.toml")


# Format versions


@pytest.mark.parametrize("version", ["2.0", "0.9", "1", "1.0.0", "", "one", "-1.0", 1.0, 1, None])
def test_another_format_version_is_refused_before_anything_else(version):
    document = _edited("shipped", "format_version", version)
    document["a-key-of-tomorrow"] = 1
    with pytest.raises(FormatVersionError) as caught:
        task_from_document(document, "mine.toml")
    assert "mine.toml" in caught.value.what
    assert f"format_version = {version!r}" in caught.value.got
    assert "1.0" in caught.value.expected
    assert caught.value.exit_status == 4


def test_a_later_minor_version_is_read():
    assert task_from_document(_edited("shipped", "format_version", "1.7"), "x").id == SHIPPED


def test_optional_keys_are_ignored_and_only_those():
    document = _edited("shipped", "explanation", {"style": "new"})
    assert "explanation" in _refusal(document)
    document["optional"] = ["explanation"]
    assert task_from_document(document, "mine.toml").optional == ("explanation",)
    document["another"] = 1
    assert "another = 1: unknown key" in _refusal(document)
    assert "explanation" not in _refusal(document).split("(allowed")[0]


def test_a_known_key_cannot_be_made_optional():
    document = _edited("shipped", "optional", ["title", "gates"])
    assert task_from_document(document, "mine.toml").title
    document["title"] = 7
    assert "title = 7" in _refusal(document)


@pytest.mark.parametrize("value", ["explanation", [1], {"explanation": 1}, 7])
def test_optional_of_another_type(value):
    document = _edited("shipped", "explanation", 1)
    document["optional"] = value
    assert "optional" in _refusal(document)


# Files


def _file_refusal(path: Path) -> TaskInvalidError:
    with pytest.raises(TaskInvalidError) as caught:
        read_task(path)
    assert str(path.parent) not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"title = ", "Invalid value"),
        (b"title = 'a'\ntitle = 'b'\n", "at line 2"),
        (b'{"id": "a/b"}', "line 1"),
        (b"\x00\x01\x02", "line 1"),
        (b"title = 'caf\xe9'", "not UTF-8 (byte 12)"),
        ("title = 'x'".encode("utf-16"), "not UTF-8 (byte 0)"),
        (b"a = " + b"[" * 50_000, "nested too deeply"),
        (b"a = " + b"{b = " * 20_000, "nested too deeply"),
        (b"a = " + b"9" * 5000, "digits"),
        (b"a." * 50_000 + b"a = 1", "dots"),
        (b"#" * 10_000_000, "more than 262144 bytes"),
    ],
)
def test_files_that_hold_no_task(tmp_path, data, said):
    path = tmp_path / "mine.toml"
    path.write_bytes(data)
    started = time.monotonic()
    error = _file_refusal(path)
    assert time.monotonic() - started < 5
    assert "mine.toml" in error.what
    assert said in error.got
    assert error.expected


@pytest.mark.parametrize(
    "line",
    ["a = 0x" + "f" * 5000, ".".join("a" * 500) + " = 1", "a = " + "[" * 60 + "]" * 60],
    ids=["hexadecimal", "dotted", "brackets"],
)
def test_toml_that_no_task_needs(tmp_path, line):
    path = tmp_path / "mine.toml"
    path.write_text(f"{line}\n{TEXT}", encoding="utf-8")
    error = _file_refusal(path)
    assert len(error.got) < 300
    assert "deeper" in error.got or "20000 bits" in error.got


def test_an_empty_file(tmp_path):
    (tmp_path / "mine.toml").touch()
    with pytest.raises(FormatVersionError, match=r"mine\.toml"):
        read_task(tmp_path / "mine.toml")


def test_paths_that_are_no_files(tmp_path):
    assert "mine.toml" in _file_refusal(tmp_path / "mine.toml").what
    assert tmp_path.name in _file_refusal(tmp_path).what
    assert "no name of a file" in _file_refusal(tmp_path / "a\0b.toml").got


def test_a_large_file_is_not_read_whole(tmp_path):
    path = tmp_path / "endless.toml"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    assert "262144" in _file_refusal(path).got


@pytest.mark.parametrize("name", ["mine.toml", "my own täsk 日本.toml", "no suffix", "-x.toml"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_files_that_are_good(tmp_path, name, newline, mark):
    folder = tmp_path / "Ordner mit Lücken 影像"
    folder.mkdir()
    path = folder / name
    path.write_bytes((mark + TEXT).replace("\n", newline).encode())
    assert read_task(path) == catalogue_task(SHIPPED)


def test_the_catalogue_names_what_it_has():
    with pytest.raises(TaskUnknownError, match=SHIPPED):
        catalogue_task("uterus-mr/tumour-filter")
    with pytest.raises(TaskUnknownError):
        catalogue_task("../pixels")


# Properties


def _keys(node: object, at: KeyPath = ()) -> Iterator[KeyPath]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield (*at, key)
            yield from _keys(value, (*at, key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _keys(value, (*at, index))


def _tables(node: object, at: KeyPath = ()) -> Iterator[KeyPath]:
    if isinstance(node, dict):
        yield at
        for key, value in node.items():
            yield from _tables(value, (*at, key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _tables(value, (*at, index))


def _node(document: Any, path: KeyPath) -> Any:
    for key in path:
        document = document[key]
    return document


MAY_BE_LEFT_OUT = {
    *("published", "published.0.note", "intended_use.strata", "input.body_region"),
    *("networks.filter.feed", "networks.filter.architecture.parameters"),
    "networks.filter.architecture.parameters.classes",
    *("networks.filter.input.layout", "networks.filter.input.batch"),
    "networks.filter.pixels.channels.from_color",
    *("gates.fp32", "gates.fp32.atol", "gates.fp32.rtol"),
    *("gates.isa_ladder", "gates.isa_ladder.max_flip_rate_rise"),
    *(f"gates.classification.{key}" for key in ("min_metric_ratio", "max_flip_rate", "confidence")),
    *(f"gates.classification.max_{key}_loss" for key in ("sensitivity", "specificity")),
    *("gates.max_output_difference.cpu", "gates.max_output_difference.gpu"),
}
SHIPPED_KEYS = [
    path
    for path in _keys(DOCUMENTS["shipped"])
    if ".".join(map(str, path)) not in MAY_BE_LEFT_OUT and path != ("format_version",)
]
EVERY_TABLE = [
    (name, path)
    for name, document in DOCUMENTS.items()
    for path in _tables(document)
    if path[-1:] != ("parameters",)  # an architecture's parameters are an open set
]
EVERY_KEY = [(name, path) for name, document in DOCUMENTS.items() for path in _keys(document)]


def test_what_may_be_left_out_may_be_left_out():
    for path in MAY_BE_LEFT_OUT:
        assert task_from_document(_edited("shipped", path, None), "mine.toml").id == SHIPPED


@settings(deadline=None)
@given(st.sampled_from(SHIPPED_KEYS))
def test_a_required_key_that_is_missing_is_named(path):
    document = copy.deepcopy(DOCUMENTS["shipped"])
    del _node(document, path[:-1])[path[-1]]
    got = _refusal(document)
    # An open table that must not be empty is named itself.
    assert ("networks" if path == ("networks", "filter") else str(path[-1])) in got


NAMES = st.from_regex(r"[a-z][a-z_-]{0,11}", fullmatch=True).map(lambda name: f"zz-{name}")
VALUES = st.one_of(
    st.none().map(lambda _: {}),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=200),
    st.lists(st.integers(), max_size=3),
)


@settings(deadline=None)
@given(st.sampled_from(EVERY_TABLE), NAMES, VALUES)
def test_an_unknown_key_is_named_wherever_it_stands(table, key, value):
    name, path = table
    document = copy.deepcopy(DOCUMENTS[name])
    _node(document, path)[key] = value
    assert key in _refusal(document)


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(EVERY_KEY), st.one_of(VALUES, st.just(...)))
def test_any_other_value_is_taken_or_explained(place, value):
    name, path = place
    document = copy.deepcopy(DOCUMENTS[name])
    if value is ...:
        del _node(document, path[:-1])[path[-1]]
    else:
        _node(document, path[:-1])[path[-1]] = value
    try:
        task_from_document(document, "mine.toml")
    except (TaskInvalidError, FormatVersionError) as error:
        said = error
    else:
        return
    assert "mine.toml" in said.what
    assert said.got
