"""The wheel and the sdist: the same bytes from everywhere, and nothing in them but what belongs."""

from __future__ import annotations

import base64
import csv
import email
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Callable
from configparser import ConfigParser
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.distribution.conftest import BUILD, COMMIT_EPOCH, ROOT, tracked

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES = [
    Path(path) for path in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
]


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _rows(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


def test_another_place_umask_time_zone_locale_and_stray_files_change_no_byte(
    checkout: Callable[[str], Path], build: Callable[..., Path], dist: Path
) -> None:
    tree = checkout("elsewhere é")
    for number, path in enumerate(sorted(tree.rglob("*"))):
        if ".git" not in path.parts:
            os.utime(path, (1_600_000_000 + number, 1_600_000_000 + number))
            # A share or an editor may turn the bits around; git's are those of the commit.
            executable = path.is_dir() or path.name != "run"
            path.chmod(0o700 if executable else 0o600)
    (tree / "sdk/medsdk/stray.toml").write_text("mine", encoding="utf-8")
    (tree / "sdk/medsdk/tasks/__pycache__").mkdir()
    (tree / "sdk/medsdk/tasks/__pycache__/schema.cpython-311.pyc").write_bytes(b"stale")
    (tree / "notes.md").write_text("mine", encoding="utf-8")
    subprocess.run(["git", "config", "core.fileMode", "false"], cwd=tree, check=True)
    environment = {"TZ": "Asia/Kathmandu", "LC_ALL": "C", "PYTHONHASHSEED": "1", "LANG": "tr_TR"}
    assert _contents(build(tree, environment, umask=0o077)) == _contents(dist)


def test_an_unpacked_sdist_gives_both_again_without_git(
    build: Callable[..., Path], dist: Path, sdist: Path, tmp_path: Path
) -> None:
    # A repository around it, which ignores what the wheel needs, has no say.
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / ".gitignore").write_text("*.toml\n*.safetensors\n", encoding="utf-8")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (tree,) = (path for path in tmp_path.iterdir() if path.name.startswith("medsdk-"))
    assert _contents(build(tree)) == _contents(dist)


def test_the_wheel_straight_from_the_tree_is_the_one_from_the_sdist(
    checkout: Callable[[str], Path], wheel: Path, tmp_path: Path
) -> None:
    subprocess.run(
        [
            *(sys.executable, "-m", "build", "--wheel", "--no-isolation"),
            *("--outdir", str(tmp_path), str(checkout("direct"))),
        ],
        env=os.environ | {"SOURCE_DATE_EPOCH": str(COMMIT_EPOCH)},
        capture_output=True,
        check=True,
    )
    assert (tmp_path / wheel.name).read_bytes() == wheel.read_bytes()


def test_source_date_epoch_is_obeyed(
    checkout: Callable[[str], Path], build: Callable[..., Path], wheel: Path
) -> None:
    other = build(checkout("dated"), {"SOURCE_DATE_EPOCH": "1234567890"})
    with zipfile.ZipFile(other / wheel.name) as archive:
        assert {item.date_time for item in archive.infolist()} == {(2009, 2, 13, 23, 31, 30)}


@pytest.mark.parametrize("text", ["soon", "-1", "0", "١", "1e9", "99999999999"])
def test_a_time_that_no_wheel_can_have_is_refused(text: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(BUILD), "--out", str(tmp_path / "out")],
        env=os.environ | {"SOURCE_DATE_EPOCH": text},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert "SOURCE_DATE_EPOCH" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_file_where_the_folder_shall_be_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine", encoding="utf-8")
    command = [sys.executable, str(BUILD), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "out").read_text(encoding="utf-8") == "mine"


def test_a_tree_without_git_and_without_a_time_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("", encoding="utf-8")
    clean = {name: text for name, text in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
    done = subprocess.run(
        [sys.executable, str(BUILD), "--root", str(tmp_path), "--out", str(tmp_path / "out")],
        env=clean,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert "neither git nor an unpacked sdist" in done.stderr


def test_the_wheel_holds_the_four_packages_and_nothing_else(wheel: Path) -> None:
    wanted = {
        Path(name).relative_to(package.parent).as_posix(): name
        for name in tracked()
        for package in PACKAGES
        if package in Path(name).parents
    }
    info = f"{wheel.name.split('-py3')[0]}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        assert len(names) == len(set(names))
        assert set(names) - set(wanted) == {
            f"{info}/{name}"
            for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")
        }
        assert set(wanted) <= set(names)
        for name, source in wanted.items():
            assert archive.read(name) == (ROOT / source).read_bytes(), name
        assert archive.read(f"{info}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
    assert {name.split("/")[0] for name in wanted} == {
        *("medsdk", "medsdk_runtimes", "medsdk_export", "medsdk_conformance"),
    }
    for package in ("medsdk", "medsdk_runtimes", "medsdk_export", "medsdk_conformance"):
        assert f"{package}/py.typed" in wanted


def test_every_entry_of_the_wheel_is_a_plain_file_of_the_commits_time(wheel: Path) -> None:
    even = datetime.fromtimestamp(COMMIT_EPOCH // 2 * 2, UTC)
    with zipfile.ZipFile(wheel) as archive:
        for item in archive.infolist():
            assert (item.external_attr >> 16) & 0o777 == 0o644, item.filename
            assert item.date_time == even.timetuple()[:6], item.filename
            assert not item.is_dir()


def test_the_record_names_every_file_with_its_digest(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (record,) = (name for name in archive.namelist() if name.endswith("/RECORD"))
        rows = {name: (digest, size) for name, digest, size in _rows(archive.read(record).decode())}
        assert set(rows) == set(archive.namelist())
        for name, (digest, size) in rows.items():
            if name != record:
                data = archive.read(name)
                raw = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
                assert (digest, int(size)) == (f"sha256={raw}", len(data)), name


def test_the_metadata_says_what_the_project_says(wheel: Path) -> None:
    project = PROJECT["project"]
    with zipfile.ZipFile(wheel) as archive:
        info = f"{wheel.name.split('-py3')[0]}.dist-info"
        metadata = email.message_from_bytes(archive.read(f"{info}/METADATA"))
        tags = email.message_from_bytes(archive.read(f"{info}/WHEEL"))
        entries = ConfigParser(delimiters="=")
        entries.read_string(archive.read(f"{info}/entry_points.txt").decode())
    assert metadata["License-Expression"] == "Apache-2.0"
    assert set(metadata["Requires-Python"].split(",")) == {">=3.11", "<3.13"}
    assert set(metadata.get_all("Provides-Extra") or ()) == set(project["optional-dependencies"])
    plain = [text for text in metadata.get_all("Requires-Dist") or () if "extra ==" not in text]
    assert {text.lower() for text in plain} == {text.lower() for text in project["dependencies"]}
    assert (tags["Root-Is-Purelib"], tags.get_all("Tag")) == ("true", ["py3-none-any"])
    assert dict(entries["console_scripts"]) == project["scripts"]
    for group, wanted in project["entry-points"].items():
        assert dict(entries[group]) == wanted


def test_the_sdist_holds_every_tracked_file_and_no_other(sdist: Path) -> None:
    top = sdist.name.removesuffix(".tar.gz")
    with tarfile.open(sdist) as archive:
        members = {item.name: item for item in archive.getmembers()}
        assert set(members) == {f"{top}/{name}" for name in (*tracked(), "PKG-INFO")}
        for name in tracked():
            item = members[f"{top}/{name}"]
            stream = archive.extractfile(item)
            assert stream is not None
            assert stream.read() == (ROOT / name).read_bytes(), name
            assert item.mode == (0o755 if name == ".ci/run" else 0o644), name
        for item in members.values():
            assert item.isfile()
            assert (item.uid, item.gid, item.uname, item.gname) == (0, 0, "", "")
            assert item.mtime == COMMIT_EPOCH
