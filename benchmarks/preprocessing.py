"""Preprocessing of a 640x480 colour frame to 224x224 on one thread, for every resize kernel.

    python benchmarks/preprocessing.py [--turns N]

Prints two Markdown tables: from the frame to the network's tensor, and the resize alone. "Library"
is what a user writes with the library that the kernel is named after: its resize, then numpy's
`(x / 255 - mean) / std` and a transpose. "Here" is `Preprocessor.prepare`, "numpy" the same with
no library trusted. Milliseconds are of the fastest turn, which other work on the machine disturbs
least; ratios are medians over interleaved turns. Exit status 1: numpy over 10 ms, or a kernel that
its library computes over 1.1 times what the user's steps take.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
from interleaved import by_turns
from numpy.typing import NDArray

from medsdk.pixels import Frame, Preprocessor, kernels
from medsdk.pixels.kernels import _proved
from medsdk.tasks.pixel_contract import PixelContract
from medsdk_runtimes.machine import identify

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)
SIDE = 224
NUMPY_LIMIT_MS = 10.0
RATIO_LIMIT = 1.1
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1") | {
    "TF_CPP_MIN_LOG_LEVEL": "3"
}


def contract_of(kernel: str) -> PixelContract:
    """8-bit colour frames as they are, stretched, ImageNet's normalisation."""
    return PixelContract.model_validate(
        {
            "values": "stored",
            "intensity": {"kind": "as-is"},
            "working": "uint8",
            "monochrome1": "refuse",
            "crop": {"kind": "none"},
            "fit": "stretch",
            "resize": {"kernel": kernel, "height": SIDE, "width": SIDE},
            "channels": {"order": "rgb"},
            "normalisation": {
                "divide_by": 255.0,
                "mean": tuple(MEAN.tolist()),
                "std": tuple(STD.tolist()),
            },
        }
    )


def library_resize(kernel: str, frame: NDArray[np.uint8]) -> Callable[[], NDArray[Any]]:
    """The library's call alone; for torch and TensorFlow with the conversion to float32."""
    from PIL import Image

    if kernel.startswith("pil."):
        # This frame goes horizontally first in both rules, so one call is either of them.
        how = Image.Resampling[kernel.split(".")[1].upper()]
        return lambda: np.asarray(Image.fromarray(frame).resize((SIDE, SIDE), how))
    if kernel.startswith("opencv."):
        flag = getattr(cv2, f"INTER_{kernel.split('.')[1].upper()}")
        return lambda: np.asarray(cv2.resize(frame, (SIDE, SIDE), interpolation=flag))
    if kernel.startswith("torch."):
        import torch

        antialias = kernel.endswith("antialias")

        def by_torch() -> NDArray[Any]:
            planes = torch.from_numpy(frame).permute(2, 0, 1)[None].float()
            resized = torch.nn.functional.interpolate(
                planes, size=(SIDE, SIDE), mode="bilinear", antialias=antialias
            )
            return np.asarray(resized[0].permute(1, 2, 0).numpy())

        return by_torch
    import tensorflow as tf

    return lambda: np.asarray(tf.image.resize(frame, (SIDE, SIDE)))


def library_steps(resize: Callable[[], NDArray[Any]]) -> NDArray[np.float32]:
    """The resize, then what a user writes in numpy."""
    x = (resize().astype(np.float32) / np.float32(255) - MEAN) / STD
    return np.ascontiguousarray(x.transpose(2, 0, 1)[np.newaxis])


@contextmanager
def nothing_trusted() -> Iterator[None]:
    """No library is proved, so that numpy does the work."""
    proved = dict(_proved.PROVED)
    _proved.PROVED.update(dict.fromkeys(proved, _proved.Proved((), ())))
    try:
        yield
    finally:
        _proved.PROVED.update(proved)


def measure(kernel: str, frame: NDArray[np.uint8], turns: int) -> tuple[str, str, bool]:
    """One row of each table, and whether the limits hold."""
    preprocessor = Preprocessor(contract_of(kernel))
    source = Frame(frame, color="RGB")
    resize = library_resize(kernel, frame)
    want = library_steps(resize)
    if preprocessor.disagreement(preprocessor.prepare(source).tensor, want) is not None:
        raise SystemExit(f"{kernel} does not reproduce its library here")

    def in_numpy() -> None:
        with nothing_trusted():
            preprocessor.prepare(source)

    timings = by_turns(
        {
            "library": lambda: library_steps(resize),
            "here": lambda: preprocessor.prepare(source),
            "numpy": in_numpy,
            "library resize": resize,
            "resize": lambda: kernels.resize(kernel, frame, SIDE, SIDE),
            "numpy resize": lambda: kernels.reference_resize(kernel, frame, SIDE, SIDE),
        },
        turns,
    )
    ratio = timings.ratio("here", "library")
    whole = (
        f"| `{kernel}` | {preprocessor.implementation} | {timings.fastest_ms('library'):.2f} "
        f"| {timings.fastest_ms('here'):.2f} | {ratio:.2f} | {timings.fastest_ms('numpy'):.2f} |"
    )
    alone = (
        f"| `{kernel}` | {timings.fastest_ms('library resize'):.3f} "
        f"| {timings.fastest_ms('resize'):.3f} | {timings.ratio('resize', 'library resize'):.2f} "
        f"| {timings.fastest_ms('numpy resize'):.3f} |"
    )
    quick = ratio <= RATIO_LIMIT or preprocessor.implementation == "numpy"
    return whole, alone, quick and timings.fastest_ms("numpy") < NUMPY_LIMIT_MS


def main() -> int:
    """Print the tables; 1 if a limit is passed."""
    parser = argparse.ArgumentParser(description="Preprocessing against the libraries.")
    parser.add_argument("--turns", type=int, default=100)
    options = parser.parse_args()
    if ONE_THREAD.items() - os.environ.items():  # read when the libraries are loaded
        return subprocess.call([sys.executable, *sys.argv], env=os.environ | ONE_THREAD)
    import tensorflow as tf
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    speckle = np.random.default_rng(0).rayleigh(60.0, (480, 640, 3))
    frame = np.minimum(speckle, 255).astype(np.uint8)
    rows = [measure(kernel, frame, options.turns) for kernel in kernels.KERNELS]
    print(f"{identify().cpu_model}; one thread, {options.turns} turns, ms\n")
    print("| frame to tensor | computed by | library | here | ratio | numpy |")
    print("|---|---|---|---|---|---|")
    for whole, _, _ in rows:
        print(whole)
    print("\n| resize alone | library | here | ratio | numpy |")
    print("|---|---|---|---|---|")
    for _, alone, _ in rows:
        print(alone)
    return int(not all(good for _, _, good in rows))


if __name__ == "__main__":
    raise SystemExit(main())
