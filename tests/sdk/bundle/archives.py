"""Archives made by Python's zipfile, field by field, and by medsdk, to compare and to spoil."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from medsdk.bundle.one_file import write_one_file
from medsdk.bundle.storage import BundleLimits

Files = dict[str, bytes]

TIGHT_LIMITS = [
    pytest.param(BundleLimits(manifest_bytes=1000), id="manifest"),
    pytest.param(BundleLimits(file_bytes=1000), id="file"),
    pytest.param(BundleLimits(total_bytes=10_000), id="total"),
    pytest.param(BundleLimits(files=10), id="files"),
]
"""Each is one that a small bundle goes beyond."""


class Memory:
    """Files that were never on a disk, as a bundle's storage; the sizes may lie."""

    path = Path("memory")

    def __init__(self, files: Files, sizes: dict[str, int] | None = None) -> None:
        self.files = files
        self.sizes = sizes or {name: len(data) for name, data in files.items()}

    def read(self, name: str, at_most: int) -> bytes:
        return self.files[name][:at_most]

    def chunks(self, name: str) -> Iterator[bytes]:
        data = self.files[name]
        for start in range(0, len(data), 1000):
            yield data[start : start + 1000]


def written(files: Files, path: Path) -> bytes:
    write_one_file(path, Memory(files))
    return path.read_bytes()


def zipped(
    files: Files,
    change: Callable[[zipfile.ZipInfo], object] = lambda item: None,
    afterwards: Callable[[zipfile.ZipFile], object] = lambda archive: None,
    **options: Any,
) -> bytes:
    """The canonical archive as Python's zipfile writes it, with changes to its entries."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in sorted(files):
            item = zipfile.ZipInfo(name)
            item.create_system, item.create_version, item.extract_version = 0, 10, 10
            change(item)
            with archive.open(item, "w", **options) as file:
                file.write(files[name])
            item.external_attr &= ~(0o600 << 16)  # which zipfile gives where there is none
        afterwards(archive)
    return stream.getvalue()


def by_hand(
    files: list[tuple[str | bytes, bytes]],
    local: dict[str, int] | None = None,
    central: dict[str, int] | None = None,
    end: dict[str, int] | None = None,
    *,
    prefix: bytes = b"",
    gap: bytes = b"",
    before_directory: bytes = b"",
    after_directory: bytes = b"",
    suffix: bytes = b"",
    local_extra: bytes = b"",
    central_extra: bytes = b"",
    checksums: dict[str | bytes, int] | None = None,
) -> bytes:
    """An archive field by field, from APPNOTE.TXT; the changes are to its second entry."""
    out, directory = bytearray(prefix), bytearray()
    for index, (name, data) in enumerate(files):
        raw = name if isinstance(name, bytes) else name.encode()
        second = index == 1
        out += gap if second else b""
        here = {
            "needed": 10, "flags": 0, "method": 0, "time": 0, "date": 33,
            "crc": (checksums or {}).get(name, zlib.crc32(data)),
            "packed": len(data), "size": len(data), "name": len(raw),
            "extra": len(local_extra) if second else 0,
        }  # fmt: skip
        there = {"made": 10} | here | {
            "extra": len(central_extra) if second else 0, "comment": 0, "disk": 0, "internal": 0,
            "external": 0, "offset": len(out),
        }  # fmt: skip
        if second:
            here |= local or {}
            there |= central or {}
        out += b"PK\3\4" + struct.pack("<5H3I2H", *here.values()) + raw
        out += (local_extra if second else b"") + data
        directory += b"PK\1\2" + struct.pack("<6H3I5H2I", *there.values()) + raw
        directory += central_extra if second else b""
    out += before_directory
    last = {
        "disk": 0, "disk of directory": 0, "here": len(files), "files": len(files),
        "size": len(directory), "offset": len(out), "comment": 0,
    } | (end or {})  # fmt: skip
    out += directory + after_directory
    return bytes(out) + b"PK\5\6" + struct.pack("<4H2IH", *last.values()) + suffix


FILES: Files = {"a/one": b"first", "b": b"", "c": b"the third " * 300, "manifest.json": b"{}"}
PAIRS: list[tuple[str | bytes, bytes]] = list(FILES.items())
