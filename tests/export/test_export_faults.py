"""Stopped, refused or out of room: a bundle is there whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from medsdk.bundle import Bundle
from medsdk.cli.main import run
from medsdk.errors import OutputNotWritableError, SettingRefusedError
from medsdk_export.build import PHASES, export_bundle
from medsdk_export.errors import ExportRefusedError

pytestmark = pytest.mark.usefixtures("separate_temporary_files")


@pytest.fixture
def separate_temporary_files(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Temporary files of a test lie by themselves, and none is left."""
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield
    assert list(folder.iterdir()) == []


def _tree(folder: Path) -> dict[str, bytes | None]:
    """Every path below a folder, hidden ones too, with its bytes."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


@pytest.fixture(params=["new", "forced"])
def place(request: pytest.FixtureRequest, tmp_path: Path, bundle_dir: Path) -> Path:
    """Where a bundle shall be; `forced`: where another one is already."""
    out = tmp_path / "output place" / "bündel"
    out.parent.mkdir()
    if request.param == "forced":
        shutil.copytree(bundle_dir, out)
    return out


@pytest.mark.parametrize("phase", PHASES)
def test_an_export_stopped_in_any_phase_leaves_everything_as_it_was(
    phase: str, few: Any, place: Path, only_onnxruntime: None
) -> None:
    before = _tree(place.parent)
    met = []

    def stop(name: str, done: int, total: int | None) -> None:
        met.append(name)
        if name == phase:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_bundle(few.request(place, replace=place.exists()), stop)
    assert met[-1] == phase
    assert _tree(place.parent) == before


@pytest.mark.parametrize("phase", ["calibrating", "running the cases", "verifying the bundle"])
def test_an_export_stopped_in_the_middle_of_a_phase_leaves_nothing(
    phase: str, few: Any, tmp_path: Path, only_onnxruntime: None
) -> None:
    def stop(name: str, done: int, total: int | None) -> None:
        if name == phase and done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_bundle(few.request(tmp_path / "place" / "out"), stop)
    assert _tree(tmp_path / "place") == {}


def test_progress_goes_through_the_phases_in_their_order(
    few: Any, tmp_path: Path, only_onnxruntime: None
) -> None:
    seen: dict[str, list[tuple[int, int | None]]] = {}
    export_bundle(
        few.request(tmp_path / "out"),
        lambda name, done, total: seen.setdefault(name, []).append((done, total)),
    )
    assert tuple(seen) == PHASES
    for steps in seen.values():
        assert all(total is None or 0 <= done <= total for done, total in steps)


def test_a_failure_keeps_the_bundle_that_force_would_have_replaced(
    few: Any, place: Path, only_onnxruntime: None
) -> None:
    before = _tree(place.parent)
    few.table.write_text("path,truth,patient,stratum\n", encoding="utf-8")
    with pytest.raises(ExportRefusedError):
        export_bundle(few.request(place, replace=place.exists()))
    assert _tree(place.parent) == before


def test_an_existing_bundle_is_replaced_by_force_alone(
    few: Any, tmp_path: Path, bundle_dir: Path, only_onnxruntime: None
) -> None:
    out = tmp_path / "place" / "out"
    shutil.copytree(bundle_dir, out)
    (out / "evidence" / "extra").write_bytes(b"x")
    before = _tree(out.parent)
    with pytest.raises(OutputNotWritableError, match="there already"):
        export_bundle(few.request(out))
    assert _tree(out.parent) == before
    result = export_bundle(few.request(out, replace=True))
    assert Bundle.open(out).sha256 == result.sha256
    assert [path.name for path in out.parent.iterdir()] == ["out"]


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_force_does_not_delete_what_is_no_bundle(kind: str, few: Any, tmp_path: Path) -> None:
    out = tmp_path / "place" / "photographs"
    out.parent.mkdir()
    if kind == "folder":
        out.mkdir()
        (out / "holiday.jpg").write_bytes(b"x")
    else:
        out.write_bytes(b"x")
    before = _tree(out.parent)
    with pytest.raises(OutputNotWritableError, match="no bundle"):
        export_bundle(few.request(out, replace=True))
    for place in (tmp_path / ("x" * 300), tmp_path / "a\0b"):
        with pytest.raises(OutputNotWritableError) as caught:
            export_bundle(few.request(place, replace=True))
        assert str(tmp_path) not in str(caught.value)
    assert _tree(out.parent) == before


def test_force_takes_an_empty_folder(few: Any, tmp_path: Path, only_onnxruntime: None) -> None:
    (tmp_path / "out").mkdir()
    export_bundle(few.request(tmp_path / "out", replace=True))
    Bundle.open(tmp_path / "out")


def test_a_source_date_epoch_that_is_no_time_is_refused_before_any_work(
    few: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for value in ("yesterday", "1.5", "99999999999999999"):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", value)
        with pytest.raises(SettingRefusedError, match="SOURCE_DATE_EPOCH"):
            export_bundle(few.request(tmp_path / "out"), lambda *step: pytest.fail("worked"))


# The command line


def _words(few: Any, task_file: Path, out: Path) -> list[str]:
    return [
        *("export", "--task-file", str(task_file), "--model", f"filter={few.model}"),
        *("--calibration", str(few.calibration), "--cases", str(few.table)),
        *("--out", str(out), "--known-answers", "4", "--json"),
    ]


def _medsdk(words: list[str], **environment: str) -> subprocess.Popen[str]:
    # A shell that starts jobs in the background makes them ignore SIGINT.
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from medsdk.cli.main import main; main()"
    )
    return subprocess.Popen(
        [sys.executable, "-c", program, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        # Without it ONNX Runtime keeps a session file of its own among the temporary files.
        env={**os.environ, "ORT_DISABLE_TELEMETRY": "1", **environment},
    )


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
@pytest.mark.parametrize("phase", ["checking the inputs", "running the cases"])
def test_an_interrupt_ends_the_command_with_130_and_leaves_nothing(
    phase: str, vendor: Any, few: Any, tmp_path: Path
) -> None:
    out = tmp_path / "place" / "out"
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    words = _words(few, vendor.task_file, out)
    words[words.index(str(few.table))] = str(vendor.cases)  # all of them, which takes a while
    with _medsdk(words, TMPDIR=str(temporary)) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith(phase):
                break
        process.send_signal(signal.SIGINT)
        text, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    document = json.loads(text)
    assert document["error"]["code"] == "interrupted"
    assert document["error"]["exit_status"] == 130
    assert _tree(tmp_path / "place") == {}
    assert _tree(temporary) == {}


def test_the_same_inputs_give_the_same_bundle(vendor: Any, few: Any, tmp_path: Path) -> None:
    """Whatever the hash seed, the time zone, the locale and the place; and what --json says."""
    text = vendor.task_file.read_text(encoding="utf-8")
    task_file = tmp_path / "task.toml"
    task_file.write_text(
        text.replace('purpose = "reference"', 'purpose = "benchmark"'), encoding="utf-8"
    )
    outs = [tmp_path / "first" / "out", tmp_path / "second" / "déjà vu"]
    environments = [
        {"PYTHONHASHSEED": "1", "TZ": "UTC"},
        {"PYTHONHASHSEED": "2", "TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONUTF8": "0"},
    ]
    documents = []
    for out, environment in zip(outs, environments, strict=True):
        with _medsdk(
            _words(few, task_file, out), SOURCE_DATE_EPOCH="1700000000", **environment
        ) as process:
            text, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        documents.append(json.loads(text))
    first, second = (_tree(out) for out in outs)
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []
    assert documents[0] == documents[1]

    document, bundle = documents[0], Bundle.open(outs[0])
    assert bundle.manifest.provenance["created"] == "2023-11-14T22:13:20Z"
    assert document["bundle"] == {
        "name": "vendor-blob",
        "version": "1.0.0",
        "sha256": bundle.sha256,
    }
    assert set(document["variants"]) == {"filter"}
    assert set(document["variants"]["filter"]) == {"fp32", "int8-cpu", "int8-gpu"}
    for name, variant in document["variants"]["filter"].items():
        assert set(variant) >= {"status", "reason", "size_bytes", "parity"}
        assert variant["status"] == "shipped"
        assert variant["reason"]
        path = outs[0] / "networks" / "filter" / f"{name}.onnx"
        assert variant["size_bytes"] == path.stat().st_size
    parity = document["variants"]["filter"]["int8-cpu"]["parity"]
    assert {item["runtime"].split()[0] for item in parity} >= {"onnxruntime"}
    assert all(item["cases"] == 8 for item in parity)
    assert document["verification"] == "pass"
    assert document["notice"].startswith("Reference network")


def test_a_refusal_is_a_document_too(
    few: Any, vendor: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (few.calibration / "0.dcm").write_bytes(b"no DICOM")
    status = run(_words(few, vendor.task_file, tmp_path / "out"))
    document = json.loads(capfd.readouterr().out)
    assert status == document["error"]["exit_status"] == 2
    assert document["error"]["code"] == "inputs-refused"
    assert document["error"]["what"].startswith("calibration file 1 cannot be used")


# Places that cannot be written or are full


@contextlib.contextmanager
def _small_disk(place: Path, options: str) -> Iterator[None]:
    """A file system of its own, where this user may mount one."""
    place.mkdir()
    command = shutil.which("mount")
    if command is None or os.name != "posix" or os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    done = subprocess.run(
        [command, "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True
    )
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("size", ["16k", "64k", "112k"])
def test_a_full_disk_is_exit_3_and_leaves_nothing(
    size: str,
    few: Any,
    vendor: Any,
    tmp_path: Path,
    only_onnxruntime: None,
    capfd: pytest.CaptureFixture[str],
) -> None:
    disk = tmp_path / "disk"
    with _small_disk(disk, f"size={size}"):
        status = run(_words(few, vendor.task_file, disk / "out"))
        document = json.loads(capfd.readouterr().out)
        assert (status, document["error"]["code"]) == (3, "output-not-writable")
        assert "No space left" in document["error"]["got"]
        assert str(disk) not in json.dumps(document)
        assert _tree(disk) == {}


def test_a_full_disk_keeps_the_bundle_that_was_there(
    few: Any, tmp_path: Path, bundle_dir: Path, only_onnxruntime: None
) -> None:
    disk = tmp_path / "disk"
    room = 64 + sum(path.stat().st_size // 4096 + 1 for path in bundle_dir.rglob("*")) * 4
    with _small_disk(disk, f"size={room}k"):
        shutil.copytree(bundle_dir, disk / "out")
        before = _tree(disk)
        with pytest.raises(OutputNotWritableError, match="No space left"):
            export_bundle(few.request(disk / "out", replace=True))
        assert _tree(disk) == before


def test_a_read_only_disk_is_exit_3(
    few: Any,
    vendor: Any,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    disk = tmp_path / "disk"
    with _small_disk(disk, "size=1m,ro"):
        status = run(_words(few, vendor.task_file, disk / "out"))
        document = json.loads(capfd.readouterr().out)
        assert (status, document["error"]["code"]) == (3, "output-not-writable")
        assert "Read-only" in document["error"]["got"]
        assert _tree(disk) == {}


def test_a_file_in_the_way_is_exit_3(
    few: Any, vendor: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_bytes(b"x")
    status = run(_words(few, vendor.task_file, tmp_path / "file" / "out"))
    document = json.loads(capfd.readouterr().out)
    assert (status, document["error"]["code"]) == (3, "output-not-writable")
