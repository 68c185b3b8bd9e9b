"""`medsdk demo`: the command; what it shows whole is the export side's."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated

import typer

from medsdk.cli.options import JsonFlag, QuietFlag
from medsdk.cli.output import Progress, print_document, print_text
from medsdk.errors import MedsdkError

WHOLE_DEMO_GROUP = "medsdk.demo"
"""Entry points of this group hold the whole demo: a function of a directory and a progress."""


class DemoUnavailableError(MedsdkError):
    """Something that the demo shows is not installed."""

    code = "demo-unavailable"
    exit_status = 3


def register(app: typer.Typer) -> None:
    """Add `demo` to the command line."""

    @app.command()
    def demo(
        out: Annotated[
            Path,
            typer.Option("--out", metavar="DIR", help="Where everything goes; replaced next time."),
        ] = Path("medsdk-demo"),
        as_json: JsonFlag = False,
        quiet: QuietFlag = False,
    ) -> None:
        """Export, quantize, verify and run two reference tasks on real objects.

        Makes phantoms, exports the networks, verifies the bundles on every installed runtime,
        runs one on real MR objects and the other on a real ultrasound clip, and shows a refused
        modality. About three minutes on two cores. The networks were trained on synthetic
        phantoms: not for clinical use.
        """
        found = entry_points(group=WHOLE_DEMO_GROUP)
        if not found:
            raise DemoUnavailableError(
                "the whole demo belongs to the export side, which is not installed",
                got="no medsdk_export",
                expected="the whole distribution",
                remedy='pip install "medsdk[torch,demo]"',
            )
        run_demo = next(iter(found)).load()
        progress = Progress(quiet=quiet)
        try:
            document, summary = run_demo(out, progress)
        finally:
            progress.close()
        if as_json:
            print_document(document)
        else:
            print_text(summary)
        raise typer.Exit(0 if document.verdict == "pass" else 1)
