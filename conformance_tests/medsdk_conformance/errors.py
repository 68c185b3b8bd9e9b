"""The kit's own errors."""

from __future__ import annotations

from importlib.util import find_spec

from medsdk_runtimes.errors import MedsdkError


class ConformanceUnavailableError(MedsdkError):
    """The package that builds the kit's graphs is not installed."""

    code = "conformance-unavailable"
    exit_status = 3


def require_onnx() -> None:
    """Raise unless the package `onnx` is here.

    Raises:
        ConformanceUnavailableError: It is not.
    """
    if find_spec("onnx") is None:
        raise ConformanceUnavailableError(
            "the conformance kit builds its graphs with the package onnx, which is not here",
            got="no module onnx",
            expected="onnx 1.21 or newer",
            remedy='pip install "medsdk[conformance]"',
        )
