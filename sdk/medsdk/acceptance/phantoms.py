"""A folder of phantom images: which there are, and what a candidate says of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from medsdk.acceptance.errors import PhantomRefusedError
from medsdk.bundle.reading import Bundle
from medsdk.evaluation.answers import Answer, AnswersHeader
from medsdk.evaluation.cases import Case, CaseSet, identify_cases
from medsdk.evaluation.folders import ROI_TABLE, image_files, read_rois
from medsdk.evaluation.running import ask, header_of
from medsdk.evaluation.tables import parse_roi, roi_rule
from medsdk.parity.known_answers import check_on_load
from medsdk.pipeline import Pipeline
from medsdk.plan.candidate import Candidate
from medsdk.tasks.schema import Task

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many are done, how many there are."""

_NOBODY = "0" * 16
"""Phantoms are of no patient."""


@dataclass(frozen=True)
class PhantomImage(Case):
    """One file of a folder of phantoms; a case without truth and patient."""

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return f"image {self.number}"


@dataclass(frozen=True)
class Asked:
    """What a candidate said of a phantom.

    Attributes:
        header: Who answered.
        answers: One an image, in the order of the folder.
        tolerance: For each `role.output`, the variant's own.
        known_answers: How many it reproduced before the first image.
        cases: The images.
    """

    header: AnswersHeader
    answers: tuple[Answer, ...]
    tolerance: dict[str, float]
    known_answers: int
    cases: CaseSet


def read_phantom(folder: Path, task: Task, *, gone: bool = False) -> tuple[PhantomImage, ...]:
    """The images of a folder, sorted by their paths; none is opened.

    Args:
        folder: DICOM files of one frame each; regions of interest stand in its `rois.csv`.
        task: The task.
        gone: Whether `rois.csv` may name files that are not there: a check reports an image that
            is gone, and is not refused for it.

    Returns:
        At least one image.

    Raises:
        PhantomRefusedError: No folder, nothing in it, or no region where the task needs one.
    """
    if not folder.is_dir():
        raise PhantomRefusedError(
            "there is no folder of phantom images",
            got="a file" if folder.exists() else "nothing at that path",
            expected="a folder of DICOM files, one frame each",
            remedy="check the path of --phantom",
        )
    files = image_files(folder)
    if not files:
        raise PhantomRefusedError(
            "the folder of phantom images is empty",
            got="no image",
            expected="DICOM files, one frame each",
            remedy="put the phantom's images into it, or name another folder",
        )
    rule = roi_rule(task)
    rois = read_rois(folder, task, "the folder of phantom images", PhantomRefusedError, gone=gone)
    images = []
    for number, path in enumerate(files, 1):
        roi = rois.get(path.resolve())
        if roi is None:  # refuses a missing region where the task needs one
            parse_roi("", rule, f"image {number}", PhantomRefusedError, f"fill {ROI_TABLE}")
        images.append(PhantomImage(number, path, None, _NOBODY, None, None, {}, roi))
    return tuple(images)


def ask_of_phantom(
    bundle: Bundle, candidate: Candidate, images: tuple[PhantomImage, ...], progress: Progress
) -> Asked:
    """Run the known answers and then every image on one candidate.

    Args:
        bundle: The opened bundle.
        candidate: Of it.
        images: Of what.
        progress: Told how many are done.

    Returns:
        What was said.

    Raises:
        KnownAnswerFailedError: This machine does not reproduce the bundle.
        CasesRefusedError: Two images have the same pixels, or one has several frames.
        MedsdkError: What opening the candidate raises.
    """
    total = len(images)
    # A region outside an image that changed since is what a check reports, no wrong use.
    cases = identify_cases(
        images,
        bundle.manifest.task,
        lambda done: progress("reading the images", done, total),
        check_regions=False,
    )
    with Pipeline.open(bundle, candidate) as pipeline:
        checked = check_on_load(bundle, candidate, pipeline, every=True)
        header = header_of(bundle, candidate, pipeline.stage.session.effective, cases)
        answers = []
        for done, known in enumerate(cases.cases):
            progress("asking of the images", done, total)
            answers.append(ask(pipeline, known))
        progress("asking of the images", total, total)
        role = pipeline.stage.role
    variant = bundle.manifest.networks[role].variants[candidate.networks[role].variant]
    tolerance = {f"{role}.{name}": value for name, value in variant.tolerance.items()}
    return Asked(header, tuple(answers), tolerance, checked, cases)
