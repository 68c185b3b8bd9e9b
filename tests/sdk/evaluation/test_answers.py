"""Files of answers: written by the line, gone on with after a kill, refused in every bad form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from medsdk.errors import (
    AnswersMismatchError,
    AnswersUnreadableError,
    FormatVersionError,
    OutputNotWritableError,
)
from medsdk.evaluation.answers import (
    MOST_CASES,
    Answer,
    AnswersHeader,
    AnswersWriter,
    read_answers,
    write_answers,
)
from medsdk.results.documents import BundleIdentity, NetworkChoice, SettingsDocument
from medsdk.tasks.gates import Gates


def header(**changes: Any) -> AnswersHeader:
    values: dict[str, Any] = {
        "bundle": BundleIdentity(name="b", version="1.0.0", sha256="0" * 64),
        "notice": "not for clinical use",
        "task": {"id": "v/b", "version": "1.0.0"},
        "decision": "{}",
        "labels": ("none", "tumour"),
        "positive": "tumour",
        "gates": Gates(max_output_difference={}),
        "thresholds": {"t": 0.5},
        "preprocessing": {"filter": "1" * 64},
        "networks_sha256": {"filter": "2" * 64},
        "runtime": "onnxruntime",
        "runtime_version": "1",
        "device": "CPU",
        "networks": {"filter": NetworkChoice(variant="fp32", precision="f32")},
        "settings": SettingsDocument(threads=1, isa="native"),
        "machine": {"cpu": "x", "libraries": {"numpy": "2"}},
        "machine_sha256": "3" * 64,
        "cases_sha256": "4" * 64,
        "cases": 3,
        "medsdk": "0",
    }
    return AnswersHeader(**(values | changes))


def answer(number: int, **changes: Any) -> Answer:
    values: dict[str, Any] = {
        "case": f"{number:016x}",
        "number": number,
        "truth": "tumour",
        "patient": "a" * 16,
        "strata": {"site": "東京"},
        "status": "ok",
        "label": "tumour",
        "probabilities": {"none": 0.1, "tumour": 0.9},
        "outputs": {"filter.logits": (-1.0, 1.2000000476837158)},
    }
    return Answer(**(values | changes))


ANSWERS = tuple(answer(number) for number in (1, 2, 3))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "answers" / "candidate.jsonl"


def test_what_was_written_is_read(path: Path) -> None:
    with AnswersWriter.open(path, header()) as writer:
        assert writer.done == ()
        for item in ANSWERS:
            writer.append(item)
            assert path.read_bytes().endswith(b"\n")  # with the system before append returns
    assert read_answers(path) == (header(), ANSWERS)
    other = path.with_name("whole.jsonl")
    write_answers(other, header(), ANSWERS)
    assert other.read_bytes() == path.read_bytes()


def test_any_cut_is_gone_on_with_to_the_same_bytes(path: Path) -> None:
    write_answers(path, header(), ANSWERS)
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for cut in range(first, len(whole), 37):
        path.write_bytes(whole[:cut])
        with AnswersWriter.open(path, header()) as writer:
            assert len(writer.done) == whole[first:cut].count(b"\n")
            for item in ANSWERS[len(writer.done) :]:
                writer.append(item)
        assert path.read_bytes() == whole


def test_a_cut_file_is_not_read(path: Path) -> None:
    write_answers(path, header(), ANSWERS)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(AnswersUnreadableError, match="cut short"):
        read_answers(path)
    write_answers(path, header(), ANSWERS[:2])
    with pytest.raises(AnswersUnreadableError, match="not finished"):
        read_answers(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"bundle": BundleIdentity(name="b", version="1.0.0", sha256="9" * 64)},
        {"machine_sha256": "9" * 64},
        {"cases_sha256": "9" * 64},
        {"preprocessing": {"filter": "9" * 64}},
        {"settings": SettingsDocument(threads=2, isa="native")},
    ],
)
def test_another_header_is_no_place_to_go_on(path: Path, changes: dict[str, Any]) -> None:
    write_answers(path, header(), ANSWERS[:1])
    before = path.read_bytes()
    with pytest.raises(AnswersMismatchError, match=f"another {next(iter(changes))}"):
        AnswersWriter.open(path, header(**changes))
    assert path.read_bytes() == before
    with AnswersWriter.open(path, header(**changes), fresh=True) as writer:
        assert writer.done == ()


def test_two_writers_do_not_mix(path: Path) -> None:
    with AnswersWriter.open(path, header()) as one, AnswersWriter.open(path, header()) as two:
        one.append(ANSWERS[0])
        with pytest.raises(AnswersMismatchError, match="another process"):
            two.append(ANSWERS[0])
    assert path.read_bytes().count(b"\n") == 2


def _lines(*documents: object) -> bytes:
    return b"".join(json.dumps(item).encode() + b"\n" for item in documents)


HEAD = header().model_dump(mode="json")
ONE = ANSWERS[0].model_dump(mode="json")


@pytest.mark.parametrize(
    ("data", "kind", "says"),
    [
        (b"", AnswersUnreadableError, "nothing in it"),
        (b"path,truth\n", AnswersUnreadableError, "no file of answers"),
        (b"\x00\xff" * 50, AnswersUnreadableError, "no file of answers"),
        (b"{" * 200_000 + b"\n", AnswersUnreadableError, "no JSON object"),
        (b"{" + b" " * 1024**2 + b"}\n", AnswersUnreadableError, "too long"),
        (_lines({"kind": "else"}), AnswersUnreadableError, "no file of answers"),
        (_lines(HEAD | {"format_version": "2.0"}), FormatVersionError, "format version"),
        (_lines(HEAD | {"extra": 1}), AnswersUnreadableError, "extra: extra_forbidden"),
        (_lines(HEAD | {"cases": 0}), AnswersUnreadableError, "cases: greater_than"),
        (_lines(HEAD | {"cases": MOST_CASES + 1}), AnswersUnreadableError, "larger"),
        (_lines(HEAD, [1]), AnswersUnreadableError, "line 2 of the file of answers is no JSON"),
        (_lines(HEAD, ONE, ONE), AnswersUnreadableError, "a second time"),
        (_lines(HEAD, ONE | {"number": 2}), AnswersUnreadableError, "case 2 on line 2"),
        (_lines(HEAD, ONE | {"case": "x"}), AnswersUnreadableError, "case: string_pattern"),
        (_lines(HEAD, ONE | {"status": "fine"}), AnswersUnreadableError, "status: literal"),
        (_lines(HEAD, ONE | {"reason": "x" * 70_000}), AnswersUnreadableError, "too long"),
        (_lines(HEAD | {"cases": 1}, ONE, ONE), AnswersUnreadableError, "each once"),
        (
            _lines(HEAD) + b'{"case":"a","case":"b"}\n',
            AnswersUnreadableError,
            "line 2 of the file of answers is no JSON",
        ),
    ],
)
def test_what_is_no_file_of_answers_is_refused(
    path: Path, data: bytes, kind: type[Exception], says: str
) -> None:
    path.parent.mkdir()
    path.write_bytes(data)
    with pytest.raises(kind, match=says):
        read_answers(path)
    if data:
        with pytest.raises(kind):  # and is not gone on with, nor lost
            AnswersWriter.open(path, header())
        assert path.read_bytes() == data


def test_a_path_that_is_none(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path, tmp_path / "a\0b"):
        with pytest.raises(AnswersUnreadableError) as caught:
            read_answers(path)
        assert str(tmp_path) not in str(caught.value)
    with pytest.raises(OutputNotWritableError):
        AnswersWriter.open(tmp_path, header())
