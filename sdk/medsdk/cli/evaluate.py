"""`medsdk evaluate`: every candidate on labelled cases, against truth and reference."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medsdk.cli.options import (
    BundleArgument,
    ExploreFlag,
    JsonFlag,
    LanguageOption,
    QuietFlag,
    ReportOption,
    ThreadsOption,
    WithImagesFlag,
)
from medsdk.cli.output import Progress, print_document, print_note, print_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from medsdk.evaluation.cases import CaseSet
    from medsdk.tasks import Task

EXIT_OF = {"pass": 0, "fail": 1, "not-run": 5, "not-conclusive": 5, "advisory": 0}
"""Exit status of a verdict; without a truth nothing can be concluded."""


def register(app: typer.Typer) -> None:
    """Add `evaluate`."""

    @app.command()
    def evaluate(
        bundle: BundleArgument,
        cases: Annotated[
            Path,
            typer.Option(
                "--cases",
                metavar="CASES.csv",
                help="Columns path, truth, patient; and, where there are, study, lesion, roi, "
                "stratum, site, device-model, size and the task's own strata.",
            ),
        ],
        out: Annotated[
            Path | None,
            typer.Option(
                "--out",
                metavar="DIR",
                help="Keep the answers here, and go on with those that are here. Default: a "
                "temporary folder, so that a stopped evaluation begins anew.",
            ),
        ] = None,
        reference: Annotated[
            Path | None,
            typer.Option(
                "--reference",
                metavar="ANSWERS.jsonl",
                help="Compare with the answers of another machine or release. Default: FP32 here.",
            ),
        ] = None,
        runtime: Annotated[
            list[str] | None,
            typer.Option("--runtime", metavar="NAME", help="Only this runtime; may be repeated."),
        ] = None,
        variant: Annotated[
            list[str] | None,
            typer.Option("--variant", metavar="ID", help="Only this variant; may be repeated."),
        ] = None,
        isa: Annotated[
            list[str] | None,
            typer.Option(
                "--isa",
                metavar="NAME",
                help="Only this limit on the instruction set, native for none; may be repeated.",
            ),
        ] = None,
        within_patient: Annotated[
            list[str] | None,
            typer.Option(
                "--within-patient",
                metavar="COLUMN",
                help="This stratum may differ between cases of one patient; may be repeated.",
            ),
        ] = None,
        fresh: Annotated[
            bool, typer.Option("--fresh", help="Begin anew where --out has answers.")
        ] = False,
        threads: ThreadsOption = None,
        report: ReportOption = None,
        language: LanguageOption = "en",
        with_images: WithImagesFlag = False,
        explore: ExploreFlag = False,
        as_json: JsonFlag = False,
        quiet: QuietFlag = False,
    ) -> None:
        """Measure a bundle on labelled cases: exit 0 for PASS, 1 for FAIL, 5 for too few cases.

        Every candidate of this machine answers every case. Its accuracy, sensitivity and
        specificity are given with intervals, for all cases and for each stratum; what it decides
        otherwise than FP32 is held to the task's gate. With --out a stopped evaluation goes on.
        """
        from medsdk.bundle.reading import Bundle
        from medsdk.cli.report_text import report_text
        from medsdk.evaluation.evaluating import EvaluationRequest
        from medsdk.evaluation.evaluating import evaluate as evaluate_bundle
        from medsdk.reports import check_report_folder, write_report

        if report is not None:
            check_report_folder(report, replace=True)
        opened = Bundle.open(bundle)
        with Progress(quiet=quiet) as progress, kept_answers(out) as place:
            evaluation = evaluate_bundle(
                EvaluationRequest(
                    bundle=opened,
                    table=cases,
                    out=place,
                    runtimes=tuple(runtime or ()),
                    variants=tuple(variant or ()),
                    isas=tuple(isa or ()),
                    threads=threads,
                    reference=reference,
                    within_patient=tuple(within_patient or ()),
                    fresh=fresh,
                    explore=explore,
                ),
                progress,
            )
            if report is not None:
                picture = None
                if with_images:
                    picture = case_pictures(evaluation.cases, opened.manifest.task)
                write_report(
                    evaluation.report, report, language=language, picture=picture, replace=True
                )
        if with_images:
            print_note("the report's pictures may show who a patient is: keep it as you keep them")
        if as_json:
            print_document(evaluation.report)
        else:
            print_text(report_text(evaluation.report))
            if report is not None:
                print_text(f"written: {report / 'report.html'}")
        raise typer.Exit(EXIT_OF[evaluation.report.verdict])


@contextmanager
def kept_answers(out: Path | None) -> Iterator[Path]:
    """Where answers go: `out`, or a folder that is gone afterwards."""
    if out is not None:
        yield out
        return
    with tempfile.TemporaryDirectory(prefix="medsdk-evaluate-") as folder:
        yield Path(folder)


def case_pictures(cases: CaseSet, task: Task) -> Callable[[str], bytes | None]:
    """Draws a case by its id; a lesion's or a study's id has no picture."""
    from medsdk.evaluation.cases import read_frame
    from medsdk.results.picture import case_picture

    known = {item.id: item for item in cases.cases if not item.error}

    def draw(case: str) -> bytes | None:
        item = known.get(case)
        if item is None:
            return None
        return case_picture(read_frame(item.case, task), item.case.roi)

    return draw
