"""`medsdk verify`: every known answer on every candidate of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from medsdk.cli.options import (
    BundleArgument,
    JsonFlag,
    LanguageOption,
    QuietFlag,
    ReportOption,
    ThreadsOption,
)
from medsdk.cli.output import Progress, print_document, print_text, table

if TYPE_CHECKING:
    from medsdk.results.documents import CandidateDocument, VerifyDocument

EXIT_OF = {"pass": 0, "fail": 1, "not-run": 3, "not-conclusive": 5, "advisory": 0}
"""Exit status of a verdict."""


def register(app: typer.Typer) -> None:
    """Add `verify`."""

    @app.command()
    def verify(
        bundle: BundleArgument,
        runtime: Annotated[
            list[str] | None,
            typer.Option(
                "--runtime",
                metavar="NAME",
                help="Only this runtime; may be given again. Absent ones are an error (exit 3).",
            ),
        ] = None,
        threads: ThreadsOption = None,
        report: ReportOption = None,
        language: LanguageOption = "en",
        as_json: JsonFlag = False,
        quiet: QuietFlag = False,
    ) -> None:
        """Prove that this machine reproduces a bundle: exit 0 for PASS, 1 for FAIL.

        Runs every known answer on every installed runtime and variant, each stage alone
        (pixels, preprocess, network, decode, decide) and chained from the scanner's bytes.
        OpenVINO's candidates run once more limited to AVX2. An int8-gpu is run on the CPU as
        advice, which decides nothing.
        """
        from medsdk.bundle.reading import Bundle
        from medsdk.parity.verification import verify as verify_bundle
        from medsdk.results.describing import describe_verification

        if report is not None:
            from medsdk.reports import check_report_folder

            check_report_folder(report, replace=True)
        opened = Bundle.open(bundle)
        with Progress(quiet=quiet) as progress:
            verification = verify_bundle(opened, tuple(runtime or ()), threads, progress)
        document = describe_verification(opened, verification)
        if report is not None:
            from medsdk.reports import PAGE, write_report
            from medsdk.reports.verification import verification_report

            found = verification_report(opened, verification)
            write_report(found, report, language=language, replace=True)
        if as_json:
            print_document(document)
        else:
            identity = document.bundle
            print_text(f"{identity.name} {identity.version}  sha256 {identity.sha256}")
            print_text(opened.manifest.notice)
            print_text(candidates_table(document.candidates))
            for line in reason_lines(document):
                print_text(line)
            if document.absent_runtimes:
                print_text(f"not installed here: {', '.join(document.absent_runtimes)}")
            if report is not None:
                print_text(f"written: {report / PAGE}")
            print_text(f"\n{document.verdict.upper()}")
        raise typer.Exit(EXIT_OF[document.verdict])


def reason_lines(document: VerifyDocument) -> list[str]:
    """What stands against a candidate or the whole, a line each; at most ten a candidate."""
    return [
        *(
            f"  {item.runtime}: {reason}"
            for item in document.candidates
            for reason in item.reasons[:10]
        ),
        *(f"  {reason}" for reason in document.reasons),
    ]


def candidates_table(candidates: tuple[CandidateDocument, ...]) -> str:
    """The parity table: one row a candidate."""
    return table(
        ("runtime", "device", "isa", "variant", "precision", "n", "flips", "max error", "verdict"),
        (
            (
                item.runtime,
                item.device,
                item.settings.isa,
                ", ".join(choice.variant for choice in item.networks.values()),
                ", ".join(choice.precision for choice in item.networks.values()),
                item.cases,
                item.flips,
                "-" if item.max_abs_error is None else f"{item.max_abs_error:.2e}",
                item.verdict,
            )
            for item in candidates
        ),
    )
