"""`medsdk conformance`: what a runtime keeps of the contract."""

from __future__ import annotations

from typing import Annotated

import typer

from medsdk.cli.output import print_text, table


def register(app: typer.Typer) -> None:
    """Add `conformance` to the command line."""

    @app.command()
    def conformance(
        runtime: Annotated[
            str, typer.Argument(metavar="RUNTIME", help="Name of an installed runtime.")
        ],
    ) -> None:
        """Ask a runtime everything that the contract demands: exit 0 for PASS, 1 for FAIL."""
        from medsdk_conformance.suite import examine
        from medsdk_runtimes import require

        results = examine(require(runtime))
        print_text(
            table(
                ("item", "capability", "verdict", "detail"),
                ((item.id, item.capability or "-", item.verdict, item.detail) for item in results),
            )
        )
        failed = any(item.verdict == "fail" for item in results)
        print_text("FAIL" if failed else "PASS")
        raise typer.Exit(1 if failed else 0)
