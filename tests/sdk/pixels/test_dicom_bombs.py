"""Small objects that claim or unfold to much: refused before the memory is spent."""

import os
import struct
import subprocess
import sys

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from medsdk.pixels import DicomLimits, open_dicom
from medsdk.pixels.errors import PixelInputUnreadableError

ITEM = b"\xfe\xff\x00\xe0"
PEAK = """
import sys
from hostile_corpus import peak_bytes
from medsdk.pixels import open_dicom
from medsdk_runtimes.errors import MedsdkError
try:
    image = open_dicom(sys.argv[1])
    image.frame(1)
    print("decoded")
except MedsdkError as error:
    print(error.code)
print(peak_bytes())
"""


@pytest.fixture
def peak(tmp_path):
    """What became of a file in a process of its own, and that process's memory at its peak."""

    def run(data: bytes) -> tuple[str, int]:
        path = tmp_path / "bomb.dcm"
        path.write_bytes(data)
        done = subprocess.run(
            [sys.executable, "-c", PEAK, str(path)],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        assert done.returncode == 0, done.stderr
        outcome, size = done.stdout.split()
        return outcome, int(size)

    return run


@pytest.fixture
def before_the_pixels(make_dataset, as_file):
    """A good object with bytes of its own in front of its pixel data."""

    def make(inserted: bytes) -> bytes:
        data: bytes = as_file(make_dataset(np.zeros((8, 8), np.uint16)))
        at = data.index(b"\xe0\x7f\x10\x00OW")
        return data[:at] + inserted + data[at:]

    return make


def _sequence(body: bytes, *, explicit: bool) -> bytes:
    """SharedFunctionalGroupsSequence, which is read."""
    tag = b"\x00\x52\x29\x92SQ\0\0"
    if explicit:
        return tag + struct.pack("<I", len(body)) + body
    return tag + b"\xff\xff\xff\xff" + body + b"\xfe\xff\xdd\xe0\0\0\0\0"


@pytest.mark.parametrize("explicit", [True, False])
def test_two_million_empty_items(peak, before_the_pixels, explicit):
    body = (ITEM + b"\0\0\0\0") * 2_000_000
    outcome, size = peak(before_the_pixels(_sequence(body, explicit=explicit)))
    assert outcome == "pixel-input-unreadable"
    assert size < 400_000_000


@pytest.mark.parametrize("explicit", [True, False])
def test_hundreds_of_thousands_of_elements_in_one_item(peak, before_the_pixels, explicit):
    numbers = np.arange(1_100_000, dtype=np.uint32)
    elements = np.zeros((numbers.size, 2), "<u4")
    elements[:, 0] = numbers << 16 | 0x0029 + (numbers >> 16)
    elements[:, 1] = int.from_bytes(b"LO\0\0", "little")
    body = ITEM + struct.pack("<I", elements.nbytes) + elements.tobytes()
    outcome, size = peak(before_the_pixels(_sequence(body, explicit=explicit)))
    assert outcome == "pixel-input-unreadable"
    assert size < 1_000_000_000


def test_hundreds_of_thousands_of_elements_beside_each_other(peak, before_the_pixels):
    numbers = np.arange(1_100_000, dtype=np.uint32)
    elements = np.zeros((numbers.size, 2), "<u4")
    elements[:, 0] = numbers << 16 | 0x5401 + 2 * (numbers >> 16)
    elements[:, 1] = int.from_bytes(b"LO\0\0", "little")
    outcome, size = peak(before_the_pixels(elements.tobytes()))
    assert outcome == "pixel-input-unreadable"
    assert size < 1_000_000_000


def test_deeply_nested_sequences(peak, before_the_pixels):
    body = b""
    for _ in range(20_000):
        body = ITEM + struct.pack("<I", len(body)) + body
        body = b"\x00\x52\x29\x92SQ\0\0" + struct.pack("<I", len(body)) + body
        if len(body) > 300_000:
            break
    outcome, size = peak(before_the_pixels(body))
    assert outcome in ("pixel-input-unreadable", "decoded")
    assert size < 400_000_000


def test_many_frames_with_functional_groups(make_dataset, as_file):
    dataset = make_dataset(np.zeros((8, 8), np.uint8))
    dataset.NumberOfFrames = 2**31 - 1
    dataset.PerFrameFunctionalGroupsSequence = Sequence([Dataset() for _ in range(10)])
    with pytest.raises(PixelInputUnreadableError, match="decoded image"):
        open_dicom(as_file(dataset))
    dataset.NumberOfFrames = 1000
    with pytest.raises(PixelInputUnreadableError, match="64000 bytes"):
        open_dicom(as_file(dataset))


def test_many_frames_share_one_table(peak, make_dataset, as_file):
    frames = 3000
    dataset = make_dataset(np.zeros((frames, 1, 2), np.uint8), frames=frames)
    table = Dataset()
    table.add_new("LUTDescriptor", "US", [0, 0, 16])
    table.add_new("LUTData", "OW", np.arange(65536, dtype=np.uint16).tobytes())
    dataset.ModalityLUTSequence = Sequence([table])
    dataset.PerFrameFunctionalGroupsSequence = Sequence([Dataset() for _ in range(frames)])
    data = as_file(dataset)
    assert len(data) < 170_000
    outcome, size = peak(data)
    assert outcome == "decoded"
    assert size < 200_000_000
    lut = open_dicom(data).frame(frames).modality_lut
    assert lut.apply(np.array([7, 65535])).tolist() == [7, 65535]


def test_counts_are_limits_that_can_be_raised(before_the_pixels):
    data = before_the_pixels(_sequence((ITEM + b"\0\0\0\0") * 50, explicit=True))
    assert open_dicom(data).rows == 8
    with pytest.raises(PixelInputUnreadableError, match="more items of sequences"):
        open_dicom(data, limits=DicomLimits(items=49))
    with pytest.raises(PixelInputUnreadableError, match="a sequence is larger"):
        open_dicom(data, limits=DicomLimits(sequence_bytes=399))
    with pytest.raises(PixelInputUnreadableError, match="more data elements"):
        open_dicom(data, limits=DicomLimits(elements=5))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["rgb", "grey 8", "grey 16"])
def test_the_largest_frame_of_jpeg_2000_stays_below_a_gigabyte(peak, make_dataset, as_file, kind):
    from openjpeg.utils import encode
    from pydicom.encaps import encapsulate

    side = {"rgb": 4728, "grey 8": 8190, "grey 16": 5790}[kind]  # 64 MiB
    color = kind == "rgb"
    array = np.zeros((side, side, 3) if color else (side, side), np.uint8)
    array = array.astype(np.uint16) if kind == "grey 16" else array
    dataset = make_dataset(
        array, syntax="1.2.840.10008.1.2.4.90", photometric="RGB" if color else "MONOCHROME2"
    )
    data = encode(array, 8 * array.dtype.itemsize, photometric_interpretation=int(color))
    dataset.PixelData = encapsulate([data])
    dataset["PixelData"].VR = "OB"
    outcome, size = peak(as_file(dataset))
    assert outcome == "decoded"
    assert size < 1_000_000_000
