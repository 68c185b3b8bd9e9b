"""Weights of the reference networks, trained on synthetic phantoms: not for clinical use.

Each is made by a script in `export/training/`, which reaches the metrics in the JSON file beside
the weights again.
"""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).parent


def reference_weights(task_id: str) -> Path:
    """Where the reference weights of a task are.

    Args:
        task_id: For instance `uterus-mr/tumor-filter`.

    Returns:
        A `.safetensors` file.

    Raises:
        KeyError: There are none for that task.
    """
    path = _HERE / f"{task_id}.safetensors"
    if not path.is_file():
        raise KeyError(task_id)
    return path
