"""Whole evaluations of real bundles: resuming, references, strata, verdicts."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import medsdk.demonstration
from medsdk.bundle import Bundle
from medsdk.decode import class_probabilities
from medsdk.errors import (
    AnswersMismatchError,
    AnswersUnreadableError,
    ReferenceContractError,
    UnpairedResultsError,
    VariantUnavailableError,
)
from medsdk.evaluation import running
from medsdk.evaluation.answers import Answer, AnswersHeader, read_answers, write_answers
from medsdk.evaluation.evaluating import Evaluation, EvaluationRequest, evaluate
from medsdk.evaluation.judging import Judge
from medsdk.evaluation.running import AskedCandidate, Ran, title_of
from medsdk.parity.evidence import Claim
from medsdk.pipeline import Pipeline
from medsdk.plan.candidate import Candidate, Choice
from medsdk_runtimes.errors import InferenceFailedError

CASES = 24
DEMONSTRATION = Path(medsdk.demonstration.__file__).parent / "data"


def quiet(phase: str, done: int, total: int) -> None:
    """No progress."""


@pytest.fixture(scope="module")
def bundle(bundle_dir: Path) -> Bundle:
    return Bundle.open(bundle_dir)


@pytest.fixture
def run(bundle: Bundle, table: Any, tmp_path: Path) -> Any:
    """Evaluates one INT8 candidate against FP32 on a small table."""

    def call(path: Path | None = None, **changes: Any) -> Evaluation:
        values: dict[str, Any] = {
            "bundle": bundle,
            "table": path or table(CASES),
            "out": tmp_path / "out",
            "runtimes": ("onnxruntime",),
            "variants": ("int8-cpu",),
            "threads": 1,
        }
        return evaluate(EvaluationRequest(**(values | changes)), quiet)

    return call


def claims(found: Evaluation, measure: str, **scope: str) -> list[Claim]:
    wanted = {"level": "slice", "stratum": "", "value": "", "label": ""} | scope
    return [
        claim
        for claim in found.report.evidence.claims
        if claim.measure == measure
        and all(getattr(claim.scope, key) == value for key, value in wanted.items())
    ]


def files(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((out / "answers").iterdir())}


def test_every_candidate_answers_every_case(bundle: Bundle, run: Any, tmp_path: Path) -> None:
    found = run(runtimes=(), variants=())
    report = found.report
    titles = [item.title for item in report.candidates]
    assert titles[0] == "onnxruntime fp32"
    assert [item.reference for item in report.candidates] == [True] + [False] * (len(titles) - 1)
    assert {"onnxruntime int8-cpu", "openvino fp32", "openvino int8-cpu"} <= set(titles)
    # What is meant for a GPU is advice on a CPU.
    verdicts = {item.title: item.verdict for item in report.candidates}
    assert verdicts["onnxruntime int8-gpu"] == "advisory"
    opened = {item.title for item in report.candidates if not _unasked(found, item.title)}
    assert opened >= set(titles) - {"onnxruntime int8-gpu", "openvino int8-gpu"}
    assert len(files(tmp_path / "out")) == len(opened)
    for name, data in files(tmp_path / "out").items():
        header, answers = read_answers(tmp_path / "out/answers" / name)
        assert header.title in titles
        assert name == f"{header.title.replace(' ', '-')}.jsonl"
        assert len(answers) == CASES
        assert data.count(b"\n") == CASES + 1
    # 24 cases can never show fewer than 2 % flips.
    assert report.verdict == "not-conclusive"
    assert any("24 cases" in reason for reason in report.reasons)


def _unasked(found: Evaluation, title: str) -> bool:
    """Whether a candidate did not open here, which its claim says."""
    return any("open: " in item.reason for item in claims(found, "known-answers", candidate=title))


def test_answers_are_those_of_the_engine(bundle_dir: Path, run: Any, tmp_path: Path) -> None:
    found = run()
    header, answers = read_answers(tmp_path / "out/answers/onnxruntime-int8-cpu.jsonl")
    decode = Bundle.open(bundle_dir).manifest.task.networks["filter"].decode
    with medsdk.load(bundle_dir, variant="int8-cpu", threads=1) as engine:
        for known, answer in zip(found.cases.cases, answers, strict=True):
            finding = engine.predict(known.case.path)
            assert answer.label == finding.label
            assert answer.probabilities == finding.probabilities
            outputs = {"logits": np.array([answer.outputs["filter.logits"]])}
            assert class_probabilities(decode, outputs) == finding.probabilities  # type: ignore[arg-type]
    assert header.networks["filter"].variant == "int8-cpu"
    assert header.preprocessing == {
        "filter": str(engine.provenance.networks["filter"]["preprocessing_sha256"])
    }
    right = sum(item.label == item.truth for item in answers) / CASES
    (accuracy,) = claims(found, "accuracy", candidate="onnxruntime int8-cpu")
    assert accuracy.value == right
    assert (accuracy.n, accuracy.patients, accuracy.verdict) == (CASES, CASES, "advisory")


def test_a_second_run_asks_nothing_again(run: Any, tmp_path: Path, monkeypatch: Any) -> None:
    first = run().report
    before = files(tmp_path / "out")

    def never(*_: object) -> Answer:
        raise AssertionError("asked again")

    monkeypatch.setattr(running, "ask", never)
    second = run().report
    assert files(tmp_path / "out") == before
    same = {"created": ""}
    assert second.model_copy(update=same) == first.model_copy(update=same)
    with pytest.raises(AssertionError, match="asked again"):
        run(fresh=True)


@pytest.mark.parametrize("after", [5, CASES + 3])
def test_an_interrupted_run_goes_on_to_the_same_bytes(
    run: Any, tmp_path: Path, monkeypatch: Any, after: int
) -> None:
    whole = run(out=tmp_path / "whole").report
    real = running.ask
    asked: list[int] = []

    def stopped(*arguments: Any) -> Answer:
        if len(asked) == after:
            raise KeyboardInterrupt
        asked.append(1)
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(running, "ask", stopped)
        with pytest.raises(KeyboardInterrupt):
            run()
    assert sum(data.count(b"\n") - 1 for data in files(tmp_path / "out").values()) == after
    resumed = run().report
    assert files(tmp_path / "out") == files(tmp_path / "whole")
    same = {"created": ""}
    assert resumed.model_copy(update=same) == whole.model_copy(update=same)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_process_goes_on_to_the_same_bytes(
    bundle_dir: Path, run: Any, table: Any, tmp_path: Path
) -> None:
    run(out=tmp_path / "whole")
    path = table(CASES)
    slowly = (
        "import time\nfrom medsdk.evaluation import running\nask = running.ask\n"
        "def slow(*a):\n    time.sleep(0.03)\n    return ask(*a)\n"
        "running.ask = slow\nfrom medsdk.cli import main\nmain()"
    )
    words = ["evaluate", bundle_dir, "--cases", path, "--out", tmp_path / "out", "--threads", "1"]
    words += ["--runtime", "onnxruntime", "--variant", "int8-cpu", "--quiet"]
    answers = tmp_path / "out/answers/onnxruntime-int8-cpu.jsonl"
    with subprocess.Popen(
        [sys.executable, "-c", slowly, *map(str, words)], stdout=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 120
        while not (answers.exists() and answers.read_bytes().count(b"\n") > 3):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    lines = answers.read_bytes().count(b"\n")
    assert 3 < lines <= CASES
    with pytest.raises(AnswersUnreadableError):
        read_answers(answers)
    answers.write_bytes(answers.read_bytes() + b'{"case":"12')  # as if cut inside a line
    run(path)
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_answers_of_something_else_are_not_gone_on_with(
    run: Any, table: Any, tmp_path: Path
) -> None:
    run()
    with pytest.raises(AnswersMismatchError, match="another cases_sha256"):
        run(table(CASES, truth="none"))
    with pytest.raises(AnswersMismatchError, match="something else of case 1"):
        run(table(CASES, site="a"))  # the same cases, divided otherwise
    with pytest.raises(AnswersMismatchError, match="another settings"):
        run(threads=2)
    run(table(CASES, site="a"), fresh=True)


def test_an_error_in_one_case_is_an_answer(
    run: Any, table: Any, tmp_path: Path, monkeypatch: Any, vendor: Any
) -> None:
    (tmp_path / "cut.dcm").write_bytes((vendor.cases.parent / "0.dcm").read_bytes()[:-9])
    paths = ["cut.dcm", *(str(vendor.cases.parent / f"{n}.dcm") for n in range(1, CASES))]
    found = run(table(CASES, path=paths))
    for name in files(tmp_path / "out"):
        _, answers = read_answers(tmp_path / "out/answers" / name)
        assert (answers[0].status, answers[0].reason) == ("error", "pixel-input-unreadable")
        assert {item.status for item in answers[1:]} == {"ok"}
    (counted,) = claims(found, "no-result", candidate="onnxruntime int8-cpu")
    assert (counted.n, counted.events, counted.verdict) == (CASES, 1, "not-conclusive")
    assert "case 1 (pixel-input-unreadable)" in counted.reason

    # An error of the candidate's own, where the reference answers, is its failure.
    real = Pipeline.answer

    def failing(self: Any, *arguments: Any) -> Any:
        if self.stage.session.effective.precision == "int8" and self.failures:
            self.failures.pop()
            raise InferenceFailedError("the runtime failed")
        return real(self, *arguments)

    monkeypatch.setattr(Pipeline, "failures", [1], raising=False)
    monkeypatch.setattr(Pipeline, "answer", failing)
    found = run(out=tmp_path / "second")
    (counted,) = claims(found, "no-result", candidate="onnxruntime int8-cpu")
    assert (counted.events, counted.verdict, found.report.verdict) == (1, "fail", "fail")
    assert "case 1 (inference-failed)" in counted.reason


def test_a_candidate_that_fails_its_known_answers_is_asked_nothing(
    bundle: Bundle, run: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    from medsdk.errors import KnownAnswerFailedError

    def fails(bundle: Bundle, candidate: Any, pipeline: Any) -> int:
        if candidate.networks["filter"].variant == "int8-cpu":
            raise KnownAnswerFailedError("this machine does not reproduce known answer 'ka-001'")
        return 6

    monkeypatch.setattr(running, "check_on_load", fails)
    report = run().report
    assert report.verdict == "fail"
    assert "onnxruntime int8-cpu: known-answer-failed" in report.reasons[0]
    assert set(files(tmp_path / "out")) == {"onnxruntime-fp32.jsonl"}
    assert [item.verdict for item in report.candidates] == ["pass", "fail"]


def test_two_strata(run: Any, table: Any) -> None:
    # The vendor's cases alternate, so the first site has as many of each as the second.
    found = run(table(CASES, site=["a", "a", "b", "b"], size=["s", "l"]))
    for value in "ab":
        scope = {"candidate": "onnxruntime int8-cpu", "stratum": "site", "value": value}
        (counted,) = [item for item in claims(found, "cases", **scope) if item.needed]
        assert (counted.n, counted.verdict) == (CASES // 2, "advisory")
        assert f"site {value}: 12 cases, the limit of flips needs" in counted.reason
        (accuracy,) = claims(found, "accuracy", **scope)
        assert accuracy.n == CASES // 2
        (flips,) = claims(found, "flips", **scope)
        assert (flips.n, flips.verdict) == (CASES // 2, "advisory")
    columns = {item.scope.stratum for item in found.report.evidence.claims}
    assert columns == {"", "site", "size"}
    # All of one size have one truth: what has no denominator has no value, and is not dropped.
    scope = {"candidate": "onnxruntime fp32", "stratum": "size", "value": "s"}
    (specificity,) = claims(found, "specificity", label="tumour", **scope)
    assert (specificity.n, specificity.value) == (0, None)


def test_lesions_and_studies_are_counted(run: Any, table: Any) -> None:
    patients = [f"p{n // 4}" for n in range(CASES)]
    lesions = [f"{patients[n]}-{n % 2}" for n in range(CASES)]
    studies = [f"{patient}-study" for patient in patients]
    found = run(table(CASES, patient=patients, lesion=lesions, study=studies))
    assert found.report.patients == CASES // 4
    scope = {"candidate": "onnxruntime int8-cpu"}
    (accuracy,) = claims(found, "accuracy", level="lesion", **scope)
    assert (accuracy.n, accuracy.patients) == (CASES // 2, CASES // 4)
    # A study with both truths is no unit; it is said, and the slices count all the same.
    (refused,) = claims(found, "cases", level="study", **scope)
    assert refused.verdict == "advisory"
    assert "more than one truth" in refused.reason


def test_no_truth_at_all(run: Any, table: Any) -> None:
    found = run(table(CASES, truth=""))
    (accuracy,) = claims(found, "accuracy", candidate="onnxruntime int8-cpu")
    assert (accuracy.n, accuracy.verdict, accuracy.value) == (0, "not-run", None)
    assert accuracy.reason == "no case has a truth: the column is empty"
    (flips,) = claims(found, "flips", candidate="onnxruntime int8-cpu")
    assert flips.n == CASES
    assert found.report.verdict == "not-conclusive"


def test_a_reference_from_elsewhere(run: Any, table: Any, tmp_path: Path) -> None:
    run()
    path = tmp_path / "out/answers/onnxruntime-fp32.jsonl"
    elsewhere = tmp_path / "elsewhere.jsonl"
    header, answers = read_answers(path)
    write_answers(elsewhere, header, answers)
    found = run(reference=elsewhere, out=tmp_path / "second")
    titles = [(item.title, item.reference) for item in found.report.candidates]
    assert titles == [
        ("onnxruntime fp32 (from elsewhere)", True),
        ("onnxruntime int8-cpu", False),
    ]

    # It need not have been divided as this table is.
    path = table(CASES, name="c.csv", lesion=[f"l{n}" for n in range(CASES)], site=["a", "b"])
    divided = run(path, reference=elsewhere, out=tmp_path / "fourth")
    (flips,) = claims(divided, "flips", candidate="onnxruntime int8-cpu", level="lesion")
    assert flips.n == CASES

    def refused(kind: type[Exception], match: str, **changes: Any) -> None:
        document = header.model_dump() | changes
        write_answers(elsewhere, AnswersHeader(**document), answers)
        with pytest.raises(kind, match=match):
            run(reference=elsewhere, out=tmp_path / "third")
        assert not (tmp_path / "third").exists()  # before anything was run

    mine = header.preprocessing["filter"]
    refused(
        ReferenceContractError,
        f"contract of 'filter'; got: the reference's {'0' * 64}, here {mine}",
        preprocessing={"filter": "0" * 64},
    )
    refused(ReferenceContractError, "of 'other'", preprocessing={"filter": mine, "other": mine})
    refused(AnswersMismatchError, "another question", labels=("a", "b"))
    write_answers(elsewhere, header, answers)
    for other in (table(CASES - 1, name="a.csv"), table(CASES, name="b.csv", truth="none")):
        with pytest.raises(UnpairedResultsError):
            run(other, reference=elsewhere, out=tmp_path / "third")


def _turned(item: Answer) -> Answer:
    """The other answer."""
    other = "none" if item.label == "tumour" else "tumour"
    given = item.probabilities
    swapped = {"none": given["tumour"], "tumour": given["none"]}
    return item.model_copy(update={"label": other, "probabilities": swapped})


def test_a_flip_is_seen(run: Any, tmp_path: Path) -> None:
    """The planted fault: a reference that says the other thing of three cases."""
    run()
    header, answers = read_answers(tmp_path / "out/answers/onnxruntime-int8-cpu.jsonl")
    turned = [_turned(item) if item.number in (2, 5, 9) else item for item in answers]
    elsewhere = tmp_path / "elsewhere.jsonl"
    write_answers(elsewhere, header, turned)
    found = run(reference=elsewhere)
    (flips,) = claims(found, "flips", candidate="onnxruntime int8-cpu")
    assert (flips.events, flips.n) == (3, CASES)
    worst = [item.number for item in found.report.evidence.worst if item.measure == "flips"]
    assert set(worst) >= {2, 5, 9}


def test_flips_that_rise_on_an_older_instruction_set_fail(
    bundle: Bundle, run: Any, tmp_path: Path
) -> None:
    found = run()
    _, reference = read_answers(tmp_path / "out/answers/onnxruntime-fp32.jsonl")
    turned = (*(_turned(item) for item in reference[:2]), *reference[2:])
    judge = Judge(bundle.manifest.task, found.cases)
    networks = {"filter": Choice("int8-cpu", "int8")}
    for isa, answers in (("native", reference), ("avx2", turned)):
        candidate = Candidate("openvino", "CPU", networks, 1, isa)  # type: ignore[arg-type]
        ran = Ran(AskedCandidate(candidate), tmp_path, title_of(candidate), 6)
        judge.of(ran, answers, reference)
    (claim,) = judge.isa_ladder().claims
    assert claim.scope.candidate == "openvino avx2 int8-cpu"
    assert (claim.events, claim.n, claim.value) == (2, CASES, 2 / CASES)
    assert (claim.verdict, claim.limit) == ("fail", 0.01)
    assert claim.bound is not None


def test_a_ladder_without_one_case_that_was_compared_is_open(
    bundle: Bundle, run: Any, tmp_path: Path
) -> None:
    found = run()
    _, answers = read_answers(tmp_path / "out/answers/onnxruntime-fp32.jsonl")
    lost: dict[str, Any] = {
        "status": "error",
        "label": None,
        "probabilities": {},
        "outputs": {},
        "reason": "x",
    }
    errors = [item.model_copy(update=lost) for item in answers]
    judge = Judge(bundle.manifest.task, found.cases)
    networks = {"filter": Choice("int8-cpu", "int8")}
    for isa in ("native", "avx2"):
        candidate = Candidate("openvino", "CPU", networks, 1, isa)
        judge.of(Ran(AskedCandidate(candidate), tmp_path, title_of(candidate), 6), errors, errors)
    (claim,) = judge.isa_ladder().claims
    assert (claim.n, claim.value, claim.verdict) == (0, None, "not-conclusive")


def test_float_outputs_that_differ_are_seen(run: Any, tmp_path: Path) -> None:
    run(variants=("fp32",))
    path = tmp_path / "out/answers/onnxruntime-fp32.jsonl"
    header, answers = read_answers(path)
    moved = answers[3].model_copy(
        update={"outputs": {"filter.logits": tuple(v + 0.01 for v in _logits(answers[3]))}}
    )
    elsewhere = tmp_path / "elsewhere.jsonl"
    write_answers(elsewhere, header, (*answers[:3], moved, *answers[4:]))
    found = run(variants=("fp32",), reference=elsewhere)
    (claim,) = claims(found, "float-difference", level="output")
    assert (claim.verdict, claim.events, claim.n, claim.limit) == ("fail", 1, CASES, 1.0)
    shares = [0.01 / (1e-4 + 1e-4 * abs(value + 0.01)) for value in _logits(answers[3])]
    assert claim.value == pytest.approx(max(shares))
    assert "case 4" in claim.reason


def test_few_cases_are_enough_for_fp32_that_is_the_same(run: Any, table: Any) -> None:
    """The gate of INT8, which takes 149 cases, does not judge FP32 on another runtime."""
    found = run(table(16), runtimes=(), variants=("fp32",), isas=("native",))
    assert len(found.report.candidates) > 1
    assert (found.report.verdict, found.report.reasons) == ("pass", ())
    (flips,) = claims(found, "flips", candidate="openvino fp32")
    assert (flips.verdict, flips.n, flips.events) == ("advisory", 16, 0)
    assert flips.bound is not None
    (outside,) = claims(found, "flips-outside-margin", candidate="openvino fp32")
    assert (outside.verdict, outside.events) == ("pass", 0)


def test_a_flip_of_fp32_that_rounding_cannot_explain_fails(run: Any, tmp_path: Path) -> None:
    run(variants=("fp32",))
    header, answers = read_answers(tmp_path / "out/answers/onnxruntime-fp32.jsonl")
    elsewhere = tmp_path / "elsewhere.jsonl"
    other = "none" if answers[0].label == "tumour" else "tumour"
    turned = answers[0].model_copy(update={"label": other})  # by a rule, not by its outputs
    write_answers(elsewhere, header, (turned, *answers[1:]))
    found = run(variants=("fp32",), reference=elsewhere)
    (outside,) = claims(found, "flips-outside-margin")
    assert (outside.verdict, outside.events, found.report.verdict) == ("fail", 1, "fail")


def _logits(answer: Answer) -> tuple[float, ...]:
    return answer.outputs["filter.logits"]


def test_pins(bundle: Bundle) -> None:
    def titles(*arguments: Any, **pins: Any) -> list[str]:
        chosen = running.choose_candidates(bundle, *arguments, **pins)
        return [running.title_of(item.candidate) for item in chosen]

    assert titles((), ("int8-cpu",), ("native",)) == [
        "onnxruntime fp32",
        "onnxruntime int8-cpu",
        "openvino int8-cpu",
    ]
    assert titles(("openvino",), ("fp32",), ("native",)) == ["onnxruntime fp32", "openvino fp32"]
    assert titles((), ("int8-cpu",), ("native",), reference=False)[0] == "onnxruntime int8-cpu"
    with pytest.raises(VariantUnavailableError, match="no candidate"):
        titles((), ("int4",))


def test_a_task_with_regions_of_interest(tmp_path: Path) -> None:
    """The bundle in the wheel, on its own known answers: each is decided as it says."""
    bundle = Bundle.open(DEMONSTRATION / "liver-us-malignancy.medsdk")
    lines = ["path,truth,patient,roi"]
    for number, answer in enumerate(bundle.manifest.known_answers):
        (tmp_path / f"{number}.dcm").write_bytes(bundle.read(answer.input))
        corners = ",".join(map(repr, answer.roi or ()))
        lines.append(f'{number}.dcm,{answer.label},p{number},"{corners}"')
    table = tmp_path / "cases.csv"
    table.write_text("\n".join(lines) + "\n", "utf-8")
    request = EvaluationRequest(
        bundle=bundle,
        table=table,
        out=tmp_path / "out",
        runtimes=("onnxruntime",),
        variants=("fp32",),
        threads=1,
    )
    found = evaluate(request, quiet)
    (accuracy,) = claims(found, "accuracy", candidate="onnxruntime fp32")
    assert (accuracy.value, accuracy.n) == (1.0, len(bundle.manifest.known_answers))
    # It is its own reference: nothing is compared, and nothing failed.
    assert [(item.title, item.verdict) for item in found.report.candidates] == [
        ("onnxruntime fp32", "pass")
    ]


def test_the_document_is_json(run: Any) -> None:
    report = run().report
    assert json.loads(report.model_dump_json())["kind"] == "evaluate"


def test_nothing_is_left_of_files_that_were_there(run: Any, tmp_path: Path) -> None:
    run()
    path = tmp_path / "out/answers/onnxruntime-fp32.jsonl"
    path.write_bytes(b"somebody else's\n")
    with pytest.raises(AnswersUnreadableError, match="no file of answers"):
        run()
    shutil.rmtree(tmp_path / "out")
