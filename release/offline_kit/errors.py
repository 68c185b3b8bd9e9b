"""What can keep a kit from being made."""

from __future__ import annotations

from medsdk_runtimes.errors import MedsdkError


class KitNotMadeError(MedsdkError):
    """The kit cannot be made as it was asked for."""

    code = "kit-not-made"
    exit_status = 2


class WheelMissingError(MedsdkError):
    """A package has no wheel, or no known version, for one of the targets."""

    code = "wheel-missing"
    exit_status = 3
