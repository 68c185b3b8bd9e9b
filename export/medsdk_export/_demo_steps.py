"""The steps of the demo: a bundle made of phantoms and proved, and a picture of its answer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from medsdk.demonstration.errors import DemoUnavailableError
from medsdk.demonstration.folder import write_document

if TYPE_CHECKING:
    from medsdk.bundle import Bundle
    from medsdk.cli.output import Progress
    from medsdk.results.documents import VerifyDocument


@dataclass(frozen=True)
class Part:
    """One task of the demo. The seeds share no patient with training, validation or held-out sets.

    Attributes:
        task_id: A task of the catalogue with reference weights and phantoms.
        calibration: Images and their seed.
        cases: Labelled images and their seed.
    """

    task_id: str
    calibration: tuple[int, int]
    cases: tuple[int, int]


@dataclass(frozen=True)
class Made:
    """A bundle that was made and proved.

    Attributes:
        path: Where it is.
        bundle: It, opened.
        verified: Its verification on this machine.
        table: Its parity, for a person.
    """

    path: Path
    bundle: Bundle
    verified: VerifyDocument
    table: str


def make_bundle(part: Part, folder: Path, progress: Progress) -> Made:
    """Phantoms, export, verification.

    Args:
        part: Which task.
        folder: Gets `calibration`, `cases`, `bundle`, `parity.txt` and `verify.json`.
        progress: Told what is being done.

    Returns:
        What was made.

    Raises:
        MedsdkError: What export or verification raises.
    """
    from medsdk.bundle import Bundle
    from medsdk.cli.inspect import parity_table
    from medsdk.cli.verify import candidates_table
    from medsdk.parity.verification import verify
    from medsdk.results.describing import describe_verification
    from medsdk.tasks import catalogue_task
    from medsdk_export.build import ExportRequest, export_bundle
    from medsdk_export.phantoms import write
    from medsdk_export.reference_weights import reference_weights

    task = catalogue_task(part.task_id)
    name = part.task_id
    calibration, cases, path = folder / "calibration", folder / "cases", folder / "bundle"
    progress(f"{name}: making calibration phantoms", 0, None)
    write(name, calibration, *part.calibration, report=False)
    progress(f"{name}: making labelled phantom cases", 0, None)
    write(name, cases, *part.cases, cases / "cases.csv", report=False)
    request = ExportRequest(
        task=task,
        models={task.roles[0]: reference_weights(name)},
        calibration=calibration,
        out=path,
        cases=cases / "cases.csv",
    )
    export_bundle(request, lambda phase, done, total: progress(f"{name}: {phase}", done, total))
    bundle = Bundle.open(path)
    verification = verify(
        bundle, progress=lambda title, done, total: progress(f"verify: {title}", done, total)
    )
    verified = describe_verification(bundle, verification)
    table = (
        f"known answers on this machine\n{candidates_table(verified.candidates)}\n\n"
        f"labelled phantom cases, INT8 against FP32\n{parity_table(bundle.manifest)}"
    )
    notice = bundle.manifest.notice
    (folder / "parity.txt").write_text(f"{notice}\n\n{table}\n", encoding="utf-8")
    write_document(folder / "verify.json", verified)
    return Made(path, bundle, verified, table)


def real_object(name: str) -> Path:
    """A real DICOM object of pydicom or pydicom-data.

    Raises:
        DemoUnavailableError: It is not installed.
    """
    from pydicom.data import get_testdata_file

    found = get_testdata_file(name, download=False)
    if found is None:
        raise DemoUnavailableError(
            "the demo needs a real object that is not installed",
            got=f"no {name}",
            expected="pydicom-data 1.0.0",
            remedy='pip install "medsdk[demo]"',
        )
    return Path(str(found))
