"""A bundle as one file: the canonical zip, written and read (`docs/bundle.md` has it in prose).

For one set of files there is one right sequence of bytes. The reader takes name, size and CRC-32
of each file from the central directory, makes every header anew and compares: of a plain stored
zip a third of all single-byte changes would leave the contents as they were and go unseen.
"""

from __future__ import annotations

import os
import stat
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, NoReturn

from medsdk._refusals import (
    BundleFormError,
    BundleTamperedError,
    BundleUnreadableError,
    OutputNotWritableError,
    shown,
)
from medsdk.bundle.names import LONGEST_NAME, is_file_name
from medsdk.bundle.storage import CHUNK_BYTES, BundleLimits, Storage, contents

SUFFIX = ".medsdk"

MOST_BYTES = 2**32 - 2
MOST_FILES = 2**16 - 2
"""What a zip holds without its 64-bit extension, in which these fields all ones are an escape."""

# PKWARE's APPNOTE.TXT 6.3.10: 4.3.7 local file header, 4.3.12 central directory header,
# 4.3.16 end of central directory record. The names are those of the fields.
_LOCAL = struct.Struct("<4s5H3I2H")
_LOCAL_FIELDS = (
    *("signature", "version needed", "flags", "compression method", "time", "date"),
    *("CRC-32", "compressed size", "size", "length of the name", "length of the extra field"),
)
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_CENTRAL_FIELDS = (
    *("signature", "version made by", "version needed", "flags", "compression method"),
    *("time", "date", "CRC-32", "compressed size", "size"),
    *("length of the name", "length of the extra field", "length of the comment"),
    *("disk", "internal attributes", "external attributes", "offset of the local header"),
)
_END = struct.Struct("<4s4H2IH")
_END_FIELDS = (
    *("signature", "disk", "disk of the central directory", "files on this disk", "files"),
    *("size of the central directory", "offset of the central directory"),
    "length of the archive's comment",
)
_LOCAL_SIGNATURE, _CENTRAL_SIGNATURE, _END_SIGNATURE = b"PK\3\4", b"PK\1\2", b"PK\5\6"
_VERSION = 10  # 1.0: nothing but stored files
_STORED = 0
_TIME, _DATE = 0, 1 << 5 | 1  # midnight of 1980-01-01, the earliest that the format knows


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the archive.

    Attributes:
        name: Path inside the bundle.
        size: Of its contents, in bytes.
        crc: CRC-32 of its contents.
        offset: Of its local header, in bytes from the start of the archive.
    """

    name: str
    size: int
    crc: int
    offset: int

    @property
    def start(self) -> int:
        """Offset of the contents, in bytes."""
        return self.offset + _LOCAL.size + len(self.name)

    @property
    def end(self) -> int:
        """Offset of what follows the contents, in bytes."""
        return self.start + self.size

    def local_header(self) -> bytes:
        """What stands before the contents."""
        fixed = _LOCAL.pack(
            _LOCAL_SIGNATURE,
            *(_VERSION, 0, _STORED, _TIME, _DATE, self.crc, self.size, self.size),
            *(len(self.name), 0),
        )
        return fixed + self.name.encode("ascii")

    def central_header(self) -> bytes:
        """What stands in the central directory."""
        fixed = _CENTRAL.pack(
            _CENTRAL_SIGNATURE,
            *(_VERSION, _VERSION, 0, _STORED, _TIME, _DATE, self.crc, self.size, self.size),
            *(len(self.name), 0, 0, 0, 0, 0, self.offset),
        )
        return fixed + self.name.encode("ascii")


def _end_record(files: int, size: int, offset: int) -> bytes:
    return _END.pack(_END_SIGNATURE, 0, 0, files, files, size, offset, 0)


@dataclass(frozen=True)
class OneFile:
    """A bundle as one file. It is opened anew for every read, so that it can be replaced.

    Attributes:
        path: The file.
        entries: The archive's files by name, in their order.
        sizes: As in `Storage`.
        held: The file itself while `holding` it, then by one thread alone; else None.
    """

    path: Path
    entries: Mapping[str, Entry]
    sizes: Mapping[str, int]
    held: BinaryIO | None = field(default=None, compare=False, repr=False)

    @classmethod
    def open(cls, path: Path, limits: BundleLimits) -> OneFile:
        """Compare every header with the one that must be there; no contents are read.

        Args:
            path: A file.
            limits: The most that is taken on.

        Raises:
            BundleUnreadableError: It is no archive in the canonical form, or a limit is exceeded.
            OSError: It cannot be read.
        """
        with cls.holding(path, limits) as one:
            return one.released()

    @classmethod
    @contextmanager
    def holding(cls, path: Path, limits: BundleLimits) -> Iterator[OneFile]:
        """As `open`, but every read is of the file that was there then, though it be replaced.

        Args:
            path: A file.
            limits: The most that is taken on.

        Raises:
            BundleUnreadableError: As `open`.
            OSError: It cannot be read.
        """
        if not stat.S_ISREG(path.stat().st_mode):  # opening a named pipe would wait for ever
            _refuse_file("something that is no plain file")
        with path.open("rb") as file:
            entries = _read_index(file, os.fstat(file.fileno()).st_size, limits)
            yield cls(path, entries, {name: entry.size for name, entry in entries.items()}, file)

    def released(self) -> OneFile:
        """The same, opened anew for every read."""
        return replace(self, held=None)

    def read(self, name: str, at_most: int) -> bytes:
        """As `Storage.read`."""
        entry = self.entries[name]
        with self._file() as file:
            file.seek(entry.start)
            return file.read(min(at_most, entry.size))

    def chunks(self, name: str) -> Iterator[bytes]:
        """As `Storage.chunks`; the CRC-32 is checked at the end."""
        entry = self.entries[name]
        crc, left = 0, entry.size
        with self._file() as file:
            file.seek(entry.start)
            while left and (chunk := file.read(min(left, CHUNK_BYTES))):
                crc = zlib.crc32(chunk, crc)
                left -= len(chunk)
                yield chunk
        if left or crc != entry.crc:
            raise BundleTamperedError(
                f"{name} of the bundle is not what was written",
                got="another CRC-32 or size",
                expected="those in the archive's headers",
                remedy="take the bundle from its source again",
            )

    def _file(self) -> AbstractContextManager[BinaryIO]:
        return self.path.open("rb") if self.held is None else nullcontext(self.held)


def write_one_file(
    path: Path, storage: Storage, progress: Callable[[int, int], None] | None = None
) -> None:
    """Write the canonical archive of some files.

    Args:
        path: A new file, or one to overwrite.
        storage: The files; their names are those that a bundle may have.
        progress: Told how many files are written, and how many there are.

    Raises:
        BundleFormError: They do not fit into a zip without its 64-bit extension.
        BundleTamperedError: A file changed its size since the storage was opened.
        OutputNotWritableError: The place cannot be written or is full.
    """
    try:
        with path.open("wb") as file:
            _write(file, storage, progress or (lambda done, total: None))
    except OSError as error:
        raise OutputNotWritableError.from_os("the bundle", error) from error


def _write(file: BinaryIO, storage: Storage, progress: Callable[[int, int], None]) -> None:
    _check_room(storage.sizes)
    entries: list[Entry] = []
    offset = 0
    for number, name in enumerate(sorted(storage.sizes)):
        progress(number, len(storage.sizes))
        entries.append(_write_entry(file, Entry(name, storage.sizes[name], 0, offset), storage))
        offset = entries[-1].end
    directory = b"".join(entry.central_header() for entry in entries)
    file.write(directory + _end_record(len(entries), len(directory), offset))
    progress(len(entries), len(entries))


def _write_entry(file: BinaryIO, entry: Entry, storage: Storage) -> Entry:
    """Header and contents; the header again once the CRC-32 of what was written is known."""
    file.write(entry.local_header())
    size = crc = 0
    for chunk in contents(storage, entry.name):
        crc = zlib.crc32(chunk, crc)
        size += len(chunk)
        file.write(chunk)
    if size != entry.size:
        raise BundleTamperedError(
            f"{entry.name} of the bundle changed while it was read",
            got=f"{size} bytes",
            expected=f"{entry.size} bytes",
            remedy="run it again while nothing else writes there",
        )
    written = replace(entry, crc=crc)
    file.seek(entry.offset)
    file.write(written.local_header())
    file.seek(written.end)
    return written


def _check_room(sizes: Mapping[str, int]) -> None:
    headers = sum(_LOCAL.size + _CENTRAL.size + 2 * len(name) for name in sizes)
    size = headers + sum(sizes.values()) + _END.size
    if len(sizes) > MOST_FILES or size > MOST_BYTES:
        raise BundleFormError(
            "the bundle is too large for one file",
            got=f"{len(sizes)} files, {size} bytes with their headers",
            expected=f"at most {MOST_FILES} files and {MOST_BYTES} bytes",
            remedy="keep it as a directory",
        )


def _read_index(file: BinaryIO, size: int, limits: BundleLimits) -> dict[str, Entry]:
    """Every entry of the archive, after every header was found to be the one that must be there."""
    start, directory_bytes, files = _read_end(file, size, limits)
    file.seek(start)
    directory = file.read(directory_bytes)
    entries: dict[str, Entry] = {}
    at = offset = total = 0
    last = ""
    for number in range(1, files + 1):
        entry = _read_central(directory[at : at + _CENTRAL.size + LONGEST_NAME], number, offset)
        total += entry.size
        limits.check(entry.size, number, total)
        if entry.name <= last:
            _refuse(f"entry {number} is {entry.name!r} after {last!r}", "each name once, sorted")
        if entry.end > start:
            _refuse(f"entry {number} reaches into the central directory", "room for its contents")
        last = entry.name
        at += _CENTRAL.size + len(entry.name)
        offset = entry.end
        entries[entry.name] = entry
    if at != directory_bytes or offset != start:
        _refuse(
            f"{start - offset + directory_bytes - at} bytes that belong to no entry",
            "entries without gaps between or after them",
        )
    folders: set[str] = set()
    for name in entries:
        folder = name.rpartition("/")[0]
        while folder and folder not in folders:
            folders.add(folder)
            folder = folder.rpartition("/")[0]
    if below := folders & entries.keys():
        _refuse(f"something lies below {min(below)!r}", "names that can be files of one directory")
    for number, entry in enumerate(entries.values(), 1):
        file.seek(entry.offset)
        wanted = entry.local_header()
        where = f"local header of entry {number}"
        _compare(where, file.read(len(wanted)), wanted, _LOCAL, _LOCAL_FIELDS)
    return entries


def _read_end(file: BinaryIO, size: int, limits: BundleLimits) -> tuple[int, int, int]:
    """Offset of the central directory, its size in bytes, and the number of entries."""
    if file.read(4) not in (_LOCAL_SIGNATURE, _END_SIGNATURE):
        _refuse_file("a file that is no bundle")
    if not _END.size <= size <= MOST_BYTES:
        _refuse(f"{size} bytes", f"{_END.size} to {MOST_BYTES} bytes")
    file.seek(size - _END.size)
    end = file.read(_END.size)
    if len(end) != _END.size or not end.startswith(_END_SIGNATURE):
        _refuse("no end record in the last 22 bytes", "an archive that is whole, without a comment")
    _, _, _, _, files, directory_bytes, _, _ = _END.unpack(end)
    start = size - _END.size - directory_bytes
    # So that what is read below is bounded, whatever the record claims.
    longest = files * (_CENTRAL.size + LONGEST_NAME)
    if start < 0 or directory_bytes > longest or files > MOST_FILES:
        _refuse(
            f"a central directory of {directory_bytes} bytes for {files} files",
            f"one that fits the file, at most {longest} bytes",
        )
    if files > limits.files:
        limits.check(0, files, 0)
    _compare("end record", end, _end_record(files, directory_bytes, start), _END, _END_FIELDS)
    return start, directory_bytes, files


def _read_central(record: bytes, number: int, offset: int) -> Entry:
    """One entry of the central directory; `record` may go on with the next one."""
    where = f"central directory, entry {number}"
    if len(record) < _CENTRAL.size:
        _refuse(f"{where}: cut short", "a whole header")
    fields = dict(zip(_CENTRAL_FIELDS, _CENTRAL.unpack_from(record), strict=True))
    name = record[_CENTRAL.size :][: fields["length of the name"]].decode("latin-1")
    if fields["length of the name"] > LONGEST_NAME or not is_file_name(name):
        _refuse(
            f"{where}: the name {shown(name, 220)}",
            "lower-case ASCII words, as docs/bundle.md says",
        )
    entry = Entry(name, fields["size"], fields["CRC-32"], offset)
    wanted = entry.central_header()
    _compare(where, record[: len(wanted)], wanted, _CENTRAL, _CENTRAL_FIELDS)
    return entry


def _compare(
    where: str, got: bytes, wanted: bytes, layout: struct.Struct, fields: tuple[str, ...]
) -> None:
    """Refuse a header that is not the one that must be there, and say which field differs."""
    if got == wanted:
        return
    if len(got) < layout.size:
        _refuse(f"{where}: cut short", "a whole header")
    for name, here, there in zip(
        fields, layout.unpack_from(got), layout.unpack_from(wanted), strict=True
    ):
        if here != there:
            _refuse(f"{where}: {name} {here!r}", f"{there!r}")
    _refuse(f"{where}: another name", "the name in the central directory")


def _refuse(got: str, expected: str) -> NoReturn:
    raise BundleUnreadableError(
        "the file is no bundle in its one canonical form",
        got=got,
        expected=expected,
        remedy="take it from its source again; an archive of a bundle's directory that another "
        "tool made: unpack it with that tool, then `medsdk pack` the directory",
    )


def _refuse_file(got: str) -> NoReturn:
    raise BundleUnreadableError(
        "there is no bundle",
        got=got,
        expected="a directory or a .medsdk file that `medsdk export` or `medsdk pack` wrote",
        remedy="give the bundle itself; `medsdk demo` makes one to try",
    )
