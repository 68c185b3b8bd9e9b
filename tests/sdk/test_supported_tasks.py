"""What validates but does not run yet is refused, never passed over."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from medsdk.errors import PixelInputRefusedError, TaskUnsupportedError
from medsdk.pipeline import supported_role
from medsdk.pixels import Preprocessor
from medsdk.tasks import Task, catalogue_task

Change = Callable[[dict[str, Any]], object]


def changed(change: Change) -> Task:
    document = catalogue_task("uterus-mr/tumor-filter").model_dump(mode="json")
    change(document)
    return Task.model_validate_json(json.dumps(document))


def test_the_catalogue_runs() -> None:
    assert supported_role(catalogue_task("uterus-mr/tumor-filter"))[0] == "filter"


@pytest.mark.parametrize(
    ("named", "change"),
    [
        ("contrast_agent", lambda d: d["input"].update(contrast_agent="required")),
        ("slices", lambda d: d["input"].update(kind="series", slices="operator-range")),
        (
            "presentation_intent",
            lambda d: d["input"].update(presentation_intent="for-presentation"),
        ),
        ("series", lambda d: d["input"].update(kind="series")),
    ],
)
def test_what_does_not_run_is_named(named: str, change: Change) -> None:
    with pytest.raises(TaskUnsupportedError, match=named):
        supported_role(changed(change))


def test_laterality_is_refused_before_an_image_is_not_mirrored() -> None:
    task = changed(lambda d: d["networks"]["filter"]["pixels"].update(laterality="flip-right"))
    with pytest.raises(PixelInputRefusedError, match="laterality"):
        Preprocessor(task.networks["filter"].pixels)
