"""Archives that are not the canonical one, made by Python's zipfile and by hand: all refused."""

from __future__ import annotations

import io
import random
import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medsdk.bundle import Bundle
from medsdk.bundle.one_file import MOST_FILES, OneFile
from medsdk.bundle.storage import BundleLimits
from medsdk.errors import (
    BundleTamperedError,
    BundleUnreadableError,
)
from tests.sdk.bundle.archives import FILES, PAIRS, Files, by_hand, written, zipped

NETWORK = "networks/filter/fp32.onnx"


# The one right sequence of bytes


def test_three_writers_agree_byte_for_byte(tmp_path: Path) -> None:
    """Ours, Python's zipfile, and one made field by field from the specification."""
    assert written(FILES, tmp_path / "a") == zipped(FILES) == by_hand(PAIRS)


def test_a_whole_bundle_is_what_zipfile_would_write(packed: Path, bundle_dir: Path) -> None:
    files = {
        path.relative_to(bundle_dir).as_posix(): path.read_bytes()
        for path in bundle_dir.rglob("*")
        if path.is_file()
    }
    assert packed.read_bytes() == zipped(files)


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
    assert written(files, path) == zipped(files)
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
    whole = by_hand(PAIRS)
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
    data = zipped(FILES, change)
    assert zipfile.ZipFile(io.BytesIO(data)).testzip() is None  # nothing else is wrong
    refused(data, part)


def test_an_archive_with_a_comment_is_refused(refused: Callable[..., str]) -> None:
    def comment(archive: zipfile.ZipFile) -> None:
        archive.comment = b"hello"

    refused(zipped(FILES, afterwards=comment), "no end record in the last 22 bytes")
    end = struct.pack("<4H2IH", 0, 0, 0, 0, 0, 0, 0)

    def hidden(archive: zipfile.ZipFile) -> None:
        archive.comment = b"PK\5\6" + end  # an end record of no files, in the comment

    refused(zipped(FILES, afterwards=hidden))


def test_zip64_is_refused(refused: Callable[..., str]) -> None:
    refused(zipped(FILES, force_zip64=True), "version made by 45")
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 4, 4, 10, 10)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, 10, 1)
    refused(by_hand(PAIRS, after_directory=record + locator), "offset of the central directory")
    escape = {"files": 0xFFFF, "here": 0xFFFF, "size": 0xFFFFFFFF, "offset": 0xFFFFFFFF}
    refused(by_hand(PAIRS, end=escape), "central directory")
    for fields in ({"size": 2**32 - 1, "packed": 2**32 - 1}, {"offset": 2**32 - 1}):
        extra = struct.pack("<HH3Q", 1, 24, 0, 0, 0)
        refused(by_hand(PAIRS, central=fields, central_extra=extra))


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
    refused(by_hand(PAIRS, **change), part)


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
    said = refused(by_hand([("a", b"1"), (name, b"2")]), "entry 2: the name ")
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
    refused(by_hand([(name, name.encode()) for name in names]), part)


def test_a_checksum_that_both_headers_lie_about_is_refused_when_it_is_read(
    opened: Callable[[bytes], OneFile],
) -> None:
    lie = {"crc": 123}
    one = opened(by_hand(PAIRS, local=lie, central=lie))
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
            path.write_bytes(by_hand(sorted(files.items())))
            Bundle.open(path)
            path.write_bytes(by_hand(sorted(files.items()), checksums={name: 123}))
            with pytest.raises(BundleTamperedError, match="is not what was written"):
                Bundle.open(path)
