"""Nothing on a device is under the GPL, and docs/licences.md says what is installed."""

from __future__ import annotations

import importlib.util
import platform
import re
import sys
import tomllib
from importlib.metadata import distribution
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
MEDICAL = re.compile(
    r"personal injury or death|life[- ]support|nuclear|safety[- ]critical|"
    r"medical (?:use|device|purpose|treatment|diagnos)",
    re.I,
)
"""Words of terms that a maker of medical devices has to read."""


def _loaded() -> ModuleType:
    spec = importlib.util.spec_from_file_location("licences", ROOT / "docs/upkeep/licences.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


LICENCES = _loaded()
DEVICE: dict[str, Any] = {
    canonicalize_name(item.name): item for item in LICENCES.packages(LICENCES.DEVICE_EXTRAS)
}


def _words_in(name: str) -> str:
    item = DEVICE[name]
    return " ".join([*item.licence_text.split(), *item.components])


def _speaking_of(words: re.Pattern[str]) -> set[str]:
    return {name for name in DEVICE if words.search(_words_in(name))}


def _noted(kind: str) -> set[str]:
    return {canonicalize_name(note.package) for note in LICENCES.notes() if note.kind == kind}


def test_the_device_needs_what_is_listed() -> None:
    assert {"numpy", "pydicom", "pydantic", "typer", "pillow", "onnxruntime", "openvino"} <= set(
        DEVICE
    )
    assert {"python-gdcm", "pyjpegls", "opencv-python-headless", "pydantic-core"} <= set(DEVICE)


def test_no_gpl_on_the_device() -> None:
    assert [name for name, item in DEVICE.items() if item.source == "nowhere"] == []
    assert [name for name, item in DEVICE.items() if LICENCES.GNU.search(item.licence)] == []
    for name in DEVICE:
        classifiers = distribution(name).metadata.get_all("Classifier") or []
        assert not [line for line in classifiers if re.search(r"GPL|GNU", line)], name


def test_no_training_framework_on_the_device() -> None:
    assert not {"torch", "tensorflow", "keras", "nncf", "onnx"} & set(DEVICE)


def test_a_wheel_that_speaks_of_gnu_licences_was_read() -> None:
    assert _speaking_of(LICENCES.GNU) == _noted("gnu")


def test_terms_on_medical_use_were_read() -> None:
    known = {"openvino"}  # people and institutions of that name in its thanks
    assert _speaking_of(MEDICAL) - known == _noted("use")


@pytest.mark.parametrize("note", LICENCES.notes(), ids=lambda note: note.evidence[:30])
def test_a_note_rests_on_words_in_the_wheel(note: Any) -> None:
    assert note.evidence in _words_in(canonicalize_name(note.package))


def test_no_part_under_the_gpl_is_built_into_ffmpeg() -> None:
    files = distribution("opencv-python-headless").files or []
    libraries = [file for file in files if "libavcodec" in file.name]
    if not libraries:
        pytest.skip("this wheel carries FFmpeg in another form")
    for library in libraries:
        said = re.findall(
            rb"libavcodec license: ([\w. ]+)", Path(str(library.locate())).read_bytes()
        )
        assert said == [b"LGPL version 2.1 or later"]


def test_pillow_has_no_libimagequant() -> None:
    from PIL import features

    assert not features.check("libimagequant")


def test_the_page_is_up_to_date() -> None:
    if sys.platform != "linux" or platform.machine() != "x86_64" or sys.version_info[:2] != (3, 11):
        pytest.skip("the page is that of Linux x86-64 and Python 3.11")
    assert LICENCES.main(["--check"]) == 0


def test_another_page_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = LICENCES.PAGE.read_text(encoding="utf-8")
    page = tmp_path / "licences.md"
    monkeypatch.setattr(LICENCES, "PAGE", page)
    page.write_text(written.replace("| pydicom |", "| pydicam |"), encoding="utf-8")
    assert LICENCES.main(["--check"]) == 1
    assert LICENCES.main(["--what"]) == 2


@pytest.mark.parametrize(
    ("metadata", "text", "expected"),
    [
        (
            {"License-Expression": "MIT AND 0BSD", "License": "BSD"},
            "",
            ("MIT AND 0BSD", "expression"),
        ),
        ({"License": "Apache License 2.0"}, "", ("Apache-2.0", "field")),
        ({"Classifier": "License :: OSI Approved :: MIT License"}, "", ("MIT", "classifier")),
        (
            {"License": "BSD", "Classifier": "License :: OSI Approved :: BSD License"},
            "Redistribution and use in source and binary forms, ... Neither the name of",
            ("BSD-3-Clause", "file"),
        ),
        (
            {"License": "BSD"},
            "Redistribution and use in source and binary forms, with or without",
            ("BSD-2-Clause", "file"),
        ),
        ({"License": "see the file"}, "GNU GENERAL PUBLIC LICENSE", ("not told", "nowhere")),
        ({}, "", ("not told", "nowhere")),
    ],
)
def test_where_a_licence_is_read(
    metadata: dict[str, str], text: str, expected: tuple[str, str]
) -> None:
    from email.message import Message

    class Item:
        def __init__(self) -> None:
            self.metadata = Message()
            for key, value in metadata.items():
                self.metadata[key] = value

    assert LICENCES._licence(Item(), text) == expected


def test_what_an_extra_brings_is_followed_to_its_end() -> None:
    brought = LICENCES.closure([Requirement("onnxruntime")])
    assert {"onnxruntime", "protobuf", "flatbuffers", "numpy"} <= set(brought)
    assert LICENCES.closure([Requirement("onnxruntime; sys_platform == 'vms'")]) == {}
    with pytest.raises(SystemExit, match="no-such-package"):
        LICENCES.closure([Requirement("no-such-package")])


def test_names_of_libraries_lose_their_hash() -> None:
    for name, plain in (
        ("libjpeg-6dc8d115.so.62.4.0", "libjpeg"),
        ("libgfortran-040039e1-0352e75f.so.5.0.0", "libgfortran"),
        ("libcrypto-5409cd36.so.1.1.1k", "libcrypto"),
        ("libtbb.so.12", "libtbb"),
        ("libopenblasp-r0-59ffcd50.3.15.so", "libopenblasp-r0.3.15"),
    ):
        assert LICENCES._unhashed(name) == plain


def test_the_words_for_gnu_licences_can_be_found() -> None:
    for text in ("GPL-3.0-only", "LGPLv2.1+", "AGPL-3.0", "GNU Lesser General Public License"):
        assert LICENCES.GNU.search(text), text
    for text in ("MIT-CMU", "Apache-2.0", "the general public", "GNU Compiler Collection"):
        assert not LICENCES.GNU.search(text), text


def test_every_extra_is_on_the_page() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    listed = {*LICENCES.DEVICE_EXTRAS, *LICENCES.OTHER_EXTRAS}
    assert set(project["optional-dependencies"]) == listed
