"""The kit goes on whatever a runtime does, and says what it did."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest

from medsdk.cli.main import run
from medsdk_conformance import ITEMS, kit
from medsdk_conformance.errors import ConformanceUnavailableError
from medsdk_conformance.kit import Report, run_kit
from medsdk_conformance.limits import MOST_SILENT
from medsdk_conformance.suite import ENDS
from medsdk_runtimes import available
from medsdk_runtimes.errors import DeviceUnavailableError, RuntimeUnavailableError
from medsdk_runtimes.operating_system import open_handles
from tests.conformance import hostile
from tests.conformance.kit_command import run_command

pytestmark = pytest.mark.skipif(not available(), reason="no runtime to spoil")

SCHEMA = Path(__file__).parents[2] / "docs/schemas/conformance.schema.json"
BEFORE, SPOILT, AFTER = "close", "conv", "gemm"


@pytest.fixture(autouse=True)
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "packages"
    folder.mkdir()
    hostile.install(folder)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("HOSTILE_PID", str(tmp_path / "pid"))


def _verdicts(report: Report) -> dict[str, str]:
    return {timed.result.id: timed.result.verdict for timed in report.results}


def _detail(report: Report, identifier: str) -> str:
    (found,) = [timed.result for timed in report.results if timed.result.id == identifier]
    return found.detail


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("aborts", "SIGABRT"),
        ("segfaults", "SIGSEGV"),
        ("exits", "raised SystemExit"),
        ("ends", "the process ended with exit status 0"),
        ("interrupts", "raised KeyboardInterrupt"),
        ("cuts", "the process"),
        ("unreadable", "raised Unreadable: line one"),
    ],
)
def test_the_item_fails_and_the_next_one_is_asked(name, reason):
    report = run_kit(name, ids={BEFORE, SPOILT, AFTER})
    assert _verdicts(report) == {BEFORE: "pass", SPOILT: "fail", AFTER: "pass"}
    assert reason in _detail(report, SPOILT)


def test_what_an_exception_says_is_one_printable_line_without_paths():
    detail = _detail(run_kit("unreadable", ids={SPOILT}), SPOILT)
    assert detail.isprintable()
    assert "/home" not in detail
    assert "secret" not in detail


def test_one_that_hangs_is_ended_with_its_children(tmp_path):
    before = time.monotonic()
    report = run_kit("hangs", ids={BEFORE, SPOILT, AFTER}, limit_s=3)
    assert time.monotonic() - before < 60
    assert _verdicts(report) == {BEFORE: "pass", SPOILT: "fail", AFTER: "pass"}
    assert "no answer within 3 s" in _detail(report, SPOILT)
    assert not _runs(tmp_path / "pid")


def test_what_it_prints_and_reads_is_kept_apart(capfd):
    report = run_kit("chatters", ids={SPOILT, AFTER})
    assert _verdicts(report) == {SPOILT: "pass", AFTER: "pass"}
    assert capfd.readouterr().out == ""


def test_what_it_prints_can_be_shown(capfd):
    run_kit("chatters", ids={SPOILT}, show_output=True)
    shown = capfd.readouterr()
    assert "more garbage" in shown.err
    assert shown.out == ""


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("prints_once", f"first seen after {BEFORE}: 'ACME 4.2"),
        ("prints_devices", "first seen after availability() and devices(): 'looking for cards"),
        ("prints_late", "first seen after"),
        ("prints_from_c", f"first seen after {BEFORE}: 'from C"),
        ("prints_imported", "first seen after its import: 'hello"),
    ],
)
def test_whatever_is_printed_is_judged_at_the_end(name, seen):
    report = run_kit(name, ids={"standard-output", BEFORE, AFTER})
    assert [timed.result.id for timed in report.results] == ["standard-output", BEFORE, AFTER]
    assert _verdicts(report) == {"standard-output": "fail", BEFORE: "pass", AFTER: "pass"}
    assert seen in _detail(report, "standard-output")


def test_one_that_says_nothing_is_asked_nothing_more(capfd):
    report = run_kit("mute", limit_s=2)
    details = {timed.result.detail for timed in report.results[1:]}
    assert (report.results[0].result.verdict, len(details)) == ("fail", 1)
    assert "did not say within 2 s what it is" in details.pop()
    assert {timed.result.verdict for timed in report.results[1:]} == {"not-run"}


def test_one_that_always_hangs_is_asked_three_times(capfd):
    before = time.monotonic()
    words = [word for item in ITEMS for word in ("--only", item.id) if item.id != "declarations"]
    assert run(["conformance", "hangs_always", "--timeout", "3", "--quiet", *words]) == 1
    assert time.monotonic() - before < 60
    lines = capfd.readouterr().out.splitlines()
    assert sum("no answer within 3 s" in line for line in lines) == MOST_SILENT
    assert sum("not asked: 3 items in a row" in line for line in lines) == 1


def test_only_says_why_an_item_is_not_run(capfd):
    assert run(["conformance", "openvino", "--only", "optimise-off", "--quiet"]) == 3
    assert "does not declare 'optimise-off'" in capfd.readouterr().out


@pytest.mark.parametrize("name", [*hostile.UNLOADABLE, "absent"])
def test_one_that_is_not_here_is_an_error(name):
    with pytest.raises(RuntimeUnavailableError) as caught:
        run_kit(name, ids={BEFORE})
    assert caught.value.exit_status == 3
    assert caught.value.got
    assert "/" not in str(caught.value)


@pytest.mark.parametrize(("name", "reason"), hostile.NO_RUNTIMES.items())
def test_an_entry_that_gives_no_runtime_says_why(name, reason):
    with pytest.raises(RuntimeUnavailableError) as caught:
        run_kit(name, ids={BEFORE})
    assert reason in str(caught.value.got)


def test_devices_that_raise_hide_nothing_else():
    report = run_kit("no_devices", ids={"declarations", "describes-itself", "devices", BEFORE})
    assert _verdicts(report) == {
        **dict.fromkeys(("declarations", "describes-itself"), "pass"),
        **dict.fromkeys(("devices", BEFORE), "fail"),
    }
    assert "no device to open it on: raised OSError: no driver" in _detail(report, BEFORE)
    assert report.capabilities


def test_a_pass_with_exceptions_says_so(capfd):
    words = ["conformance", "excused", "--quiet", "--only", BEFORE]
    assert run([*words, "--only", SPOILT]) == 0
    assert capfd.readouterr().out.endswith("\nPASS, with 1 exception\n")
    assert run([*words, "--only", SPOILT, "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["exceptions"] == [SPOILT]


def test_what_nobody_would_notice_takes_no_exception():
    report = run_kit("excused", ids={"declarations", "threads"})
    assert _verdicts(report) == {"declarations": "fail", "threads": "pass"}
    assert "no exception is taken for threads" in _detail(report, "declarations")


def test_what_it_raises_can_be_shown(capfd):
    run_kit("excused", ids={SPOILT}, show_output=True)
    shown = capfd.readouterr().err
    assert "Traceback" in shown
    assert "in open" in shown


def test_the_command_never_imports_it(monkeypatch):
    """Importing it here would end this process."""
    assert run(["conformance", "import_aborts", "--only", BEFORE, "--quiet"]) == 3
    assert "import_aborts" not in sys.modules


def test_one_that_cannot_be_described_is_asked_all_the_same():
    report = run_kit("undescribed", ids={"describes-itself", SPOILT})
    assert _verdicts(report) == {"describes-itself": "fail", SPOILT: "pass"}
    assert "raised SystemExit" in _detail(report, "describes-itself")


def test_a_process_that_ends_well_and_ones_that_do_not(monkeypatch):
    assert _verdicts(run_kit("sound", ids={ENDS})) == {ENDS: "pass"}
    report = run_kit("ends_badly", ids={ENDS})
    assert _detail(report, ENDS) == "the process ended with exit status 7"
    monkeypatch.setattr(kit, "_ENDING_S", 2.0)
    report = run_kit("never_ends", ids={ENDS})
    assert _detail(report, ENDS) == "the process does not end within 2 s"


def test_a_device_that_is_not_there_and_one_that_is():
    with pytest.raises(DeviceUnavailableError):
        run_kit("sound", ids={BEFORE}, device="NPU")
    assert run_kit("sound", ids={BEFORE}, device="CPU").device == "CPU"


def test_a_name_that_nobody_has():
    with pytest.raises(
        RuntimeUnavailableError, match="one of onnxruntime, openvino, aborts, absent"
    ):
        run_kit("nobody")


def test_the_command_prints_one_document_and_exits_with_1():
    done = run_command("aborts", "--only", BEFORE, "--only", SPOILT)
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(done.document)
    assert (done.status, done.document["verdict"]) == (1, "fail")
    assert [item["verdict"] for item in done.document["items"]] == ["pass", "fail"]
    assert done.document["runtime"] == "aborts"


def test_the_table_says_what_failed(capfd):
    assert run(["conformance", "exits", "--only", BEFORE, "--only", SPOILT, "--quiet"]) == 1
    out = capfd.readouterr().out
    assert "FAIL  conv: Conv 3x3, stride 2, bias. raised SystemExit: 0" in out
    assert out.endswith("\nFAIL\n")
    assert run(["conformance", "exits", "--only", BEFORE, "--quiet"]) == 0
    assert capfd.readouterr().out.endswith("\nPASS\n")


@pytest.mark.parametrize("words", [["sound", "--only", "nothing"], [], ["sound", "--timeout", "0"]])
def test_wrong_use(words, capfd):
    assert run(["conformance", *words, "--json"]) == 2
    assert json.loads(capfd.readouterr().out)["error"]["code"] == "usage"


def test_the_list_has_every_item_and_runs_nothing(capfd):
    assert run(["conformance", "--list", "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    assert [item["id"] for item in document["items"]] == [item.id for item in ITEMS]
    assert {item["verdict"] for item in document["items"]} == {"not-run"}
    assert all(item["asks"].endswith(".") for item in document["items"])
    assert run(["conformance", "--list", "--only", SPOILT]) == 0
    assert len(capfd.readouterr().out.splitlines()) == 3


def test_nothing_that_could_run_is_exit_3(capfd):
    """The example's capabilities, on an item that needs another one."""
    assert run(["conformance", "openvino", "--only", "optimise-off", "--json", "--quiet"]) == 3
    assert json.loads(capfd.readouterr().out)["verdict"] == "not-run"


def test_without_the_package_onnx_it_says_how_to_install_it(monkeypatch, capfd):
    monkeypatch.setattr("medsdk_conformance.errors.find_spec", lambda name: None)
    assert run(["conformance", "sound", "--json"]) == ConformanceUnavailableError.exit_status
    error = json.loads(capfd.readouterr().out)["error"]
    assert error["code"] == "conformance-unavailable"
    assert "medsdk[conformance]" in error["remedy"]


def test_no_process_and_no_file_is_left():
    before = open_handles()
    for _ in range(3):
        run_kit("aborts", ids={SPOILT})
    assert open_handles() <= before


def test_interrupted_it_leaves_no_process_behind(tmp_path):
    words = ["conformance", "hangs", "--only", SPOILT, "--quiet", "--json"]
    done = subprocess.Popen(
        [sys.executable, "-m", "medsdk.cli.main", *words],
        stdout=subprocess.PIPE,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    until = time.monotonic() + 60
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert time.monotonic() < until
        time.sleep(0.05)
    done.terminate()
    out, _ = done.communicate(timeout=30)
    assert done.returncode == 130
    assert json.loads(out)["error"]["code"] == "interrupted"
    assert not _runs(tmp_path / "pid")


def _runs(pid_file: Path) -> bool:
    status = Path("/proc") / pid_file.read_text() / "stat"
    return status.exists() and ") Z " not in status.read_text()
