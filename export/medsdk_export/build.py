"""`medsdk export`: task, source and calibration data in, a proved bundle out."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import medsdk_runtimes
from medsdk._version import __version__
from medsdk.atomic import new_directory, new_file
from medsdk.bundle import Bundle, BundleWriter, Manifest, NetworkRecord, Variant
from medsdk.bundle.change_envelope import ChangeEnvelope
from medsdk.bundle.one_file import SUFFIX, write_one_file
from medsdk.bundle.placing import check_place
from medsdk.canonical import sha256_of, timestamp
from medsdk.errors import OutputNotWritableError
from medsdk.evaluation.cases import pixels_digest
from medsdk.parity.declaration import PROTOCOL
from medsdk.parity.protocol import gates_digest
from medsdk.parity.verification import Verification, verify
from medsdk.pipeline import preprocessor_of, supported_role
from medsdk.tasks import Task
from medsdk.tasks.strict import FORMAT_VERSION
from medsdk_export import graphs
from medsdk_export.advising import advise
from medsdk_export.attempts import Attempt, make_attempts, opened
from medsdk_export.comparing import SAMPLES, compare_with_source
from medsdk_export.declaring import (
    Declaration,
    Declared,
    case_id,
    cases_digest,
    check_gates_kept,
    check_replaced,
    declare,
    patient_id,
)
from medsdk_export.errors import ExportRefusedError, InputsRefusedError, ReferenceMismatchError
from medsdk_export.evidence import CaseFacts, write_evidence
from medsdk_export.inputs import (
    PHANTOM_POOL,
    CalibrationFile,
    Case,
    calibration_files,
    calibration_frames,
    decoded,
    naming,
    open_case,
    phantom_cases,
    read_cases,
)
from medsdk_export.judging import Judgement, Observed, better, judge
from medsdk_export.known_answers import CaseImages, choose_for, write_answer
from medsdk_export.quantize import CalibrationRecord, calibrate
from medsdk_export.reference_resize import library_version
from medsdk_export.sources import SourceNetwork, read_source
from medsdk_runtimes.threads import ThreadBudget

Progress = Callable[[str, int, int | None], None]
"""Called with the phase, how many steps are done, and how many there are (None: unknown)."""

PHASES = (
    "reading the source",
    "checking the inputs",
    "comparing with the source framework",
    "calibrating",
    "quantizing",
    "running the cases",
    "choosing known answers",
    "writing",
    "verifying the bundle",
)
"""What `Progress` is called with, in this order."""


@dataclass(frozen=True)
class ExportRequest:
    """What to export.

    Attributes:
        task: The task.
        models: Role to model file.
        calibration: Folder of images like those the scanner gives.
        out: Where the bundle shall be; one file where it ends in `.medsdk`, else a directory.
        cases: Table of labelled cases, or None.
        known_answers: How many to choose, at least 2.
        replace: Whether a bundle that is there may be replaced.
        supersedes: An earlier bundle, elsewhere, that this one comes after: other gates under its
            version are refused, as they are where `replace` replaces one.
        envelope: What may change after this bundle; None where nobody says.
    """

    task: Task
    models: Mapping[str, Path]
    calibration: Path
    out: Path
    cases: Path | None = None
    known_answers: int = 16
    replace: bool = False
    supersedes: Path | None = None
    envelope: ChangeEnvelope | None = None


@dataclass(frozen=True)
class ExportResult:
    """What was made.

    Attributes:
        sha256: The bundle's identity.
        manifest: What it says of itself.
        verification: What verifying it here found, before it was published.
        declaration: What was declared before anything was measured.
    """

    sha256: str
    manifest: Manifest
    verification: Verification
    declaration: Declaration


def export_bundle(
    request: ExportRequest,
    progress: Progress | None = None,
    declared: Declared | None = None,
) -> ExportResult:
    """Make a bundle and prove it.

    Args:
        request: What to export.
        progress: Told what is being done.
        declared: Told what each gate needs and what there is, before a source is read.

    Returns:
        What was made; it is at `request.out`, whole.

    Raises:
        ExportRefusedError: And its subclasses: a source, calibration or cases that cannot be
            used, or a graph that does not compute what its source does.
        TaskUnsupportedError: This release does not run the task.
        UndecidableGateError: No number of cases can decide a gate of the task.
        GatesChangedError: A bundle of the task's version, replaced or superseded, has other gates.
        OutputNotWritableError: The place exists, cannot be written, or is full.
    """
    say: Progress = progress or (lambda phase, done, total: None)
    task = request.task
    role, decode = supported_role(task)
    _check_request(request)
    table = request.cases
    cases = None if table is None else read_cases(table, task, decode.labels)
    declaration = declare(task, cases, PHANTOM_POOL)
    if declared is not None:
        declared(declaration)
    one_file = request.out.suffix == SUFFIX
    fresh = new_file if one_file else new_directory
    with fresh(request.out, "the bundle", replace=request.replace) as made:
        folder = made.with_name("directory") if one_file else made
        say(PHASES[0], 0, 1)
        source = read_source(request.models[role], task.networks[role])
        say(PHASES[0], 1, 1)
        writer = BundleWriter(folder)
        manifest = _Export(request, role, source, say, declaration).run(writer, cases)
        digest = writer.finish(manifest)
        if one_file:
            write_one_file(made, Bundle.open(folder).storage)
        verification = _verify(made, say)
    return ExportResult(digest, manifest, verification, declaration)


class _Export:
    """The steps of one export, in the order of `PHASES`."""

    def __init__(
        self,
        request: ExportRequest,
        role: str,
        source: SourceNetwork,
        say: Progress,
        declaration: Declaration,
    ) -> None:
        self.request = request
        self.declaration = declaration
        self.task = request.task
        self.role = role
        self.network = request.task.networks[role]
        self.source = source
        self.say = say
        self.preprocessor = preprocessor_of(self.task, self.network)
        self.images = CaseImages(self.task)

    def run(self, writer: BundleWriter, labelled: list[Case] | None) -> Manifest:
        cases = list(phantom_cases(self.task, PHANTOM_POOL)) if labelled is None else labelled
        files, ids, facts = self.check_inputs(cases)
        # Before the first comparison: what is measured is judged by what stands here.
        digest = cases_digest(cases, ids, labelled=labelled is not None)
        protocol = self.declaration.protocol(digest).to_bytes()
        writer.add(PROTOCOL, protocol)
        phase = "comparing with the source framework"
        # Every case is compared again while the cases run; here it is whether to go on at all.
        compare_with_source(
            self.task,
            self.role,
            self.source,
            [self.images.tensor(case) for case in cases[:SAMPLES]],
            lambda done, total: self.say(phase, done, total),
        )
        record = self.calibrate(files)
        self.say("quantizing", 0, 1)
        attempts = make_attempts(self.source.model, record)
        self.say("quantizing", 1, 1)
        observed, judgements = self.run_cases(cases, ids, attempts)
        kept = self.keep(judgements)
        chosen, kept = choose_for(
            self.task,
            observed,
            kept,
            self.request.known_answers,
            lambda done: self.say("choosing known answers", done, len(cases)),
        )
        self.say("writing", 0, 1)
        answers = tuple(
            write_answer(
                writer,
                self.task,
                f"ka-{number:03}",
                cases[index],
                self.images.image(cases[index]),
                observed[index],
                kept,
            )
            for number, index in enumerate(chosen, 1)
        )
        variants = {
            variant: self.write_variant(writer, judgement) for variant, judgement in kept.items()
        }
        write_evidence(writer, self.task, self.role, protocol, record, judgements)
        self.say("writing", 1, 1)
        return Manifest(
            format_version=FORMAT_VERSION,
            kind="medsdk-bundle",
            name=self.task.id.replace("/", "-"),
            version=self.task.version,
            purpose=self.task.purpose,
            notice=self.task.notice,
            task=self.task,
            networks={
                self.role: NetworkRecord(
                    architecture=self.network.architecture.name,
                    parameters=dict(self.source.parameters),
                    opset=graphs.default_opset(self.source.model),
                    source=dict(self.source.facts),
                    variants=variants,
                )
            },
            known_answers=answers,
            provenance={
                **facts,
                "gates_sha256": gates_digest(self.task),
                "created": timestamp(),
                "versions": _versions(self.network.pixels.resize.kernel),
            },
            files=writer.files,
            change_envelope=self.request.envelope,
            optional=() if self.request.envelope is None else ("change_envelope",),
        )

    def check_inputs(
        self, cases: list[Case]
    ) -> tuple[list[CalibrationFile], list[str], dict[str, dict[str, str | int | float | None]]]:
        """Calibration files and cases: readable, of the modality, apart from each other.

        Args:
            cases: The cases.

        Returns:
            The calibration files, the id of each case, and facts for the record.
        """
        phase = "checking the inputs"
        files = calibration_files(self.request.calibration, self.task)
        ids = []
        total = len(files) + len(cases)
        calibration = set()
        for done, (_, frame) in enumerate(calibration_frames(files, self.task)):
            calibration.add(pixels_digest(frame.array))
            self.say(phase, min(done, len(files)), total)
        digests = set()
        for done, case in enumerate(cases, len(files) + 1):
            _, _, image = open_case(case, self.task)
            digest = pixels_digest(decoded(image, 1, case.name).array)
            question = digest if case.roi is None else f"{digest} {case.roi}"
            if digest in calibration:
                raise InputsRefusedError(
                    f"{case.name} is among the calibration images",
                    got=f"the same pixels, sha256 {digest[:16]}",
                    expected="cases that calibration has not seen",
                    remedy="take it out of one of the two",
                )
            if question in digests:
                raise InputsRefusedError(
                    f"{case.name} shows the same image as an earlier case",
                    got=f"the same pixels, sha256 {digest[:16]}",
                    expected="each image, or each region of one, once: the statistics count it",
                    remedy="take one of the two out",
                )
            digests.add(question)
            ids.append(case_id(digest, case.roi))
            self.say(phase, done, total)
        return (
            files,
            ids,
            {
                "calibration": {
                    "images": len(calibration),
                    "sha256": sha256_of("".join(sorted(calibration)).encode()),
                },
                "known_answer_pool": {
                    "origin": "phantom" if self.request.cases is None else "case",
                    "images": len(cases),
                    "sha256": sha256_of("".join(sorted(digests)).encode()),
                },
            },
        )

    def calibrate(self, files: list[CalibrationFile]) -> CalibrationRecord:
        phase = "calibrating"
        self.say(phase, 0, len(files))

        def tensors() -> Iterator[NDArray[np.float32]]:
            for file, frame in calibration_frames(files, self.task):
                with naming(file.name):
                    prepared = self.preprocessor.prepare(frame, file.roi)
                if prepared.no_result is None:
                    # A graph with a fixed batch sees the image in every row.
                    yield np.repeat(prepared.tensor, self.source.fixed_batch or 1, axis=0)

        samples = tensors()
        first = next(samples, None)
        if first is None:
            raise InputsRefusedError(
                "no calibration image can be preprocessed",
                got=f"{len(files)} files without a usable image",
                expected="images with contrast",
            )
        try:
            return calibrate(
                self.source.model,
                self.network.input.name,
                chain([first], samples),
                lambda done: self.say(phase, min(done, len(files)), len(files)),
            )
        except OSError as error:
            raise OutputNotWritableError.from_os("a temporary file", error) from error

    def run_cases(
        self, cases: list[Case], ids: list[str], attempts: list[Attempt]
    ) -> tuple[list[Observed], list[Judgement]]:
        """Every case through the source and every attempt on every runtime and tier."""
        phase = "running the cases"
        threads = ThreadBudget.process().total
        labelled = self.request.cases is not None
        observed = []
        with opened(attempts, self.network.input, self.source.reference, threads) as (
            observe,
            refused,
        ):
            for done, (case, identity) in enumerate(zip(cases, ids, strict=True)):
                self.say(phase, done, len(cases))
                observation = observe(self.images.tensor(case))
                facts = CaseFacts(identity, done + 1, patient_id(case.patient), case.stratum)
                observed.append(Observed(observation, case.truth if labelled else None, facts))
        self.say(phase, len(cases), len(cases))
        return observed, [
            (advise if attempt.form == "gpu" else judge)(
                self.task, attempt, observed, refused[attempt.title]
            )
            for attempt in attempts
        ]

    def keep(self, judgements: list[Judgement]) -> dict[str, Judgement]:
        """One judgement a variant; FP32 must be among those that ship."""
        kept: dict[str, Judgement] = {}
        for judgement in judgements:
            variant = judgement.attempt.variant
            kept[variant] = better(kept[variant], judgement) if variant in kept else judgement
        if kept["fp32"].status != "shipped":
            raise ReferenceMismatchError(
                "no runtime reproduces the source framework in FP32",
                got=kept["fp32"].reason,
                expected="the gates.fp32 of the task",
            )
        return kept

    def write_variant(self, writer: BundleWriter, judgement: Judgement) -> Variant:
        attempt = judgement.attempt
        file = None
        if judgement.status == "shipped":
            file = writer.add(f"networks/{self.role}/{attempt.variant}.onnx", attempt.onnx)
        return Variant.model_validate(
            {
                "form": attempt.form,
                "bits": attempt.bits,
                "precision": attempt.precision,
                "targets": judgement.targets,
                "status": judgement.status,
                "reason": judgement.reason,
                "file": file,
                "size_bytes": len(attempt.onnx),
                "tolerance": dict(judgement.tolerance) if file else {},
                "worst_difference": dict(judgement.worst_difference),
                "parity": judgement.parity,
                "quantization": dict(attempt.facts),
            }
        )


def _verify(bundle: Path, say: Progress) -> Verification:
    """Prove the bundle before anybody sees it."""
    phase = PHASES[-1]
    verification = verify(
        Bundle.open(bundle), progress=lambda title, done, total: say(phase, done, total)
    )
    if verification.verdict != "pass":
        reasons = [
            f"{item.candidate}: {reason}"
            for item in verification.candidates
            for reason in item.reasons
            if item.verdict == "fail"
        ]
        reasons += verification.reasons
        raise ReferenceMismatchError(
            "the bundle does not reproduce its own known answers here",
            got="; ".join(reasons[:3]) or verification.verdict,
            expected="every candidate passes",
            remedy="report it with the versions that `medsdk doctor` prints",
        )
    return verification


def _check_request(request: ExportRequest) -> None:
    roles = request.task.roles
    missing = [role for role in roles if role not in request.models]
    unknown = [role for role in request.models if role not in roles]
    if missing or unknown:
        raise ExportRefusedError(
            f"the models are not those that {request.task.id} needs",
            got=f"missing: {', '.join(missing) or 'none'}; unknown: {', '.join(unknown) or 'none'}",
            expected=f"one model for each role: {', '.join(roles)}",
            remedy="--model ROLE=FILE for each role",
        )
    timestamp()  # refuses a wrong SOURCE_DATE_EPOCH now rather than at the end
    check_place(request.out, replace=request.replace)
    if request.replace:
        check_replaced(request.task, request.out)
    if request.supersedes is not None:
        check_gates_kept(request.task, request.supersedes)
    if request.known_answers < 2:
        raise ExportRefusedError(
            "a bundle needs known answers",
            got=str(request.known_answers),
            expected="at least 2",
        )


def _versions(kernel: str) -> dict[str, str | int | float | None]:
    import onnx
    import pydicom

    versions: dict[str, str | int | float | None] = {
        "medsdk": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "onnx": onnx.__version__,
        "pydicom": pydicom.__version__,
    }
    library, version = library_version(kernel)
    versions[library] = version
    for runtime in medsdk_runtimes.available():
        versions[runtime.name] = runtime.availability().version
    return versions


__all__ = ["PHASES", "ExportRequest", "ExportResult", "Progress", "export_bundle"]
