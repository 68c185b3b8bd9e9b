"""The command line. Each command takes `--json` and then prints one JSON document."""

from medsdk.cli.main import main

__all__ = ["main"]
