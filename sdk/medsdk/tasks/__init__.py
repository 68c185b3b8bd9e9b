"""Tasks: clinical questions as data."""

from medsdk._refusals import FormatVersionError, TaskInvalidError, TaskUnknownError
from medsdk.tasks.loading import (
    catalogue,
    catalogue_task,
    catalogue_text,
    read_task,
    task_from_document,
)
from medsdk.tasks.schema import NOTICE, Network, Task

__all__ = [
    "NOTICE",
    "FormatVersionError",
    "Network",
    "Task",
    "TaskInvalidError",
    "TaskUnknownError",
    "catalogue",
    "catalogue_task",
    "catalogue_text",
    "read_task",
    "task_from_document",
]
