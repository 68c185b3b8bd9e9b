"""Running the bundles of a comparison: which candidates, on which cases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from medsdk.bundle.manifest import Manifest
from medsdk.bundle.reading import Bundle
from medsdk.canonical import sha256_of
from medsdk.changes.sides import Answered, Unasked
from medsdk.evaluation.answers import read_answers
from medsdk.evaluation.calibration import calibration_images
from medsdk.evaluation.cases import Case, CaseSet, identify_cases, read_cases
from medsdk.evaluation.running import AskedCandidate, header_of, run_candidate
from medsdk.parity.known_answers import answer_roi
from medsdk.pipeline import supported_role
from medsdk.plan.candidate import DEFAULT_RUNTIME, Candidate, default_candidate

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many are done, how many there are."""


@dataclass(frozen=True)
class Pins:
    """What the caller chose of one side; None leaves it open.

    Attributes:
        runtime: Name of a runtime.
        variant: Id of a variant.
        device: Name of a device of the runtime.
        threads: Worker threads.
    """

    runtime: str | None = None
    variant: str | None = None
    device: str | None = None
    threads: int | None = None

    def candidate(self, manifest: Manifest, variant: str | None = None) -> Candidate:
        """The candidate that this is of a bundle.

        Args:
            manifest: The bundle's.
            variant: Taken where none is pinned; None for FP32.

        Raises:
            RuntimeUnavailableError: The runtime is not installed.
            VariantUnavailableError: No such variant, or not meant for the runtime.
            SettingRefusedError: More threads than the process's budget.
        """
        plan = default_candidate(
            manifest, self.runtime, self.variant or variant, self.device, self.threads
        )
        return plan.candidate


def candidate_pairs(
    first: Bundle, second: Bundle, pins: Pins, pins_b: Pins
) -> tuple[tuple[Candidate, Candidate], ...]:
    """Which candidates of two bundles are compared.

    Args:
        first: The approved side.
        second: The other.
        pins: What the caller chose of the first.
        pins_b: What the caller chose of the second.

    Returns:
        The pinned pair; with no variant pinned, one pair for every variant that both ship for
        their runtimes.

    Raises:
        MedsdkError: As `Pins.candidate`.
    """
    if pins.variant is None and pins_b.variant is None:
        shared = _variants(first.manifest, pins) & _variants(second.manifest, pins_b)
        if shared:
            return tuple(
                (pins.candidate(first.manifest, name), pins_b.candidate(second.manifest, name))
                for name in sorted(shared)
            )
    return ((pins.candidate(first.manifest), pins_b.candidate(second.manifest)),)


def cases_of(
    bundle: Bundle, table: Path | None, folder: Path, progress: Progress, *others: Bundle
) -> CaseSet:
    """The cases of a comparison.

    Args:
        bundle: The approved side.
        table: A table of cases; None for the inputs of the bundle's known answers.
        folder: Where those may be written meanwhile.
        progress: Told how many cases are identified.
        others: What is compared with it; no calibration of any of them may have seen a case.

    Raises:
        CasesRefusedError: The table cannot be used, or calibration has seen a case.
        DecoderMissingError: This machine lacks the decoder of a case.
    """
    task = bundle.manifest.task
    _, decode = supported_role(task)
    cases = (
        _known_inputs(bundle, folder) if table is None else read_cases(table, task, decode.labels)
    )
    total = len(cases)
    return identify_cases(
        cases,
        task,
        lambda done: progress("identifying the cases", done, total),
        frozenset().union(*map(calibration_images, (bundle, *others))),
    )


def answered(
    bundle: Bundle,
    candidate: Candidate,
    cases: CaseSet,
    out: Path,
    progress: Progress,
    *,
    fresh: bool,
    phase: str,
) -> Answered | Unasked:
    """Ask a candidate of every case; goes on where an earlier run stopped.

    Args:
        bundle: The opened bundle.
        candidate: Of it.
        cases: Of what.
        out: Where its answers are kept.
        progress: Told how many are done.
        fresh: Whether to begin anew.
        phase: What progress calls it.

    Returns:
        Its answers, or why it could not be asked.

    Raises:
        MedsdkError: As `run_candidate`.
    """
    ran = run_candidate(
        bundle, AskedCandidate(candidate), cases, out, progress, fresh=fresh, phase=phase
    )
    if ran.path is None:
        return Unasked(header_of(bundle, candidate, None, cases), ran.problem)
    return Answered(*read_answers(ran.path))


def _variants(manifest: Manifest, pins: Pins) -> set[str]:
    """Variants that every network ships for the side's runtime."""
    runtime = pins.runtime or DEFAULT_RUNTIME
    return set.intersection(
        *(
            {
                name
                for name, variant in network.variants.items()
                if variant.status == "shipped" and runtime in variant.targets
            }
            for network in manifest.networks.values()
        )
    )


def _known_inputs(bundle: Bundle, folder: Path) -> tuple[Case, ...]:
    """The known answers' inputs as files; each counts as a patient, since nobody says who."""
    cases = []
    for number, answer in enumerate(bundle.manifest.known_answers, 1):
        path = folder / f"{number}.dcm"
        path.write_bytes(bundle.read(answer.input))
        cases.append(
            Case(
                number=number,
                path=path,
                truth=answer.truth,
                patient=sha256_of(answer.id.encode())[:16],
                study=None,
                lesion=None,
                strata={},
                roi=answer_roi(answer),
            )
        )
    return tuple(cases)
