"""Faults in the cases: what calibration has seen measures nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from medsdk.bundle import Bundle
from medsdk.changes.running import cases_of
from medsdk.errors import MedsdkError
from medsdk.evaluation.evaluating import EvaluationRequest, evaluate
from medsdk.tasks import read_task
from medsdk_export.build import ExportRequest, export_bundle
from tests.planted_faults.plant import Alarm, Check, Plant, Stage
from tests.planted_faults.workshop import NEGATIVE, ROLE, Workshop


def _with_table(stage: str, use: Callable[[Workshop, Path, Path], object]) -> Check:
    """A check of a table of cases, which has one more with the fault: a renamed calibration image.

    Args:
        stage: Of its alarms.
        use: What reads the table; gets the workshop, a folder of its own and the table.
    """

    def check(workshop: Workshop, planted: bool) -> tuple[Alarm, ...]:
        sound = workshop.colour.parent
        with TemporaryDirectory(dir=workshop.folder, ignore_cleanup_errors=True) as place:
            folder = Path(place)
            rows = (sound / "cases/cases.csv").read_text(encoding="utf-8").splitlines()[:9]
            for row in rows[1:]:
                shutil.copy(sound / "cases" / row.split(",")[0], folder)
            if planted:
                shutil.copy(sound / "calibration/5.dcm", folder / "other.dcm")
                rows.append(f"other.dcm,{NEGATIVE},p-other,all")
            table = folder / "cases.csv"
            table.write_text("\n".join(rows) + "\n", encoding="utf-8")
            try:
                use(workshop, folder, table)
            except MedsdkError as error:
                return (Alarm(stage, f"{error.code}: {error}"),)
        return ()

    return check


def _quiet(phase: str, done: int, total: int) -> None:
    """No progress."""


def _export(workshop: Workshop, folder: Path, table: Path) -> None:
    sound = workshop.colour.parent
    export_bundle(
        ExportRequest(
            task=read_task(sound / "task.toml"),
            models={ROLE: sound / "model.onnx"},
            calibration=sound / "calibration",
            out=folder / "bundle",
            cases=table,
            known_answers=2,
        )
    )


def _evaluate(workshop: Workshop, folder: Path, table: Path) -> None:
    bundle = Bundle.open(workshop.colour)
    request = EvaluationRequest(
        bundle=bundle,
        table=table,
        out=folder / "out",
        runtimes=("onnxruntime",),
        variants=("fp32",),
        threads=1,
    )
    evaluate(request, _quiet)


def _compare(workshop: Workshop, folder: Path, table: Path) -> None:
    bundle = Bundle.open(workshop.colour)
    cases_of(bundle, table, folder, _quiet, bundle)


_PLACES: tuple[tuple[str, Stage, str, Callable[[Workshop, Path, Path], object]], ...] = (
    ("`export`", "inputs", "calibration images", _export),
    ("`evaluate`, later and elsewhere", "cases", "images that calibration has seen", _evaluate),
    (
        "the table of `diff`, later and elsewhere",
        "cases",
        "images that calibration has seen",
        _compare,
    ),
)
PLANTS = tuple(
    Plant(
        "calibration cases among the test cases",
        f"{place}: a calibration image in the table of cases, renamed",
        stage,
        rf"case 9 is among the {words}",
        _with_table(stage, use),
    )
    for place, stage, words, use in _PLACES
)
