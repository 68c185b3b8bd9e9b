"""The table of cases on a device: what a row says, and which cases a table may hold.

A table is its user's own: paths may be absolute or climb with `..`, as they may on any command
line. Nothing of a path, and no pseudonym, leaves this module but as a digest; the values of strata
do, since a report must name them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medsdk._refusals import shown
from medsdk.canonical import canonical_json, sha256_of
from medsdk.evaluation.answers import MOST_CASES
from medsdk.evaluation.errors import CasesRefusedError
from medsdk.evaluation.tables import (
    ROI_COLUMN,
    parse_roi,
    read_table,
    resolved,
    roi_refused,
    roi_rule,
)
from medsdk.pixels import Box, Frame, open_dicom
from medsdk.pixels._geometry import region_of
from medsdk.pixels.errors import DecoderMissingError, PixelInputRefusedError
from medsdk.tasks.schema import Task
from medsdk_runtimes.errors import MedsdkError

COLUMNS = ("path", "truth", "patient")
"""Columns that every table of cases has."""

UNITS = ("study", "lesion")
"""Columns that say which cases belong together."""

STRATA = ("stratum", "site", "device-model", "size")
"""Columns that divide the cases, for any task; a task's `intended_use.strata` come beside them."""

NOT_STATED = "not stated"
"""What an empty field of a stratum counts as: such cases are a group of their own."""

MOST_VALUES = 50
"""A column of more values divides nothing; it may hold names."""

VALUE_CHARACTERS = 64
"""The longest value of a stratum."""

_WHAT = "the table of cases"
_SHOWN = 5


@dataclass(frozen=True)
class Case:
    """One row of a table of cases.

    Attributes:
        number: Which row, 1-based; `case N` stands for it in every message.
        path: Where its file is.
        truth: Its label; None where nobody knows.
        patient: Digest of the pseudonym, 16 hexadecimal digits.
        study: Digest of the study; None where there is none.
        lesion: Digest of the lesion; None where there is none.
        strata: Column to value.
        roi: Region of interest, where the task takes one.
    """

    number: int
    path: Path = field(repr=False)
    truth: str | None
    patient: str
    study: str | None
    lesion: str | None
    strata: dict[str, str]
    roi: Box | None

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return f"case {self.number}"


@dataclass(frozen=True)
class KnownCase:
    """A case with its identity.

    Attributes:
        case: The row.
        id: First 16 digits of the sha256 of its decoded pixels and its region of interest; of its
            file's bytes where they cannot be decoded.
        error: Code of the error that its file gives; empty where it can be read.
    """

    case: Case
    id: str
    error: str = ""


@dataclass(frozen=True)
class CaseSet:
    """All cases of a table with their identities.

    Attributes:
        cases: In the table's order.
        strata: Columns that divide them.
        has_study: Whether the table names studies.
        has_lesion: Whether the table names lesions.
    """

    cases: tuple[KnownCase, ...]
    strata: tuple[str, ...]
    has_study: bool
    has_lesion: bool

    @property
    def sha256(self) -> str:
        """Digest of ids, truths and patients, in order."""
        rows = [[item.id, item.case.truth, item.case.patient] for item in self.cases]
        return sha256_of(canonical_json(rows))

    @property
    def labelled(self) -> int:
        """How many have a truth."""
        return sum(item.case.truth is not None for item in self.cases)

    @property
    def patients(self) -> int:
        """How many different patients."""
        return len({item.case.patient for item in self.cases})


def case_columns(task: Task) -> tuple[str, ...]:
    """Columns that a table of cases of a task may have beside `COLUMNS`."""
    roi = () if roi_rule(task) is None else (ROI_COLUMN,)
    return (*UNITS, *roi, *strata_columns(task))


def strata_columns(task: Task) -> tuple[str, ...]:
    """Columns that divide the cases of a task: the usual ones, and those that the task names."""
    own = (name for name in task.intended_use.strata if name not in (*COLUMNS, *UNITS, ROI_COLUMN))
    return tuple(dict.fromkeys((*STRATA, *own)))


def read_cases(
    table: Path, task: Task, labels: Iterable[str], within_patient: Sequence[str] = ()
) -> tuple[Case, ...]:
    """Read a table of cases; no file that it names is opened.

    Args:
        table: A CSV file in UTF-8 with a header: `path` (relative to the table, absolute, or with
            `..`), `truth` (a label, or empty), `patient` (a pseudonym), and what
            `case_columns` allows.
        task: The task.
        labels: Labels that a truth may be.
        within_patient: Strata that may differ between cases of one patient, such as the size of
            a lesion.

    Returns:
        At least one case, in the table's order.

    Raises:
        CasesRefusedError: No such table, another encoding, separator or header; a truth that is
            no label, a missing or repeated file, no patient or study, one patient in two strata,
            a study or a lesion of two patients, a column that divides nothing, no region of
            interest where the task needs one, more cases than are taken on.
    """
    divided = strata_columns(task)
    for name in within_patient:
        if name not in divided:
            raise CasesRefusedError(
                "there is no such stratum to vary within a patient",
                got=shown(name),
                expected=f"one of {', '.join(divided)}",
            )
    rows = read_table(table, _WHAT, "case", COLUMNS, case_columns(task))
    if len(rows) > MOST_CASES:
        raise CasesRefusedError(
            f"{_WHAT} holds more cases than are taken on",
            got=f"{len(rows)} cases",
            expected=f"at most {MOST_CASES}",
            remedy="divide it into several tables",
        )
    columns = [name for name in divided if name in rows[0]]
    allowed, rule = list(labels), roi_rule(task)
    cases: list[Case] = []
    missing: dict[str, list[str]] = {}
    for number, row in enumerate(rows, 1):
        name = f"case {number}"
        path = resolved(table.parent / row["path"]) if row["path"] else None
        if path is None:
            missing.setdefault(_instead(table.parent, row["path"]), []).append(name)
        cases.append(
            Case(
                number=number,
                path=path or table,
                truth=_truth(row["truth"], allowed, name, task.id),
                patient=_digest("patient", _named(row, "patient", name)),
                study=_digest("study", _named(row, "study", name)) if "study" in row else None,
                lesion=_digest("lesion", row["lesion"]) if row.get("lesion", "").strip() else None,
                strata={column: _value(row[column], column, name) for column in columns},
                roi=parse_roi(row.get(ROI_COLUMN, ""), rule, name),
            )
        )
    if missing:
        raise CasesRefusedError(
            f"{sum(map(len, missing.values()))} of {len(rows)} files of {_WHAT} are missing",
            got="; ".join(f"{there} {_some(names)}" for there, names in missing.items()),
            expected="paths of files, relative to the table of cases or absolute",
            remedy="correct the table, or give the files",
        )
    _check_distinct(cases)
    _check_values(cases, columns)
    _check_patients(cases, columns, within_patient)
    return tuple(cases)


def identify_cases(
    cases: Sequence[Case],
    task: Task,
    progress: Callable[[int], None] | None = None,
    calibrated: Container[str] = frozenset(),
    *,
    check_regions: bool = True,
) -> CaseSet:
    """Decode every case once, one after the other, for its identity.

    Args:
        cases: At least one.
        task: The task; its modalities are those that can be read.
        progress: Told how many are done.
        calibrated: Digests of images that calibration has seen, see
            `medsdk.evaluation.calibration`.
        check_regions: Whether a region of interest that its frame does not hold is refused; else
            it is an error of its case, when the case is asked about.

    Returns:
        The set. A file that cannot be read, or that the task does not take, has the code of its
        error.

    Raises:
        CasesRefusedError: Two cases have the same pixels and region of interest, one has several
            frames or a region that is not in its frame, or calibration has seen it.
        DecoderMissingError: This machine lacks the decoder of a case.
    """
    known: list[KnownCase] = []
    seen: dict[str, str] = {}
    for done, case in enumerate(cases):
        if progress is not None:
            progress(done)
        try:
            frame = read_frame(case, task)
            if check_regions:
                _check_region(case, task, frame)
            content, error = pixels_digest(frame.array), ""
        except (CasesRefusedError, DecoderMissingError):
            raise
        except MedsdkError as problem:
            content, error = _file_digest(case), problem.code
        if content in calibrated:
            raise CasesRefusedError(
                f"{case.name} is among the images that calibration has seen",
                got="the same pixels",
                expected="cases that calibration has not seen: the others measure nothing",
                remedy="take it out of the table",
            )
        roi = None if case.roi is None else list(map(float, case.roi.corners))
        identity = sha256_of(canonical_json([content, roi]))[:16]
        if identity in seen:
            raise CasesRefusedError(
                f"{case.name} has the same pixels as {seen[identity]}",
                got="one image under two names",
                expected="each image once, or once for each region of interest",
                remedy="take one of the two out of the table: counted twice it proves nothing more",
            )
        seen[identity] = case.name
        known.append(KnownCase(case, identity, error))
    first = cases[0]
    return CaseSet(
        tuple(known),
        tuple(first.strata),
        any(case.study is not None for case in cases),
        any(case.lesion is not None for case in cases),
    )


def read_frame(case: Case, task: Task) -> Frame:
    """Decode the one frame of a case.

    Raises:
        CasesRefusedError: It has several frames.
        MedsdkError: As `open_dicom` and `DicomImage.frame`.
    """
    image = open_dicom(case.path, modalities=task.input.modalities)
    if image.number_of_frames != 1:
        raise CasesRefusedError(
            f"{case.name} has several frames",
            got=f"{image.number_of_frames} frames",
            expected="one frame a case, since a truth speaks of one",
            remedy="give the frames as files of their own",
        )
    return image.frame(1)


def _check_region(case: Case, task: Task, frame: Frame) -> None:
    """A wrong region is the table's fault, so it may not count against a candidate."""
    rule = roi_rule(task)
    if rule is None or case.roi is None:
        return
    height, width = frame.array.shape[:2]
    try:
        region_of(rule, height, width, case.roi)
    except PixelInputRefusedError as error:
        raise roi_refused(
            case.name, error, CasesRefusedError, f"correct the column {ROI_COLUMN}"
        ) from error


def pixels_digest(array: NDArray[np.generic]) -> str:
    """sha256 of a frame's shape and values, the same whatever file carries them."""
    values = np.ascontiguousarray(array, dtype=np.int64 if array.dtype.kind in "iu" else None)
    return hashlib.sha256(
        f"{values.dtype.str}{values.shape}".encode() + values.tobytes()
    ).hexdigest()


def _instead(folder: Path, path: str) -> str:
    """What stands where a file was named; the name of its case follows."""
    if not path.strip():
        return "an empty path for"
    try:
        return "a folder for" if (folder / path).is_dir() else "nothing at the path of"
    except (OSError, ValueError):  # too long; a NUL inside
        return "nothing at the path of"


def _truth(text: str, allowed: list[str], name: str, task_id: str) -> str | None:
    if not text:
        return None
    if text not in allowed:
        raise CasesRefusedError(
            f"{name} has a truth that is no label of {task_id}",
            # A column that moved would put a pseudonym here, so the text itself is not shown.
            got="another text" + (", with spaces around it" if text.strip() in allowed else ""),
            expected=f"one of {', '.join(allowed)}, or nothing where nobody knows",
        )
    return text


def _named(row: dict[str, str], column: str, name: str) -> str:
    text = row[column].strip()
    if not text:
        raise CasesRefusedError(
            f"{name} has no {column}",
            got="an empty field",
            expected=f"a pseudonym, the same for all cases of one {column}",
            remedy=f"where every case is of another {column}, number them",
        )
    return text


def _value(text: str, column: str, name: str) -> str:
    value = text.strip()
    if len(value) > VALUE_CHARACTERS or not value.isprintable():
        raise CasesRefusedError(
            f"{name} has a value of {column} that is none",
            got=f"{len(value)} characters",
            expected=f"at most {VALUE_CHARACTERS}, all of them printable",
            remedy="name groups in a word or two: reports show them",
        )
    return value or NOT_STATED


def _digest(kind: str, text: str) -> str:
    return sha256_of(f"{kind}:{text.strip()}".encode("utf-8", "replace"))[:16]


def _file_digest(case: Case) -> str:
    try:
        with case.path.open("rb") as file:
            return "file:" + hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CasesRefusedError(
            f"the file of {case.name} cannot be read",
            got=error.strerror or type(error).__name__,
            expected="a file that this user may read",
        ) from error


def _check_distinct(cases: Sequence[Case]) -> None:
    seen: dict[tuple[Path, Box | None], str] = {}
    for case in cases:
        earlier = seen.setdefault((case.path, case.roi), case.name)
        if earlier != case.name:
            raise CasesRefusedError(
                f"{case.name} names a file that {earlier} names already",
                expected="each file once, or once for each region of interest",
                remedy="take one of the two out of the table",
            )


def _check_values(cases: Sequence[Case], columns: Sequence[str]) -> None:
    for column in columns:
        count = len({case.strata[column] for case in cases})
        if count > MOST_VALUES:
            raise CasesRefusedError(
                f"the column {column} divides nothing",
                got=f"{count} different values in {len(cases)} cases",
                expected=f"a few groups, at most {MOST_VALUES}",
                remedy="name groups (of sizes: small, large), never patients: reports show them",
            )


def _check_patients(
    cases: Sequence[Case], columns: Sequence[str], within_patient: Sequence[str]
) -> None:
    """One patient lies in one stratum; one study and one lesion are of one patient."""
    first: dict[tuple[str, str], tuple[str, str]] = {}
    for case in cases:
        pairs = [
            (column, case.patient, case.strata[column])
            for column in columns
            if column not in within_patient
        ]
        pairs += [
            (unit, key, case.patient)
            for unit, key in (("study", case.study), ("lesion", case.lesion))
            if key is not None
        ]
        for what, key, value in pairs:
            before, earlier = first.setdefault((what, key), (value, case.name))
            if before == value:
                continue
            if what in UNITS:
                raise CasesRefusedError(
                    f"one {what} has two patients",
                    got=f"{earlier} and {case.name}",
                    expected=f"each {what} of one patient",
                    remedy=f"name a {what} so that no other patient's has the same name, for "
                    f"instance PATIENT-{what}-1",
                )
            raise CasesRefusedError(
                f"one patient stands in two strata of {what}",
                got=f"{earlier} and {case.name}",
                expected="each patient in one group, since groups are compared as independent",
                remedy=f"correct the table; where {what} speaks of a lesion and may differ within "
                f"a patient: --within-patient {what}",
            )


def _some(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
