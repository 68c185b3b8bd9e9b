"""The protocol of an export: said first, written first, and held to by version."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import beta

from medsdk.bundle import Bundle
from medsdk.canonical import canonical_json, sha256_of
from medsdk.errors import BundleUnreadableError, GatesChangedError, UndecidableGateError
from medsdk.evaluation.cases import identify_cases
from medsdk.evaluation.cases import read_cases as device_cases
from medsdk.parity.declaration import PARITY, PROTOCOL, read_protocol, undeclared_gates
from medsdk.parity.protocol import gates_digest
from medsdk.parity.recorded import evidence_faults
from medsdk.parity.verification import verify
from medsdk.tasks import Task
from medsdk_export.build import PHASES, export_bundle
from medsdk_export.declaring import Declaration, check_gates_kept, declare
from medsdk_export.errors import (
    InputsRefusedError,
    PatientInTwoStrataError,
    SourceUnreadableError,
)
from medsdk_export.inputs import read_cases

LABELS = ("none", "tumour")
SOFTER = ("max_flip_rate = 0.02", "max_flip_rate = 0.03")
RAISED = ('version = "1.0.0"', 'version = "1.1.0"')


def _rewrite(table: Path, row: int, column: int, value: str) -> None:
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    rows[row][column] = value
    stream = io.StringIO()
    csv.writer(stream).writerows(rows)
    table.write_text(stream.getvalue(), encoding="utf-8")


def _edited(bundle: Path, name: str, change: Callable[[Any], None]) -> None:
    """Change a JSON file of a bundle, with every digest made anew: a forger who can count."""
    document = json.loads((bundle / name).read_bytes())
    change(document)
    (bundle / name).write_bytes(canonical_json(document))
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    if name != "manifest.json":
        data = (bundle / name).read_bytes()
        manifest["files"][name] = {"size_bytes": len(data), "sha256": sha256_of(data)}
    text = canonical_json(manifest)
    (bundle / "manifest.json").write_bytes(text)
    (bundle / "manifest.sha256").write_text(f"{sha256_of(text)}\n")


# Said and written before anything is measured


def test_it_is_said_before_the_source_is_read(few: Any, tmp_path: Path) -> None:
    said: list[Declaration] = []
    phases: list[str] = []
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with pytest.raises(SourceUnreadableError):
        export_bundle(
            few.request(tmp_path / "out", models={"filter": tmp_path / "broken.onnx"}),
            lambda phase, done, total: phases.append(phase) if said else pytest.fail("too late"),
            said.append,
        )
    assert set(phases) == {PHASES[0]}
    text = said[0].text()
    assert "8 labelled cases of 8 patients" in text
    assert "cannot ship, whatever is measured: int8-cpu, int8-gpu: " in text
    assert "classification.max_flip_rate has 8 of the 149 labelled cases" in text
    assert "141 more" in text


def test_it_is_written_before_anything_is_compared(
    few: Any, tmp_path: Path, only_onnxruntime: None
) -> None:
    """What the partial bundle holds when the first comparison, and later the cases, begin."""
    seen: dict[str, set[str]] = {}

    def look(phase: str, done: int, total: int | None) -> None:
        found = tmp_path.glob(".out.partial-*/evidence/*")
        seen.setdefault(phase, {path.name for path in found})

    result = export_bundle(few.request(tmp_path / "out"), look)
    assert seen["checking the inputs"] == set()
    measured = PHASES[2:6]
    assert measured[0] == "comparing with the source framework"
    assert measured[-1] == "running the cases"
    for phase in measured:
        assert seen[phase] == {"protocol.json"}, phase
    bundle = Bundle.open(tmp_path / "out")
    parity = json.loads(bundle.read(PARITY))
    # What was measured names the very protocol that it was judged by.
    assert parity["protocol_sha256"] == bundle.manifest.files[PROTOCOL].sha256
    assert parity["gates_sha256"] == gates_digest(bundle.manifest.task)
    assert result.declaration.needs == read_protocol(bundle).requirements  # type: ignore[union-attr]


def test_the_protocol_of_a_good_bundle(bundle_dir: Path, vendor: Any) -> None:
    bundle = Bundle.open(bundle_dir)
    protocol = read_protocol(bundle)
    assert protocol is not None
    task = bundle.manifest.task
    assert protocol.task == {"id": "vendor/blob", "version": "1.0.0"}
    assert protocol.gates["classification.max_flip_rate"] == 0.02
    assert protocol.gates_sha256 == gates_digest(task)
    assert bundle.manifest.provenance["gates_sha256"] == gates_digest(task)
    assert protocol.cases.by_label == {"none": 80, "tumour": 80}
    assert (protocol.cases.patients, protocol.cases.images) == (160, 160)
    assert protocol.unjudged == {}
    tried = Counter(
        {"fp32": "float", "int8-cpu": "cpu", "int8-gpu": "gpu"}[item["variant"]]
        for item in json.loads(bundle.read("evidence/attempts.json"))["attempts"]
    )
    assert protocol.attempts == tried == {"float": 1, "cpu": 2, "gpu": 1}
    assert protocol.to_bytes() == bundle.read(PROTOCOL)
    # `medsdk evaluate` gives the same cases the same digest.
    there = identify_cases(device_cases(vendor.cases, task, LABELS), task)
    assert protocol.cases.sha256 == there.sha256


def test_phantoms_are_no_labelled_cases(
    few: Any, make_task: Callable[..., Task], tmp_path: Path
) -> None:
    declared = declare(make_task(), None, 64)
    assert (declared.by_label, declared.patients, declared.images) == ({}, None, 64)
    assert [*declared.unjudged] == ["cpu", "gpu"]
    assert "no labelled cases" in declared.text()
    protocol = declared.protocol("0" * 64)
    assert (protocol.cases.origin, protocol.cases.labelled) == ("phantom", 0)


def test_a_gate_that_nothing_decides_stops_an_export_at_once(
    few: Any, make_task: Callable[..., Task], tmp_path: Path
) -> None:
    task = make_task(("max_flip_rate = 0.02", "max_flip_rate = 1e-9"))
    with pytest.raises(UndecidableGateError, match="max_flip_rate"):
        export_bundle(
            few.request(tmp_path / "out", task=task),
            lambda phase, done, total: pytest.fail("something was done"),
        )
    assert not (tmp_path / "out").exists()


# Written after everything was measured


def test_what_was_measured_states_n_and_bound_of_every_attempt_and_executor(
    bundle_dir: Path,
) -> None:
    bundle = Bundle.open(bundle_dir)
    parity = json.loads(bundle.read(PARITY))
    attempts = json.loads(bundle.read("evidence/attempts.json"))["attempts"]
    assert [item["attempt"] for item in parity["attempts"]] == [
        item["attempt"] for item in attempts
    ]
    for item, recorded in zip(parity["attempts"], attempts, strict=True):
        assert item["executors"], item["attempt"]
        for executor in item["executors"]:
            claims = executor["evidence"]["claims"]
            assert all(claim["n"] == 160 for claim in claims if claim["scope"]["level"] == "slice"
                       and not claim["scope"]["label"])  # fmt: skip
            worst = executor["evidence"]["worst"]
            assert len(worst) <= 20
            assert all(1 <= case["number"] <= 160 for case in worst)
            assert executor["advisory"] == (
                item["variant"] == "int8-gpu" and not executor["runtime"].endswith("unoptimised")
            )
        if item["variant"] == "fp32":
            continue
        # The manifest's short record and the claims are one computation.
        for record, executor in zip(recorded["parity"], item["executors"], strict=True):
            claims = executor["evidence"]["claims"]
            flips = next(claim for claim in claims if claim["measure"] == "flips")
            assert (record["cases"], record["flips"]) == (flips["n"], flips["events"])
            assert record["flip_rate_upper_bound"] == flips["bound"]["high"]
            want = float(beta.ppf(0.95, flips["events"] + 1, flips["n"] - flips["events"]))
            assert flips["bound"]["high"] == pytest.approx(want, abs=1e-9)
            assert (flips["limit"], flips["needed"]) == (0.02, 149)


def test_a_lower_instruction_set_has_its_claim(bundle_dir: Path) -> None:
    parity = json.loads(Bundle.open(bundle_dir).read(PARITY))
    for item in parity["attempts"]:
        for executor in item["executors"]:
            found = [
                claim
                for claim in executor["evidence"]["claims"]
                if claim["measure"] == "isa-ladder"
            ]
            lower = executor["isa"] != "native" and item["variant"] == "int8-cpu"
            assert len(found) == lower
            assert all(claim["limit"] == 0.01 for claim in found)


# One version, one set of gates


def test_other_gates_do_not_replace_a_bundle_of_the_same_version(
    few: Any,
    make_task: Callable[..., Task],
    bundle_dir: Path,
    tmp_path: Path,
    only_onnxruntime: None,
) -> None:
    out = tmp_path / "out"
    shutil.copytree(bundle_dir, out)
    before = (out / "manifest.json").read_bytes()
    softer = make_task(SOFTER)
    with pytest.raises(GatesChangedError) as caught:
        export_bundle(few.request(out, task=softer, replace=True))
    assert "gates.classification.max_flip_rate: 0.02 -> 0.03" in caught.value.got
    assert "version" in caught.value.remedy
    assert (caught.value.code, caught.value.exit_status) == ("gates-changed", 2)
    assert (out / "manifest.json").read_bytes() == before
    with pytest.raises(GatesChangedError):
        export_bundle(few.request(tmp_path / "new", task=softer, supersedes=bundle_dir))
    assert not (tmp_path / "new").exists()
    # A new version may have them, and other bytes at the place say nothing of gates.
    check_gates_kept(make_task(SOFTER, RAISED), bundle_dir)
    export_bundle(few.request(out, task=make_task(SOFTER, RAISED), replace=True))
    assert Bundle.open(out).manifest.version == "1.1.0"


def test_a_bundle_to_supersede_must_be_there(few: Any, tmp_path: Path) -> None:
    with pytest.raises(BundleUnreadableError):
        export_bundle(few.request(tmp_path / "out", supersedes=tmp_path / "nothing"))


def test_a_damaged_bundle_can_be_replaced(
    few: Any,
    make_task: Callable[..., Task],
    bundle_dir: Path,
    tmp_path: Path,
    only_onnxruntime: None,
) -> None:
    out = tmp_path / "out"
    shutil.copytree(bundle_dir, out)
    (out / "manifest.json").write_bytes(b"{}")
    result = export_bundle(few.request(out, task=make_task(SOFTER), replace=True))
    assert result.verification.verdict == "pass"


def test_gates_that_were_not_declared_fail_verification(bundle_dir: Path, tmp_path: Path) -> None:
    """A gate softened after measuring, in the manifest alone, every digest made anew."""
    forged = tmp_path / "forged"
    shutil.copytree(bundle_dir, forged)
    assert undeclared_gates(Bundle.open(forged)) == ()

    def soften(manifest: Any) -> None:
        manifest["task"]["gates"]["classification"]["max_flip_rate"] = 0.2

    _edited(forged, "manifest.json", soften)
    bundle = Bundle.open(forged)
    (problem,) = undeclared_gates(bundle)
    assert problem == "gates.classification.max_flip_rate is 0.2, 0.02 was declared"
    found = verify(bundle, ("onnxruntime",))
    assert found.verdict == "fail"
    assert problem in found.reasons


def test_a_protocol_with_another_digest_is_seen(bundle_dir: Path, tmp_path: Path) -> None:
    forged = tmp_path / "forged"
    shutil.copytree(bundle_dir, forged)
    _edited(forged, PROTOCOL, lambda protocol: protocol.update(gates_sha256="0" * 64))
    assert undeclared_gates(Bundle.open(forged)) == (
        "the digest of the gates is not the one that was declared",
    )


def _without(name: str) -> Callable[[Path], None]:
    def change(bundle: Path) -> None:
        (bundle / name).unlink()
        _edited(bundle, "manifest.json", lambda manifest: manifest["files"].pop(name))

    return change


def _more_flips(parity: Any) -> None:
    """One more flip wherever the INT8 variant was run."""
    for attempt in parity["attempts"]:
        for executor in attempt["executors"] if attempt["variant"] == "int8-cpu" else ():
            for claim in executor["evidence"]["claims"]:
                if claim["measure"] == "flips":
                    claim["events"] += 1


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        (_without(PROTOCOL), PROTOCOL),
        (_without(PARITY), PARITY),
        (
            lambda bundle: _edited(
                bundle, "manifest.json", lambda found: found["provenance"].pop("gates_sha256")
            ),
            r"provenance\.gates_sha256",
        ),
    ],
)
def test_evidence_cannot_be_taken_out(
    change: Callable[[Path], None], missing: str, bundle_dir: Path, tmp_path: Path
) -> None:
    forged = tmp_path / "forged"
    shutil.copytree(bundle_dir, forged)
    change(forged)
    with pytest.raises(BundleUnreadableError, match=f"{missing} is missing: it was judged by"):
        Bundle.open(forged)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            lambda found: found.update(protocol_sha256="0" * 64),
            "was judged by another protocol than evidence/protocol.json",
        ),
        (lambda found: found.update(gates_sha256="0" * 64), "by other gates than those of the"),
        (_more_flips, "int8-cpu: evidence/parity.json and"),
        (
            lambda found: [item.update(status="rejected") for item in found["attempts"]],
            "fp32: evidence/parity.json and the manifest do not tell the same",
        ),
        (lambda found: found["attempts"].clear(), "fp32: evidence/parity.json and the manifest"),
        (lambda found: found.pop("attempts"), "is not what docs/bundle.md describes"),
    ],
)
def test_parity_that_was_edited_fails_verification(
    change: Callable[[Any], object], problem: str, bundle_dir: Path, tmp_path: Path
) -> None:
    forged = tmp_path / "forged"
    shutil.copytree(bundle_dir, forged)
    assert evidence_faults(Bundle.open(forged)) == ()
    _edited(forged, PARITY, lambda found: (change(found), None)[1])
    found = evidence_faults(Bundle.open(forged))
    assert problem in found[0]


def test_edited_parity_is_a_reason_of_verify(bundle_dir: Path, tmp_path: Path) -> None:
    forged = tmp_path / "forged"
    shutil.copytree(bundle_dir, forged)
    _edited(forged, PARITY, lambda found: found.update(protocol_sha256="0" * 64))
    found = verify(Bundle.open(forged), ("onnxruntime",))
    assert found.verdict == "fail"
    assert found.reasons == evidence_faults(Bundle.open(forged))


@pytest.mark.parametrize(("variant", "cap"), [("fp32", 0.001), ("int8-cpu", 1.0)])
def test_a_tolerance_above_the_gates_cap_is_refused(
    variant: str, cap: float, bundle_dir: Path, tmp_path: Path
) -> None:
    """Loosened and signed again: every known answer would still pass."""
    forged = tmp_path / "forged"
    shutil.copytree(bundle_dir, forged)

    def loosen(value: float) -> None:
        def change(manifest: Any) -> None:
            tolerance = manifest["networks"]["filter"]["variants"][variant]["tolerance"]
            tolerance["logits"] = value

        _edited(forged, "manifest.json", change)

    loosen(cap)
    Bundle.open(forged)
    loosen(cap * 1.01)
    with pytest.raises(BundleUnreadableError, match=f"{variant} of 'filter': the tolerance"):
        Bundle.open(forged)


def test_a_protocol_that_is_none_is_unreadable(bundle_dir: Path, tmp_path: Path) -> None:
    forged = tmp_path / "forged"
    shutil.copytree(bundle_dir, forged)
    _edited(forged, PROTOCOL, lambda protocol: protocol.pop("gates"))
    with pytest.raises(BundleUnreadableError, match=r"protocol\.json is no protocol"):
        read_protocol(Bundle.open(forged))


# Cases that cannot be used


def test_one_patient_in_two_strata_is_refused(few: Any, tmp_path: Path) -> None:
    _rewrite(few.table, 3, 2, "p0")
    export = few.request(tmp_path / "out")
    _rewrite(few.table, 5, 2, "p1 ")
    _rewrite(few.table, 5, 3, "elsewhere")
    with pytest.raises(PatientInTwoStrataError) as caught:
        export_bundle(export)
    error = caught.value
    assert error.got == "case 2 and case 5"
    assert (error.code, error.exit_status) == ("patient-in-two-strata", 2)
    assert "p1" not in str(error)
    assert "elsewhere" not in str(error)
    assert not (tmp_path / "out").exists()


def test_two_cases_of_one_patient_in_one_stratum_are_one_patient(few: Any) -> None:
    _rewrite(few.table, 3, 2, "p0")
    cases = read_cases(few.table, few.task, LABELS)
    assert declare(few.task, cases, 0).patients == 7


def test_a_proof_of_losses_counts_patients(few: Any, make_task: Callable[..., Task]) -> None:
    """Four positives: three of one patient and one of another are worth 4/3 of a case."""
    for row in (1, 3, 5):
        _rewrite(few.table, row, 2, "p0")
    cases = read_cases(few.table, few.task, LABELS)
    proved = make_task(("confidence = 0.95", 'confidence = 0.95\nlosses = "proved"'))
    for task, counted in ((few.task, [4, 4]), (proved, [1, 4])):
        needs = declare(task, cases, 0).needs
        assert [item.have for item in needs if "_loss" in item.gate] == counted
        # All eight of six patients: 64 / (9 + 5).
        (flips,) = [item for item in needs if item.gate == "classification.max_flip_rate"]
        assert (flips.unit, flips.have) == ("independent-case", 4)


@pytest.mark.parametrize("patient", ["", "  "])
def test_a_case_without_a_patient_is_refused(patient: str, few: Any, tmp_path: Path) -> None:
    _rewrite(few.table, 3, 2, patient)
    with pytest.raises(InputsRefusedError, match="case 3 has no patient"):
        export_bundle(few.request(tmp_path / "out"))


@pytest.mark.parametrize(("positives", "open_forms"), [(74, ["cpu", "gpu"]), (75, [])])
def test_the_first_number_of_cases_that_is_enough(
    positives: int, open_forms: list[str], vendor: Any, few: Any
) -> None:
    """74 + 74 cases keep the gate of flips open and 75 + 74 do not, as the judge has it."""
    every = read_cases(vendor.cases, few.task, LABELS)
    chosen = [case for case in every if case.truth == "tumour"][:positives]
    chosen += [case for case in every if case.truth == "none"][:74]
    assert [*declare(few.task, chosen, 0).unjudged] == open_forms


def test_shift_jis_is_named_and_a_byte_order_mark_is_nothing(few: Any, tmp_path: Path) -> None:
    text = few.table.read_text(encoding="utf-8").replace(",all", ",病院")
    few.table.write_bytes(text.encode("utf-8-sig"))
    assert len(read_cases(few.table, few.task, LABELS)) == 8
    few.table.write_bytes(text.encode("shift-jis"))
    with pytest.raises(InputsRefusedError, match="Shift-JIS") as caught:
        export_bundle(few.request(tmp_path / "out"))
    assert "UTF-8" in f"{caught.value.expected} {caught.value.remedy}"
