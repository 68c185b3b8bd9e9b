"""Every wrong word has its exit status and its four lines, as text and as JSON; no traceback."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

import medsdk

ERROR = json.loads(
    (Path(__file__).parents[2] / "docs/schemas/error.schema.json").read_text(encoding="utf-8")
)
MESSAGE = re.compile(r"medsdk: \S.*\n(  (got: {5} |expected: |remedy: {2} )\S.*\n)*\Z")


@pytest.fixture
def place(bundle_dir: Path, image: bytes, changed: Callable[..., bytes], tmp_path: Path) -> Path:
    """A folder with one of everything."""
    (tmp_path / "B").symlink_to(bundle_dir)
    (tmp_path / "good.dcm").write_bytes(image)
    (tmp_path / "ultrasound.dcm").write_bytes(changed(Modality="US"))
    (tmp_path / "short.dcm").write_bytes(image[:-9])
    (tmp_path / "text.dcm").write_bytes(b"hello")
    (tmp_path / "empty").mkdir()
    (tmp_path / "hidden/.a").mkdir(parents=True)
    (tmp_path / "hidden/.a/b.dcm").write_bytes(image)
    (tmp_path / "hidden/.c.dcm").write_bytes(image)
    (tmp_path / "newer").mkdir()
    (tmp_path / "newer/manifest.json").write_bytes(b'{"format_version":"9.0"}\n')
    (tmp_path / "newer/manifest.sha256").write_bytes(
        b"8dd1d2ae6ea6f1e0ec9e4ed1e7f6b3dd7c0ab5f4fc4b4ef8d4b6bd1ee0e8d2f1\n"
    )
    return tmp_path


WRONG = [
    # words, exit status, code, a part of the message
    ("run nothing good.dcm --out o", 4, "bundle-unreadable", "there is no bundle"),
    ("run good.dcm good.dcm --out o", 4, "bundle-unreadable", "a file"),
    ("run empty good.dcm --out o", 4, "bundle-unreadable", "manifest.json is missing"),
    ("run B --out o", 2, "usage", "INPUT"),
    ("run B good.dcm", 2, "usage", "--out"),
    ("run B good.dcm --out o --nonsense", 2, "usage", "--nonsense"),
    ("run B good.dcm --out o --threads 0", 2, "usage", "--threads"),
    ("run B good.dcm --out o --threads 4096", 2, "setting-refused", "4096 threads"),
    ("run B good.dcm --out o --threads two", 2, "usage", "--threads"),
    ("run B nothing.dcm --out o", 4, "pixel-input-unreadable", "nothing at that path"),
    ("run B good.dcm empty --out o", 4, "pixel-input-unreadable", "input 2"),
    ("run B hidden --out o", 4, "pixel-input-unreadable", "folder without files"),
    ("run B " + "x" * 300 + " --out o", 4, "pixel-input-unreadable", "cannot be opened"),
    ("run B text.dcm --out o", 4, "pixel-input-unreadable", "no DICOM file"),
    ("run B short.dcm --out o", 4, "pixel-input-unreadable", ""),
    ("run B ultrasound.dcm --out o", 2, "pixel-input-refused", "Modality US"),
    ("run B good.dcm --out o --roi 1,2,3", 2, "pixel-input-refused", "3 values"),
    ("run B good.dcm --out o --roi 0,0,8,8", 2, "pixel-input-refused", "region of interest"),
    ("run B good.dcm --out o --roi nan,0,8,8", 2, "pixel-input-refused", "not finite"),
    ("run B good.dcm --out o --runtime tflite", 3, "runtime-unavailable", "tflite"),
    ("run B good.dcm --out o --runtime=", 3, "runtime-unavailable", "onnxruntime"),
    ("run B good.dcm --out o --variant int4", 2, "variant-unavailable", "fp32, int8-cpu"),
    ("run B good.dcm --out o --device NPU", 3, "device-unavailable", "NPU"),
    ("run B good.dcm --out text.dcm", 3, "output-not-writable", "findings.json"),
    ("run B good.dcm --out text.dcm/below", 3, "output-not-writable", "findings.json"),
    ("verify nothing", 4, "bundle-unreadable", "there is no bundle"),
    ("verify good.dcm", 4, "bundle-unreadable", "a file"),
    ("verify", 2, "usage", "BUNDLE"),
    ("verify B more", 2, "usage", "more"),
    ("verify B --threads 4096", 2, "setting-refused", "choose --threads"),
    ("verify B --variant fp32", 2, "usage", "--variant"),
    ("verify B --runtime tflite", 3, "runtime-unavailable", "tflite"),
    ("verify B --runtime onnxruntime --runtime tflite", 3, "runtime-unavailable", "tflite"),
    ("verify B --runtime=", 3, "runtime-unavailable", "onnxruntime"),
    ("inspect nothing", 4, "bundle-unreadable", "there is no bundle"),
    ("inspect good.dcm", 4, "bundle-unreadable", "a file"),
    ("inspect newer", 1, "bundle-tampered", "manifest.sha256"),
    ("inspect B --quiet", 2, "usage", "--quiet"),
    ("bench nothing", 4, "bundle-unreadable", "there is no bundle"),
    ("bench text.dcm", 4, "bundle-unreadable", "a file"),
    ("bench B --runs 0", 2, "usage", "--runs"),
    ("bench B --p99-ms 0", 2, "usage", "--p99-ms"),
    ("bench B --p99-ms nan", 2, "usage", "--p99-ms"),
    ("bench B --p99-ms inf", 2, "usage", "--p99-ms"),
    ("bench B --p99-ms fast", 2, "usage", "--p99-ms"),
    ("bench B --variant int4", 2, "variant-unavailable", "int4"),
    ("doctor B", 2, "usage", "B"),
    ("doctor --runtime openvino", 2, "usage", "--runtime"),
    ("tasks show", 2, "usage", "ID"),
    ("tasks show nothing/here", 2, "task-unknown", "uterus-mr/tumor-filter"),
    ("tasks show uterus-mr/tumor-filter --task-file text.dcm", 2, "usage", "both"),
    ("tasks show --task-file text.dcm", 2, "task-invalid", ""),
    ("tasks show --task-file text.dcm --toml", 2, "usage", "--toml"),
    ("nonsense", 2, "usage", "nonsense"),
    ("--nonsense", 2, "usage", "--nonsense"),
]


@pytest.mark.parametrize(("words", "status", "code", "part"), WRONG, ids=[row[0] for row in WRONG])
def test_text_and_json_of_a_wrong_command(cli, place, monkeypatch, words, status, code, part):
    monkeypatch.chdir(place)
    text = cli(*words.split())
    assert (text.status, text.out) == (status, "")
    message = text.err[text.err.index("medsdk: ") :]
    assert MESSAGE.match(message), message
    assert part in message
    assert "Traceback" not in text.err
    assert not (place / "o").exists()

    as_json = cli(*words.split(), "--json")
    assert as_json.status == status
    jsonschema.Draft202012Validator(ERROR).validate(as_json.json)
    error = as_json.json["error"]
    assert (error["code"], error["exit_status"]) == (code, status)
    said = [line.split(":", 1)[1].strip() for line in message.splitlines()]
    facts = [error[name] for name in ("what", "got", "expected", "remedy") if error[name]]
    assert said == facts or code == "usage"  # where --json itself may be named in the answer
    assert "medsdk: " not in as_json.err


def test_a_word_that_was_typed_wrongly_stands_on_standard_error_alone(cli, bundle_dir):
    typed = "/home/jane-doe/scan.dcm"
    done = cli("inspect", bundle_dir, typed, "--json")
    assert (done.status, done.json["error"]["code"]) == (2, "usage")
    assert typed in done.err
    assert "jane" not in done.out


def test_toml_is_no_json(cli):
    done = cli("tasks", "show", "uterus-mr/tumor-filter", "--toml", "--json")
    assert (done.status, done.json["error"]["code"]) == (2, "usage")
    assert cli("tasks", "show", "uterus-mr/tumor-filter", "--toml").out.startswith("#")


def test_a_bundle_of_a_later_format(cli, signed_again):
    done = cli("inspect", signed_again(lambda manifest: manifest.update(format_version="9.0")))
    assert done.status == 4
    assert "format_version = '9.0'" in done.err


def test_no_words_are_answered_with_the_help(cli):
    done = cli()
    assert done.status == 2
    assert done.out.startswith("Usage: medsdk")
    for command in (
        *("run", "verify", "inspect", "bench", "doctor", "tasks", "export", "demo"),
        *("evaluate", "pack", "unpack"),
    ):
        assert f"\n  {command} " in done.out
    assert cli("--help").out == done.out


def test_version(cli):
    done = cli("--version")
    assert (done.status, done.out, done.err) == (0, f"medsdk {medsdk.__version__}\n", "")


@pytest.mark.parametrize(
    "command",
    ["run", "verify", "inspect", "bench", "doctor", "export", "evaluate", "pack", "unpack"],
)
def test_every_command_has_help(cli, command):
    done = cli(command, "--help")
    assert done.status == 0
    assert "--json" in done.out


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
def test_an_answer_that_cannot_be_written_is_said_without_a_traceback(unbuffered):
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    for words in (["tasks", "--json"], ["tasks"], ["tasks", "show", "--json"]):
        with full.open("w") as stream:
            done = subprocess.run(
                [sys.executable, "-c", "from medsdk.cli import main; main()", *words],
                stdout=stream,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
                env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
            )
        assert done.returncode == 3, done.stderr
        assert MESSAGE.match(done.stderr), done.stderr
        assert "standard output" in done.stderr
