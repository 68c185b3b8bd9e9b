"""A patient's name, id, UIDs and path go through everything and come out nowhere.

Standard error may repeat the path that was typed, and nothing else of these.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import re
import shutil
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest

import medsdk
from medsdk.bundle import Bundle
from medsdk.errors import MedsdkError
from medsdk.parity.verification import verify

CANARY = "CANARY"
NAME, IDENTITY, WORDS = "CANARY^JANE^Q", "CANARY-4711", "CANARY WORDS"
UID = "1.2.826.0.1.3680043.8.498.70707070707070.1"
IN_PATH = "canary-file"
TRACES = (CANARY, "JANE", "4711", "7070707070", IN_PATH)

COMPUTED = re.compile(
    r"(?<=[\[,:-])\d\.\d{6,}(?=[\],}e])|(?<=\")(?:[0-9a-f]{16}|[0-9a-f]{64})(?=\")"
)
"""Long fractions and digests in JSON: among so many digits any four occur."""

IDENTIFYING: dict[str, Any] = {
    "PatientName": NAME,
    "PatientID": IDENTITY,
    "AccessionNumber": "CANARY4711",
    "StudyDescription": WORDS,
    "SeriesDescription": WORDS,
    "InstitutionName": WORDS,
    "ReferringPhysicianName": NAME,
    "PatientComments": WORDS,
    "ImageComments": WORDS,
}
UIDS = {
    "SOPInstanceUID": UID,
    "StudyInstanceUID": f"{UID}.2",
    "SeriesInstanceUID": f"{UID}.3",
    "FrameOfReferenceUID": f"{UID}.4",
}


def _marked(image: bytes, **broken: Any) -> pydicom.FileDataset:
    """The image of somebody; `broken` are attributes with the canary where numbers belong."""
    dataset = pydicom.dcmread(io.BytesIO(image))
    dataset.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.UID(UID)
    for keyword, value in {**IDENTIFYING, **UIDS}.items():
        setattr(dataset, keyword, value)
    dataset.private_block(0x0011, WORDS, create=True).add_new(1, "LO", IDENTITY)
    for keyword, value in broken.items():
        vr = "UI" if keyword.endswith("UID") else "LO"
        dataset[keyword] = pydicom.DataElement(
            pydicom.tag.Tag(keyword), vr, value, validation_mode=0
        )
    return dataset


def _bytes(dataset: pydicom.FileDataset) -> bytes:
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.save_as(stream, enforce_file_format=False)
    return stream.getvalue()


@pytest.fixture
def objects(image: bytes) -> dict[str, bytes]:
    """Somebody's image, whole and broken in many ways."""
    whole = _bytes(_marked(image))
    found = {
        "whole": whole,
        "truncated": whole[:-7],
        "half": whole[: len(whole) // 3],
        "in the name": whole[: whole.index(b"CANARY^") + 8],
        "no DICOM": b"CANARY^JANE 4711",
        "modality": _bytes(_marked(image, Modality="CANARY JANE")),
        "photometric": _bytes(_marked(image, PhotometricInterpretation="CANARY")),
        "slope": _bytes(_marked(image, RescaleSlope="CANARY", RescaleIntercept="JANE")),
        "frames": _bytes(_marked(image, NumberOfFrames="CANARY")),
        "spacing": _bytes(_marked(image, PixelSpacing="CANARY\\JANE")),
        "uid": _bytes(_marked(image, SOPInstanceUID="CANARY JANE", SOPClassUID="CANARY.4711")),
        "syntax": whole.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.70707070707\0"),
    }
    assert CANARY.encode() in found["syntax"]
    assert found["syntax"] != whole
    return found


def _clean(text: str | bytes, *, typed: Path | None = None) -> None:
    shown = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    if typed is not None:
        shown = shown.replace(str(typed), "")
    shown = COMPUTED.sub("", shown)
    for trace in TRACES:
        position = shown.find(trace)
        assert position < 0, shown[max(0, position - 80) : position + 80]


def test_the_check_can_fail(image):
    with pytest.raises(AssertionError):
        _clean(_bytes(_marked(image)))
    with pytest.raises(AssertionError):
        _clean("x canary-file y")


@pytest.mark.parametrize("as_json", [True, False], ids=["json", "text"])
def test_run(cli, bundle_dir, objects, tmp_path, as_json):
    folder = tmp_path / IN_PATH
    folder.mkdir()
    paths = []
    for number, data in enumerate(objects.values()):
        paths.append(folder / f"{NAME}-{number}.dcm")
        paths[-1].write_bytes(data)
    out = tmp_path / "out"
    words = ["run", bundle_dir, "--out", out, "--pictures", *(["--json"] if as_json else [])]

    done = cli(*words, *paths)
    assert done.status in (2, 4)
    _clean(done.out)
    err = done.err
    for path in paths:  # typed, so standard error may repeat them
        err = err.replace(str(path), "")
    _clean(err)
    for path in paths[1:]:
        _clean(cli(*words, path).out + cli(*words, path).err, typed=path)

    whole = cli(*words, folder)  # the folder was typed, the names in it were not
    _clean(whole.out)
    _clean(whole.err, typed=folder)
    assert "file 2 of" in whole.err
    written = [path for path in out.rglob("*") if path.is_file()]
    assert {"findings.json", "input-0001-frame-0001.png"} <= {path.name for path in written}
    for path in written:
        _clean(path.name)
        _clean(path.read_bytes())


def test_finding_errors_logs_and_warnings(bundle_dir, objects, caplog, tmp_path):
    path = tmp_path / f"{IN_PATH}-{NAME}.dcm"
    caplog.set_level(logging.DEBUG)
    raised = 0
    with medsdk.load(bundle_dir) as engine:
        for data in objects.values():
            path.write_bytes(data)
            for source in (data, path, str(path)):
                with warnings.catch_warnings(record=True) as caught:
                    warnings.simplefilter("always")
                    try:
                        finding = engine.predict(source)
                    except MedsdkError as error:
                        raised += 1
                        # With what it was raised from: that is what a log would hold.
                        text = "".join(traceback.TracebackException.from_exception(error).format())
                        _clean(text.replace(str(tmp_path), ""))
                    else:
                        _clean(repr(finding) + repr(finding.provenance))
                _clean(" ".join(str(item.message) for item in caught))
    assert raised >= 3 * 6
    _clean(caplog.text)


def test_inspecting_and_verifying_say_no_path(cli, bundle_dir, tmp_path):
    place = tmp_path / IN_PATH
    shutil.copytree(bundle_dir, place)
    for words in (["verify", "--runtime", "onnxruntime"], ["inspect"], ["bench", "--runs", "2"]):
        for flag in ([], ["--json"]):
            done = cli(words[0], place, *words[1:], *flag)
            _clean(done.out + done.err)
    (place / "networks/filter/fp32.onnx").write_bytes(b"x")
    for command in ("verify", "inspect", "bench"):
        done = cli(command, place)
        assert done.status == 1
        _clean(done.out + done.err)
    for command in ("verify", "inspect", "bench"):
        done = cli(command, tmp_path / f"no-{IN_PATH}", "--json")
        assert done.status == 4
        _clean(done.out + done.err)


def test_a_known_answer_that_fails_says_nothing_of_its_object(bundle_dir, tmp_path, image, objects):
    """Somebody signed a bundle whose known answer is a patient's broken object."""
    folder = tmp_path / IN_PATH
    shutil.copytree(bundle_dir, folder)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    for answer, data in zip(manifest["known_answers"], list(objects.values())[1:], strict=False):
        (folder / answer["input"]).write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        manifest["files"][answer["input"]] = {"size_bytes": len(data), "sha256": digest}
    text = json.dumps(manifest, sort_keys=True).encode()
    (folder / "manifest.json").write_bytes(text)
    (folder / "manifest.sha256").write_text(f"{hashlib.sha256(text).hexdigest()}\n")
    found = verify(Bundle.open(folder), ("onnxruntime",))
    assert found.verdict == "fail"
    _clean(repr([item.reasons for item in found.candidates]))
    with pytest.raises(MedsdkError) as caught:
        medsdk.load(folder)
    _clean(str(caught.value))


def _exported(
    cli: Callable[..., Any], vendor: Any, tmp_path: Path, calibration: Path, cases: Path
) -> tuple[Any, Path]:
    out = tmp_path / "exported"
    done = cli(
        *("export", "--task-file", vendor.task_file, "--model", vendor.model),
        *("--calibration", calibration, "--cases", cases, "--out", out, "--known-answers", 4),
        "--json",
    )
    return done, out


def test_calibration_images_of_somebody_leave_no_trace_in_the_bundle(cli, vendor, tmp_path):
    calibration = tmp_path / IN_PATH
    calibration.mkdir()
    for path in sorted(vendor.calibration.iterdir()):
        dataset = _marked(path.read_bytes())
        (calibration / f"{NAME}-{path.name}").write_bytes(_bytes(dataset))
    done, out = _exported(cli, vendor, tmp_path, calibration, vendor.cases)
    assert done.status == 0, done.err
    _clean(done.out + done.err)
    for path in out.rglob("*"):
        _clean(path.name)
        if path.is_file():
            _clean(path.read_bytes())


@pytest.mark.parametrize("broken", ["truncated", "modality", "slope", "no DICOM"])
def test_a_calibration_image_that_cannot_be_read_is_a_number(
    cli, vendor, tmp_path, objects, broken
):
    calibration = tmp_path / IN_PATH
    calibration.mkdir()
    (calibration / f"{NAME}.dcm").write_bytes(objects[broken])
    done, out = _exported(cli, vendor, tmp_path, calibration, vendor.cases)
    assert done.status == 2
    assert "calibration file 1" in done.json["error"]["what"]
    _clean(done.out + done.err)
    assert not out.exists()


def test_a_case_of_somebody_is_refused_by_keyword(cli, vendor, tmp_path, objects):
    cases = tmp_path / IN_PATH
    cases.mkdir()
    (cases / f"{NAME}.dcm").write_bytes(objects["whole"])
    table = cases / "cases.csv"
    table.write_text(f"path,truth,patient,stratum\n{NAME}.dcm,tumour,{IDENTITY},{CANARY}\n")
    done, out = _exported(cli, vendor, tmp_path, vendor.calibration, table)
    error = done.json["error"]
    assert (done.status, error["code"]) == (2, "identity-refused")
    assert {"PatientName", "PatientID", "AccessionNumber"} <= set(error["got"].split(", "))
    _clean(done.out + done.err)
    assert not out.exists()


def test_the_pseudonyms_and_paths_of_cases_stay_out_of_the_bundle(cli, vendor, tmp_path):
    cases = tmp_path / IN_PATH
    cases.mkdir()
    rows = vendor.cases.read_text(encoding="utf-8").splitlines()
    marked = [rows[0]]
    for row in rows[1:]:
        name, truth, *_ = row.split(",")
        shutil.copy(vendor.cases.parent / name, cases / f"{NAME}-{name}")
        marked.append(f"{NAME}-{name},{truth},{IDENTITY},{CANARY}")
    (cases / "cases.csv").write_text("\n".join(marked) + "\n", encoding="utf-8")
    done, out = _exported(cli, vendor, tmp_path, vendor.calibration, cases / "cases.csv")
    assert done.status == 0, done.err
    _clean(done.out + done.err)
    for path in out.rglob("*"):
        if path.is_file():
            _clean(path.read_bytes())


@pytest.mark.parametrize("as_json", [True, False], ids=["json", "text"])
def test_an_evaluation_says_no_path_pseudonym_or_value(cli, bundle_dir, objects, tmp_path, as_json):
    folder = tmp_path / IN_PATH
    folder.mkdir()
    table = folder / f"{NAME}.csv"
    rows = ["path,truth,patient,study,lesion,site"]
    for number, data in enumerate(objects.values()):
        # The last pixel differs, so that no two cases are the same.
        path = folder / f"{NAME}-{number}.dcm"
        path.write_bytes(data[:-2] + bytes([number, 0]))
        person = f"{IDENTITY}-{number}"
        rows.append(f"{path.name},tumour,{person},{person}-{UID},{person}-{CANARY},a")
    table.write_text("\n".join(rows) + "\n", encoding="utf-8")
    out, report = tmp_path / "out", tmp_path / "report"
    done = cli(
        *("evaluate", bundle_dir, "--cases", table, "--out", out, "--report", report),
        *("--runtime", "onnxruntime", *(["--json"] if as_json else [])),
    )
    assert done.status in (1, 5), done.err
    _clean(done.out)
    _clean(done.err)
    assert "pixel-input-unreadable" in done.out
    written = [path for place in (out, report) for path in place.rglob("*") if path.is_file()]
    assert {"onnxruntime-fp32.jsonl", "report.json", "report.html", "report.xml"} <= {
        path.name for path in written
    }
    for path in written:
        _clean(path.name)
        _clean(path.read_bytes())


@pytest.mark.parametrize(
    "table",
    [
        f"path,truth,patient\n{NAME}.dcm,tumour,{IDENTITY}\n",
        f"path,truth,patient\n{NAME}.dcm,{CANARY},{IDENTITY}\n",
        f"path,truth,patient,{CANARY}\n{NAME}.dcm,tumour,{IDENTITY},{CANARY}\n",
        f"{NAME}.dcm,tumour,{IDENTITY}\n",
        f"path;truth;patient\n{NAME}.dcm;tumour;{IDENTITY}\n",
        f"path,truth,patient\n{NAME}.dcm,tumour\n",
        f'path,truth,patient\n"{NAME}.dcm,tumour,{IDENTITY}\n',
        f"path,truth,patient,site\n{NAME}.dcm,tumour,{IDENTITY},{CANARY * 20}\n",
        f"path,truth,patient\n{NAME}.dcm,tumour,{IDENTITY}é\n".encode("latin-1"),
        f"path,truth,patient\n{NAME}.dcm,tumour,{IDENTITY}山田太郎\n".encode("cp932"),
        f"path,truth,patient\n{NAME}.dcm,tumour,{IDENTITY}\n".encode("utf-16"),
    ],
)
def test_a_table_that_is_refused_is_not_repeated(cli, bundle_dir, tmp_path, table):
    path = tmp_path / IN_PATH
    path.write_bytes(table if isinstance(table, bytes) else table.encode())
    for words in (["--json"], []):
        done = cli("evaluate", bundle_dir, "--cases", path, *words)
        assert done.status == 2
        _clean(done.out + done.err)
        assert "Traceback" not in done.err
