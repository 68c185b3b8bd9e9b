"""`medsdk diff`: what changed between two sides, and what it did to decisions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medsdk.cli.change_report import print_report, write_pages
from medsdk.cli.evaluate import kept_answers
from medsdk.cli.options import (
    DeviceOption,
    ExploreFlag,
    JsonFlag,
    LanguageOption,
    QuietFlag,
    ReportOption,
    RuntimeOption,
    ThreadsOption,
    VariantOption,
    WithImagesFlag,
)
from medsdk.cli.output import Progress


def register(app: typer.Typer) -> None:
    """Add `diff`."""

    @app.command()
    def diff(
        first: Annotated[
            Path,
            typer.Argument(
                metavar="A", help="The approved side: a bundle, or answers of `medsdk evaluate`."
            ),
        ],
        second: Annotated[Path, typer.Argument(metavar="B", help="The other side, likewise.")],
        cases: Annotated[
            Path | None,
            typer.Option(
                "--cases",
                metavar="CASES.csv",
                help="Run both on these cases. Default: the inputs of A's known answers.",
            ),
        ] = None,
        out: Annotated[
            Path | None,
            typer.Option(
                "--out",
                metavar="DIR",
                help="Keep the answers here, and go on with those that are here.",
            ),
        ] = None,
        fresh: Annotated[
            bool, typer.Option("--fresh", help="Begin anew where --out has answers.")
        ] = False,
        runtime: RuntimeOption = None,
        variant: VariantOption = None,
        device: DeviceOption = None,
        runtime_b: Annotated[
            str | None,
            typer.Option("--runtime-b", metavar="NAME", help="The runtime of B. Default: A's."),
        ] = None,
        variant_b: Annotated[
            str | None,
            typer.Option("--variant-b", metavar="ID", help="The variant of B. Default: A's."),
        ] = None,
        device_b: Annotated[
            str | None,
            typer.Option("--device-b", metavar="NAME", help="The device of B. Default: A's."),
        ] = None,
        threads: ThreadsOption = None,
        report: ReportOption = None,
        language: LanguageOption = "en",
        with_images: WithImagesFlag = False,
        explore: ExploreFlag = False,
        as_json: JsonFlag = False,
        quiet: QuietFlag = False,
    ) -> None:
        """Say what changed from A to B and what it did to decisions: exit 0, 1, or 5 for neither.

        Two bundles, two candidates (`diff A A --variant-b int8-cpu`), or two machines, by the
        answers that `medsdk evaluate --out` keeps. The gates of A judge; where A carries a change
        envelope, it does. With no variant pinned every variant that both ship is compared.
        """
        from medsdk.bundle.reading import Bundle
        from medsdk.changes.diffing import DiffRequest
        from medsdk.changes.diffing import diff as diff_sides
        from medsdk.changes.running import Pins
        from medsdk.changes.sides import Answered, read_side
        from medsdk.cli.main import UsageError
        from medsdk.engine import check_purpose
        from medsdk.reports import check_report_folder

        if report is not None:
            check_report_folder(report, replace=True)
        sides = (read_side(first), read_side(second))
        for side in sides:
            if isinstance(side, Bundle):
                check_purpose(side.manifest, "explore" if explore else "locked")
        pins = Pins(runtime, variant, device, threads)
        pins_b = Pins(runtime_b or runtime, variant_b or variant, device_b or device, threads)
        chosen = (cases, runtime, variant, device, runtime_b, variant_b, device_b, threads)
        if all(isinstance(side, Answered) for side in sides) and any(
            word is not None for word in chosen
        ):
            raise UsageError(
                "answers are compared as they are",
                got="two files of answers, and cases or a candidate to run",
                expected="no --cases, --runtime, --variant, --device or --threads",
                remedy="give the bundles to run them here",
            )
        with (
            Progress(quiet=quiet) as progress,
            kept_answers(out) as place,
            kept_answers(None) as scratch,
        ):
            request = DiffRequest(*sides, pins, pins_b, cases, place, scratch, fresh)
            found = diff_sides(request, progress)
            write_pages(found.report, report, language, found.pictured if with_images else None)
        print_report(found.report, as_json=as_json, folder=report)
