"""Frames and fragments: where each frame lies in encapsulated pixel data."""

import struct
from typing import Any

import jpeg_ls
import numpy as np
import openjpeg.utils as openjpeg
import pytest
from PIL import Image
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.uid import (
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
)

from medsdk.pixels import open_dicom
from medsdk.pixels._decoders import RLE
from medsdk.pixels.errors import (
    PixelInputUnreadableError,
)

RNG = np.random.default_rng(21)


def test_frames_with_several_fragments(make_dataset, as_file):
    arrays = RNG.integers(0, 256, (3, 19, 23)).astype(np.uint8)
    frames = [bytes(jpeg_ls.encode_array(array)) for array in arrays]
    dataset = make_dataset(arrays, syntax=JPEGLSLossless, frames=3)
    dataset["PixelData"].VR = "OB"
    for table in (True, False):
        dataset.PixelData = encapsulate(frames, fragments_per_frame=2, has_bot=table)
        image = open_dicom(as_file(dataset))
        assert all(np.array_equal(image.frame(i + 1).array, arrays[i]) for i in range(3))
    data, offsets, lengths = encapsulate_extended(frames)
    dataset.PixelData, dataset.ExtendedOffsetTable = data, offsets
    dataset.ExtendedOffsetTableLengths = lengths
    image = open_dicom(as_file(dataset))
    assert np.array_equal(image.frame(3).array, arrays[2])
    dataset.NumberOfFrames = 4
    with pytest.raises(PixelInputUnreadableError, match="3 fragments"):
        open_dicom(as_file(dataset))


def test_the_offset_table_says_which_fragments_are_a_frame(make_dataset, as_file):
    arrays = RNG.integers(0, 256, (2, 8, 16)).astype(np.uint8)
    header = struct.pack("<16I", 1, 64, *[0] * 14)
    frames = [header + b"\x7f" + array.tobytes() for array in arrays]
    dataset = make_dataset(arrays, syntax=RLE, frames=2)
    dataset.PixelData = encapsulate(frames, fragments_per_frame=3)
    dataset["PixelData"].VR = "OB"
    image = open_dicom(as_file(dataset))
    assert all(np.array_equal(image.frame(i + 1).array, arrays[i]) for i in range(2))
    dataset.PixelData = encapsulate(frames, fragments_per_frame=3, has_bot=False)
    with pytest.raises(PixelInputUnreadableError, match="no offset table"):
        open_dicom(as_file(dataset))


def test_fragments_that_nothing_assigns_are_unreadable(make_dataset, as_file):
    dataset = make_dataset(np.zeros((2, 8, 8), np.uint8), syntax=JPEGLSLossless, frames=2)
    for table in (False, True):
        dataset.PixelData = encapsulate([b"\1" * 40] * 3, has_bot=table)
        dataset["PixelData"].VR = "OB"
        with pytest.raises(PixelInputUnreadableError, match="no offset table"):
            open_dicom(as_file(dataset))
    dataset.PixelData = (
        encapsulate([b"\1" * 40] * 2, fragments_per_frame=2)[:8]
        + struct.pack("<2I", 0, 7)
        + encapsulate([b"\1" * 40] * 2, fragments_per_frame=2)[16:]
    )
    with pytest.raises(PixelInputUnreadableError, match="offset table"):
        open_dicom(as_file(dataset))


@pytest.mark.parametrize("syntax", [RLE, JPEGBaseline8Bit, JPEGLSLossless, JPEG2000Lossless])
@pytest.mark.parametrize("table", ["basic", "extended", "none"])
@pytest.mark.parametrize("frames", [None, 1])
def test_frames_that_the_header_does_not_count_are_not_dropped(
    make_dataset, as_file, syntax, table, frames, as_jpeg
):
    grey = RNG.integers(0, 256, (64, 64)).astype(np.uint8)
    data = {
        RLE: struct.pack("<16I", 1, 64, *[0] * 14) + b"\x81a" * 32,
        JPEGBaseline8Bit: as_jpeg(Image.fromarray(grey)),
        JPEGLSLossless: bytes(jpeg_ls.encode_array(grey)),
    }.get(syntax, openjpeg.encode(grey, 8))
    dataset = make_dataset(grey, syntax=syntax)
    if frames:
        dataset.NumberOfFrames = frames

    def put(parts: list[bytes], **how: Any) -> Any:
        if table == "extended":
            encapsulated, offsets, lengths = encapsulate_extended(parts)
            dataset.PixelData, dataset.ExtendedOffsetTable = encapsulated, offsets
            dataset.ExtendedOffsetTableLengths = lengths
        else:
            dataset.PixelData = encapsulate(parts, has_bot=table == "basic", **how)
        dataset["PixelData"].VR = "OB"
        return as_file(dataset)

    with pytest.raises(PixelInputUnreadableError, match="2 frames in PixelData"):
        open_dicom(put([data, data]))
    if table != "extended":  # one frame in several fragments stays one
        assert open_dicom(put([data], fragments_per_frame=3)).number_of_frames == 1
