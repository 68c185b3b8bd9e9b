"""Copies of the vendor's bundle to be tampered with, and signing them again by hand."""

from __future__ import annotations

import hashlib
import json
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medsdk.bundle.one_file import OneFile
from medsdk.bundle.storage import BundleLimits
from medsdk.errors import BundleUnreadableError

Sign = Callable[[Path, bytes | dict[str, Any] | None], None]


def _sign(folder: Path, manifest: bytes | dict[str, Any] | None = None) -> None:
    """Make every digest right again, for a manifest as it is given or as it was.

    Bytes are signed as they are; of a document, and of the manifest that is there, the file
    records follow what lies in the folder.
    """
    path = folder / "manifest.json"
    if not isinstance(manifest, bytes):
        document: dict[str, Any] = manifest or json.loads(path.read_bytes())
        for name, record in document["files"].items():
            file = folder / name
            if file.is_file() and isinstance(record, dict):
                data = file.read_bytes()
                record["size_bytes"] = len(data)
                record["sha256"] = hashlib.sha256(data).hexdigest()
        manifest = json.dumps(document, sort_keys=True, ensure_ascii=False).encode()
    path.write_bytes(manifest)
    digest = hashlib.sha256(manifest).hexdigest()
    (folder / "manifest.sha256").write_bytes(f"{digest}\n".encode())


@pytest.fixture(scope="session")
def sign() -> Sign:
    """Sign a bundle's folder again."""
    return _sign


@pytest.fixture
def folder(bundle_dir: Path, tmp_path: Path) -> Path:
    """A bundle that a test may change."""
    copy = tmp_path / "copy"
    shutil.copytree(bundle_dir, copy)
    return copy


@pytest.fixture
def document(folder: Path) -> dict[str, Any]:
    """The parsed manifest of `folder`."""
    parsed: dict[str, Any] = json.loads((folder / "manifest.json").read_bytes())
    return parsed


@pytest.fixture
def one_file(packed: Path, tmp_path: Path) -> Path:
    """A bundle as one file that a test may change."""
    return Path(shutil.copy(packed, tmp_path / "copy.medsdk"))


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
