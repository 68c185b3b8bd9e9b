"""Messages between a process and its child: a JSON header and arrays, over a pipe, no pickle."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from types import ModuleType
from typing import IO, Any

import numpy as np

from medsdk_runtimes.contract import Array
from medsdk_runtimes.errors import MedsdkError

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


def error_header(error: MedsdkError) -> dict[str, str]:
    """The header that tells the other side of an error."""
    return {
        "error": type(error).__name__,
        "what": error.what,
        "got": error.got,
        "expected": error.expected,
        "remedy": error.remedy,
    }


def raise_error(header: Mapping[str, Any], kinds: ModuleType, otherwise: type[MedsdkError]) -> None:
    """Raise the error that a header tells of; nothing where it tells of none.

    Args:
        header: As `receive` gives it.
        kinds: Where the classes of errors are looked up by name.
        otherwise: The class where there is none of that name.

    Raises:
        MedsdkError: The other side's error.
    """
    if "error" not in header:
        return
    kind = getattr(kinds, header["error"], None)
    if not (isinstance(kind, type) and issubclass(kind, MedsdkError)):
        kind = otherwise
    raise kind(
        header["what"],
        got=header["got"],
        expected=header["expected"],
        remedy=header["remedy"],
    )


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
