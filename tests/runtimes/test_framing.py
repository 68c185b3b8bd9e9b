"""Errors that travel from a child process to its parent."""

from __future__ import annotations

import pytest

from medsdk_runtimes import errors, framing
from medsdk_runtimes.errors import DeviceUnavailableError, InferenceFailedError


def test_an_error_arrives_as_it_left() -> None:
    sent = DeviceUnavailableError("no device", got="GPU", expected="CPU", remedy="take it")
    with pytest.raises(DeviceUnavailableError) as caught:
        framing.raise_error(framing.error_header(sent), errors, InferenceFailedError)
    assert str(caught.value) == str(sent)
    framing.raise_error({"outputs": []}, errors, InferenceFailedError)  # no error, nothing raised


@pytest.mark.parametrize("name", ["NoSuchError", "annotations", "Self", "__doc__"])
def test_a_name_that_is_no_error_of_ours_is_never_called(name: str) -> None:
    header = framing.error_header(InferenceFailedError("it failed")) | {"error": name}
    with pytest.raises(InferenceFailedError, match="it failed"):
        framing.raise_error(header, errors, InferenceFailedError)
