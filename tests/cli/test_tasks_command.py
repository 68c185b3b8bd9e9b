"""`medsdk tasks` and `medsdk tasks show`: what they print, and what wrong use is told."""

import json
import os
import sys
import tomllib
from pathlib import Path

import pytest

from medsdk.cli.main import run
from medsdk.tasks import catalogue_task, catalogue_text, read_task, task_from_document

SHIPPED = "uterus-mr/tumor-filter"
TEXT = catalogue_text(SHIPPED)
FOLDER = Path(__file__).parent.parent / "sdk/tasks/families"
FAMILIES = {
    path.stem: tomllib.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.iterdir())
}


def _command(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = run(list(words))
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    return status, out, err


def test_tasks_lists_the_catalogue(capsys):
    status, out, err = _command(capsys, "tasks")
    assert (status, err) == (0, "")
    assert SHIPPED in out
    assert "not for clinical use" in out
    status, out, err = _command(capsys, "tasks", "--json")
    assert (status, err) == (0, "")
    assert [row["id"] for row in json.loads(out)["tasks"]] == [
        "liver-us/classify",
        "liver-us/malignancy",
        SHIPPED,
    ]


def test_tasks_show(capsys):
    status, out, err = _command(capsys, "tasks", "show", SHIPPED)
    assert (status, err) == (0, "")
    for word in ("mobilenet-v2", "none, tumour", "0.5", "not for clinical use", "inferred"):
        assert word in out
    status, out, _ = _command(capsys, "tasks", "show", SHIPPED, "--json")
    assert status == 0
    assert task_from_document(json.loads(out), "shown") == catalogue_task(SHIPPED)
    status, out, _ = _command(capsys, "tasks", "show", SHIPPED, "--toml")
    assert status == 0
    assert out.strip() == TEXT.strip()


@pytest.mark.parametrize("name", FAMILIES)
def test_tasks_show_a_file(capsys, tmp_path, name):
    source = FOLDER / f"{name}.toml"
    path = tmp_path / "my own täsk.toml"
    path.write_bytes(source.read_bytes())
    status, out, err = _command(capsys, "tasks", "show", "--task-file", str(path))
    assert (status, err) == (0, "")
    assert FAMILIES[name]["id"] in out
    assert "not for clinical use" in out
    status, out, _ = _command(capsys, "tasks", "show", "--task-file", str(path), "--json")
    assert status == 0
    assert task_from_document(json.loads(out), "shown") == read_task(path)


@pytest.mark.parametrize(
    ("edit", "status", "code", "said"),
    [
        (('fit = "stretch"', 'fit = "strech"'), 2, "task-invalid", "'stretch', 'letterbox'"),
        (('fit = "stretch"', 'fut = "stretch"'), 2, "task-invalid", "unknown key"),
        (("divide_by = 255.0", "divide_by = nan"), 2, "task-invalid", "divide_by = nan"),
        (('role = "filter"', 'role = "net"'), 2, "task-invalid", "allowed: filter"),
        (('version = "1.0"', 'version = "9.0"'), 4, "format-version", "'9.0'"),
        (('version = "1.0"', 'version = "old"'), 4, "format-version", "'old'"),
        (("[intended_use]", "[intended_use"), 2, "task-invalid", "line"),
    ],
)
@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
def test_the_command_line_explains(capsys, tmp_path, edit, status, code, said, as_json):
    path = tmp_path / "Lücke und Täsk.toml"
    before, after = edit
    assert before in TEXT
    path.write_text(TEXT.replace(before, after, 1), encoding="utf-8")
    words = ["tasks", "show", "--task-file", str(path)]
    got, out, err = _command(capsys, *words, *(["--json"] if as_json else []))
    assert got == status
    if as_json:
        assert err == ""
        error = json.loads(out)["error"]
        assert error["code"] == code
        text = " ".join(map(str, error.values()))
    else:
        assert out == ""
        text = err
    assert "Lücke und Täsk.toml" in text
    assert str(tmp_path) not in text
    assert said in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["tasks", "show"], "--task-file"),
        (["tasks", "show", SHIPPED, "--task-file", "x.toml"], "both"),
        (["tasks", "show", "liver-us/nothing"], SHIPPED),
        (["tasks", "show", "--task-file", "nowhere/mine.toml"], "mine.toml"),
        (["tasks", "show", "--task-file", "."], "."),
        (["tasks", "list"], "list"),
    ],
)
@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
def test_wrong_use(capsys, words, said, as_json):
    status, out, err = _command(capsys, *words, *(["--json"] if as_json else []))
    assert status == 2
    text = out if as_json else err
    if as_json:
        assert json.loads(out)["error"]["exit_status"] == 2
        if said == "list":  # words that were typed may be a path: standard error alone has them
            assert said not in out
            text = err
    assert (err if as_json and text is not err else "" if as_json else out) == ""
    assert said in text


@pytest.mark.skipif(sys.platform != "linux", reason="only there a name can be any bytes")
@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
def test_a_name_that_is_no_text(capsys, tmp_path, as_json):
    path = tmp_path / os.fsdecode(b"t\xe4sk.toml")
    words = ["tasks", "show", "--task-file", str(path), *(["--json"] if as_json else [])]
    status, out, err = _command(capsys, *words)
    assert status == 2
    assert "sk.toml" in out + err
