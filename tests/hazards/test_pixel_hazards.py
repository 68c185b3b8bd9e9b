"""Resizes and decoders by themselves."""

from __future__ import annotations

import contextlib
import io
import struct
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFile

from tests.hazards.processes import other_environment, run_python

BILINEAR = Image.Resampling.BILINEAR
RNG_SEED = 20
BENCHMARKS = Path(__file__).parent.parent.parent / "benchmarks"  # has `jpeg_writing`


def _speckle(height: int, width: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(RNG_SEED)
    return np.clip(rng.rayleigh(40, (height, width)), 0, 255).astype(np.uint8)


@pytest.mark.hazard("opencv-is-not-pillow")
def test_two_bilinear_resizes_are_not_the_same(reproduces):
    image = _speckle(512, 640)
    pillow = np.asarray(Image.fromarray(image).resize((224, 224), BILINEAR)).astype(int)
    opencv = cv2.resize(image, (224, 224), interpolation=cv2.INTER_LINEAR).astype(int)
    far = np.abs(pillow - opencv)
    reproduces(far.max() > 10, f"mean {far.mean():.1f}, largest {far.max()} grey levels apart")


@pytest.mark.hazard("pillow-pass-order")
def test_the_order_of_the_passes_follows_the_shape(reproduces):
    """Each order is written out; both are Pillow's own resize, one direction at a time."""
    followed = []
    for height, width in ((480, 640), (640, 480)):
        image = Image.fromarray(_speckle(height, width))
        whole = np.asarray(image.resize((416, 416), BILINEAR))
        rows_first = image.resize((416, height), BILINEAR).resize((416, 416), BILINEAR)
        followed.append(np.array_equal(whole, np.asarray(rows_first)))
    reproduces(followed == [True, False], f"rows first at 480 x 640, 640 x 480: {followed}")


_RESIZED = """
import sys
from PIL import Image
image = Image.frombytes("L", (480, 640), open(sys.argv[1], "rb").read())
open(sys.argv[2], "wb").write(image.resize((416, 416), Image.Resampling.BILINEAR).tobytes())
"""


@pytest.mark.slow
@pytest.mark.hazard("pillow-12-against-13")
def test_pillow_12_gives_other_pixels(reproduces, record, tmp_path):
    python = other_environment(tmp_path / "venv", "Pillow==12.3.0")
    image = _speckle(640, 480)
    (tmp_path / "image").write_bytes(image.tobytes())
    found = []
    for interpreter in (None, python):
        out = tmp_path / "out"
        # -I: without this process's module path, which has this environment's Pillow.
        command = [*(interpreter or [sys.executable]), "-I"]
        done = run_python(_RESIZED, str(tmp_path / "image"), str(out), interpreter=command)
        assert done.returncode == 0, done.stderr
        found.append(np.frombuffer(out.read_bytes(), np.uint8).astype(int))
    far = np.abs(found[0] - found[1])
    evidence = f"{(far > 0).mean():.1%} of pixels differ from 12.3.0, by at most {far.max()}"
    reproduces(0.1 < (far > 0).mean() < 0.4 and far.max() == 1, evidence)


_INEXACT = """
import sys
import cv2
import numpy as np
image = np.random.default_rng(20).integers(0, 256, (480, 640), dtype=np.uint8)
exact = cv2.resize(image, (416, 416))
cv2.ipp.setUseIPP_NotExact(True)
print((cv2.resize(image, (416, 416)) != exact).mean())
"""


@pytest.mark.hazard("opencv-inexact-ipp")
def test_a_setting_of_the_process_changes_pixels(reproduces):
    if not cv2.ipp.useIPP():
        pytest.skip("this OpenCV has no IPP")
    done = run_python(_INEXACT)
    assert done.returncode == 0, done.stderr
    share = float(done.stdout)
    reproduces(share > 0.01, f"{share:.1%} of pixels change")


@pytest.mark.hazard("pillow-half-frames")
def test_a_setting_of_the_process_makes_a_frame_of_half_a_frame(reproduces, monkeypatch):
    stream = io.BytesIO()
    Image.fromarray(_speckle(256, 256)).save(stream, "JPEG")
    half_of_it = stream.getvalue()[: stream.tell() // 2]
    with pytest.raises(OSError, match="truncated"):
        Image.open(io.BytesIO(half_of_it)).load()
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    half = np.asarray(Image.open(io.BytesIO(half_of_it)))
    reproduces(half.shape == (256, 256), "half a JPEG came out whole")


@pytest.mark.hazard("torch-single-column")
def test_torch_repeats_the_first_row_of_a_single_column(reproduces):
    import torch

    image = torch.arange(12, dtype=torch.float32).reshape(1, 1, 6, 2)
    column = torch.nn.functional.interpolate(image, (3, 1), mode="bilinear", antialias=True)
    values = column.flatten().tolist()
    reproduces(len(set(values)) == 1, f"a ramp of six rows becomes {values}")


_GDCM = """
import sys
sys.path.insert(0, sys.argv[1])
import gdcm, jpeg_writing
import numpy as np
plane = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64) % 251
data = bytearray(jpeg_writing.lossless([plane], 8, 1))
if sys.argv[2] == "damaged":
    data[data.index(b"\\xff\\xc4") + 1] = 0x01
fragment = gdcm.Fragment()
fragment.SetByteStringValue(bytes(data))
fragments = gdcm.SequenceOfFragments.New()
fragments.AddFragment(fragment)
element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
element.SetValue(fragments.__ref__())
image = gdcm.Image()
image.SetNumberOfDimensions(2)
image.SetDimensions((64, 64, 1))
image.SetDataElement(element)
kind = gdcm.PhotometricInterpretation.GetPIType("MONOCHROME2")
image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(kind))
syntax = gdcm.TransferSyntax.GetTSType("1.2.840.10008.1.2.4.70")
image.SetTransferSyntax(gdcm.TransferSyntax(syntax))
image.SetPixelFormat(gdcm.PixelFormat(1, 8, 8, 7, 0))
image.GetBuffer()
"""


_GUARDED = """
import sys
sys.path.insert(0, sys.argv[1])
import jpeg_writing
import numpy as np
from medsdk.pixels._codestream import JPEG_LOSSLESS, jpeg_header
from medsdk.pixels.errors import PixelInputUnreadableError
data = bytearray(jpeg_writing.lossless([np.zeros((64, 64), np.uint16)], 8, 1))
assert jpeg_header(bytes(data), JPEG_LOSSLESS).rows == 64
data[data.index(b"\\xff\\xc4") + 1] = 0x01
try:
    jpeg_header(bytes(data), JPEG_LOSSLESS)
except PixelInputUnreadableError:
    sys.exit()
sys.exit("the frame would reach GDCM")
"""


@pytest.mark.hazard("gdcm-abort")
def test_gdcm_ends_the_process(reproduces):
    pytest.importorskip("gdcm")
    good, damaged = (run_python(_GDCM, str(BENCHMARKS), kind) for kind in ("good", "damaged"))
    assert good.returncode == 0, good.stderr
    reproduces(damaged.returncode < 0, f"the process ends with {damaged.returncode}")
    guarded = run_python(_GUARDED, str(BENCHMARKS))
    assert guarded.returncode == 0, guarded.stderr


_TILES = """
import struct, sys
import numpy as np
import openjpeg.utils as openjpeg
from medsdk_runtimes.operating_system import memory_peak_bytes
data = bytearray(openjpeg.encode(np.zeros((64, 64), np.uint8), 8))
side = int(sys.argv[1])
data[8:16] = struct.pack(">II", 4 * side, 4 * side)
data[24:32] = struct.pack(">II", 4, 4)
before = memory_peak_bytes()
try:
    openjpeg.decode(bytes(data))
except RuntimeError:
    pass
print(len(data), memory_peak_bytes() - before)
"""


@pytest.mark.hazard("openjpeg-tiles")
def test_a_small_frame_takes_much_memory(reproduces):
    pytest.importorskip("openjpeg")
    side = 100
    done = run_python(_TILES, str(side))
    assert done.returncode == 0, done.stderr
    size, taken = (int(word) for word in done.stdout.split())
    a_tile = taken / side**2
    reproduces(a_tile > 4096, f"{size} bytes took {taken / 1e6:.0f} MB, {a_tile:.0f} a tile")


@pytest.mark.slow
@pytest.mark.hazard("charls-truncated")
def test_a_truncated_frame_takes_seconds(reproduces):
    jpeg_ls = pytest.importorskip("jpeg_ls")
    noise = np.random.default_rng(0).integers(0, 256, (96, 96)).astype(np.uint8)
    data = bytes(jpeg_ls.encode_array(noise))
    spent = []
    for part in (data, data[: len(data) * 9 // 10]):
        start = time.process_time()
        with contextlib.suppress(RuntimeError):
            jpeg_ls.decode_buffer(part)
        spent.append(time.process_time() - start)
    evidence = f"{spent[0]:.3f} s whole, {spent[1]:.1f} s where a tenth is missing"
    reproduces(spent[1] > 1 and spent[1] > 100 * spent[0], evidence)


@pytest.mark.hazard("pylibjpeg-rle-panic")
def test_a_segment_that_is_too_long_panics(reproduces):
    rle = pytest.importorskip("rle.utils")
    segment = b"\x81\0" * 8  # 1024 bytes, for 64
    header = struct.pack("<16I", 2, 64, 64 + len(segment), *[0] * 13)
    try:
        rle.decode_pixel_data(header + 2 * segment, version=2, rows=8, columns=8, bits_allocated=16)
    except BaseException as error:  # noqa: BLE001 - a panic is no Exception
        found = type(error)
        reproduces(not issubclass(found, Exception), f"{found.__name__} is no Exception")
    else:
        reproduces(False, "it is decoded")
