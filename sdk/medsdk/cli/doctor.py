"""`medsdk doctor`: what this machine has, found by running it."""

from __future__ import annotations

import typer

from medsdk.cli.options import JsonFlag
from medsdk.cli.output import print_document, print_text, table


def register(app: typer.Typer) -> None:
    """Add `doctor`."""

    @app.command()
    def doctor(as_json: JsonFlag = False) -> None:
        """Show the machine, its runtimes and devices, and what is missing.

        Each runtime computes a small graph with a known result, so "works" means that it ran.
        Exit 0 where at least one runtime works, else 3.
        """
        from medsdk.diagnosis import diagnose

        document = diagnose()
        if as_json:
            print_document(document)
        else:
            machine = document.machine
            print_text(f"medsdk {document.medsdk}")
            for key, value in machine.items():
                shown = (
                    ", ".join(f"{name} {version}" for name, version in value.items())
                    if isinstance(value, dict)
                    else value
                )
                print_text(f"  {key.replace('_', ' '):<18} {shown}")
            print_text(f"  {'machine sha256':<18} {document.machine_sha256[:16]}")
            print_text(f"  {'thread budget':<18} {document.thread_budget}\n")
            print_text(
                table(
                    ("runtime", "version", "devices", "computed", "note"),
                    (
                        (
                            item.name,
                            item.version or "-",
                            ", ".join(device.name for device in item.devices) or "-",
                            item.computed or "-",
                            item.reason,
                        )
                        for item in document.runtimes
                    ),
                )
            )
            print_text("")
            print_text(table(("resize kernel", "computed by"), document.resize_kernels.items()))
            for problem in document.problems:
                print_text(f"problem: {problem}")
        works = any(item.computed == "pass" for item in document.runtimes)
        raise typer.Exit(0 if works else 3)
