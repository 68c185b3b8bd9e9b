"""`medsdk run`: several inputs, folders, odd names, pictures, and places that cannot be written."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate, generate_frames

import medsdk
from medsdk.errors import PixelInputUnreadableError
from medsdk.pixels import DicomImage
from medsdk.results.picture import NOTICE_COLOR


def test_one_bad_input_does_not_stop_the_others(cli, bundle_dir, image, changed, tmp_path):
    names = ["1.dcm", "2.dcm", "3.dcm", "4.dcm", "5.dcm"]
    contents = [image, changed(Modality="US"), image, b"hello", image]
    for name, content in zip(names, contents, strict=True):
        (tmp_path / name).write_bytes(content)
    paths = [tmp_path / name for name in names]
    done = cli("run", bundle_dir, *paths, "--out", tmp_path / "out", "--json")
    assert [item["input_index"] for item in done.json["findings"]] == [1, 3, 5]
    refused = [(item["input_index"], item["error"]["code"]) for item in done.json["refused"]]
    assert refused == [(2, "pixel-input-refused"), (4, "pixel-input-unreadable")]
    assert done.status == 2  # that of the first
    assert str(paths[1]) in done.err
    assert "Modality US" in done.err
    assert str(paths[0]) not in done.err
    assert str(tmp_path) not in done.out

    reverse = cli("run", bundle_dir, *reversed(paths), "--out", tmp_path / "out", "--json")
    assert reverse.status == 4
    alone = cli("run", bundle_dir, paths[1], "--out", tmp_path / "none", "--json")
    assert (alone.status, alone.json["error"]["code"]) == (2, "pixel-input-refused")
    assert not (tmp_path / "none").exists()


def test_no_input_of_several_can_be_used(cli, bundle_dir, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"hello")
    done = cli("run", bundle_dir, tmp_path / "a", tmp_path / "b", "--out", tmp_path / "o", "--json")
    assert (done.status, done.json["error"]["code"]) == (4, "pixel-input-unreadable")


def test_frames_before_a_broken_one_are_kept(
    cli, bundle_dir, image, changed, tmp_path, monkeypatch
):
    """The second frame cannot be decoded; the first has its finding, the input is refused."""
    from medsdk.pixels import DicomImage

    path = tmp_path / "clip.dcm"
    pixels = medsdk.pixels.open_dicom(image).frame(1).array.astype("<u2").tobytes()
    path.write_bytes(changed(NumberOfFrames=2, PixelData=pixels * 2))
    real = DicomImage.frame

    def frame(self: DicomImage, number: int) -> medsdk.Frame:
        if number == 2:
            raise PixelInputUnreadableError.malformed("frame 2")
        return real(self, number)

    monkeypatch.setattr(DicomImage, "frame", frame)
    done = cli("run", bundle_dir, path, "--out", tmp_path / "out", "--json")
    assert [item["frame_number"] for item in done.json["findings"]] == [1]
    assert [item["input_index"] for item in done.json["refused"]] == [1]
    assert done.status == 4


def test_a_folder_is_its_files_in_order(cli, bundle_dir, image, changed, tmp_path):
    uids = {}
    for number, name in enumerate(["b/2.dcm", "b/10.dcm", "a.dcm", "c.dcm"], 1):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        uid = f"1.2.826.0.1.3680043.8.498.9.{number}"
        path.write_bytes(changed(SOPInstanceUID=uid))
        uids[name] = medsdk.canonical.uid_hash(uid)
    for hidden in (".DS_Store", ".cache/d.dcm", "b/.e.dcm"):
        path = tmp_path / "in" / hidden
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(image)
    single = tmp_path / "z.dcm"
    single.write_bytes(image)
    done = cli("run", bundle_dir, tmp_path / "in", single, "--out", tmp_path / "out", "--json")
    assert done.status == 0
    found = [item["source_uid"] for item in done.json["findings"]]
    assert found[:4] == [uids[name] for name in ("a.dcm", "b/10.dcm", "b/2.dcm", "c.dcm")]
    assert [item["input_index"] for item in done.json["findings"]] == [1, 2, 3, 4, 5]
    twice = cli("run", bundle_dir, single, single, "--out", tmp_path / "out", "--json")
    assert [item["input_index"] for item in twice.json["findings"]] == [1, 2]


def test_the_names_inside_a_folder_are_not_shown(cli, bundle_dir, image, tmp_path):
    folder = tmp_path / "typed"
    folder.mkdir()
    (folder / "DOE^JANE_1.dcm").write_bytes(b"hello")
    (folder / "DOE^JANE_2.dcm").write_bytes(image)
    done = cli("run", bundle_dir, folder, "--out", tmp_path / "out")
    assert done.status == 4
    assert f"input 1: file 1 of {folder}" in done.err
    assert "JANE" not in done.err + done.out


def test_every_frame_has_its_finding(cli, bundle_dir, image, changed, tmp_path):
    path = tmp_path / "clip.dcm"
    pixels = medsdk.pixels.open_dicom(image).frame(1).array.astype("<u2").tobytes()
    path.write_bytes(changed(NumberOfFrames=3, PixelData=pixels * 2 + b"\5\0" * (48 * 64)))
    done = cli("run", bundle_dir, path, "--out", tmp_path / "out", "--pictures", "--json")
    found = [(item["frame_number"], item["status"]) for item in done.json["findings"]]
    assert found == [(1, "ok"), (2, "ok"), (3, "no-result")]
    assert done.status == 0
    names = sorted(item.name for item in (tmp_path / "out/pictures").iterdir())
    assert names == [f"input-0001-frame-000{number}.png" for number in (1, 2, 3)]


def test_pictures_open_and_carry_the_notice(cli, bundle_dir, image, tmp_path):
    path = tmp_path / "a.dcm"
    path.write_bytes(image)
    assert cli("run", bundle_dir, path, "--out", tmp_path / "out", "--pictures").status == 0
    (file,) = (tmp_path / "out/pictures").iterdir()
    with Image.open(io.BytesIO(file.read_bytes())) as picture:
        assert picture.format == "PNG"
        array = np.asarray(picture.convert("RGB"))
    color = [int(NOTICE_COLOR[i : i + 2], 16) for i in (1, 3, 5)]
    columns = np.flatnonzero((array == color).all(-1).any(0))
    assert columns[-1] - columns[0] > 300  # a sentence of 70 letters
    assert columns[-1] < array.shape[1] - 1


def test_words_and_paths_beyond_ascii_under_any_locale(bundle_dir, image, tmp_path):
    folder = tmp_path / "子宮 é 'quoted'"
    folder.mkdir()
    (folder / "bild 1 ü.dcm").write_bytes(image)
    (folder / "bad ü.dcm").write_bytes(b"hello")
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("LC_")},
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONIOENCODING": "ascii",
    }
    words = ["run", bundle_dir, folder / "bild 1 ü.dcm", folder / "bad ü.dcm"]
    words += ["--out", folder / "ergebnis ß", "--json"]
    done = subprocess.run(
        [sys.executable, "-c", "from medsdk.cli import main; main()", *map(str, words)],
        capture_output=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 4, done.stderr
    assert b"Traceback" not in done.stderr
    document = json.loads(done.stdout.decode("utf-8"))
    assert len(document["findings"]) == len(document["refused"]) == 1
    written = (folder / "ergebnis ß/findings.json").read_text(encoding="utf-8")
    assert json.loads(written) == document


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB; a test makes it read-only or full."""
    place = tmp_path / "mounted"
    place.mkdir()
    if sys.platform != "linux" or shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("only root on Linux mounts a file system for a test")
    words = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    made = subprocess.run(words, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"root may not mount here: {made.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_out_on_a_read_only_file_system(cli, bundle_dir, image, tmp_path, mounted):
    subprocess.run(["mount", "-o", "remount,ro", str(mounted)], check=True)
    path = tmp_path / "a.dcm"
    path.write_bytes(image)
    done = cli("run", bundle_dir, path, "--out", mounted / "out", "--json")
    error = done.json["error"]
    assert (done.status, error["code"]) == (3, "output-not-writable")
    assert error["got"] == "Read-only file system"
    assert "can be written" in error["remedy"]


def test_out_on_a_full_file_system(cli, bundle_dir, image, tmp_path, mounted):
    (mounted / "filler").write_bytes(b"x" * (64 * 1024 - 4096))
    path = tmp_path / "a.dcm"
    path.write_bytes(image)
    done = cli("run", bundle_dir, path, "--out", mounted, "--pictures", "--json")
    error = done.json["error"]
    assert (done.status, error["code"]) == (3, "output-not-writable")
    assert "space" in error["remedy"]
    left = [item.name for item in mounted.rglob("*") if item.is_file()]
    assert left == ["filler"]  # nothing half-written


def test_a_place_that_cannot_be_written_is_refused_as_well_without_root(
    cli, bundle_dir, image, tmp_path
):
    """A file where a folder should be: the same error without mounting anything."""
    path = tmp_path / "a.dcm"
    path.write_bytes(image)
    for out in (path, path / "deeper"):
        done = cli("run", bundle_dir, path, "--out", out, "--json")
        assert (done.status, done.json["error"]["code"]) == (3, "output-not-writable")
    assert path.read_bytes() == image


def test_findings_replace_those_of_the_run_before(cli, bundle_dir, image, tmp_path):
    path, out = tmp_path / "a.dcm", tmp_path / "out"
    path.write_bytes(image)
    out.mkdir()
    (out / "findings.json").write_text("old")
    (out / "mine.txt").write_text("kept")
    done = cli("run", bundle_dir, path, "--out", out, "--json")
    assert json.loads((out / "findings.json").read_text(encoding="utf-8")) == done.json
    assert sorted(item.name for item in out.iterdir()) == ["findings.json", "mine.txt"]


def test_a_run_without_findings_leaves_none_of_the_run_before(cli, bundle_dir, image, tmp_path):
    good, bad, out = tmp_path / "good.dcm", tmp_path / "bad.dcm", tmp_path / "out"
    good.write_bytes(image)
    bad.write_bytes(b"hello")
    assert cli("run", bundle_dir, good, "--out", out, "--pictures").status == 0
    assert len([path for path in out.rglob("*") if path.is_file()]) == 2
    assert cli("run", bundle_dir, bad, "--out", out).status == 4
    assert not [path for path in out.rglob("*") if path.is_file()]


def test_progress_is_quiet_when_asked(cli, bundle_dir, image, tmp_path):
    path = tmp_path / "a.dcm"
    path.write_bytes(image)
    assert "running" in cli("run", bundle_dir, path, "--out", tmp_path / "o").err
    assert cli("run", bundle_dir, path, "--out", tmp_path / "o", "--quiet").err == ""
    assert cli("verify", bundle_dir, "--runtime", "onnxruntime", "--quiet").err == ""


def test_a_damaged_frame_of_a_clip_is_named_and_its_neighbours_are_answered(
    cli, liver_bundle_dir, tmp_path
):
    source = pydicom.dcmread(str(get_testdata_file("color3d_jpeg_baseline.dcm", download=False)))
    frames = list(generate_frames(source.PixelData, number_of_frames=120))[:4]
    frames[2] = frames[2][: len(frames[2]) // 2]
    source.NumberOfFrames = len(frames)
    source.PixelData = encapsulate(frames)
    path = tmp_path / "clip.dcm"
    source.save_as(path)
    words = ("run", liver_bundle_dir, path, "--roi", "230,70,470,310", "--out", tmp_path / "out")
    done = cli(*words, "--json")
    assert done.status == 4
    assert [item["frame_number"] for item in done.json["findings"]] == [1, 2, 4]
    (refused,) = done.json["refused"]
    assert (refused["input_index"], refused["frame_number"]) == (1, 3)
    assert refused["error"]["code"] == "pixel-input-unreadable"
    assert "input 1, frame 3" in done.err
    # An error that holds for every frame is said once.
    outside = cli(*words[:-4], "--roi", "230,70,970,310", "--out", tmp_path / "out", "--json")
    assert (outside.status, outside.json["error"]["code"]) == (2, "pixel-input-refused")
