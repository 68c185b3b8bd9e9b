"""The SDK's own errors about tasks, bundles, engines and outputs (tree: `medsdk.errors`)."""

from __future__ import annotations

import errno
import reprlib
from collections.abc import Sequence
from typing import Self

from medsdk_runtimes.errors import MedsdkError


def shown(value: object, most: int = 80) -> str:
    """What an error may show of something that was read: on one line, nothing live, and clipped.

    Args:
        value: Text or another value of a document.
        most: About how many characters of a text.

    Returns:
        Its `repr`, without the middle where it is long; about six items of a list or dict.
    """
    clip = reprlib.Repr()
    clip.maxstring = clip.maxother = clip.maxlong = most
    return clip.repr(value)


class FormatVersionError(MedsdkError):
    """A document is of a format version that this release does not read."""

    code = "format-version"
    exit_status = 4


class TaskInvalidError(MedsdkError):
    """A task file does not say what a task must say."""

    code = "task-invalid"
    exit_status = 2


class UndecidableGateError(MedsdkError):
    """No number of cases can decide a gate of the task."""

    code = "undecidable-gate"
    exit_status = 2

    @classmethod
    def gate(cls, name: str, *, got: str, expected: str, remedy: str) -> Self:
        """Which gate, and why.

        Args:
            name: Dotted key of the task file.
            got: What makes it undecidable.
            expected: What could be decided.
            remedy: What to change in the task file.
        """
        return cls(
            f"no number of cases can decide {name}", got=got, expected=expected, remedy=remedy
        )


class GatesChangedError(MedsdkError):
    """The gates of a task changed and its version did not."""

    code = "gates-changed"
    exit_status = 2

    @classmethod
    def within(cls, task: str, version: str, changes: Sequence[str]) -> Self:
        """Which gates, with the old and the new value.

        Args:
            task: The task's id.
            version: The version that both have.
            changes: `gate: old -> new`, one a gate.
        """
        return cls(
            f"the gates of {task} changed and its version is {version} still",
            got="; ".join(changes),
            expected="one set of gates for one version",
            remedy="raise `version` in the task file, or give the gates their earlier values",
        )


class TaskUnknownError(MedsdkError):
    """The catalogue has no task of that id."""

    code = "task-unknown"
    exit_status = 2


class TaskUnsupportedError(MedsdkError):
    """A valid task that this release does not run yet."""

    code = "task-unsupported"
    exit_status = 2


class BundleUnreadableError(MedsdkError):
    """There is no bundle there, or what is there is malformed."""

    code = "bundle-unreadable"
    exit_status = 4


class BundleTamperedError(MedsdkError):
    """The bundle's contents differ from its digests."""

    code = "bundle-tampered"
    exit_status = 1


class BundleFormError(MedsdkError):
    """The bundle is a good one, but not in the form that was asked for, or cannot be."""

    code = "bundle-form"
    exit_status = 2


class KnownAnswerFailedError(MedsdkError):
    """This machine does not reproduce the bundle's known answers."""

    code = "known-answer-failed"
    exit_status = 1


class VariantUnavailableError(MedsdkError):
    """The bundle has no such variant that can run as asked."""

    code = "variant-unavailable"
    exit_status = 2


class OutputNotWritableError(MedsdkError):
    """A result cannot be written where it was asked for."""

    code = "output-not-writable"
    exit_status = 3

    @classmethod
    def from_os(cls, what: str, error: Exception) -> Self:
        """What the operating system said, without the path.

        Args:
            what: What was being written.
            error: The system's error, or what Python raises of a path that cannot be.
        """
        remedy = {
            errno.ENOSPC: "free some space or choose another place",
            errno.EROFS: "choose a place that can be written",
            errno.EACCES: "choose a place that can be written",
        }.get(getattr(error, "errno", None) or 0, "choose another place")
        fallback = "a path that cannot be" if not isinstance(error, OSError) else "an error"
        return cls(
            f"{what} cannot be written",
            got=getattr(error, "strerror", None) or fallback,
            expected="a directory with room that this user may write to",
            remedy=remedy,
        )

    @classmethod
    def standard_output(cls, error: OSError) -> Self:
        """The answer itself cannot be written.

        Args:
            error: The system's error.
        """
        return cls(
            "standard output cannot be written",
            got=error.strerror or type(error).__name__,
            expected="a place with room for the answer",
            remedy="send standard output elsewhere",
        )


class ReportFolderError(MedsdkError):
    """The folder for a report is there already, or holds something else."""

    code = "report-folder"
    exit_status = 2

    @classmethod
    def foreign(cls) -> Self:
        """It holds what no report wrote."""
        return cls(
            "the folder for the report holds something else",
            got="files that no report wrote",
            expected="a new folder, or one of an earlier report",
            remedy="choose another folder: --report, in Python `folder`",
        )

    @classmethod
    def earlier(cls) -> Self:
        """It holds an earlier report, which was not to be replaced."""
        return cls(
            "the folder for the report holds an earlier one",
            got="a report",
            expected="a new folder",
            remedy="choose another folder, or let it be replaced: in Python `replace=True`",
        )
