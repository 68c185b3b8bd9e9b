"""The protocol: what each gate needs, said before anything is measured.

`docs/protocol.md` tells it in prose. A gate's numbers come from the task; how many cases they
need follows from the same statistics that judge later (`medsdk.parity.statistics`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from pydantic import NonNegativeInt, PositiveInt, WithJsonSchema

from medsdk.canonical import canonical_json, sha256_of
from medsdk.parity._decidable import (
    PRACTICAL_CASES,
    cases_that_prove,
    cases_that_tolerate_one,
    check_decidable,
    events_observed,
    events_proved,
    proved_rates,
)
from medsdk.parity.bootstrap import quantile_cases_needed
from medsdk.tasks.decoding import ClassificationDecode, ThresholdRule
from medsdk.tasks.gates import ClassificationGate, Form
from medsdk.tasks.schema import Network, Task
from medsdk.tasks.strict import Strict

Unit = Annotated[
    Literal[
        "image",
        "case",
        "independent-case",
        "positive",
        "negative",
        "smaller-side",
        "mask",
        "box",
        "value",
        "map",
    ],
    # Later releases count more, so a program must not rely on these being all.
    WithJsonSchema({"type": "string", "examples": ["image", "case"]}),
]
"""What a gate counts. `image`: labelled or not. `case`: labelled. `independent-case`: what the
labelled ones are worth where several are of one patient. `positive`: of one label. `negative`: of
any other. Where a loss is to be proved, the two count independent cases as well. `smaller-side`:
the fewer of positives and negatives. `mask`, `box`, `value` and `map`: what a network of that kind
gives."""

Decides = Annotated[
    Literal["every", "proved", "observed"],
    WithJsonSchema({"type": "string", "examples": ["every", "proved", "observed"]}),
]
"""How a gate decides. `every`: each value seen is within the limit. `proved`: the one-sided bound
of a rate is within the limit. `observed`: the number that was seen is, which proves no rate."""

QUANTIZED: tuple[Form, ...] = ("cpu", "gpu")


class Requirement(Strict):
    """What one gate needs before it can be passed, and what there is.

    Attributes:
        gate: Dotted name below `gates`.
        role: Which network; empty where the task has one of the kind.
        label: One label against the rest; empty where the gate takes all.
        forms: Which forms of a network it judges.
        unit: What is counted.
        decides: How.
        limit: The gate's number.
        confidence: Of the bound, for `proved`.
        needed: The fewest units with which it can be passed, if nothing goes wrong.
        have: How many there are; None where nobody counted them.
        patients: How many patients they come from in all; None where nobody said.
        tolerated: How many units of `have` may go wrong; None where not counted, or too few.
        one_from: From how many units on one may go wrong; None where none ever may.
        proof_from: For `observed`: how many units without one going wrong would prove the limit
            at the gate's confidence; None where none up to `PRACTICAL_CASES` would.
        cannot_fail: The limit is one that nothing exceeds: the gate decides nothing.
    """

    gate: str
    role: str = ""
    label: str = ""
    forms: tuple[Form, ...]
    unit: Unit
    decides: Decides
    limit: float
    confidence: float | None = None
    needed: PositiveInt
    have: NonNegativeInt | None = None
    patients: NonNegativeInt | None = None
    tolerated: NonNegativeInt | None = None
    one_from: PositiveInt | None = None
    proof_from: PositiveInt | None = None
    cannot_fail: bool = False

    @property
    def missing(self) -> int:
        """How many more units it takes before the gate can be passed; 0 where not counted."""
        return 0 if self.have is None else max(0, self.needed - self.have)

    @property
    def title(self) -> str:
        """Gate and label in a few words."""
        where = f" of {self.role}" if self.role else ""
        return f"{self.gate}{where}" + (f" ({self.label})" if self.label else "")


@dataclass(frozen=True)
class Worth:
    """How many independent cases some labelled ones are worth, where patients have several.

    Attributes:
        flips: All of them (`medsdk.parity.bootstrap.effective_cases`).
        losses: For each label its own, and those of all other labels
            (`medsdk.parity.bootstrap.cases_of_the_largest`).
    """

    flips: float
    losses: Mapping[str, tuple[float, float]]


def requirements(
    task: Task,
    cases: Mapping[str, int] | None = None,
    patients: int | None = None,
    images: int | None = None,
    worth: Worth | None = None,
) -> tuple[Requirement, ...]:
    """What every gate of a task needs, and how much of it there is.

    Args:
        task: The task; its gates alone count.
        cases: Labelled cases by truth; None where nobody counted. A label that is not among them
            has none.
        patients: From how many patients; None where nobody said.
        images: How many images are run, labelled or not; None for as many as the cases.
        worth: How many independent cases they are worth, which is what a proof counts; None
            where each case is of its own patient.

    Returns:
        One record a gate, and a label where the gate speaks of one against the rest.

    Raises:
        UndecidableGateError: No number of cases can decide a gate.
    """
    check_decidable(task)
    if images is None and cases is not None:
        images = sum(cases.values())
    found = [*_fp32(task, images), *_classification(task, cases, patients, worth)]
    found += [*_flips_of_other_kinds(task), *_other_kinds(task)]
    found += _isa_ladder(task, cases, patients)
    found += _output_differences(task, images)
    return tuple(found)


def gate_values(task: Task) -> dict[str, float | str]:
    """Every gate of a task: dotted name below `gates` to its value, sorted by name."""
    return dict(sorted(_flat(task.gates.model_dump(mode="json", exclude_none=True))))


def gates_digest(task: Task) -> str:
    """sha256 of the gates in canonical JSON.

    A key that a later release adds is left out of it while it has its default, so that the digest
    of a task file stays.
    """
    return sha256_of(canonical_json(task.gates.model_dump(mode="json", exclude_none=True)))


def changed_gates(old: Task, new: Task) -> tuple[str, ...]:
    """Dotted names of the gates that differ; one that only one of them has differs."""
    before, after = gate_values(old), gate_values(new)
    return tuple(name for name in sorted({*before, *after}) if before.get(name) != after.get(name))


def same_version_other_gates(a: Task, b: Task) -> tuple[str, ...]:
    """Gates that differ although the two are the same task in the same version.

    Args:
        a: A task.
        b: Another.

    Returns:
        Dotted names below `gates`; empty where the gates are equal, or id or version differ.
    """
    return changed_gates(a, b) if (a.id, a.version) == (b.id, b.version) else ()


def positive_label(task: Task, role: str) -> str:
    """The label of a classifier that sensitivity speaks of: the rule's, else the last one."""
    rule = task.decision.rule
    if isinstance(rule, ThresholdRule) and rule.role == role:
        return rule.label
    return _labels(task.networks[role])[-1]


def _flat(node: object, at: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _flat(value, f"{at}.{key}" if at else str(key))
    else:
        yield at, node


def _labels(network: Network) -> tuple[str, ...]:
    decode = network.decode
    return decode.labels if isinstance(decode, ClassificationDecode) else ()


def _fp32(task: Task, images: int | None) -> Iterator[Requirement]:
    for key in ("atol", "rtol"):
        yield Requirement(
            gate=f"fp32.{key}",
            forms=("float",),
            unit="image",
            decides="every",
            limit=getattr(task.gates.fp32, key),
            needed=1,
            have=images,
            tolerated=0 if images else None,
        )


def _classification(
    task: Task,
    cases: Mapping[str, int] | None,
    patients: int | None,
    worth: Worth | None,
) -> Iterator[Requirement]:
    gate = task.gates.classification
    roles = [role for role, network in task.networks.items() if _labels(network)]
    if gate is None:
        return
    for role in roles:
        labels = _labels(task.networks[role])
        # The truth in the table is that of the finding, so of the network that the rule reads.
        counts = cases if role == task.decision.rule.role else None
        name = role if len(roles) > 1 else ""
        total = None if counts is None else sum(counts.get(label, 0) for label in labels)
        common: dict[str, Any] = {
            "role": name,
            "forms": QUANTIZED,
            "patients": patients if counts else None,
        }
        shared = worth is not None and total is not None and worth.flips < total
        yield Requirement(
            gate="classification.max_flip_rate",
            unit="independent-case" if shared else "case",
            **_proving(
                gate.max_flip_rate,
                gate.confidence,
                math.floor(worth.flips) if worth is not None and shared else total,
            ),
            **common,
        )
        positive = positive_label(task, role)
        # Of two labels, each one's sensitivity is the other's specificity.
        for label in labels if len(labels) > 2 else (positive,):
            have = None if counts is None else counts.get(label, 0)
            rest = None if have is None or total is None else total - have
            losing = _observing
            if gate.losses == "proved":
                losing = _proving
                if worth is not None and have is not None:
                    have, rest = map(math.floor, worth.losses.get(label, (0.0, 0.0)))
            for key, unit, number in (
                ("max_sensitivity_loss", "positive", have),
                ("max_specificity_loss", "negative", rest),
            ):
                yield Requirement.model_validate(
                    {
                        "gate": f"classification.{key}",
                        "label": label,
                        "unit": unit,
                        **losing(getattr(gate, key), gate.confidence, number),
                        **common,
                    }
                )
        yield Requirement.model_validate({**_metric(gate, positive, counts, total), **common})


def _metric(
    gate: ClassificationGate,
    positive: str,
    counts: Mapping[str, int] | None,
    total: int | None,
) -> dict[str, object]:
    """The metric of the variant over that of FP32, where FP32 is always right."""
    loss = 1.0 - gate.min_metric_ratio
    if gate.metric == "accuracy":
        unit, have = "case", total
    else:
        # A case lost of the smaller side moves the mean by half of what it moves that side.
        unit, loss = "smaller-side", min(1.0, 2 * loss)
        have = None
        if counts is not None and total is not None:
            have = min(counts.get(positive, 0), total - counts.get(positive, 0))
    found = _observing(loss, gate.confidence, have)
    return {
        **found,
        "gate": "classification.min_metric_ratio",
        "label": "" if unit == "case" else positive,
        "unit": unit,
        "limit": gate.min_metric_ratio,
        "proof_from": None,
        "cannot_fail": gate.min_metric_ratio == 0.0,
    }


def _proving(limit: float, confidence: float, have: int | None) -> dict[str, Any]:
    needed = cases_that_prove(limit, confidence)
    assert needed is not None, "check_decidable refuses such a limit"
    return {
        "decides": "proved",
        "limit": limit,
        "confidence": confidence,
        "needed": needed,
        "have": have,
        "tolerated": None if have is None else events_proved(limit, confidence, have),
        "one_from": _one_proved(limit, confidence, needed),
        "cannot_fail": limit >= 1.0,
    }


def _one_proved(limit: float, confidence: float, needed: int) -> int | None:
    """The smallest n at which one event leaves the bound within the limit."""
    low, high = needed - 1, needed
    while not events_proved(limit, confidence, high):
        low, high = high, 2 * high
        if low > PRACTICAL_CASES:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        if events_proved(limit, confidence, middle):
            high = middle
        else:
            low = middle
    return high


def _observing(limit: float, confidence: float, have: int | None) -> dict[str, Any]:
    return {
        "decides": "observed",
        "limit": limit,
        "needed": 1,
        "have": have,
        "tolerated": events_observed(limit, have) if have else None,
        "one_from": cases_that_tolerate_one(limit),
        "proof_from": cases_that_prove(limit, confidence),
        "cannot_fail": limit >= 1.0,
    }


_PERCENTILE = quantile_cases_needed(0.95, 0.95)
"""So many units bound a 5th or a 95th percentile at all."""

_OTHER: tuple[tuple[str, str, Unit, float | None], ...] = (
    ("segmentation", "min_mean_dice_change", "mask", -1.0),
    ("segmentation", "min_5th_percentile_dice_change", "mask", -1.0),
    ("segmentation", "min_median_dice_to_fp32", "mask", 0.0),
    ("detection", "max_recall_loss", "box", 1.0),
    ("detection", "max_precision_loss", "box", 1.0),
    ("regression", "max_mean_change", "value", None),
    ("regression", "max_95th_percentile_change", "value", None),
    ("heat_map", "min_correlation", "map", -1.0),
    ("heat_map", "max_peak_distance_cells", "map", None),
)
"""Gates of the kinds that are not classification: table, key, what is counted, and the limit that
nothing exceeds."""


def _other_kinds(task: Task) -> Iterator[Requirement]:
    roles = {
        kind: [role for role, network in task.networks.items() if network.decode.kind == kind]
        for kind in ("segmentation", "detection", "regression", "heat-map")
    }
    for table, key, unit, idle in _OTHER:
        gate = getattr(task.gates, table)
        if gate is None:
            continue
        limit: float = getattr(gate, key)
        there = roles[table.replace("_", "-")]
        one_from = cases_that_tolerate_one(limit) if key.endswith("_loss") else None
        # A box of fewer is a larger share of them than may be lost.
        needed = _PERCENTILE if "percentile" in key else one_from or 1
        for role in there:
            yield Requirement(
                gate=f"{table}.{key}",
                role=role if len(there) > 1 else "",
                forms=("float", *QUANTIZED) if table == "heat_map" else QUANTIZED,
                unit=unit,
                decides="observed",
                limit=limit,
                needed=needed,
                one_from=one_from,
                cannot_fail=limit == idle,
            )


def _flips_of_other_kinds(task: Task) -> Iterator[Requirement]:
    """Masks that are emptied and values that are lost: rates that are proved, as of decisions."""
    for table, key, limit, confidence in proved_rates(task):
        if table == "classification":
            continue
        there = [role for role, item in task.networks.items() if item.decode.kind == table]
        for role in there:
            yield Requirement(
                gate=f"{table}.{key}",
                role=role if len(there) > 1 else "",
                forms=QUANTIZED,
                unit="mask" if table == "segmentation" else "value",
                **_proving(limit, confidence, None),
            )


def _isa_ladder(
    task: Task, cases: Mapping[str, int] | None, patients: int | None
) -> Iterator[Requirement]:
    if task.gates.classification is None:
        return
    limit = task.gates.isa_ladder.max_flip_rate_rise
    have = None if cases is None else sum(cases.values())
    yield Requirement(
        gate="isa_ladder.max_flip_rate_rise",
        forms=("cpu",),
        unit="case",
        **{**_observing(limit, 0.95, have), "proof_from": None},
        patients=patients,
    )


def _output_differences(task: Task, images: int | None) -> Iterator[Requirement]:
    for form in get_args(Form):
        for output, limit in task.gates.max_output_difference.get(form, {}).items():
            yield Requirement(
                gate=f"max_output_difference.{form}.{output}",
                forms=(form,),
                unit="image",
                decides="every",
                limit=limit,
                needed=1,
                have=images,
                tolerated=0 if images else None,
            )
