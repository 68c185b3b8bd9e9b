"""What one candidate said of every case: a header and one line a case (`answers.jsonl`).

The file is what `evaluate` resumes from, and what `diff` compares between two bundles, two
candidates or two machines. It holds no path, no pseudonym and no value of a DICOM object: a case
is the digest of its pixels, patients, studies and lesions are digests of what the table says.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Annotated, Any, Literal, Self, TypeVar

from pydantic import Field, NonNegativeInt, PositiveInt, ValidationError

from medsdk._refusals import OutputNotWritableError, shown
from medsdk.atomic import reported, write_file
from medsdk.bundle.manifest import Sha256
from medsdk.canonical import canonical_json, parse_json
from medsdk.evaluation.errors import AnswersMismatchError, AnswersUnreadableError
from medsdk.results.documents import BundleIdentity, NetworkChoice, SettingsDocument
from medsdk.tasks.gates import Gates
from medsdk.tasks.strict import FORMAT_VERSION, FormatVersion, Strict
from medsdk.tasks.versions import check_format_version

CaseId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
"""First 16 digits of the sha256 of a case's decoded pixels and its region of interest."""


class AnswersHeader(Strict):
    """Who answered, and by what contract.

    Attributes:
        bundle: Which bundle.
        task: Its task's id and version.
        decision: The decision rule, canonical JSON of `task.decision`.
        labels: The labels that an answer may be.
        positive: The label that sensitivity speaks of.
        gates: The task's gates.
        thresholds: Name to value.
        preprocessing: For each role, the digest of its pixel contract.
        networks_sha256: For each role, the digest of the graph that ran.
        topology_sha256: For each role, the digest of its operators alone.
        weights_sha256: For each role, the digest of its weights alone
            (`medsdk_runtimes.graph_digests`); like the topology's empty where nobody said.
        runtime: Name and version.
        device: As the runtime reports it.
        networks: For each role, variant and the precision that was read back.
        settings: Threads and the limit on the instruction set.
        machine: The machine's identity; no host or user name.
        machine_sha256: Its digest.
        cases_sha256: Of the set of cases: their ids, truths and patients, in order.
        cases: How many there are.
        medsdk: Version of the SDK.
    """

    format_version: FormatVersion = FORMAT_VERSION
    kind: Literal["medsdk-answers"] = "medsdk-answers"
    bundle: BundleIdentity
    notice: str
    task: dict[str, str]
    decision: str
    labels: tuple[str, ...]
    positive: str
    gates: Gates
    thresholds: dict[str, float]
    preprocessing: dict[str, str]
    networks_sha256: dict[str, Sha256]
    topology_sha256: dict[str, Sha256] = {}
    weights_sha256: dict[str, Sha256] = {}
    runtime: str
    runtime_version: str
    device: str
    networks: dict[str, NetworkChoice]
    settings: SettingsDocument
    machine: dict[str, str | int | float | dict[str, str]]
    machine_sha256: Sha256
    cases_sha256: Sha256
    cases: PositiveInt
    medsdk: str

    @property
    def title(self) -> str:
        """The candidate in a few words, the same in every report."""
        variants = ", ".join(sorted({choice.variant for choice in self.networks.values()}))
        isa = "" if self.settings.isa == "native" else f" {self.settings.isa}"
        return f"{self.runtime}{isa} {variants}"


class Answer(Strict):
    """What was said of one case.

    Attributes:
        case: Its id.
        number: Its row in the table of cases, 1-based.
        truth: Its label; None where the table has none.
        patient: Digest of the table's pseudonym.
        study: Digest of the table's study; None where the table has no such column.
        lesion: Digest of the table's lesion; None where the table has no such column.
        strata: Column to value, the columns that divide the cases.
        status: Whether there is an answer; `error` where the runtime failed.
        label: The answer; None unless `status` is `ok`.
        probabilities: Label to probability; empty where there are none.
        reason: Why there is no answer; empty where there is.
        outputs: `role.output` to its values, flat, where they are few (`KEPT_VALUES`).
    """

    case: CaseId
    number: PositiveInt
    truth: str | None
    patient: CaseId
    study: CaseId | None = None
    lesion: CaseId | None = None
    strata: dict[str, str] = {}
    status: Literal["ok", "indeterminate", "no-result", "error"]
    label: str | None
    probabilities: dict[str, float]
    reason: str = ""
    outputs: dict[str, tuple[float, ...]] = {}


KEPT_VALUES: NonNegativeInt = 64
"""An output of at most so many values is kept with its answer."""

MOST_CASES = 100_000
"""A table or a file of more cases is refused; an answer takes about a kilobyte of memory."""

HEADER_BYTES = 1024**2
ANSWER_BYTES = 64 * 1024
"""The longest lines of a file of answers."""

_WHAT = "the file of answers"
_Record = TypeVar("_Record", AnswersHeader, Answer)


class AnswersWriter:
    """Appends answers to a file, one line a case, so that a killed process can go on.

    Use `AnswersWriter.open`. Every line is flushed to the system before `append` returns; a line
    that was cut by a kill is taken away when the file is opened again.

    Attributes:
        path: Where the file lies.
        header: What it starts with.
        done: The answers that were there already, in order.
    """

    def __init__(
        self, path: Path, header: AnswersHeader, done: tuple[Answer, ...], file: IO[bytes]
    ) -> None:
        self.path = path
        self.header = header
        self.done = done
        self._file = file
        self._size = os.fstat(file.fileno()).st_size

    @classmethod
    def open(cls, path: Path, header: AnswersHeader, *, fresh: bool = False) -> Self:
        """Begin a file of answers, or go on with one.

        Args:
            path: Where; its folder is made where it is missing.
            header: Who answers, and by what contract.
            fresh: Whether to begin anew where there is such a file.

        Returns:
            The writer, a context.

        Raises:
            AnswersMismatchError: The file there has another header.
            AnswersUnreadableError: What is there is no file of answers.
            FormatVersionError: It is of a format version that this release does not read.
            OutputNotWritableError: The place cannot be written or is full.
        """
        kept = 0 if fresh else _whole_lines(path)
        done: tuple[Answer, ...] = ()
        if kept:
            found, done = _read(path, kept)
            if found != header:
                raise _other_header(found, header)
        else:
            write_file(path, _line(header), _WHAT)
        with reported(_WHAT):
            if kept:
                os.truncate(path, kept)
            file = path.open("ab")
        return cls(path, header, done, file)

    def append(self, answer: Answer) -> None:
        """Write one answer; it is with the system when this returns.

        Raises:
            AnswersMismatchError: Somebody else wrote to the file.
            OutputNotWritableError: The place is full.
        """
        line = _line(answer)
        try:
            size = os.fstat(self._file.fileno()).st_size
            if size == self._size:
                self._file.write(line)
                self._file.flush()
        except OSError as error:
            raise OutputNotWritableError.from_os(_WHAT, error) from error
        if size != self._size:
            raise AnswersMismatchError(
                "another process writes to the same file of answers",
                got=f"{size} bytes",
                expected=f"{self._size} bytes, as this process left it",
                remedy="let one evaluation finish before another starts in the same place",
            )
        self._size += len(line)

    def close(self) -> None:
        """Let the file go, with everything on the disk."""
        if not self._file.closed:
            with reported(_WHAT):
                self._file.flush()
                os.fsync(self._file.fileno())
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def write_answers(path: Path, header: AnswersHeader, answers: Iterable[Answer]) -> None:
    """Write a whole file of answers, replacing what is there.

    Raises:
        OutputNotWritableError: The place cannot be written or is full.
    """
    write_file(path, _line(header) + b"".join(map(_line, answers)), _WHAT)


def read_answers(path: Path) -> tuple[AnswersHeader, tuple[Answer, ...]]:
    """Read a finished file of answers.

    Args:
        path: The file, as `medsdk evaluate` writes it.

    Returns:
        Its header, and one answer a case in the order of the table.

    Raises:
        AnswersUnreadableError: No such file, not ours, malformed, cut short, with fewer answers
            than its header says, or larger than a reader takes on.
        FormatVersionError: It is of a format version that this release does not read.
    """
    header, answers = _read(path, None)
    if len(answers) != header.cases:
        raise AnswersUnreadableError(
            f"{_WHAT} is not finished",
            got=f"answers of {len(answers)} cases",
            expected=f"{header.cases}, as its header says",
            remedy="run the same `medsdk evaluate` again: it goes on where it stopped",
        )
    return header, answers


def _line(record: AnswersHeader | Answer) -> bytes:
    return canonical_json(record.model_dump(mode="json"))


def _whole_lines(path: Path) -> int:
    """Size of a file up to its last newline; 0 where there is no file or an empty one."""
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            start = max(0, end - HEADER_BYTES)
            file.seek(start)
            tail = file.read(end - start)
    except FileNotFoundError:
        return 0
    except (OSError, ValueError) as error:
        raise OutputNotWritableError.from_os(_WHAT, error) from error
    if end and b"\n" not in tail:
        raise _not_ours("no line of such a file")  # its header is written whole or not at all
    return start + tail.rfind(b"\n") + 1


def _read(path: Path, kept: int | None) -> tuple[AnswersHeader, tuple[Answer, ...]]:
    """Header and answers of the first `kept` bytes; None for all."""
    header: AnswersHeader | None = None
    answers: list[Answer] = []
    seen: set[str] = set()
    for number, line in enumerate(_lines(path, kept)):
        if header is None:
            header = _header(line)
            continue
        answer = _record(Answer, line, f"line {number + 1} of {_WHAT}")
        if answer.number != number or answer.case in seen or number > header.cases:
            raise AnswersUnreadableError(
                f"{_WHAT} does not have one answer a case",
                got=f"case {answer.number} on line {number + 1}"
                + (", a second time" if answer.case in seen else ""),
                expected=f"case 1 to {header.cases}, in order, each once",
                remedy="run `medsdk evaluate` again with --fresh",
            )
        seen.add(answer.case)
        answers.append(answer)
    if header is None:
        raise _not_ours("nothing in it")
    return header, tuple(answers)


def _lines(path: Path, kept: int | None) -> Iterator[bytes]:
    """Lines of a file with their newlines, none longer than it may be."""
    try:
        with path.open("rb") as file:
            number = 0
            while kept is None or file.tell() < kept:
                most = ANSWER_BYTES if number else HEADER_BYTES
                line = file.readline(most + 1)
                if not line:
                    return
                number += 1
                if number == 1 and not line.startswith(b"{"):
                    raise _not_ours("a first line that is no JSON object")
                if len(line) > most or not line.endswith(b"\n"):
                    raise AnswersUnreadableError(
                        f"line {number} of {_WHAT} is "
                        + ("too long" if len(line) > most else "cut short"),
                        got=f"{len(line)} bytes{' or more' if len(line) > most else ''}",
                        expected=f"at most {most} bytes and a newline at the end",
                        remedy="run the same `medsdk evaluate` again: it goes on where it stopped",
                    )
                yield line
    except (OSError, ValueError) as error:
        raise AnswersUnreadableError(
            f"{_WHAT} cannot be read",
            got=getattr(error, "strerror", None) or "a path that cannot be",
            expected="a file as `medsdk evaluate` writes it: answers/CANDIDATE.jsonl",
            remedy="check the path",
        ) from error


def _header(line: bytes) -> AnswersHeader:
    document = _parsed(line, f"the first line of {_WHAT}")
    if document.get("kind") != "medsdk-answers":
        raise _not_ours("a first line of another kind")
    check_format_version(document.get("format_version"), _WHAT)
    header = _record(AnswersHeader, line, f"the header of {_WHAT}")
    if header.cases > MOST_CASES:
        raise AnswersUnreadableError(
            f"{_WHAT} is larger than this reader takes on",
            got=f"{header.cases} cases",
            expected=f"at most {MOST_CASES}",
        )
    return header


def _record(kind: type[_Record], line: bytes, name: str) -> _Record:
    document = _parsed(line, name)
    try:
        return kind.model_validate_json(json.dumps(document))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise AnswersUnreadableError(
            f"{name} is not what `medsdk evaluate` writes",
            got=f"{shown(key)[1:-1]}: {first['type']}",
            expected="what docs/evaluate.md describes",
            remedy="take the file from its source again, or make it again with --fresh",
        ) from None


def _parsed(line: bytes, name: str) -> dict[str, Any]:
    try:
        document = parse_json(line)
    except ValueError:
        document = None  # whatever it is, it may be somebody's: nothing of it is shown
    if not isinstance(document, dict):
        raise AnswersUnreadableError(
            f"{name} is no JSON object",
            expected="one JSON object a line, in UTF-8",
            remedy="take the file from its source again, or make it again with --fresh",
        )
    return document


def _not_ours(got: str) -> AnswersUnreadableError:
    return AnswersUnreadableError(
        "that is no file of answers",
        got=got,
        expected="a file as `medsdk evaluate` writes it: answers/CANDIDATE.jsonl",
        remedy="check the path",
    )


def _other_header(found: AnswersHeader, header: AnswersHeader) -> AnswersMismatchError:
    before, now = found.model_dump(), header.model_dump()
    differing = [name for name in now if before[name] != now[name]]
    return AnswersMismatchError(
        "the answers that are there were given by something else",
        got=f"another {', '.join(differing)}",
        expected="the same bundle, candidate, cases, preprocessing and machine",
        remedy="give another --out, or --fresh to begin anew",
    )
