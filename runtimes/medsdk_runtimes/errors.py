"""The root of every error that medsdk raises, and the errors of the runtimes.

::

    MedsdkError
    ├── RuntimeUnavailableError   3  a runtime is not installed or does not load
    ├── DeviceUnavailableError    3  the runtime is here, the asked device is not
    ├── SettingRefusedError       2  a setting this runtime cannot honour
    ├── PrecisionMismatchError    1  the graph runs in another precision than asked
    ├── GraphRefusedError         4  the bytes are no graph that medsdk will open
    │   └── QuantizationRefusedError 4  quantized in another way than TensorRT takes
    ├── TensorMismatchError       2  names, dtypes or shapes of a call are wrong
    ├── OutputMismatchError       1  a runtime returned other outputs than it declared
    ├── SessionClosedError        2  a session was used after `close()`
    ├── ForkedProcessError        2  a session was used in a forked child
    └── InferenceFailedError      1  the runtime itself raised while it ran

The number is the exit status of the command line (see `docs/conventions.md`).
The SDK's own errors hang below the same root in `medsdk.errors`.
"""

from __future__ import annotations

from typing import ClassVar, Self


class MedsdkError(Exception):
    """What went wrong, what was found, what was expected, and what to do.

    Attributes:
        code: Stable public name of the class of error, for programs.
        exit_status: What the command line exits with.
        what: One sentence: what could not be done.
        got: What was found.
        expected: What would have been right.
        remedy: What the reader can do now.
    """

    code: ClassVar[str] = "medsdk-error"
    exit_status: ClassVar[int] = 1

    def __init__(self, what: str, *, got: str = "", expected: str = "", remedy: str = "") -> None:
        self.what = what
        self.got = got
        self.expected = expected
        self.remedy = remedy
        super().__init__(what)

    def __str__(self) -> str:
        parts = [self.what]
        for name in ("got", "expected", "remedy"):
            value = getattr(self, name)
            if value:
                parts.append(f"{name}: {value}")
        return "; ".join(parts)

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.what, self.got, self.expected, self.remedy))


def _rebuild(
    kind: type[MedsdkError], what: str, got: str, expected: str, remedy: str
) -> MedsdkError:
    return kind(what, got=got, expected=expected, remedy=remedy)


class RuntimeUnavailableError(MedsdkError):
    """A runtime is not installed, or its library does not load."""

    code = "runtime-unavailable"
    exit_status = 3

    @classmethod
    def missing(cls, runtime: str, extra: str, available: tuple[str, ...], detail: str) -> Self:
        """The package behind `runtime` cannot be imported.

        Args:
            runtime: Name that was asked for.
            extra: The extra of medsdk that installs it.
            available: Names of the runtimes that are here.
            detail: What the import said.
        """
        return cls(
            f"the runtime {runtime!r} is not available on this machine",
            got=detail,
            expected=f"one of {', '.join(available) or 'none is installed'}",
            remedy=f'pip install "medsdk[{extra}]"',
        )

    @classmethod
    def unknown(cls, runtime: str, available: tuple[str, ...]) -> Self:
        """No runtime of that name is known."""
        return cls(
            "there is no runtime of that name",
            got=repr(runtime),
            expected=f"one of {', '.join(available) or '(none is installed)'}",
            remedy="`medsdk doctor` lists what this machine has",
        )


class DeviceUnavailableError(MedsdkError):
    """The runtime is here, the device that was asked for is not."""

    code = "device-unavailable"
    exit_status = 3

    @classmethod
    def missing(cls, runtime: str, device: str, available: tuple[str, ...]) -> Self:
        """`device` is not among the devices of `runtime`."""
        return cls(
            f"{runtime} has no device {device!r} here",
            got=repr(device),
            expected=f"one of {', '.join(available) or '(none)'}",
            remedy="`medsdk doctor` lists the devices; nothing is moved to another one quietly",
        )


class SettingRefusedError(MedsdkError):
    """A setting that the runtime cannot honour as asked."""

    code = "setting-refused"
    exit_status = 2


class PrecisionMismatchError(MedsdkError):
    """The executed graph runs in another precision than was asked for."""

    code = "precision-mismatch"
    exit_status = 1


class GraphRefusedError(MedsdkError):
    """The bytes are no graph that medsdk opens."""

    code = "graph-refused"
    exit_status = 4


class QuantizationRefusedError(GraphRefusedError):
    """A graph is not quantized as TensorRT takes it."""

    code = "quantization-refused"

    @classmethod
    def of(cls, what: str, first: str, others: int) -> Self:
        """A graph broke the rules of `medsdk_runtimes.symmetric_int8`.

        Args:
            what: What the graph is called.
            first: The first fault, with the node's name.
            others: How many more there are.
        """
        more = f", and {others} more" if others else ""
        return cls(
            f"{what} is not quantized as TensorRT takes it",
            got=f"{first}{more}",
            expected="int8 only, symmetric, zero points zero, bias in float",
            remedy="take the bundle's int8-gpu, or export the network again",
        )


class TensorMismatchError(MedsdkError):
    """Names, dtypes or shapes of the tensors of a call are wrong."""

    code = "tensor-mismatch"
    exit_status = 2


class OutputMismatchError(MedsdkError):
    """A runtime returned other outputs than its session declares."""

    code = "output-mismatch"
    exit_status = 1


class SessionClosedError(MedsdkError):
    """A session was used after `close()`."""

    code = "session-closed"
    exit_status = 2


class ForkedProcessError(MedsdkError):
    """A session was used in a process forked from the one that opened it."""

    code = "forked-process"
    exit_status = 2


class InferenceFailedError(MedsdkError):
    """The runtime itself raised while it ran or compiled a graph."""

    code = "inference-failed"
    exit_status = 1
