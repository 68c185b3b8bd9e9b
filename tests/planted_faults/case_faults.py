"""Faults in the cases: what calibration has seen measures nothing."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from medsdk.bundle import Bundle
from medsdk.errors import MedsdkError
from medsdk.evaluation.calibration import calibration_images
from medsdk.evaluation.cases import identify_cases, read_cases
from medsdk.tasks import read_task
from medsdk_export.build import ExportRequest, export_bundle
from tests.planted_faults.plant import Alarm, Plant
from tests.planted_faults.workshop import NEGATIVE, POSITIVE, ROLE, Workshop


def _table(folder: Path, workshop: Workshop, planted: bool) -> Path:
    """The first cases, and with the fault one more: a calibration image under another name."""
    sound = workshop.folder / "colour"
    rows = (sound / "cases/cases.csv").read_text(encoding="utf-8").splitlines()[:9]
    for row in rows[1:]:
        shutil.copy(sound / "cases" / row.split(",")[0], folder)
    if planted:
        shutil.copy(sound / "calibration/5.dcm", folder / "other.dcm")
        rows.append(f"other.dcm,{NEGATIVE},p-other,all")
    table = folder / "cases.csv"
    table.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return table


def at_export(workshop: Workshop, planted: bool) -> tuple[Alarm, ...]:
    """Without the fault the workshop's own export is the check."""
    if not planted:
        return () if Bundle.open(workshop.colour).manifest else (Alarm("inputs", "no bundle"),)
    sound = workshop.folder / "colour"
    with TemporaryDirectory(dir=workshop.folder) as place:
        request = ExportRequest(
            task=read_task(sound / "task.toml"),
            models={ROLE: sound / "model.onnx"},
            calibration=sound / "calibration",
            out=Path(place, "bundle"),
            cases=_table(Path(place), workshop, planted=True),
        )
        try:
            export_bundle(request)
        except MedsdkError as error:
            return (Alarm("inputs", f"{error.code}: {error}"),)
    return ()


def at_evaluation(workshop: Workshop, planted: bool) -> tuple[Alarm, ...]:
    """The cases of a measurement, as `evaluate` reads them."""
    bundle = Bundle.open(workshop.colour)
    task = bundle.manifest.task
    with TemporaryDirectory(dir=workshop.folder) as place:
        table = _table(Path(place), workshop, planted)
        try:
            cases = read_cases(table, task, (NEGATIVE, POSITIVE))
            identify_cases(cases, task, calibrated=calibration_images(bundle))
        except MedsdkError as error:
            return (Alarm("cases", f"{error.code}: {error}"),)
    return ()


PLANTS = (
    Plant(
        "calibration cases among the test cases",
        "export: a calibration image in the table of cases, renamed",
        "inputs",
        r"case \d+ is among the calibration images",
        at_export,
    ),
    Plant(
        "calibration cases among the test cases",
        "evaluation of a bundle: the same, later and elsewhere",
        "cases",
        r"case 9 is among the images that calibration has seen",
        at_evaluation,
    ),
)
