"""Where a packed or unpacked bundle may go: nothing that is no bundle is ever deleted for it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import medsdk
from medsdk.bundle import Bundle
from medsdk.errors import BundleFormError, MedsdkError, OutputNotWritableError

Tree = dict[str, bytes | None]
FORMS = pytest.mark.parametrize("form", ["pack", "unpack"])


def _tree(folder: Path) -> Tree:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


@pytest.fixture
def source(form: str, bundle_dir: Path, packed: Path) -> Path:
    return bundle_dir if form == "pack" else packed


def _web_app(place: Path) -> None:
    place.mkdir()
    (place / "manifest.json").write_text('{"name": "My app", "icons": []}')
    (place / "index.html").write_text("<html>")


def _bare(place: Path) -> None:
    place.mkdir()
    (place / "manifest.json").write_text("{}")


def _no_digest(place: Path) -> None:
    _bare(place)
    (place / "manifest.sha256").write_text("not a digest\n")


def _one_more(place: Path) -> None:
    _bare(place)
    (place / "manifest.sha256").write_text("0" * 64 + "\n")
    (place / "holiday.jpg").write_text("x")


@FORMS
@pytest.mark.parametrize("make", [_web_app, _bare, _no_digest, _one_more])
def test_a_directory_with_some_manifest_is_no_bundle(
    form: str, make: Callable[[Path], None], source: Path, tmp_path: Path
) -> None:
    make(tmp_path / "out")
    before = _tree(tmp_path)
    with pytest.raises(OutputNotWritableError, match="is no bundle"):
        getattr(medsdk, form)(source, tmp_path / "out", replace=True)
    assert _tree(tmp_path) == before


@pytest.mark.parametrize("out", [".", "b", "b/x", "b/networks", "link", "link/x"])
def test_pack_never_deletes_its_source(out: str, bundle_dir: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    shutil.copytree(bundle_dir, place / "b")
    for name in ("manifest.json", "manifest.sha256"):  # so that the directory passes for a bundle
        shutil.copy(bundle_dir / name, place)
    (place / "b").rename(place / "networks")
    (place / "b").symlink_to("networks")
    (place / "link").symlink_to("networks")
    before = _tree(place)
    with pytest.raises(OutputNotWritableError, match=r"would lie|no bundle") as caught:
        medsdk.pack(place / "networks", place / out, replace=True)
    assert "would lie" in caught.value.what
    assert _tree(place) == before


def test_unpack_never_deletes_its_source(one_file: Path) -> None:
    place = one_file.parent
    (place / "link").symlink_to(one_file)
    (place / "holder/evidence").mkdir(parents=True)
    shutil.copy(one_file, place / "holder/evidence/x.medsdk")
    for name in ("manifest.json", "manifest.sha256"):
        (place / "holder" / name).write_text("0" * 64 + "\n")
    before = _tree(place)
    for source, out in (
        (one_file, one_file),
        (one_file, place / "link"),
        (place / "link", one_file),
        (place / "holder/evidence/x.medsdk", place / "holder"),
    ):
        with pytest.raises(OutputNotWritableError, match="would lie"):
            medsdk.unpack(source, out, replace=True)
    assert _tree(place) == before


@FORMS
@pytest.mark.parametrize("kind", ["file", "folder", "bundle"])
def test_what_appears_meanwhile_stays(form: str, kind: str, source: Path, tmp_path: Path) -> None:
    place = tmp_path / "place" / "out"

    def appear(phase: str, done: int, total: int | None) -> None:
        if phase == "checking what was written":
            if kind == "file":
                place.write_bytes(b"holiday")
            elif kind == "folder":
                place.mkdir()
                (place / "holiday.jpg").write_bytes(b"x")
            else:
                shutil.copytree(source, place) if form == "pack" else shutil.copy(source, place)

    with pytest.raises(OutputNotWritableError, match="is there already") as caught:
        getattr(medsdk, form)(source, place, progress=appear)
    assert "replace=True" in caught.value.remedy
    assert [path.name for path in place.parent.iterdir()] == ["out"]
    if kind == "bundle":
        Bundle.open(place)
    else:
        assert _tree(place.parent).popitem()[1] in (b"holiday", b"x")


def test_a_file_appears_where_there_are_no_hard_links(
    bundle_dir: Path, packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    medsdk.pack(bundle_dir, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == packed.read_bytes()

    def appear(phase: str, done: int, total: int | None) -> None:
        (tmp_path / "late").write_bytes(b"holiday")

    with pytest.raises(OutputNotWritableError, match="is there already"):
        medsdk.pack(bundle_dir, tmp_path / "late", progress=appear)
    assert sorted(_tree(tmp_path)) == ["late", "out"]
    assert (tmp_path / "late").read_bytes() == b"holiday"


@FORMS
@pytest.mark.skipif(sys.platform == "win32", reason="needs links and pipes")
def test_places_that_cannot_be_are_errors_of_ours(form: str, source: Path, tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "dangling").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    before = sorted(tmp_path.iterdir())
    for out in ("a", "a/x", "x\0y", "x" * 300, "dangling", "pipe"):
        for replace in (False, True):
            with pytest.raises(OutputNotWritableError) as caught:
                getattr(medsdk, form)(source, tmp_path / out, replace=replace)
            assert str(tmp_path) not in str(caught.value)
            assert caught.value.remedy
            assert "--force" not in caught.value.remedy
    assert sorted(tmp_path.iterdir()) == before


@FORMS
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it cannot be removed")
def test_a_working_directory_that_is_gone_is_an_error_of_ours(
    form: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(OutputNotWritableError):
        getattr(medsdk, form)(source, "out")
    with pytest.raises(MedsdkError):
        getattr(medsdk, form)(".")


@pytest.mark.parametrize("name", ["UPPER.MEDSDK", "x.zip", "..medsdk", ".medsdk"])
def test_a_name_that_tells_no_directory_is_refused(name: str, packed: Path, tmp_path: Path) -> None:
    shutil.copy(packed, tmp_path / name)
    with pytest.raises(BundleFormError, match="in small letters") as caught:
        medsdk.unpack(tmp_path / name)
    assert "`out`" in caught.value.remedy


def test_the_root_has_no_default_file(bundle_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: Any = Bundle.open(bundle_dir)
    monkeypatch.setattr(Bundle, "open", lambda *rest: opened)
    with pytest.raises(OutputNotWritableError):
        medsdk.pack("/")
