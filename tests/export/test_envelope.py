"""A change envelope goes from a user's file into the bundle, or is refused with the reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from medsdk.bundle.reading import Bundle
from medsdk.errors import CasesRefusedError
from medsdk.tasks import read_task
from medsdk_export.build import ExportRequest, export_bundle
from medsdk_export.enveloping import read_envelope
from medsdk_export.errors import ExportRefusedError

TEXT = """\
may_change = ["weights", "variant", "version"]
min_cases = 149
cases = "cases.csv"

[limits]
max_flip_rate = 0.02
max_sensitivity_loss = 0.01
max_specificity_loss = 0.01
"""
DIGEST = f'cases_sha256 = "{"c" * 64}"'


@pytest.fixture
def envelope_file(vendor) -> Callable[[str], Path]:
    def make(text: str) -> Path:
        path: Path = vendor.cases.parent / "envelope.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return make


def test_an_export_writes_the_envelope_and_an_older_reader_may_ignore_it(
    vendor, envelope_file, tmp_path
):
    from medsdk.evaluation.cases import identify_cases, read_cases

    task = read_task(vendor.task_file)
    envelope = read_envelope(envelope_file(TEXT), task)
    cases = identify_cases(read_cases(vendor.cases, task, ("none", "tumour")), task)
    assert envelope.cases_sha256 == cases.sha256
    request = ExportRequest(
        task=task,
        models={"filter": vendor.model},
        calibration=vendor.calibration,
        out=tmp_path / "bundle",
        known_answers=2,
        cases=vendor.cases,
        envelope=envelope,
    )
    export_bundle(request)
    manifest = Bundle.open(tmp_path / "bundle").manifest
    assert manifest.change_envelope == envelope
    assert "change_envelope" in manifest.optional


def test_a_digest_may_stand_for_the_table(vendor, envelope_file):
    path = envelope_file(TEXT.replace('cases = "cases.csv"', DIGEST))
    assert read_envelope(path, read_task(vendor.task_file)).cases_sha256 == "c" * 64


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('cases = "cases.csv"', "", "neither"),
        ('cases = "cases.csv"', f'cases = "cases.csv"\n{DIGEST}', "both"),
        ('cases = "cases.csv"', "cases = 7", "cases is 7"),
        ('cases = "cases.csv"', 'cases_sha256 = "c"', "cases_sha256: "),
        ("min_cases = 149", "min_cases = 161", "could never be decided"),
        ("max_flip_rate = 0.02", "max_flip_rate = 0.001", "could never be decided"),
        ("max_flip_rate = 0.02", "max_flip_rate = 0.02\nmax_age = 1", "limits.max_age: "),
        ('"weights",', '"everything",', "may_change.0: "),
        ("min_cases = 149", "min_cases = ", "no TOML"),
    ],
)
def test_a_file_that_is_no_envelope_is_refused(vendor, envelope_file, old, new, said):
    assert old in TEXT
    with pytest.raises(ExportRefusedError) as caught:
        read_envelope(envelope_file(TEXT.replace(old, new)), read_task(vendor.task_file))
    assert said in f"{caught.value.what}: {caught.value.got}"


def test_no_file_and_no_table(vendor, envelope_file, tmp_path):
    task = read_task(vendor.task_file)
    with pytest.raises(ExportRefusedError, match="is none"):
        read_envelope(tmp_path / "none.toml", task)
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ExportRefusedError, match="is none"):
        read_envelope(tmp_path / "bytes.toml", task)
    with pytest.raises(CasesRefusedError):
        read_envelope(envelope_file(TEXT.replace("cases.csv", "none.csv")), task)
