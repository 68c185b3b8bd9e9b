"""Compare a library with the reference of its kernels, in numpy.

::

    python -m medsdk_export.prove_kernels opencv
    python -m medsdk_export.prove_kernels pillow --frames 5000 --seed 7

It prints a line for each kernel and exits with 1 if one differs. A version belongs into
`medsdk/pixels/kernels/_proved.py` after it passed, on a machine of that kind. OpenCV takes turns
with one and two threads; its variables OPENCV_CPU_DISABLE and OPENCV_IPP, and torch's
ATEN_CPU_CAPABILITY, choose other code of the same version.
"""

from __future__ import annotations

import argparse
import importlib
import platform
import sys
from collections.abc import Iterator

import numpy as np

from medsdk.pixels import kernels
from medsdk_export.kernel_oracles import (
    KERNELS_OF,
    Case,
    Image,
    cases_of,
    dtypes_of,
)
from medsdk_export.reference_resize import not_defined_here, resize_by_library

_MODULES = {"pillow": "PIL", "opencv": "cv2", "torch": "torch", "tensorflow": "tensorflow"}


def main(arguments: list[str] | None = None) -> int:
    """Run it; the exit status."""
    parser = argparse.ArgumentParser(description="Compare a library with its kernels' reference.")
    parser.add_argument("library", choices=KERNELS_OF)
    parser.add_argument("--frames", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    module = importlib.import_module(_MODULES[options.library])
    _say(
        f"{options.library} {module.__version__}, numpy {np.__version__}, "
        f"{platform.system()} {platform.machine()}"
    )
    failed = False
    for kernel in KERNELS_OF[options.library]:
        reason = not_defined_here(kernel)
        if reason:
            _say(f"  {kernel}: not compared: {reason}")
            continue
        frames, different, worst = compare(kernel, options.frames, options.seed)
        allowed = kernels.FLOAT_BOUND if _is_float(kernel) else 0.0
        failed |= worst > allowed
        _say(
            f"  {kernel}: {frames} frames, {frames - different} equal to the bit, "
            f"worst {worst:.2g} of the value range: {'DIFFERENT' if worst > allowed else 'agrees'}"
        )
    return int(failed)


def compare(kernel: str, frames: int, seed: int) -> tuple[int, int, float]:
    """Compare a kernel's reference with its library.

    Args:
        kernel: Its name.
        frames: How many fuzzed frames.
        seed: Of the fuzzing.

    Returns:
        How many frames were compared, how many were not equal to the bit, and the largest
        difference as a share of the value range; infinity for another shape or dtype.
    """
    different, worst, done = 0, 0.0, 0
    for case in _cases(kernel, frames, seed):
        done += 1
        if kernel.startswith("opencv."):
            _opencv_threads(1 + done % 2)
        got = kernels.reference_resize(kernel, case.image, case.height, case.width)
        want = resize_by_library(kernel, case.image, case.height, case.width)
        share = difference(got, want, case)
        different += share > 0
        worst = max(worst, share)
    return done, different, worst


def _opencv_threads(count: int) -> None:
    import cv2

    cv2.setNumThreads(count)


def difference(got: Image, want: Image, case: Case) -> float:
    """Largest difference as a share of the value range.

    The range is 255 or 65535 for integers, the largest absolute value of a float image.
    """
    if got.shape != want.shape or got.dtype != want.dtype:
        return float("inf")
    dtype = case.image.dtype
    top = float(np.abs(case.image).max()) if dtype.kind == "f" else float(np.iinfo(dtype).max)
    gap = np.abs(got.astype(np.float64) - want.astype(np.float64)).max()
    return float(gap) / (top or 1.0)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


def _is_float(kernel: str) -> bool:
    return kernels.result_dtype(kernel, "uint8") == "float32"


def _cases(kernel: str, frames: int, seed: int) -> Iterator[Case]:
    yield from cases_of(kernel, frames, seed)
    rng = np.random.default_rng(seed)
    for dtype in dtypes_of(kernel):
        noise = rng.random((1203, 1601, 3)) * 255
        for image in (noise, noise[:, :, 0], noise[:600, :800, 0]):
            yield Case(image.astype(dtype), 901, 1205)
            yield Case(image.astype(dtype), 300, 400)


if __name__ == "__main__":
    sys.exit(main())
