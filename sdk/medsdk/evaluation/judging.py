"""What the answers to the cases prove: claims for a candidate, a level, and a stratum."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from medsdk.bundle.manifest import Verdict
from medsdk.decide.rules import decide
from medsdk.evaluation.answers import Answer
from medsdk.evaluation.cases import CaseSet
from medsdk.evaluation.running import Ran
from medsdk.parity.classification import change_evidence, metric_evidence
from medsdk.parity.errors import UnitRefusedError
from medsdk.parity.evidence import Claim, Evidence, Measure, Scope
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
    _flips: dict[tuple[str, str], tuple[Candidate, int, int]] = field(default_factory=dict)

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

    def isa_ladder(self) -> Evidence:
        """Whether flips rise on a lower instruction set; after every candidate was judged."""
        limit = self.task.gates.isa_ladder.max_flip_rate_rise
        claims = []
        for (title, _), (candidate, flips, n) in self._flips.items():
            top = self._flips.get((_native(candidate), "native"))
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
