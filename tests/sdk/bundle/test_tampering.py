"""A bundle whose bytes, files or links are not what was written is refused."""

from __future__ import annotations

import os
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from medsdk.bundle import Bundle
from medsdk.errors import BundleTamperedError, BundleUnreadableError, MedsdkError

NETWORK = "networks/filter/fp32.onnx"


def _refusal(folder: Path) -> MedsdkError:
    with pytest.raises((BundleTamperedError, BundleUnreadableError)) as caught:
        Bundle.open(folder)
    assert caught.value.exit_status in (1, 4)
    assert str(folder) not in str(caught.value)
    return caught.value


def _flip(path: Path, position: int, bit: int) -> Callable[[], None]:
    """Flip one bit in place; the result flips it back."""

    def flip() -> None:
        with path.open("r+b") as file:
            file.seek(position)
            byte = file.read(1)[0]
            file.seek(position)
            file.write(bytes([byte ^ 1 << bit]))

    flip()
    return flip


def test_the_copy_is_good_to_begin_with(folder: Path, bundle_dir: Path) -> None:
    assert Bundle.open(folder).sha256 == Bundle.open(bundle_dir).sha256


def test_one_flipped_bit_in_any_file_is_refused(folder: Path) -> None:
    rng = random.Random(1)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    assert len(files) > 30
    for path in files:
        size = path.stat().st_size
        for position in {0, size // 2, size - 1, rng.randrange(size)}:
            undo = _flip(path, position, rng.randrange(8))
            with pytest.raises(BundleTamperedError):
                Bundle.open(folder)
            undo()
    Bundle.open(folder)


@pytest.mark.parametrize(("name", "count"), [("manifest.json", 400), ("manifest.sha256", 400)])
def test_one_flipped_bit_anywhere_in_the_manifest_and_its_digest_is_refused(
    name: str, count: int, folder: Path
) -> None:
    rng = random.Random(2)
    path = folder / name
    size = path.stat().st_size
    for _ in range(count):
        undo = _flip(path, rng.randrange(size), rng.randrange(8))
        assert isinstance(_refusal(folder), BundleTamperedError)
        undo()
    Bundle.open(folder)


@pytest.mark.parametrize("name", ["manifest.json", "manifest.sha256"])
@pytest.mark.parametrize(
    "change",
    [
        lambda data: data + b"\n",
        lambda data: data + b" ",
        lambda data: data[:-1],
        lambda data: b"\xef\xbb\xbf" + data,
        lambda data: data.upper(),
        lambda data: data.replace(b"\n", b"\r\n"),
        lambda data: b"",
    ],
    ids=["newline", "space", "short", "bom", "upper", "crlf", "empty"],
)
def test_other_bytes_around_the_manifest_are_refused(
    name: str, change: Callable[[bytes], bytes], folder: Path
) -> None:
    path = folder / name
    path.write_bytes(change(path.read_bytes()))
    _refusal(folder)


def test_files_that_are_longer_shorter_or_exchanged_are_refused(folder: Path) -> None:
    path = folder / NETWORK
    data = path.read_bytes()
    for changed in (data + b"\0", data[:-1], b""):
        path.write_bytes(changed)
        assert isinstance(_refusal(folder), BundleTamperedError)
    path.write_bytes(data)
    other = folder / "networks/filter/int8-cpu.onnx"
    other.rename(folder / "swap")
    path.rename(other)
    (folder / "swap").rename(path)
    assert isinstance(_refusal(folder), BundleTamperedError)


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / NETWORK).unlink()
    error = _refusal(folder)
    assert isinstance(error, BundleTamperedError)
    assert f"missing: {NETWORK}; extra: none" in error.got


@pytest.mark.parametrize(
    "name",
    [
        "extra",
        ".hidden",
        "networks/filter/extra.onnx",
        "new folder/file",
        "Manifest.json.bak",
        "signature/key",
        "SIGNATURE",
        "signature.sig\n",
        "signature.",
        "signature..sig",
        "signature.x_y",
        "signature." + "x" * 200,
        "signatures",
        "manifest.sha256.old",
    ],
)
def test_an_extra_file_is_refused_wherever_it_lies(name: str, folder: Path) -> None:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x")
    error = _refusal(folder)
    assert isinstance(error, BundleTamperedError)
    listed = ("extra", "networks/filter/extra.onnx", "signature/key", "signatures")
    ours = name in (*listed, "manifest.sha256.old", "signature.x_y", "signature..sig")
    told = repr(name) if ours else "a name that no file of a bundle has"
    assert error.got == f"missing: none; extra: {told}"


def test_there_is_room_for_a_signature(folder: Path) -> None:
    before = Bundle.open(folder).sha256
    (folder / "signature").write_bytes(b"x")
    (folder / "signature.sigstore.json").write_bytes(b"x")
    assert Bundle.open(folder).sha256 == before


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_links_are_refused_though_they_lead_to_the_same_bytes(
    folder: Path, bundle_dir: Path, tmp_path: Path
) -> None:
    def refused() -> None:
        error = _refusal(folder)
        assert isinstance(error, BundleTamperedError)
        assert "link" in error.what

    path = folder / NETWORK
    data = path.read_bytes()
    path.unlink()
    path.symlink_to(bundle_dir / NETWORK)
    refused()
    path.unlink()
    (folder / "real.onnx").write_bytes(data)
    path.symlink_to("../../real.onnx")  # inside the bundle
    refused()
    path.unlink()
    (folder / "real.onnx").rename(path)
    Bundle.open(folder)

    shutil.move(folder / "networks", tmp_path / "networks")
    (folder / "networks").symlink_to(tmp_path / "networks", target_is_directory=True)
    refused()
    (folder / "networks").unlink()
    shutil.move(tmp_path / "networks", folder / "networks")
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    refused()
    (folder / "loop").unlink()
    (folder / "dangling").symlink_to("nowhere")
    refused()
    (folder / "dangling").unlink()
    for name in ("manifest.json", "manifest.sha256"):
        (folder / name).rename(tmp_path / name)
        (folder / name).symlink_to(tmp_path / name)
        refused()
        (folder / name).unlink()
        (tmp_path / name).rename(folder / name)
    Bundle.open(folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_special_files_are_refused_without_being_opened(folder: Path) -> None:
    path = folder / NETWORK
    path.unlink()
    os.mkfifo(path)  # opening it would wait for ever
    error = _refusal(folder)
    assert isinstance(error, BundleTamperedError)
    assert "no plain file" in error.what
    path.unlink()
    path.mkdir()
    assert isinstance(_refusal(folder), BundleTamperedError)


@pytest.mark.skipif(sys.platform != "linux", reason="names there are text")
def test_names_that_are_no_text_are_refused(folder: Path) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe")).write_bytes(b"x")
    error = _refusal(folder)
    str(error).encode()  # can be printed


def test_directories_beyond_any_depth_are_refused(folder: Path) -> None:
    deep = folder.joinpath(*["d"] * 40)
    deep.mkdir(parents=True)
    (deep / "file").write_bytes(b"x")
    assert isinstance(_refusal(folder), BundleTamperedError)


def test_what_is_no_bundle_is_unreadable(tmp_path: Path, folder: Path) -> None:
    def unreadable(path: Path, says: str) -> None:
        error = _refusal(path)
        assert isinstance(error, BundleUnreadableError)
        assert error.exit_status == 4
        assert says in str(error)

    unreadable(tmp_path / "nothing", "nothing at that path")
    unreadable(folder / "manifest.json", "a file")
    (tmp_path / "empty").mkdir()
    unreadable(tmp_path / "empty", "manifest.json is missing")
    (folder / "manifest.sha256").unlink()
    unreadable(folder, "manifest.sha256 is missing")
    (folder / "manifest.json").unlink()
    unreadable(folder, "manifest.json is missing")
    (folder / "manifest.json").mkdir()
    unreadable(folder, "manifest.json is missing")


# After it was opened


def test_a_file_that_changes_after_opening_is_refused_when_it_is_read(folder: Path) -> None:
    bundle = Bundle.open(folder)
    answer = bundle.manifest.known_answers[0]
    path = folder / answer.input
    data = bundle.read(answer.input)
    for changed in (data[:-1] + bytes([data[-1] ^ 1]), data + b"\0", data[:-1], b""):
        path.write_bytes(changed)
        with pytest.raises(BundleTamperedError, match="is not what was written"):
            bundle.read(answer.input)
    path.unlink()
    with pytest.raises(BundleUnreadableError):
        bundle.read(answer.input)
    path.mkdir()
    with pytest.raises(BundleUnreadableError):
        bundle.read(answer.input)
    tensor = folder / answer.frame
    tensor.write_bytes(tensor.read_bytes()[:-1] + b"\xff")
    with pytest.raises(BundleTamperedError):
        bundle.array(answer.frame)


def test_a_file_that_grew_after_opening_is_not_read_to_its_end(folder: Path) -> None:
    bundle = Bundle.open(folder)
    os.truncate(folder / NETWORK, 1 << 40)  # sparse; reading it would end in a MemoryError
    with pytest.raises(BundleTamperedError):
        bundle.read(NETWORK)


def test_arrays_of_a_bundle_are_read_only(folder: Path) -> None:
    bundle = Bundle.open(folder)
    array = bundle.array(bundle.manifest.known_answers[0].tensors["filter"])
    assert array.flags.c_contiguous
    with pytest.raises(ValueError, match="read-only"):
        array[...] = 0
