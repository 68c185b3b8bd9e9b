"""Somebody stops the command, or stops reading: 130, and nothing half-said."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from medsdk.cli.output import Progress

# A shell that starts jobs in the background makes them, and so this test's child, ignore SIGINT.
COMMAND = [
    sys.executable,
    "-c",
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from medsdk.cli import main; main()",
]


def _stopped(bundle: Path, number: int, *words: str) -> tuple[int, str, str]:
    """A bench of many runs, stopped once it says that it is timing."""
    with subprocess.Popen(
        [*COMMAND, "bench", str(bundle), "--runs", "100000000", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    ) as process:
        try:
            assert process.stderr is not None
            said = ""
            while "timing" not in said:
                line = process.stderr.readline()
                assert line, said
                said += line
            process.send_signal(number)
            out, err = process.communicate(timeout=300)
        finally:
            process.kill()  # it would go on for hours
    return process.returncode, out, said + err


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to send a process")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_stopped_command_exits_130(bundle_dir, name):
    status, out, err = _stopped(bundle_dir, getattr(signal, name))
    assert (status, out) == (130, "")
    assert err.endswith(
        "medsdk: interrupted\n  remedy:   nothing half-written was left behind; run it again\n"
    )
    assert "Traceback" not in err


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to send a process")
def test_a_stopped_command_with_json_says_so_in_json(bundle_dir):
    status, out, err = _stopped(bundle_dir, signal.SIGINT, "--json")
    error = json.loads(out)["error"]
    assert (status, error["code"], error["exit_status"]) == (130, "interrupted", 130)
    assert "Traceback" not in err


def test_an_interrupt_anywhere_in_a_command(cli, monkeypatch):
    def stop() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("medsdk.diagnosis.diagnose", stop)
    done = cli("doctor", "--json")
    assert (done.status, done.json["error"]["code"]) == (130, "interrupted")
    assert cli("doctor").status == 130


@pytest.mark.parametrize("words", [["tasks", "--json"], ["tasks", "show", "nothing", "--json"]])
def test_a_reader_that_left_gets_no_traceback(words):
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [*COMMAND, *words], stdout=write, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (130, "")


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_an_error_starts_on_a_line_of_its_own_on_a_terminal(monkeypatch):
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)

    def stop() -> None:
        with Progress() as progress:
            progress("running", 1, 3)
            raise KeyError

    with pytest.raises(KeyError):
        stop()
    assert terminal.getvalue().endswith("running  1 of 3\n")


def test_progress_off_a_terminal_is_a_line_a_phase(monkeypatch):
    plain = io.StringIO()
    monkeypatch.setattr(sys, "stderr", plain)
    with Progress() as progress:
        for done in range(100):
            progress("running", done, 100)
        progress("writing", 0, None)
    assert plain.getvalue().splitlines() == ["running  0 of 100", "writing"]
