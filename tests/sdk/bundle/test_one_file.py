"""A bundle as one file: the same bundle, read without unpacking, by us and by any zip tool."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import medsdk
from medsdk.bundle import Bundle
from medsdk.bundle.one_file import OneFile
from medsdk.bundle.storage import BundleLimits, Directory
from medsdk.errors import BundleTamperedError, BundleUnreadableError
from medsdk.parity.verification import verify
from tests.sdk.bundle.archives import TIGHT_LIMITS

NETWORK = "networks/filter/fp32.onnx"


def test_file_and_directory_are_one_bundle(packed: Path, bundle_dir: Path) -> None:
    one, many = Bundle.open(packed), Bundle.open(str(bundle_dir))
    assert isinstance(one.storage, OneFile)
    assert isinstance(many.storage, Directory)
    assert one.sha256 == many.sha256
    assert one.manifest == many.manifest
    assert one.storage.sizes == many.storage.sizes
    for name in one.manifest.files:
        assert one.read(name) == many.read(name) == (bundle_dir / name).read_bytes()
    answer = one.manifest.known_answers[0]
    assert (one.array(answer.frame) == many.array(answer.frame)).all()


def test_any_zip_tool_reads_it(packed: Path, bundle_dir: Path) -> None:
    with zipfile.ZipFile(packed) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == sorted(
            path.relative_to(bundle_dir).as_posix()
            for path in bundle_dir.rglob("*")
            if path.is_file()
        )
        for item in archive.infolist():
            assert item.date_time == (1980, 1, 1, 0, 0, 0)
            assert item.compress_type == zipfile.ZIP_STORED
            assert archive.read(item) == (bundle_dir / item.filename).read_bytes()


def test_an_engine_runs_from_the_file_alone(
    packed: Path, bundle_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = bundle_dir / "known_answers/ka-001/input.dcm"
    before = sorted(packed.parent.iterdir())
    with medsdk.load(packed) as one, medsdk.load(bundle_dir) as many:
        assert one.plan.known_answers_checked == many.plan.known_answers_checked > 0
        assert one.predict(source).probabilities == many.predict(source).probabilities
        assert one.provenance.bundle == many.provenance.bundle
    assert verify(Bundle.open(packed), ("onnxruntime",)).verdict == "pass"
    assert sorted(packed.parent.iterdir()) == before  # nothing was unpacked beside it,
    assert list(tmp_path.iterdir()) == []  # nor here


def test_memory_is_bounded_by_the_largest_file_that_is_read(
    folder: Path, document: dict[str, Any], sign: Callable[..., None], tmp_path: Path
) -> None:
    (folder / "evidence/large").write_bytes(os.urandom(64 * 1024**2))
    document["files"]["evidence/large"] = {}
    sign(folder, document)
    tracemalloc.start()
    medsdk.pack(folder, tmp_path / "large.medsdk")
    Bundle.open(tmp_path / "large.medsdk")
    medsdk.unpack(tmp_path / "large.medsdk", tmp_path / "again")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 * 1024**2


# Signatures


def test_a_signature_is_in_the_file_and_not_in_the_identity(folder: Path) -> None:
    (folder / "signature").write_bytes(b"the one")
    (folder / "signature.sigstore.json").write_bytes(b"the other")
    identity = Bundle.open(folder).sha256
    signed = medsdk.pack(folder)
    assert signed.sha256 == identity
    assert signed.storage.sizes["signature.sigstore.json"] == len(b"the other")
    again = medsdk.unpack(signed.storage.path, folder.with_name("again")).storage.path
    assert (again / "signature").read_bytes() == b"the one"
    # The archive knows of every byte, also of those that no manifest lists.
    data = signed.storage.path.read_bytes()
    assert data.count(b"the other") == 1
    signed.storage.path.write_bytes(data.replace(b"the other", b"yet other"))
    with pytest.raises(BundleTamperedError, match=r"signature\.sigstore\.json"):
        Bundle.open(signed.storage.path)


# After it was opened


def test_the_file_may_be_replaced_while_a_bundle_is_open(one_file: Path, tmp_path: Path) -> None:
    bundle = Bundle.open(one_file)
    name = bundle.manifest.known_answers[0].input
    data = bundle.read(name)
    other = tmp_path / "other"
    shutil.copy(one_file, other)
    other.replace(one_file)  # a handle that was kept would stop this on Windows
    assert bundle.read(name) == data

    changed = one_file.read_bytes().replace(data, data[:-1] + bytes([data[-1] ^ 1]))
    other.write_bytes(changed)
    other.replace(one_file)
    with pytest.raises(BundleTamperedError, match="is not what was written"):
        bundle.read(name)
    one_file.write_bytes(changed[:1000])
    with pytest.raises(BundleTamperedError):
        bundle.read(NETWORK)
    with pytest.raises(BundleTamperedError):
        list(bundle.storage.chunks(NETWORK))
    one_file.unlink()
    with pytest.raises(BundleUnreadableError):
        bundle.read(NETWORK)


@pytest.mark.skipif(sys.platform != "linux", reason="counts open files as Linux shows them")
def test_no_file_is_kept_open(one_file: Path) -> None:
    bundle = Bundle.open(one_file)
    bundle.read(NETWORK)
    kept = [path.readlink() for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    assert one_file not in kept


def test_many_threads_read_at_once(packed: Path) -> None:
    bundle = Bundle.open(packed)
    wanted = {name: bundle.read(name) for name in bundle.manifest.files}
    wrong: list[str] = []
    start = threading.Barrier(8)

    def read() -> None:
        start.wait()
        for _ in range(20):
            wrong.extend(name for name, data in wanted.items() if bundle.read(name) != data)

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# Limits, and what is no file


@pytest.mark.parametrize("limits", TIGHT_LIMITS)
def test_a_file_beyond_a_limit_is_unreadable(limits: BundleLimits, packed: Path) -> None:
    with pytest.raises(BundleUnreadableError, match="large"):
        Bundle.open(packed, limits)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_special_file_is_refused_without_being_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # opening it would wait for ever
    with pytest.raises(BundleUnreadableError, match="no plain file"):
        Bundle.open(tmp_path / "pipe")


def test_a_file_that_is_no_archive_is_no_bundle(tmp_path: Path) -> None:
    for data in (b"", b"PK", b"hello\n", b"\x1f\x8b\x08" + bytes(100), bytes(4096)):
        (tmp_path / "file").write_bytes(data)
        with pytest.raises(
            BundleUnreadableError, match="there is no bundle; got: a file"
        ) as caught:
            Bundle.open(tmp_path / "file")
        assert caught.value.exit_status == 4
