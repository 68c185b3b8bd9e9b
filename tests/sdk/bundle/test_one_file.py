"""A bundle as one file: the same bundle, read without unpacking, by us and by any zip tool."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

import medsdk
from medsdk.bundle import Bundle
from medsdk.bundle.one_file import OneFile, write_one_file
from medsdk.bundle.storage import BundleLimits, Directory


@pytest.fixture(scope="session")
def packed(bundle_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The vendor's bundle as one file; tests that change it copy it first."""
    path = tmp_path_factory.mktemp("packed") / "blob bündel.medsdk"
    write_one_file(path, Directory.open(bundle_dir, BundleLimits()))
    return path


def test_file_and_directory_are_one_bundle(packed: Path, bundle_dir: Path) -> None:
    one, many = Bundle.open(packed), Bundle.open(bundle_dir)
    assert one.sha256 == many.sha256
    assert one.manifest == many.manifest
    assert isinstance(one.storage, OneFile)
    for name in one.manifest.files:
        assert one.read(name) == many.read(name) == (bundle_dir / name).read_bytes()
    answer = one.manifest.known_answers[0]
    assert (one.array(answer.frame) == many.array(answer.frame)).all()


def test_an_engine_answers_from_the_file_as_from_the_directory(
    packed: Path, bundle_dir: Path
) -> None:
    source = next(iter(sorted(bundle_dir.glob("known_answers/*/input.dcm"))))
    with medsdk.load(packed) as one, medsdk.load(bundle_dir) as many:
        assert one.predict(source).probabilities == many.predict(source).probabilities
        assert one.provenance.bundle == many.provenance.bundle


def test_any_zip_tool_reads_it(packed: Path, bundle_dir: Path) -> None:
    with zipfile.ZipFile(packed) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert names == sorted(
            path.relative_to(bundle_dir).as_posix()
            for path in bundle_dir.rglob("*")
            if path.is_file()
        )
        for item in archive.infolist():
            assert item.date_time == (1980, 1, 1, 0, 0, 0)
            assert item.compress_type == zipfile.ZIP_STORED
            assert not item.extra
            assert not item.comment
            assert archive.read(item) == (bundle_dir / item.filename).read_bytes()
