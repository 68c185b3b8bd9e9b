"""Packing and unpacking: the same bundle, the same bytes, whole or not at all."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import medsdk
from medsdk.bundle import Bundle, packing
from medsdk.bundle.one_file import write_one_file
from medsdk.errors import (
    BundleFormError,
    BundleTamperedError,
    BundleUnreadableError,
    MedsdkError,
    OutputNotWritableError,
)

NETWORK = "networks/filter/fp32.onnx"
Tree = dict[str, bytes | None]


def _tree(folder: Path) -> Tree:
    """Every path below a folder, hidden ones too, with its bytes."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def test_there_and_back_again_is_the_same_to_the_byte(packed: Path, tmp_path: Path) -> None:
    whole = packed.read_bytes()
    directory = tmp_path / "directory"
    assert medsdk.unpack(packed, directory).sha256 == Bundle.open(packed).sha256
    again = medsdk.pack(directory, tmp_path / "again")
    assert again.sha256 == Bundle.open(packed).sha256
    assert (tmp_path / "again").read_bytes() == whole
    assert _tree(medsdk.unpack(tmp_path / "again", tmp_path / "b").storage.path) == _tree(directory)


def test_neither_times_nor_modes_nor_the_order_on_disk_are_in_the_file(
    bundle_dir: Path, packed: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    for path in sorted(bundle_dir.rglob("*"), reverse=True):
        if path.is_file():
            there = copy / path.relative_to(bundle_dir)
            there.parent.mkdir(parents=True, exist_ok=True)
            there.write_bytes(path.read_bytes())
            there.chmod(0o400)
    (copy / "networks/empty").mkdir()
    assert medsdk.pack(copy).storage.path.read_bytes() == packed.read_bytes()


def test_the_default_places_are_beside_the_source(
    bundle_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "my bundle.1"
    shutil.copytree(bundle_dir, source)
    assert medsdk.pack(str(source)).storage.path == tmp_path / "my bundle.1.medsdk"
    monkeypatch.chdir(source)
    with pytest.raises(OutputNotWritableError, match="is there already"):
        medsdk.pack(".")
    monkeypatch.chdir(tmp_path)
    shutil.rmtree(source)
    opened = medsdk.unpack("my bundle.1.medsdk")
    assert opened.storage.path == Path("my bundle.1")
    assert opened.read(NETWORK) == (source / NETWORK).read_bytes()  # opened where it now is
    (tmp_path / "my bundle.1.medsdk").rename(tmp_path / "renamed.zip")
    with pytest.raises(BundleFormError, match="--out"):
        medsdk.unpack("renamed.zip")
    assert medsdk.unpack("renamed.zip", "other").sha256 == opened.sha256


def test_the_wrong_form_is_named(bundle_dir: Path, packed: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleFormError, match="one file already"):
        medsdk.pack(packed, tmp_path / "out")
    with pytest.raises(BundleFormError, match="a directory already"):
        medsdk.unpack(bundle_dir, tmp_path / "out")
    for call in (medsdk.pack, medsdk.unpack):
        with pytest.raises(BundleUnreadableError, match="nothing at that path"):
            call(tmp_path / "nothing", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_file_inside_its_own_bundle_is_refused(folder: Path) -> None:
    before = _tree(folder.parent)
    for out in (folder, folder / "x.medsdk", folder / "networks/x.medsdk", folder / "a/../x"):
        with pytest.raises(OutputNotWritableError, match="would lie in the one"):
            medsdk.pack(folder, out, replace=True)
    assert _tree(folder.parent) == before


def test_a_tampered_source_gives_nothing(folder: Path, one_file: Path) -> None:
    data = (folder / NETWORK).read_bytes()
    (folder / NETWORK).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    one_file.write_bytes(one_file.read_bytes().replace(data, (folder / NETWORK).read_bytes()))
    before = _tree(folder.parent)
    with pytest.raises(BundleTamperedError):
        medsdk.pack(folder, folder.parent / "out")
    with pytest.raises(BundleTamperedError):
        medsdk.unpack(one_file, folder.parent / "out")
    assert _tree(folder.parent) == before


@pytest.mark.parametrize("form", ["pack", "unpack"])
def test_a_source_that_changes_meanwhile_gives_nothing(
    form: str, folder: Path, one_file: Path, tmp_path: Path
) -> None:
    source = folder / NETWORK if form == "pack" else one_file
    data = (folder / NETWORK).read_bytes()
    out = tmp_path / "place" / "out"

    def change(phase: str, done: int, total: int | None) -> None:
        if phase.endswith("packing") and done == 1:
            whole = source.read_bytes()
            source.write_bytes(whole.replace(data, data[:-1] + bytes([data[-1] ^ 1])))

    with pytest.raises(BundleTamperedError):
        getattr(medsdk, form)(folder if form == "pack" else one_file, out, progress=change)
    assert _tree(out.parent) == {}


def test_a_source_that_becomes_another_good_bundle_gives_nothing(
    folder: Path, document: dict[str, Any], sign: Callable[..., None], tmp_path: Path
) -> None:
    sign(folder, document)  # as it will be signed below, so that the sizes stay
    out = tmp_path / "place" / "out"

    def change(phase: str, done: int, total: int | None) -> None:
        if phase == "packing" and done == 1:
            document["provenance"]["created"] = "1999-12-31T23:59:59Z"
            sign(folder, document)

    with pytest.raises(BundleTamperedError, match="changed while it was read"):
        medsdk.pack(folder, out, progress=change)
    assert _tree(out.parent) == {}
    medsdk.pack(folder, out)


Old = Callable[[Path], object]


def _old_directory(place: Path) -> None:
    place.mkdir(parents=True)
    (place / "manifest.json").write_bytes(b"old")
    (place / "manifest.sha256").write_bytes(b"0" * 64 + b"\n")
    (place / "networks").mkdir()


def _old_file(place: Path) -> None:
    place.parent.mkdir(parents=True)
    write_one_file(place, _OLD)


def _empty(place: Path) -> None:
    place.mkdir(parents=True)


class _Old:
    path = Path("old")
    sizes = {"manifest.json": 3}

    def read(self, name: str, at_most: int) -> bytes:
        return b"old"

    def chunks(self, name: str):
        yield b"old"


_OLD = _Old()


@pytest.mark.parametrize("old", [_old_directory, _old_file, _empty])
@pytest.mark.parametrize("form", ["pack", "unpack"])
def test_a_bundle_of_either_form_is_replaced_by_force_alone(
    form: str, old: Old, bundle_dir: Path, packed: Path, tmp_path: Path
) -> None:
    place = tmp_path / "place" / "out"
    old(place)
    before = _tree(place.parent)
    call = getattr(medsdk, form)
    source = bundle_dir if form == "pack" else packed
    with pytest.raises(OutputNotWritableError, match="--force"):
        call(source, place)
    assert _tree(place.parent) == before
    assert call(source, place, replace=True).sha256 == Bundle.open(place).sha256
    assert [path.name for path in place.parent.iterdir()] == ["out"]
    assert place.is_file() == (form == "pack")


@pytest.mark.parametrize("form", ["pack", "unpack"])
def test_what_is_no_bundle_is_never_replaced(
    form: str, bundle_dir: Path, packed: Path, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/holiday.jpg").write_bytes(b"x")
    (tmp_path / "text").write_bytes(b"x")
    shutil.make_archive(str(tmp_path / "archive"), "zip", bundle_dir)
    before = _tree(tmp_path)
    for name in ("folder", "text", "archive.zip"):
        with pytest.raises(OutputNotWritableError, match="no bundle") as caught:
            getattr(medsdk, form)(
                bundle_dir if form == "pack" else packed, tmp_path / name, replace=True
            )
        assert caught.value.exit_status == 3
    assert _tree(tmp_path) == before


@pytest.mark.parametrize("form", ["pack", "unpack"])
@pytest.mark.parametrize("old", [None, _old_directory, _old_file])
@pytest.mark.parametrize("phase", ["writing", "checking what was written"])
def test_stopped_anywhere_everything_is_as_it_was(
    form: str, old: Old | None, phase: str, bundle_dir: Path, packed: Path, tmp_path: Path
) -> None:
    place = tmp_path / "place" / "out"
    if old is None:
        place.parent.mkdir()
    else:
        old(place)
    before = _tree(place.parent)

    def stop(name: str, done: int, total: int | None) -> None:
        if done == 5 or name == phase:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        getattr(medsdk, form)(
            bundle_dir if form == "pack" else packed, place, replace=True, progress=stop
        )
    assert _tree(place.parent) == before


@pytest.mark.parametrize("form", ["pack", "unpack"])
def test_what_was_written_wrongly_never_appears(
    form: str, bundle_dir: Path, packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that keeps other bytes than it was given."""
    name = "write_one_file" if form == "pack" else "_write_files"
    write = getattr(packing, name)

    def damaged(path: Path, *rest: Any) -> None:
        write(path, *rest)
        file = path if form == "pack" else path / NETWORK
        data = file.read_bytes()
        file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))

    monkeypatch.setattr(packing, name, damaged)
    with pytest.raises(MedsdkError):
        getattr(medsdk, form)(bundle_dir if form == "pack" else packed, tmp_path / "place/out")
    assert _tree(tmp_path / "place") == {}


@pytest.mark.skipif(sys.platform == "win32", reason="needs modes that forbid writing")
@pytest.mark.parametrize("form", ["pack", "unpack"])
def test_a_place_that_cannot_be_written_is_said(
    form: str, bundle_dir: Path, packed: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"x")
    for out in (tmp_path / "file/below", tmp_path / ("x" * 300)):
        with pytest.raises(OutputNotWritableError) as caught:
            getattr(medsdk, form)(bundle_dir if form == "pack" else packed, out)
        assert str(tmp_path) not in str(caught.value)


def test_progress_counts_the_files(bundle_dir: Path, packed: Path, tmp_path: Path) -> None:
    for form, source in (("pack", bundle_dir), ("unpack", packed)):
        seen: dict[str, list[tuple[int, int | None]]] = {}

        def note(
            phase: str,
            done: int,
            total: int | None,
            seen: dict[str, list[tuple[int, int | None]]] = seen,
        ) -> None:
            seen.setdefault(phase, []).append((done, total))

        bundle = getattr(medsdk, form)(source, tmp_path / form, progress=note)
        files = len(bundle.storage.sizes)
        assert list(seen) == ["checking the bundle", f"{form}ing", "checking what was written"]
        assert seen[f"{form}ing"] == [(done, files) for done in range(files + 1)]
