"""Every kernel against the library that it names, on a thousand frames each."""

import os
import re
import subprocess
import sys

import numpy as np
import PIL
import pytest

from medsdk.pixels import kernels
from medsdk.pixels.errors import PixelInputRefusedError
from medsdk_export.kernel_oracles import KERNELS_OF, Case, cases_of, dtypes_of
from medsdk_export.prove_kernels import difference
from medsdk_export.reference_resize import not_defined_here, resize_by_library

FRAMES = 1000
HERE = [kernel for library in ("pillow", "opencv", "torch") for kernel in KERNELS_OF[library]]
FLOAT = ("torch.bilinear", "torch.bilinear.antialias", "tf.bilinear")


def _far(kernel: str, case: Case) -> list[str]:
    want = resize_by_library(kernel, case.image, case.height, case.width)
    allowed = 1e-6 if kernel in FLOAT else 0.0
    far = []
    for resize in (kernels.reference_resize, kernels.resize):
        share = difference(resize(kernel, case.image, case.height, case.width), want, case)
        if share > allowed:
            far.append(f"{resize.__name__}: {case}: {share:.2g}")
    return far


def _skip_unless_defined(kernel: str) -> None:
    if not_defined_here(kernel):
        pytest.skip(not_defined_here(kernel))


def test_every_kernel_of_the_schema_has_a_library():
    assert sorted(kernels.KERNELS) == sorted(sum(KERNELS_OF.values(), ()))


@pytest.mark.parametrize("kernel", HERE)
def test_a_thousand_frames_agree(kernel):
    _skip_unless_defined(kernel)
    far, count = [], 0
    for case in cases_of(kernel, FRAMES, seed=20240, largest=400):
        far += _far(kernel, case)
        count += 1
    assert count == FRAMES
    assert not far


SIZES = [
    ((480, 640), (416, 416)),
    ((480, 640), (224, 224)),
    ((512, 512), (224, 224)),
    ((512, 512), (256, 256)),
    ((640, 512), (224, 224)),
    ((700, 300), (224, 224)),
    ((300, 700), (224, 224)),
    ((100, 100), (500, 333)),
    ((513, 511), (512, 512)),
    ((300, 400), (100, 100)),
    ((700, 2), (2, 700)),
    ((2999, 3), (1500, 2)),  # OpenCV leaves out shares below a thousandth of a pixel
    ((3, 2999), (2, 1500)),
    ((1, 1), (3, 5)),
    ((700, 700), (2, 2)),
    ((65535, 2), (7, 3)),
    ((2, 65535), (5, 9)),
]


@pytest.mark.parametrize("kernel", HERE)
def test_whole_sizes_agree(kernel):
    _skip_unless_defined(kernel)
    rng = np.random.default_rng(7)
    far = []
    for dtype in dtypes_of(kernel):
        for before, (height, width) in SIZES:
            for shape in (before, (*before, 3)):
                noise = (rng.random(shape) * 255.99).astype(dtype)
                far += _far(kernel, Case(noise, height, width))
    assert not far


def test_tensorflow_agrees_to_the_bit():
    """In a process of its own: its import takes seconds, prints, and starts threads."""
    module = "medsdk_export.prove_kernels"
    run = subprocess.run(
        [sys.executable, "-m", module, "tensorflow", "--frames", str(FRAMES)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    line = re.search(r"tf\.bilinear: (\d+) frames, (\d+) equal to the bit", run.stdout)
    assert line, run.stdout + run.stderr[-2000:]
    assert int(line[1]) >= FRAMES
    assert line[1] == line[2]
    assert run.returncode == 0


@pytest.mark.parametrize("bilinear", ["pil.bilinear", "pil.bicubic"])
def test_pillow_12_and_13_order_the_passes_differently(bilinear):
    """So that the comparisons above cannot pass with one order for both."""
    if int(PIL.__version__.split(".")[0]) < 13:
        pytest.skip("the rule is that of Pillow 13")
    image = np.random.default_rng(3).integers(0, 256, (640, 480), dtype=np.uint8)
    first = resize_by_library(f"{bilinear}.hv", image, 416, 416)
    second = resize_by_library(f"{bilinear}.auto13", image, 416, 416)
    assert 0.1 < (first != second).mean() < 0.4


def test_torch_repeats_a_row_of_a_single_column_and_we_refuse():
    image = np.arange(12, dtype=np.float32).reshape(6, 2)
    wrong = resize_by_library("torch.bilinear.antialias", image, 3, 1)
    assert np.unique(wrong).size == 1
    with pytest.raises(PixelInputRefusedError, match="single column"):
        kernels.resize("torch.bilinear.antialias", image, 3, 1)
    right = resize_by_library("torch.bilinear.antialias", image, 6, 1)
    assert np.array_equal(kernels.resize("torch.bilinear.antialias", image, 6, 1), right)


def test_torch_s_own_path_for_8_bits_is_not_meant():
    import torch

    image = np.random.default_rng(3).integers(0, 256, (48, 64), dtype=np.uint8)
    own = torch.nn.functional.interpolate(
        torch.from_numpy(image)[None, None], size=(24, 31), mode="bilinear"
    )
    assert own.dtype == torch.uint8
    got = kernels.resize("torch.bilinear", image, 24, 31)
    assert got.dtype == np.float32
    assert (got != np.rint(got)).any()
