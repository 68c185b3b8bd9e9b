"""`medsdk demo`: the command; what it shows whole is the export side's."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medsdk.cli.options import JsonFlag, QuietFlag
from medsdk.cli.output import Progress, print_document, print_text
from medsdk.cli.verify import EXIT_OF
from medsdk.demonstration.errors import WHOLE_DEMO_REMEDY, DemoUnavailableError

if TYPE_CHECKING:
    from medsdk.results.documents import DemoDocument, DeviceDemoDocument

WHOLE_DEMO_GROUP = "medsdk.demo"
"""Entry points of this group hold the whole demo: a function of a directory and a progress."""


def register(app: typer.Typer) -> None:
    """Add `demo` to the command line."""

    @app.command()
    def demo(
        out: Annotated[
            Path,
            typer.Option("--out", metavar="DIR", help="Where everything goes; replaced next time."),
        ] = Path("medsdk-demo"),
        device_only: Annotated[
            bool,
            typer.Option(
                "--device-only",
                help="Only what a device does, with the bundle and the clip of the wheel: "
                "verify, run, time. Seconds, and no training framework.",
            ),
        ] = False,
        as_json: JsonFlag = False,
        quiet: QuietFlag = False,
    ) -> None:
        """Export, quantize, verify and run two reference tasks on real objects.

        Makes phantoms, exports the networks, verifies the bundles on every installed runtime,
        runs one on real MR objects and the other on a real ultrasound clip, and shows a refused
        modality. About three minutes on two cores. The networks were trained on synthetic
        phantoms: not for clinical use.
        """
        with Progress(quiet=quiet) as progress:
            document: DemoDocument | DeviceDemoDocument
            if device_only:
                from medsdk.demonstration.device import run_device_demo

                document, summary = run_device_demo(out, progress)
            else:
                document, summary = _whole_demo()(out, progress)
        if as_json:
            print_document(document)
        else:
            print_text(summary)
        raise typer.Exit(EXIT_OF[document.verdict])


def _whole_demo() -> Callable[[Path, Progress], tuple[DemoDocument, str]]:
    found = entry_points(group=WHOLE_DEMO_GROUP)
    if not found:
        raise DemoUnavailableError(
            "the whole demo belongs to the export side, which is not installed",
            got="no medsdk_export",
            expected="the whole distribution",
            remedy=WHOLE_DEMO_REMEDY,
        )
    run_demo: Callable[[Path, Progress], tuple[DemoDocument, str]] = next(iter(found)).load()
    return run_demo
