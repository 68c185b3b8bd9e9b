"""One task file of each family: the schema has room for all of them."""

import json
import re
import tomllib
import types
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
from pydantic import BaseModel

from medsdk.canonical import canonical_json, parse_json
from medsdk.tasks import (
    NOTICE,
    Task,
    catalogue,
    catalogue_task,
    catalogue_text,
    read_task,
    task_from_document,
)

FAMILIES = {path.stem: path for path in sorted((Path(__file__).parent / "families").iterdir())}
MANUAL = Path(__file__).parents[3] / "docs" / "tasks-format.md"
TASKS = {name: read_task(path) for name, path in FAMILIES.items()}
EVERY = {**TASKS, **{task_id: catalogue_task(task_id) for task_id in catalogue()}}
DOCUMENTS = [tomllib.loads(path.read_text(encoding="utf-8")) for path in FAMILIES.values()]
DOCUMENTS += [tomllib.loads(catalogue_text(task_id)) for task_id in catalogue()]

FOLDS = tuple(f"f{number}" for number in range(1, 9))
SEQUENCES = ("t2-axial", "t2-sagittal", "dwi")
SARCOMAS = tuple(f"sarcoma-{fold}-{seen}" for fold in FOLDS[:5] for seen in SEQUENCES)


def test_every_family_is_here():
    assert set(FAMILIES) == {
        *("cascade", "ensemble", "ensemble-two-axes", "detection", "segmentation", "clip"),
        *("heat-map", "argmax", "foreign-graph"),
    }


@pytest.mark.parametrize("task", EVERY.values(), ids=EVERY)
def test_the_way_through_json_changes_nothing(task):
    text = task.model_dump_json()
    again = Task.model_validate_json(text)
    assert again == task
    assert again.model_dump_json() == text
    # As a bundle's manifest carries it.
    document = parse_json(canonical_json(task.model_dump(mode="json")))
    assert task_from_document(document, "again") == task


@pytest.mark.parametrize("task", EVERY.values(), ids=EVERY)
def test_it_says_who_where_weak_and_not_for_clinical_use(task):
    assert NOTICE in task.notice
    assert task.purpose != "clinical"
    assert task.intended_use.user
    assert task.intended_use.population
    assert task.intended_use.known_limits
    assert task.intended_use.strata
    assert task.marks.known
    assert task.marks.inferred


@pytest.mark.parametrize("task_id", tuple(catalogue()))
def test_a_task_of_the_catalogue_lies_where_its_id_says(task_id):
    assert catalogue_task(task_id).id == task_id


@pytest.mark.parametrize(
    ("name", "roles"),
    [
        ("cascade", ("filter", *SARCOMAS)),
        ("ensemble-two-axes", SARCOMAS),
        ("ensemble", tuple(f"dissemination-{fold}" for fold in FOLDS)),
        ("detection", ("detector", "verifier")),
        ("segmentation", ("mask",)),
        ("clip", ("clip",)),
        (
            "heat-map",
            tuple(f"{role}-{fold}" for role in ("classifier", "heat-map") for fold in FOLDS[:4]),
        ),
        ("argmax", ("classifier",)),
        ("foreign-graph", ("classifier",)),
    ],
)
def test_roles_are_spelled_out(name, roles):
    task = TASKS[name]
    assert task.roles == roles
    for role in task.networks:
        for member in task.members_of(role):
            assert task.network_of(member) is task.networks[role]
    with pytest.raises(KeyError):
        task.network_of("nobody")


def test_an_ensemble_takes_any_number_of_members():
    document = tomllib.loads(FAMILIES["ensemble"].read_text(encoding="utf-8"))
    keys = [f"{fold}-s{split}" for fold in FOLDS for split in range(1, 25)]
    document["networks"]["dissemination"]["members"][0]["keys"] = keys
    roles = task_from_document(document, "large.toml").roles
    assert len(set(roles)) == 192
    assert roles[-1] == "dissemination-f8-s24"


def _at(task: Task, path: str) -> Any:
    node: Any = task.model_dump(mode="json")
    for key in path.split("."):
        node = node[int(key)] if isinstance(node, list) else node[key]
    return node


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("cascade", "id", "uterus-mr/autodiag"),
        ("cascade", "input.kind", "study"),
        ("cascade", "networks.filter.architecture.name", "mobilenet-v2"),
        ("cascade", "networks.filter.decode.labels", ["none", "tumour"]),
        (
            "cascade",
            "networks.sarcoma.feed",
            {
                "kind": "passed",
                "role": "filter",
                "label": "tumour",
                "threshold": "tumour-probability",
            },
        ),
        ("cascade", "networks.sarcoma.decode.labels", ["leiomyoma", "sarcoma"]),
        ("cascade", "decision.reductions.0.axis", "slice"),
        ("cascade", "decision.reductions.0.empty", "indeterminate"),
        ("cascade", "thresholds.tumour-probability.value", 0.5),
        ("cascade", "published.0.value", 89.32),
        ("cascade", "published.1.value", 92.44),
        ("cascade", "published.2.value", 84.38),
        ("ensemble-two-axes", "id", "uterus-mr/sarcoma"),
        ("ensemble-two-axes", "published.0.value", 91.3),
        ("ensemble-two-axes", "decision.reductions.1.axis", "fold"),
        ("ensemble-two-axes", "decision.reductions.2.axis", "sequence"),
        ("ensemble", "id", "ovary-ct/peritoneal"),
        ("ensemble", "input.contrast_agent", "required"),
        ("ensemble", "networks.dissemination.pixels.values", "hu"),
        ("ensemble", "networks.dissemination.pixels.intensity.center", 40.0),
        ("ensemble", "networks.dissemination.pixels.intensity.width", 400.0),
        ("ensemble", "networks.dissemination.pixels.resize.height", 224),
        ("ensemble", "decision.reductions.0.operation", "mean"),
        ("ensemble", "published.0.value", 68.8),
        ("ensemble", "published.1.value", 85.8),
        ("ensemble", "published.2.value", 77.3),
        ("detection", "id", "liver-us/realtime"),
        ("detection", "networks.detector.architecture.name", "yolov3"),
        ("detection", "networks.detector.pixels.resize.width", 416),
        ("detection", "networks.detector.pixels.fit", "letterbox"),
        ("detection", "networks.detector.decode.labels", ["cyst", "non-cyst"]),
        ("detection", "networks.verifier.decode.labels", ["non-tumour", "tumour"]),
        ("detection", "networks.verifier.feed.kind", "boxes"),
        ("detection", "networks.verifier.pixels.crop.kind", "candidate-box"),
        ("detection", "decision.rule.verifier_label", "tumour"),
        ("detection", "decision.reductions.0.operation", "k-of-n"),
        ("detection", "real_time", {"frame_rate_hz": 30.0, "max_overlay_age_ms": 100.0}),
        ("detection", "published.0.value", 0.816),
        ("detection", "published.1.value", 0.792),
        ("detection", "published.2.value", 0.805),
        ("detection", "published.3.value", 0.770),
        ("detection", "published.4.value", 0.807),
        ("detection", "published.5.value", 0.788),
        ("detection", "published.6.value", 10017.0),
        ("segmentation", "id", "spine-ct/metastasis"),
        ("segmentation", "networks.mask.architecture.name", "deeplab-v3-plus"),
        ("segmentation", "networks.mask.pixels.values", "hu"),
        ("segmentation", "networks.mask.pixels.resize.height", 512),
        ("segmentation", "networks.mask.decode.components.connectivity", 26),
        ("segmentation", "published.0.value", 0.78),
        ("segmentation", "published.1.value", 0.68),
        ("segmentation", "published.2.value", 0.72),
        ("segmentation", "published.3.level", "lesion"),
        ("segmentation", "published.3.value", 0.75),
        ("segmentation", "published.4.value", 0.36),
        ("segmentation", "published.5.value", 0.48),
        ("clip", "id", "heart-us/function"),
        ("clip", "networks.clip.input.layout", "ncthw"),
        ("clip", "networks.clip.pixels.clip.interval_ms", 50.0),
        ("clip", "networks.clip.decode.unit", "%"),
        ("clip", "published", []),
        ("heat-map", "id", "mammo/idc-subtype"),
        ("heat-map", "input.presentation_intent", "for-presentation"),
        ("heat-map", "networks.classifier.pixels.monochrome1", "invert"),
        ("heat-map", "networks.classifier.pixels.laterality", "flip-right"),
        ("heat-map", "networks.classifier.pixels.normalisation.divide_by", 255.0),
        (
            "heat-map",
            "networks.classifier.decode.labels",
            ["papillotubular", "scirrhous", "solid-tubular"],
        ),
        ("heat-map", "networks.classifier.decode.activation", "none"),
        ("heat-map", "decision.reductions.0.operation", "sum-of-softmax"),
        ("heat-map", "decision.rule.kind", "argmax"),
        ("heat-map", "networks.heat-map.decode.layer", "block5_conv3"),
        ("heat-map", "networks.heat-map.feed.kind", "same"),
        ("heat-map", "networks.heat-map.input.batch", 1),
        ("heat-map", "published.0.value", 0.61),
        ("heat-map", "published.1.value", 0.70),
        ("heat-map", "published.2.value", 47.3),
        ("argmax", "id", "liver-us/classify"),
        ("argmax", "networks.classifier.architecture.parameters.layers", 10),
        (
            "argmax",
            "networks.classifier.pixels.crop",
            {"kind": "roi", "required": True, "square": True},
        ),
        (
            "argmax",
            "networks.classifier.decode.labels",
            ["cyst", "hemangioma", "HCC", "metastasis"],
        ),
        ("argmax", "published.0.value", 83.6),
        ("argmax", "published.1.value", 91.1),
        ("foreign-graph", "id", "breast-us/classify"),
        ("foreign-graph", "networks.classifier.architecture.name", "onnx"),
        ("foreign-graph", "networks.classifier.input.layout", "nhwc"),
        ("foreign-graph", "networks.classifier.input.batch", 1),
        ("foreign-graph", "networks.classifier.decode.activation", "none"),
        ("foreign-graph", "published.0.value", 87.1),
    ],
)
def test_documented_facts(name, path, value):
    assert _at(TASKS[name], path) == value


@pytest.mark.parametrize(
    ("name", "known", "inferred"),
    [
        ("cascade", "networks.sarcoma.decode.labels", "decision.rule"),
        ("cascade", "networks.filter.architecture.name", "networks.sarcoma.members"),
        ("ensemble", "networks.dissemination.members", "networks.dissemination.pixels"),
        ("detection", "decision.rule", "decision.reductions"),
        ("segmentation", "networks.mask.architecture.name", "networks.mask.decode"),
        ("clip", "input.modalities", "networks.clip"),
        ("heat-map", "decision.reductions.0.operation", "decision.reductions.1"),
        ("heat-map", "networks.classifier.decode", "networks.classifier.pixels.resize.kernel"),
        ("argmax", "networks.classifier.pixels.crop", "decision.rule"),
    ],
)
def test_our_guess_is_not_taken_for_the_paper(name, known, inferred):
    assert known in TASKS[name].marks.known
    assert inferred in TASKS[name].marks.inferred


def _branches(annotation: object) -> list[object]:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _branches(get_args(annotation)[0])
    if origin in (Union, types.UnionType, tuple, dict):
        return [found for part in get_args(annotation) for found in _branches(part)]
    return [annotation]


def _models(root: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """Every record of the format, by name."""
    found: dict[str, type[BaseModel]] = {}
    waiting: list[object] = [root]
    while waiting:
        model = waiting.pop()
        if isinstance(model, type) and issubclass(model, BaseModel) and model.__name__ not in found:
            found[model.__name__] = model
            for field in model.model_fields.values():
                waiting += _branches(field.annotation)
    return found


def _keys_of(node: object) -> set[str]:
    if isinstance(node, dict):
        return set(node).union(*map(_keys_of, node.values()))
    if isinstance(node, list):
        return set().union(*map(_keys_of, node))
    return set()


def test_every_key_of_the_schema_is_used_by_some_file():
    used = set().union(*map(_keys_of, DOCUMENTS))
    every = {key for model in _models(Task).values() for key in model.model_fields}
    assert every - used == {"optional"}


def _manual_words() -> set[str]:
    return set(re.findall(r"`([^`\n]+)`", MANUAL.read_text(encoding="utf-8")))


@pytest.mark.parametrize("model", _models(Task).values(), ids=_models(Task))
def test_the_manual_names_every_key_and_value(model):
    words = _manual_words()
    for key, field in model.model_fields.items():
        assert key in words
        for branch in _branches(field.annotation):
            if get_origin(branch) is Literal:
                assert {str(value) for value in get_args(branch)} <= words


def test_the_examples_of_the_manual_are_toml():
    blocks = re.findall(r"^```toml\n(.*?)^```$", MANUAL.read_text(encoding="utf-8"), re.M | re.S)
    assert len(blocks) > 10
    for block in blocks:
        assert tomllib.loads(block)


def test_the_manual_ends_with_a_complete_task():
    blocks = re.findall(r"^```toml\n(.*?)^```$", MANUAL.read_text(encoding="utf-8"), re.M | re.S)
    task = task_from_document(tomllib.loads(blocks[-1]), "manual.toml")
    assert json.loads(task.model_dump_json())["purpose"] == "reference"
