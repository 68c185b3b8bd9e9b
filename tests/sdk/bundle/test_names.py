"""What a file of a bundle may be called, wherever a name is read or written."""

from __future__ import annotations

import os
import sys
from pathlib import Path, PureWindowsPath

import pytest

from medsdk.bundle import Bundle, BundleWriter
from medsdk.bundle.names import is_file_name, is_signature, named
from medsdk.bundle.one_file import MOST_FILES, OneFile, write_one_file
from medsdk.bundle.storage import BundleLimits
from medsdk.errors import BundleFormError, BundleTamperedError, BundleUnreadableError

DEVICES = ["aux", "con", "nul", "prn", *(f"{d}{n}" for d in ("com", "lpt") for n in range(1, 10))]


def test_no_device_of_windows_is_a_name() -> None:
    """As Python knows them, which has them from Microsoft's page on naming files."""
    for device in DEVICES:
        assert PureWindowsPath(device).is_reserved()
        for name in (device, f"{device}.onnx", f"a/{device}", f"{device}/a", f"{device}.tar.gz"):
            assert not is_file_name(name)
        assert is_file_name(f"{device}x")
        assert is_file_name(f"x{device}")
        assert is_file_name(f"{device}-a.onnx")
        assert is_file_name(f"a.{device}")
    assert is_file_name("com10")


def test_signatures_are_one_set_of_names() -> None:
    for name in ("signature", "signature.sig", "signature.sigstore.json", "signature.2"):
        assert is_signature(name)
        assert is_file_name(name)
    for name in ("signatures", "signature.", "signature..a", "signature.A", "a/signature"):
        assert not is_signature(name)
    assert is_signature("signature." + "x" * 190)
    assert not is_signature("signature." + "x" * 191)


@pytest.mark.parametrize("name", ["networks/aux/fp32.onnx", "../a", "Upper", "a.", "x" * 201, ""])
def test_the_writer_refuses_what_a_reader_would(name: str, tmp_path: Path) -> None:
    with pytest.raises(BundleFormError) as caught:
        BundleWriter(tmp_path).add(name, b"x")
    assert caught.value.remedy
    assert list(tmp_path.iterdir()) == []


PATIENT = "DOE^JANE 1970-01-01.dcm"


@pytest.mark.skipif(sys.platform == "win32", reason="needs links")
@pytest.mark.parametrize("kind", ["file", "link", "pipe", "huge"])
def test_what_is_no_bundle_keeps_its_names_to_itself(
    kind: str, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "patients").mkdir()
    for place, error in (
        (tmp_path / "patients", BundleUnreadableError),
        (folder, (BundleTamperedError, BundleUnreadableError)),
    ):
        path = place / PATIENT
        if kind == "link":
            path.symlink_to("nowhere")
        elif kind == "pipe":
            os.mkfifo(path)
        else:
            path.write_bytes(b"x")
            os.truncate(path, 1 << 40 if kind == "huge" else 1)
        with pytest.raises(error) as caught:
            Bundle.open(place)
        assert "DOE" not in str(caught.value)
        assert caught.value.remedy
        if place != folder:
            assert caught.value.exit_status == 4
            assert "manifest.json is missing" in caught.value.what
    assert named(PATIENT) == "a name that no file of a bundle has"


class _Empty:
    path = Path("memory")

    def __init__(self, names: list[str]) -> None:
        self.sizes = dict.fromkeys(names, 0)

    def read(self, name: str, at_most: int) -> bytes:
        return b""

    def chunks(self, name: str) -> list[bytes]:
        return []


def test_very_many_deep_names_cost_little(tmp_path: Path) -> None:
    """Calls and returns are counted, not seconds: how many a file."""
    names = [f"a/b/c/d/e/f/g/h/{number:05}" for number in range(MOST_FILES)]
    write_one_file(tmp_path / "many", _Empty(names))  # type: ignore[arg-type]
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += 1

    sys.setprofile(count)
    try:
        OneFile.open(tmp_path / "many", BundleLimits())
    finally:
        sys.setprofile(None)
    assert calls / MOST_FILES < 100, calls / MOST_FILES
