"""Write `coco_average_precision.json`: random boxes and what COCO's own code makes of them.

    pip install pycocotools==2.0.11 numpy==2.4.6      (in an environment of its own)
    python tests/sdk/parity/coco_golden.py

No two scores are equal: of ties COCO takes the order of the pictures, and we do not.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

SETS = 12
LABELS = ("cyst", "hemangioma", "metastasis")


def random_set(generator: np.random.Generator) -> list[dict[str, Any]]:
    """Pictures with true boxes and boxes that were found: near, far, of another label."""
    pictures = []
    scores = iter(generator.permutation(np.linspace(0.01, 0.99, 400)).round(6).tolist())
    for _ in range(int(generator.integers(3, 12))):
        truth, found = [], []
        for _ in range(int(generator.integers(0, 5))):
            x, y, w, h = generator.uniform((0, 0, 10, 10), (200, 200, 80, 80))
            label = LABELS[int(generator.integers(len(LABELS)))]
            truth.append(([x, y, x + w, y + h], label))
            for _ in range(int(generator.integers(0, 4))):
                moved = np.array([x, y, x + w, y + h]) + generator.normal(0, w / 12, 4)
                if moved[2] > moved[0] and moved[3] > moved[1]:
                    other = LABELS[int(generator.integers(len(LABELS)))]
                    said = label if generator.random() < 0.85 else other
                    found.append((moved.tolist(), said, next(scores)))
        for _ in range(int(generator.integers(0, 3))):
            x, y, w, h = generator.uniform((0, 0, 10, 10), (200, 200, 80, 80))
            found.append(([x, y, x + w, y + h], LABELS[0], next(scores)))
        pictures.append({"truth": truth, "found": found})
    return pictures


def by_coco(pictures: list[dict[str, Any]]) -> tuple[float, float]:
    """Average precision at 0.5:0.95 and at 0.5, of all sizes."""
    coco, evaluation = (
        importlib.import_module(f"pycocotools.{name}") for name in ("coco", "cocoeval")
    )
    truth: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for image, picture in enumerate(pictures, 1):
        for corners, label in picture["truth"]:
            x0, y0, x1, y1 = corners
            truth.append(
                {
                    "id": len(truth) + 1,
                    "image_id": image,
                    "category_id": LABELS.index(label) + 1,
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": (x1 - x0) * (y1 - y0),
                    "iscrowd": 0,
                }
            )
        for corners, label, score in picture["found"]:
            x0, y0, x1, y1 = corners
            found.append(
                {
                    "image_id": image,
                    "category_id": LABELS.index(label) + 1,
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "score": score,
                }
            )
    with contextlib.redirect_stdout(io.StringIO()):
        annotations = coco.COCO()
        annotations.dataset = {
            "images": [{"id": image + 1} for image in range(len(pictures))],
            "categories": [{"id": number + 1, "name": name} for number, name in enumerate(LABELS)],
            "annotations": truth,
        }
        annotations.createIndex()
        run = evaluation.COCOeval(annotations, annotations.loadRes(found), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return float(run.stats[0]), float(run.stats[1])


def main() -> None:
    """Write the file beside this one."""
    generator = np.random.default_rng(5)
    sets = []
    for _ in range(SETS):
        pictures = random_set(generator)
        every, half = by_coco(pictures)
        sets.append({"pictures": pictures, "every": every, "half": half})
    path = Path(__file__).with_name("coco_average_precision.json")
    path.write_text(json.dumps({"code": "pycocotools 2.0.11", "sets": sets}) + "\n", "utf-8")


if __name__ == "__main__":
    main()
