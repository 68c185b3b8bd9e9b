"""What the answers to the cases prove: claims for a candidate, a level, and a stratum."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

from medsdk.decide.rules import decide
from medsdk.evaluation.answers import Answer
from medsdk.evaluation.cases import CaseSet
from medsdk.evaluation.running import Ran, is_fp32, title_of
from medsdk.parity.classification import change_evidence, metric_evidence
from medsdk.parity.errors import UnitRefusedError
from medsdk.parity.evidence import Bound, Claim, Evidence, Measure, Scope
from medsdk.parity.levels import at_level
from medsdk.parity.pairing import PairedCase, paired
from medsdk.parity.protocol import positive_label
from medsdk.parity.statistics import cases_needed
from medsdk.pipeline import supported_role
from medsdk.plan.candidate import Candidate
from medsdk.tasks.gates import FloatGate
from medsdk.tasks.schema import Task

METRICS: tuple[Measure, ...] = (
    "accuracy",
    "sensitivity",
    "specificity",
    "mean-of-sensitivity-and-specificity",
)
"""What needs a truth."""

UnitLevel = Literal["slice", "lesion", "study"]

_NAMED = 5


@dataclass
class Judge:
    """Holds answers against truth, reference and the task's gates.

    Attributes:
        task: Its gates were written before anything was measured.
        cases: The cases.
        advisory: Nothing that is found decides anything.
    """

    task: Task
    cases: CaseSet
    advisory: bool = False
    _flips: dict[str, tuple[Candidate, int, int]] = field(default_factory=dict)

    @property
    def levels(self) -> tuple[UnitLevel, ...]:
        """What can be counted: slices, and the units that the table names."""
        lesion: tuple[UnitLevel, ...] = ("lesion",) if self.cases.has_lesion else ()
        study: tuple[UnitLevel, ...] = ("study",) if self.cases.has_study else ()
        return ("slice", *lesion, *study)

    def requirements(self) -> Evidence:
        """Whether there are enough cases for the task's gate, whatever the candidates say."""
        gate = self.task.gates.classification
        if gate is None:
            return Evidence()
        total = len(self.cases.cases)
        claims = [
            _count(
                Scope(),
                total,
                self.cases.patients,
                cases_needed(gate.max_flip_rate, gate.confidence),
                "the limit of flips",
            )
        ]
        _, decode = supported_role(self.task)
        for label in decode.labels:
            chosen = [item.case for item in self.cases.cases if item.case.truth == label]
            patients = len({case.patient for case in chosen})
            scope = Scope(label=label)
            claims.append(_count(scope, len(chosen), patients, 1, f"a figure of {label!r}"))
        found = Evidence(claims=tuple(claims))
        return as_advice(found) if self.advisory else found

    def of(
        self, ran: Ran, answers: Sequence[Answer], reference: Sequence[Answer] | None
    ) -> Evidence:
        """What one candidate's answers prove.

        Args:
            ran: The candidate.
            answers: What it said of every case; empty where it could not be asked.
            reference: What the reference said; None where it is the reference, or there is none.

        Returns:
            Claims of the whole at each level, and of every stratum. Those of strata, and of a
            candidate that is meant for another device, are advice.

        Raises:
            UnpairedResultsError: The reference is of other cases.
        """
        found = Evidence(claims=tuple(self._asked(ran, answers)))
        if answers:
            for level in self.levels:
                found += self._at(level, ran, answers, reference)
            for column in self.cases.strata:
                for value in sorted({item.strata[column] for item in answers}):
                    found += self._stratum(column, value, ran, answers, reference)
        return as_advice(found) if self.advisory or ran.asked.advisory else found

    def _asked(self, ran: Ran, answers: Sequence[Answer]) -> Iterator[Claim]:
        """Whether it could be asked at all, and of every case."""
        scope = Scope(candidate=ran.title)
        if not ran.asked.advisory:
            yield Claim(
                measure="known-answers",
                scope=scope,
                n=ran.known_answers,
                events=ran.known_answers,
                value=float(ran.known_answers),
                unit="count",
                verdict="fail" if ran.problem else "pass",
                reason=f"{ran.title}: {ran.problem}" if ran.problem else "",
            )
        elif ran.problem:
            yield Claim(
                measure="known-answers",
                scope=scope,
                n=0,
                unit="count",
                verdict="advisory",
                reason=f"{ran.title}: {ran.problem}",
            )
        if not answers:
            return
        unreadable = {item.id for item in self.cases.cases if item.error}
        failed = [item for item in answers if item.status == "error"]
        own = [item for item in failed if item.case not in unreadable]
        without = sum(item.status != "ok" for item in answers)
        yield Claim(
            measure="no-result",
            scope=scope,
            n=len(answers),
            patients=self.cases.patients,
            events=without,
            value=without / len(answers),
            verdict="fail" if own else "not-conclusive" if failed else "pass",
            reason=_errors(ran.title, own or failed, len(answers)) if failed else "",
        )

    def _at(
        self,
        level: UnitLevel,
        ran: Ran,
        answers: Sequence[Answer],
        reference: Sequence[Answer] | None,
    ) -> Evidence:
        """Metrics, and what changed, of all units of a level; a gate speaks of slices."""
        scope = Scope(candidate=ran.title, level=level)
        try:
            units = at_level(answers, level, partial(decide, self.task))
            others = None
            if reference is not None:
                others = at_level(reference, level, partial(decide, self.task))
        except UnitRefusedError as error:
            said = Claim(measure="cases", scope=scope, n=0, verdict="advisory", reason=str(error))
            return Evidence(claims=(said,))
        found = self._metrics(units, scope)
        if others is None:
            return found
        pairs = paired(others, units)
        change = self._change(pairs, scope)
        if level != "slice":
            return found + as_advice(change)
        for claim in change.claims:
            if claim.measure == "flips" and not claim.scope.label:
                candidate = ran.asked.candidate
                flips = claim.events or 0
                self._flips[ran.title] = (candidate, flips, claim.n)
        if is_fp32(ran.asked.candidate):
            change += Evidence(claims=(float_difference(self.task.gates.fp32, pairs, scope),))
        return found + change

    def _stratum(
        self,
        column: str,
        value: str,
        ran: Ran,
        answers: Sequence[Answer],
        reference: Sequence[Answer] | None,
    ) -> Evidence:
        """The same of one group of cases, as advice; a small group says that it is small."""
        scope = Scope(candidate=ran.title, stratum=column, value=value)
        group = [item for item in answers if item.strata[column] == value]
        found = self._metrics(group, scope)
        gate = self.task.gates.classification
        if gate is not None:
            needed = cases_needed(gate.max_flip_rate, gate.confidence)
            patients = len({item.patient for item in group})
            count = _count(scope, len(group), patients, needed, "the limit of flips")
            found = Evidence(claims=(count,)) + found
        if reference is not None:
            ids = {item.case for item in group}
            others = [item for item in reference if item.case in ids]
            found += self._change(paired(others, group), scope)
        # Pictures of the whole are enough; each stratum's would multiply the page.
        return Evidence(claims=as_advice(found).claims)

    def _metrics(self, answers: Sequence[Answer], scope: Scope) -> Evidence:
        labelled = [item for item in answers if item.truth is not None]
        if labelled:
            _, decode = supported_role(self.task)
            return metric_evidence(tuple(decode.labels), self._positive, labelled, scope)
        return Evidence(
            claims=tuple(
                Claim(
                    measure=measure,
                    scope=scope,
                    n=0,
                    patients=0,
                    verdict="not-run",
                    reason="no case has a truth: the column is empty",
                )
                for measure in METRICS
            )
        )

    def _change(self, pairs: Sequence[PairedCase], scope: Scope) -> Evidence:
        gate = self.task.gates.classification
        if gate is None:
            said = "the task has no gate for a classification"
            claim = Claim(
                measure="flips", scope=scope, n=len(pairs), verdict="not-run", reason=said
            )
            return Evidence(claims=(claim,))
        _, decode = supported_role(self.task)
        return change_evidence(gate, tuple(decode.labels), self._positive, pairs, scope)

    @property
    def _positive(self) -> str:
        role, _ = supported_role(self.task)
        return positive_label(self.task, role)

    def isa_ladder(self) -> Evidence:
        """Whether flips rise on a lower instruction set; after every candidate was judged."""
        limit = self.task.gates.isa_ladder.max_flip_rate_rise
        claims = []
        for title, (candidate, flips, n) in self._flips.items():
            top = self._flips.get(title_of(replace(candidate, isa="native")))
            if candidate.isa == "native" or top is None:
                continue
            rise = (flips - top[1]) / n
            said = f"{title}: flips rise by {rise:.2%} over native, the gate is {limit:.2%}"
            claims.append(
                Claim(
                    measure="isa-ladder",
                    scope=Scope(candidate=title),
                    n=n,
                    patients=self.cases.patients,
                    events=flips,
                    value=rise,
                    limit=limit,
                    verdict="pass" if rise <= limit else "fail",
                    reason="" if rise <= limit else said,
                )
            )
        found = Evidence(claims=tuple(claims))
        return as_advice(found) if self.advisory else found


def as_advice(evidence: Evidence) -> Evidence:
    """The same evidence, deciding nothing; its reasons stay."""
    claims = tuple(claim.model_copy(update={"verdict": "advisory"}) for claim in evidence.claims)
    return Evidence(claims=claims, charts=evidence.charts, worst=evidence.worst)


def float_difference(gate: FloatGate, pairs: Sequence[PairedCase], scope: Scope) -> Claim:
    """Every small output of FP32 on one runtime against FP32 on the reference's.

    Args:
        gate: `|a - b| <= atol + rtol |b|`, b being the reference's.
        pairs: One a case.
        scope: Of which candidate.

    Returns:
        The claim; its value is the largest difference, in the output's own unit.
    """
    worst, excess, n = 0.0, [], 0
    for pair in pairs:
        ours, theirs = pair.variant.outputs, pair.reference.outputs
        if ours.keys() != theirs.keys() or any(
            len(ours[name]) != len(values) for name, values in theirs.items()
        ):
            excess.append(pair.variant.number)
            continue
        n += bool(ours)
        distances = [
            (abs(a - b), gate.atol + gate.rtol * abs(b))
            for name, values in theirs.items()
            for a, b in zip(ours[name], values, strict=True)
        ]
        worst = max([worst, *(distance for distance, _ in distances)])
        if any(distance > allowed for distance, allowed in distances):
            excess.append(pair.variant.number)
    named = ", ".join(f"case {number}" for number in excess[:_NAMED])
    said = (
        f"{scope.candidate}: outputs of {len(excess)} of {len(pairs)} cases leave atol "
        f"{gate.atol:g}, rtol {gate.rtol:g} of the reference: {named}"
    )
    return Claim(
        measure="output-difference",
        scope=scope.model_copy(update={"level": "output"}),
        n=n,
        events=len(excess),
        value=worst,
        unit="output",
        bound=Bound(high=worst, method="extremes"),
        limit=gate.atol,
        verdict="fail" if excess else "pass" if n else "not-run",
        reason=said if excess else "" if n else "no output is small enough to be kept",
    )


def _count(scope: Scope, n: int, patients: int, needed: int, what: str) -> Claim:
    """How many cases there are, and how many it takes."""
    where = f"{scope.stratum} {scope.value}: " if scope.stratum else ""
    return Claim(
        measure="cases",
        scope=scope,
        n=n,
        patients=patients,
        value=float(n),
        unit="count",
        needed=needed,
        verdict="pass" if n >= needed else "not-conclusive",
        reason="" if n >= needed else f"{where}{n} cases, {what} needs {needed}",
    )


def _errors(title: str, failed: Sequence[Answer], n: int) -> str:
    named = ", ".join(f"case {item.number} ({item.reason})" for item in failed[:_NAMED])
    more = "" if len(failed) <= _NAMED else f" and {len(failed) - _NAMED} more"
    return f"{title}: {len(failed)} of {n} cases ended in an error: {named}{more}"
