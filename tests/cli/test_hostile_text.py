"""Text of a bundle or a file name never steers the terminal, fills it, or stops an answer."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medsdk.bundle import Bundle
from medsdk.errors import BundleUnreadableError, FormatVersionError

LIVE = "\x1b]0;owned\x07\x9b31m\u202etxt\r"


def _not_live(text: str) -> None:
    assert not set(text) & set("\x1b\x07\x9b\u202e\r")


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize("command", ["inspect", "verify"])
def test_an_unknown_key_is_shown_dead_and_clipped(
    command: str, as_json: bool, cli: Any, signed_again: Callable[..., Path]
) -> None:
    folder = signed_again(lambda d: d.update({LIVE + "x" * 5_000_000: 1}))
    done = cli(command, folder, *(["--json"] if as_json else []))
    assert done.status == 4
    _not_live(done.out + done.err)
    assert "x1b]0;owned" in done.out + done.err
    assert len(done.out + done.err) < 1000


@pytest.mark.parametrize("where", ["bundle", "task"])
def test_a_format_version_is_shown_clipped(where: str, signed_again: Callable[..., Path]) -> None:
    def change(document: dict[str, Any]) -> None:
        (document if where == "bundle" else document["task"])["format_version"] = (
            LIVE + "9" * 5_000_000
        )

    with pytest.raises(FormatVersionError) as caught:
        Bundle.open(signed_again(change))
    _not_live(str(caught.value))
    assert len(str(caught.value)) < 1000


def test_a_message_of_the_schema_is_clipped(signed_again: Callable[..., Path]) -> None:
    name = f"{LIVE}{'y' * 1_000_000}"

    def change(document: dict[str, Any]) -> None:
        answer = document["known_answers"][0]
        answer["outputs"]["filter"][name] = answer["frame"]

    with pytest.raises(BundleUnreadableError) as caught:
        Bundle.open(signed_again(change))
    _not_live(str(caught.value))
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("character", ["\x1b", "\x00", "\r", "\x7f", "\x9b", "\u202e", "\u2066"])
def test_texts_of_a_bundle_hold_no_control_character(
    character: str, signed_again: Callable[..., Path]
) -> None:
    def reason(document: dict[str, Any]) -> None:
        document["networks"]["filter"]["variants"]["fp32"]["reason"] = f"a{character}b"

    def notice(document: dict[str, Any]) -> None:
        document["notice"] = f"not for clinical use{character}"

    def title(document: dict[str, Any]) -> None:
        document["task"]["title"] = f"{character}Title"

    for change in (reason, notice, title):
        with pytest.raises(BundleUnreadableError, match=change.__name__):
            Bundle.open(signed_again(change, change.__name__))

    def good(document: dict[str, Any]) -> None:
        document["notice"] += " – für Ärzte: 医学\n\tsecond line"

    Bundle.open(signed_again(good, "good"))


def test_what_is_no_text_of_the_schema_is_printed_dead(
    cli: Any, signed_again: Callable[..., Path]
) -> None:
    folder = signed_again(lambda d: d["provenance"].update(created=LIVE))
    for words in (("inspect", folder), ("inspect", folder, "--json")):
        done = cli(*words)
        assert done.status == 0
        _not_live(done.out + done.err)
    assert done.json["provenance"]["created"] == LIVE


@pytest.mark.skipif(sys.platform != "linux", reason="names there are text")
@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_a_file_name_that_is_no_text_stops_no_answer(
    locale: str, bundle_dir: Path, tmp_path: Path
) -> None:
    source = Path(os.fsdecode(os.fsencode(tmp_path) + b"/b\xfcndel"))
    shutil.copytree(bundle_dir, source)
    environment = os.environ | {"LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for command in ("pack", "pack --force --json", "inspect"):
        done = subprocess.run(
            [sys.executable, "-m", "medsdk.cli.main", *command.split(), str(source)],
            capture_output=True,
            check=False,
            env=environment,
        )
        assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr
        text = done.stdout.decode()
        if "--json" in command:
            json.loads(text)
        if command == "pack":
            assert "b\\udcfcndel.medsdk" in text
