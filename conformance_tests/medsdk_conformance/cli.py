"""`medsdk conformance`: what a runtime declares and what it keeps of the contract."""

from __future__ import annotations

from typing import Annotated

import typer

from medsdk.cli.options import JsonFlag, QuietFlag
from medsdk.cli.output import Progress, print_document, print_text
from medsdk_conformance.limits import TIME_LIMIT_S

EXIT_OF = {"pass": 0, "advisory": 0, "fail": 1, "not-run": 3}
"""Exit status of a verdict."""


def register(app: typer.Typer) -> None:
    """Add `conformance` to the command line."""

    @app.command()
    def conformance(
        runtime: Annotated[
            str | None,
            typer.Argument(
                metavar="RUNTIME",
                help="Its name: onnxruntime, openvino, or that of an entry point in the group "
                "medsdk.runtimes. `medsdk doctor` lists them.",
            ),
        ] = None,
        device: Annotated[
            str | None,
            typer.Option(
                "--device", metavar="NAME", help="A device of the runtime. Default: its first."
            ),
        ] = None,
        only: Annotated[
            list[str] | None,
            typer.Option("--only", metavar="ID", help="Only this item; may be given again."),
        ] = None,
        list_items: Annotated[
            bool, typer.Option("--list", help="Show every item and what it asks; run nothing.")
        ] = False,
        limit_s: Annotated[
            float,
            typer.Option(
                "--timeout",
                metavar="SECONDS",
                min=1,
                help="Longest time for an item; one that takes longer fails.",
            ),
        ] = TIME_LIMIT_S,
        show_output: Annotated[
            bool,
            typer.Option(
                "--show-output", help="Let the runtime's own output through to standard error."
            ),
        ] = False,
        as_json: JsonFlag = False,
        quiet: QuietFlag = False,
    ) -> None:
        """Ask a runtime everything that the contract demands: exit 0 for PASS, 1 for FAIL.

        Checks are rules of behaviour that every runtime keeps. Cases are small graphs whose
        results are known from arithmetic. A case asks for a capability, and a runtime is asked
        only for those that it declares. All run in a child process: a runtime that raises, exits,
        crashes or hangs fails that item, and the next one is asked in a new process.

        Write a runtime: docs/conformance.md. Look closer at one item:
        `medsdk conformance RUNTIME --only ID --show-output`.

        Exit 3 where the runtime or its device is not here, or nothing could be run.
        """
        from medsdk_conformance.errors import require_onnx
        from medsdk_conformance.kit import run_kit
        from medsdk_conformance.reporting import (
            capability_table,
            conclusion,
            describe_items,
            describe_report,
            items_table,
            remarks,
        )
        from medsdk_conformance.suite import ITEMS

        unknown = sorted(set(only or ()) - {item.id for item in ITEMS})
        if unknown:
            raise typer.BadParameter(
                f"no item is called {', '.join(unknown)}; --list shows all", param_hint="--only"
            )
        if list_items:
            chosen = describe_items(item for item in ITEMS if not only or item.id in only)
            if as_json:
                print_document(chosen)
            else:
                print_text(items_table(chosen))
            raise typer.Exit(0)
        if runtime is None:
            raise typer.BadParameter("give the name of a runtime, or --list", param_hint="RUNTIME")
        require_onnx()
        with Progress(quiet=quiet) as progress:
            report = run_kit(
                runtime,
                device=device,
                ids=only,
                limit_s=limit_s,
                show_output=show_output,
                progress=progress,
            )
        document = describe_report(report)
        if as_json:
            print_document(document)
        else:
            version = document.runtime_version or "(no version)"
            print_text(f"{document.runtime} {version} on {document.device or '(no device)'}")
            print_text(capability_table(document))
            lines = remarks(document, undeclared=bool(only))
            if lines:
                print_text("\n".join(["", *lines]))
            print_text(f"\n{conclusion(document)}")
        raise typer.Exit(EXIT_OF[document.verdict])
