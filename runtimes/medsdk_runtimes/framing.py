"""Messages between a process and its child: a JSON header and arrays, over a pipe, no pickle."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import IO, Any

import numpy as np

from medsdk_runtimes.contract import Array

_START = struct.Struct("<Q")
MAX_MESSAGE_BYTES = 4 * 1024**3
"""Of a header, and of an array."""


def send(stream: IO[bytes], header: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    """Write one message: the length of a JSON header, the header, then the arrays' bytes.

    Args:
        stream: Where it goes; flushed.
        header: Plain data.
        arrays: By name; any shape and dtype without objects.

    Raises:
        OSError: The other side is gone.
    """
    specs = [[name, array.dtype.str, array.shape] for name, array in arrays.items()]
    text = json.dumps({"header": dict(header), "arrays": specs}).encode()
    stream.write(_START.pack(len(text)) + text)
    for array in arrays.values():
        stream.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    stream.flush()


def receive(stream: IO[bytes]) -> tuple[dict[str, Any], dict[str, Array]]:
    """Read one message.

    Args:
        stream: Where it comes from.

    Returns:
        The header, and the arrays by name, freshly owned.

    Raises:
        EOFError: The other side is gone.
    """
    (length,) = _START.unpack(_exactly(stream, _START.size))
    document = json.loads(_exactly(stream, length))
    arrays: dict[str, Array] = {}
    for name, dtype_name, shape in document["arrays"]:
        dtype = np.dtype(dtype_name)
        count = int(np.prod(shape, dtype=np.int64))
        data = _exactly(stream, count * dtype.itemsize)
        arrays[name] = np.frombuffer(data, dtype).reshape(shape)
    header: dict[str, Any] = document["header"]
    return header, arrays


def _exactly(stream: IO[bytes], count: int) -> bytearray:
    if count > MAX_MESSAGE_BYTES:
        raise EOFError("a message that is too long")
    # Into one buffer: a graph of a gigabyte must not be there twice.
    data = bytearray(count)
    view, done = memoryview(data), 0
    while done < count:
        got = stream.readinto(view[done:])  # type: ignore[attr-defined]  # pipes have it
        if not got:
            raise EOFError("the pipe is closed")
        done += got
    return data
