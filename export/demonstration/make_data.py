"""Make what `medsdk demo --device-only` shows: a small bundle as one file, and a phantom clip.

    python export/demonstration/make_data.py --out sdk/medsdk/demonstration/data

The bundle is `liver-us/malignancy` with its reference weights; its known answers are small grey
frames, so that the file stays under 3 MB. The clip is 12 frames of a breathing phantom. Everything
is synthetic: not for clinical use. With the versions of constraints.txt and on one kind of
processor the same bytes come out again. Elsewhere float arithmetic moves the last digits: grey
levels by one, calibration ranges and stored differences by little.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count, islice
from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset

from medsdk.tasks import catalogue_task
from medsdk_export.build import ExportRequest, export_bundle
from medsdk_export.phantoms import to_dicom
from medsdk_export.phantoms.liver_us import Phantom, clip_at, frame_at
from medsdk_export.reference_weights import reference_weights

TASK = "liver-us/malignancy"
BUNDLE, CLIP, CLIP_FACTS = "liver-us-malignancy.medsdk", "clip.dcm", "clip.json"

EPOCH = "1795564800"
"""2026-11-25: the time in the bundle where SOURCE_DATE_EPOCH is not set."""

# No seed shares a patient with training, validation, held-out sets or the whole demo.
CALIBRATION = (48, 17_017)
CASES = (240, 18_018)
"""How many stills, and their seed. 240 cases let INT8 show one flip within its gate."""

SIDE = 144
"""Height and width of a still, in pixels."""

CLIP_SEED, CLIP_INDEX, CLIP_FRAMES, CLIP_FRAME_TIME_MS = 19_019, 138, 12, 70.0
CLIP_SIZE = (272, 288)
"""Rows and columns of the clip, in pixels."""


def cropped(phantom: Phantom, rows: int, columns: int) -> Phantom | None:
    """The part of a frame or clip around the operator's square, where it is grey throughout.

    Args:
        phantom: The whole frame or clip.
        rows: Height of the part, in pixels.
        columns: Its width.

    Returns:
        The part; None where the square does not fit, or the picture is tinted there.
    """
    left, top, right, bottom = phantom.region
    x0, y0, x1, y1 = phantom.roi
    if x1 - x0 > columns - 16 or y1 - y0 > rows - 16 or right - left < columns:
        return None
    x = min(max((x0 + x1 - columns) // 2, left), right - columns)
    y = min(max((y0 + y1 - rows) // 2, top), bottom - rows)
    pixels = phantom.pixels[..., y : y + rows, x : x + columns, :]
    if not (pixels == pixels[..., :1]).all():
        return None
    return replace(
        phantom,
        pixels=pixels,
        roi=(x0 - x, y0 - y, x1 - x, y1 - y),
        region=(0, 0, columns, rows),
        origin_px=(phantom.origin_px[0] - x, phantom.origin_px[1] - y),
    )


def grey_object(phantom: Phantom) -> FileDataset:
    """A grey phantom as a DICOM object of one sample a pixel.

    Args:
        phantom: A frame or clip whose three samples are equal everywhere.
    """
    dataset = to_dicom(phantom)
    del dataset.PlanarConfiguration
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    data = np.ascontiguousarray(phantom.pixels[..., 0]).tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset["PixelData"].VR = "OB"
    return dataset


def stills(amount: int, seed: int) -> Iterator[Phantom]:
    """Small grey stills of a seed, in order."""
    found = (cropped(frame_at(index, seed), SIDE, SIDE) for index in count())
    return islice((phantom for phantom in found if phantom is not None), amount)


def make_bundle(out: Path) -> None:
    """Export the bundle from phantoms, as one file."""
    with tempfile.TemporaryDirectory(prefix="medsdk-demo-data-") as name:
        folder = Path(name)
        _write_table(folder / "calibration", "rois.csv", CALIBRATION, labelled=False)
        _write_table(folder / "cases", "cases.csv", CASES, labelled=True)
        task = catalogue_task(TASK)
        export_bundle(
            ExportRequest(
                task=task,
                models={task.roles[0]: reference_weights(TASK)},
                calibration=folder / "calibration",
                out=out,
                cases=folder / "cases/cases.csv",
                known_answers=4,
                replace=True,
            )
        )


def make_clip(out: Path, facts: Path) -> None:
    """Write the clip, and the operator's square with the truth beside it."""
    whole = clip_at(
        CLIP_INDEX, CLIP_SEED, frame_count=CLIP_FRAMES, frame_time_ms=CLIP_FRAME_TIME_MS
    )
    clip = cropped(whole, *CLIP_SIZE)
    if clip is None:
        raise SystemExit("the clip of CLIP_SEED and CLIP_INDEX does not fit into CLIP_SIZE")
    grey_object(clip).save_as(out, enforce_file_format=True)
    truth = "malignant" if clip.malignant else "benign"
    text = json.dumps({"roi": clip.roi, "truth": truth}, sort_keys=True)
    facts.write_text(text + "\n", encoding="utf-8", newline="\n")


def _write_table(folder: Path, table: str, which: tuple[int, int], *, labelled: bool) -> None:
    folder.mkdir()
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("path", "truth", "patient", "stratum", "roi") if labelled else ("path", "roi"))
    for number, phantom in enumerate(stills(*which)):
        file = f"{number:04}.dcm"
        grey_object(phantom).save_as(folder / file, enforce_file_format=True)
        roi = ",".join(map(str, phantom.roi))
        truth = "malignant" if phantom.malignant else "benign"
        facts = (truth, phantom.patient, phantom.stratum) if labelled else ()
        rows.writerow((file, *facts, roi))
    (folder / table).write_text(text.getvalue(), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    """Make all three files."""
    parser = argparse.ArgumentParser(prog="make_data", description="See the module.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the three files")
    out: Path = parser.parse_args(arguments).out
    os.environ.setdefault("SOURCE_DATE_EPOCH", EPOCH)
    out.mkdir(parents=True, exist_ok=True)
    make_clip(out / CLIP, out / CLIP_FACTS)
    make_bundle(out / BUNDLE)


if __name__ == "__main__":
    main()
