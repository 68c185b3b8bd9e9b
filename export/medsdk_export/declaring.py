"""What an export declares before it measures: gates, what they need, and the cases there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from medsdk.canonical import canonical_json, sha256_of
from medsdk.errors import (
    BundleTamperedError,
    BundleUnreadableError,
    FormatVersionError,
    GatesChangedError,
)
from medsdk.parity.bootstrap import cases_of_the_largest, effective_cases
from medsdk.parity.declaration import HEADER, CaseSet, Protocol, rows, unjudged_forms
from medsdk.parity.protocol import (
    Requirement,
    Worth,
    gate_values,
    gates_digest,
    requirements,
    same_version_other_gates,
)
from medsdk.pixels import Box
from medsdk.tasks import Task
from medsdk_export.attempts import ATTEMPTS
from medsdk_export.errors import InputsRefusedError, PatientInTwoStrataError
from medsdk_export.inputs import Case

if TYPE_CHECKING:
    from medsdk.tasks.gates import Form

Declared = Callable[["Declaration"], None]
"""Told the declaration, before a source is read."""


@dataclass(frozen=True)
class Declaration:
    """What was said before anything was measured.

    Attributes:
        task: Its gates are those in force.
        by_label: Labelled cases by truth; empty without.
        patients: From how many patients; None without labelled cases.
        images: How many images are run.
        needs: What each gate needs and how much of it there is.
        unjudged: Form to why no variant of it can ship, whatever is measured.
    """

    task: Task
    by_label: dict[str, int]
    patients: int | None
    images: int
    needs: tuple[Requirement, ...]
    unjudged: dict[Form, tuple[str, ...]]

    def protocol(self, cases_sha256: str) -> Protocol:
        """The document for the bundle, now that the cases were read.

        Args:
            cases_sha256: `cases_digest`.
        """
        return Protocol.declare(
            self.task,
            self.needs,
            CaseSet(
                origin="phantom" if self.patients is None else "case",
                labelled=sum(self.by_label.values()),
                by_label=self.by_label,
                patients=self.patients,
                images=self.images,
                sha256=cases_sha256,
            ),
            ATTEMPTS,
        )

    def text(self) -> str:
        """A short table for a person, and what will stay open."""
        from medsdk.cli.output import table

        task = self.task
        labelled = sum(self.by_label.values())
        cases = (
            f"{labelled} labelled cases of {self.patients} patients"
            if labelled
            else "no labelled cases"
        )
        lines = [
            f"before anything is measured: {task.id} {task.version}, gates sha256 "
            f"{gates_digest(task)[:16]}, {cases}",
            table(HEADER, rows(self.needs)),
            f"fp32 and max_output_difference hold every value of each of the {self.images} images",
        ]
        if task.purpose == "benchmark":
            lines.append("purpose is benchmark: no clinical gate is claimed")
        forms: dict[tuple[str, ...], list[str]] = {}
        for form, reasons in self.unjudged.items():
            forms.setdefault(reasons, []).append(f"int8-{form}")
        lines.append(
            f"tried and judged on these cases: {ATTEMPTS['cpu']} graphs for int8-cpu, "
            f"{ATTEMPTS['gpu']} for int8-gpu; a gate's confidence is that of one of them"
        )
        lines += [
            f"cannot ship, whatever is measured: {', '.join(names)}: {'; '.join(reasons)}"
            for reasons, names in forms.items()
        ]
        return "\n".join(lines)


def declare(task: Task, cases: Sequence[Case] | None, phantoms: int) -> Declaration:
    """Count the cases and hold them against what the gates need.

    Args:
        task: The task.
        cases: The labelled cases; None where there is no table.
        phantoms: How many phantoms are run where there is none.

    Returns:
        What is declared.

    Raises:
        UndecidableGateError: No number of cases can decide a gate.
        PatientInTwoStrataError: One patient stands in two strata.
        InputsRefusedError: A case has no patient.
    """
    if cases is not None:
        _check_patients(cases)
    by_label = dict(Counter(case.truth for case in cases or ()))
    patients = None if cases is None else len({case.patient.strip() for case in cases})
    images = phantoms if cases is None else len(cases)
    worth = None if cases is None else _worth(cases)
    needs = requirements(task, by_label, patients, images, worth)
    return Declaration(task, by_label, patients, images, needs, unjudged_forms(task, needs))


def check_gates_kept(task: Task, earlier: Path) -> None:
    """Refuse other gates under the version of a bundle that is there.

    Args:
        task: What is exported.
        earlier: A bundle that this export replaces or supersedes.

    Raises:
        GatesChangedError: Id and version are equal and the gates are not.
        BundleUnreadableError: There is no bundle, or a malformed one.
        BundleTamperedError: It is not what was written.
        FormatVersionError: It is of a format version that this release does not read.
    """
    from medsdk.bundle import Bundle

    old = Bundle.open(earlier).manifest.task
    changed = same_version_other_gates(old, task)
    if changed:
        before, after = gate_values(old), gate_values(task)
        raise GatesChangedError.within(
            task.id,
            task.version,
            [
                f"gates.{name}: {before.get(name, 'absent')} -> {after.get(name, 'absent')}"
                for name in changed
            ],
        )


def check_replaced(task: Task, place: Path) -> None:
    """`check_gates_kept` for what lies at the place of the new bundle, if it is a whole bundle."""
    try:
        check_gates_kept(task, place)
    except (BundleUnreadableError, BundleTamperedError, FormatVersionError):
        return  # nothing there, or nothing that says which gates it had


def case_id(content: str, roi: Box | None) -> str:
    """What stands for a case in evidence: as `medsdk.evaluation.cases` has it.

    Args:
        content: `pixels_digest` of its frame.
        roi: Its region of interest.
    """
    corners = None if roi is None else list(map(float, roi.corners))
    return sha256_of(canonical_json([content, corners]))[:16]


def patient_id(patient: str) -> str:
    """What stands for a patient in evidence: as `medsdk.evaluation.cases` has it."""
    return sha256_of(f"patient:{patient.strip()}".encode())[:16]


def cases_digest(cases: Sequence[Case], ids: Sequence[str], *, labelled: bool) -> str:
    """sha256 of ids, truths and patients, in order.

    Args:
        cases: In the table's order.
        ids: `case_id` of each.
        labelled: Whether their truth is one; a phantom's judges nothing and is none.
    """
    rows = [
        [identity, case.truth if labelled else None, patient_id(case.patient)]
        for case, identity in zip(cases, ids, strict=True)
    ]
    return sha256_of(canonical_json(rows))


def _worth(cases: Sequence[Case]) -> Worth:
    """How many independent cases they are worth, as the judge counts them."""

    def counts(chosen: Iterable[Case]) -> list[int]:
        return list(Counter(case.patient.strip() for case in chosen).values())

    return Worth(
        effective_cases(counts(cases)),
        {
            label: (
                cases_of_the_largest(counts(case for case in cases if case.truth == label)),
                cases_of_the_largest(counts(case for case in cases if case.truth != label)),
            )
            for label in {case.truth for case in cases}
        },
    )


def _check_patients(cases: Sequence[Case]) -> None:
    strata: dict[str, Case] = {}
    for case in cases:
        patient = case.patient.strip()
        if not patient:
            raise InputsRefusedError(
                f"{case.name} has no patient",
                got="an empty field",
                expected="a pseudonym, the same for all cases of one patient",
                remedy="where every case is of another patient, number them",
            )
        first = strata.setdefault(patient, case)
        if first.stratum.strip() != case.stratum.strip():
            raise PatientInTwoStrataError.cases(first.name, case.name)
