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
from medsdk.parity.evidence import Claim, Evidence, Measure, Scope
from medsdk.parity.float_rule import float_evidence
from medsdk.parity.isa_ladder import isa_ladder
from medsdk.parity.levels import at_level
from medsdk.parity.no_result import no_result
from medsdk.parity.pairing import PairedCase, paired
from medsdk.parity.protocol import positive_label
from medsdk.parity.statistics import cases_needed
from medsdk.pipeline import supported_role
from medsdk.plan.candidate import Candidate
from medsdk.tasks.schema import Task

METRICS: tuple[Measure, ...] = (
    "accuracy",
    "sensitivity",
    "specificity",
    "mean-of-sensitivity-and-specificity",
)
"""What needs a truth."""

UnitLevel = Literal["slice", "lesion", "study"]


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
    _pairs: dict[str, tuple[Candidate, tuple[PairedCase, ...]]] = field(default_factory=dict)

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
        return found.as_advice() if self.advisory else found

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
        return found.as_advice() if self.advisory or ran.asked.advisory else found

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
        yield no_result(answers, unreadable, scope)

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
        if level != "slice":
            return found + self._change(pairs, scope).as_advice()
        if is_fp32(ran.asked.candidate):
            return found + float_evidence(self.task, pairs, scope)
        self._pairs[ran.title] = (ran.asked.candidate, pairs)
        return found + self._change(pairs, scope)

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
        return Evidence(claims=found.as_advice().claims)

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
        """Whether INT8 flips more on a lower instruction set; after every candidate was judged."""
        gate = self.task.gates.classification
        _, decode = supported_role(self.task)
        claims = []
        for title, (candidate, pairs) in self._pairs.items():
            _, native = self._pairs.get(title_of(replace(candidate, isa="native")), (None, ()))
            if gate is not None and candidate.isa != "native" and native:
                claims.append(
                    isa_ladder(
                        self.task.gates.isa_ladder.max_flip_rate_rise,
                        gate.confidence,
                        decode.labels,
                        native,
                        pairs,
                        Scope(candidate=title),
                    )
                )
        found = Evidence(claims=tuple(claims))
        return found.as_advice() if self.advisory else found


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
