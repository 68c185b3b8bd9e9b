"""`export --out NAME.medsdk`: one file, verified as it is, whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import medsdk
from medsdk.bundle import Bundle
from medsdk.bundle.one_file import OneFile, write_one_file
from medsdk.bundle.storage import Storage
from medsdk.errors import BundleTamperedError, OutputNotWritableError
from medsdk_export import build
from medsdk_export.build import PHASES, export_bundle


def _names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_the_file_is_the_directory_packed(
    few: Any, tmp_path: Path, only_onnxruntime: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    out = tmp_path / "place" / "büндle.medsdk"
    result = export_bundle(few.request(out))
    assert _names(out.parent) == [out.name]
    assert isinstance(Bundle.open(out).storage, OneFile)
    assert Bundle.open(out).sha256 == result.sha256
    assert result.verification.verdict == "pass"
    again = export_bundle(few.request(tmp_path / "directory"))
    assert again.sha256 == result.sha256
    medsdk.pack(tmp_path / "directory")
    assert (tmp_path / "directory.medsdk").read_bytes() == out.read_bytes()

    # By force over a file, and over what has the name of one and is a directory.
    changed = few.request(out, known_answers=3, replace=True)
    assert Bundle.open(out).sha256 != export_bundle(changed).sha256 == Bundle.open(out).sha256
    out.unlink()
    (tmp_path / "directory").rename(out)
    export_bundle(changed)
    assert _names(out.parent) == [out.name]
    out.write_bytes(b"PK\3\4 and no bundle")
    with pytest.raises(OutputNotWritableError, match="no bundle"):
        export_bundle(changed)


@pytest.mark.parametrize("phase", [PHASES[3], *PHASES[-2:]])
def test_an_export_to_a_file_that_is_stopped_leaves_nothing(
    phase: str, few: Any, tmp_path: Path, only_onnxruntime: None
) -> None:
    def stop(name: str, done: int, total: int | None) -> None:
        if name == phase and done == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_bundle(few.request(tmp_path / "place" / "out.medsdk"), stop)
    assert _names(tmp_path / "place") == []


def test_it_is_the_file_that_is_verified(
    few: Any, tmp_path: Path, only_onnxruntime: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = write_one_file

    def damaged(path: Path, storage: Storage) -> None:
        write(path, storage)
        data = path.read_bytes()
        path.write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])

    monkeypatch.setattr(build, "write_one_file", damaged)
    with pytest.raises(BundleTamperedError):
        export_bundle(few.request(tmp_path / "place" / "out.medsdk"))
    assert _names(tmp_path / "place") == []
