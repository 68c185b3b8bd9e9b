"""`medsdk pack`, `medsdk unpack`, and every command on the one file that a bundle can be."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

import medsdk

SCHEMAS = Path(__file__).parents[2] / "docs/schemas"
NETWORK = "networks/filter/fp32.onnx"


def _check(name: str, document: object) -> None:
    schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(document)


def test_pack_and_unpack(cli, bundle_dir, packed, tmp_path):
    out = tmp_path / "büндle.medsdk"
    done = cli("pack", bundle_dir, "--out", out, "--json")
    _check("pack", done.json)
    bundle = medsdk.Bundle.open(bundle_dir)
    files = [path for path in bundle_dir.rglob("*") if path.is_file()]
    assert done.status == 0
    assert done.json == {
        "format_version": "1.0",
        "notice": bundle.manifest.notice,
        "bundle": {"name": "vendor-blob", "version": "1.0.0", "sha256": bundle.sha256},
        "form": "file",
        "files": len(files),
        "size_bytes": sum(path.stat().st_size for path in files),
    }
    assert out.read_bytes() == packed.read_bytes()

    back = cli("unpack", out, "--json", "--quiet")
    _check("unpack", back.json)
    assert (back.status, back.err) == (0, "")
    assert back.json == done.json | {"form": "directory"}
    assert medsdk.Bundle.open(tmp_path / "büндle").sha256 == bundle.sha256


def test_they_say_where_it_is_and_replace_when_told(cli, bundle_dir, tmp_path):
    shutil.copytree(bundle_dir, tmp_path / "b")
    first = cli("pack", tmp_path / "b")
    assert first.status == 0
    assert f"written: {tmp_path / 'b.medsdk'}\nnext: medsdk verify" in first.out
    assert medsdk.Bundle.open(bundle_dir).sha256 in first.out
    assert "not for clinical use" in first.out
    again = cli("pack", tmp_path / "b", "--json")
    assert (again.status, again.json["error"]["code"]) == (3, "output-not-writable")
    assert "--force" in again.json["error"]["remedy"]
    assert cli("pack", tmp_path / "b", "--force").status == 0
    assert cli("unpack", tmp_path / "b.medsdk").status == 3
    assert cli("unpack", tmp_path / "b.medsdk", "--force").status == 0


@pytest.mark.parametrize(
    ("words", "status", "code"),
    [
        ("pack", 2, "usage"),
        ("pack nothing", 4, "bundle-unreadable"),
        ("pack F.medsdk", 2, "bundle-form"),
        ("pack empty", 4, "bundle-unreadable"),
        ("pack text", 4, "bundle-unreadable"),
        ("pack B --out text --force", 3, "output-not-writable"),
        ("pack B --out text/below", 3, "output-not-writable"),
        ("pack B --out B/x.medsdk", 3, "output-not-writable"),
        ("unpack", 2, "usage"),
        ("unpack B", 2, "bundle-form"),
        ("unpack text", 4, "bundle-unreadable"),
        ("unpack plain.zip", 4, "bundle-unreadable"),
        ("unpack F", 2, "bundle-form"),
        ("unpack F.medsdk --out place --force", 3, "output-not-writable"),
        ("inspect plain.zip", 4, "bundle-unreadable"),
    ],
)
def test_wrong_use(cli, bundle_dir, packed, tmp_path, monkeypatch, words, status, code):
    (tmp_path / "B").symlink_to(bundle_dir)
    (tmp_path / "F.medsdk").symlink_to(packed)
    (tmp_path / "F").symlink_to(packed)
    (tmp_path / "text").write_bytes(b"hello")
    (tmp_path / "empty").mkdir()
    (tmp_path / "place").mkdir()
    (tmp_path / "place/holiday.jpg").write_bytes(b"x")
    shutil.make_archive(str(tmp_path / "plain"), "zip", bundle_dir)
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path)
    done = cli(*words.split(), "--json")
    _check("error", done.json)
    assert (done.status, done.json["error"]["code"]) == (status, code)
    assert done.json["error"]["remedy"]
    assert "Traceback" not in done.err
    assert "medsdk pack" in done.json["error"]["remedy"] or "plain" not in words
    assert sorted(tmp_path.rglob("*")) == before


def test_every_command_takes_the_file(cli, bundle_dir, packed, image, tmp_path):
    (tmp_path / "a.dcm").write_bytes(image)

    def same(*words: object) -> None:
        one, many = (cli(words[0], path, *words[1:], "--json") for path in (packed, bundle_dir))
        assert one.status == many.status
        documents = [one.json, many.json]
        for document in documents:
            for key in ("latency", "memory_peak_bytes", "provenance"):
                document.pop(key, None)
        assert documents[0] == documents[1]

    same("inspect")
    same("verify", "--runtime", "onnxruntime")
    same("run", tmp_path / "a.dcm", "--out", tmp_path / "out")
    same("bench", "--runs", "3")
    assert [path.name for path in packed.parent.iterdir()] == [packed.name]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to send a process")
@pytest.mark.parametrize("command", ["pack", "unpack"])
def test_an_interrupted_command_leaves_nothing(command, bundle_dir, tmp_path):
    """A real SIGINT while a large file is being written."""
    place = tmp_path / "place"
    place.mkdir()
    source = bundle_dir
    if command == "unpack":
        medsdk.pack(bundle_dir, tmp_path / "b.medsdk")
        source = tmp_path / "b.medsdk"
    code = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from medsdk.bundle import one_file, storage\n"
        f"kind = {'storage.Directory' if command == 'pack' else 'one_file.OneFile'}\n"
        "chunks, count = kind.chunks, [0]\n"
        "def slow(self, name):\n"
        "    count[0] += 1\n"
        f"    if count[0] == {len([p for p in bundle_dir.rglob('*') if p.is_file()]) + 7}:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "    yield from chunks(self, name)\n"
        "kind.chunks = slow\n"
        "from medsdk.cli import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, command, str(source), "--out", str(place / "out"), "--json"],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        env=os.environ,
    )
    assert done.returncode == 130, done.stderr
    assert json.loads(done.stdout)["error"]["code"] == "interrupted"
    assert f"{command}ing  0 of" in done.stderr
    assert "checking what was written" not in done.stderr
    assert list(place.iterdir()) == []
