"""Archives that are not the canonical one, made by Python's zipfile and by hand: all refused."""

from __future__ import annotations

import io
import random
import re
import shutil
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medsdk.bundle import Bundle
from medsdk.bundle.one_file import MOST_BYTES, MOST_FILES, OneFile, write_one_file
from medsdk.bundle.storage import BundleLimits, Directory
from medsdk.errors import (
    BundleFormError,
    BundleTamperedError,
    BundleUnreadableError,
    OutputNotWritableError,
)

Files = dict[str, bytes]
NETWORK = "networks/filter/fp32.onnx"


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


def _written(files: Files, path: Path) -> bytes:
    write_one_file(path, Memory(files))
    return path.read_bytes()


def _zipped(
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


def _by_hand(
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


@pytest.fixture
def opened(tmp_path: Path) -> Callable[[bytes], OneFile]:
    def call(data: bytes) -> OneFile:
        (tmp_path / "archive.medsdk").write_bytes(data)
        return OneFile.open(tmp_path / "archive.medsdk", BundleLimits())

    return call


@pytest.fixture
def refused(opened: Callable[[bytes], OneFile]) -> Callable[..., str]:
    def call(data: bytes, part: str = "") -> str:
        tracemalloc.start()
        with pytest.raises(BundleUnreadableError) as caught:
            opened(data)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert caught.value.exit_status == 4
        assert peak < 4 * 1024**2
        assert part in caught.value.got, caught.value.got
        assert caught.value.expected
        assert "medsdk" in caught.value.remedy or "larger" in caught.value.what
        return str(caught.value)

    return call


# The one right sequence of bytes


def test_three_writers_agree_byte_for_byte(tmp_path: Path) -> None:
    """Ours, Python's zipfile, and one made field by field from the specification."""
    assert _written(FILES, tmp_path / "a") == _zipped(FILES) == _by_hand(PAIRS)


def test_a_whole_bundle_is_what_zipfile_would_write(packed: Path, bundle_dir: Path) -> None:
    files = {
        path.relative_to(bundle_dir).as_posix(): path.read_bytes()
        for path in bundle_dir.rglob("*")
        if path.is_file()
    }
    assert packed.read_bytes() == _zipped(files)


_WORD = st.from_regex(r"[a-z0-9]([a-z0-9_.\-]{0,5}[a-z0-9_\-])?", fullmatch=True).filter(
    lambda word: not re.match(r"(aux|con|nul|prn|(com|lpt)[1-9])(\.|$)", word)
)
_NAME = st.lists(_WORD, min_size=1, max_size=4).map("/".join)
_FILES = st.dictionaries(_NAME, st.binary(max_size=3000), max_size=12).map(
    lambda files: {
        name: data
        for name, data in files.items()
        if not any(other.startswith(f"{name}/") for other in files)
    }
)


@settings(max_examples=80, deadline=None)
@given(files=_FILES)
def test_any_files_come_back_and_any_zip_tool_reads_them(
    files: Files, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "property.medsdk"
    assert _written(files, path) == _zipped(files)
    one = OneFile.open(path, BundleLimits())
    assert list(one.sizes) == sorted(files)
    for name, data in files.items():
        assert one.sizes[name] == len(data)
        assert b"".join(one.chunks(name)) == one.read(name, len(data) + 1) == data
        assert one.read(name, 3) == data[:3]
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert {item.filename: archive.read(item) for item in archive.infolist()} == files


# Single bytes


def test_each_of_2000_random_single_byte_changes_of_a_bundle_is_refused(one_file: Path) -> None:
    rng = random.Random(20_261_125)
    whole = one_file.read_bytes()
    refused = unreadable = 0
    with one_file.open("r+b", buffering=0) as file:
        for _ in range(2000):
            position = rng.randrange(len(whole))
            file.seek(position)
            file.write(bytes([whole[position] ^ rng.randrange(1, 256)]))
            with pytest.raises((BundleTamperedError, BundleUnreadableError)) as caught:
                Bundle.open(one_file)
            refused += 1
            unreadable += isinstance(caught.value, BundleUnreadableError)
            file.seek(position)
            file.write(whole[position : position + 1])
    assert refused == 2000
    assert 20 < unreadable < 200  # those that hit a header: about 3 % of the bytes are
    Bundle.open(one_file)


def test_every_bit_of_every_header_counts(opened: Callable[[bytes], OneFile]) -> None:
    whole = _by_hand(PAIRS)
    contents: set[int] = set()
    for entry in opened(whole).entries.values():
        contents.update(range(entry.start, entry.end))
    headers = [position for position in range(len(whole)) if position not in contents]
    assert len(headers) == len(whole) - sum(map(len, FILES.values())) > 300
    for position in headers:
        for bit in range(8):
            data = bytearray(whole)
            data[position] ^= 1 << bit
            with pytest.raises(BundleUnreadableError):
                opened(bytes(data))


def test_a_file_cut_anywhere_or_with_bytes_added_is_refused(one_file: Path) -> None:
    whole = one_file.read_bytes()
    rng = random.Random(5)
    cuts = {0, 1, 4, 21, 22, 30, len(whole) - 23, len(whole) - 22, len(whole) - 1}
    cuts |= {rng.randrange(len(whole)) for _ in range(200)}
    for length in sorted(cuts):
        one_file.write_bytes(whole[:length])
        with pytest.raises(BundleUnreadableError):
            Bundle.open(one_file)
    for more in (b"\0", b"\n", b"x" * 100, whole[-22:], whole):
        for data in (whole + more, more + whole):
            one_file.write_bytes(data)
            with pytest.raises(BundleUnreadableError):
                Bundle.open(one_file)
    for _ in range(200):
        position = rng.randrange(1, len(whole))
        one_file.write_bytes(whole[:position] + rng.randbytes(1) + whole[position:])
        with pytest.raises((BundleUnreadableError, BundleTamperedError)):
            Bundle.open(one_file)
    one_file.write_bytes(whole)
    Bundle.open(one_file)


# By zipfile


def _symlink(item: zipfile.ZipInfo) -> None:
    item.create_system = 3
    item.external_attr = 0o120777 << 16


def _comment(item: zipfile.ZipInfo) -> None:
    item.comment = b"hello"


def _extra(item: zipfile.ZipInfo) -> None:
    item.extra = struct.pack("<HH4s", 0xCAFE, 4, b"evil")


def _set(**fields: Any) -> Callable[[zipfile.ZipInfo], None]:
    def change(item: zipfile.ZipInfo) -> None:
        for name, value in fields.items():
            setattr(item, name, value)

    return change


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (_symlink, "version made by"),
        (_set(create_version=20), "version made by"),
        (_set(external_attr=0o120777 << 16), "external attributes"),
        (_set(external_attr=0x10), "external attributes"),
        (_set(internal_attr=1), "internal attributes"),
        (_comment, "length of the comment"),
        (_extra, "length of the extra field"),
        (_set(date_time=(2026, 11, 25, 12, 0, 0)), "time 24576"),
        (_set(date_time=(2026, 11, 25, 0, 0, 0)), "date 23929"),
        (_set(compress_type=zipfile.ZIP_DEFLATED), "compression method 8"),
        (_set(compress_type=zipfile.ZIP_LZMA), "version made by 63"),
        (_set(extract_version=20), "version needed 20"),
    ],
)
def test_entries_that_zipfile_writes_otherwise_are_refused(
    change: Callable[[zipfile.ZipInfo], object], part: str, refused: Callable[..., str]
) -> None:
    data = _zipped(FILES, change)
    assert zipfile.ZipFile(io.BytesIO(data)).testzip() is None  # nothing else is wrong
    refused(data, part)


def test_an_archive_with_a_comment_is_refused(refused: Callable[..., str]) -> None:
    def comment(archive: zipfile.ZipFile) -> None:
        archive.comment = b"hello"

    refused(_zipped(FILES, afterwards=comment), "no end record in the last 22 bytes")
    end = struct.pack("<4H2IH", 0, 0, 0, 0, 0, 0, 0)

    def hidden(archive: zipfile.ZipFile) -> None:
        archive.comment = b"PK\5\6" + end  # an end record of no files, in the comment

    refused(_zipped(FILES, afterwards=hidden))


def test_zip64_is_refused(refused: Callable[..., str]) -> None:
    refused(_zipped(FILES, force_zip64=True), "version made by 45")
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 4, 4, 10, 10)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, 10, 1)
    refused(_by_hand(PAIRS, after_directory=record + locator), "offset of the central directory")
    escape = {"files": 0xFFFF, "here": 0xFFFF, "size": 0xFFFFFFFF, "offset": 0xFFFFFFFF}
    refused(_by_hand(PAIRS, end=escape), "central directory")
    for fields in ({"size": 2**32 - 1, "packed": 2**32 - 1}, {"offset": 2**32 - 1}):
        extra = struct.pack("<HH3Q", 1, 24, 0, 0, 0)
        refused(_by_hand(PAIRS, central=fields, central_extra=extra))


def test_streamed_archives_are_refused(refused: Callable[..., str]) -> None:
    class Pipe(io.RawIOBase):
        data = b""

        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            self.data += bytes(data)
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w") as archive:
        for name, data in FILES.items():
            item = zipfile.ZipInfo(name)
            item.create_system, item.create_version, item.extract_version = 0, 10, 10
            archive.writestr(item, data)
            item.external_attr = 0
    assert zipfile.ZipFile(io.BytesIO(pipe.data)).testzip() is None
    refused(pipe.data, "flags 8")


# By hand


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"prefix": b"#!/bin/sh\n"}, "a file that is no bundle"),
        ({"prefix": b"PK\3\4"}, "offset of the local header"),
        ({"gap": b"x"}, "offset of the local header"),
        ({"gap": b"PK\3\4"}, "offset of the local header"),
        ({"before_directory": b"x"}, "1 bytes that belong to no entry"),
        ({"after_directory": b"x"}, "offset of the central directory"),
        ({"after_directory": b"x", "end": {"size": 205}}, "1 bytes that belong to no entry"),
        ({"suffix": b"x"}, "no end record"),
        ({"local_extra": b"\xfe\xca\0\0"}, "offset of the local header"),
        ({"central_extra": b"\xfe\xca\0\0"}, "length of the extra field 4"),
        ({"local": {"flags": 1}}, "local header of entry 2: flags 1"),
        ({"local": {"flags": 1}, "central": {"flags": 1}}, "flags 1"),
        ({"local": {"flags": 2048}, "central": {"flags": 2048}}, "flags 2048"),
        ({"local": {"flags": 8, "crc": 0}, "central": {"flags": 8}}, "flags 8"),
        ({"local": {"method": 8}}, "local header of entry 2: compression method 8"),
        ({"central": {"method": 8}}, "entry 2: compression method 8"),
        ({"local": {"date": 0}, "central": {"date": 0}}, "date 0"),
        ({"local": {"time": 1}}, "local header of entry 2: time 1"),
        ({"local": {"crc": 1}}, "local header of entry 2: CRC-32 1"),
        ({"central": {"crc": 1}}, "local header of entry 2: CRC-32 0"),
        ({"local": {"size": 1}}, "local header of entry 2: size 1"),
        ({"local": {"size": 1, "packed": 1}}, "local header of entry 2: compressed size 1"),
        ({"central": {"size": 1}}, "compressed size 0"),
        ({"central": {"size": 1, "packed": 1}}, "entry 3: offset"),
        ({"central": {"size": 2**31, "packed": 2**31}}, "into the central directory"),
        ({"central": {"disk": 1}}, "disk 1"),
        ({"central": {"offset": 0}}, "offset of the local header 0"),
        ({"central": {"comment": 1}}, "length of the comment 1"),
        ({"central": {"name": 0}}, "the name ''"),
        ({"central": {"name": 2**16 - 1}}, "the name"),
        ({"local": {"name": 2}}, "local header of entry 2: length of the name 2"),
        ({"end": {"disk": 1}}, "disk 1"),
        ({"end": {"disk of directory": 1}}, "disk of the central directory 1"),
        ({"end": {"here": 3}}, "files on this disk 3"),
        ({"end": {"files": 3, "here": 3}}, "bytes that belong to no entry"),
        ({"end": {"files": 5, "here": 5}}, "cut short"),
        ({"end": {"files": 0, "here": 0}}, "0 files"),
        ({"end": {"files": MOST_FILES, "here": MOST_FILES}}, "cut short"),
        ({"end": {"size": 0}}, ""),
        ({"end": {"size": 2**32 - 1}}, "central directory of 4294967295 bytes"),
        ({"end": {"files": 60_000, "here": 60_000, "size": 10**6}}, "directory of 1000000 bytes"),
        ({"end": {"offset": 0}}, "offset of the central directory 0"),
        ({"end": {"comment": 1}}, "length of the archive's comment 1"),
    ],
    ids=str,
)
def test_archives_with_one_thing_wrong_are_refused(
    change: dict[str, Any], part: str, refused: Callable[..., str]
) -> None:
    refused(_by_hand(PAIRS, **change), part)


@pytest.mark.parametrize(
    "name",
    [
        "../outside", "a/../../outside", "/etc/hostname", "//server/share", "C:/Windows/win.ini",
        "..\\outside", "a\\b", "Upper", "./a", "a//b", "a/", "a/.hidden", ".hidden", "", "a\nb",
        "a\0b", "a ", "a\n", "bündel", "ａ", b"\xff\xfe", "x" * 201, "/".join("abcdefghij"),
        "aux", "nul.onnx", "a/con", "com1/x", "a/lpt9.tar.gz", "a.", "a./b", "_a", "-a", "a/_b",
        "prn.x.y",
    ],
)  # fmt: skip
def test_names_that_a_bundle_cannot_have_are_refused(
    name: str | bytes, refused: Callable[..., str]
) -> None:
    said = refused(_by_hand([("a", b"1"), (name, b"2")]), "entry 2: the name ")
    said.encode()  # can be printed
    assert len(said) < 1000


@pytest.mark.parametrize(
    ("names", "part"),
    [
        (["b", "a"], "'a' after 'b'"),
        (["a", "b", "b"], "'b' after 'b'"),
        (["a", "a"], "'a' after 'a'"),
        (["manifest.json", "a", "z"], "'a' after"),
        (["a/b", "a.b"], "'a.b' after 'a/b'"),  # by their bytes: "." comes before "/"
        (["a", "a/b"], "something lies below 'a'"),
        (["a", "a.b", "a/b/c"], "something lies below 'a'"),
    ],
)
def test_names_twice_unsorted_or_below_a_file_are_refused(
    names: list[str], part: str, refused: Callable[..., str]
) -> None:
    refused(_by_hand([(name, name.encode()) for name in names]), part)


def test_a_checksum_that_both_headers_lie_about_is_refused_when_it_is_read(
    opened: Callable[[bytes], OneFile],
) -> None:
    lie = {"crc": 123}
    one = opened(_by_hand(PAIRS, local=lie, central=lie))
    assert b"".join(one.chunks("c")) == FILES["c"]
    with pytest.raises(BundleTamperedError, match="CRC-32"):
        list(one.chunks("b"))


@pytest.mark.parametrize("signed", [False, True])
def test_a_bundle_whose_checksums_lie_is_refused(
    signed: bool, packed: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(packed) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    if signed:
        files["signature"] = b"signed"
    for name in (
        "evidence/attempts.json",
        "manifest.sha256",
        "manifest.json",
        NETWORK,
        "signature",
    ):
        if name in files:
            path = tmp_path / "lie.medsdk"
            path.write_bytes(_by_hand(sorted(files.items())))
            Bundle.open(path)
            path.write_bytes(_by_hand(sorted(files.items()), checksums={name: 123}))
            with pytest.raises(BundleTamperedError, match="is not what was written"):
                Bundle.open(path)


# Bombs


def test_bombs_are_refused_before_anything_is_unpacked(
    tmp_path: Path, refused: Callable[..., str]
) -> None:
    bomb = _zipped(
        {"manifest.json": bytes(256 * 1024**2)},
        lambda item: setattr(item, "compress_type", zipfile.ZIP_DEFLATED),
    )
    assert len(bomb) < 1024**2
    refused(bomb, "compression method 8")
    # One local file under many names: 65,000 of 64 KiB each would be 4 GiB of contents.
    shared = _by_hand([("a", bytes(65536))])
    entry = shared[-22 - 47 : -22]
    end = struct.pack("<4H2IH", 0, 0, 60_000, 60_000, 47 * 60_000, len(shared) - 69, 0)
    refused(shared[: -22 - 47] + entry * 60_000 + b"PK\5\6" + end, "entry 2")


def test_a_manifest_beyond_its_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.medsdk"
    files = {"manifest.json": bytes(17 * 1024**2), "manifest.sha256": b""}
    path.write_bytes(_by_hand(list(files.items())))
    with pytest.raises(BundleUnreadableError, match="too large"):
        Bundle.open(path)


def test_sparse_files_are_refused_by_their_size_alone(tmp_path: Path) -> None:
    path = tmp_path / "sparse.medsdk"
    for size in (MOST_BYTES, MOST_BYTES + 1, 1 << 40):
        for end in (b"", b"PK\5\6" + struct.pack("<4H2IH", 0, 0, 0, 0, 0, (size - 22) % 2**32, 0)):
            with path.open("wb") as file:
                file.write(b"PK\3\4")
                file.truncate(size)
                file.seek(-len(end), 2)
                file.write(end)
            with pytest.raises(BundleUnreadableError) as caught:
                Bundle.open(path)
            assert size <= MOST_BYTES or caught.value.got == f"{size} bytes"


# Archives of a bundle that other tools made


def test_a_plain_zip_of_a_bundle_is_refused_with_what_to_do(
    bundle_dir: Path, tmp_path: Path
) -> None:
    inside = shutil.make_archive(str(tmp_path / "inside"), "zip", bundle_dir)
    above = shutil.make_archive(str(tmp_path / "above"), "zip", bundle_dir.parent, bundle_dir.name)
    for made in (inside, above):
        with pytest.raises(BundleUnreadableError) as caught:
            Bundle.open(made)
        assert "not" not in caught.value.got
        assert "then `medsdk pack` the directory" in caught.value.remedy
    shutil.unpack_archive(inside, tmp_path / "again")
    assert Bundle.open(tmp_path / "again").sha256 == Bundle.open(bundle_dir).sha256


# Writing


def test_what_is_too_large_for_one_file_is_refused(
    tmp_path: Path,
) -> None:
    many = Memory(dict.fromkeys((f"f{number:05}" for number in range(MOST_FILES + 1)), b""))
    with pytest.raises(BundleFormError, match="too large for one file") as caught:
        write_one_file(tmp_path / "many", many)
    assert caught.value.exit_status == 2
    assert "directory" in caught.value.remedy
    del many.files["f00000"], many.sizes["f00000"]
    write_one_file(tmp_path / "most", many)
    assert len(OneFile.open(tmp_path / "most", BundleLimits()).sizes) == MOST_FILES

    headers = len(_by_hand([("a", b"")]))
    for size, error in ((MOST_BYTES - headers, BundleTamperedError), (2**32, BundleFormError)):
        with pytest.raises(error):
            write_one_file(tmp_path / "large", Memory({"a": b""}, {"a": size}))
    with pytest.raises(BundleFormError, match=f"1 files, {MOST_BYTES + 1} bytes"):
        write_one_file(tmp_path / "large", Memory({"a": b""}, {"a": MOST_BYTES - headers + 1}))
    assert (tmp_path / "large").stat().st_size == 0  # before anything was written


def test_contents_that_change_while_they_are_written_are_refused(tmp_path: Path) -> None:
    for size in (2, 4):
        with pytest.raises(BundleTamperedError, match="changed while it was read"):
            write_one_file(tmp_path / "a", Memory({"a": b"123"}, {"a": size}))


def test_a_full_disk_is_said(bundle_dir: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    with pytest.raises(OutputNotWritableError, match="No space left"):
        write_one_file(full, Directory.open(bundle_dir, BundleLimits()))
