"""What differs between two sides, fact by fact.

A side is a flat table of facts, each a text under the thing that it belongs to and the place
there. So one comparison serves bundles, whose manifests say everything, and files of answers,
whose headers say less.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import get_args

from pydantic import BaseModel

from medsdk._refusals import shown
from medsdk.bundle.change_envelope import ChangedThing
from medsdk.bundle.reading import Bundle
from medsdk.changes.errors import NotComparableError
from medsdk.evaluation.answers import AnswersHeader
from medsdk.reports.report import Change
from medsdk.tasks.schema import Network, Task
from medsdk_runtimes.graph_digests import graph_digests

Facts = Mapping[tuple[ChangedThing, str], str]
"""What a side says, by the thing and where."""

ABSENT = "absent"
"""What stands for a fact that one side lacks."""

ENVELOPE: tuple[ChangedThing, str] = ("gates", "change_envelope")
"""The fact that a side has an envelope at all."""

_THINGS: tuple[ChangedThing, ...] = get_args(ChangedThing)
_READ_BACK: tuple[ChangedThing, ...] = ("runtime-version", "device", "precision")
_NAMED_TENSORS = 3
_NOT_OF_THE_MACHINE = ("onnxruntime", "openvino", "tensorrt")
_DIGITS = 16


@dataclass(frozen=True)
class GraphIdentity:
    """One graph of a side, by its digests.

    Attributes:
        file: sha256 of its bytes.
        topology: sha256 of its operators; None where nobody said.
        weights: sha256 of its weights; None where nobody said.
        tensors: sha256 by initializer; empty where nobody said.
    """

    file: str
    topology: str | None
    weights: str | None
    tensors: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Side:
    """One side of a comparison.

    Attributes:
        facts: What it says.
        graphs: Its graphs, by `role variant`.
    """

    facts: Facts
    graphs: Mapping[str, GraphIdentity]

    @property
    def asked(self) -> Side:
        """The same without what only a session that opened says."""
        facts = {key: text for key, text in self.facts.items() if key[0] not in _READ_BACK}
        return Side(facts, self.graphs)


def changes_between(before: Side, after: Side) -> tuple[Change, ...]:
    """Every fact that differs, in the order of `ChangedThing` and then of the places.

    Args:
        before: The first side.
        after: The second side.

    Returns:
        The changes. Weights and operators are compared where both sides have that graph: where
        they do not, the variant is what changed.
    """
    found = []
    keys = before.facts.keys() | after.facts.keys()
    if (ENVELOPE in before.facts) != (ENVELOPE in after.facts):  # one row, none for each key of it
        keys = {key for key in keys if not key[1].startswith(f"{ENVELOPE[1]}.")}
    for key in keys:
        old, new = before.facts.get(key, ABSENT), after.facts.get(key, ABSENT)
        if old != new:
            what, where = key
            found.append(Change(what=what, where=where, before=old, after=new))
    for place in before.graphs.keys() & after.graphs.keys():
        found += _graph_changes(place, before.graphs[place], after.graphs[place])
    return tuple(sorted(found, key=lambda item: (_THINGS.index(item.what), item.where)))


def check_same_question(
    first: tuple[str, tuple[str, ...]], second: tuple[str, tuple[str, ...]]
) -> None:
    """Refuse two sides whose answers mean other things.

    Args:
        first: Id of the first side's task, and its labels.
        second: The same of the second side.

    Raises:
        NotComparableError: Another task, or another set of labels.
    """
    if first[0] != second[0]:
        raise NotComparableError.tasks(first[0], second[0])
    if set(first[1]) != set(second[1]):
        raise NotComparableError.labels(first[1], second[1])


def bundle_side(bundle: Bundle, variants: Collection[str] | None = None) -> Side:
    """What a bundle says of itself: everything that can change an answer or how it is judged.

    Args:
        bundle: The opened bundle; its graphs are read.
        variants: The variants that count; None for all.

    Returns:
        Facts of the task and the networks; nothing of the machine.

    Raises:
        GraphRefusedError: A graph is no well-formed ONNX.
        BundleTamperedError: A file changed since the bundle was opened.
    """
    manifest = bundle.manifest
    facts = dict(task_facts(manifest.task))
    facts["version", ""] = manifest.version
    facts["gates", "purpose"] = manifest.purpose
    if manifest.change_envelope is not None:
        facts[ENVELOPE] = "declared"
        facts |= _under("gates", "change_envelope", manifest.change_envelope)
    graphs = {}
    for role, network in manifest.networks.items():
        facts["graph", f"{role}.architecture"] = network.architecture
        for name, variant in network.variants.items():
            if variants is not None and name not in variants:
                continue
            place = f"{role} {name}"
            kept = variant.model_dump(
                mode="json",
                include={"form", "bits", "precision", "targets", "status", "tolerance"},
            )
            facts |= {("variant", f"{place} {key}"): text for key, text in _flat(kept)}
            if variant.file is not None:
                digests = graph_digests(bundle.read(variant.file))
                graphs[place] = GraphIdentity(
                    manifest.files[variant.file].sha256,
                    digests.topology,
                    digests.weights,
                    digests.tensors,
                )
    return Side(facts, graphs)


def task_facts(task: Task) -> Facts:
    """What a task says that can change an answer: pixels, thresholds, rule, labels, gates."""
    facts: dict[tuple[ChangedThing, str], str] = {}
    facts |= _under("preprocessing", "input", task.input)
    facts |= _under("decision", "", task.decision)
    facts |= _under("gates", "", task.gates)
    facts |= {("thresholds", name): repr(item.value) for name, item in task.thresholds.items()}
    for role, network in task.networks.items():
        facts |= _network_facts(role, network)
    return facts


def header_side(header: AnswersHeader) -> Side:
    """What a file of answers says of who answered.

    Args:
        header: Of the file.

    Returns:
        Facts of bundle, candidate and machine; of a pixel contract only its digest.
    """
    facts: dict[tuple[ChangedThing, str], str] = {
        ("version", ""): header.bundle.version,
        ("labels", ""): ", ".join(header.labels),
        ("labels", "positive"): header.positive,
    }
    facts |= {("thresholds", name): repr(value) for name, value in header.thresholds.items()}
    facts |= {("preprocessing", role): _short(d) for role, d in header.preprocessing.items()}
    facts |= {("decision", key): text for key, text in _flat(json.loads(header.decision))}
    facts |= _under("gates", "", header.gates)
    graphs = {
        f"{role} {header.networks[role].variant}": GraphIdentity(
            sha256, header.topology_sha256.get(role), header.weights_sha256.get(role)
        )
        for role, sha256 in header.networks_sha256.items()
    }
    return Side({**facts, **candidate_facts(header)}, graphs)


def candidate_facts(header: AnswersHeader) -> Facts:
    """The part of `header_side` that is no bundle's: candidate, machine, release."""
    facts: dict[tuple[ChangedThing, str], str] = {
        ("runtime", ""): header.runtime,
        ("runtime-version", ""): header.runtime_version,
        ("device", ""): header.device,
        ("settings", "threads"): str(header.settings.threads),
        ("settings", "isa"): header.settings.isa,
        ("medsdk", ""): header.medsdk,
    }
    for role, choice in header.networks.items():
        facts["variant", role] = choice.variant
        facts["precision", role] = choice.precision
    for key, text in _flat(header.machine):
        library = key.removeprefix("libraries.")
        # The runtime that ran has its version already; one that did not run changes nothing.
        if library == key or not library.startswith(_NOT_OF_THE_MACHINE):
            facts["machine", key] = text
    return facts


def _network_facts(role: str, network: Network) -> dict[tuple[ChangedThing, str], str]:
    decode = network.decode.model_dump(mode="json", exclude={"labels"})
    facts: dict[tuple[ChangedThing, str], str] = {}
    facts |= _under("preprocessing", role, network.pixels)
    facts |= {("decision", f"{role}.decode.{key}"): text for key, text in _flat(decode)}
    facts["labels", role] = ", ".join(getattr(network.decode, "labels", ()))
    ends = network.model_dump(mode="json", include={"input", "outputs", "feed", "members"})
    facts |= {("graph", f"{role}.{key}"): text for key, text in _flat(ends)}
    return facts


def _graph_changes(place: str, before: GraphIdentity, after: GraphIdentity) -> list[Change]:
    """What differs of one graph; weights and operators both where nobody told them apart."""
    if before.file == after.file:
        return []
    told = None not in (before.topology, after.topology, before.weights, after.weights)
    found = []
    if not told or before.topology != after.topology:
        found.append(_digests("graph", place, before, after, "topology"))
    if not told or before.weights != after.weights:
        change = _digests("weights", place, before, after, "weights")
        moved = sorted(
            name
            for name in before.tensors.keys() | after.tensors.keys()
            if before.tensors.get(name) != after.tensors.get(name)
        )
        if before.tensors and after.tensors:
            named = ", ".join(shown(name)[1:-1] for name in moved[:_NAMED_TENSORS])
            more = ", ..." if len(moved) > _NAMED_TENSORS else ""
            count = f"{len(moved)} of {len(after.tensors)} tensors: {named}{more}"
            change = change.model_copy(update={"after": f"{change.after} ({count})"})
        found.append(change)
    if not found:
        change = _digests("graph", place, before, after, "file")
        found.append(change.model_copy(update={"where": f"{place} (names and notes alone)"}))
    return found


def _digests(
    what: ChangedThing, place: str, before: GraphIdentity, after: GraphIdentity, part: str
) -> Change:
    old, new = (getattr(item, part) or item.file for item in (before, after))
    return Change(what=what, where=place, before=_short(old), after=_short(new))


def _under(
    what: ChangedThing, prefix: str, model: BaseModel
) -> dict[tuple[ChangedThing, str], str]:
    place = f"{prefix}." if prefix else ""
    return {(what, place + key): text for key, text in _flat(model.model_dump(mode="json"))}


def _flat(value: object, prefix: str = "") -> list[tuple[str, str]]:
    """Leaves of a document, dotted; an item of a list is its number from 0, None is left out."""
    if isinstance(value, Mapping):
        items = [(str(key), item) for key, item in value.items()]
    elif isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value):
        items = [(str(number), item) for number, item in enumerate(value)]
    elif value is None:
        return []
    else:
        return [(prefix, _text(value))]
    inner = f"{prefix}." if prefix else ""
    return [leaf for key, item in items for leaf in _flat(item, inner + key)]


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _short(sha256: str) -> str:
    return f"sha256 {sha256[:_DIGITS]}"
