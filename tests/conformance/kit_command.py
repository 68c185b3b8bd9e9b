"""The kit as a command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Kit:
    """A run of `medsdk conformance RUNTIME --json`."""

    status: int
    document: dict[str, Any]
    errors: str
    seconds: float

    @property
    def items(self) -> dict[str, dict[str, Any]]:
        """Items by id."""
        return {item["id"]: item for item in self.document["items"]}


def run_command(*words: str) -> Kit:
    """Run the command in a process of its own; its one document."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    before = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "medsdk.cli.main", "conformance", *words, "--json"],
        capture_output=True,
        encoding="utf-8",
        check=False,
        env=environment,
    )
    document = json.loads(done.stdout) if done.stdout else {}
    return Kit(done.returncode, document, done.stderr, time.monotonic() - before)
