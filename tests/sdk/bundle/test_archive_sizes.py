"""Archives that claim or hold too much, archives of other tools, and writing one."""

from __future__ import annotations

import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from medsdk.bundle import Bundle
from medsdk.bundle.one_file import MOST_BYTES, MOST_FILES, OneFile, write_one_file
from medsdk.bundle.storage import BundleLimits, Directory
from medsdk.errors import (
    BundleFormError,
    BundleTamperedError,
    BundleUnreadableError,
    OutputNotWritableError,
)
from tests.sdk.bundle.archives import Memory, by_hand, zipped

# Bombs


def test_bombs_are_refused_before_anything_is_unpacked(
    tmp_path: Path, refused: Callable[..., str]
) -> None:
    bomb = zipped(
        {"manifest.json": bytes(256 * 1024**2)},
        lambda item: setattr(item, "compress_type", zipfile.ZIP_DEFLATED),
    )
    assert len(bomb) < 1024**2
    refused(bomb, "compression method 8")
    # One local file under many names: 65,000 of 64 KiB each would be 4 GiB of contents.
    shared = by_hand([("a", bytes(65536))])
    entry = shared[-22 - 47 : -22]
    end = struct.pack("<4H2IH", 0, 0, 60_000, 60_000, 47 * 60_000, len(shared) - 69, 0)
    refused(shared[: -22 - 47] + entry * 60_000 + b"PK\5\6" + end, "entry 2")


def test_a_manifest_beyond_its_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.medsdk"
    files = {"manifest.json": bytes(17 * 1024**2), "manifest.sha256": b""}
    path.write_bytes(by_hand(list(files.items())))
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

    headers = len(by_hand([("a", b"")]))
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
