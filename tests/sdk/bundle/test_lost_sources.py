"""A bundle that is replaced or lost while it is read: the error says that, and what to do."""

from __future__ import annotations

import ast
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import medsdk
from medsdk.bundle import Bundle, reading
from medsdk.errors import BundleUnreadableError

SOURCES = sorted(Path(reading.__file__).parent.glob("*.py"))


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be replaced there")
def test_a_file_that_is_replaced_while_it_is_opened_is_read_to_its_end(
    folder: Path,
    document: dict[str, Any],
    sign: Callable[..., None],
    one_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = Bundle.open(one_file)
    document["provenance"]["created"] = "1999-12-31T23:59:59Z"
    (folder / "evidence/attempts.json").write_bytes(b"{}")
    sign(folder, document)
    other = medsdk.pack(folder, tmp_path / "other.medsdk")
    parse = reading._parse_manifest

    def meanwhile(*rest: Any) -> Any:
        (tmp_path / "other.medsdk").replace(one_file)
        return parse(*rest)

    monkeypatch.setattr(reading, "_parse_manifest", meanwhile)
    assert Bundle.open(one_file).sha256 == before.sha256
    monkeypatch.undo()
    assert Bundle.open(one_file).sha256 == other.sha256 != before.sha256


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be removed there")
@pytest.mark.parametrize("form", ["pack", "unpack"])
def test_a_source_that_is_lost_is_no_unwritable_target(
    form: str, folder: Path, one_file: Path, tmp_path: Path
) -> None:
    source = folder if form == "pack" else one_file

    def lose(phase: str, done: int, total: int | None) -> None:
        if phase == f"{form}ing" and done == 5:
            shutil.rmtree(source) if source.is_dir() else source.unlink()

    with pytest.raises(BundleUnreadableError, match="cannot be read") as caught:
        getattr(medsdk, form)(source, tmp_path / "place/out", progress=lose)
    assert caught.value.exit_status == 4
    assert caught.value.remedy
    assert str(tmp_path) not in str(caught.value)
    assert list((tmp_path / "place").iterdir()) == []


@pytest.mark.parametrize("name", ["manifest.json", "manifest.sha256"])
def test_what_is_too_large_is_named(name: str, folder: Path) -> None:
    os.truncate(folder / name, 300 if name == "manifest.sha256" else 17 * 1024**2)
    with pytest.raises(BundleUnreadableError) as caught:
        Bundle.open(folder)
    assert caught.value.what == f"{name} is too large"
    size, most = (300, 256) if name == "manifest.sha256" else (17 * 1024**2, 16 * 1024**2)
    assert (caught.value.got, caught.value.expected) == (f"{size} bytes", f"at most {most} bytes")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_every_error_says_what_to_do(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        if node.func.id.startswith(("Bundle", "Output")) and node.func.id.endswith("Error"):
            given = {keyword.arg for keyword in node.keywords}
            assert given == {"got", "expected", "remedy"}, f"{path.name}:{node.lineno}"
