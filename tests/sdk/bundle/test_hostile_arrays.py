"""Arrays of a bundle whose headers lie, and what numpy itself writes."""

from __future__ import annotations

import io
import random
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medsdk.bundle import Bundle
from medsdk.bundle.reading import parse_npy
from medsdk.errors import (
    BundleUnreadableError,
)

NETWORK = "networks/filter/fp32.onnx"
Document = dict[str, Any]
Sign = Callable[..., None]


def _npy(header: str, data: bytes = b"", version: tuple[int, int] = (1, 0)) -> bytes:
    length = struct.pack("<H" if version == (1, 0) else "<I", len(header))
    return b"\x93NUMPY" + bytes(version) + length + header.encode("latin-1") + data


def _header(dtype: str, shape: str, order: str = "False") -> str:
    return f"{{'descr': {dtype}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


HOSTILE_ARRAYS = {
    "10-gigabytes": _npy(_header("'<f4'", "(2500000000,)"), bytes(8)),
    "exabytes": _npy(_header("'<f8'", "(9999999999, 9999999999)"), bytes(8)),
    "zero-times-huge": _npy(_header("'<f4'", "(0, 9999999999, 9999999999, 9999999999)")),
    "negative": _npy(_header("'<f4'", "(-1, -2)"), bytes(8)),
    "minus-one": _npy(_header("'<f4'", "(-1,)"), bytes(8)),
    "object": _npy(_header("'|O'", "(1,)"), bytes(8)),
    "pickle": _npy(_header("'|O'", "(1,)"), b"\x80\x04N."),
    "void": _npy(_header("'|V8'", "(1,)"), bytes(8)),
    "text": _npy(_header("'<U2'", "(1,)"), bytes(8)),
    "date": _npy(_header("'<M8[s]'", "(1,)"), bytes(8)),
    "complex": _npy(_header("'<c8'", "(1,)"), bytes(8)),
    "big-endian": _npy(_header("'>f4'", "(2,)"), bytes(8)),
    "subarray": _npy(_header("('<f4', (2,))", "(1,)"), bytes(8)),
    "record": _npy(_header("[('a', '<f4')]", "(2,)"), bytes(8)),
    "no-such-dtype": _npy(_header("'<f3'", "(2,)"), bytes(6)),
    "fortran": _npy(_header("'<f4'", "(1, 2)", "True"), bytes(8)),
    "too-many-axes": _npy(_header("'<f4'", "(" + "1, " * 100 + ")"), bytes(4)),
    "bool-axis": _npy(_header("'<f4'", "(True, 2)"), bytes(8)),
    "python-2": _npy(_header("'<f4'", "(2L,)"), bytes(8)),
    "open-brace": _npy("{'descr': '<f4', ("),
    "brackets": _npy("[" * 9000),
    "signs": _npy("-" * 9000 + "1"),
    "long-header": _npy(_header("'<f4'", "(2,)").replace("}", " " * 60_000 + "}"), bytes(8)),
    "long-header-2": _npy(" " * 200_000, bytes(8), (2, 0)),
    "version-3": _npy(_header("'<f4'", "(2,)"), bytes(8), (3, 0)),
    "short": _npy(_header("'<f4'", "(2,)"), bytes(7)),
    "long": _npy(_header("'<f4'", "(2,)"), bytes(9)),
    "no-data": _npy(_header("'<f4'", "(2,)")),
    "empty": b"",
    "magic-only": b"\x93NUMPY",
    "text-file": b"hello\n",
}


@pytest.mark.parametrize("name", HOSTILE_ARRAYS)
def test_arrays_that_lie_are_refused_before_anything_is_allocated(
    name: str, folder: Path, sign: Sign
) -> None:
    answer = Bundle.open(folder).manifest.known_answers[0]
    (folder / answer.frame).write_bytes(HOSTILE_ARRAYS[name])
    sign(folder)
    bundle = Bundle.open(folder)
    tracemalloc.start()
    with pytest.raises(BundleUnreadableError) as caught:
        bundle.array(answer.frame)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert caught.value.exit_status == 4
    assert peak < 4 * 1024**2


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.array(3.5),
        np.zeros((0, 3), np.int16),
        np.array([True, False]),
        np.arange(5, dtype=np.uint8),
        np.ones((1, 1, 1, 2), np.float16),
    ],
)
def test_what_numpy_writes_is_read(version: tuple[int, int], array: Any) -> None:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, version=version)
    got = parse_npy(stream.getvalue(), "array", 1000)
    assert got.dtype == array.dtype
    np.testing.assert_array_equal(got, array, strict=True)


def test_an_array_beyond_the_limit_is_refused() -> None:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.zeros(100, np.uint8), version=(1, 0))
    parse_npy(stream.getvalue(), "array", 100)
    with pytest.raises(BundleUnreadableError, match="at most 99"):
        parse_npy(stream.getvalue(), "array", 99)


def test_damaged_headers_are_always_an_error_of_ours() -> None:
    rng = random.Random(3)
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.zeros((2, 3), np.float32), version=(1, 0))
    whole = stream.getvalue()
    refused = 0
    for _ in range(3000):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 1, 2, 5))):
            data[rng.randrange(80)] = rng.randrange(256)
        try:
            got = parse_npy(bytes(data), "array", 1 << 20)
            assert got.nbytes == 24
        except BundleUnreadableError:
            refused += 1
    assert refused > 2000
