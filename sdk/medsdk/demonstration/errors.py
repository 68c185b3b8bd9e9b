"""What can keep a demo from being shown."""

from __future__ import annotations

from medsdk_runtimes.errors import MedsdkError

WHOLE_DEMO_REMEDY = 'pip install "medsdk[torch,demo]"; on a device: medsdk demo --device-only'
"""What the whole demo lacks, whichever part is missing first."""


class DemoUnavailableError(MedsdkError):
    """Something that the demo shows is not installed."""

    code = "demo-unavailable"
    exit_status = 3


class DemoFailedError(MedsdkError):
    """The demo saw something that must not be."""

    code = "demo-failed"
    exit_status = 1


class DemoOutputError(MedsdkError):
    """The demo's output directory holds something else."""

    code = "demo-output"
    exit_status = 2
