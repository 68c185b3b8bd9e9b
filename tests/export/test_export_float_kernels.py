"""A bundle whose reference tensors come from torch: near enough passes, further away does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medsdk.bundle import Bundle
from medsdk.parity.verification import verify
from medsdk.pixels.contract import Prepared, Preprocessor
from medsdk.tasks import Task
from medsdk_export.build import export_bundle
from medsdk_export.errors import ReferenceMismatchError
from medsdk_export.reference_resize import not_defined_here

KERNEL = "torch.bilinear"
STD = 0.225  # of the third channel


@pytest.fixture
def task(make_task: Callable[..., Task]) -> Task:
    if not_defined_here(KERNEL):
        pytest.skip(not_defined_here(KERNEL))
    return make_task(("pil.bilinear.hv", KERNEL))


def _shift(monkeypatch: pytest.MonkeyPatch, factor: float) -> None:
    """One value of every tensor moves by a multiple of the bound."""
    good = Preprocessor.prepare

    def off(self: Preprocessor, *arguments: Any, **options: Any) -> Prepared:
        prepared = good(self, *arguments, **options)
        tensor = prepared.tensor.copy()
        tensor[0, 2, 5, 7] += np.float32(factor * 1e-6 / STD)
        return Prepared(**{**vars(prepared), "tensor": tensor})

    monkeypatch.setattr(Preprocessor, "prepare", off)


def test_the_tensors_are_torch_s_and_a_shift_is_seen_beyond_the_bound(
    few: Any, task: Task, tmp_path: Path, only_onnxruntime: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "bundle"
    export_bundle(few.request(out, task=task))
    bundle = Bundle.open(out)
    for factor, verdict in ((0.5, "pass"), (-0.5, "pass"), (2.0, "fail")):
        with monkeypatch.context() as patch:
            _shift(patch, factor)
            found = verify(bundle, ("onnxruntime",))
        assert found.verdict == verdict
        for candidate in found.candidates:
            assert all(" preprocess: " in f" {reason}" for reason in candidate.reasons)
            assert all("allowed" in reason for reason in candidate.reasons)


def test_a_shift_beyond_the_bound_is_no_bundle(
    few: Any, task: Task, tmp_path: Path, only_onnxruntime: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    _shift(monkeypatch, 2.0)
    with pytest.raises(ReferenceMismatchError, match="does not reproduce the named library"):
        export_bundle(few.request(tmp_path / "bundle", task=task))
