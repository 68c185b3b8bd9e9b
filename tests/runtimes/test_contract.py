"""The base class keeps a session from returning what it does not declare."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from medsdk_runtimes import Effective, Session, TensorSpec
from medsdk_runtimes.errors import OutputMismatchError, SessionClosedError, TensorMismatchError

SPEC = TensorSpec("x", "float32", (1,))
ONE = np.ones(1, np.float32)


class Returning(Session):
    """Returns whatever it was made with."""

    def __init__(self, returned: Any) -> None:
        super().__init__((SPEC,), (SPEC,), Effective("r", "1", "CPU", "fp32", 1))
        self.returned = returned

    def _run(self, tensors: Any) -> Any:
        return self.returned

    def _close(self) -> None:
        pass


@pytest.mark.parametrize(
    "returned", [None, [ONE], ONE, {}, {"y": ONE}, {"x": [1.0]}, {1: ONE, "x": ONE}, {"x": ONE[:0]}]
)
def test_other_outputs_than_declared(returned):
    with pytest.raises(OutputMismatchError):
        Returning(returned).run({"x": ONE})


@pytest.mark.parametrize("given", [None, [ONE], ONE, {1: ONE}])
def test_other_inputs_than_declared(given):
    with pytest.raises(TensorMismatchError):
        Returning({"x": ONE}).run(given)
    assert Returning({"x": ONE}).run({"x": ONE})["x"] is ONE


class ClosedMeanwhile(Session):
    """Is closed while a call is under way, whose engine then fails."""

    def __init__(self, closes: bool) -> None:
        super().__init__((SPEC,), (SPEC,), Effective("r", "1", "CPU", "fp32", 1))
        self.closes = closes

    def _run(self, tensors: Any) -> Any:
        if self.closes:
            self.close()
        raise AttributeError("'NoneType' object has no attribute 'infer'")

    def _close(self) -> None:
        pass


def test_what_a_call_raises_after_close_is_that_it_is_closed():
    with pytest.raises(SessionClosedError) as caught:
        ClosedMeanwhile(closes=True).run({"x": ONE})
    assert isinstance(caught.value.__cause__, AttributeError)
    with pytest.raises(AttributeError):
        ClosedMeanwhile(closes=False).run({"x": ONE})
