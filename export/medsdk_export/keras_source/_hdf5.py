"""HDF5 with nothing but plain weights in it: looked over before anything is read.

HDF5 can point into other files, claim arrays that were never stored, and name plugins to load. A
Keras file needs none of it, so what is not a plain group, a plain array or a small attribute is
refused, and sizes are held to the file's own size before an array is allocated.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import h5py
import numpy as np
from numpy.typing import NDArray

from medsdk_export.errors import SourceUnreadableError

MAX_OBJECTS = 20_000
"""Groups and arrays of one file."""

MAX_DEPTH = 24
"""Groups inside each other: a nested model takes four."""

MAX_ATTRIBUTE_BYTES = 32 * 1024**2
"""Of one attribute: the configuration is the largest."""

MAX_EXPANSION = 20
"""Bytes of all arrays for each byte of the file, compressed weights included."""

SPARE_BYTES = 64 * 1024**2
"""That a small file may expand to all the same."""

_FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
"""Built into HDF5; every other filter is a plugin, which is code."""


@dataclass(frozen=True)
class Stored:
    """One array of the file.

    Attributes:
        shape: Its axes.
        dtype: Name of its element type in numpy.
        bytes: Its size in memory.
    """

    shape: tuple[int, ...]
    dtype: str
    bytes: int


def refused(
    got: str, expected: str = "groups, arrays and attributes only"
) -> SourceUnreadableError:
    """The error for an HDF5 file that is not what Keras writes."""
    return SourceUnreadableError(
        "the HDF5 file is refused",
        got=got,
        expected=expected,
        remedy="save the model again with Keras",
    )


def look_over(file: h5py.File, file_bytes: int) -> dict[str, Stored]:
    """Visit everything in a file and refuse what is not plain.

    Args:
        file: The open file; no array of it is read.
        file_bytes: Its size.

    Returns:
        Path to array, in the file's order.

    Raises:
        SourceUnreadableError: A soft or external link, a group that is linked twice, a virtual
            or external array, a plugin filter, an element type that is no number, too many
            objects, or sizes that the file cannot hold.
    """
    arrays: dict[str, Stored] = {}
    allowed = file_bytes * MAX_EXPANSION + SPARE_BYTES
    seen: set[int] = set()
    total = 0
    for path, item in _walk(file.id, "", 0, seen):
        _check_attributes(item)
        if isinstance(item, h5py.h5d.DatasetID):
            arrays[path] = _check_array(item, allowed)
            total += arrays[path].bytes
            if total > allowed:
                raise refused(
                    f"arrays of more than {allowed} bytes in a file of {file_bytes}",
                    "sizes that the file can hold",
                )
    return arrays


def attribute(item: h5py.Group, name: str) -> list[str]:
    """A text attribute as a list; an array of names that Keras split is put together.

    Args:
        item: A group that `look_over` has passed.
        name: The attribute, for instance `layer_names`.

    Returns:
        Its texts; empty where there is none.
    """
    if name in item.attrs:
        return _texts(item.attrs[name])
    texts: list[str] = []
    for number in range(MAX_OBJECTS):
        if f"{name}{number}" not in item.attrs:
            break
        texts += _texts(item.attrs[f"{name}{number}"])
    return texts


def read_array(file: h5py.File, path: str) -> NDArray[np.float32]:
    """One array that `look_over` has passed, as float32."""
    return np.asarray(file[path][()], np.float32)


def open_file(source: BinaryIO | str) -> h5py.File:
    """Open a file for reading.

    Raises:
        SourceUnreadableError: It is no HDF5 file.
    """
    try:
        return h5py.File(source, "r")
    except (OSError, ValueError, RuntimeError) as error:
        raise damaged() from error


def damaged() -> SourceUnreadableError:
    """The error for a file that HDF5 itself cannot read."""
    return SourceUnreadableError(
        "the HDF5 file cannot be read",
        got="a damaged file, or no HDF5",
        expected="a file that Keras saved",
        remedy="save the model again, or copy the file again",
    )


def _walk(
    group: h5py.h5g.GroupID, path: str, depth: int, seen: set[int]
) -> Iterator[tuple[str, Any]]:
    # An address belongs to a group once only: hard links can make a circle.
    address = h5py.h5o.get_info(group).addr
    if address in seen:
        raise refused("a group that is linked twice")
    seen.add(address)
    if depth > MAX_DEPTH:
        raise refused(f"groups more than {MAX_DEPTH} deep")
    yield path, group
    for name in list(group):
        link = group.links.get_info(name)
        if link.type != h5py.h5l.TYPE_HARD:
            kind = "an external link" if link.type == h5py.h5l.TYPE_EXTERNAL else "a soft link"
            raise refused(f"{kind} to somewhere else")
        item = h5py.h5o.open(group, name)
        word = name.decode("utf-8", "replace")
        below = f"{path}/{word}" if path else word
        if isinstance(item, h5py.h5g.GroupID):
            yield from _walk(item, below, depth + 1, seen)
        elif isinstance(item, h5py.h5d.DatasetID):
            seen.add(-len(seen) - 1)
            yield below, item
        else:
            raise refused("a named type")
        if len(seen) > MAX_OBJECTS:
            raise refused(f"more than {MAX_OBJECTS} objects")


def _check_array(item: h5py.h5d.DatasetID, allowed: int) -> Stored:
    made = item.get_create_plist()
    # Before anything else: the shape of a virtual array is asked from other files.
    if made.get_layout() == h5py.h5d.VIRTUAL:
        raise refused("a virtual array, made of other files")
    if made.get_external_count():
        raise refused("an array that is kept in other files")
    filters = {made.get_filter(index)[0] for index in range(made.get_nfilters())}
    if filters - _FILTERS:
        raise refused("a compression that needs a plugin", "gzip, or none")
    dtype = item.dtype
    if dtype.kind not in "fiub" or dtype.itemsize > 8:
        raise refused(f"elements of the type {dtype.name[:40]}", "numbers")
    shape = tuple(item.shape or ())
    size = math.prod(shape) * dtype.itemsize
    stored = item.get_storage_size()
    if len(shape) > 8 or size > allowed or (not filters and stored < size):
        raise refused(
            f"an array that claims {size} bytes, of which {stored} are stored",
            "arrays that are in the file",
        )
    return Stored(shape, dtype.name, size)


def _check_attributes(item: h5py.h5g.GroupID) -> None:
    count = h5py.h5a.get_num_attrs(item)
    if count > 1000:
        raise refused(f"{count} attributes of one object")
    for index in range(count):
        found = h5py.h5a.open(item, index=index)
        if found.get_type().get_size() * math.prod(found.shape or ()) > MAX_ATTRIBUTE_BYTES:
            raise refused("an attribute larger than any that Keras writes")
        if found.get_type().get_class() not in _ATTRIBUTE_TYPES:
            raise refused("an attribute that is neither text nor number")


_ATTRIBUTE_TYPES = {
    h5py.h5t.STRING,
    h5py.h5t.INTEGER,
    h5py.h5t.FLOAT,
    h5py.h5t.ENUM,
}


def _texts(value: object) -> list[str]:
    items = value if isinstance(value, np.ndarray) else [value]
    return [
        item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item)
        for item in np.ravel(np.asarray(items, object))
    ]
