"""Directories and files that appear whole or not at all, with the system failing in between."""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from medsdk.atomic import new_directory, new_file, write_file
from medsdk.errors import OutputNotWritableError


def _old(target: Path) -> None:
    target.mkdir(parents=True)
    (target / "old").write_bytes(b"old")


def _names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_a_directory_appears_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "target"
    with new_directory(target, "it") as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "file").write_bytes(b"new")
        assert not target.exists()
        assert folder.parent == target.parent  # the same file system, so that a rename will do
    assert _names(tmp_path / "a" / "b") == ["target", "target/sub", "target/sub/file"]
    if sys.platform != "win32":
        assert target.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_nothing_appears_where_the_work_fails(error: type[BaseException], tmp_path: Path) -> None:
    def work() -> None:
        with new_directory(tmp_path / "target", "it") as folder:
            (folder / "file").write_bytes(b"new")
            raise error

    with pytest.raises(error):
        work()
    assert _names(tmp_path) == []


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), KeyboardInterrupt()])
def test_the_old_directory_comes_back_where_the_new_one_cannot_take_its_place(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "target"
    _old(target)
    replace = Path.replace

    def once(self: Path, other: Path) -> Path:
        if ".partial-" in self.name:
            raise error
        return replace(self, other)

    monkeypatch.setattr(Path, "replace", once)
    wanted = OutputNotWritableError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(wanted), new_directory(target, "it", replace=True) as folder:
        (folder / "new").write_bytes(b"new")
    assert _names(tmp_path) == ["target", "target/old"]


def test_the_old_directory_stays_where_it_cannot_be_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "target"
    _old(target)

    def never(self: Path, other: Path) -> Path:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "replace", never)
    with (
        pytest.raises(OutputNotWritableError, match="Permission denied") as caught,
        new_directory(target, "it", replace=True),
    ):
        pass
    assert _names(tmp_path) == ["target", "target/old"]
    assert str(tmp_path) not in str(caught.value)


def test_a_directory_is_replaced_only_where_that_was_said(tmp_path: Path) -> None:
    target = tmp_path / "target"
    _old(target)
    with pytest.raises(OutputNotWritableError, match="--force"), new_directory(target, "it"):
        pytest.fail("must not start")
    with new_directory(target, "it", replace=True) as folder:
        (folder / "new").write_bytes(b"new")
        assert (target / "old").exists()
    assert _names(tmp_path) == ["target", "target/new"]


def test_a_new_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "a" / "target"
    with new_file(target, "it") as made:
        made.write_bytes(b"new")
        (made.parent / "scratch").mkdir()
        assert made.parent.parent == target.parent
        assert made.parent.name.startswith(".")
        assert not target.exists()
    assert _names(tmp_path) == ["a", "a/target"]
    assert target.read_bytes() == b"new"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_no_new_file_appears_where_the_work_fails(
    error: type[BaseException], tmp_path: Path
) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"old")

    def work() -> None:
        with new_file(target, "it", replace=True) as made:
            made.write_bytes(b"new")
            raise error

    with pytest.raises(error):
        work()
    assert _names(tmp_path) == ["target"]
    assert target.read_bytes() == b"old"


def test_a_file_takes_the_place_of_a_file_in_one_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"old")
    moved: list[str] = []
    replace = Path.replace

    def note(self: Path, other: Path) -> Path:
        moved.append(self.name)
        return replace(self, other)

    monkeypatch.setattr(Path, "replace", note)
    with pytest.raises(OutputNotWritableError, match="--force"), new_file(target, "it"):
        pytest.fail("must not start")
    with new_file(target, "it", replace=True) as made:
        made.write_bytes(b"new")
    assert moved == ["file"]  # a reader sees the old one or the new one, never none
    assert (target.read_bytes(), _names(tmp_path)) == (b"new", ["target"])


@pytest.mark.parametrize("fails", [False, True])
def test_a_file_takes_the_place_of_a_directory_or_the_directory_stays(
    fails: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "target"
    _old(target)
    replace = Path.replace

    def once(self: Path, other: Path) -> Path:
        if fails and self.name == "file":
            raise OSError(5, "Input/output error")
        return replace(self, other)

    monkeypatch.setattr(Path, "replace", once)
    with (
        pytest.raises(OutputNotWritableError) if fails else nullcontext(),
        new_file(target, "it", replace=True) as made,
    ):
        made.write_bytes(b"new")
    assert _names(tmp_path) == (["target", "target/old"] if fails else ["target"])
    assert target.is_dir() == fails


def test_a_file_is_written_whole_or_left_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "sub" / "file"
    write_file(target, b"first", "it")
    write_file(target, b"second", "it")
    assert target.read_bytes() == b"second"

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputNotWritableError, match="No space left") as caught:
        write_file(target, b"third", "it")
    assert target.read_bytes() == b"second"
    assert _names(tmp_path) == ["sub", "sub/file"]
    assert str(tmp_path) not in str(caught.value)
    assert caught.value.exit_status == 3
