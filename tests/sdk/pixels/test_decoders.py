"""Which decoder decodes what, and what none decodes."""

import io
import os
import subprocess
import sys
from typing import Any

import jpeg_ls
import jpeg_writing
import numpy as np
import openjpeg.utils as openjpeg
import pytest
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import (
    JPEG2000,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
)

from medsdk.pixels import _decoders, open_dicom
from medsdk.pixels._decoders import HTJ2K, RLE
from medsdk.pixels.errors import (
    DecoderMissingError,
    PixelInputRefusedError,
)

RNG = np.random.default_rng(21)


@pytest.mark.parametrize(
    ("syntax", "name", "package"),
    [
        (JPEGExtended12Bit, "JPEG Extended", "python-gdcm"),
        (JPEGLossless, "JPEG Lossless", "python-gdcm"),
        (JPEGLosslessSV1, "JPEG Lossless", "python-gdcm"),
        (JPEGLSLossless, "JPEG-LS Lossless", "pyjpegls"),
        (JPEGLSNearLossless, "JPEG-LS Lossy", "pyjpegls"),
        (JPEG2000, "JPEG 2000", "pylibjpeg-openjpeg or pillow"),
        (HTJ2K[0], "High-Throughput", "pylibjpeg-openjpeg or pillow"),
    ],
)
def test_a_missing_decoder_is_named(wrapped, syntax, name, package, only):
    grey = np.zeros((64, 64), np.uint16)
    data = {
        JPEGExtended12Bit: jpeg_writing.sequential(grey, 12),
        JPEGLossless: jpeg_writing.lossless([grey], 12, 2),
        JPEGLosslessSV1: jpeg_writing.lossless([grey], 12, 1),
        JPEGLSLossless: bytes(jpeg_ls.encode_array(grey + 1)),
        JPEGLSNearLossless: bytes(jpeg_ls.encode_array(grey + 1)),
    }.get(syntax, openjpeg.encode(grey, 12))
    image = wrapped(syntax, grey, data)
    only()
    with pytest.raises(DecoderMissingError) as caught:
        image.frame(1)
    error = caught.value
    assert (error.exit_status, error.code) == (3, "decoder-missing")
    assert name in error.got
    assert error.expected == package
    assert error.remedy == 'pip install "medsdk[dicom]"'


@pytest.mark.parametrize("error", [ValueError, ImportError, OSError, AttributeError])
def test_a_decoder_that_does_not_load_is_named(wrapped, monkeypatch, error):
    def broken(module: str) -> Any:
        raise error("numpy.dtype size changed in /home/somebody")

    grey = np.zeros((64, 64), np.uint8)
    image = wrapped(JPEG2000, grey, openjpeg.encode(grey, 8))
    _decoders._installed.cache_clear()
    monkeypatch.setattr(_decoders, "import_module", broken)
    with pytest.raises(DecoderMissingError, match="does not load") as caught:
        image.frame(1)
    assert caught.value.exit_status == 3
    assert caught.value.got.startswith("pylibjpeg-openjpeg ")
    assert error.__name__ in caught.value.got
    assert "somebody" not in str(caught.value)
    monkeypatch.undo()
    assert image.frame(1).decoder.startswith("pylibjpeg-openjpeg ")  # it is asked again


FAKE = """
import sys
sys.stderr.write("libjpeg was imported\\n")
def decode_pixel_data(*arguments, **options):
    print("LIBJPEG WAS CALLED")
    return bytearray(128)
"""


def test_pylibjpeg_libjpeg_is_never_called(wrapped, tmp_path, make_dataset, as_file):
    """A fake of it, declared as pylibjpeg's plug-in for every JPEG syntax, and no GDCM."""
    (tmp_path / "libjpeg").mkdir()
    (tmp_path / "libjpeg" / "__init__.py").write_text(FAKE + "__version__ = '2.3.0'\n")
    meta = tmp_path / "pylibjpeg_libjpeg-2.3.0.dist-info"
    meta.mkdir()
    (meta / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: pylibjpeg-libjpeg\nVersion: 2.3.0\n"
    )
    points = "".join(
        f"{uid} = libjpeg:decode_pixel_data\n"
        for uid in (JPEGBaseline8Bit, JPEGLossless, JPEGLSLossless)
    )
    (meta / "entry_points.txt").write_text(f"[pylibjpeg.pixel_data_decoders]\n{points}")
    grey = np.zeros((8, 8), np.uint16)
    for syntax, data in (
        (JPEGLossless, jpeg_writing.lossless([grey], 12, 2)),
        (JPEGLSLossless, bytes(jpeg_ls.encode_array(grey + 1))),
        (JPEGBaseline8Bit, jpeg_writing.sequential(grey, 8, 0xC0)),
    ):
        dataset = make_dataset(
            grey.astype(np.uint8) if syntax == JPEGBaseline8Bit else grey, syntax=syntax
        )
        dataset.PixelData = encapsulate([data])
        dataset["PixelData"].VR = "OB"
        (tmp_path / f"{syntax}.dcm").write_bytes(as_file(dataset))
    script = f"""
import sys
sys.modules["gdcm"] = sys.modules["jpeg_ls"] = None
from pathlib import Path
from medsdk.pixels import open_dicom
from medsdk_runtimes.errors import MedsdkError
from pylibjpeg.utils import get_pixel_data_decoders
assert "{JPEGLossless}" in get_pixel_data_decoders(version=2), "the fake is not found"
for path in sorted(Path(sys.argv[1]).glob("*.dcm")):
    try:
        print(open_dicom(path).frame(1).decoder)
    except MedsdkError as error:
        print(error.code)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.split("\n")
    assert "LIBJPEG WAS CALLED" not in lines, done.stderr
    assert lines[0].startswith("pillow "), done.stderr
    assert lines[1:3] == ["decoder-missing"] * 2


@pytest.mark.parametrize("suffix", ["100", "101", "102", "103.1", "104", "106", "107", "108"])
def test_video_is_refused_with_the_reason(wrapped, suffix):
    with pytest.raises(PixelInputRefusedError, match="video") as caught:
        wrapped(f"1.2.840.10008.1.2.4.{suffix}", np.zeros((8, 8), np.uint8), b"\0" * 40)
    assert "JPEG" in caught.value.remedy
    assert any(word in caught.value.got for word in ("MPEG", "HEVC"))


@pytest.mark.parametrize(
    ("syntax", "photometric", "words"),
    [
        (RLE, "YBR_RCT", "outside JPEG 2000"),
        (JPEGLSLossless, "YBR_ICT", "outside JPEG 2000"),
        ("little", "YBR_RCT", "outside JPEG 2000"),
    ],
)
def test_colours_that_a_syntax_cannot_have_are_refused(wrapped, syntax, photometric, words):
    with pytest.raises(PixelInputRefusedError, match=words):
        wrapped(syntax, np.zeros((8, 8, 3), np.uint8), b"\0" * 40, photometric=photometric)


def test_a_palette_in_lossy_jpeg_is_refused(make_dataset, as_file):
    for syntax in (JPEGBaseline8Bit, JPEGExtended12Bit, JPEG2000, HTJ2K[2]):
        dataset = make_dataset(np.zeros((8, 8), np.uint8), syntax=syntax)
        dataset.PhotometricInterpretation = "PALETTE COLOR"
        dataset.PixelData = encapsulate([b"\0" * 40])
        dataset["PixelData"].VR = "OB"
        with pytest.raises(PixelInputRefusedError, match="lossy"):
            open_dicom(as_file(dataset))


def test_a_palette_is_refused_where_the_codestream_is_lossy(wrapped):
    indices = RNG.integers(0, 256, (64, 64)).astype(np.uint8)
    palette: dict[str, Any] = {"photometric": "PALETTE COLOR"}
    for color in ("Red", "Green", "Blue"):
        palette[f"{color}PaletteColorLookupTableDescriptor"] = [256, 0, 8]
        palette[f"{color}PaletteColorLookupTableData"] = bytes(reversed(range(256)))
    for near in (0, 1):
        image = wrapped(
            JPEGLSNearLossless, indices, bytes(jpeg_ls.encode_array(indices, near)), **palette
        )
        if near:
            with pytest.raises(PixelInputRefusedError, match="lossy"):
                image.frame(1)
        else:
            assert np.array_equal(image.frame(1).array[..., 0], 255 - indices)
    for irreversible in (False, True):
        stream = io.BytesIO()
        Image.fromarray(indices).save(stream, "JPEG2000", irreversible=irreversible, no_jp2=True)
        image = wrapped(JPEG2000Lossless, indices, stream.getvalue(), **palette)
        if irreversible:
            with pytest.raises(PixelInputRefusedError, match="lossy"):
                image.frame(1)
        else:
            assert np.array_equal(image.frame(1).array[..., 0], 255 - indices)
